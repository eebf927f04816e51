"""Likeness of synthetic ROIs to real ones, under the eight flips and turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ml.readers import content

FLOOR = 0.97
"""Correlation from which on two ROIs always count as alike (as in the leak audit)."""

_LEAST_REAL = 20
_QUANTILE = 0.99

Rois = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


class Likeness:
    """Real ROIs to which synthetic ones are compared.

    A synthetic ROI is too near when its highest correlation with a real one exceeds that of 99 %
    of the real ones with their own nearest of another patient; with fewer than 20 real ROIs, or
    where real ones are that alike themselves, the limit is `FLOOR`.
    """

    def __init__(self, rois: Sequence[Rois], patients: Sequence[str]) -> None:
        self._real = _vectors(rois)
        self.limit = FLOOR
        if len(rois) >= _LEAST_REAL and len(set(patients)) > 1:
            own = np.array(patients)[:, None] == np.array(patients)[None, :]
            nearest = np.where(own, -1.0, _highest(self._real, self._real)).max(axis=1)
            self.limit = float(min(FLOOR, np.quantile(nearest, _QUANTILE)))

    def nearest(self, rois: Sequence[Rois]) -> Floats:
        """For each ROI (64, 64) its highest correlation with a real one, −1 … 1."""
        return np.asarray(_highest(_vectors(rois), self._real).max(axis=1), np.float64)


def _vectors(rois: Sequence[Rois]) -> Floats:
    return np.stack([content.reduced(np.asarray(roi, np.float64), 32) for roi in rois])


def _highest(a: Floats, b: Floats) -> Floats:
    turned = [a @ other.T for other in content.symmetries(b, 32)]
    return np.asarray(np.max(turned, axis=0), np.float64)
