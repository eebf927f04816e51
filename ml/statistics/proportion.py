"""Proportions of one reader: intervals, a test against guessing, and equivalence with guessing.

Intervals are two-sided. An accuracy alone never carries a verdict: a reader who always answers
"real" reaches the share of real images (see `ml.statistics.roc.verdict`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import scipy

from ml.errors import HepaticaError


class ReadersError(HepaticaError):
    """Readings that do not allow the figure that was asked of them."""


@dataclass(frozen=True)
class Interval:
    """A figure with its interval: ``low`` ≤ ``value`` ≤ ``high``, from ``n`` observations."""

    value: float
    low: float
    high: float
    n: int


def _checked(successes: int, n: int, confidence: float) -> None:
    if n < 1:
        raise ReadersError("A proportion of 0 observations has no value; give at least one.")
    if not 0 <= successes <= n:
        raise ReadersError(f"{successes} successes do not fit into {n} observations.")
    if not 0 < confidence < 1:
        raise ReadersError(f"Confidence must lie between 0 and 1, not {confidence}.")


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The score interval of a proportion (Wilson 1927, JASA 22:209), within [0, 1].

    Raises:
        ReadersError: no observations, more successes than observations, or a confidence
            outside (0, 1).
    """
    _checked(successes, n, confidence)
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    p = successes / n
    scale = 1 + z * z / n
    center = (p + z * z / (2 * n)) / scale
    half = z / scale * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == n else min(1.0, center + half)
    return Interval(p, low, high, n)


def exact(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a proportion (Clopper & Pearson 1934, Biometrika 26:404).

    Never covers less than ``confidence``, and is wider than Wilson's for it.

    Raises:
        ReadersError: as `wilson`.
    """
    _checked(successes, n, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(scipy.stats.beta.ppf(tail, successes, n - successes + 1))
    high = (
        1.0
        if successes == n
        else float(scipy.stats.beta.ppf(1 - tail, successes + 1, n - successes))
    )
    return Interval(successes / n, low, high, n)


def chance_p(successes: int, n: int, chance: float = 0.5) -> float:
    """Two-sided exact binomial p against guessing at rate ``chance`` (0–1).

    Raises:
        ReadersError: as `wilson`, or a chance outside (0, 1).
    """
    _checked(successes, n, 0.95)
    if not 0 < chance < 1:
        raise ReadersError(f"Chance must lie between 0 and 1, not {chance}.")
    return float(scipy.stats.binomtest(successes, n, chance).pvalue)


def equivalence_p(successes: int, n: int, margin: float, chance: float = 0.5) -> float:
    """Exact p of two one-sided tests (Schuirmann 1987) that the rate lies in chance ± margin.

    The larger of P(X ≥ x | chance − margin) and P(X ≤ x | chance + margin). It is no verdict: at
    50:50 a reader who always says "real" passes it.

    Raises:
        ReadersError: as `wilson`, or chance ± margin not within (0, 1).
    """
    _checked(successes, n, 0.95)
    if margin <= 0 or chance - margin <= 0 or chance + margin >= 1:
        raise ReadersError(f"The margin {margin} around {chance} must stay between 0 and 1.")
    above = float(scipy.stats.binom.sf(successes - 1, n, chance - margin))
    below = float(scipy.stats.binom.cdf(successes, n, chance + margin))
    return max(above, below)
