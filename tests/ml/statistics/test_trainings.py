"""Chance of training: known parts, simulated ones, and a second way of counting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import t as student

from ml.statistics import area, comparison, trainings
from ml.statistics.trainings import Spread

ONE_GROUP = np.zeros(40, np.int64)


def _means(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = values.mean(axis=1)
    return scores, (values - scores[:, None]) / values.shape[1]


def test_patients_alone_are_the_variance_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=(1, 40))
    spread = trainings.of_parts(*_means(values), np.arange(40), ONE_GROUP)
    assert spread.patients == pytest.approx(values.var(ddof=1) / 40)
    assert spread.training is None and spread.share is None and spread.freedom == 39


def test_patients_with_several_lesions_count_once() -> None:
    values = np.repeat(np.random.default_rng(1).normal(size=(1, 10)), 4, axis=1)
    spread = trainings.of_parts(*_means(values), np.repeat(np.arange(10), 4), ONE_GROUP)
    assert spread.patients == pytest.approx(values[0, ::4].var(ddof=1) / 10)


def test_trainings_that_only_differ_in_level_are_all_chance_of_training() -> None:
    own = np.random.default_rng(2).normal(size=40)
    values = own + np.asarray([[-1.0], [0.0], [1.0]])
    spread = trainings.of_parts(*_means(values), np.arange(40), ONE_GROUP)
    assert spread.patients == pytest.approx(own.var(ddof=1) / 40)
    assert spread.training == pytest.approx(1.0 / 3)
    # little is known of it: two degrees of freedom, but for what patients add
    assert 2 < spread.freedom < 3
    drawn = values[:, np.random.default_rng(3).integers(0, 40, (4000, 40))].mean(axis=2)
    by_draws = trainings.of_draws(values.mean(axis=1), drawn, 40)
    assert by_draws.training == pytest.approx(spread.training, rel=0.01)
    assert by_draws.patients == pytest.approx(spread.patients, rel=0.1)


def test_trainings_that_differ_no_more_than_patients_explain_add_nothing_on_average() -> None:
    rng = np.random.default_rng(4)
    added = [
        trainings.of_parts(*_means(rng.normal(size=(3, 40))), np.arange(40), ONE_GROUP)
        for _ in range(400)
    ]
    assert np.mean([one.training == 0 for one in added]) > 0.5
    assert np.mean([one.training for one in added]) < 0.5 / 120


def test_folds_tell_of_one_training() -> None:
    rng = np.random.default_rng(5)
    folds = (np.arange(40) % 4)[None]
    calm = rng.normal(0, 0.1, (1, 40))
    torn = calm + np.asarray([-1.0, -0.3, 0.3, 1.0])[folds]
    told = [
        trainings.of_parts(*_means(one), np.arange(40), ONE_GROUP, folds) for one in (calm, torn)
    ]
    assert told[0].training is not None and told[0].training < 1e-3
    levels = np.asarray([torn[folds == fold].mean() for fold in range(4)])
    assert told[1].error ** 2 == pytest.approx(levels.var(ddof=1) / 4, rel=0.05)


def test_p_is_students() -> None:
    spread = Spread(0.03, 0.01, 7.0)
    assert spread.p(0.3) == pytest.approx(2 * student.sf(0.3 / 0.2, 7))
    assert spread.share == 0.25
    assert spread.p(0.0) == 1.0 and Spread(0.0, 0.0, 3).p(0.1) == 0.0
    edge = spread.reach() * spread.error
    assert spread.p(edge) == pytest.approx(0.05)


def test_parts_of_an_area_are_delongs() -> None:
    rng = np.random.default_rng(6)
    positive, score = np.arange(30) < 12, rng.integers(0, 6, 30).astype(float)
    parts = area.parts(positive, score)
    assert parts.sum() == pytest.approx(0)
    psi = np.sign(score[positive][:, None] - score[~positive]) / 2 + 0.5
    for side, axis in ((positive, 1), (~positive, 0)):
        own = psi.mean(axis=axis)
        assert parts[side] == pytest.approx((own - own.mean()) / side.sum())
    assert not area.parts(np.zeros(4, bool), np.arange(4.0)).any()


@pytest.mark.parametrize("luck", [0.0, 0.5])
def test_differences_are_covered_and_false_alarms_are_as_rare_as_told(luck: float) -> None:
    """Networks with a luck of their own in each class, as `make bench SECTIONS=inference` has."""
    rng = np.random.default_rng(7)
    truth = np.repeat([0, 1, 2], 30)
    patients = [str(one) for one in np.arange(90) // 2]
    covered = 0
    for _ in range(250):
        folds = np.stack([rng.permutation(45)[np.arange(90) // 2] % 3 for _ in range(3)])
        hard = rng.normal(size=45)[np.arange(90) // 2] + rng.normal(size=90)
        own = luck * rng.normal(size=(2, 3, 3, 3))
        at = np.arange(3)[:, None]
        first, second = (
            hard + 0.5 * rng.normal(size=(3, 90)) + one[at, folds, truth] > 0 for one in own
        )
        found = comparison.compare(first, second, truth, patients, folds).difference
        covered += found.low <= 0.0 <= found.high
    assert binomtest(covered, 250, 0.95, alternative="less").pvalue > 0.001


def test_an_interval_is_stretched_about_its_value() -> None:
    drawn = np.random.default_rng(8).normal(0.8, 0.05, 4000)
    plain = trainings.interval(0.8, drawn, Spread(0.05**2, None, 99), 0.0, 1.0)
    wide = trainings.interval(0.8, drawn, Spread(0.05**2, 3 * 0.05**2, 1e6), 0.0, 0.9)
    assert (wide.known - wide.low) == pytest.approx(2 * (plain.known - plain.low), rel=0.05)
    assert wide.high == 0.9
    assert trainings.interval(float("nan"), drawn, Spread(1.0, 0.0, 9)).value is None
