"""Comparing arms: known answers, brute force, and peers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from ml.statistics import classification, comparison
from ml.statistics.comparison import Bools, Ints


def _draw(
    seed: int, seeds: int = 2, lesions: int = 40, gain: float = 0.0
) -> tuple[Bools, Bools, Ints, list[str]]:
    rng = np.random.default_rng(seed)
    truth = np.arange(lesions) % 3
    patients = [f"p{i // 2}" for i in range(lesions)]
    second = rng.random((seeds, lesions)) < 0.6
    first = np.where(rng.random((seeds, lesions)) < gain, True, rng.random((seeds, lesions)) < 0.6)
    return first, second, truth, patients


def test_arms_that_are_alike_differ_by_nothing_but_might() -> None:
    first, _, truth, patients = _draw(0)
    result = comparison.compare(first, first, truth, patients)
    assert result.difference.value == 0.0
    assert -0.2 < result.difference.low < -0.05
    assert 0.05 < result.difference.high < 0.2
    assert result.p == 1.0
    assert result.mcnemar_p == (1.0, 1.0)


def test_arms_of_other_lesions_are_refused() -> None:
    first, second, truth, patients = _draw(0)
    for other in (second[:, 1:], second[:1]):
        with pytest.raises(ValueError, match="same seeds and lesions"):
            comparison.compare(first, other, truth, patients)
    with pytest.raises(ValueError, match="with a patient"):
        comparison.compare(first, second, truth, patients[1:])


def test_difference_is_that_of_balanced_accuracies() -> None:
    first, second, truth, patients = _draw(1, gain=0.3)
    expected = np.mean(
        [
            np.mean([a[truth == key].mean() - b[truth == key].mean() for key in range(3)])
            for a, b in zip(first, second, strict=True)
        ]
    )
    result = comparison.compare(first, second, truth, patients)
    assert result.difference.value == pytest.approx(expected)
    assert result.difference.low < expected < result.difference.high


@pytest.mark.parametrize("seeds", [1, 3])
def test_p_is_small_where_the_interval_leaves_zero_out(seeds: int) -> None:
    seen = set()
    for seed in range(120):
        few = 24 if seed % 2 else 120  # of few patients intervals are widened to exact ones
        gain = (0.0, 0.15, 0.3, 0.5)[seed % 4]
        first, second, truth, patients = _draw(seed, seeds=seeds, lesions=few, gain=gain)
        folds = np.stack([np.random.default_rng(s).permutation(few) % 3 for s in range(seeds)])
        for told in (None, folds):
            found = comparison.compare(first, second, truth, patients, told)
            low, high = found.difference.ends or (0.0, 0.0)
            assert (found.p < 0.05) == (not low <= 0.0 <= high)
            seen.add(found.p < 0.05)
    assert seen == {False, True}


def test_p_under_the_null_is_no_more_often_small_than_it_says() -> None:
    small = 0
    for seed in range(300):
        first, second, truth, patients = _draw(100 + seed, lesions=90)
        small += comparison.compare(first, second, truth, patients).p <= 0.05
    assert binomtest(small, 300, 0.05, alternative="greater").pvalue > 0.001


def test_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(150):
        truth = np.arange(90) % 3
        # the two lesions of a patient go right or wrong together
        right = np.repeat(rng.random((1, 45)) < 0.75, 2, axis=1)
        wrong = np.repeat(rng.random((1, 45)) < 0.6, 2, axis=1)
        patients = [f"p{i // 2}" for i in range(90)]
        gaps = right.astype(float) - wrong.astype(float)
        interval = comparison.difference_interval(gaps, truth, patients)
        covered += interval.low <= 0.15 <= interval.high
    assert 0.88 <= covered / 150 <= 0.99


def test_trainings_that_disagree_widen_the_interval() -> None:
    first, second, truth, patients = _draw(6, seeds=1, lesions=120)
    gaps = first.astype(float) - second.astype(float)
    calm = comparison.difference_interval(np.repeat(gaps, 4, axis=0), truth, patients)
    shifts = np.asarray([0.3, -0.3, 0.3, -0.3])[:, None]
    torn = comparison.difference_interval(gaps + shifts, truth, patients)
    assert torn.high - torn.low > 1.3 * (calm.high - calm.low)
    # one training whose folds lie apart
    folds = np.asarray([int(name[1:]) % 3 for name in patients])[None]
    moved = gaps + np.asarray([0.3, -0.3, 0.0])[folds]
    apart = comparison.difference_interval(moved, truth, patients, folds)
    blind = comparison.difference_interval(moved, truth, patients)
    assert apart.high - apart.low > 1.3 * (blind.high - blind.low)


def test_mcnemar_equals_statsmodels() -> None:
    for seed in range(5):
        first, second, _, _ = _draw(seed, seeds=1, gain=0.2)
        table = np.zeros((2, 2), int)
        np.add.at(table, (first[0].astype(int), second[0].astype(int)), 1)
        assert comparison.mcnemar_p(first[0], second[0]) == pytest.approx(
            mcnemar(table, exact=True).pvalue
        )


def test_holm_equals_statsmodels() -> None:
    values = [0.04, 0.001, 0.3, 0.02, 0.02]
    assert comparison.holm(values) == pytest.approx(multipletests(values, method="holm")[1])


def test_share_of_the_gap() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(3000) % 3
    patients = [str(i // 2) for i in range(3000)]
    base, arm, best = (
        (rng.random((2, 3000)) < accuracy).astype(float) for accuracy in (0.6, 0.7, 0.8)
    )
    share, exists = comparison.share_of_gap(arm, base, best, truth, patients)
    assert exists
    assert share.low < 0.5 < share.high
    _, exists = comparison.share_of_gap(arm, base, base, truth, patients)
    assert not exists


def test_rates_over_seeds_agree_with_their_scores_and_with_balanced_accuracy() -> None:
    rng = np.random.default_rng(5)
    truth = np.repeat([0, 1, 2], [20, 30, 25])
    patients = [f"p{i // 2}" for i in range(75)]
    called = np.where(rng.random((3, 75)) < 0.6, truth, rng.integers(0, 3, (3, 75)))
    folds = np.stack([rng.permutation(38)[np.arange(75) // 2] % 3 for _ in range(3)])
    keys = ("a", "b", "c")
    table = rng.random((3, 75, 3)) + 2 * np.eye(3)[called]
    found = comparison.rates(truth, table, patients, keys, 500, 0, folds)

    right = (called == truth).astype(float)
    macro = comparison.share_interval(right, truth, patients, 500, 0, folds)
    assert found["sensitivity"]["macro"].to_json() == pytest.approx(macro.to_json())
    accuracy = comparison.share_interval(right, np.zeros_like(truth), patients, 500, 0, folds)
    assert found["sensitivity"]["weighted"].to_json() == pytest.approx(accuracy.to_json())

    # one seed: the very intervals of a single classifier
    scored = classification.score(truth, table[0], patients, keys, 500, 0)
    alone = comparison.rates(truth, table[:1], patients, keys, 500, 0)
    for name in ("sensitivity", "specificity", "auc"):
        for key, interval in getattr(scored, name).items():
            assert alone[name][key].to_json() == pytest.approx(interval.to_json())
