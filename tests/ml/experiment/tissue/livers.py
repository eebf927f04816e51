"""Made-up slices with a liver: an ellipse of noise about a known level, in a body."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.ndimage
from PIL import Image

from ml.experiment.tissue.slices import LiverSlice

SPACING_MM = 1.5
SIDE = 160


def liver_slice(
    seed: int = 0,
    *,
    level: float = 105,
    noise: float = 12,
    cutoff: float = 0.22,
    axes: tuple[float, float] = (48, 40),
    spacing: float = SPACING_MM,
    patient: str = "p",
) -> LiverSlice:
    """A liver of one level with the noise of a scanner, in HU without steps or ends."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + 0.5
    liver = (x / axes[0]) ** 2 + (y / axes[1]) ** 2 < 1
    hu = np.where((x / 74) ** 2 + (y / 60) ** 2 < 1, 60.0, -80.0)
    hu = scipy.ndimage.gaussian_filter(np.where(liver, level, hu), 0.8)
    hu = hu + grain(rng, noise, cutoff, spacing)
    return LiverSlice(
        f"{patient}_{seed}.png",
        patient,
        hu.astype(np.float32),
        liver,
        (-200.0, 300.0),
        0.1,
        spacing,
    )


def grain(rng: np.random.Generator, sd: float, cutoff: float, spacing: float) -> np.ndarray:
    """Noise whose power spectrum is f · exp(−2 (f / cutoff)²)."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE, spacing), np.fft.fftfreq(SIDE, spacing)))
    power = f * np.exp(-2 * (f / cutoff) ** 2)
    made = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) * np.sqrt(power)).real
    return made * sd / np.sqrt(power.mean())


def folder(root: Path, patients: int = 12, each: int = 2) -> Path:
    """Pictures of 8 bits from −50 to 250 HU and their masks, as the command takes them."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for patient in range(patients):
        for k in range(each):
            one = liver_slice(100 * patient + k, level=95 + patient)
            name = f"case_{patient:02d}_{k}.png"
            grey = np.rint((np.clip(one.hu, -50, 250) + 50) * (255 / 300)).astype(np.uint8)
            Image.fromarray(grey).save(root / "images" / name)
            Image.fromarray((255 * one.liver).astype(np.uint8)).save(root / "masks" / name)
    return root
