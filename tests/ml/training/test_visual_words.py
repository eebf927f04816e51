"""Visual words: a vocabulary of training patches tells discs from rings, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml.config import experiment
from ml.training import visual_words
from tests.ml.discs import data_set


def test_words_of_training_lesions_tell_others_apart(tmp_path: Path) -> None:
    manifest = data_set(tmp_path / "data", patients=24, each=1)
    rois = manifest.rois(experiment("compact").window_hu)
    labels = np.asarray([manifest.scheme.index(line.lesion_class) for line in manifest.lines])
    told = (16, rois[:12], labels[:12])
    found = visual_words.probabilities(*told, rois[12:], 2, "test", 0)
    assert found.shape == (12, 2) and np.allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == labels[12:]).mean() > 0.9
    assert np.array_equal(found, visual_words.probabilities(*told, rois[12:], 2, "test", 0))
    # what is tested has no part in the vocabulary: one by one, all is as it was
    alone = [visual_words.probabilities(*told, rois[i : i + 1], 2, "test", 0) for i in (12, 20)]
    assert np.allclose(np.concatenate(alone), found[[0, 8]])
    other = visual_words.probabilities(*told, rois[12:], 2, "test", 1)
    assert not np.array_equal(found, other)


def test_a_class_without_a_training_lesion_and_no_lesion_that_is_tested(tmp_path: Path) -> None:
    manifest = data_set(tmp_path / "data", patients=6, each=1)
    rois = manifest.rois(experiment("compact").window_hu)
    labels = np.asarray([0, 2, 0, 2, 0, 2])
    found = visual_words.probabilities(10**6, rois[:, :12, :12], labels, rois[:2, :12, :12], 3, 0)
    assert np.array_equal(found[:, 1], np.zeros(2)) and np.allclose(found.sum(axis=1), 1)
    assert visual_words.probabilities(4, rois, labels, rois[:0], 3, 0).shape == (0, 3)
