"""What an audit keeps of each picture that it looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ml.leak_audit import content, places, rendering, traces
from ml.leak_audit.places import Values
from ml.leak_audit.rendering import Encoded, Opened

Floats = NDArray[np.float64]

_WHOLE_PX = 256
"""Larger pictures are not asked whether they were enlarged, and their corners stand for lines."""


@dataclass(frozen=True)
class Seen:
    """What an audit keeps of one image: enough to compare it with any others."""

    name: str
    practice: bool
    opened: Opened
    shown: dict[str, float]
    thumbnail: Floats
    detail: NDArray[np.float32]
    corners: Values
    first: Values
    top: int
    marks: frozenset[str] = field(default_factory=frozenset)


def look(images: Iterable[Encoded]) -> list[Seen]:
    """Look at every image by itself: what it is made of, what it shows, and which marks it bears.

    Raises:
        LeakAuditError: an image that cannot be read.
    """
    seen: list[Seen] = []
    whole: list[Values | None] = []
    for image in images:
        one, values = _look(image)
        seen.append(one)
        whole.append(values)
    left = [0.0] * len(seen)
    marks: list[set[str]] = [set(one.marks) for one in seen]
    shapes: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for place, one in enumerate(seen):
        if one.top <= 255:
            shapes[(*one.first.shape, one.top)].append(place)
    for chosen in shapes.values():
        stack = np.stack([seen[k].first for k in chosen])
        for place, coded in zip(chosen, traces.jpeg(stack), strict=True):
            if coded:
                marks[place].add(traces.JPEG)
    sizes: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for place, values in enumerate(whole):
        if values is not None:
            sizes[(*values.shape, seen[place].top)].append(place)
    for (_, _, top), chosen in sizes.items():
        stack = np.stack([values for k in chosen if (values := whole[k]) is not None])
        for place, found in zip(chosen, traces.enlarged_from(stack, top), strict=True):
            left[place] = found.left
            if found.size is not None:
                marks[place].add(f"{traces.ENLARGED} from {found.size} px")
    return [
        replace(one, marks=frozenset(own), shown={**one.shown, _LEFT: rest})
        for one, own, rest in zip(seen, marks, left, strict=True)
    ]


_LEFT = "what no enlargement explains"


def _look(image: Encoded) -> tuple[Seen, Values | None]:
    opened = rendering.read(image)
    values, top = _whole_numbers(opened)
    first = values[: places.MOST_PX, : places.MOST_PX]
    rows, columns = (min(size, places.MOST_PX) for size in values.shape)
    lean = replace(opened, pixels=np.empty((0, 0)), stored=np.empty((0, 0)))
    corners = places.corners(values, rows, columns)
    small = max(values.shape) <= _WHOLE_PX
    seen = Seen(
        image.name,
        image.practice,
        lean,
        content.features(opened.pixels, opened.top),
        content.reduced(opened.pixels, content.THUMBNAIL_PX),
        content.reduced(opened.pixels, content.DETAIL_PX).astype(np.float32),
        corners,
        first if small else first.copy(),
        top,
        frozenset(traces.of_lines(values if small else corners)),
    )
    return seen, values if small else None


def _whole_numbers(opened: Opened) -> tuple[Values, int]:
    """The stored numbers in units of their own step, and the greatest that could be.

    Eight bits in a 16-bit file are eight bits again.
    """
    values = np.rint(opened.stored).astype(np.int64)
    top = int(opened.top)
    step = int(np.gcd.reduce(values, axis=None))
    if top > 255 and step >= 256:
        values, top = values // step, top // step
    kind = np.uint8 if values.min() >= 0 and values.max() <= 255 else np.int32
    return values.astype(kind), top
