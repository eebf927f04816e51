"""How near a synthetic ROI comes to those that its generator learned from."""

from __future__ import annotations

import numpy as np
import pytest

import trust_lesions
from ml.statistics.symmetry import SYMMETRIES, turned
from ml.trust.evidence import TrustError
from ml.trust.training_rois import TrainingRois

EACH = 9
MADE = trust_lesions.lesions(EACH)
OWN = MADE.labels == 0
TRAINED = np.tile(np.arange(EACH) < 6, 3)


def of(rois: np.ndarray = MADE.rois, trained: np.ndarray = TRAINED) -> TrainingRois:
    return TrainingRois.of(rois, OWN, trained)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_a_copy_is_found_however_it_is_turned(symmetry: int) -> None:
    [copy] = turned(MADE.rois[3:4], symmetry)
    found = of().nearest(copy)
    assert (found.row, found.difference) == (3, pytest.approx(0, abs=1e-3))
    assert found.distance == pytest.approx(0, abs=1e-2)
    [back] = turned(copy[None], found.symmetry)
    assert np.array_equal(back, MADE.rois[3])  # so turned it lies on the original


def test_the_difference_is_that_of_the_pixels_and_1_what_is_usual_of_unseen_lesions() -> None:
    known, roi = of(), MADE.rois[7]  # held out

    def least(one: np.ndarray) -> float:
        return min(
            float(np.sqrt(((turned(one[None], s)[0] - MADE.rois[row]) ** 2).mean()))
            for s in range(SYMMETRIES)
            for row in range(6)
        )

    found = known.nearest(roi)
    assert found.difference == pytest.approx(least(roi), rel=1e-3)
    usual = float(np.median([least(MADE.rois[row]) for row in (6, 7, 8)]))
    assert known.usual == pytest.approx(usual, rel=1e-3) and known.held == 3
    assert found.distance == pytest.approx(found.difference / usual, rel=1e-3)


def test_only_lesions_of_its_class_that_it_was_trained_on_are_compared_with() -> None:
    for row in (6, 12):  # held out; of another class
        assert of().nearest(MADE.rois[row]).row in range(6)


def test_where_nothing_was_held_out_no_distance_is_told() -> None:
    known = of(trained=np.ones(len(OWN), bool))
    assert known.usual is None and known.nearest(MADE.rois[0]).distance is None
    flat = of(np.zeros_like(MADE.rois))  # and where all lesions are one picture
    assert flat.usual is None and flat.held == 3


def test_without_a_training_lesion_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(TrustError, match="none of the lesions"):
        of(trained=np.zeros(len(OWN), bool))
