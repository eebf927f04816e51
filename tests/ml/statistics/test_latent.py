import numpy as np
import pytest

from ml.readers.many import Studies, errors
from ml.statistics.latent import Latent
from ml.statistics.proportion import ReadersError


@pytest.mark.parametrize(
    "wrong",
    [{"reader": -1.0}, {"reader": float("nan")}, {"case": 1.0}, {"alike": 1.2}, {"cuts": ()},
     {"cuts": (0.0, 0.0)}, {"cuts": (float("inf"),)}],
)  # fmt: skip
def test_readers_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ReadersError):
        Latent(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("area", [0.0, 1.0, float("nan")])
def test_an_area_at_the_end_of_the_scale_is_refused(area: float) -> None:
    with pytest.raises(ReadersError, match="between 0 and 1"):
        Latent().moments((area,), 60, 60)


def test_two_generators_that_share_the_real_images_share_half_of_the_errors() -> None:
    """Simulated from outside: r1 0.49, r2 0.35, r3 0.175."""
    found = Latent().moments((0.8, 0.7), 60, 60)
    assert (found.r1, found.r2, found.r3) == pytest.approx((0.49, 0.35, 0.175), abs=0.01)
    assert found.var_tr == pytest.approx(0.25 * found.var_r, rel=0.1)  # half of one of two places


def test_guessing_readers_vary_more_than_those_who_can_tell() -> None:
    """Found by simulation around 0.5: 0.0027, where 0.00225 was assumed of an area of 0.75."""
    assert Latent().moments((0.5,), 60, 60).var == pytest.approx(0.0027, abs=5e-5)
    assert Latent().moments((0.75,), 60, 60).var < 0.002


def test_moments_are_those_of_simulated_studies() -> None:
    model = Latent(reader=0.05, case=0.6, cuts=(-0.8, 0.0, 1.0))
    drawn = Studies.drawn(model, (0.65,), 3, 60, 90, 1500, np.random.default_rng(0))
    var, cov2 = errors(drawn)
    found = model.moments((0.65,), 60, 90)
    assert var.mean() == pytest.approx(found.var, rel=0.05)
    assert cov2.mean() == pytest.approx(found.cov2, rel=0.08)
    areas = np.array([[drawn.area(k, j) for j in range(3)] for k in range(0, 1500, 5)])
    assert areas.mean() == pytest.approx(model.true_areas((0.65,))[0], abs=0.005)
    assert areas.var(axis=1, ddof=1).mean() == pytest.approx(
        found.var_r + found.var - found.cov2, rel=0.15
    )
