"""Two-alternative forced choice: a share of pairs, its exact interval, d′, and its power.

Whoever cannot tell the two images apart names the right one in half of the pairs, however inclined
they are to say "synthetic" (Green & Swets 1966); the share is that of the area under the ROC curve
of the same reader, so the same margin around 0.5 serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy

from ml.statistics import bootstrap
from ml.statistics.detection import d_prime_2afc, log_linear
from ml.statistics.exact import clopper_pearson
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError

EXACT = "Clopper–Pearson"


def share(
    right: Sequence[bool],
    clusters: Sequence[str],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Figure:
    """The share of pairs named right, 0–1, with its exact interval.

    Where several pairs belong together it is widened to hold the percentile interval of a bootstrap
    over ``clusters`` and the exact one of as many trials as there are clusters; without resamples
    the latter alone.

    Raises:
        ReadersError: no pair.
    """
    n, count = len(right), sum(right)
    if not n:
        raise ReadersError("A share of no pairs has no value.")
    value = count / n
    found = Figure(value, *clopper_pearson(count, n, confidence), n, EXACT)
    groups = len(set(clusters))
    if groups == n:
        return found
    found = found.widened(clopper_pearson(value * groups, groups, confidence))
    if resamples:
        weights = bootstrap.resamples(clusters, resamples, np.random.default_rng(seed))
        drawn = weights @ np.asarray(right, np.float64) / weights.sum(axis=1)
        ends = bootstrap.percentiles(drawn, confidence)
        found = found.widened(ends) if ends else found
    method = f"{EXACT}, widened for {groups} patients"
    return Figure(found.value, found.low, found.high, n, method)


def d_prime(correct: Figure) -> Figure:
    """√2 z(share) of a share and of the ends of its interval (Macmillan & Creelman 2005).

    Of all or none right the value is by the log-linear correction, and there is no interval: one of
    its ends does not exist.
    """
    n, method = correct.n or 0, "√2 z(share of pairs named right)"
    if correct.value is None:
        return Figure.undefined(n, method, correct.note or "no share")
    if 0 < correct.value < 1:
        ends = [None if end is None or not 0 < end < 1 else d_prime_2afc(end)
                for end in (correct.low, correct.high)]  # fmt: skip
        low, high = ends if None not in ends else (None, None)
        note = None if low is not None else "one end of its interval does not exist"
        return Figure(d_prime_2afc(correct.value), low, high, n, method, note)
    all_right = correct.value == 1
    bound = correct.low if all_right else correct.high
    told = ""
    if bound is not None and 0 < bound < 1:
        told = f", {'at least' if all_right else 'at most'} {d_prime_2afc(bound):.2f}"
    note = f"{'every' if all_right else 'no'} pair named right: log-linear correction{told}"
    return Figure(
        d_prime_2afc(log_linear(round(correct.value * n), n)), None, None, n, method, note
    )


@lru_cache(maxsize=1024)
def _right_counts(n: int, alpha: float) -> tuple[int, int]:
    """The most and the fewest right of n with which the exact two-sided test says "not 0.5"."""
    low = int(scipy.stats.binom.ppf(alpha / 2, n, 0.5))
    if scipy.stats.binom.cdf(low, n, 0.5) > alpha / 2:
        low -= 1
    return low, n - low


def difference_power(share_right: float, pairs: int, alpha: float = 0.05) -> float:
    """Chance, 0–1, that one reader's exact interval excludes 0.5, with independent pairs.

    Raises:
        ReadersError: no pair, or a share outside [0, 1].
    """
    _check(share_right, pairs)
    low, high = _right_counts(pairs, alpha)
    return float(
        scipy.stats.binom.cdf(low, pairs, share_right)
        + scipy.stats.binom.sf(high - 1, pairs, share_right)
    )


def equivalence_power(pairs: int, margin: float, share_right: float = 0.5) -> float:
    """Chance, 0–1, that one reader's exact 90 % interval lies within 0.5 ± ``margin``.

    Raises:
        ReadersError: no pair, a share outside [0, 1], or a margin outside (0, 0.5).
    """
    _check(share_right, pairs)
    if not 0 < margin < 0.5:
        raise ReadersError(f"The margin must lie between 0 and 0.5, not {margin}.")
    counts = np.arange(pairs + 1)
    # P(X ≥ x | 0.5 − margin) and P(X ≤ x | 0.5 + margin), each at most 5 %
    above = scipy.stats.binom.sf(counts - 1, pairs, 0.5 - margin) <= 0.05
    below = scipy.stats.binom.cdf(counts, pairs, 0.5 + margin) <= 0.05
    chances = scipy.stats.binom.pmf(counts, pairs, share_right)
    return float(chances[above & below].sum())


def _check(share_right: float, pairs: int) -> None:
    if pairs < 1:
        raise ReadersError("A forced choice needs at least one pair.")
    if not 0 <= share_right <= 1:
        raise ReadersError(f"A share lies between 0 and 1, not at {share_right}.")
