"""The simple model: refusals, and that it learns, honestly and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from ml.config import SimpleModel
from ml.training.simple import MeasurementError, probabilities

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
VALUES = RNG.normal(0, 1, (60, 5)) + 2.5 * np.eye(3, 5)[LABELS]
TESTED = RNG.normal(0, 1, (60, 5)) + 2.5 * np.eye(3, 5)[LABELS]


def test_a_measurement_that_is_not_known_is_refused() -> None:
    holed = VALUES.copy()
    holed[3, 1] = np.nan
    for values, tested in ((holed, TESTED), (VALUES, holed)):
        with pytest.raises(MeasurementError, match="not a finite number"):
            probabilities(SimpleModel.LOGISTIC, values, LABELS, tested, 3, 0)


@pytest.mark.parametrize("model", SimpleModel)
def test_it_learns_and_the_same_seed_gives_the_same_numbers(model: SimpleModel) -> None:
    table = probabilities(model, VALUES, LABELS, TESTED, 3, "outer", 0, 1)
    assert (table.argmax(axis=1) == LABELS).mean() > 0.75
    assert table.sum(axis=1) == pytest.approx(1)
    assert (table > 0).all()
    assert (table == probabilities(model, VALUES, LABELS, TESTED, 3, "outer", 0, 1)).all()


def test_only_trees_have_chance_in_them() -> None:
    for model in SimpleModel:
        one, other = (probabilities(model, VALUES, LABELS, TESTED, 3, seed) for seed in (0, 1))
        assert (one != other).any() == (model == SimpleModel.TREES)


@pytest.mark.parametrize("model", SimpleModel)
def test_a_class_without_training_lesions_is_never_named(model: SimpleModel) -> None:
    kept = LABELS != 1
    table = probabilities(model, VALUES[kept], LABELS[kept], TESTED, 3, 0)
    assert (table[:, 1] == 0).all()
    assert table.sum(axis=1) == pytest.approx(1)
