"""The measurements of an ROI that are quick to make: those that serving makes of every one.

A choice of `ml.images.measurements` with the same numbers, by products with fixed matrices: zones,
rings and gradients are linear in the pixels. What is left out is what costs most and, on phantoms,
tells least (`make bench SECTIONS=trust`): co-occurrence, local binary patterns, coarse bands, and
of the surroundings the quantiles and the shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.images import measurements as whole
from ml.images.measurements import GREY, HU, Floats, Measured, Measurement
from ml.lesion import ROI_SIZE_PX

Places = npt.NDArray[np.intp]

_LEFT_OUT = (
    "glcm_",
    "lbp_",
    *(f"{zone}_band_{scale}" for zone in ("lesion", "surround") for scale in (1, 2, 4)),
    *(f"surround_{what}" for what in ("p", "skewness", "kurtosis")),
)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BLUR = 1.0
"""Standard deviation in pixels of the blurred picture: of the gradient, and of fine detail."""
_AT_A_TIME = 128


def measure(
    rois: npt.NDArray[np.floating],
    window_hu: tuple[float, float] | None,
    diameters_mm: Sequence[float | None] | None = None,
) -> Measured:
    """The quick ones of `measurements.measure`, which says what the arguments are.

    Of each the number is the same within rounding.
    """
    low, high = window_hu or (0.0, 100.0)
    scale = (high - low) / 2
    named = names(HU if window_hu else GREY)
    values = np.empty((len(rois), len(named)))
    for start in range(0, len(rois), _AT_A_TIME):
        part = np.asarray(rois[start : start + _AT_A_TIME], np.float64)
        values[start : start + len(part), :-1] = _columns(low + scale * (part + 1))
    sizes = diameters_mm if diameters_mm is not None else [None] * len(rois)
    values[:, -1] = [np.nan if one is None else one for one in sizes]
    return Measured(named, values)


@cache
def names(unit: str) -> tuple[Measurement, ...]:
    """What is measured, in the order of the columns; ``unit`` is `HU` or `GREY`."""
    every = whole.named(unit)
    return tuple(one for one in every if not one.name.startswith(_LEFT_OUT))


@dataclass(frozen=True)
class _Operators:
    """Fixed matrices and places of pixels.

    Attributes:
        means: (4096, zones), whose product with pixels is the mean of each zone: lesion,
            surroundings, core, rim, the rim's sectors.
        rings: (4096, rings), the same of the rings.
        blur: (64, 64), blurring down the columns.
        rows: those that the edge and the lesion reach, m of them.
        middle: (m, 64), of ``blur``.
        slope: (m, 64), the gradient of what is blurred, in those rows.
        outward: (2, pixels at the edge): sine and cosine of the direction from the centre.
        lesion, surround: places of their pixels, of 4096.
        graded: places of the pixels at the edge, then of those of the lesion that are not there, of
            the m · m in the middle.
        at_edge: how many of them are the edge's.
        of_lesion: which of them are the lesion's.
    """

    means: Floats
    rings: Floats
    blur: Floats
    rows: slice
    middle: Floats
    slope: Floats
    outward: Floats
    lesion: Places
    surround: Places
    graded: Places
    at_edge: int
    of_lesion: Places


@cache
def _operators() -> _Operators:
    lesion, core, rim, edge, surround = (
        whole.zone(*one)
        for one in (whole.LESION, whole.CORE, whole.RIM, whole.EDGE, whole.SURROUND)
    )
    eighth = whole.polar()[1].astype(int)
    zones = [lesion, surround, core, rim, *(rim & (eighth == i) for i in range(whole.SECTORS))]
    rings = [whole.zone(*pair) for pair in pairwise(whole.RINGS)]
    blur = scipy.ndimage.gaussian_filter1d(np.eye(ROI_SIZE_PX), _BLUR, axis=0, mode="nearest")
    reached = np.flatnonzero((edge | lesion).any(axis=1))
    middle = slice(reached[0], reached[-1] + 1)
    edge_there, lesion_there = (part[middle, middle].ravel() for part in (edge, lesion))
    graded = np.concatenate(
        [np.flatnonzero(edge_there), np.flatnonzero(lesion_there & ~edge_there)]
    )
    at = (np.arange(ROI_SIZE_PX) + 0.5 - ROI_SIZE_PX / 2)[middle]
    y, x = (part.ravel()[graded] for part in np.meshgrid(at, at, indexing="ij"))
    return _Operators(
        _mean_of(zones),
        _mean_of(rings),
        blur,
        middle,
        blur[middle].copy(),
        np.gradient(blur, axis=0)[middle].copy(),
        (np.stack([y, x]) / np.hypot(y, x))[:, : edge.sum()],
        np.flatnonzero(lesion),
        np.flatnonzero(surround),
        graded,
        int(edge.sum()),
        np.flatnonzero(lesion_there[graded]),
    )


def _mean_of(zones: Sequence[whole.Bools]) -> Floats:
    return np.stack([zone.ravel() / zone.sum() for zone in zones], axis=1)


def _columns(greys: Floats) -> Floats:
    """(n, k) without the size, of pictures (n, 64, 64) in their unit."""
    of, count = _operators(), len(greys)
    flat = greys.reshape(count, -1)
    mean, rings = flat @ of.means, flat @ of.rings
    # spreads from means of squares, which a common level would swamp
    level = _mean(flat)[:, None]
    squares = np.square(flat - level) @ of.rings
    spreads = np.sqrt(np.maximum(squares - np.square(rings - level), 0.0))
    lesion, around, core, rim = mean[:, :4].T
    sectors, inner = mean[:, 4:], rings[:, :5]
    beside = flat.take(of.surround, axis=1)
    found = [
        *_first_order(flat.take(of.lesion, axis=1)),
        around,
        _spread(beside),
        lesion - around,
        rim - core,
        rim - around,
        core - around,
        inner.max(axis=1) - inner.min(axis=1),
    ]
    down = (of.slope @ greys @ of.middle.T).reshape(count, -1).take(of.graded, axis=1)
    blurred = of.blur @ greys
    right = (blurred[:, of.rows] @ of.slope.T).reshape(count, -1).take(of.graded, axis=1)
    size = np.sqrt(down * down + right * right)
    edge = size[:, : of.at_edge]
    outward = down[:, : of.at_edge] * of.outward[0] + right[:, : of.at_edge] * of.outward[1]
    inside = size.take(of.of_lesion, axis=1)
    detail = np.square(flat - (blurred @ of.blur.T).reshape(count, -1))
    last = [
        _spread(sectors),
        sectors.max(axis=1) - rim,
        _mean(edge),
        _mean(outward),
        _spread(edge),
        _mean(inside),
        *_quantiles(inside, (0.95,)),
        np.sqrt(_mean(detail.take(of.lesion, axis=1))),
        np.sqrt(_mean(detail.take(of.surround, axis=1))),
    ]
    values = np.empty((count, len(found) + 2 * rings.shape[1] + len(last)))
    values.T[: len(found)] = found
    values[:, len(found) : -len(last) : 2] = rings
    values[:, len(found) + 1 : -len(last) : 2] = spreads
    values.T[-len(last) :] = last
    return values


def _first_order(values: Floats) -> list[Floats]:
    """Mean, spread, quantiles and shape of (n, pixels)."""
    mean = _mean(values)
    off = values - mean[:, None]
    squares = off * off
    spread = np.sqrt(_mean(squares))
    unit = np.maximum(spread, 1e-9)
    # products summed at once
    third = np.einsum("ij,ij->i", squares, off) / (values.shape[1] * unit**3)
    fourth = np.einsum("ij,ij->i", squares, squares) / (values.shape[1] * unit**4)
    return [mean, spread, *_quantiles(values, _QUANTILES), third, fourth - 3]


def _mean(values: Floats) -> Floats:
    """(n,) of (n, pixels); of one ROI in a third of what ``mean`` takes."""
    return np.asarray(np.add.reduce(values, axis=1) / values.shape[1])


def _spread(values: Floats) -> Floats:
    off = values - _mean(values)[:, None]
    return np.sqrt(_mean(off * off))


def _quantiles(values: Floats, shares: Sequence[float]) -> list[Floats]:
    """Each (n,), between the two values that are nearest, as `numpy.quantile` has them."""
    ordered = np.sort(values, axis=1)
    found = []
    for share in shares:
        place = share * (values.shape[1] - 1)
        below = int(place)
        low, high = ordered[:, below], ordered[:, min(below + 1, values.shape[1] - 1)]
        found.append(low + (place - below) * (high - low))
    return found
