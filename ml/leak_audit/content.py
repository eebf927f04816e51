"""Cheap measures of what an image shows, such as a reader or a program could tell it by."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.statistics import correlation

Floats = NDArray[np.float64]

THUMBNAIL_PX = 16
DETAIL_PX = 64
_TINY = 1e-12


def features(pixels: Floats, top: float) -> dict[str, float]:
    """Named measures of an image (h, w) whose pixels reach from 0 (or below) to ``top``.

    All but shares and ratios are in units of ``top``.
    """
    image = pixels / top
    height, width = image.shape
    edge = max(2, min(height, width) // 8)
    corners = np.stack(
        [image[:edge, :edge], image[:edge, -edge:], image[-edge:, :edge], image[-edge:, -edge:]]
    )
    inner = np.zeros(image.shape, dtype=bool)
    inner[2:-2, 2:-2] = True
    mean, sd = float(image.mean()), float(image.std())
    gy, gx = np.diff(image, axis=0), np.diff(image, axis=1)
    laplacian = scipy.ndimage.laplace(image)
    diagonal = (image[:-1, :-1] - image[:-1, 1:] - image[1:, :-1] + image[1:, 1:]) / 2
    low, high = float(image.min()), float(image.max())
    return {
        "mean": mean,
        "sd": sd,
        "min": low,
        "max": high,
        "skewness": float(((image - mean) ** 3).mean() / (sd**3 + _TINY)),
        "share at the darkest value": float((image == low).mean()),
        "share at the brightest value": float((image == high).mean()),
        "corner mean": float(corners.mean()),
        "corner sd": float(corners.std(axis=(1, 2)).mean()),
        "border mean": float(image[~inner].mean()),
        "border sd": float(image[~inner].std()),
        "border minus inside": float(image[~inner].mean() - image[inner].mean()),
        "sharpness (gradient)": float((np.abs(gy).mean() + np.abs(gx).mean()) / 2),
        "sharpness (Laplacian)": float(laplacian[1:-1, 1:-1].var()),
        "noise": float(np.median(np.abs(diagonal)) / 0.6745),
        "gradient across over down": float(
            (np.abs(gx).mean() + _TINY) / (np.abs(gy).mean() + _TINY)
        ),
        "blocks of 8": _blocks(gx, gy),
        "centre minus surroundings": _centre(image, diagonal),
        "distinct grey values": float(len(np.unique(pixels)) / min(pixels.size, top + 1)),
        **_borders(image),
        **_symmetry(image),
        **_spectrum(image),
    }


def _centre(image: Floats, diagonal: Floats) -> float:
    """The middle 2 × 2 pixels over those around them, in units of the noise."""
    y, x = image.shape[0] // 2, image.shape[1] // 2
    around = image[y - 3 : y + 3, x - 3 : x + 3]
    middle = image[y - 1 : y + 1, x - 1 : x + 1].mean()
    ring = (around.sum() - 4 * middle) / (around.size - 4)
    return float((middle - ring) / (np.abs(diagonal).mean() + 1e-3))


def _borders(image: Floats) -> dict[str, float]:
    """Log ratios of the borders' steps to those inside: copied, mirrored and joined borders."""
    found: dict[str, list[float]] = {"step to the first line": [], "step over the first line": []}
    joined = []
    for lines in (image, image[::-1], image.T, image.T[::-1]):
        one = np.abs(np.diff(lines, axis=0)).mean(axis=1)
        two = np.abs(lines[2:] - lines[:-2]).mean(axis=1)
        found["step to the first line"].append(_log_ratio(one[0], np.median(one[1:9])))
        found["step over the first line"].append(_log_ratio(two[0], np.median(two[1:9])))
        joined.append(_log_ratio(np.abs(lines[0] - lines[-1]).mean(), np.median(one)))
    return {
        "border: opposite sides join": float(np.mean(joined)),
        **{f"border: {name}": float(np.mean(ratios)) for name, ratios in found.items()},
    }


def _log_ratio(a: float, b: float) -> float:
    return float(np.log((a + 1e-4) / (b + 1e-4)))


def _symmetry(image: Floats) -> dict[str, float]:
    """Correlation of the fine detail with that of the mirrored picture."""
    fine = image - scipy.ndimage.uniform_filter(image, 5)
    own = float((fine**2).sum()) + _TINY
    return {
        "symmetry across": float((fine * fine[:, ::-1]).sum() / own),
        "symmetry down": float((fine * fine[::-1]).sum() / own),
    }


def _blocks(gx: Floats, gy: Floats) -> float:
    """Steps across 8-pixel borders over other steps: 1 without JPEG-like blocks."""
    ratios = []
    for steps in (np.abs(gx).mean(axis=0), np.abs(gy).mean(axis=1)):
        border = np.arange(len(steps)) % 8 == 7
        if border.any() and not border.all():
            ratios.append((steps[border].mean() + _TINY) / (steps[~border].mean() + _TINY))
    return float(np.mean(ratios)) if ratios else 1.0


def _spectrum(image: Floats) -> dict[str, float]:
    """Shares of the noise power spectrum by band, and excess power at periods 2, 4 and 8 px."""
    side_y, side_x = (s - s % 8 for s in image.shape)
    part = image[:side_y, :side_x]
    window = np.outer(np.hanning(side_y), np.hanning(side_x))
    power = np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2 + _TINY
    fy, fx = np.abs(np.fft.fftfreq(side_y))[:, None], np.abs(np.fft.fftfreq(side_x))[None, :]
    radius = np.hypot(fy, fx)
    total = power[radius > 0].sum()
    found = {}
    for name, low, high in (
        ("coarse", 0.0, 0.08), ("middle", 0.08, 0.2), ("fine", 0.2, 0.35), ("finest", 0.35, 0.8),
    ):  # fmt: skip
        band = (radius > low) & (radius <= high)
        found[f"spectrum, {name}"] = float(np.log10(power[band].sum() / total + _TINY))
    plain = np.abs(np.fft.fft2(part - part.mean())) ** 2 + _TINY
    logs = np.log(plain)
    for period in (2, 4, 8):
        ky, kx = side_y // period, side_x // period
        points = [_above(logs, y, x) for y, x in ((ky, 0), (0, kx), (ky, kx))]
        found[f"checkerboard, period {period}"] = float(np.mean(points))
        lines = [_beside(logs.mean(axis=1), ky), _beside(logs.mean(axis=0), kx)]
        found[f"grid lines, period {period}"] = float(np.mean(lines))
    return found


def _above(logs: Floats, y: int, x: int) -> float:
    """Log power at a frequency over the median around it."""
    rows, columns = np.arange(y - 2, y + 3), np.arange(x - 2, x + 3)
    around = logs.take(rows, axis=0, mode="wrap").take(columns, axis=1, mode="wrap")
    return float(logs[y, x] - np.median(around))


def _beside(profile: Floats, k: int) -> float:
    """Mean log power on a line of frequencies over that two lines away."""
    return float(profile[k] - profile.take([k - 2, k + 2], mode="wrap").mean())


def reduced(pixels: Floats, side: int) -> Floats:
    """Mean-free unit vector (side²,) of the image averaged to side × side; zeros when flat."""
    zoom = (side / pixels.shape[0], side / pixels.shape[1])
    size = max(1, round(1 / max(zoom)))
    smooth = scipy.ndimage.uniform_filter(pixels, size) if size > 1 else pixels
    rows = np.linspace(0, pixels.shape[0] - 1, side)
    columns = np.linspace(0, pixels.shape[1] - 1, side)
    grid = np.meshgrid(rows, columns, indexing="ij")
    small = scipy.ndimage.map_coordinates(smooth, grid, order=1)
    found: Floats = correlation.units(small.reshape(1, -1))[0]
    return found
