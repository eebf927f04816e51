"""Intervals that cover where a bootstrap cannot: few patients, or hardly one of them wrong.

A percentile bootstrap draws from what was seen. Where nobody was wrong it never draws an error and
prints "100 % (100 to 100 %)"; where three were, it draws too few kinds of samples and is too
narrow (Brown, Cai & DasGupta 2001, Stat Sci 16:101). There its interval is widened to hold the one
of Clopper & Pearson (1934, Biometrika 26:404) for the same share of so many trials:

* a share of lesions: Kish's effective number of patients, (Σ m)² / Σ m² over the m lesions of each,
  which takes lesions of one patient for copies of one another (after Korn & Graubard 1998, Surv
  Methodol 24:193);
* a weighted mean of classes' shares, balanced accuracy among them: the trials of the class with
  the fewest for its weight, divided by that weight. A sum of independent trials with differing
  chances is less spread than a binomial of the same mean (Hoeffding 1956, Ann Math Stat 27:713),
  and the largest part that one trial has is that of this class;
* an area under the ROC curve, of fewer than 5 patients on a side: as many trials as disjoint pairs
  can be made; the area is a mean over all such pairings, so it is less spread than one of them. Of
  more: Newcombe's interval (2006, Stat Med 25:559).

All but the last cover at least as often as they say, at the price of width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.statistics.figure import Figure

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEW = 5
"""A bootstrap is trusted with at least so many patients right and so many wrong."""
SMALL = 20
"""A class of fewer patients that has not got these tells too little for a mean of classes."""


def clopper_pearson(found: float, trials: float, level: float = 0.95) -> tuple[float, float]:
    """Ends of the exact interval of the share of ``trials`` that were ``found``, 0 to 1.

    Neither need be whole; of whole ones they are those of `scipy.stats.binomtest`.
    """
    found = min(max(found, 0.0), trials)
    left = trials - found
    tail = (1 - level) / 2
    tiny = 1e-9 * max(1.0, trials)
    # scipy.stats.beta.ppf is this function, to the last digit, with 50 µs of questions before it
    low = 0.0 if found <= tiny else float(scipy.special.betaincinv(found, left + 1, tail))
    high = 1.0 if left <= tiny else float(scipy.special.betaincinv(found + 1, left, 1 - tail))
    return low, high


@dataclass(frozen=True)
class Support:
    """What stands behind one share of lesions.

    Attributes:
        trials: independent trials that it is worth.
        patients: how many patients there are.
        right, wrong: how many of them have a lesion that counts, or one that does not; over
            several seeds the mean.
    """

    trials: float
    patients: int
    right: float
    wrong: float

    @property
    def few(self) -> bool:
        """Whether a bootstrap of it is not to be trusted."""
        return min(self.right, self.wrong) < FEW


def member_of(patients: Sequence[str]) -> Ints:
    """For each lesion (n,) the position of its patient."""
    return np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1].astype(np.int64)


def support(hits: Bools, chosen: Bools, member: Ints) -> Support:
    """Behind the share of ``chosen`` lesions (n,) that are ``hits`` (seeds, n).

    Args:
        member: from `member_of`.
    """
    own = member[chosen]
    lesions = np.bincount(own)
    lesions = lesions[lesions > 0]
    counts = np.atleast_2d(hits)[:, chosen]
    right = [len(np.unique(own[row])) for row in counts]
    wrong = [len(np.unique(own[~row])) for row in counts]
    trials = float(lesions.sum() ** 2 / (lesions**2).sum()) if lesions.size else 0.0
    return Support(trials, len(lesions), float(np.mean(right)), float(np.mean(wrong)))


BY_PATIENT = "exact (Clopper–Pearson) of as many trials as the patients are worth (Kish)"
"""How ``share`` makes its interval, in words."""


def share(hits: Bools, member: Ints) -> Figure:
    """The share of lesions (n,) that are ``hits``, with an interval over their patients.

    In closed form and never too narrow: for shares of so many lesions that resampling their
    patients would take too long, as of so few that it would say too little.

    Args:
        member: (n,) whose each lesion is.
    """
    if not len(hits):
        return Figure.undefined(0, BY_PATIENT, "no lesion")
    trials = support(hits, np.ones(len(hits), bool), member).trials
    value = float(hits.mean())
    return Figure(value, *clopper_pearson(value * trials, trials), len(hits), BY_PATIENT)


def shared(supports: Sequence[Support], patients: int) -> float:
    """The share of each class's trials that is its own, where patients are in several classes."""
    counted = sum(item.patients for item in supports)
    return min(1.0, patients / counted) if counted else 1.0


def trials_of_mean(
    supports: Sequence[Support], weights: Sequence[float], own: float = 1.0
) -> float:
    """Trials behind a weighted mean of shares; ``weights`` add up to 1."""
    return min(
        own * item.trials / weight
        for item, weight in zip(supports, weights, strict=True)
        if weight > 0
    )


def is_thin(supports: Sequence[Support], *, by_count: bool = False) -> bool:
    """Whether a bootstrap of a mean of these shares is not to be trusted.

    A small class weighs little in a mean ``by_count``, and as much as any in one of classes alike.
    """
    if min(sum(item.right for item in supports), sum(item.wrong for item in supports)) < FEW:
        return True
    return not by_count and any(item.few and item.patients < SMALL for item in supports)


def hanley_mcneil_variance(area: float, m: float, n: float, balanced: bool = False) -> float:
    """Variance of an empirical area of m cases against n, exponential model, no ties.

    Hanley & McNeil (1982, Radiology 143:29); exact under guessing (area 0.5). ``balanced`` puts
    (m + n) / 2 in place of either count, as Newcombe's interval does.
    """
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    a, b = ((m + n) / 2, (m + n) / 2) if balanced else (m, n)
    square = area * area
    return (area * (1 - area) + (a - 1) * (q1 - square) + (b - 1) * (q2 - square)) / (m * n)


def newcombe(
    area: float, m: float, n: float, confidence: float = 0.95, inflation: float = 1.0
) -> tuple[float, float]:
    """Score-like interval of an area of m cases against n, sensible at 0 and 1.

    Newcombe (2006, Stat Med 25:559); ``inflation`` multiplies its variance.
    """
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))

    def excess(theta: float) -> float:
        variance = max(inflation * hanley_mcneil_variance(theta, m, n, balanced=True), 0.0)
        return abs(area - theta) - z * sqrt(variance)

    edge = 1e-9  # at 0 and 1 the excess is 0 as well, which is not the root sought
    low = 0.0 if area <= edge else float(scipy.optimize.brentq(excess, 0.0, min(area, 1 - edge)))
    high = 1.0 if area >= 1 - edge else float(scipy.optimize.brentq(excess, max(area, edge), 1.0))
    return low, high


def of_area(value: float, positives: float, negatives: float) -> tuple[float, float]:
    """Ends of the interval of an area under the ROC curve, from the patients of both sides."""
    if min(positives, negatives) < FEW:
        trials = min(positives, negatives)
        return clopper_pearson(value * trials, trials)
    return newcombe(value, positives, negatives)


def of_difference(
    first: float, second: float, trials: float, level: float = 0.95
) -> tuple[float, float]:
    """Ends of the interval of ``first`` − ``second``, two shares of the same trials.

    Each is put in its exact interval, and the distances to their ends are joined as by Zou &
    Donner (2008, Stat Med 27:1693).
    """
    low, high = clopper_pearson(first * trials, trials, level)
    other_low, other_high = clopper_pearson(second * trials, trials, level)
    value = first - second
    down = float(np.hypot(first - low, other_high - second))
    up = float(np.hypot(high - first, second - other_low))
    return max(-1.0, value - down), min(1.0, value + up)


def p_of_difference(first: float, second: float, trials: float) -> float:
    """Two-sided p that agrees with ``of_difference``: 1 − the least level that leaves 0 in it."""

    def inside(level: float) -> bool:
        low, high = of_difference(first, second, trials, level)
        return low <= 0.0 <= high

    least, most = 0.0, 1.0
    for _ in range(40):
        middle = (least + most) / 2
        least, most = (least, middle) if inside(middle) else (middle, most)
    return round(1.0 - most, 9)
