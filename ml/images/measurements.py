"""Named measurements of an ROI: greys, rim and centre, edge, texture, size. Numbers, no network.

An ROI's geometry is known: the lesion's diameter d fills the square but for 0.28 d on each side, so
distances are told in radii of the lesion, from its centre: *core* up to 0.5, *lesion* up to 0.9,
*rim* 0.6 to 0.95, *edge* 0.85 to 1.15, *surroundings* from 1.15 on. A lesion is seldom round, so
the zones hold what a circle holds. Greys beyond the window count as its ends, so a number may be
none of the lesion's: what people are told of one says `ml.images.ends`.

Texture follows Haralick et al. (1973, IEEE Trans SMC 3:610; grey-level co-occurrence), Ojala et al.
(2002, IEEE TPAMI 24:971; local binary patterns) and band-pass energies (differences of Gaussians).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.images.roi import MARGIN
from ml.lesion import ROI_SIZE_PX

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HU, GREY, MM, NONE = "HU", "% of grey", "mm", ""
_RADIUS_PX = ROI_SIZE_PX / (1 + 2 * MARGIN) / 2
RINGS = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0, 1.15, 1.5)
"""Edges of the rings of the radial profile, in radii of the lesion."""
SECTORS = 8
_LEVELS = 16
"""Steps of grey of the co-occurrence matrix, over the window."""
_STEPS = (1, 2, 4)
"""Distances of co-occurrence in pixels of the ROI."""
_BANDS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Scales of the band-pass energies, standard deviations in pixels of the ROI; 0: as it is."""
_AT_A_TIME = 128


@dataclass(frozen=True)
class Measurement:
    """One number of an ROI.

    Attributes:
        name: a short one for files and models.
        words: what it is, for people.
        unit: ``HU`` or ``% of grey`` by the image, ``mm``, or empty for a number without unit.
    """

    name: str
    words: str
    unit: str


@dataclass(frozen=True)
class Measured:
    """Measurements of some ROIs.

    Attributes:
        of: what was measured, in the order of the columns.
        values: (n, k); NaN where a size is not known.
    """

    of: tuple[Measurement, ...]
    values: Floats

    def without(self, *names: str) -> Measured:
        """The same without some measurements."""
        kept = [i for i, one in enumerate(self.of) if one.name not in names]
        return Measured(tuple(self.of[i] for i in kept), self.values[:, kept])

    def rows(self, chosen: Sequence[int]) -> Measured:
        """Those of some of the ROIs."""
        return Measured(self.of, self.values[list(chosen)])


SIZE = "diameter_mm"


def measure(
    rois: npt.NDArray[np.floating],
    window_hu: tuple[float, float] | None,
    diameters_mm: Sequence[float | None] | None = None,
) -> Measured:
    """All measurements of ROIs (n, 64, 64) in [−1, 1].

    Args:
        window_hu: what −1 and 1 stand for; None for grey values without Hounsfield units, which are
            told in percent of the grey range.
        diameters_mm: of the lesions; None where one, or all, are not known.
    """
    low, high = window_hu or (0.0, 100.0)
    scale = (high - low) / 2
    parts = []
    for start in range(0, len(rois), _AT_A_TIME):
        part = np.asarray(rois[start : start + _AT_A_TIME], np.float64)
        parts.append(np.stack(list(_columns(part, low + scale * (part + 1), scale)), axis=1))
    of = named(HU if window_hu else GREY)
    values = np.concatenate(parts) if parts else np.zeros((0, len(of) - 1))
    sizes = diameters_mm if diameters_mm is not None else [None] * len(rois)
    last = np.asarray([np.nan if one is None else one for one in sizes], np.float64)
    return Measured(of, np.concatenate([values, last[:, None]], axis=1))


@cache
def named(unit: str) -> tuple[Measurement, ...]:
    """What is measured, in the order of the columns: ``unit`` is `HU` or `GREY`; the size last."""
    found: list[tuple[str, str, str]] = []
    for zone, words in (("lesion", "in the lesion"), ("surround", "around the lesion")):
        found += [
            (f"{zone}_mean", f"mean {words}", unit),
            (f"{zone}_sd", f"standard deviation {words}", unit),
            *((f"{zone}_p{q}", f"{q}th percentile {words}", unit) for q in (5, 25, 50, 75, 95)),
            (f"{zone}_skewness", f"skewness {words}", NONE),
            (f"{zone}_kurtosis", f"excess kurtosis {words}", NONE),
        ]
    found += [
        ("contrast", "lesion less its surroundings", unit),
        ("rim_less_core", "rim less core", unit),
        ("rim_less_surround", "rim less surroundings", unit),
        ("core_less_surround", "core less surroundings", unit),
        ("brightest_ring_less_darkest", "brightest ring of the lesion less the darkest", unit),
    ]
    for inner, outer in pairwise(RINGS):
        where = f"{inner:g} to {outer:g} radii from the centre"
        name = f"ring_{inner:g}_{outer:g}"
        found += [
            (f"{name}_mean", f"mean {where}", unit),
            (f"{name}_sd", f"standard deviation {where}", unit),
        ]
    found += [
        ("rim_sector_sd", "standard deviation of the rim's eighths", unit),
        ("rim_sector_max", "brightest eighth of the rim less the rim's mean", unit),
        ("edge_gradient", "mean gradient at the edge", f"{unit} per pixel"),
        ("edge_gradient_radial", "mean outward gradient at the edge", f"{unit} per pixel"),
        ("edge_gradient_sd", "standard deviation of the gradient at the edge", f"{unit} per pixel"),
        ("lesion_gradient", "mean gradient in the lesion", f"{unit} per pixel"),
        ("lesion_gradient_p95", "95th percentile of the gradient in it", f"{unit} per pixel"),
    ]
    for narrow, wide in pairwise(_BANDS):
        where = f"between {narrow:g} and {wide:g} pixels"
        found += [
            (f"lesion_band_{narrow:g}", f"detail of the lesion {where}", unit),
            (f"surround_band_{narrow:g}", f"detail of the surroundings {where}", unit),
        ]
    for step in _STEPS:
        found += [
            (f"glcm_{name}_{step}", f"co-occurrence at {step} px: {words}", NONE)
            for name, words in (
                ("contrast", "contrast"), ("homogeneity", "homogeneity"),
                ("correlation", "correlation"), ("energy", "energy"), ("entropy", "entropy"),
            )
        ]  # fmt: skip
    found += [
        (f"lbp_{count}", f"local binary patterns with {count} bright neighbours", NONE)
        for count in range(9)
    ]
    found.append(("lbp_uneven", "local binary patterns with many changes", NONE))
    found.append((SIZE, "diameter", MM))
    return tuple(Measurement(*one) for one in found)


# -- zones -----------------------------------------------------------------------------------------


@cache
def polar() -> tuple[Floats, Floats]:
    """Distance from the centre in radii of the lesion, and angle in eighths of a turn."""
    at = np.arange(ROI_SIZE_PX) + 0.5 - ROI_SIZE_PX / 2
    y, x = np.meshgrid(at, at, indexing="ij")
    # the first eighth lies about the axis: no pixel's centre is on a border
    eighths = np.arctan2(y, x) * SECTORS / (2 * np.pi) + 0.5
    return np.hypot(x, y) / _RADIUS_PX, eighths % SECTORS


LESION, CORE, RIM, EDGE, SURROUND = (0.0, 0.9), (0.0, 0.5), (0.6, 0.95), (0.85, 1.15), (1.15, 9.0)
"""From where to where the zones reach, in radii of the lesion."""


def zone(inner: float, outer: float) -> Bools:
    """The pixels (64, 64) from ``inner`` to below ``outer`` radii of the lesion."""
    distance, _ = polar()
    return (distance >= inner) & (distance < outer)


def _columns(rois: Floats, greys: Floats, scale: float) -> list[Floats]:
    """Every measurement but the size, each (n,).

    Args:
        rois: (n, 64, 64) in [−1, 1].
        greys: the same in their unit.
        scale: of that unit, per 1 of ``rois``.
    """
    lesion, core, rim, edge, surround = (zone(*one) for one in (LESION, CORE, RIM, EDGE, SURROUND))
    found = [*_first_order(greys[:, lesion]), *_first_order(greys[:, surround])]
    mean = {
        name: greys[:, zone].mean(axis=1)
        for name, zone in (("lesion", lesion), ("core", core), ("rim", rim), ("around", surround))
    }
    found += [
        mean["lesion"] - mean["around"],
        mean["rim"] - mean["core"],
        mean["rim"] - mean["around"],
        mean["core"] - mean["around"],
    ]
    rings = [zone(*pair) for pair in pairwise(RINGS)]
    means = [greys[:, ring].mean(axis=1) for ring in rings]
    found.append(np.max(means[:5], axis=0) - np.min(means[:5], axis=0))
    for ring, ring_mean in zip(rings, means, strict=True):
        found += [ring_mean, greys[:, ring].std(axis=1)]
    eighth = polar()[1].astype(int)
    sectors = np.stack([greys[:, rim & (eighth == i)].mean(axis=1) for i in range(SECTORS)])
    found += [sectors.std(axis=0), sectors.max(axis=0) - mean["rim"]]
    return [*found, *_edges(greys, lesion, edge), *_bands(greys, lesion, surround), *_glcm(rois),
            *_lbp(rois, lesion)]  # fmt: skip


def _first_order(values: Floats) -> list[Floats]:
    """Mean, spread, quantiles and shape of (n, pixels)."""
    mean, spread = values.mean(axis=1), values.std(axis=1)
    scaled = (values - mean[:, None]) / np.maximum(spread, 1e-9)[:, None]
    quantiles = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95), axis=1)
    return [mean, spread, *quantiles, (scaled**3).mean(axis=1), (scaled**4).mean(axis=1) - 3]


def _edges(greys: Floats, lesion: Bools, edge: Bools) -> list[Floats]:
    smooth = scipy.ndimage.gaussian_filter(greys, (0, 1, 1), mode="nearest")
    down, right = np.gradient(smooth, axis=(1, 2))
    size = np.hypot(down, right)
    at = np.arange(ROI_SIZE_PX) + 0.5 - ROI_SIZE_PX / 2
    y, x = np.meshgrid(at, at, indexing="ij")
    outward = (down * y + right * x) / np.hypot(x, y)
    return [
        size[:, edge].mean(axis=1),
        outward[:, edge].mean(axis=1),
        size[:, edge].std(axis=1),
        size[:, lesion].mean(axis=1),
        np.quantile(size[:, lesion], 0.95, axis=1),
    ]


def _bands(greys: Floats, lesion: Bools, surround: Bools) -> list[Floats]:
    """Root mean square of each band within the zones."""
    blurred = [
        scipy.ndimage.gaussian_filter(greys, (0, sigma, sigma), mode="nearest") if sigma else greys
        for sigma in _BANDS
    ]
    found = []
    for narrow, wide in pairwise(blurred):
        band = narrow - wide
        found += [np.sqrt((band[:, zone] ** 2).mean(axis=1)) for zone in (lesion, surround)]
    return found


# -- texture ---------------------------------------------------------------------------------------


def _glcm(rois: Floats) -> list[Floats]:
    """Contrast, homogeneity, correlation, energy, entropy of the lesion; all directions alike."""
    lesion = zone(*LESION)
    level = np.clip((rois + 1) / 2 * _LEVELS, 0, _LEVELS - 1).astype(np.int64)
    i, j = np.meshgrid(np.arange(_LEVELS), np.arange(_LEVELS), indexing="ij")
    found: list[Floats] = []
    for step in _STEPS:
        counts = np.zeros((len(rois), _LEVELS * _LEVELS))
        for down, right in ((0, step), (step, 0), (step, step), (step, -step)):
            here, there = _shifted(down, right), _shifted(-down, -right)
            both = lesion[here] & lesion[there]
            pair = level[(slice(None), *here)][:, both] * _LEVELS
            pair = pair + level[(slice(None), *there)][:, both]
            place = pair + _LEVELS**2 * np.arange(len(rois))[:, None]
            counts += np.bincount(place.ravel(), minlength=counts.size).reshape(counts.shape)
        share = counts.reshape(-1, _LEVELS, _LEVELS)
        share = share + share.transpose(0, 2, 1)
        share = share / share.sum(axis=(1, 2), keepdims=True)
        mean = (share * i).sum(axis=(1, 2))
        variance = (share * (i - mean[:, None, None]) ** 2).sum(axis=(1, 2))
        together = (share * (i - mean[:, None, None]) * (j - mean[:, None, None])).sum(axis=(1, 2))
        found += [
            (share * (i - j) ** 2).sum(axis=(1, 2)),
            (share / (1 + np.abs(i - j))).sum(axis=(1, 2)),
            # one shade is told by itself
            np.where(variance > 1e-9, together / np.maximum(variance, 1e-9), 1.0),
            (share**2).sum(axis=(1, 2)),
            -(share * np.log2(np.maximum(share, 1e-12))).sum(axis=(1, 2)),
        ]
    return found


def _shifted(down: int, right: int) -> tuple[slice, slice]:
    """The part of a picture that has a neighbour so far away."""

    def along(step: int) -> slice:
        return slice(0, ROI_SIZE_PX - step) if step >= 0 else slice(-step, ROI_SIZE_PX)

    return along(down), along(right)


def _lbp(rois: Floats, lesion: Bools) -> list[Floats]:
    """Shares of the lesion's pixels by their 8 neighbours: how many are brighter, if in one run."""
    smooth = scipy.ndimage.gaussian_filter(rois, (0, 1, 1), mode="nearest")
    around = ((-2, -2), (-2, 0), (-2, 2), (0, 2), (2, 2), (2, 0), (2, -2), (0, -2))
    bits = np.stack([np.roll(smooth, (-y, -x), (1, 2)) > smooth for y, x in around])[:, :, lesion]
    changes = (bits != np.roll(bits, 1, axis=0)).sum(axis=0)
    bright = bits.sum(axis=0)
    uniform = changes <= 2
    return [
        *((uniform & (bright == count)).mean(axis=1) for count in range(9)),
        (~uniform).mean(axis=1),
    ]
