"""Charts of the report: what is drawn lies where it belongs."""

from __future__ import annotations

import itertools
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


def test_of_lines_and_points_that_lie_on_each_other_each_is_seen() -> None:
    """The first is drawn first, so it is the widest; where nothing is hidden nothing changes."""
    same = [(0.0, 0.5, 0.4, 0.6), (100.0, 0.7, None, None)]
    lines = [svg.Series(str(n), same, f"#00000{n}") for n in range(3)]
    apart = svg.Series("apart", [(0.0, 0.2, None, None), (100.0, 0.7, None, None)], "#000009")
    drawn = svg.curve([*lines, apart], "arms", "samples", (0, 100))
    widths = [
        float(re.search(f'<polyline [^>]*stroke="{colour}" stroke-width="([\\d.]+)"', drawn)[1])
        for colour in ("#000000", "#000001", "#000002", "#000009")
    ]
    assert widths[0] > widths[1] > widths[2] == widths[3]
    radii = {
        colour: [float(one) for one in re.findall(f'r="([\\d.]+)" fill="{colour}"', drawn)]
        for colour in ("#000000", "#000001", "#000002", "#000009")
    }
    first, second, third, last = radii.values()
    assert first[0] > second[0] > third[0] == last[0]  # three at one place, one apart
    assert first[1] > second[1] > third[1] > last[1]  # four at one place
    bars = [
        float(one)
        for one in re.findall(r'y2="[\d.]+" stroke="#\d+" stroke-width="([\d.]+)"', drawn)
    ]
    assert bars == sorted(bars, reverse=True) and len(set(bars)) == 3
    plane = svg.square([*lines, apart], "ROC", "x", "y")
    assert len(set(re.findall(r'stroke="#\d+" stroke-width="([\d.]+)"', plane))) == 3


def test_lines_that_only_meet_are_drawn_alike() -> None:
    meeting = [[(0.0, 0.0), (5.0, 5.0), (9.0, 0.0)], [(0.0, 9.0), (5.0, 5.0), (9.0, 9.0)]]
    assert svg.covered_lines(meeting) == [0, 0]
    assert svg.covered_points(meeting) == [[0, 1, 0], [0, 0, 0]]


def test_of_arms_with_one_point_each_at_one_place_none_is_hidden() -> None:
    """Each bar has a place of its own with its point on it, and no bar is drawn over a point."""
    arms = [
        svg.Series(str(n), [(2000.0, value, value - 0.1, value + 0.1)], f"#00000{n}")
        for n, value in enumerate((0.70, 0.74, 0.66, 0.71, 0.69))
    ]
    drawn = svg.chart(arms, "arms", "samples", (0, 2000))
    bars = [
        float(re.search(f'<line x1="([\\d.]+)"[^>]*stroke="{arm.colour}"', drawn)[1])
        for arm in arms
    ]
    dots = [
        float(re.search(f'<circle cx="([\\d.]+)"[^>]*fill="{arm.colour}"', drawn)[1])
        for arm in arms
    ]
    assert bars == dots
    assert min(b - a for a, b in itertools.pairwise(sorted(bars))) > 2 * 3.4 + 1.5
    assert max(bars) < 760
    assert drawn.rindex("<line") < drawn.index("<circle")
    alone = svg.chart(arms[:1], "arms", "samples", (0, 2000))
    assert 'cx="734.0"' in alone  # where there is nothing beside it, it stands at its number
