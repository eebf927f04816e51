"""How near a synthetic ROI comes to the real ones that its generator learned from.

A difference is the root mean square of the pixels', the smallest over the eight symmetries of the
square: training turned and mirrored its ROIs. Beside it stands how far ROIs of patients that the
generator never saw lie from the same ones: a copy lies much nearer than they do. Smooth pictures
are near to everything, so one near picture alone is no copy (`ml.statistics.memorisation`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics import memorisation
from ml.trust.evidence import TrustError

Pixels = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_EQUAL = 1e-6


@dataclass(frozen=True)
class NearestRoi:
    """The training ROI that is least different.

    Attributes:
        row: which of the lesions that were given.
        difference: root mean square, of values in [−1, 1].
        distance: in units of what is usual between lesions; None where that is not known.
        symmetry: under which the synthetic ROI lies nearest, as of `ml.statistics.symmetry`.
    """

    row: int
    difference: float
    distance: float | None
    symmetry: int


@dataclass(frozen=True)
class TrainingRois:
    """The ROIs that a generator learned from.

    Attributes:
        rows: (m,) which of the lesions that were given.
        described: (m, 4096) their pixels.
        usual: median difference of a lesion that it had not seen from the nearest of them; None
            where none was held out.
        held: how many these were.

    Raises:
        TrustError: there are none.
    """

    rows: Ints
    described: Pixels
    usual: float | None
    held: int

    @classmethod
    def of(cls, rois: Pixels, own: Bools, trained: Bools) -> TrainingRois:
        """Of the lesions of a data set, (n, 64, 64) in [−1, 1].

        Args:
            own: (n,) which are of the class that it draws.
            trained: (n,) which are of the patients that it was trained on.
        """
        rows, others = np.flatnonzero(own & trained), np.flatnonzero(own & ~trained)
        if not rows.size:
            raise TrustError("none of the lesions that are kept is one that it was trained on")
        described = memorisation.flat(rois[rows])
        usual = None
        if others.size:
            asked = memorisation.turns(rois[others], memorisation.flat)
            usual = float(np.median(memorisation.nearest(asked, described)[0]))
        return cls(rows, described, usual if usual and usual > _EQUAL else None, len(others))

    def nearest(self, roi: Pixels) -> NearestRoi:
        """The one that is least different from a ROI (64, 64) in [−1, 1]."""
        asked = memorisation.turns(roi[None], memorisation.flat)
        differences, places, symmetries = memorisation.nearest(asked, self.described)
        difference = float(differences[0])
        return NearestRoi(
            int(self.rows[places[0]]),
            difference,
            None if self.usual is None else difference / self.usual,
            int(symmetries[0]),
        )
