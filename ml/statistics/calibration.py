"""How far class probabilities can be believed: Brier score, log loss, calibration error.

Brier (1950, Mon Weather Rev 78:1) and log loss fall with better order *and* better calibration; the
calibration error looks at the confidence in the class that is called alone (Guo et al. 2017,
arXiv 1706.04599), in bins of equal mass (Nixon et al. 2019, arXiv 1904.01685).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BINS = 10
LEAST = 1e-7
"""A probability below counts as this one: 0 for what then happens would be an infinite loss."""


@dataclass(frozen=True)
class Bin:
    """Lesions of like confidence: how many, the mean of it, and the share that was called rightly.

    ``lesions`` is a mean over seeds where there are several.
    """

    lesions: float
    confidence: float
    right: float


def brier(truth: Ints, probabilities: Floats) -> Floats:
    """Per lesion (…, n): squared distance to the true class's corner, 0–2; less is better.

    Args:
        truth: (n,) class positions.
        probabilities: (…, n, classes).
    """
    aim = np.eye(probabilities.shape[-1])[truth]
    return np.asarray(((probabilities - aim) ** 2).sum(axis=-1))


def log_loss(truth: Ints, probabilities: Floats) -> Floats:
    """Per lesion (…, n): −ln of the true class's probability, at most −ln ``LEAST``."""
    own = np.take_along_axis(
        probabilities, np.broadcast_to(truth[:, None], (*probabilities.shape[:-1], 1)), axis=-1
    )[..., 0]
    return np.asarray(-np.log(np.clip(own, LEAST, 1.0)))


def error(confidence: Floats, right: Floats, weights: Floats, bins: int = BINS) -> Floats:
    """Calibration error (b,), 0–1: mean over lesions of the gap of their bin.

    A bin's gap is that between its mean confidence and the share of it that is right. Bins hold
    equal mass; lesions of equal confidence are never parted, or their order would make a gap.

    Args:
        confidence: (n,) probability of the class that is called.
        right: (n,) or (b, n), 1 where it is the true one.
        weights: (b, n) or (1, n): how often each lesion counts.
    """
    surplus = weights * (confidence - right)
    rows = bins * np.arange(len(surplus))[:, None]
    place = _members(confidence, weights, bins) + rows
    sums = np.bincount(place.ravel(), surplus.ravel(), minlength=bins * len(surplus))
    gaps = np.abs(sums.reshape(-1, bins)).sum(axis=1)
    return np.asarray(gaps / weights.sum(axis=-1))


def by_chance(confidence: Floats, draws: int, seed: int, bins: int = BINS) -> float:
    """The mean ``error`` that so many lesions would show were every confidence true.

    It is above 0, the more so the fewer the lesions; lesions are taken to be independent.
    """
    rng = np.random.default_rng([seed, 3])
    right = (rng.random((draws, len(confidence))) < confidence).astype(np.float64)
    return float(error(confidence, right, np.ones((1, len(confidence))), bins).mean())


def reliability(confidence: Floats, right: Floats, bins: int = BINS) -> tuple[Bin, ...]:
    """What a reliability plot shows, of (seeds, n); bins are made of all seeds together."""
    flat, hits = confidence.ravel(), right.ravel()
    member = _members(flat, np.ones((1, flat.size)), bins)[0]
    found = []
    for number in np.unique(member):
        own = member == number
        count = float(own.sum()) / len(confidence)
        found.append(Bin(count, float(flat[own].mean()), float(hits[own].mean())))
    return tuple(found)


def _members(confidence: Floats, weights: Floats, bins: int) -> Ints:
    """The bin (b, n) of each lesion: where the middle of its group of equals lies in the mass."""
    order = np.argsort(confidence, kind="stable")
    _, starts, group = np.unique(confidence[order], return_index=True, return_inverse=True)
    mass = np.add.reduceat(weights[:, order], starts, axis=1)
    middle = np.cumsum(mass, axis=1) - mass / 2
    place = np.floor(bins * middle / mass.sum(axis=1, keepdims=True)).astype(np.int64)
    member = np.empty(weights.shape, np.int64)
    member[:, order] = np.minimum(place, bins - 1)[:, group]
    return member
