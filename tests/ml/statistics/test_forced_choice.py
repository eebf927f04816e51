"""Two-alternative forced choice against SciPy and closed forms."""

from __future__ import annotations

from math import sqrt

import pytest
import scipy

from ml.statistics import forced_choice
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError


@pytest.mark.parametrize(("right", "n"), [(54, 100), (7, 10), (0, 12), (12, 12), (1, 1)])
def test_a_share_has_the_exact_interval(right, n):
    found = forced_choice.share([k < right for k in range(n)], [str(k) for k in range(n)])
    known = scipy.stats.binomtest(right, n).proportion_ci(0.95, "exact")
    assert (found.value, found.low, found.high) == pytest.approx((right / n, known.low, known.high))


def test_pairs_of_one_patient_widen_it():
    right = [k < 30 for k in range(40)]  # whole patients are right or wrong
    patients = [f"patient {k // 4}" for k in range(40)]
    alone = forced_choice.share(right, [str(k) for k in range(40)])
    found = forced_choice.share(right, patients, resamples=500)
    assert found.value == alone.value
    assert found.low < alone.low
    assert found.high > alone.high
    known = scipy.stats.beta.ppf(0.025, 7.5, 3.5)  # as many trials as there are patients
    assert found.low <= known + 1e-9
    assert "10 patients" in found.method


def test_d_prime_is_that_of_the_literature():
    found = forced_choice.d_prime(Figure(0.7, 0.6, 0.8, 100, "exact"))
    assert found.value == pytest.approx(0.7416, abs=5e-5)
    assert (found.low, found.high) == pytest.approx(
        (sqrt(2) * scipy.stats.norm.ppf(0.6), sqrt(2) * scipy.stats.norm.ppf(0.8))
    )


def test_of_all_right_d_prime_has_no_upper_end_and_says_so():
    found = forced_choice.d_prime(forced_choice.share([True] * 20, [str(k) for k in range(20)]))
    assert found.value == pytest.approx(sqrt(2) * scipy.stats.norm.ppf(20.5 / 21))
    assert (found.low, found.high) == (None, None)
    assert "at least 1.36" in found.note


@pytest.mark.parametrize(("n", "share"), [(10, 0.5), (57, 0.6), (100, 0.6), (90, 0.35)])
def test_power_of_a_difference_is_that_of_counting_every_outcome(n, share):
    counted = sum(
        scipy.stats.binom.pmf(k, n, share)
        for k in range(n + 1)
        if not _holds(scipy.stats.binomtest(k, n).proportion_ci(0.95, "exact"), 0.5)
    )
    assert forced_choice.difference_power(share, n) == pytest.approx(counted, abs=1e-9)


def _holds(interval, value):
    return interval.low <= value <= interval.high


def test_power_of_equivalence_is_that_of_the_design_notes():
    found = [round(forced_choice.equivalence_power(n, 0.10), 2) for n in (50, 100, 150, 200, 216)]
    assert found == [0.0, 0.24, 0.54, 0.77, 0.80]


def test_what_has_no_share_is_refused():
    with pytest.raises(ReadersError, match="no pairs"):
        forced_choice.share([], [])
    with pytest.raises(ReadersError, match="at least one pair"):
        forced_choice.difference_power(0.6, 0)
    with pytest.raises(ReadersError, match="between 0 and 1"):
        forced_choice.difference_power(1.2, 10)
    with pytest.raises(ReadersError, match="margin"):
        forced_choice.equivalence_power(10, 0.5)
