import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import binom_tost, proportion_confint

from ml.statistics.proportion import ReadersError, chance_p, equivalence_p, exact, wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_an_impossible_count_is_refused(successes: int, n: int) -> None:
    for interval in (wilson, exact):
        with pytest.raises(ReadersError):
            interval(successes, n)
    with pytest.raises(ReadersError):
        chance_p(successes, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_that_is_no_share_is_refused(confidence: float) -> None:
    with pytest.raises(ReadersError, match="between 0 and 1"):
        wilson(3, 5, confidence)


def test_a_margin_beyond_the_scale_is_refused() -> None:
    with pytest.raises(ReadersError, match="margin"):
        equivalence_p(54, 100, 0.5)


def test_wilson_and_exact_give_the_published_intervals_for_54_of_100() -> None:
    assert (wilson(54, 100).low, wilson(54, 100).high) == pytest.approx((0.4426, 0.6344), abs=5e-5)
    assert (exact(54, 100).low, exact(54, 100).high) == pytest.approx((0.4374, 0.6402), abs=5e-5)
    assert chance_p(54, 100) == pytest.approx(0.4841, abs=5e-5)
    assert equivalence_p(54, 100, 0.1) == pytest.approx(0.131, abs=5e-4)


@given(st.integers(1, 400), st.data())
def test_intervals_agree_with_statsmodels_and_hold_the_value(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    for ours, method in ((wilson, "wilson"), (exact, "beta")):
        low, high = proportion_confint(k, n, method=method)
        got = ours(k, n)
        assert (got.low, got.high) == pytest.approx((low, high), abs=1e-9)
        assert got.low <= got.value <= got.high
    assert equivalence_p(k, n, 0.1) == pytest.approx(binom_tost(k, n, 0.4, 0.6)[0], abs=1e-9)


def test_the_exact_interval_covers_at_least_its_nominal_share() -> None:
    n, p = 37, 0.83
    outcomes = np.arange(n + 1)
    covered = [exact(int(k), n).low <= p <= exact(int(k), n).high for k in outcomes]
    assert stats.binom.pmf(outcomes, n, p)[covered].sum() >= 0.95
