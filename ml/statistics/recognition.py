"""Recognition: whether a picture is one of some known ones, whatever was done to it on its way.

The middle of each known picture is looked for within the given one, by detail alone, so that
brightness and contrast do not matter. First coarsely, at scales from a half to 1.65, shifted,
mirrored and turned: 16 × 16 cells without the 10 slowest terms of their cosine transform. Then the
likeliest places are followed to where 32 × 32 cells without their 21 slowest terms agree best, also
when the picture was stretched or tilted a little: pictures of like lesions agree in their outline
and not in this.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.statistics import symmetry

Floats = npt.NDArray[np.float32]

SIDE = 64
ALIKE = 0.9
"""Correlation of fine detail from which on a picture counts as a known one.

Measured when this was written, 25 pictures of lung nodules of 134 patients, and 25 random windows
of liver CT, many of them all but flat, each changed in 24 ways. Found were all nodules, cropped,
minified to half, shifted, mirrored, turned, tilted by 5 degrees, stretched, brightened, blurred,
noisy, as JPEG of quality 30; 92 % as JPEG of quality 10, 84 % tilted by 10 degrees. Of the windows
of liver: all mirrored, turned, brightened, cropped or shifted ones; 88 % as JPEG of quality 30,
blurred, or minified by a third, 80 % minified to half, 60 % tilted by 10 degrees. Of other
pictures 1 of 60 nodules and 2 of 60 windows were taken for a known one.
"""
_MIDDLE = 38.0
"""Side of the part of a known picture that is looked for, in its pixels."""
_COARSE, _FINE = 16, 32
_SLOW = {_COARSE: 4, _FINE: 6}
"""Cells a side → terms of the cosine transform that are left out: those of u + v below it."""
_SCALES = np.geomspace(0.5, 1.65, 23)
_SHIFTS = np.linspace(-0.21, 0.21, 7)
"""Places of the middle in the given picture, in parts of the middle's side there."""
_WORTH = 0.6
"""Coarse correlation from which on a place is followed."""
_FOLLOWED = 12
_STEPS = np.array([1.2, 1.2, 0.06, 0.06, 0.07])
"""First steps along shifts (pixels), sides (parts) and angle (radian)."""
_ROUNDS = 9


class Recognition:
    """Some known pictures (64, 64), ready to be found again."""

    def __init__(self, known: Sequence[npt.NDArray[np.generic]]) -> None:
        pictures = np.array(known, np.float32).reshape(-1, SIDE, SIDE)
        turned = np.concatenate(
            [symmetry.turned(pictures, one) for one in range(symmetry.SYMMETRIES)]
        )
        coarse, fine = (_weights(cells, 1.0, 0.0) for cells in (_COARSE, _FINE))
        self._coarse = _detail(np.einsum("ij,njk,lk->nil", coarse, turned, coarse, optimize=True))
        self._fine = _detail(np.einsum("ij,njk,lk->nil", fine, turned, fine, optimize=True))

    def __len__(self) -> int:
        return len(self._coarse) // symmetry.SYMMETRIES

    def alike(self, picture: npt.NDArray[np.generic]) -> float:
        """The highest correlation of the fine detail of a picture (64, 64) with a known one; 0
        where none is worth a second look."""
        if not len(self._coarse):
            return 0.0
        seen = np.asarray(picture, np.float32)
        places, which = self._likeliest(seen)
        return self._followed(seen, places, self._fine[which]) if len(which) else 0.0

    def knows(self, picture: npt.NDArray[np.generic]) -> bool:
        """Whether a picture (64, 64) is a known one."""
        return self.alike(picture) >= ALIKE

    def _likeliest(self, seen: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
        """(down, across, scale) of the places to follow, and which known picture is there."""
        cells, places = [], []
        for scale, shifts, looks in _looks():
            sampled = np.einsum("aij,jk,blk->abil", looks, seen, looks, optimize=True)
            cells.append(_detail(sampled))
            places += [(down, across, scale) for down in shifts for across in shifts]
        alike = np.concatenate(cells) @ self._coarse.T
        best = alike.max(axis=0)  # of every known picture in every orientation
        which = np.argsort(-best)[:_FOLLOWED]
        which = which[best[which] >= _WORTH]
        return np.array(places)[alike[:, which].argmax(axis=0)], which

    def _followed(self, seen: Floats, places: npt.NDArray[np.float64], fine: Floats) -> float:
        """The best correlation near the places, each with its known picture."""
        down, across, scale = places.T
        at = np.stack([down, across, scale, scale, np.zeros(len(scale))], axis=1)
        smooth = scipy.ndimage.gaussian_filter(seen, 0.6)
        best = _agreement(smooth, at, fine)
        steps = np.tile(_STEPS, (len(at), 1))
        ways = np.concatenate([np.eye(5), -np.eye(5)])
        for _ in range(_ROUNDS):
            tried = at[:, None, :] + ways[None] * steps[:, None, :]
            found = _agreement(
                smooth, tried.reshape(-1, 5), np.repeat(fine, len(ways), axis=0)
            ).reshape(len(at), -1)
            chosen = found.argmax(axis=1)
            rows = np.arange(len(at))
            better = found[rows, chosen] > best
            at = np.where(better[:, None], tried[rows, chosen], at)
            best = np.maximum(best, found[rows, chosen])
            steps = np.where(better[:, None], steps, steps / 2)
            if best.max() >= ALIKE:
                break
        return float(best.max())


def _agreement(seen: Floats, at: npt.NDArray[np.float64], fine: Floats) -> Floats:
    """Correlation of fine detail at each place (down, across, height, width, angle) with ``fine``.

    Detail beyond the picture's edge is its edge's.
    """
    cells = (np.arange(_FINE) - (_FINE - 1) / 2) * _MIDDLE / _FINE
    down, across, height, width, angle = (part[:, None, None] for part in at.T)
    y, x = height * cells[None, :, None], width * cells[None, None, :]
    rows = SIDE / 2 - 0.5 + down + np.cos(angle) * y - np.sin(angle) * x
    columns = SIDE / 2 - 0.5 + across + np.sin(angle) * y + np.cos(angle) * x
    sampled = scipy.ndimage.map_coordinates(
        seen, [rows.ravel(), columns.ravel()], order=1, mode="nearest"
    )
    found: Floats = (_detail(sampled.reshape(-1, _FINE, _FINE)) * fine).sum(axis=1)
    return found


@lru_cache
def _looks() -> list[tuple[float, list[float], Floats]]:
    """For each scale its shifts, and the weights (shifts, 16, 64) by which a line is sampled."""
    looks = []
    for scale in _SCALES:
        shifts = [
            float(one * _MIDDLE * scale)
            for one in _SHIFTS
            if abs(one) * _MIDDLE * scale <= (SIDE - _MIDDLE * scale) / 2 + 1
        ]
        weights = np.stack([_weights(_COARSE, float(scale), shift) for shift in shifts])
        looks.append((float(scale), shifts, weights))
    return looks


def _weights(cells: int, scale: float, shift: float) -> Floats:
    """(cells, 64): each cell of the middle as the mean of the pixels under a triangle over it."""
    cell = _MIDDLE * scale / cells
    centres = SIDE / 2 + shift + (np.arange(cells) - (cells - 1) / 2) * cell
    distance = np.abs(np.arange(SIDE)[None, :] + 0.5 - centres[:, None])
    triangle = np.maximum(0.0, 1 - distance / max(cell, 1.0))
    return np.asarray(triangle / triangle.sum(axis=1, keepdims=True), np.float32)


@lru_cache
def _slow(cells: int) -> Floats:
    """(cells², terms): the slowest terms of the cosine transform of so many cells, of length 1."""
    places = (np.arange(cells) + 0.5) / cells
    waves = [np.cos(np.pi * k * places) for k in range(_SLOW[cells])]
    terms = [
        np.outer(first, second).ravel()
        for u, first in enumerate(waves)
        for v, second in enumerate(waves)
        if u + v < len(waves)
    ]
    return np.stack([one / np.linalg.norm(one) for one in terms], axis=1).astype(np.float32)


def _detail(cells: Floats) -> Floats:
    """Cells (…, n, n) as rows (m, n²) of length 1 without their slow part; 0 for none."""
    side = cells.shape[-1]
    rows = np.asarray(cells.reshape(-1, side * side), np.float32)
    quick = rows - (rows @ _slow(side)) @ _slow(side).T
    length = np.linalg.norm(quick, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-4, quick / np.maximum(length, 1e-4), 0), np.float32)
