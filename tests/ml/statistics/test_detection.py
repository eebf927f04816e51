import pytest

from ml.statistics.detection import criterion, d_prime, d_prime_2afc, detect
from ml.statistics.proportion import ReadersError


@pytest.mark.parametrize("rates", [(1.0, 0.4), (0.7, 0.0)])
def test_d_prime_of_an_extreme_rate_is_refused_rather_than_infinite(
    rates: tuple[float, float],
) -> None:
    with pytest.raises(ReadersError, match="correct it first"):
        d_prime(*rates)


def test_d_prime_without_real_images_is_refused() -> None:
    with pytest.raises(ReadersError, match="one real image"):
        detect(3, 5, 0, 0)


def test_published_values_of_d_prime_and_criterion() -> None:
    assert d_prime(0.7, 0.4) == pytest.approx(0.7777, abs=5e-5)
    assert criterion(0.7, 0.4) == pytest.approx(-0.1355, abs=5e-5)
    assert d_prime_2afc(0.7) == pytest.approx(0.7416, abs=5e-5)


def test_a_perfect_reader_gets_a_finite_d_prime_by_the_log_linear_correction() -> None:
    found = detect(20, 20, 0, 20)
    assert found.d_prime.value == pytest.approx(d_prime(20.5 / 21, 0.5 / 21))
    assert found.criterion.value == pytest.approx(0.0, abs=1e-12)


def test_a_reader_who_always_says_real_has_no_sensitivity_index_but_a_bias() -> None:
    found = detect(0, 50, 0, 50)
    assert found.d_prime.value == pytest.approx(0.0)
    assert found.criterion.low is not None and found.criterion.low > 1
