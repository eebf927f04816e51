"""Which images of a series belong in one stack, and in which order they are read.

A stack holds one orientation, one size, one kernel, one acquisition, one time. Files mix them under
one Series Instance UID: phases, reformats, kernels, repeated scans. Scrolling through such a
mixture shows neighbours that are none, so each becomes a stack of its own, and why is said.

Axial slices run from head to foot, coronal ones from front to back, sagittal ones from right to
left (`ml.images.orientation.reading_sign`).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ml.images import orientation as planes


@dataclass(frozen=True)
class Placement:
    """What decides where an image belongs; the attributes are those of `CTSlice`.

    ``size`` is (rows, columns); ``acquired`` may be any text that is equal for equal moments.
    """

    sop_uid: str
    frame: int
    instance_number: int | None
    orientation: Sequence[float] | None
    position_mm: float | None
    size: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    calibrated: bool
    acquired: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Stack:
    """Images that belong together, in the order in which they are read.

    Attributes:
        order: their indices among the images that were given.
        apart: what sets this stack apart from the others of its series, such as ``coronal`` or
            ``acquisition 2``; "" for the only one.
        remarks: sentences for the user: a doubtful order, gaps.
    """

    order: tuple[int, ...]
    apart: str = ""
    remarks: tuple[str, ...] = ()


_SAME_DIRECTION = 0.01
"""Largest difference of two cosines that count as one direction: about half a degree."""
_SAME_PLACE_MM = 0.05
"""Positions that differ by less are one place, written by two programs."""
_GAP = 1.5
"""A step longer than this many usual ones is a gap."""


@dataclass(frozen=True)
class _Image:
    """An image on its way into a stack: its index among those given, and its placement."""

    index: int
    at: Placement


@dataclass(frozen=True)
class _Part:
    """Images that share all that was looked at so far, and in what they differ from the others."""

    images: list[_Image]
    apart: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def stacks(placements: Sequence[Placement]) -> list[Stack]:
    """Split the images of one series into stacks, each in reading order.

    Images that neither number nor place tells apart keep the order in which they are given.
    Stacks come in the order of their first instance number.
    """
    images = sorted((_Image(index, at) for index, at in enumerate(placements)), key=_number)
    parts = [_Part(images)] if images else []
    parts = [piece for part in parts for piece in _by_direction(part)]
    for value in _VALUES:
        parts = [piece for part in parts for piece in _by_value(part, value)]
    parts = [piece for part in parts for piece in _by_acquisition(part)]
    parts = [piece for part in parts for piece in _by_time(part)]
    parts = [piece for part in parts for piece in _by_repetition(part)]
    parts = [piece for part in parts for piece in _by_run(part)]
    return [_ordered(part) for part in sorted(parts, key=lambda part: _number(part.images[0]))]


def mixture(found: Sequence[Stack]) -> str:
    """A sentence on a series that gave several stacks; "" for one stack."""
    if len(found) < 2:
        return ""
    named = "; ".join(f"{stack.apart}: {len(stack.order)}" for stack in found)
    return (
        f"This series holds images that do not belong in one stack. They are shown as {len(found)} "
        f"stacks ({named})."
    )


def _number(image: _Image) -> tuple[bool, int, int]:
    number = image.at.instance_number
    return number is None, number or 0, image.at.frame


# -- what one stack may not mix ----------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    """Something that all images of a stack have in common, and the words for it."""

    key: Callable[[Placement], Hashable]
    words: Callable[[Placement], str]


def _tag(keyword: str, words: str) -> _Value:
    return _Value(
        lambda at: _comparable(at.tags.get(keyword, "")),
        lambda at: f"{words} {at.tags.get(keyword) or 'not stated'}",
    )


def _comparable(text: str) -> Hashable:
    """``2.5`` and ``2.50`` are one thickness."""
    try:
        return round(float(text), 3)
    except ValueError:
        return text.upper()


def _size(at: Placement) -> Hashable:
    spacing = at.spacing_mm
    return at.size, None if spacing is None else tuple(round(value, 3) for value in spacing)


def _size_words(at: Placement) -> str:
    rows, columns = at.size
    return f"{columns} × {rows}" + (f" at {at.spacing_mm[1]:g} mm" if at.spacing_mm else "")


def _type_words(at: Placement) -> str:
    return at.tags.get("ImageType", "").replace("\\", " ").lower() or "type not stated"


def _plane_words(at: Placement) -> str:
    return str(planes.plane(at.orientation)) if at.orientation else "orientation not stated"


_ACQUISITION = _tag("AcquisitionNumber", "acquisition")
_VALUES = (
    _Value(lambda at: at.calibrated, lambda at: "CT" if at.calibrated else "pictures"),
    _Value(_size, _size_words),
    _Value(
        lambda at: at.tags.get("FrameOfReferenceUID", ""),
        lambda at: "a frame of reference of its own",
    ),
    _Value(lambda at: at.tags.get("ImageType", "").upper(), _type_words),
    _tag("SeriesNumber", "series number"),
    _tag("StackID", "stack"),
    _tag("ContrastBolusAgent", "contrast agent"),
    _tag("ConvolutionKernel", "kernel"),
    _tag("KVP", "kV"),
    _tag("SliceThickness", "thickness"),
    _tag("TemporalPositionIdentifier", "time"),
    _tag("NominalPercentageOfCardiacPhase", "cardiac phase"),
)


def _split(
    part: _Part, key: Callable[[_Image], Hashable], words: Callable[[_Image], str]
) -> list[_Part]:
    """The part by ``key``; where there are several pieces, each is named after its first image."""
    groups: dict[Hashable, list[_Image]] = defaultdict(list)
    for image in part.images:
        groups[key(image)].append(image)
    if len(groups) == 1:
        return [part]
    return [_Part(group, (*part.apart, words(group[0])), part.remarks) for group in groups.values()]


def _by_value(part: _Part, value: _Value) -> list[_Part]:
    return _split(part, lambda image: value.key(image.at), lambda image: value.words(image.at))


def _by_direction(part: _Part) -> list[_Part]:
    """By orientation; cosines that differ in their last digits are one."""
    known: list[Sequence[float]] = []

    def key(image: _Image) -> Hashable:
        cosines = image.at.orientation
        if cosines is None:
            return None
        for index, seen in enumerate(known):
            if np.abs(np.subtract(seen, cosines)).max() <= _SAME_DIRECTION:
                return index
        known.append(cosines)
        return len(known) - 1

    return _split(part, key, lambda image: _plane_words(image.at))


def _by_acquisition(part: _Part) -> list[_Part]:
    """By AcquisitionNumber, but for scans in steps, where every slice is an acquisition."""
    pieces = _by_value(part, _ACQUISITION)
    in_steps = all(len(piece.images) == 1 for piece in pieces)
    return [part] if in_steps and not _repeats(_places(part.images)) else pieces


def _by_time(part: _Part) -> list[_Part]:
    """By the moment of acquisition, where two moments lie in and out of each other.

    Within one scan the time runs along with the place (or stands still): there it splits nothing.
    """
    if not all(image.at.acquired and image.at.position_mm is not None for image in part.images):
        return [part]
    along = [image.at.acquired for image in _by_place(part.images)]
    runs = 1 + sum(before != after for before, after in pairwise(along))
    moments = [*dict.fromkeys(image.at.acquired for image in part.images)]
    apart = runs == len(moments) and not _repeats(_places(part.images))
    if apart or 2 * len(moments) > len(along):  # or nearly every slice has a time of its own
        return [part]
    return _split(
        part,
        lambda image: image.at.acquired,
        lambda image: f"time {moments.index(image.at.acquired) + 1}",
    )


def _by_repetition(part: _Part) -> list[_Part]:
    """Images at places that others of the part have already become stacks of their own."""
    places = _places(part.images)
    if not _repeats(places):
        return [part]
    passes: Counter[int] = Counter()
    turn: dict[int, int] = {}
    for image, place in zip(part.images, places, strict=True):
        if place is not None:
            passes[place] += 1
        turn[image.index] = 1 if place is None else passes[place]
    numbers = {_number(image) for image in part.images}
    if len(numbers) < len(part.images):
        part = replace(part, remarks=(*part.remarks, _UNSURE))
    return _split(
        part,
        lambda image: turn[image.index],
        lambda image: f"pass {turn[image.index]} over the same places",
    )


_UNSURE = (
    "Which image belongs to which pass is not known: their instance numbers do not tell them apart."
)


def _by_run(part: _Part) -> list[_Part]:
    """By instance number, where it runs along the places several times.

    Two scans under one series alternate when they are put in order of place, and each has its own
    run of numbers. Numbers that follow no run at all say nothing but that.
    """
    images = part.images
    if len(images) < 4 or not all(
        image.at.instance_number is not None and image.at.position_mm is not None
        for image in images
    ):
        return [part]
    places = [image.at.position_mm or 0.0 for image in images]
    run, runs, direction = {images[0].index: 1}, 1, 0
    for before, after, image in zip(places, places[1:], images[1:], strict=False):
        step = 1 if after > before else -1
        if direction and step != direction:
            runs, direction = runs + 1, 0
        else:
            direction = step
        run[image.index] = runs
    along = [run[image.index] for image in _by_place(images)]
    changes = sum(before != after for before, after in pairwise(along))
    if changes == runs - 1:
        return [part]
    if min(Counter(along).values()) < 2 or 3 * runs > len(images):
        told = "Instance numbers do not run along the places: images of two scans may be mixed."
        return [replace(part, remarks=(*part.remarks, told))]
    return _split(
        part,
        lambda image: run[image.index],
        lambda image: f"run {run[image.index]} of the instance numbers",
    )


def _places(images: Sequence[_Image]) -> list[int | None]:
    """Where each image lies along the normal, on a grid; None where that is not known.

    The frames of an object that states one place for all of them have no places of their own.
    """
    found = _grid([image.at.position_mm for image in images])
    frames: dict[str, list[int | None]] = defaultdict(list)
    for image, place in zip(images, found, strict=True):
        frames[image.at.sop_uid].append(place)
    without = {uid for uid, its in frames.items() if uid and len(its) > 1 and len(set(its)) == 1}
    return [
        None if image.at.sop_uid in without else place
        for image, place in zip(images, found, strict=True)
    ]


def _grid(positions_mm: Sequence[float | None]) -> list[int | None]:
    """A number for each place; those nearer to each other than ``_SAME_PLACE_MM`` have one."""
    number: dict[float, int] = {}
    count, last = 0, -math.inf
    for position in sorted({one for one in positions_mm if one is not None}):
        count += position - last > _SAME_PLACE_MM
        number[position], last = count, position
    return [None if one is None else number[one] for one in positions_mm]


def _repeats(places: Sequence[int | None]) -> bool:
    known = [place for place in places if place is not None]
    return len(set(known)) < len(known)


# -- order -------------------------------------------------------------------------------------


def _ordered(part: _Part) -> Stack:
    places = _places(part.images)
    placed = [image for image, place in zip(part.images, places, strict=True) if place is not None]
    if len(placed) < len(part.images):
        images, remarks = _by_number(part.images, placed)
    else:
        images = _by_place(placed)
        remarks = _gaps(images)
    order = tuple(image.index for image in images)
    return Stack(order, ", ".join(part.apart), (*part.remarks, *remarks))


def _by_place(images: Sequence[_Image]) -> list[_Image]:
    """Images with places, in reading order."""
    cosines = images[0].at.orientation
    sign = 1 if cosines is None else planes.reading_sign(cosines)
    return sorted(images, key=lambda image: sign * (image.at.position_mm or 0.0))


def _by_number(
    images: Sequence[_Image], placed: Sequence[_Image]
) -> tuple[list[_Image], tuple[str, ...]]:
    """The order where places are missing, and remarks on it.

    Instance numbers decide if every image has its own and the places that are known agree with
    them; they may run against the reading order.
    """
    by_number = sorted(images, key=_number)
    numbers = {_number(image) for image in images}
    numbered = len(numbers) == len(images) and not any(missing for missing, _, _ in numbers)
    if not placed:
        sure = numbered or len(images) == 1 or not any(image.at.calibrated for image in images)
        # of pictures the order in which they came is all that there is
        return by_number, () if sure else ("Neither positions nor numbers order these images.",)
    read = _by_place(placed)
    known = {image.index for image in placed}
    seen = [image for image in by_number if image.index in known]
    lacking = f"{len(images) - len(placed)} of {len(images)} images state no position"
    if numbered and seen in (read, read[::-1]):
        ordered = by_number if seen == read else by_number[::-1]
        return ordered, (f"{lacking}; their instance numbers order them.",)
    rest = [image for image in by_number if image.index not in known]
    return [*read, *rest], (
        f"{lacking}, and instance numbers do not order them: they stand at the end.",
    )


def _gaps(images: Sequence[_Image]) -> tuple[str, ...]:
    """Said of a stack in which slices seem to be missing."""
    places = [image.at.position_mm for image in images if image.at.position_mm is not None]
    if len(places) < 3:
        return ()
    steps = np.abs(np.diff(places))
    usual = float(np.median(steps))
    gaps = int((steps > _GAP * usual).sum())
    if not gaps:
        return ()
    return (
        f"{gaps} {'gap' if gaps == 1 else 'gaps'} between slices: up to {steps.max():.1f} mm where "
        f"{usual:.1f} mm is usual.",
    )
