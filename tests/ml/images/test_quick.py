"""The quick measurements: the numbers of the others, by another way."""

from __future__ import annotations

import numpy as np
import pytest

from ml.images import measurements, quick
from ml.images.measurements import GREY, HU, SIZE

WINDOW = (-150.0, 250.0)


@pytest.mark.parametrize("window", [WINDOW, None, (-1000.0, 400.0)])
def test_each_number_is_that_of_all_measurements(window: tuple[float, float] | None) -> None:
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.normal(0, 0.05, (3, 64, 64)), axis=2)
    rois = np.clip(np.concatenate([rng.normal(0, 0.4, (127, 64, 64)), smooth]), -1, 1)
    rois = np.concatenate([rois, np.full((1, 64, 64), 0.3), -np.ones((1, 64, 64))])
    sizes = [None if i % 2 else float(i) for i in range(len(rois))]
    every, few = (one.measure(rois, window, sizes) for one in (measurements, quick))
    place = {one: i for i, one in enumerate(every.of)}
    assert few.of == quick.names(HU if window else GREY)
    assert few.of == tuple(one for one in every.of if one in few.of)  # in the same order
    expected = every.values[:, [place[one] for one in few.of]]
    assert few.values == pytest.approx(expected, rel=1e-9, abs=1e-6, nan_ok=True)


def test_what_costs_most_is_left_out_and_the_size_comes_last() -> None:
    names = [one.name for one in quick.names(HU)]
    assert names[-1] == SIZE
    assert not [name for name in names if name.startswith(("glcm", "lbp"))]
    assert {"lesion_mean", "lesion_sd", "contrast", "rim_less_core", "edge_gradient"} < set(names)


def test_no_roi_gives_no_row() -> None:
    assert quick.measure(np.zeros((0, 64, 64)), WINDOW).values.shape == (0, len(quick.names(HU)))
