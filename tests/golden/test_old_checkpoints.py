"""Checkpoints of an earlier version serve as before: same answers, registered without a change.

Made at commit d3d9a5e by ``python -m ml classifier`` and ``python -m ml gan`` on discs, with
networks of a few weights; ``answers.json`` is what that version said of the images below.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.models import Checkpoint as Registered
from ml.checkpoints import serving
from ml.checkpoints.card import exports, making, network, words
from ml.checkpoints.checkpoint import Checkpoint

HERE = Path(__file__).parent / "checkpoints"
CLOSE = 1e-5
"""Processors differ in the last digits of a network's answer."""


@pytest.fixture(scope="module")
def said() -> dict:
    return json.loads((HERE / "answers.json").read_text("utf-8"))


def test_the_classifier_gives_the_same_probabilities(said):
    rois = np.sin(np.arange(2 * 64 * 64) / 97).reshape(2, 64, 64).astype(np.float32)
    classifier = serving.load(HERE / "old-cnn")
    np.testing.assert_allclose(
        classifier.probabilities(rois), said["probabilities"], rtol=0, atol=CLOSE
    )


def test_the_generator_draws_the_same_images_of_its_seeds(said):
    drawn = serving.load(HERE / "old-dcgan").draw([1, 2018])
    np.testing.assert_allclose(
        drawn.reshape(2, -1)[:, :8], said["drawn_first_pixels"], rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(
        [image.mean() for image in drawn], said["drawn_mean"], rtol=0, atol=CLOSE
    )


def _figures(metrics: dict, at: str = "") -> dict[str, dict]:
    """Every figure with an interval, by where it stands."""
    if "value" in metrics:
        return {at: metrics}
    found: dict[str, dict] = {}
    for key, one in metrics.items():
        if isinstance(one, dict):
            found |= _figures(one, f"{at}/{key}")
    return found


@pytest.mark.parametrize("name", ["old-cnn", "old-dcgan"])
def test_what_it_says_of_itself_is_read_whole_and_registered(name, session):
    written = json.loads((HERE / name / "checkpoint.json").read_text("utf-8"))
    read = Checkpoint.load(HERE / name)
    assert read.commit == "d3d9a5e17904"
    now = read.to_dict()
    before, after = written.pop("metrics"), now["metrics"]
    assert {key: now[key] for key in written} == written
    assert after["notes"] == before["notes"]
    figures = _figures(before.get("test", {}))
    assert len(figures) >= (5 if name == "old-cnn" else 0)
    for measure, was in figures.items():
        told = _figures(after["test"])[measure]
        assert told["value"] == was["value"]
        # an interval of few lesions may be told wider than it was kept, never narrower
        assert told["low"] <= was["low"] and told["high"] >= was["high"]
    card = making.card(read, words.OwnersWords(), network.of_folder(read))
    for form in exports.Format:
        assert name in exports.written(card, form).decode()
    assert Registered.register(session, HERE / name, "tests").name == name
