"""What two models' answers to the same lesions are worth, and how far they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics import area, calibration, classification, comparison
from ml.statistics.figure import Figure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AS_GOOD = 0.05
"""A balanced accuracy that is lower by less than this counts as as good."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Figures:
    """What answers are worth, on n lesions, each with a 95 % interval over patients.

    Attributes:
        balanced_accuracy, auc: 0–1; ``auc`` is the mean over classes of each against the rest.
        log_loss: mean −ln of the true class's probability.
        brier: mean squared distance to the true class's corner, 0–2.
        interval: how the intervals were made.
    """

    n_lesions: int
    n_patients: int
    balanced_accuracy: Figure
    auc: Figure
    log_loss: Figure
    brier: Figure
    interval: str


@dataclass(frozen=True)
class Beside:
    """Two models on the same lesions, both out of fold: the measurements' and the network's.

    The differences are the measurements' figure less the network's, patients drawn together.
    """

    n_lesions: int
    n_patients: int
    features: Figures
    network: Figures
    balanced_accuracy: Figure
    auc: Figure
    log_loss: Figure
    brier: Figure
    sentence: str


def figures(
    truth: Ints, probabilities: Floats, patients: Sequence[str], classes: Sequence[str]
) -> Figures:
    """Of class probabilities (n, classes) for lesions with true positions (n,).

    Raises:
        ValueError: as `classification.score`.
    """
    scored = classification.score(truth, probabilities, patients, classes, _RESAMPLES)
    believed = comparison.believed(truth, probabilities[None], patients, _RESAMPLES, 0)
    return Figures(
        scored.lesions,
        scored.patients,
        scored.balanced_accuracy,
        scored.auc["macro"],
        believed.log_loss,
        believed.brier,
        scored.interval,
    )


def beside(
    truth: Ints, features: Floats, network: Floats, patients: Sequence[str], classes: Sequence[str]
) -> Beside:
    """The measurements' answers and the network's, (n, classes) each, to the same lesions.

    Both must be out of fold, on training sets of about the same patients, to be fair.

    Raises:
        ValueError: as `classification.score`.
    """
    weights = classification.patient_resamples(patients, _RESAMPLES, 0)
    total = weights.sum(axis=1)

    def mean(each: Floats) -> Figure:
        return classification.percentile_interval(float(each.mean()), (weights @ each) / total)

    def areas(probabilities: Floats) -> tuple[float, Floats]:
        own = [area.auc(truth == i, probabilities[:, i]) for i in range(len(classes))]
        drawn = [
            area.weighted(truth == i, probabilities[:, i], weights) for i in range(len(classes))
        ]
        return (
            float(classification.mean_known(np.asarray(own))),
            classification.mean_known(np.stack(drawn, axis=1)),
        )

    right = [(one.argmax(axis=1) == truth).astype(np.float64)[None] for one in (features, network)]
    accuracy = comparison.difference_interval(right[0] - right[1], truth, patients)
    (first, first_drawn), (second, second_drawn) = areas(features), areas(network)
    return Beside(
        len(truth),
        len(set(patients)),
        figures(truth, features, patients, classes),
        figures(truth, network, patients, classes),
        accuracy,
        classification.percentile_interval(first - second, first_drawn - second_drawn),
        mean(calibration.log_loss(truth, features) - calibration.log_loss(truth, network)),
        mean(calibration.brier(truth, features) - calibration.brier(truth, network)),
        said(accuracy),
    )


def said(difference: Figure) -> str:
    """In a sentence, what a difference in balanced accuracy (measurements less network) shows."""
    if difference.value is None or difference.ends is None:
        return "Whether the simple model is as good as the network, these lesions do not tell."
    low, high = difference.ends
    points = f"{100 * difference.value:+.1f} points of balanced accuracy"
    told = f"({points}, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}, same lesions)"
    if low > 0:
        return f"The simple model is better than the network {told}."
    if high < 0:
        return f"The network is better than the simple model {told}."
    if low > -AS_GOOD:
        return (
            f"The simple model is as good as the network, within {100 * AS_GOOD:.0f} points {told}."
        )
    return f"Neither was shown to be better than the other {told}."
