"""Text that may be burned into an image: letters drawn in one value, side by side.

What a program draws over an image has one value, and a real image hardly ever has that value more
often than its neighbours: only such values are looked at. Of their connected parts those of a
letter's size count, and a row of four with the same foot line is taken for text. Smoothed or
lossily compressed letters have no value of their own and are not seen, nor is a single letter such
as a side marker. `make bench SECTIONS=burned-in` measures hits and false alarms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

SUSPECTED = (
    "Something like text is drawn into this image; it may name the patient. Look at it before you "
    "pass it on."
)

_BANDS = 6
"""Above and below, where text mostly stands, a band of so many is looked at by itself: there it
stands out, though the body has many pixels of its value."""
_LEAST_PIXELS = 40
_MOST_SHARE = 0.1
"""What has more of the image than this is ground, not ink."""
_STANDS_OUT = 4.0
"""So many times as often as the values around it."""
_AROUND = 8
_MOST_VALUES = 4
_DENSE = 0.7
_LETTERS = 4
_LEAST_HIGH, _MOST_HIGH, _MOST_WIDE = 5, 48, 48
_LEAST_INK = 5
_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class _Part:
    """A connected part of one value: its box in pixels."""

    left: int
    right: int
    foot: int
    high: int


def has_text(pixels: npt.NDArray[Any]) -> bool:
    """Whether something like text is drawn into an image, (rows, columns) of whole numbers."""
    band = max(_LEAST_HIGH, pixels.shape[0] // _BANDS)
    return any(
        _rows_of_letters(part == value)
        for part in (pixels, pixels[:band], pixels[-band:])
        for value in _inks(part)
    )


def _inks(pixels: npt.NDArray[Any]) -> list[int]:
    """Values that stand out among their neighbours, the most frequent first."""
    lowest, every = _counts(pixels)
    if not _often(every, pixels.size).any():  # most bands of a small image; the rest costs more
        return []
    values = np.flatnonzero(every) if _has_gaps(every) else np.arange(len(every))
    counts = every[values]
    upto = np.concatenate([[0], np.cumsum(np.pad(counts, _AROUND))])
    around = (upto[2 * _AROUND + 1 :] - upto[: -2 * _AROUND - 1] - counts) / (2 * _AROUND)
    found = np.flatnonzero(_often(counts, pixels.size) & (counts >= _STANDS_OUT * around))
    order = found[np.argsort(-counts[found], kind="stable")][:_MOST_VALUES]
    return [int(values[index]) + lowest for index in order]


def _often(counts: npt.NDArray[np.int64], pixels: int) -> npt.NDArray[np.bool_]:
    """Which values are there often enough for letters, and not so often that they are ground."""
    return (counts >= _LEAST_PIXELS) & (counts <= _MOST_SHARE * pixels)


def _counts(pixels: npt.NDArray[Any]) -> tuple[int, npt.NDArray[np.int64]]:
    """The lowest value, and how often each from it on is there; in parts, which stay small."""
    flat = pixels.reshape(-1)
    parts = [flat[start : start + _AT_ONCE] for start in range(0, flat.size, _AT_ONCE)]
    if pixels.dtype == np.uint8:  # nothing need be looked for first
        every = np.zeros(256, np.int64)
        for some in parts:
            every += np.bincount(some, minlength=256)
        there = np.flatnonzero(every)
        return int(there[0]), every[there[0] : there[-1] + 1]
    lowest = int(pixels.min())
    every = np.zeros(int(pixels.max()) - lowest + 1, np.int64)
    for some in parts:
        every += np.bincount(some.astype(np.int64) - lowest, minlength=every.size)
    return lowest, every


def _has_gaps(counts: npt.NDArray[Any]) -> bool:
    """Whether a slope or a coarse quantiser leaves values between the others unused."""
    share = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(share, (0.02, 0.98))
    middle = counts[low : high + 1]
    return bool((middle > 0).mean() < _DENSE)


def _rows_of_letters(ink: npt.NDArray[np.bool_]) -> bool:
    labels, _ = scipy.ndimage.label(ink, np.ones((3, 3), int))
    parts = []
    sizes = np.bincount(labels.ravel())
    for number, around in enumerate(scipy.ndimage.find_objects(labels), 1):
        high = around[0].stop - around[0].start
        wide = around[1].stop - around[1].start
        fits = _LEAST_HIGH <= high <= _MOST_HIGH and wide <= _MOST_WIDE
        if fits and sizes[number] >= _LEAST_INK:
            parts.append(_Part(around[1].start, around[1].stop, around[0].stop, high))
    return _longest(sorted(parts, key=lambda one: one.left)) >= _LETTERS


def _longest(parts: list[_Part]) -> int:
    """The most letters in a row: each close behind the one before, of like height and foot."""
    reach: list[int] = []
    for place, one in enumerate(parts):
        before = [reach[i] for i in range(max(0, place - 40), place) if _follows(parts[i], one)]
        reach.append(1 + max(before, default=0))
    return max(reach, default=0)


def _follows(first: _Part, second: _Part) -> bool:
    tall = max(first.high, second.high)
    gap = second.left - first.right
    return (
        0 <= gap <= tall
        and min(first.high, second.high) >= 0.6 * tall
        and abs(first.foot - second.foot) <= max(1, tall // 5)
    )
