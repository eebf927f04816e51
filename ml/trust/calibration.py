"""Whether a network's numbers are probabilities: temperature scaling, and what it is judged by.

A temperature divides the logits (Guo et al. 2017, arXiv 1706.04599). It is fitted on lesions of
training patients, each scored by a network that was trained without them. The figures *after*
scaling are cross-fitted: a fold's lesions are scaled by the temperature of the other folds, so that
no lesion is judged by a number that it helped to choose.

Slope and intercepts are those of a multinomial recalibration, softmax(aₖ + b · log pₖ) (Van
Hoorde et al. 2014, Stat Med 33:2585): a slope below 1 says that the numbers are too extreme; an
intercept above 0 that its class is named too rarely. They are 1 and 0 of true probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics import bootstrap, calibration, multinomial
from ml.statistics.calibration import Bin
from ml.statistics.classification import percentile_interval
from ml.statistics.figure import Figure
from ml.trust.evidence import OutOfFold, TrustError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COOLEST, WARMEST = 0.2, 20.0
"""A temperature stays between: beyond, the lesions do not tell it."""
LEAST = 30
"""Of fewer lesions no temperature is fitted."""
INTERVAL = "95 % bootstrap over patients; the calibration error's is moved by its own bias"
_RESAMPLES = 1000
_CHANCES = 200


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be believed, on n lesions.

    Attributes:
        brier: mean squared distance to the true class's corner, 0–2.
        log_loss: mean −ln of the true class's probability.
        slope: b of the recalibration; 1 is right.
        intercepts: class → aₖ, which add up to 0; 0 is right.
        error: calibration error of the called class in ten bins of equal mass, 0–1.
        error_by_chance: what so many lesions would show of it were every probability true.
        bins: of the reliability plot.
    """

    n_lesions: int
    n_patients: int
    brier: Figure
    log_loss: Figure
    slope: Figure
    intercepts: Mapping[str, Figure]
    error: Figure
    error_by_chance: float
    bins: tuple[Bin, ...]
    interval: str = INTERVAL


@dataclass(frozen=True)
class Calibration:
    """The temperature that serves, and what shows whether it does its work.

    Attributes:
        temperature: logits are divided by it; above 1 makes the numbers less extreme.
        before: of the network's own probabilities.
        after: of the scaled ones, each fold by the temperature of the others.
        vector: the same of vector scaling (a factor and a shift for each class), for comparison.
        held_out: of the scaled ones on patients that no temperature was fitted on; None: there are
            none.
    """

    temperature: float
    before: Reliability
    after: Reliability
    vector: Reliability
    held_out: Reliability | None = None

    def probabilities(self, logits: Floats) -> Floats:
        """(n, classes), rows that add up to 1."""
        return multinomial.softmax(np.asarray(logits, np.float64) / self.temperature)


def fitted(found: OutOfFold, seed: int = 0) -> tuple[Calibration, Floats]:
    """Fit a temperature, and judge it.

    Args:
        seed: of the bootstrap.

    Returns:
        Also the cross-fitted probabilities (n, classes), which prediction sets are made from.

    Raises:
        TrustError: too few lesions, a class without any, all from one fold, logits that say the
            same of every lesion, or that no temperature within the bounds makes probabilities.
    """
    scaled = cross_fitted(found)
    temperature = temperature_of(found.logits, found.labels)
    _refuse_bounds(found, temperature)
    vector = np.empty_like(found.logits)
    for fold in np.unique(found.folds):
        own = found.folds == fold
        vector[own] = _Vector.of(found.without_fold(fold)).probabilities(found.logits[own])
    made = Calibration(
        temperature=temperature,
        before=_judged(found, multinomial.softmax(found.logits), seed),
        after=_judged(found, scaled, seed),
        vector=_judged(found, vector, seed),
    )
    return made, scaled


def cross_fitted(found: OutOfFold) -> Floats:
    """Probabilities (n, classes), each fold's scaled by the temperature of the others.

    Raises:
        TrustError: as ``fitted``.
    """
    if len(found) < LEAST:
        raise TrustError(
            f"{len(found)} out-of-fold lesion{'' if len(found) == 1 else 's'}: a temperature needs "
            f"{LEAST}"
        )
    if found.missing:
        raise TrustError(f"no out-of-fold lesion is of class {', '.join(found.missing)}")
    if len(np.unique(found.folds)) < 2:
        raise TrustError("all lesions were held out in one fold, and two are needed")
    if np.ptp(found.logits - found.logits.mean(axis=1, keepdims=True), axis=0).max() < 1e-6:
        raise TrustError("the network says the same of every lesion")
    scaled = np.empty_like(found.logits)
    for fold in np.unique(found.folds):
        own = found.folds == fold
        others = found.without_fold(fold)
        own_temperature = temperature_of(others.logits, others.labels)
        scaled[own] = multinomial.softmax(found.logits[own] / own_temperature)
    return scaled


def reliability(
    probabilities: Floats, labels: Ints, patients: Ints, classes: tuple[str, ...], seed: int = 0
) -> Reliability:
    """What probabilities (n, classes) of lesions of true classes (n,) are worth."""
    n = len(labels)
    drawn = Drawn.of(probabilities, labels, weights_of(patients, seed))
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    return Reliability(
        n_lesions=n,
        n_patients=len(np.unique(patients)),
        brier=figure(drawn.brier, n),
        log_loss=figure(drawn.log_loss, n),
        slope=figure(drawn.slope, n, SEPARATED),
        intercepts={
            key: figure(drawn.intercepts[:, place], n, SEPARATED)
            for place, key in enumerate(classes)
        },
        error=figure(drawn.error, n),
        error_by_chance=calibration.by_chance(confidence, _CHANCES, seed),
        bins=calibration.reliability(confidence[None], right[None]),
    )


SEPARATED = "every lesion was called rightly, or nearly: no slope fits"
"""Why there is no slope where there is none."""


def weights_of(patients: Ints, seed: int) -> Floats:
    """(1 + resamples, n): every lesion once, and then as often as its patient is drawn again."""
    rng = np.random.default_rng([seed, 13])
    drawn = bootstrap.resamples(patients, _RESAMPLES, rng)
    return np.concatenate([np.ones((1, len(patients))), drawn])


@dataclass(frozen=True)
class Drawn:
    """What `Reliability` tells of probabilities: as the lesions are, and as patients are drawn.

    Attributes:
        brier, log_loss, slope, error: (1 + resamples,).
        intercepts: (1 + resamples, classes).
    """

    brier: Floats
    log_loss: Floats
    slope: Floats
    intercepts: Floats
    error: Floats

    @classmethod
    def of(cls, probabilities: Floats, labels: Ints, weights: Floats) -> Drawn:
        """Of probabilities (n, classes) of lesions of true classes (n,), by ``weights_of``."""
        mass = weights.sum(axis=1)
        right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
        line = _recalibration(probabilities, labels, weights)
        # resampled lesions repeat each other, which alone makes bins look worse
        errors = calibration.error(probabilities.max(axis=1), right, weights)
        errors[1:] = np.clip(errors[1:] + errors[0] - errors[1:].mean(), 0.0, 1.0)
        return cls(
            weights @ calibration.brier(labels, probabilities) / mass,
            weights @ calibration.log_loss(labels, probabilities) / mass,
            line[:, 0],
            line[:, 1:],
            errors,
        )


def figure(values: Floats, n: int, why: str = "the lesions do not define it") -> Figure:
    """The figure of (1 + resamples,): the first is its value, the others give its interval."""
    if not np.isfinite(values[0]):
        return Figure.undefined(n, INTERVAL, why)
    return percentile_interval(float(values[0]), values[1:])


def _judged(found: OutOfFold, probabilities: Floats, seed: int) -> Reliability:
    return reliability(probabilities, found.labels, found.patients, found.classes, seed)


def temperature_of(logits: Floats, labels: Ints) -> float:
    """The temperature of the greatest likelihood of (n, classes) for (n,), within its bounds."""
    once = np.ones((1, len(labels)))
    fit = multinomial.fit(logits[:, :, None], labels, once, np.ones(1), bound=1 / COOLEST)
    inverse = float(fit.parameters[0, 0])
    # what is right by less than chance has no temperature that helps
    return float(np.clip(1 / inverse if inverse > 0 else WARMEST, COOLEST, WARMEST))


def _refuse_bounds(found: OutOfFold, temperature: float) -> None:
    """A temperature that stopped at a bound leaves numbers that are none of what they claim.

    But for lesions that were all called rightly: their best one has no end, and at the bound the
    numbers are only too cautious.
    """
    if temperature >= WARMEST:
        raise TrustError(
            f"its numbers are wrong too often, or too extreme, for a temperature up to {WARMEST:g} "
            "to make probabilities of them"
        )
    if temperature <= COOLEST and (found.logits.argmax(axis=1) != found.labels).any():
        raise TrustError(
            f"its numbers are too much alike for a temperature down to {COOLEST:g} to make "
            "probabilities of them"
        )


def _recalibration(probabilities: Floats, labels: Ints, weights: Floats) -> Floats:
    """(b, 1 + classes): slope and intercepts of each weighting; NaN where none fit."""
    classes = probabilities.shape[1]
    logs = np.log(np.clip(probabilities, calibration.LEAST, 1.0))
    design = np.zeros((*logs.shape, classes))
    design[:, :, 0] = logs
    for key in range(1, classes):
        design[:, key, key] = 1.0
    start = np.zeros(classes)
    start[0] = 1.0
    whole = multinomial.fit(design, labels, weights[:1], start)
    # resamples lie near: begun at the whole sample's maximum they rest after three steps
    begun = whole.parameters[0] if whole.converged[0] else start
    fit = multinomial.fit(design, labels, weights, begun, steps=12, tolerance=1e-5)
    intercepts = np.concatenate([np.zeros((len(weights), 1)), fit.parameters[:, 1:]], axis=1)
    intercepts -= intercepts.mean(axis=1, keepdims=True)
    found = np.concatenate([fit.parameters[:, :1], intercepts], axis=1)
    found[~fit.converged] = np.nan
    return found


@dataclass(frozen=True)
class _Vector:
    """Vector scaling: each class's logit times a factor, plus a shift."""

    factors: Floats
    shifts: Floats

    @classmethod
    def of(cls, found: OutOfFold) -> _Vector:
        classes = len(found.classes)
        design = np.zeros((len(found), classes, 2 * classes - 1))
        for key in range(classes):
            design[:, key, key] = found.logits[:, key]
            if key:
                design[:, key, classes + key - 1] = 1.0
        start = np.zeros(2 * classes - 1)
        start[:classes] = 1.0
        best = multinomial.fit(design, found.labels, np.ones((1, len(found))), start).parameters[0]
        return cls(best[:classes], np.concatenate([[0.0], best[classes:]]))

    def probabilities(self, logits: Floats) -> Floats:
        return multinomial.softmax(logits * self.factors + self.shifts)
