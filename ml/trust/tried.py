"""What a classifier was tried on, as its card and the bench tell it: rows with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ml.statistics import comparison
from ml.statistics.figure import Figure
from ml.trust.novelty import INTERVAL, share

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PAIRED = f"each lesion beside itself; {INTERVAL}"
"""How the intervals of `Disturbed` are made, in words."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Detection:
    """How often ROIs of one kind are flagged as unlike the training ROIs.

    Attributes:
        name: a short one, such as "noise".
        what: what they are, in words.
        rate: the share that is flagged, with an interval over patients and how many ROIs.
    """

    name: str
    what: str
    rate: Figure


@dataclass(frozen=True)
class Disturbed:
    """The same lesions of the same patients under another condition.

    The differences are under the condition less as they were, each class counting alike.

    Attributes:
        name, what: the condition, short and in words.
        flipped: share of lesions whose class is another one, and how many lesions.
        accuracy: the difference of balanced accuracy.
        probability: the difference of the true class's probability.
    """

    name: str
    what: str
    flipped: Figure
    accuracy: Figure
    probability: Figure


@dataclass(frozen=True)
class Detections:
    """What is flagged as unlike the training ROIs.

    Attributes:
        tried_on: whose lesions, in words.
        interval: how the intervals were made.
        untried: what was not tried, in words → why.
    """

    tried_on: str
    n_patients: int
    rows: tuple[Detection, ...]
    interval: str = INTERVAL
    untried: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Robustness:
    """How answers to the same lesions change.

    Attributes:
        tried_on: whose lesions, in words.
        n_lesions: that were asked about as they are.
        balanced_accuracy: on them as they are.
        calibrated: whether ``Disturbed.probability`` is of probabilities; else of scores.
        interval, untried: as of `Detections`.
    """

    tried_on: str
    n_lesions: int
    n_patients: int
    balanced_accuracy: Figure
    calibrated: bool
    rows: tuple[Disturbed, ...]
    interval: str = PAIRED
    untried: Mapping[str, str] = field(default_factory=dict, hash=False)


def detection(name: str, what: str, flagged: Bools, patients: Sequence[str]) -> Detection:
    """Of ROIs (m,) none of which had a part in the threshold.

    Args:
        patients: whose each is; ROIs of one patient are drawn together.
    """
    return Detection(name, what, _untold(share(flagged, patients)))


def accuracy(truth: Ints, answers: Floats, patients: Sequence[str]) -> Figure:
    """Balanced accuracy of class probabilities (n, classes), with an interval over patients."""
    return comparison.share_interval(_right(truth, answers), truth, patients, _RESAMPLES, 0)


def disturbed(
    name: str, what: str, truth: Ints, before: Floats, after: Floats, patients: Sequence[str]
) -> Disturbed:
    """Of class probabilities (n, classes) of the same lesions, ``before`` and ``after``.

    Args:
        truth: (n,) class positions.
        patients: whose lesion each is.

    Raises:
        ValueError: lengths that differ, or no lesion.
    """
    if not before.shape == after.shape or len(truth) != len(before) or not len(truth):
        raise ValueError("both must be answers to the same lesions")
    was, now = (_right(truth, one) for one in (before, after))
    own = (after - before)[np.arange(len(truth)), truth][None]
    change, moved = (
        comparison.difference_interval(gaps, truth, patients) for gaps in (now - was, own)
    )
    return Disturbed(
        name,
        what,
        _untold(share(before.argmax(axis=1) != after.argmax(axis=1), patients)),
        _untold(change),
        _untold(moved),
    )


def _right(truth: Ints, answers: Floats) -> Floats:
    return np.asarray((answers.argmax(axis=1) == truth).astype(np.float64)[None])


def _untold(figure: Figure) -> Figure:
    """Without the method, which its table tells of all."""
    return replace(figure, method="")
