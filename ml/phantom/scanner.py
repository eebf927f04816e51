"""The scanner: slice thickness, point spread and quantum noise of filtered backprojection.

With an apodisation A(f) of the ramp filter, the image's MTF is A(f) and its noise-power spectrum is
proportional to f · A(f)² (Riederer, Pelc & Chesler, Phys Med Biol 1978;23:446): depressed at low
frequencies, a peak in the middle, falling with the kernel. It does not quite reach zero at zero
frequency because of aliasing (Kijewski & Judy, Phys Med Biol 1987;32:565). Here A is Gaussian,
A(f) = exp(−(f / cut-off)²), so that the peak lies at half the cut-off. The variance is highest in
the middle of the body, where the rays are longest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from ml.phantom import VERSION, Version
from ml.phantom.grid import SIZE_PX, Floats

THICKNESS_MM = (1.25, 2.5, 3.0, 5.0)
_PLANE_MM = 1.25
"""Planes lie about this far from each other."""
_CUTOFFS_PER_MM = (0.22, 0.44)
_QUANTUM_HU = 13.5
"""Of the second phantom: noise of an average dose in slices of 5 mm."""
ALIASED = 0.03
"""Floor of the noise-power spectrum as a share of its peak."""


@dataclass(frozen=True)
class Scanner:
    """Slice thickness and interval in mm, kernel cut-off in cycles/mm, noise sd in HU, tube."""

    thickness_mm: float
    interval_mm: float
    cutoff_per_mm: float
    noise_hu: float
    kvp: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, difficulty: float, version: Version = VERSION
    ) -> Scanner:
        """A protocol; noise sd 8–18 HU, by thickness^−0.4 (tube current modulation takes the rest)
        and up to a third more at difficulty 1. Of the second phantom kernels are from soft to sharp
        and the noise is 9–30 HU, as real livers were found to have."""
        if version is not Version.FIRST:
            return cls._of_many(rng, difficulty)
        thickness = float(rng.choice(THICKNESS_MM, p=(0.15, 0.25, 0.2, 0.4)))
        cutoff = rng.uniform(0.40, 0.52)
        quantum = 8.4 * rng.uniform(0.92, 1.12) * (5.0 / thickness) ** 0.4
        noise = float(np.clip(quantum * (1 + difficulty / 3), 8.0, 18.0))
        return cls(thickness, max(thickness, 2.5), float(cutoff), noise, 120.0)

    @classmethod
    def _of_many(cls, rng: np.random.Generator, difficulty: float) -> Scanner:
        thickness = float(rng.choice(THICKNESS_MM, p=(0.15, 0.25, 0.2, 0.4)))
        cutoff = float(rng.uniform(*_CUTOFFS_PER_MM))
        # a dose may be half or thrice another one
        quantum = _QUANTUM_HU * np.exp(rng.normal(0, 0.22)) * (5.0 / thickness) ** 0.25
        noise = float(np.clip(quantum * (1 + difficulty / 3), 9.0, 30.0))
        return cls(thickness, max(thickness, 2.5), cutoff, noise, 120.0)

    @property
    def kernel(self) -> str:
        """Name of the reconstruction kernel, after its cut-off in line pairs per decimetre."""
        return f"HEP{self.cutoff_per_mm * 100:.0f}"

    def depths(self) -> Floats:
        """``depths_of`` its slices."""
        return depths_of(self.thickness_mm)

    def blur(self, hu: Floats, spacing_mm: float) -> Floats:
        """The in-plane point spread of the kernel, (512, 512) → (512, 512)."""
        transfer, _ = _response(self.cutoff_per_mm, spacing_mm)
        spectrum = scipy.fft.rfft2(hu) * transfer
        return np.asarray(scipy.fft.irfft2(spectrum, s=hu.shape), np.float32)

    def noise(self, rng: np.random.Generator, spacing_mm: float) -> Floats:
        """(512, 512) stationary quantum noise of sd ``noise_hu``."""
        _, amplitude = _response(self.cutoff_per_mm, spacing_mm)
        white = rng.standard_normal((SIZE_PX, SIZE_PX), np.float32)
        spectrum = scipy.fft.rfft2(white) * amplitude
        return np.asarray(scipy.fft.irfft2(spectrum, s=white.shape), np.float32) * self.noise_hu


def depths_of(thickness_mm: float) -> Floats:
    """Offsets (planes,) in mm of the planes that together make one slice (midpoint rule)."""
    planes = max(2, round(thickness_mm / _PLANE_MM))
    return ((np.arange(planes) + 0.5) / planes - 0.5).astype(np.float32) * thickness_mm


@lru_cache(maxsize=4)
def _response(cutoff_per_mm: float, spacing_mm: float) -> tuple[Floats, Floats]:
    """MTF and noise amplitude on the half plane of ``rfft2``; the amplitude makes unit variance."""
    fy = np.fft.fftfreq(SIZE_PX, spacing_mm)[:, None]
    fx = np.fft.rfftfreq(SIZE_PX, spacing_mm)[None, :]
    f = np.hypot(fx, fy)
    transfer = np.exp(-((f / cutoff_per_mm) ** 2))
    power = f * transfer**2
    power += ALIASED * power.max() * transfer**2
    whole = np.fft.fftfreq(SIZE_PX, spacing_mm)
    full = np.hypot(whole[None, :], whole[:, None])
    apodised = np.exp(-2 * (full / cutoff_per_mm) ** 2)
    mean = np.mean((full + ALIASED * (full * apodised).max()) * apodised)
    amplitude = np.sqrt(power / mean)
    return transfer.astype(np.float32), amplitude.astype(np.float32)
