"""What the repeated training left to judge a network by: lesions scored by networks without them.

Patients are numbers here. A checkpoint travels, and needs to know who belongs together, not who.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class TrustError(HepaticaError):
    """Lesions that do not allow what was asked of them, or a record that is none."""


def refuse_version(data: Any, version: int, of: str) -> None:
    """Nothing for a record of ``version``; else TrustError, which says of what (``of``) it is."""
    found = data.get("version") if isinstance(data, dict) else None
    if found != version:
        raise TrustError(f"Version {found!r} of {of} is unknown.")


@dataclass(frozen=True)
class Missing:
    """Why a checkpoint does not have something, to follow after a colon."""

    missing: str


@dataclass(frozen=True)
class OutOfFold:
    """n lesions of training patients, each scored by the network of the fold that held it out.

    Attributes:
        logits: (n, classes), before the softmax.
        labels: (n,) positions of the true classes.
        patients: (n,) whose they are, numbered.
        folds: (n,) which network scored each.
        classes: keys of the scheme, in the order of the logits.

    Raises:
        TrustError: lengths that differ, logits that are not finite, or a patient in two folds.
    """

    logits: Floats
    labels: Ints
    patients: Ints
    folds: Ints
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.logits.shape != (n, len(self.classes)) or not (
            self.patients.shape == self.folds.shape == self.labels.shape == (n,)
        ):
            raise TrustError("Logits, labels, patients and folds of out-of-fold lesions differ.")
        if not np.isfinite(self.logits).all():
            raise TrustError("An out-of-fold logit is not a finite number.")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise TrustError("An out-of-fold label names no class of the scheme.")
        pairs = np.unique(np.stack([self.patients, self.folds]), axis=1)
        if pairs.shape[1] != len(np.unique(self.patients)):
            raise TrustError("A patient's lesions were held out in two folds.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_patients(self) -> int:
        """How many patients they are of."""
        return len(np.unique(self.patients))

    @property
    def counts(self) -> dict[str, int]:
        """Lesions of each class; of one without any, 0."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return {key: int(count) for key, count in zip(self.classes, found, strict=True)}

    @property
    def missing(self) -> list[str]:
        """The classes that no lesion has."""
        return [key for key, count in self.counts.items() if not count]

    @property
    def unseen(self) -> list[str]:
        """The classes all of whose lesions were held out together: the network that scored them
        had been trained without the class."""
        return [
            key
            for place, key in enumerate(self.classes)
            if len(np.unique(self.folds[self.labels == place])) == 1
        ]

    def without_fold(self, fold: int) -> OutOfFold:
        """The lesions that other networks scored."""
        return self.only(self.folds != fold)

    def only(self, chosen: npt.NDArray[np.bool_]) -> OutOfFold:
        """Some of them, (n,)."""
        return OutOfFold(
            self.logits[chosen], self.labels[chosen], self.patients[chosen], self.folds[chosen],
            self.classes,
        )  # fmt: skip


def numbered(patients: Sequence[str]) -> Ints:
    """Names as numbers in their order, (n,): resampling draws them as it would the names."""
    return np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1].astype(np.int64)


def names(patients: Ints) -> list[str]:
    """Numbers as names that have the same order."""
    return [f"{number:09}" for number in patients]
