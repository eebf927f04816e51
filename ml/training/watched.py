"""Whether a generator copies, looked at while it is trained.

A copy is nearer to one training lesion than real lesions are to each other, and distinctly nearer
to it than to the next one: a smooth picture is near to all of them alike. What is usual the
training lesions tell themselves, each patient held out from the others in turn, so that no lesion
is kept back from the training for it, and none that tests is looked at. That a copy's nearest
lesion stands out from the second is the criterion of Yoon et al. (2023, "Diffusion probabilistic
models generalize when they fail to memorize"); distances are those of `ml.statistics.copies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.dataset.manifest import Line, Manifest
from ml.statistics import copies, exact, memorisation
from ml.training.learned import Look

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]

_LEAST_PATIENTS = 8
"""Of fewer of a class nobody can say how alike their lesions are."""
_MOST_LESIONS = 300
"""Of a class that samples are compared with, spread over all: each costs some 20 ms a look."""


@dataclass(frozen=True)
class _OfClass:
    lesions: list[Pixels]
    owners: npt.NDArray[np.int64]
    nearest: float
    """5 % of real lesions are nearer than this to one of another patient …"""
    ratio: float
    """… and of fewer than 5 % that gap is a smaller share of the gap to a third patient."""


class Watch:
    """The training lesions that samples must not be copies of."""

    def __init__(
        self, rois: Pixels, labels: npt.NDArray[np.int64], patients: Sequence[str]
    ) -> None:
        """Compare the lesions with each other; some 20 ms for each.

        Args:
            rois: (n, 64, 64) in [−1, 1], the lesions as they are.
            labels: (n,) their class positions.
            patients: (n,) whose they are.
        """
        numbers = {name: i for i, name in enumerate(dict.fromkeys(patients))}
        owners = np.asarray([numbers[name] for name in patients])
        self._classes: dict[int, _OfClass] = {}
        for position in np.unique(labels).tolist():
            rows = np.flatnonzero(labels == position)
            if len(rows) > _MOST_LESIONS:
                rows = rows[np.linspace(0, len(rows) - 1, _MOST_LESIONS).astype(np.int64)]
            own = owners[rows]
            if len(np.unique(own)) < _LEAST_PATIENTS:
                continue
            lesions = list(rois[rows])
            gaps = copies.gaps(rois[rows], lesions)
            first, second = _two_patients(np.where(own[:, None] == own, np.inf, gaps), own)
            self._classes[int(position)] = _OfClass(
                lesions,
                own,
                float(np.quantile(first, memorisation.EXPECTED)),
                float(np.quantile(first / np.maximum(second, 1e-9), memorisation.EXPECTED)),
            )

    @classmethod
    def of(cls, manifest: Manifest, lines: Sequence[Line], window_hu: tuple[float, float]) -> Watch:
        """Of the lesions that a generator is trained on."""
        return cls(
            np.stack([manifest.roi(line, window_hu) for line in lines]),
            np.asarray([manifest.scheme.index(line.lesion_class) for line in lines]),
            [line.patient for line in lines],
        )

    def look(self, epoch: int, samples: Pixels, positions: npt.NDArray[np.int64]) -> Look:
        """How many of samples (n, 64, 64) of classes (n,) are copies.

        Of a class of few patients nothing can be told, and its samples are not counted.
        """
        compared = flagged = 0
        for position, of in self._classes.items():
            drawn = samples[positions == position]
            if not len(drawn):
                continue
            first, second = _two_patients(copies.gaps(drawn, of.lesions), of.owners)
            compared += len(drawn)
            flagged += int(((first < of.nearest) & (first < of.ratio * second)).sum())
        return Look(epoch, compared, flagged)


def copying(look: Look) -> bool:
    """Whether more are copies than twice what is expected of none, beyond chance."""
    if not look.samples:
        return False
    low, _ = exact.clopper_pearson(look.flagged, look.samples)
    return low > 2 * memorisation.EXPECTED


def words(look: Look) -> str:
    """What a look found, in a sentence."""
    return (
        f"{look.flagged} of {look.samples} samples are nearer to one training lesion than 95 % of "
        "real lesions are to any of another patient, and distinctly nearer to it than to the next"
    )


def _two_patients(gaps: Floats, owners: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Of each row of gaps (n, m) the least, and the least of another patient's lesions."""
    first = gaps.argmin(axis=1)
    others = np.where(owners[first][:, None] == owners, np.inf, gaps)
    return np.take_along_axis(gaps, first[:, None], axis=1)[:, 0], others.min(axis=1)
