"""What is measured on a slice: a length, or the values of the pixels within a region.

The same as ``static/js/viewer/measuring.js``, to the last digit that is shown; one table of tests
holds both to it (``tests/js/measures.json``). Coordinates are pixels of the slice: x to the right,
y down; pixel (row r, column c) covers [c, c + 1) × [r, r + 1), and lies within a region where its
centre does. An outline encloses what it goes round, however often and whichever way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError

MOST_POINTS = 4096
"""Corners of an outline at most."""
Points = Sequence[tuple[float, float]]
Mask = npt.NDArray[np.bool_]


class RulerError(HepaticaError):
    """Points that measure nothing on the slice."""


class Kind(StrEnum):
    """What is measured, and what its points are."""

    LENGTH = "length"
    """Its two ends."""
    RECTANGLE = "rectangle"
    """Two corners."""
    DISC = "disc"
    """Its centre and a point of its edge; round in mm."""
    OUTLINE = "outline"
    """Its corners in order."""


@dataclass(frozen=True)
class Values:
    """The pixels within a region.

    Attributes:
        n: how many.
        mean, low, high: HU, or grey values.
        sd: of a sample; None of one pixel.
        mm2: area of the shape, and of its pixels where it leaves the slice or its outline crosses
            itself; None without pixel spacing.
    """

    n: int
    mean: float
    sd: float | None
    low: int
    high: int
    mm2: float | None

    def says(self, *, calibrated: bool) -> tuple[str, ...]:
        """In lines; grey values where they are no HU, pixels where no spacing is known."""
        unit = "HU" if calibrated else "grey"
        spread = "" if self.sd is None else f" ± {_fixed(self.sd, 1)}"
        if self.mm2 is None:
            area = f"{self.n} px, uncalibrated"
        elif self.mm2 < 100:
            area = f"{_fixed(self.mm2, 1)} mm², {self.n} px"
        else:
            area = f"{_fixed(self.mm2 / 100, 2)} cm², {self.n} px"
        return (
            f"{_fixed(self.mean, 1)}{spread} {unit}",
            f"{_fixed(self.low, 0)} to {_fixed(self.high, 0)}",
            area,
        )


@dataclass(frozen=True)
class Length:
    """A distance.

    Attributes:
        px: in pixels of the slice.
        mm: None without pixel spacing.
    """

    px: float
    mm: float | None

    def says(self) -> tuple[str, ...]:
        """In a line: mm, or pixels where no spacing is known."""
        if self.mm is None:
            return (f"{_fixed(self.px, 1)} px, uncalibrated",)
        return (f"{_fixed(self.mm, 1)} mm",)


def check(kind: Kind, points: Points, size: tuple[int, int]) -> None:
    """Let points pass that can be a measure of this kind on a slice of (rows, columns).

    Raises:
        RulerError: too few or too many, no numbers, off the slice, or hardly apart.
    """
    fewest, most = (3, MOST_POINTS) if kind == Kind.OUTLINE else (2, 2)
    if not fewest <= len(points) <= most:
        raise RulerError(
            f"{'An' if kind == Kind.OUTLINE else 'A'} {kind} has "
            f"{fewest if fewest == most else f'{fewest} to {most}'} points, and {len(points)} "
            "came. Measure it again."
        )
    rows, columns = size
    first = points[0]
    for x, y in points:
        if not (0 <= x <= columns and 0 <= y <= rows):  # no number is not either
            raise RulerError(
                f"A point of the {kind} is not on the slice of {columns} × {rows} pixels. "
                "Measure it again."
            )
    if kind != Kind.OUTLINE and math.dist(first, points[1]) < 1:
        raise RulerError(f"The {kind} is shorter than a pixel. Measure it again.")


def length(points: Points, spacing_mm: tuple[float, float] | None) -> Length:
    """Of a line between two points; each direction by its own spacing (of rows, of columns)."""
    (ax, ay), (bx, by) = points
    dx, dy = bx - ax, by - ay
    mm = None if spacing_mm is None else math.hypot(dx * spacing_mm[1], dy * spacing_mm[0])
    return Length(math.hypot(dx, dy), mm)


def values(
    kind: Kind,
    points: Points,
    pixels: npt.NDArray[np.int16] | npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    spacing_mm: tuple[float, float] | None,
) -> Values:
    """Of the pixels (rows, columns) within a region.

    Raises:
        RulerError: no pixel's centre lies within.
    """
    left, top, right, bottom = _bounds(kind, points, spacing_mm)
    rows, columns = pixels.shape
    first, last = max(0, math.floor(top)), min(rows, math.ceil(bottom))
    start, end = max(0, math.floor(left)), min(columns, math.ceil(right))
    if first >= last or start >= end:
        raise _none(kind)
    y = np.arange(first, last)[:, None] + 0.5
    x = np.arange(start, end)[None, :] + 0.5
    inside, is_plain = _within(kind, points, x, y, spacing_mm)
    part = pixels[first:last, start:end][inside].astype(np.int64)
    if part.size == 0:
        raise _none(kind)
    mean = int(part.sum()) / part.size
    sd = float(np.sqrt(np.sum((part - mean) ** 2) / (part.size - 1))) if part.size > 1 else None
    area = None
    if spacing_mm is not None:
        is_whole = left >= 0 and top >= 0 and right <= columns and bottom <= rows
        area = part.size * math.prod(spacing_mm)
        if is_whole and is_plain:
            area = _area(kind, points, spacing_mm)
    return Values(part.size, mean, sd, int(part.min()), int(part.max()), area)


def _none(kind: Kind) -> RulerError:
    return RulerError(f"No pixel lies within the {kind}. Draw it larger.")


def _aspect(spacing_mm: tuple[float, float] | None) -> float:
    """Height of a pixel over its width."""
    return 1.0 if spacing_mm is None else spacing_mm[0] / spacing_mm[1]


def _radii(points: Points, spacing_mm: tuple[float, float] | None) -> tuple[float, float]:
    (cx, cy), (ex, ey) = points
    aspect = _aspect(spacing_mm)
    radius = math.hypot(ex - cx, (ey - cy) * aspect)
    return radius, radius / aspect


def _bounds(
    kind: Kind, points: Points, spacing_mm: tuple[float, float] | None
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom."""
    if kind == Kind.DISC:
        (x, y), _ = points
        wide, high = _radii(points, spacing_mm)
        return x - wide, y - high, x + wide, y + high
    across, down = [x for x, _ in points], [y for _, y in points]
    return min(across), min(down), max(across), max(down)


def _within(
    kind: Kind,
    points: Points,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    spacing_mm: tuple[float, float] | None,
) -> tuple[Mask, bool]:
    """Which of the centres at columns ``x`` (1, n) and rows ``y`` (m, 1) lie within, (m, n), and
    whether the line goes round each of them once, and round all the same way."""
    if kind == Kind.RECTANGLE:
        left, top, right, bottom = _bounds(kind, points, spacing_mm)
        return (x >= left) & (x < right) & (y >= top) & (y < bottom), True
    if kind == Kind.DISC:
        (cx, cy), _ = points
        wide, high = _radii(points, spacing_mm)
        return ((x - cx) / wide) ** 2 + ((y - cy) / high) ** 2 <= 1, True
    rounds = np.zeros((y.size, x.size), dtype=np.int32)
    for (bx, by), (ax, ay) in pairwise([points[-1], *points]):
        lines = np.flatnonzero((ay > y) != (by > y))  # the few that this side crosses
        if lines.size:
            way = 1 if ay > by else -1
            rounds[lines] += way * (x < (bx - ax) * (y[lines] - ay) / (by - ay) + ax)
    return rounds != 0, max(int(rounds.max()), 0) - min(int(rounds.min()), 0) <= 1


def _area(kind: Kind, points: Points, spacing_mm: tuple[float, float]) -> float:
    """mm² of the shape."""
    of_pixel = spacing_mm[0] * spacing_mm[1]
    if kind == Kind.DISC:
        wide, high = _radii(points, spacing_mm)
        return math.pi * wide * high * of_pixel
    if kind == Kind.RECTANGLE:
        left, top, right, bottom = _bounds(kind, points, spacing_mm)
        return (right - left) * (bottom - top) * of_pixel
    twice = sum(bx * ay - ax * by for (bx, by), (ax, ay) in pairwise([points[-1], *points]))
    return abs(twice) / 2 * of_pixel


def _fixed(value: float, decimals: int) -> str:
    """With so many decimals, halves away from zero as a browser rounds them, and a true minus."""
    step = Decimal(1).scaleb(-decimals)
    return f"{Decimal(value).quantize(step, ROUND_HALF_UP)}".replace("-", "−")
