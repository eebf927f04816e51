"""Likeness of synthetic ROIs to real ones, under the eight flips and turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ml.statistics import correlation

FLOOR = 0.97
"""Correlation from which on two ROIs always count as alike (as in the leak audit)."""

_SIDE = 32
_LEAST_REAL = 20
_QUANTILE = 0.99

Rois = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


class Likeness:
    """Real ROIs to which synthetic ones are compared.

    A synthetic ROI is too near when its highest correlation with a real one exceeds that of 99 %
    of the real ones with their own nearest of another patient; with fewer than 20 real ROIs, or
    where real ones are that alike themselves, the limit is `FLOOR`. A ``limit`` that is given
    stands instead.
    """

    def __init__(
        self, rois: Sequence[Rois], patients: Sequence[str], limit: float | None = None
    ) -> None:
        self._real = _vectors(rois)
        self.limit = FLOOR if limit is None else limit
        if limit is None and len(rois) >= _LEAST_REAL and len(set(patients)) > 1:
            own = np.array(patients)[:, None] == np.array(patients)[None, :]
            alike = correlation.in_any_orientation(self._real, self._real, _SIDE)
            nearest = np.where(own, -1.0, alike).max(axis=1)
            self.limit = float(min(FLOOR, np.quantile(nearest, _QUANTILE)))

    def __len__(self) -> int:
        return len(self._real)

    def too_near(self, rois: Sequence[Rois]) -> npt.NDArray[np.bool_]:
        """For each ROI (64, 64) whether it is more like a real one than the limit allows."""
        return np.asarray(self.nearest(rois) > self.limit, np.bool_)

    def nearest(self, rois: Sequence[Rois]) -> Floats:
        """For each ROI (64, 64) its highest correlation with a real one, −1 … 1."""
        alike = correlation.in_any_orientation(_vectors(rois), self._real, _SIDE)
        return np.asarray(alike.max(axis=1), np.float64)


def _vectors(rois: Sequence[Rois]) -> Floats:
    """Mean-free unit vectors of the ROIs averaged to 32 × 32."""
    small = np.stack(rois).astype(np.float64).reshape(-1, _SIDE, 2, _SIDE, 2).mean(axis=(2, 4))
    return correlation.units(small.reshape(len(small), -1))
