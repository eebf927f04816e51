"""Lengths and values on a slice: as the browser says them, from pixels counted by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ml.images import ruler
from ml.images.ruler import Kind, RulerError

TABLE = Path(__file__).parents[2] / "js" / "measures.json"
CASES = json.loads(TABLE.read_text("utf-8"))["cases"]


def pattern() -> np.ndarray:
    """The slice that the table names."""
    row, column = np.mgrid[:60, :80]
    return ((7 * column + 13 * row + row * column) % 251 - 120).astype(np.int16)


def said(case: dict) -> tuple[str, ...]:
    kind, points = Kind(case["kind"]), [tuple(point) for point in case["points"]]
    spacing = None if case["spacing_mm"] is None else tuple(case["spacing_mm"])
    ruler.check(kind, points, (60, 80))
    if kind == Kind.LENGTH:
        return ruler.length(points, spacing).says()
    return ruler.values(kind, points, pattern(), spacing).says(calibrated=case["calibrated"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']} {case['points'][0]}")
def test_the_server_says_what_the_browser_says(case):
    assert list(said(case)) == case["says"]


def test_the_values_are_those_of_the_pixels_whose_centre_lies_within():
    pixels = pattern()
    found = ruler.values(Kind.RECTANGLE, [(24, 14), (20.4, 10.4)], pixels, (2.0, 0.5))
    within = pixels[10:14, 20:24].astype(float)
    assert (found.n, found.low, found.high) == (16, within.min(), within.max())
    assert found.mean == within.mean()
    assert found.sd == pytest.approx(within.std(ddof=1), rel=1e-12)
    assert found.mm2 == pytest.approx(3.6 * 3.6)
    disc = ruler.values(Kind.DISC, [(40, 30), (52, 30)], pixels, (2.0, 0.5))
    assert disc.mm2 == pytest.approx(math.pi * 36)
    assert ruler.values(Kind.RECTANGLE, [(5, 5), (6, 6)], pixels, None).sd is None


def test_halves_are_rounded_as_a_browser_rounds_them():
    pixels = np.array([[0, 0], [0, 1]], np.int16)
    found = ruler.values(Kind.RECTANGLE, [(0, 0), (2, 2)], pixels, None)
    assert found.says(calibrated=True)[0] == "0.3 ± 0.5 HU"
    assert (
        ruler.values(Kind.RECTANGLE, [(0, 0), (2, 2)], -pixels, None)
        .says(calibrated=False)[0]
        .startswith("−0.3")
    )


@pytest.mark.parametrize(
    ("kind", "points", "why"),
    [
        (Kind.LENGTH, [(1, 1)], "has 2 points, and 1 came"),
        (Kind.OUTLINE, [(1, 1), (5, 5)], "3 to 4096 points"),
        (Kind.OUTLINE, [(1, 1)] * 4097, "4097 came"),
        (Kind.LENGTH, [(1, 1), (81, 5)], "not on the slice of 80 × 60"),
        (Kind.LENGTH, [(1, 1), (math.nan, 5)], "not on the slice"),
        (Kind.DISC, [(1, 1), (1.2, 1.2)], "shorter than a pixel"),
    ],
)
def test_points_that_measure_nothing_are_refused(kind, points, why):
    with pytest.raises(RulerError, match=why):
        ruler.check(kind, points, (60, 80))


def test_a_region_between_the_pixels_is_refused():
    for kind, points in (
        (Kind.RECTANGLE, [(5.6, 5.6), (6.4, 6.4)]),
        (Kind.OUTLINE, [(5.6, 5.6), (6.4, 5.6), (6.4, 6.4)]),
    ):
        with pytest.raises(RulerError, match="No pixel lies within"):
            ruler.values(kind, points, pattern(), None)


def test_an_outline_encloses_what_it_goes_round_and_its_area_is_that_of_those_pixels():
    """Freely drawn lines cross: the area is never less, nor more, than the pixels that are told."""
    rng = np.random.default_rng(5)
    pixels, spacing = pattern(), (0.5, 0.8)
    for corners in range(4, 24):
        points = [(float(x), float(y)) for x, y in rng.uniform((1, 1), (79, 59), (corners, 2))]
        once = ruler.values(Kind.OUTLINE, points, pixels, spacing)
        assert once.mm2 == pytest.approx(once.n * 0.4, rel=0.2)
        twice = ruler.values(Kind.OUTLINE, points * 2, pixels, spacing)
        assert (twice.n, twice.mean, twice.sd) == (once.n, once.mean, once.sd)
        assert twice.mm2 == pytest.approx(once.n * 0.4)
