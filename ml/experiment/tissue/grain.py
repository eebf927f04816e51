"""What the scanner did to a liver: the spectrum of its noise, and the point spread behind it.

The noise of filtered backprojection has a power spectrum proportional to f · MTF(f)²
(``ml.phantom.scanner``), so that the spectrum tells the MTF. It is measured where the liver is
even: what is left of a slice without its coarse structure, at the pixels whose surroundings are
near the liver's median. Fine structure of the liver itself counts as noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy

from ml.experiment.tissue import TissueError
from ml.experiment.tissue.slices import Floats, LiverSlice

COARSE_MM = 4.5
"""Standard deviation of the Gaussian that divides a slice into what it shows and its noise."""
EVEN_HU = 15.0
"""Coarse structure this near the liver's median is even liver."""
_LEAST_PX = 300
_LAGS = 16
_CUTOFFS_PER_MM = np.geomspace(0.08, 1.0, 60)


@dataclass(frozen=True)
class Grain:
    """Noise and point spread of one liver.

    Attributes:
        covariance: (2 · 16 + 1, 2 · 16 + 1) HU² at shifts of −16 to 16 pixels, tapered to 0.
        cutoff_per_mm: of MTF(f) = exp(−(f / cut-off)²).
        spacing_mm: of the pixels.
    """

    covariance: npt.NDArray[np.float64] = field(repr=False)
    cutoff_per_mm: float
    spacing_mm: float

    @property
    def sd_hu(self) -> float:
        """Standard deviation of the noise."""
        return float(np.sqrt(self.covariance[_LAGS, _LAGS]))

    def noise(self, rng: np.random.Generator, side: int) -> Floats:
        """(side, side) HU of new noise with the spectrum of the liver's; ``side`` over 33."""
        power = np.zeros((side, side))
        power[: 2 * _LAGS + 1, : 2 * _LAGS + 1] = self.covariance
        power = np.roll(power, (-_LAGS, -_LAGS), axis=(0, 1))
        amplitude = np.sqrt(np.clip(scipy.fft.rfft2(power).real, 0, None))
        # what was clipped away would be missing of the variance
        columns = np.full(amplitude.shape[1], 2.0)
        columns[0] = 1.0
        if side % 2 == 0:
            columns[-1] = 1.0
        amplitude *= self.sd_hu / np.sqrt((amplitude**2 * columns).sum() / side**2)
        white = rng.standard_normal((side, side))
        made = scipy.fft.irfft2(scipy.fft.rfft2(white) * amplitude, s=white.shape)
        return np.asarray(made, np.float32)

    def blurred(self, picture: npt.NDArray[np.floating]) -> Floats:
        """A picture of these pixels through the scanner's point spread; edges are joined."""
        f = frequencies(picture.shape, self.spacing_mm)
        transfer = np.exp(-((f / self.cutoff_per_mm) ** 2))
        found = scipy.fft.irfft2(scipy.fft.rfft2(picture) * transfer, s=picture.shape)
        return np.asarray(found, np.float32)


def frequencies(shape: tuple[int, ...], spacing_mm: float) -> npt.NDArray[np.float64]:
    """Cycles/mm of the half plane of ``rfft2``."""
    rows, columns = shape
    fy = np.fft.fftfreq(rows, spacing_mm)[:, None]
    return np.asarray(np.hypot(fy, np.fft.rfftfreq(columns, spacing_mm)[None]))


def coarse(one: LiverSlice) -> Floats:
    """What a slice shows, without its noise: within the liver, from the liver alone."""
    sigma = COARSE_MM / one.spacing_mm
    liver = one.liver.astype(np.float32)
    weight = scipy.ndimage.gaussian_filter(liver, sigma)
    inside = scipy.ndimage.gaussian_filter(one.hu * liver, sigma)
    everywhere = scipy.ndimage.gaussian_filter(one.hu, sigma)
    return np.asarray(
        np.where(one.liver, inside / np.maximum(weight, 1e-6), everywhere), np.float32
    )


def measured(one: LiverSlice, shown: Floats) -> Grain | str:
    """The grain of a slice's liver, or why it cannot be told.

    Args:
        shown: what is ``coarse`` of the slice.
    """
    even = one.inner & (np.abs(shown - one.median_hu) < EVEN_HU)
    if int(even.sum()) < _LEAST_PX:
        return f"under {_LEAST_PX} pixels of even liver"
    rows, columns = np.flatnonzero(even.any(axis=1)), np.flatnonzero(even.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    mask = even[box].astype(np.float64)
    left = (one.hu - shown)[box].astype(np.float64)
    covariance = _covariance((left - left[even[box]].mean()) * mask, mask)
    if not covariance[_LAGS, _LAGS] > 0:
        return "its liver has no noise"
    return Grain(covariance, _cutoff(covariance, one.spacing_mm), one.spacing_mm)


def _covariance(
    values: npt.NDArray[np.float64], mask: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean product of pixels by their shift, over the pairs of which both are in the mask."""
    size = [scipy.fft.next_fast_len(max(side, _LAGS + 1) + _LAGS) for side in values.shape]

    def products(of: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        spectrum = np.abs(scipy.fft.rfft2(of, s=size)) ** 2
        whole = np.roll(scipy.fft.irfft2(spectrum, s=size), (_LAGS, _LAGS), axis=(0, 1))
        return np.asarray(whole[: 2 * _LAGS + 1, : 2 * _LAGS + 1])

    pairs = products(mask)
    found = np.where(pairs > 0.5, products(values) / np.maximum(pairs, 0.5), 0.0)
    taper = np.hanning(2 * _LAGS + 3)[1:-1]
    return np.asarray(found * np.outer(taper, taper))


def _cutoff(covariance: npt.NDArray[np.float64], spacing_mm: float) -> float:
    """Least squares of the log spectrum, ring by ring, over what the Gaussian let through."""
    side = 2 * _LAGS + 1
    power = np.abs(scipy.fft.rfft2(np.roll(covariance, (-_LAGS, -_LAGS), axis=(0, 1))).real)
    f = frequencies((side, side), spacing_mm)
    edges = np.linspace(0.12 / COARSE_MM, 0.5 / spacing_mm, 12)
    rings = [(f >= low) & (f < high) for low, high in pairwise(edges)]
    rings = [ring for ring in rings if ring.any()]
    if len(rings) < 4:
        raise TissueError(
            f"Pixels of {spacing_mm:g} mm are too coarse for the noise of CT to be told."
        )
    at = np.asarray([f[ring].mean() for ring in rings])
    seen = np.log(np.asarray([power[ring].mean() for ring in rings]) + 1e-9)
    taken = np.log1p(-np.exp(-2 * (np.pi * COARSE_MM * at) ** 2)) * 2
    errors = []
    for cutoff in _CUTOFFS_PER_MM:
        model = np.log(at) - 2 * (at / cutoff) ** 2 + taken
        errors.append(float(np.var(seen - model)))
    return float(_CUTOFFS_PER_MM[int(np.argmin(errors))])
