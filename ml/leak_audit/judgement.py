"""One bound for every test of an audit: how likely is it by chance that any of them differs?

Under the hypothesis that the two kinds are one, every way to call so many of the images real is as
likely as any other, so p-values come from ranks (Mann & Whitney 1947, Ann Math Stat 18:50, with the
variance of ties) and from counts (Fisher's exact test). Measures that separate the kinds entirely
have the exact p of that, 2 / C(n, m), and other ranks the normal's, which is no smaller than the
exact one far out in the tails, where a bound for thousands of tests lies. The level is shared out
among the families, and within one by Bonferroni over the measures that vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Truth = NDArray[np.int64]

LEVEL = 0.02
"""Chance that an audit of images without a leak is amber by any of its tests."""
STRICT = 0.001
"""The same for red."""
PERMUTATIONS = 1999
_DIFFER = 0.01
_DIGITS = 6


@dataclass(frozen=True)
class Found:
    """The most telling measure of a family.

    ``chance`` is its p-value times the number tried over the family's share of the level: what
    holds against `LEVEL` and `STRICT`.
    """

    column: int
    auc: float
    p: float
    tried: int
    chance: float


def by_ranks(truth: Truth, table: NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Area (synthetic above real) and two-sided p of each column of (n, k) measures."""
    n, m = len(truth), int(truth.sum())
    values = np.asarray(table)
    if values.dtype.kind == "f":
        values = np.round(values.astype(np.float64), _DIGITS)  # the same ties on every machine
    ranks = scipy.stats.rankdata(values, axis=0)
    area = (ranks[truth == 1].sum(axis=0) - m * (m + 1) / 2) / (m * (n - m))
    # the variance of the rank sum given its ties is that of a draw from these very ranks
    spread = m * (n - m) / (n - 1) * ranks.var(axis=0)
    sd = np.sqrt(spread) / (m * (n - m))
    z = np.divide(np.abs(area - 0.5), sd, out=np.zeros_like(area), where=sd > 0)
    p = 2 * scipy.stats.norm.sf(z)
    p = np.where(np.isclose(np.abs(area - 0.5), 0.5, atol=1e-12), entire(n, m), p)
    return area, np.where(sd > 0, p, 1.0)


def entire(n: int, m: int) -> float:
    """Two-sided p of a measure that separates m of n images entirely: 2 / C(n, m)."""
    gammaln = scipy.special.gammaln
    choices = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
    return min(1.0, 2 * float(np.exp(-choices)))


def two_sided(z: float) -> float:
    """p of a standard normal beyond z on either side."""
    return 2 * float(scipy.stats.norm.sf(z))


def by_counts(truth: Truth, table: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The same of words that hold or not (n, k): p is Fisher's, twice the smaller tail."""
    n, m = len(truth), int(truth.sum())
    with_it = table[truth == 1].sum(axis=0).astype(np.int64)
    without = table[truth == 0].sum(axis=0).astype(np.int64)
    area = 0.5 + (with_it / m - without / (n - m)) / 2
    pairs, back = np.unique(with_it * (n + 1) + without, return_inverse=True)
    a, b = np.divmod(pairs, n + 1)
    law = scipy.stats.hypergeom(n, a + b, m)
    p = np.minimum(1.0, 2 * np.minimum(law.cdf(a), law.sf(a - 1)))
    return area, p[back]


def by_coins(
    truth: Truth, table: NDArray[np.bool_], expected: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """The same of words that hold by chance with a known probability (k,), such as parities.

    A kind of which all but none obeys tells more than the two compared: 40 even numbers are one
    chance in 2³⁹, however many of the others are even. p is the smaller of Fisher's and of the
    binomial's for either kind, the latter where the two differ at all (at 1 in 100), doubled.
    """
    area, compared = by_counts(truth, table)
    coins = np.ones(len(compared))
    for kind in (0, 1):
        own = table[truth == kind]
        law = scipy.stats.binom(len(own), expected)
        held = own.sum(axis=0)
        coins = np.minimum(coins, 4 * np.minimum(law.cdf(held), law.sf(held - 1)))
    coins = np.where(compared <= _DIFFER, coins, 1.0)
    return area, np.minimum(1.0, 2 * np.minimum(compared, coins))


def best(
    truth: Truth,
    table: NDArray[np.generic],
    share: float,
    more: int = 0,
    expected: NDArray[np.floating] | None = None,
) -> Found | None:
    """The measure of a family that tells most; None where none varies.

    Args:
        table: (n, k) numbers, or bools.
        expected: (k,) probabilities of bools that are chance in honest images.
        share: of the level that the family has, 0 to 1.
        more: further measures that were tried beside these.
    """
    varies = (table != table[:1]).any(axis=0)
    if not varies.any():
        return None
    kept = np.flatnonzero(varies)
    part = table[:, kept]
    if expected is not None:
        area, p = by_coins(truth, part.astype(bool), expected[kept])
    elif part.dtype == np.bool_:
        area, p = by_counts(truth, part.astype(bool))
    else:
        area, p = by_ranks(truth, part)
    place = int(np.lexsort((-np.abs(area - 0.5), p))[0])
    tried = len(kept) + more
    chance = min(1.0, float(p[place]) * tried / share)
    return Found(int(kept[place]), float(area[place]), float(p[place]), tried, chance)


def permuted(
    truth: Truth, scorer: NDArray[np.floating], share: float
) -> tuple[Floats, float, float]:
    """Scores that are linear in the truth, their area, and its chance among permuted truths.

    Args:
        scorer: (n, n); the score of image i is row i times the truth in −1 and 1, and its own
            place is 0: an image is judged by the others.

    Returns:
        The scores, the area of synthetic above real, and its one-sided p over ``share``.
    """
    rng = np.random.default_rng(0)
    n = len(truth)
    orders = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(PERMUTATIONS))], axis=1)
    labels = truth[orders]
    scores = scorer @ (2.0 * labels - 1)
    ranks = scipy.stats.rankdata(np.round(scores, _DIGITS), axis=0)
    m = int(truth.sum())
    areas = ((ranks * labels).sum(axis=0) - m * (m + 1) / 2) / (m * (n - m))
    p = float((areas >= areas[0] - 1e-12).mean())
    own = np.asarray(np.round(scores[:, 0], _DIGITS), dtype=np.float64)
    return own, float(areas[0]), min(1.0, p / share)


def left_out(rows: NDArray[np.floating], ridge: float) -> Floats:
    """(n, n) scorer of a ridge regression on standardised (n, k) measures, each image left out.

    The prediction for image i without image i is (H y − h y)ᵢ / (1 − hᵢ), H the hat matrix (Allen
    1974, Technometrics 16:125), which is linear in y. There is no intercept: left out with its
    image, it would lean to the other kind. The penalty is ``ridge`` times the mean square.
    """
    n = len(rows)
    centred = rows - rows.mean(axis=0)
    scale = centred.std(axis=0)
    standard = np.clip(centred / np.where(scale > 0, scale, 1.0), -4, 4)
    gram = (standard @ standard.T).astype(np.float64)
    penalty = ridge * max(1.0, np.trace(gram) / n)
    hat = gram @ np.linalg.inv(gram + penalty * np.eye(n))
    leverage = np.diag(hat).copy()
    np.fill_diagonal(hat, 0.0)
    found: Floats = hat / np.maximum(1 - leverage, 1e-6)[:, None]
    return found


def shares(names: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Shares of the level by family, which add up to 1."""
    total = sum(share for _, share in names)
    return {name: share / total for name, share in names}
