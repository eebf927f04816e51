"""What a classifier was tried on, as its card and the bench tell it: rows with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics import comparison
from ml.statistics.figure import Figure
from ml.trust.novelty import INTERVAL, Novelty, share

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RESAMPLES = 2000


@dataclass(frozen=True)
class Detection:
    """How often ROIs of one kind are flagged as unlike the training ROIs.

    Attributes:
        name: a short one, such as "noise".
        what: what they are, in words.
        rate: the share that is flagged, with an interval over patients and its n.
    """

    name: str
    what: str
    rate: Figure


@dataclass(frozen=True)
class Robustness:
    """The same lesions of the same patients under another condition.

    Attributes:
        name, what: the condition, short and in words.
        agreement: share of lesions whose class stays.
        balanced_accuracy: under the condition.
        difference: of it, under the condition less as they were.
    """

    name: str
    what: str
    agreement: Figure
    balanced_accuracy: Figure
    difference: Figure


def detection(
    novelty: Novelty,
    name: str,
    what: str,
    features: npt.NDArray[np.floating],
    measurements: npt.NDArray[np.floating],
    patients: Sequence[str],
) -> Detection:
    """Of ROIs (m) none of which had a part in the threshold.

    Args:
        features, measurements: (m, d) and (m, k), as `Novelty.scores` takes them.
        patients: whose each is; ROIs of one patient are drawn together.

    Raises:
        NoveltyError: as ``Novelty.scores``.
    """
    flagged = novelty.scores(features, measurements) > novelty.threshold
    return Detection(name, what, share(flagged, patients, method=f"flagged; {INTERVAL}"))


def robustness(
    name: str, what: str, truth: Ints, before: Floats, after: Floats, patients: Sequence[str]
) -> Robustness:
    """Of class probabilities (n, classes) of the same lesions, ``before`` and ``after``.

    Args:
        truth: (n,) class positions.
        patients: whose lesion each is.

    Raises:
        ValueError: lengths that differ, or no lesion.
    """
    if not before.shape == after.shape or len(truth) != len(before) or not len(truth):
        raise ValueError("both must be answers to the same lesions")
    named = [one.argmax(axis=1) for one in (before, after)]
    right = [(one == truth).astype(np.float64)[None] for one in named]
    return Robustness(
        name,
        what,
        share(named[0] == named[1], patients, method=f"same class; {INTERVAL}"),
        comparison.share_interval(right[1], truth, patients, _RESAMPLES, 0),
        comparison.difference_interval(right[1] - right[0], truth, patients, _RESAMPLES, 0),
    )
