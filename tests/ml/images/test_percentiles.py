"""Two percentiles of an image are those of numpy."""

from __future__ import annotations

import numpy as np
import pytest

from ml.images import percentiles


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 5), (64, 64), (512, 512)])
@pytest.mark.parametrize("which", [(0.1, 99.9), (1, 99), (0, 100), (50, 50)])
def test_they_are_those_of_numpy(kind, shape, which):
    pixels = (np.random.default_rng(7).standard_normal(shape) * 40 + 100).astype(kind)
    before = pixels.copy()
    wanted = np.percentile(pixels.astype(np.float64), which)
    assert percentiles.span(pixels, *which) == pytest.approx(tuple(wanted), rel=1e-12, abs=1e-12)
    assert (pixels == before).all()
    flat = np.full(shape, 7, kind)
    assert percentiles.span(flat, *which) == (7.0, 7.0)
