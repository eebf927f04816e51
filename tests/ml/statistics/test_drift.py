"""Two windows of one input: what is alike is rarely called changed, however often one looks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from ml.statistics import drift


def test_the_distance_of_numbers_is_the_largest_gap_of_their_distributions():
    gap = drift.of_numbers(np.asarray([1.0, 2, 3, 4]), np.asarray([3.0, 4, 5, 6]))
    assert gap.distance == 0.5
    assert gap.p == pytest.approx(scipy.stats.ks_2samp([1, 2, 3, 4], [3, 4, 5, 6]).pvalue)


def test_the_distance_of_words_is_the_share_that_would_have_to_move():
    gap = drift.of_words(["a"] * 30 + ["b"] * 10, ["a"] * 10 + ["b"] * 10)
    assert gap.distance == pytest.approx(0.25)
    table = [[30, 10], [10, 10]]
    assert gap.p == pytest.approx(scipy.stats.chi2_contingency(table, correction=False).pvalue)


def test_words_that_are_the_same_everywhere_say_nothing():
    assert drift.of_words(["a"] * 50, ["a"] * 30) == drift.Gap(0.0, 1.0)


def test_rare_words_count_together_and_never_make_a_test_of_their_own():
    before = ["a"] * 60 + [f"rare {n}" for n in range(10)]
    after = ["a"] * 60 + [f"other {n}" for n in range(10)]
    gap = drift.of_words(before, after)
    assert gap.distance == pytest.approx(1 / 7)
    assert gap.p == pytest.approx(1.0)  # 10 rare ones in either


def test_a_scanner_that_is_new_in_the_later_window_is_found():
    assert drift.of_words(["old"] * 60, ["old"] * 20 + ["new"] * 20).p < 1e-6


def test_windows_are_counted_from_the_first_after_the_reference():
    with pytest.raises(ValueError, match="counted from 1"):
        drift.adjusted([0.01], 0)


def test_p_is_holms_times_what_a_window_may_spend():
    assert drift.adjusted([0.001, 0.01], 1) == pytest.approx([0.004, 0.02])
    assert drift.adjusted([0.001, 0.01], 3, families=2) == pytest.approx([0.048, 0.24])
    assert drift.adjusted([], 2) == []


@pytest.mark.long
def test_of_installations_without_any_change_at_most_one_in_twenty_ever_sees_one():
    rng = np.random.default_rng(5)
    misled, sites, windows = 0, 400, 8
    for _ in range(sites):
        reference = rng.normal(size=(4, 60))
        words = rng.integers(0, 3, 60).astype(str).tolist()
        for window in range(1, windows + 1):
            recent = rng.normal(size=(4, 40))
            found = [drift.of_numbers(*pair).p for pair in zip(reference, recent, strict=True)]
            found.append(drift.of_words(words, rng.integers(0, 3, 40).astype(str).tolist()).p)
            if min(drift.adjusted(found, window)) < 0.05:
                misled += 1
                break
    assert misled / sites <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sites)


@pytest.mark.parametrize(("size", "window"), [(60, 1), (300, 4)])
def test_what_is_noticed_is_called_changed_and_much_less_is_not(size, window):
    least = drift.noticed(size, size, 5, window)
    reference = np.arange(size, dtype=np.float64)
    for factor, changed in ((1.15, True), (0.7, False)):
        moved = reference + np.ceil(factor * least * size)  # a gap of as many values
        gap = drift.of_numbers(reference, moved)
        [p, *_] = drift.adjusted([gap.p, 0.9, 0.9, 0.9, 0.9], window)
        assert gap.distance == pytest.approx(np.ceil(factor * least * size) / size)
        assert (p < 0.05) == changed
