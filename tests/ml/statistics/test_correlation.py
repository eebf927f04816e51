import numpy as np
import pytest

from ml.statistics import correlation


def test_a_constant_picture_is_like_every_other():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.random(16), np.full(16, 0.3)])
    assert correlation.of_pairs(rows, rows) == pytest.approx(np.ones((2, 2)))
    assert not correlation.units(rows)[1].any()


def test_it_is_that_of_numpy():
    rng = np.random.default_rng(1)
    first, second = rng.random((4, 30)), rng.random((3, 30))
    expected = np.corrcoef(first, second)[:4, 4:]
    assert correlation.of_pairs(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_a_turned_picture_is_found_again(quarters, mirrored):
    image = np.random.default_rng(2).random((8, 8))
    other = np.rot90(image, quarters)[:, :: -1 if mirrored else 1]
    rows = [correlation.units(one.reshape(1, -1)) for one in (image, other)]
    assert correlation.in_any_orientation(*rows, 8)[0, 0] == pytest.approx(1)
