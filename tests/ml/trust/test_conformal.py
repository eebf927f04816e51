"""Prediction sets cover at their level, are never empty, and are refused of too few lesions."""

from __future__ import annotations

import numpy as np
import pytest

from ml.statistics import multinomial
from ml.trust import conformal
from ml.trust.conformal import Sets
from ml.trust.evidence import OutOfFold, TrustError

CLASSES = ("cyst", "metastasis", "hemangioma")


def drawn(n: int, seed: int, patients: int | None = None) -> OutOfFold:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = 1.5 * np.eye(3)[labels] + rng.standard_normal((n, 3))
    owners = np.arange(n) % (patients or n)
    return OutOfFold(logits, labels, owners, owners // 3 % 3, CLASSES)


def test_the_counts_of_the_minimum() -> None:
    assert [conformal.least_for(level) for level in (0.8, 0.9, 0.95, 0.99)] == [4, 9, 19, 99]


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_each_class_is_covered_at_its_level(level: float) -> None:
    """The mean over calibration sets lies between the level and the level + 1 / (n + 1)."""
    hits = np.zeros((200, 3))
    for seed in range(200):
        own, fresh = drawn(60, seed), drawn(600, seed + 10_000)
        thresholds = Sets.of(own, multinomial.softmax(own.logits)).thresholds(level)
        inside = conformal.members(multinomial.softmax(fresh.logits), thresholds)
        hits[seed] = [inside[fresh.labels == key, key].mean() for key in range(3)]
    error = hits.std(axis=0).max() / np.sqrt(200)
    assert (hits.mean(axis=0) > level - 4 * error).all()
    assert (hits.mean(axis=0) < level + 1 / 21 + 4 * error).all()


def test_the_threshold_by_hand() -> None:
    """Of 9 lesions at 90 % the (9 + 1) · 0.9 = 9th least unlikely: the least probable one."""
    sets = Sets(("a", "b"), {"a": np.linspace(0.1, 0.9, 9), "b": np.linspace(0.05, 0.95, 19)})
    assert sets.thresholds(0.9) == pytest.approx([0.1, 0.1])  # of 19 the 18th: the last but one


def test_how_far_a_classs_own_coverage_may_be_from_its_level() -> None:
    """Of 22 lesions at 90 % the 21st: Beta(21, 2), whose mean is 21 / 23."""
    low, high = conformal.expected(22, 0.9)
    assert 0.76 < low < 0.79
    assert 0.98 < high < 1.0
    draws = np.random.default_rng(0).beta(21, 2, 200_000)
    assert np.mean((draws > low) & (draws < high)) == pytest.approx(0.95, abs=0.005)
    with pytest.raises(TrustError, match="needs 9 lesions"):
        conformal.expected(8, 0.9)


def test_no_set_is_empty_and_equal_probabilities_leave_all_classes_in() -> None:
    high = np.full(3, 0.99)
    inside = conformal.members(np.array([[0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3]]), high)
    assert inside.sum(axis=1).tolist() == [1, 1]
    low = np.full(3, 1 / 3)
    assert conformal.members(np.full((1, 3), 1 / 3), low).all()


def test_too_few_of_a_class_are_told_with_their_number() -> None:
    own = drawn(24, 0)
    sets = Sets.of(own, multinomial.softmax(own.logits))
    with pytest.raises(TrustError, match=r"needs 9 calibration lesions.*8 of cyst"):
        sets.thresholds(0.9)
    assert sets.thresholds(0.8).shape == (3,)
    for level in (0.0, 1.0, float("nan")):
        with pytest.raises(TrustError, match="between 0 and 1"):
            sets.thresholds(level)


def test_a_patient_counts_once_for_a_class() -> None:
    own = drawn(90, 3, patients=30)  # three lesions each, of one class
    sets = Sets.of(own, multinomial.softmax(own.logits))
    assert [len(one) for one in sets.probabilities.values()] == [10, 10, 10]


def test_cross_coverage_counts_lesions_and_sizes() -> None:
    own = drawn(180, 5)
    told = conformal.cross_covered(own, multinomial.softmax(own.logits), 0.9)
    assert told is not None
    assert told.overall.n == 180
    assert sum(told.sizes.values()) == pytest.approx(1)
    few = drawn(30, 5)
    assert conformal.cross_covered(few, multinomial.softmax(few.logits), 0.9) is None
