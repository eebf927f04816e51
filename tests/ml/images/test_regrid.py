"""A picture on another grid is the same picture without one of its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from ml.images.regrid import redrawn
from ml.images.roi import to_grey


def waves(period: float) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    return (0.6 * np.sin(2 * np.pi * (x + 0.3 * y) / period)).astype(np.float32)


def test_the_same_seed_gives_the_same_grid_and_another_seed_another():
    picture = waves(11)
    assert np.array_equal(redrawn(picture, 5), redrawn(picture, 5))
    assert not np.array_equal(redrawn(picture, 5), redrawn(picture, 6))


def test_it_shows_the_same_and_shares_no_more_pixels_than_chance():
    texture = 0.2 * np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    picture = (waves(17) + texture).clip(-1, 1)
    again = redrawn(picture, 5)
    assert np.corrcoef(again.ravel(), picture.ravel())[0, 1] > 0.4
    assert np.abs(redrawn(waves(17), 5)).max() < 0.62  # cubic convolution overshoots little
    assert (to_grey(again) == to_grey(picture)).mean() < 0.05


def test_a_plane_stays_a_plane_and_nothing_leaves_the_range():
    """Cubic convolution keeps straight lines, at every place and to the edge."""
    y, x = np.mgrid[:64, :64] / 64.0
    plane = (x + y - 1).astype(np.float32)
    found = redrawn(plane, 9).astype(np.float64)
    assert np.abs(np.diff(found, 2, axis=0)).max() < 1e-6
    assert np.abs(np.diff(found, 2, axis=1)).max() < 1e-6
    edge = np.where(x > 0.5, 1.0, -1.0).astype(np.float32)
    assert np.abs(redrawn(edge, 9)).max() == 1.0


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="64"):
        redrawn(np.zeros((32, 64), np.float32), 1)
