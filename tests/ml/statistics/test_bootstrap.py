import numpy as np
import pytest

from ml.statistics import bootstrap


def test_values_that_do_not_vary_give_no_interval():
    assert bootstrap.percentiles([0.7, 0.7, 0.7]) is None
    assert bootstrap.percentiles([0.1 + 0.2, 0.3]) is None  # they differ by rounding alone
    assert bootstrap.percentiles([np.nan, np.inf]) is None


def test_values_that_do_not_exist_are_left_out():
    drawn = np.linspace(0, 1, 41)
    found = bootstrap.percentiles([np.nan, *drawn], 0.9)
    assert found == pytest.approx((0.05, 0.95))


def test_as_many_groups_are_drawn_as_there_are_and_each_whole():
    weights = bootstrap.resamples(["b", "a", "b", "c"], 300, np.random.default_rng(0))
    assert weights.shape == (300, 4)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 0] + weights[:, 1] + weights[:, 3] == 3).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.15)


def test_numbers_are_sorted_as_numbers():
    """Their order decides who is drawn: 10 comes after 9, not after 1."""
    groups = np.arange(12)
    by_number = bootstrap.resamples(groups, 50, np.random.default_rng(1))
    by_text = bootstrap.resamples(groups.astype(str), 50, np.random.default_rng(1))
    assert (by_number[:, :2] == by_text[:, :2]).all()
    assert (by_number[:, 2:] != by_text[:, 2:]).any()
