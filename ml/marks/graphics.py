"""Lines, circles and ellipses as reports and presentation states draw them, in pixels of an image
(PS3.3 C.18.6.1.1 and C.10.5.1.2: 0, 0 is the outer corner of the first pixel, as in a ``Box``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ml.marks.region import Form, MarkError, Point, around, around_ellipse

_NEAR_PX = 0.01


@dataclass(frozen=True)
class Drawn:
    """A figure: its form and its two points (`ml.marks.region.Region.points`)."""

    form: Form
    points: tuple[Point, Point]


def points_of(values: Sequence[object]) -> list[Point]:
    """Column and row in turn as points; MarkError where they are none."""
    try:
        numbers = [float(str(value)) for value in values]
    except ValueError:
        numbers = [math.nan]
    if len(numbers) % 2 or not numbers or not all(map(math.isfinite, numbers)):
        raise MarkError("its coordinates are no pairs of numbers.")
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def figure(kind: str, values: Sequence[object], *, distance: bool) -> Drawn:
    """What a graphic surrounds.

    Args:
        kind: the Graphic Type.
        values: Graphic Data.
        distance: a line of two points is a distance, and so the diameter of a circle around it.

    Raises:
        MarkError: it surrounds nothing.
    """
    points = points_of(values)
    if kind == "CIRCLE" and len(points) == 2:
        return Drawn(Form.CIRCLE, (points[0], points[1]))
    if kind == "ELLIPSE" and len(points) == 4:
        return Drawn(Form.BOX, around_ellipse(points))
    if kind in ("POLYLINE", "INTERPOLATED", "POLYGON", "MULTILINE", "RECTANGLE"):
        closed = math.dist(points[0], points[-1]) < _NEAR_PX and len(points) > 3
        # some draw a rectangle by its four corners alone
        if closed or kind == "RECTANGLE" or (len(points) >= 4 and distance):
            return Drawn(Form.BOX, around(points))
        if len(points) == 2 and distance:
            (ax, ay), (bx, by) = points
            return Drawn(Form.CIRCLE, (((ax + bx) / 2, (ay + by) / 2), points[0]))
        raise MarkError("it is an open line, which surrounds nothing.")
    if kind in ("POINT", "MULTIPOINT"):
        raise MarkError("it is a point, which has no size: mark the lesion by a region.")
    raise MarkError(
        f"its graphic type {kind[:16] or '(none)'} with {len(points)} points is no region."
    )
