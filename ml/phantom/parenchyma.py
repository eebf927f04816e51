"""The second phantom's liver from within: mottle, and veins that join.

Real liver is not even between its vessels: lobules, small vessels and perfusion leave a mottle of a
few HU over some millimetres (`python -m ml paste` measures it).
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from ml.phantom.grid import Floats, refine
from ml.phantom.vessels import Points, Skeleton

MOTTLE_HU = (2.5, 9.0)
"""Standard deviation in one patient, before the scanner."""
_KNOTS = 128
_LEVELS, _LEVEL_MM = 32, 4.0


class Mottle:
    """Smooth noise in three dimensions that belongs to the patient."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw its strength and its pattern."""
        self.hu = float(rng.uniform(*MOTTLE_HU))
        noise = rng.standard_normal((_LEVELS, _KNOTS, _KNOTS), np.float32)
        fine = scipy.ndimage.gaussian_filter(noise, (0.7, 0.7, 0.7), mode="wrap")
        coarse = scipy.ndimage.gaussian_filter(noise, (1.6, 2.0, 2.0), mode="wrap")
        both = fine / fine.std() + coarse / coarse.std()
        self._levels: Floats = (both / both.std()).astype(np.float32)

    def at(self, z: float) -> Floats:
        """(512, 512) HU to be added at height ``z`` mm; mean about 0."""
        place = (z / _LEVEL_MM) % _LEVELS
        lower = int(place)
        t = np.float32(place - lower)
        mix = self._levels[lower] * (1 - t) + self._levels[(lower + 1) % _LEVELS] * t
        return refine(mix / np.hypot(t, 1 - t)) * np.float32(self.hu)


def portal_skeleton(rng: np.random.Generator) -> Skeleton:
    """The portal vein, its bifurcation, and its branches of first order.

    Right: an anterior and a posterior branch; left: a transverse and an umbilical portion.
    """
    return _shaken(
        rng,
        [
            (10, 6, -26), (-4, 5, -14), (-14, 2, -4),  # the trunk
            (-30, 4, 2), (-46, 8, 6),  # right
            (-58, -12, 16), (-70, -30, 18),  # its anterior branch
            (-62, 26, 2), (-80, 34, -8),  # its posterior branch
            (-8, -10, 6), (4, -18, 14), (8, -36, 20), (8, -52, 16),  # left
        ],
        [-1, 0, 1, 2, 3, 4, 5, 4, 7, 2, 9, 10, 11],
    )  # fmt: skip


def hepatic_skeleton(rng: np.random.Generator, dome_mm: float) -> Skeleton:
    """The right hepatic vein, and the middle and left ones from a common trunk, at the cava."""
    top = 0.74 * dome_mm
    return _shaken(
        rng,
        [
            (-33, 19, top + 6), (-34, 12, top),  # in the cava
            (-52, 18, 0.86 * top), (-72, 22, 0.5 * top), (-92, 26, 0.15 * top),  # right
            (-28, -2, 0.94 * top),  # the common trunk
            (-36, -18, 0.66 * top), (-44, -34, 0.3 * top), (-48, -46, 0.02 * top),  # middle
            (-10, -14, 0.84 * top), (10, -24, 0.62 * top), (34, -36, 0.46 * top),  # left
        ],
        [-1, 0, 1, 2, 3, 1, 5, 6, 7, 5, 9, 10],
    )  # fmt: skip


def _shaken(
    rng: np.random.Generator, points: list[tuple[float, float, float]], parents: list[int]
) -> Skeleton:
    """The same branches, elsewhere by millimetres; where they begin is left."""
    at: Points = np.asarray(points, float)
    at[2:] += rng.normal(0, 3.0, (len(at) - 2, 3))
    return Skeleton(at, tuple(parents))
