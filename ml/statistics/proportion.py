"""Proportions of one reader: intervals, a test against guessing, and equivalence with guessing.

Intervals are two-sided. An accuracy alone never carries a verdict: a reader who always answers
"real" reaches the share of real images (see `ml.statistics.roc.verdict`).
"""

from __future__ import annotations

from functools import lru_cache

import scipy

from ml.ground.errors import HepaticaError
from ml.statistics.exact import clopper_pearson
from ml.statistics.figure import Figure


class ReadersError(HepaticaError):
    """Readings that do not allow the figure that was asked of them."""


def _checked(successes: int, n: int, confidence: float) -> None:
    if n < 1:
        raise ReadersError("A proportion of 0 observations has no value; give at least one.")
    if not 0 <= successes <= n:
        raise ReadersError(f"{successes} successes do not fit into {n} observations.")
    if not 0 < confidence < 1:
        raise ReadersError(f"Confidence must lie between 0 and 1, not {confidence}.")


@lru_cache(maxsize=8192)
def wilson_limits(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The ends of the score interval of a proportion (Wilson 1927, JASA 22:209), within [0, 1].

    Raises:
        ReadersError: no observations, more successes than observations, or a confidence
            outside (0, 1).
    """
    _checked(successes, n, confidence)
    ends = scipy.stats.binomtest(successes, n).proportion_ci(confidence, "wilson")
    # at the edges the formula gives them but for rounding
    low = 0.0 if successes == 0 else float(ends.low)
    return low, 1.0 if successes == n else float(ends.high)


def wilson(successes: int, n: int, confidence: float = 0.95, method: str = "Wilson") -> Figure:
    """A proportion with its score interval.

    Raises:
        ReadersError: as `wilson_limits`.
    """
    _checked(successes, n, confidence)
    return Figure(successes / n, *wilson_limits(successes, n, confidence), n, method)


def exact(
    successes: int, n: int, confidence: float = 0.95, method: str = "Clopper–Pearson"
) -> Figure:
    """A proportion with its exact interval (Clopper & Pearson 1934, Biometrika 26:404).

    Never covers less than ``confidence``, and is wider than Wilson's for it.

    Raises:
        ReadersError: as `wilson_limits`.
    """
    _checked(successes, n, confidence)
    return Figure(successes / n, *clopper_pearson(successes, n, confidence), n, method)


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
