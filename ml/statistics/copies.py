"""Copies that are not exact: correlation after shift, turn and mirror, whatever gain and offset.

A distance of pixels sees an exact copy, and misses one with noise, moved by two pixels or brighter
by 20 HU. Here both ROIs lose their noise first; then the middle of the one is correlated with every
window of the other that a mirror, a turn by any angle and a shift of up to 4 pixels can bring under
it. Correlation knows neither gain nor offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.float32]

SMOOTHED_PX = 2.0
"""Standard deviation of the blur, so that neither noise nor a blur by itself hides a copy."""
RADIUS_PX = 22
"""Of the disc in the middle that is compared."""
SHIFT_PX = 4
ANGLE_DEG = 6
"""Between two angles that are tried; a copy between them still correlates."""
_SIDE = 64
_STEP = 3
"""Every third pixel is compared: after the blur neighbours tell the same."""


def _disc() -> npt.NDArray[np.int64]:
    """(d, 2) rows and columns of the pixels that are compared."""
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    inside = (rows - 31.5) ** 2 + (columns - 31.5) ** 2 <= RADIUS_PX**2
    return np.argwhere(inside & (rows % _STEP == 0) & (columns % _STEP == 0))


_AT = _disc()
_SHIFTS = np.asarray(list(product(range(-SHIFT_PX, SHIFT_PX + 1), repeat=2)))


@dataclass(frozen=True)
class Nearest:
    """For each of n ROIs the reference that it is most like, and how that one lies on it.

    Attributes:
        gap: (n,) 1 − the highest correlation. 0: a copy; 1: nothing in common.
        where: (n,) position of the reference.
        mirrored: (n,) whether the ROI had to be mirrored, left to right …
        angle: (n,) … by how many degrees the reference then had to be turned …
        shift: (n, 2) … and at which row and column from its middle the ROI lies, in pixels.
    """

    gap: Floats
    where: Ints
    mirrored: npt.NDArray[np.bool_]
    angle: Ints
    shift: Ints

    def of(self, rows: slice) -> Nearest:
        """The same of some of the ROIs."""
        return Nearest(*(getattr(self, one.name)[rows] for one in fields(self)))

    def both(self, i: int, queries: Pixels, references: Sequence[Pixels]) -> Pixels:
        """(2, 64, 64): the i-th ROI, and its reference as it lies on it."""
        turned = _turned(references[self.where[i]], int(self.angle[i]))
        laid = np.roll(turned, (-int(self.shift[i, 0]), -int(self.shift[i, 1])), (0, 1))
        return np.stack([queries[i], laid[:, ::-1] if self.mirrored[i] else laid])


def nearest(queries: Pixels, references: Sequence[Pixels], but: Ints | None = None) -> Nearest:
    """The most alike of ``references`` (64, 64) for each of ``queries`` (n, 64, 64), n at least 1.

    One of even grey is like none: its gap is 1.

    Args:
        but: (n,) the reference that each is not compared with: itself.
    """
    smooth = _smoothed(queries)
    asked = [_units(each[:, _AT[:, 0], _AT[:, 1]]) for each in (smooth, smooth[:, :, ::-1])]
    best = np.full(len(queries), -np.inf)
    found = np.zeros((4, len(queries)), np.int64)  # reference, mirrored, angle, shift
    for i, reference in enumerate(references):
        windows = _windows(_smoothed(reference[None])[0])
        for mirrored, each in enumerate(asked):
            alike = each @ windows.T
            place = alike.argmax(axis=1)
            value = np.take_along_axis(alike, place[:, None], axis=1)[:, 0]
            better = value > best if but is None else (value > best) & (but != i)
            best[better] = value[better]
            angle, shift = np.divmod(place[better], len(_SHIFTS))
            found[:, better] = np.stack(
                [np.full_like(angle, i), np.full_like(angle, mirrored), angle * ANGLE_DEG, shift]
            )
    gap = np.clip(1.0 - best, 0.0, 2.0)
    return Nearest(gap, found[0], found[1].astype(bool), found[2], _SHIFTS[found[3]])


def gaps(queries: Pixels, references: Sequence[Pixels]) -> Floats:
    """The gap (n, m) between each of ``queries`` (n, 64, 64) and each of ``references``.

    Lesser memory than all windows at once would take: one reference at a time, as ``nearest``.
    """
    smooth = _smoothed(queries)
    asked = [_units(each[:, _AT[:, 0], _AT[:, 1]]) for each in (smooth, smooth[:, :, ::-1])]
    alike = np.empty((len(queries), len(references)))
    for i, reference in enumerate(references):
        windows = _windows(_smoothed(reference[None])[0])
        alike[:, i] = np.maximum(*((each @ windows.T).max(axis=1) for each in asked))
    return np.clip(1.0 - alike, 0.0, 2.0)


def twins(rois: Pixels) -> Floats:
    """(n,): the gap between each ROI and the other one that is most like it; n at least 2."""
    return nearest(rois, list(rois), np.arange(len(rois))).gap


def _windows(roi: Pixels) -> Pixels:
    """(angles × shifts, d): what the ROI shows in the disc under each turn and shift."""
    turns, places = _turns(ANGLE_DEG)
    seen = (turns @ roi.ravel().astype(np.float64)).astype(np.float32).reshape(-1, places.max() + 1)
    return _units(seen[:, places].reshape(-1, len(_AT)))


def _turned(roi: Pixels, angle: int) -> Pixels:
    turned: Pixels = scipy.ndimage.rotate(roi, angle, reshape=False, order=1, mode="reflect")
    return turned


@lru_cache(maxsize=2)
def _turns(every: int) -> tuple[Any, Ints]:
    """All turns at once: a sparse matrix (angles × p, 4096) that gives of a flat ROI the p pixels
    of each turn that some shift brings under the disc; and which of the p (shifts, d) that are.

    The pixels are those of ``_turned``, to rounding.
    """
    flat = (_AT[:, 0] + _SHIFTS[:, :1]) * _SIDE + _AT[:, 1] + _SHIFTS[:, 1:]
    needed, places = np.unique(flat, return_inverse=True)
    middle = (_SIDE - 1) / 2
    out = np.stack(np.divmod(needed, _SIDE)) - middle
    blocks = []
    for angle in np.deg2rad(np.arange(0, 360, every)):
        cos, sin = np.cos(angle), np.sin(angle)
        at = np.asarray([[cos, sin], [-sin, cos]]) @ out + middle
        below = np.floor(at)
        share = at - below
        for down, right in product((0, 1), repeat=2):
            of = _reflected(np.add(below, [[down], [right]]))
            weight = np.abs(1 - down - share[0]) * np.abs(1 - right - share[1])
            blocks.append((of[0] * _SIDE + of[1], weight))
    columns, weights = (
        np.stack(parts).reshape(-1, 4, len(needed)) for parts in zip(*blocks, strict=True)
    )
    rows = np.arange(len(columns) * len(needed)).reshape(-1, 1, len(needed))
    shape = (len(columns) * len(needed), _SIDE**2)
    matrix = scipy.sparse.csr_array(
        (weights.ravel(), (np.broadcast_to(rows, columns.shape).ravel(), columns.ravel())), shape
    )
    return matrix, places.reshape(flat.shape)


def _reflected(at: Floats) -> Ints:
    """Whole coordinates as of an ROI that goes on mirrored beyond its edges."""
    within = np.mod(at, 2 * _SIDE)
    return np.where(within < _SIDE, within, 2 * _SIDE - 1 - within).astype(np.int64)


def _smoothed(rois: Pixels) -> Pixels:
    smooth: Pixels = scipy.ndimage.gaussian_filter(
        rois.astype(np.float32), (0, SMOOTHED_PX, SMOOTHED_PX)
    )
    return smooth


def _units(rows: Pixels) -> Pixels:
    """Rows without their mean, of length 1; one without any spread is 0."""
    free = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(free, axis=1, keepdims=True)
    return np.asarray(np.divide(free, length, out=np.zeros_like(free), where=length > 1e-4))
