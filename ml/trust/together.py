"""What several networks are worth together, beside each of them alone.

All are asked of the same lesions, which none of them had seen, and patients are drawn together: a
difference is that of the mean's figure and the mean of the networks' own figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics import comparison, multinomial
from ml.statistics.figure import Figure
from ml.trust import agreement, calibration
from ml.trust.agreement import Agreeing
from ml.trust.calibration import INTERVAL, SEPARATED, Drawn
from ml.trust.evidence import Missing, OutOfFold, TrustError, names

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RESAMPLES = 2000


@dataclass(frozen=True)
class Compared:
    """One figure: of the networks' mean, the mean of the single networks', and the difference."""

    ensemble: Figure
    members: Figure
    difference: Figure


@dataclass(frozen=True)
class Gain:
    """The networks' mean beside the single networks, on n lesions.

    Attributes:
        balanced_accuracy: 0–1; above 0, a difference speaks for the mean.
        log_loss, brier, error: less is better: below 0, a difference speaks for the mean.
        slope: 1 is right; its difference is that of the distances from 1, so it is read alike.
    """

    n_lesions: int
    n_patients: int
    balanced_accuracy: Compared
    log_loss: Compared
    brier: Compared
    slope: Compared
    error: Compared
    interval: str = INTERVAL


@dataclass(frozen=True)
class Together:
    """What stands in ``checkpoint.json`` of an ensemble, of lesions that it had not seen.

    Attributes:
        networks: how many were asked of each lesion, all of which were trained without it.
        before: of the numbers as they are.
        after: of those by a temperature. Out of fold each network's and their mean's own, and each
            fold's by that of the others; of other lesions all by the one that serves.
        tried_on: which lesions; "" for those of the data set, out of fold.
    """

    networks: int
    agreeing: Agreeing | Missing
    before: Gain
    after: Gain | Missing
    tried_on: str = ""


def gain(mean: Floats, members: Floats, labels: Ints, patients: Ints, seed: int = 0) -> Gain:
    """Of probabilities of lesions that none of the networks had seen.

    Args:
        mean: (n, classes), of the ensemble.
        members: (networks, n, classes), of each network.
        labels: (n,) positions of the true classes.
        patients: (n,) whose they are, numbered.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes that differ, or no lesion.
    """
    n = len(labels)
    if members.shape[1:] != mean.shape or len(mean) != n or not n or not len(members):
        raise ValueError("the ensemble and its networks must have answered the same lesions")
    weights, owners = calibration.weights_of(patients, seed), names(patients)
    whole = Drawn.of(mean, labels, weights)
    alone = [Drawn.of(one, labels, weights) for one in members]

    def compared(of: Floats, each: list[Floats], aim: float | None = None) -> Compared:
        rows = np.stack(each)
        if aim is None:
            gap = of - rows.mean(axis=0)
        else:
            gap = np.abs(of - aim) - np.abs(rows - aim).mean(axis=0)
        return Compared(
            *(calibration.figure(one, n, SEPARATED) for one in (of, rows.mean(axis=0), gap))
        )

    right = (mean.argmax(axis=1) == labels).astype(np.float64)[None]
    theirs = (members.argmax(axis=2) == labels).mean(axis=0)[None]
    return Gain(
        n_lesions=n,
        n_patients=len(np.unique(patients)),
        balanced_accuracy=Compared(
            comparison.share_interval(right, labels, owners, _RESAMPLES, seed),
            comparison.share_interval(theirs, labels, owners, _RESAMPLES, seed),
            comparison.difference_interval(right - theirs, labels, owners),
        ),
        log_loss=compared(whole.log_loss, [one.log_loss for one in alone]),
        brier=compared(whole.brier, [one.brier for one in alone]),
        slope=compared(whole.slope, [one.slope for one in alone], 1.0),
        error=compared(whole.error, [one.error for one in alone]),
    )


def together(found: OutOfFold, members: Floats, seed: int = 0) -> Together:
    """Of lesions that were held out from every network that is asked of them.

    Args:
        found: what the networks' mean said of them.
        members: (n, networks, classes), the logits of each network; the first of one fold has
            nothing to do with the first of another.
        seed: of the bootstrap.

    Raises:
        ValueError: as ``gain``.
    """
    each = np.moveaxis(members, 1, 0)
    before = multinomial.softmax(found.logits), multinomial.softmax(each)
    after: Gain | Missing
    try:
        scaled = calibration.cross_fitted(found)
        own = [
            calibration.cross_fitted(
                OutOfFold(one, found.labels, found.patients, found.folds, found.classes)
            )
            for one in each
        ]
        after = gain(scaled, np.stack(own), found.labels, found.patients, seed)
    except TrustError as error:
        after = Missing(str(error))
    return Together(
        members.shape[1],
        agreement.agreeing(found.logits, members, found.labels, found.patients),
        gain(*before, found.labels, found.patients, seed),
        after,
    )


def on_others(
    mean: Floats,
    members: Floats,
    labels: Ints,
    patients: Ints,
    temperature: float | Missing,
    tried_on: str,
) -> Together:
    """Of lesions that are none of the data set's.

    Args:
        mean: (n, classes), the logits of the ensemble.
        members: (n, networks, classes), of each network.
        labels: (n,) positions of the true classes.
        patients: (n,) whose they are, numbered.
        temperature: that serves, or why there is none.
        tried_on: which lesions they are, in words.

    Raises:
        ValueError: as ``gain``.
    """
    each = np.moveaxis(members, 1, 0)

    def by(heat: float) -> Gain:
        own = multinomial.softmax(mean / heat), multinomial.softmax(each / heat)
        return gain(*own, labels, patients)

    return Together(
        members.shape[1],
        agreement.agreeing(mean, members, labels, patients),
        by(1.0),
        temperature if isinstance(temperature, Missing) else by(temperature),
        tried_on,
    )
