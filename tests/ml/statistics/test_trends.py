import numpy as np
import pytest
from statsmodels.api import Logit, add_constant
from statsmodels.stats.proportion import confint_proportions_2indep

from ml.statistics import trends


def test_a_trend_that_the_answers_do_not_define_says_why() -> None:
    position = list(range(1, 21))
    assert "fewer than 10" in str(trends.learning([True] * 5, position[:5]))
    assert "equally" in str(trends.learning([True] * 20, position))
    assert "do not overlap" in str(trends.learning([False] * 10 + [True] * 10, position))
    assert trends.times([], []) is None


def test_learning_is_the_odds_ratio_per_ten_trials_of_a_logistic_regression() -> None:
    rng = np.random.default_rng(1)
    position = np.arange(1, 121)
    right = rng.random(120) < 1 / (1 + np.exp(-(position - 60) / 40))
    found = trends.learning(right.tolist(), position)
    fit = Logit(right.astype(float), add_constant(position / 10.0)).fit(disp=0)
    low, high = np.exp(fit.conf_int()[1])
    assert found.value == pytest.approx(np.exp(fit.params[1]), rel=1e-5)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-4)


def test_the_difference_of_proportions_agrees_with_statsmodels() -> None:
    low, high = confint_proportions_2indep(23, 60, 11, 50, method="newcomb")
    found = trends.difference(23, 60, 11, 50)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_fatigue_shows_in_the_second_half() -> None:
    found = trends.halves([True] * 30 + [False] * 30, range(60))
    assert found.value == -1.0
    assert found.high is not None and found.high < -0.8


def test_times_are_quartiles_and_a_trend_in_per_cent() -> None:
    position = np.arange(1, 41)
    found = trends.times(8000 * 0.9 ** (position / 10), position)
    assert found is not None
    assert found.trend_percent.value == pytest.approx(-10.0, abs=1e-6)
    assert found.quartiles_s[0] <= found.median_s <= found.quartiles_s[1]


def test_reasons_are_ranked_by_what_real_images_do_not_share() -> None:
    fake = {"dcgan": [("texture", "edge")] * 6 + [("edge",)] * 4}
    real: list[tuple[str, ...]] = [("edge",)] * 9 + [()]
    first, second = trends.reasons(fake, real)
    assert first.reason == "texture" and second.reason == "edge"
    assert first.excess is not None and first.excess.value == pytest.approx(0.6)
    assert second.excess is not None and second.excess.low is not None and second.excess.low < 0.1
