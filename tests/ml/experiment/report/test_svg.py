"""Charts of the report: what is drawn lies where it belongs."""

from __future__ import annotations

import re

import pytest

from ml.experiment.report import svg


@pytest.mark.parametrize("turned", [False, True])
def test_a_flat_cloud_of_points_lies_in_the_middle_of_its_square(turned: bool) -> None:
    flat = [(float(x), 3.0 + 0.1 * (x % 2)) for x in range(-20, 60)]
    points = [(y, x) for x, y in flat] if turned else flat
    drawn = svg.scatter(points, [0] * len(points), [False] * len(points), "flat")
    places = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert len(places) == len(points)
    for axis in zip(*places, strict=True):
        assert (min(axis) + max(axis)) / 2 == pytest.approx(180, abs=0.1)
        assert min(axis) >= 12 and max(axis) <= 348
    assert max(max(axis) - min(axis) for axis in zip(*places, strict=True)) == pytest.approx(336)


def test_points_that_are_one_are_drawn_in_the_middle() -> None:
    assert (
        svg.scatter([(5, 5)] * 3, [0, 1, 2], [True] * 3, "one").count('cx="180.0" cy="180.0"') == 3
    )
