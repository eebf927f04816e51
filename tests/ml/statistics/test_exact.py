"""Intervals on few patients: they cover, and never claim a certainty that nobody has."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from ml.statistics import comparison, exact
from ml.statistics.classification import percentile_interval, score

KEYS = ("cyst", "metastasis", "hemangioma")


def scored(right, truth, patients=None, resamples=200):
    """The score of a classifier that names the next class where it is not ``right``."""
    truth = np.asarray(truth)
    called = np.where(right, truth, (truth + 1) % 3)
    names = [str(i) for i in range(len(truth))] if patients is None else patients
    return score(truth, 0.1 + 0.7 * np.eye(3)[called], names, KEYS, resamples)


def every_interval(result):
    yield from (result.accuracy, result.balanced_accuracy)
    for group in (result.sensitivity, result.specificity, result.auc):
        yield from group.values()


@pytest.mark.parametrize("counts", [(2, 1, 1), (6, 6, 6), (40, 40, 40)])
@pytest.mark.parametrize("right", [True, False])
def test_nobody_is_certain_of_a_share_of_all_or_of_nothing(counts, right):
    truth = np.repeat([0, 1, 2], counts)
    for interval in every_interval(scored(np.full(len(truth), right), truth)):
        assert interval.low < interval.high
        assert interval.low <= interval.value <= interval.high


def test_four_right_answers_say_next_to_nothing():
    found = scored(np.ones(4, bool), [0, 0, 1, 2]).balanced_accuracy
    assert found.value == 1
    assert found.low < 0.4


def test_a_bootstrap_without_variation_gives_no_interval():
    found = percentile_interval(1.0, np.ones(500)).to_json()
    assert found == {"value": 1.0, "low": None, "high": None}


def test_lesions_of_one_patient_count_as_one_trial():
    truth = np.repeat([0, 1, 2], 10)
    alone = scored(np.ones(30, bool), truth)
    grouped = scored(np.ones(30, bool), truth, [f"p{i // 5}" for i in range(30)])
    assert alone.balanced_accuracy.low == pytest.approx(0.025 ** (1 / 30))
    assert grouped.balanced_accuracy.low == pytest.approx(0.025 ** (1 / 6))


def test_patients_in_several_classes_are_not_counted_once_for_each():
    truth = np.tile([0, 1, 2], 10)
    found = scored(np.ones(30, bool), truth, [f"p{i // 3}" for i in range(30)])
    assert found.balanced_accuracy.low == pytest.approx(0.025 ** (1 / 10))


def test_a_share_of_many_right_and_wrong_keeps_its_bootstrap():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1, 2], 60)
    right = rng.random(180) < 0.75
    found = scored(right, truth, resamples=400)
    weights = rng.multinomial(180, np.full(180, 1 / 180), 4000)
    drawn = np.mean(
        [(weights[:, truth == k] @ right[truth == k]) / weights[:, truth == k].sum(1)
         for k in range(3)], axis=0,
    )  # fmt: skip
    low, high = np.quantile(drawn, [0.025, 0.975])
    ends = (found.balanced_accuracy.low, found.balanced_accuracy.high)
    assert ends == pytest.approx((low, high), abs=0.015)


@pytest.mark.parametrize(("found", "n"), [(0, 4), (3, 7), (7, 7), (29, 30)])
def test_the_ends_are_those_of_clopper_and_pearson(found, n):
    ends = binomtest(found, n).proportion_ci(0.95, "exact")
    assert exact.clopper_pearson(found, n) == pytest.approx((ends.low, ends.high))


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 1, 1), (2, 5, 9), (6, 6, 6), (3, 12)])
def test_a_mean_of_classes_is_covered_at_least_as_often_as_it_says(counts):
    """Every outcome of each combination of chances is gone through: nothing here is random."""
    trials = len(counts) * min(counts)
    outcomes = list(product(*(range(n + 1) for n in counts)))
    found = [np.mean([k / n for k, n in zip(one, counts, strict=True)]) for one in outcomes]
    ends = [exact.clopper_pearson(float(value) * trials, trials) for value in found]
    for chances in product((0.05, 0.3, 0.5, 0.8, 0.95, 0.99), repeat=len(counts)):
        true = np.mean(chances)
        share = [binom.pmf(np.arange(n + 1), n, p) for n, p in zip(counts, chances, strict=True)]
        covered = sum(
            np.prod([row[k] for row, k in zip(share, one, strict=True)])
            for one, (low, high) in zip(outcomes, ends, strict=True)
            if low - 1e-9 <= true <= high + 1e-9
        )
        assert covered >= 0.95, chances


@pytest.mark.parametrize("counts", [(2, 1, 1), (5, 5, 5), (12, 12, 12), (6, 30, 30)])
def test_balanced_accuracy_of_a_good_classifier_is_covered(counts):
    """The whole way through `score`, where a bootstrap alone covers as rarely as in one of ten."""
    rng = np.random.default_rng(7)
    truth, chances = np.repeat([0, 1, 2], counts), np.asarray([0.97, 0.95, 0.9])
    covered = []
    for _ in range(150):
        found = scored(rng.random(len(truth)) < chances[truth], truth).balanced_accuracy
        covered.append(found.low <= chances.mean() <= found.high)
    assert np.mean(covered) >= 0.93


@pytest.mark.parametrize(("m", "n"), [(1, 3), (2, 2), (3, 9), (6, 12)])
def test_an_area_on_few_patients_is_covered(m, n):
    rng = np.random.default_rng(3)
    areas = {0.76: 1.0, 0.92: 2.0, 0.983: 3.0}
    for area, shift in areas.items():
        drawn = rng.normal(shift, 1, (2000, m, 1)) > rng.normal(0, 1, (2000, 1, n))
        values, place = np.unique(drawn.mean(axis=(1, 2)).round(9), return_inverse=True)
        ends = np.asarray([exact.of_area(float(value), m, n) for value in values])[place]
        assert ((ends[:, 0] <= area) & (area <= ends[:, 1])).mean() >= 0.94


def test_a_difference_of_arms_that_hardly_differ_is_covered():
    rng = np.random.default_rng(11)
    truth, patients = np.repeat([0, 1, 2], 8), [str(i) for i in range(24)]
    covered = 0
    for _ in range(200):
        first = (rng.random((1, 24)) < 0.95).astype(float)
        second = (rng.random((1, 24)) < 0.9).astype(float)
        found = comparison.difference_interval(first - second, truth, patients)
        assert found.low < found.high
        covered += found.low <= 0.05 <= found.high
    assert covered / 200 >= 0.95


@pytest.mark.parametrize(
    ("first", "second", "trials"), [(0.3, 0.1, 20), (0.05, 0.05, 12), (1, 0, 3)]
)
def test_p_of_a_difference_agrees_with_its_interval(first, second, trials):
    p = exact.p_of_difference(first, second, trials)
    for level, leaves_out in ((1 - 0.99 * p, False), (1 - min(1.0, 1.01 * p), True)):
        if 0 < level < 1:
            low, high = exact.of_difference(first, second, trials, level)
            assert (not low <= 0 <= high) == leaves_out
    assert (p == 1.0) == (first == second)
