"""Marks that no picture bears by itself: constant frames, copied lines, grids of JPEG, enlargement.

Each is an exact property of one picture's numbers, so that one picture alone can be told by it, and
pictures that nothing was done to have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from ml.leak_audit.places import Values
from ml.leak_audit.spectra import BLOCK, coefficients

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FRAME = "constant border"
COPIED = "copied lines"
SYMMETRIC = "its own mirror image"
JPEG = "8 × 8 grid of JPEG"
ENLARGED = "enlarged"

_DEEPEST_FRAME = 4
_RICH = 6
"""Grey values that a line must have for its copy to be no chance."""
_ENDS = 3
"""Pixels at a line's ends that are not compared: frames around copied lines cover them."""


def of_lines(values: Values) -> set[str]:
    """Marks of whole rows and columns of one picture (h, w)."""
    found = set()
    if _framed(values):
        found.add(FRAME)
    if any(np.array_equal(values, other) for other in (values[:, ::-1], values[::-1])) or (
        values.shape[0] == values.shape[1]
        and any(np.array_equal(values, other) for other in (values.T, values[::-1, ::-1].T))
    ):
        if np.ptp(values):
            found.add(SYMMETRIC)
    elif _copies(values) or _copies(values.T):
        found.add(COPIED)
    return found


def _framed(values: Values) -> bool:
    """Whether a border line is constant and the picture behind it is not of that value."""
    for turned in (values, values[::-1], values.T, values.T[::-1]):
        first = turned[0]
        if np.ptp(first):
            continue
        depth = 1
        while depth < _DEEPEST_FRAME and not np.ptp(turned[depth, depth:-depth]):
            depth += 1
        behind = turned[depth, _DEEPEST_FRAME:-_DEEPEST_FRAME]
        if np.mean(np.abs(behind - first[0]) <= 2) < 0.25:
            return True
    return False


def _copies(values: Values) -> bool:
    """Whether two rows hold the same, or one is another read backwards."""
    seen: dict[bytes, int] = {}
    middles = np.ascontiguousarray(values[:, _ENDS:-_ENDS])
    backwards = np.ascontiguousarray(middles[:, ::-1])
    rich = (np.diff(np.sort(middles, axis=1), axis=1) != 0).sum(axis=1) + 1 >= _RICH
    for place in np.flatnonzero(rich).tolist():
        for key in (middles[place].tobytes(), backwards[place].tobytes()):
            if seen.setdefault(key, place) != place:
                return True
    return False


# -- JPEG -----------------------------------------------------------------------------------------

_STEPS = (*range(2, 15), 16, 18, 20, 22, 24, 28, 32)
_LEAST = 12
"""Coefficients beyond half a step that tell something of it."""
_PATTERNS = 5
"""DCT patterns that must have as many."""
_SURE, _SURE_ELSEWHERE = 2.6, 3.2
"""Mean evidence over patterns, in standard deviations, from which a grid is there. Of 134 real
nodules and as many phantoms none has 1.8; of JPEG at qualities 25 to 98 all have 2.9."""
_FINE, _FINE_ELSEWHERE = 8.0, 10.0
"""The same for a step of 1 over all patterns at once: qualities 99 and 100, at 11 and more."""
_JUDGED, _SEARCHED = 96, 72
"""Pixels per side that a grid is judged by, and looked for."""
_WATCHED = (1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 24, 25)
"""Patterns that a grid is looked for by."""
_SEARCH_STEPS = (1, 2, 3)
_AT_ONCE = 32
"""Pictures at once, so that they stay near the processor."""


def jpeg(pixels: Values) -> Bools:
    """Whether the 8 × 8 blocks of each of (n, h, w) were once rounded in the DCT domain.

    JPEG leaves every coefficient near a multiple of its step, also when the picture is rounded to
    whole grey levels again (Fan & de Queiroz 2003, IEEE TIP 12:230). How near is |c / q − round(c
    / q)|, which is uniform in pictures that were never coded. The grid may begin at any pixel of
    the first 8 × 8: of those elsewhere, each picture's most suspect one is looked at closely.
    """
    parts = [_coded(pixels[k : k + _AT_ONCE]) for k in range(0, len(pixels), _AT_ONCE)]
    return np.concatenate(parts)


def _coded(pixels: Values) -> Bools:
    pixels = pixels[:, :_JUDGED, :_JUDGED]
    found = _on_lattice(coefficients(pixels, 0, 0), _SURE, _FINE)
    left = np.flatnonzero(~found)
    if not len(left):
        return found
    part = pixels[left, :_SEARCHED, :_SEARCHED].astype(np.float32)
    suspicion = np.zeros((BLOCK * BLOCK, len(left)))
    for place in range(1, BLOCK * BLOCK):
        few = coefficients(part, place // BLOCK, place % BLOCK, _WATCHED)
        for step in _SEARCH_STEPS:
            close, count = _close(few, step)
            total = count.sum(axis=1)
            score = close.sum(axis=1) / np.sqrt(np.maximum(total, 1) / 3)
            suspicion[place] = np.maximum(suspicion[place], np.where(total >= 100, score, 0))
    suspect = suspicion.argmax(axis=0)
    for place in np.unique(suspect[suspicion.max(axis=0) > 4]):
        chosen = left[suspect == place]
        there = coefficients(pixels[chosen], place // BLOCK, place % BLOCK)
        found[chosen] = _on_lattice(there, _SURE_ELSEWHERE, _FINE_ELSEWHERE)
    return found


def _close(found: NDArray[np.float32], step: int) -> tuple[Floats, Floats]:
    """(images, patterns): Σ 1 − 4 |c / q − round(c / q)| beyond half a step, and of how many.

    Coefficients below half a step lie near 0 in every smooth picture.
    """
    scaled = found * np.float32(1 / step)
    whole = np.rint(scaled)
    beyond = whole != 0
    scaled -= whole
    np.abs(scaled, out=scaled)
    scaled *= beyond
    count = beyond.sum(axis=1, dtype=np.float32)
    return count - 4 * scaled.sum(axis=1), count


def _on_lattice(found: NDArray[np.float32], sure: float, fine: float) -> Bools:
    best = np.full((found.shape[0], found.shape[2] - 1), -np.inf)
    for step in _STEPS:
        close, count = _close(found[:, :, 1:], step)
        score = close / np.sqrt(np.maximum(count, 1) / 3)
        best = np.maximum(best, np.where(count >= _LEAST, score, -np.inf))
    told = np.isfinite(best)
    patterns = told.sum(axis=1)
    mean = np.where(told, best, 0).sum(axis=1) / np.maximum(patterns, 1)
    close, count = _close(found[:, :, 1:], 1)
    at_one = close.sum(axis=1) / np.sqrt(np.maximum(count.sum(axis=1), 1) / 3)
    on: Bools = ((patterns >= _PATTERNS) & (mean > sure)) | (at_one > fine)
    return on


# -- enlargement ----------------------------------------------------------------------------------

_LARGEST = 256
_TINY = 0.01
_EXACT, _NEARLY = 0.42, 0.6
"""Grey levels: rounding alone leaves √(1/12) = 0.29 along one axis, after two passes 0.4."""
_PLAINLY = 1.6
"""Times as much must be left by as many smooth waves: a smooth picture fits any grid."""
_ROWS = 24
_LEAST_ROWS = 12
_TRIED = 12
_KERNELS = ("bilinear", "bicubic", "lanczos", "corners 1", "corners 3", "spline 3", "cubic -0.75")


@dataclass(frozen=True)
class Enlargement:
    """``size`` is how many pixels there were per side before; None where nothing fits exactly.

    ``left`` is the log of what the best fitting spaces leave, in grey levels: −1.2 is rounding.
    """

    size: int | None
    left: float


def enlarged_from(values: Values, top: int) -> list[Enlargement]:
    """From which size each of (n, h, w) was enlarged, if it was.

    An interpolated line of w pixels lies in a space of s < w dimensions, whatever it shows, but for
    the rounding of grey levels: what the space leaves of the line is rounding alone (after
    Kirchner 2008, Fast and reliable resampling detection by spectral analysis of fixed linear
    predictor residue, ACM MM&Sec). Clipped lines are left out; so are pictures beyond 256 px.
    """
    rows, columns = values.shape[1:]
    if max(rows, columns) > _LARGEST or min(rows, columns) < 2 * _LEAST_ROWS:
        return [Enlargement(None, 0.0)] * len(values)
    across, down = (_fits(side, top) for side in (values, values.swapaxes(1, 2)))
    found: list[Enlargement] = []
    for k in range(len(values)):
        both = [
            (across.exact[k][s] + down.exact[k][s], s)
            for s in across.exact[k].keys() & down.exact[k].keys()
            if min(across.exact[k][s], down.exact[k][s]) < _EXACT
        ]
        found.append(Enlargement(min(both)[1] if both else None, across.left[k] + down.left[k]))
    return found


@dataclass(frozen=True)
class _Fits:
    """By picture: what spaces leave that nearly hold it, by size, and the log of the least."""

    exact: list[dict[int, float]]
    left: list[float]


def _fits(values: Values, top: int) -> _Fits:
    width = values.shape[2]
    chosen = [_unclipped(one, top) for one in values]
    fits = _Fits([{} for _ in values], [0.0] * len(values))
    usable = [k for k, rows in enumerate(chosen) if rows is not None]
    if not usable:
        return fits
    lines = np.stack([rows for rows in chosen if rows is not None])
    sizes = range(max(8, width // 6), width)
    screened = np.stack([_left(lines, _outside("bilinear", s, width)) for s in sizes])
    best = screened.min(axis=0)
    for size in _candidates(screened, sizes):
        smooth = _left(lines, _outside("waves", size, width))
        for kernel in _KERNELS:
            left = _left(lines, _outside(kernel, size, width))
            best = np.minimum(best, left)
            for place in np.flatnonzero((left < _NEARLY) & (smooth > _PLAINLY * left)).tolist():
                mine = fits.exact[usable[place]]
                mine[size] = min(float(left[place]), mine.get(size, np.inf))
    for place, rest in zip(usable, (np.log(best + _TINY) / 2).tolist(), strict=True):
        fits.left[place] = rest
    return fits


def _unclipped(picture: Values, top: int) -> NDArray[np.float32] | None:
    whole = np.flatnonzero(((picture > 0) & (picture < top)).all(axis=1))
    if len(whole) < _LEAST_ROWS:
        return None
    spread = whole[np.linspace(0, len(whole) - 1, _ROWS).round().astype(int)]
    rows = picture[spread].astype(np.float32)
    found: NDArray[np.float32] = rows - rows.mean()
    return found


def _candidates(screened: NDArray[np.float32], sizes: range) -> list[int]:
    """Sizes at which most pictures dip: the bilinear space leaves less than those beside it."""
    around = scipy.ndimage.median_filter(screened, (7, 1), mode="nearest")
    dips = screened / np.maximum(around, 1e-6)
    votes: dict[int, float] = {}
    for picture in range(dips.shape[1]):
        for place in np.argsort(dips[:, picture])[:2]:
            depth = 1 - float(dips[place, picture])
            if depth > 0.1:
                votes[sizes[place]] = votes.get(sizes[place], 0.0) + depth
    return sorted(votes, key=lambda size: -votes[size])[:_TRIED]


def _left(lines: NDArray[np.float32], outside: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) root mean square of (n, rows, w) along directions (w, k)."""
    flat = lines.reshape(-1, lines.shape[2]) @ outside
    found: NDArray[np.float32] = np.sqrt((flat**2).reshape(len(lines), -1).mean(axis=1))
    return found


@cache
def _outside(kernel: str, size: int, width: int) -> NDArray[np.float32]:
    """Orthonormal directions (w, w − s) that no line of s pixels enlarged to w has."""
    if kernel == "waves":
        whole = scipy.fft.dct(np.eye(width), norm="ortho", axis=0).T
    else:
        whole = np.linalg.qr(_enlarged(kernel, size, width).T, mode="complete")[0]
    return np.ascontiguousarray(whole[:, size:], dtype=np.float32)


def _enlarged(kernel: str, size: int, width: int) -> Floats:
    """(s, w): each line of one bright pixel, enlarged."""
    lines = np.eye(size, dtype=np.float32)
    centres = (np.arange(width) + 0.5) * size / width - 0.5
    how = {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }.get(kernel)
    if how is not None:
        made = np.asarray(Image.fromarray(lines).resize((width, size), how), dtype=np.float64)
    elif kernel == "cubic -0.75":
        made = _cubic(centres, size, -0.75)
    else:
        order = int(kernel[-1])
        if kernel.startswith("corners"):
            centres = np.linspace(0, size - 1, width)
        made = np.stack(
            [
                scipy.ndimage.map_coordinates(line.astype(np.float64), [centres], order=order,
                                              mode="mirror")
                for line in lines
            ]
        )  # fmt: skip
    return made


def _cubic(centres: Floats, size: int, a: float) -> Floats:
    """Keys' cubic convolution (1981, IEEE TASSP 29:1153) with the parameter that OpenCV takes."""
    made = np.zeros((size, len(centres)))
    first = np.floor(centres).astype(int) - 1
    for step in range(4):
        away = np.abs(centres - (first + step))
        near = (a + 2) * away**3 - (a + 3) * away**2 + 1
        far = a * (away**3 - 5 * away**2 + 8 * away - 4)
        weight = np.where(away <= 1, near, np.where(away < 2, far, 0))
        np.add.at(made, (np.clip(first + step, 0, size - 1), np.arange(len(centres))), weight)
    return made
