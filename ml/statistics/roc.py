"""ROC of ordinal answers: points, area, DeLong covariance, intervals and the equivalence verdict.

The positive class is "synthetic"; a larger rating means surer that the image is synthetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ml.statistics import area, bootstrap
from ml.statistics.exact import hanley_mcneil_variance, newcombe
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError
from ml.statistics.scale_use import ScaleRule

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap samples where nothing else is said."""

NEAR_EDGE = 0.95
"""Beyond this area (or below 1 − it) DeLong's interval is built on the logit scale."""
LOPSIDED = 8
"""Images of the rarer kind times the area, or 1 less it: DeLong's interval is normal from there."""
FEWEST = 5
"""Images of a kind below which there is no interval and no verdict."""
DELONG_FROM = 40
"""Images of a kind from which DeLong's interval covers what it says."""
WEIGHT = 10
"""Degrees of freedom that the variance in Newcombe's interval counts for beside DeLong's."""
FEW_OFF = 3
"""Images of a kind that must differ from the rest before there is a variance to speak of."""


@dataclass(frozen=True)
class RocPoint:
    """``rating`` or more is called synthetic: share of the real and of the synthetic so called."""

    threshold: float | None
    false_positive: float
    true_positive: float


def _halves(truth: ArrayLike, rating: ArrayLike) -> tuple[Floats, Floats]:
    t, x = np.asarray(truth), np.asarray(rating, dtype=np.float64)
    if t.shape != x.shape or t.ndim != 1:
        raise ReadersError(f"{t.size} truths do not match {x.size} ratings.")
    if not np.isfinite(x).all():
        raise ReadersError("A rating is not a finite number.")
    if not np.isin(t, (0, 1)).all():
        raise ReadersError("Truth must be 0 (real) or 1 (synthetic).")
    positive, negative = x[t == 1], x[t == 0]
    if not positive.size or not negative.size:
        missing = "synthetic" if not positive.size else "real"
        raise ReadersError(f"There is no {missing} image among the readings, so there is no ROC.")
    return positive, negative


def points(truth: ArrayLike, rating: ArrayLike) -> tuple[RocPoint, ...]:
    """The empirical ROC curve from (0, 0) to (1, 1), one point per rating in use.

    Args:
        truth: (n,), 1 synthetic and 0 real.
        rating: (n,), rising with the certainty that it is synthetic.

    Raises:
        ReadersError: only one class of image, or unusable ratings.
    """
    positive, negative = _halves(truth, rating)
    curve = [RocPoint(None, 0.0, 0.0)]
    for threshold in np.unique(np.concatenate([positive, negative]))[::-1]:
        curve.append(
            RocPoint(
                float(threshold),
                float((negative >= threshold).mean()),
                float((positive >= threshold).mean()),
            )
        )
    return tuple(curve)


def auc(truth: ArrayLike, rating: ArrayLike) -> float:
    """The area of one reader's ratings; arguments as for `points`.

    Raises:
        ReadersError: as `points`.
    """
    _halves(truth, rating)
    return area.auc(truth, rating)


def placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """DeLong's structural components V10 (m,) per positive and V01 (n,) per negative, each 0–1."""
    return _share_below(positive, negative), 1.0 - _share_below(negative, positive)


def _share_below(values: Floats, reference: Floats) -> Floats:
    """Per value the share of ``reference`` below it, ties half."""
    ordered = np.sort(reference)
    left = np.searchsorted(ordered, values, "left")
    right = np.searchsorted(ordered, values, "right")
    return np.asarray((left + right) / (2.0 * len(ordered)), dtype=np.float64)


def delong(truth: ArrayLike, ratings: ArrayLike) -> tuple[Floats, Floats]:
    """Areas (k,) and their covariance (k, k) for k ratings (k, n) of the same n cases.

    DeLong, DeLong & Clarke-Pearson (1988, Biometrics 44:837).

    Raises:
        ReadersError: fewer than two cases in a class, or unusable ratings.
    """
    rows = np.atleast_2d(np.asarray(ratings, dtype=np.float64))
    pairs = [placements(*_halves(truth, row)) for row in rows]
    v10 = np.array([v for v, _ in pairs])
    v01 = np.array([v for _, v in pairs])
    m, n = v10.shape[1], v01.shape[1]
    if m < 2 or n < 2:
        raise ReadersError("DeLong's variance needs two synthetic and two real images.")
    covariance = np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n
    return v10.mean(axis=1), np.asarray(covariance, dtype=np.float64)


def auc_interval(
    truth: ArrayLike,
    rating: ArrayLike,
    confidence: float = 0.95,
    clusters: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Figure:
    """The area with its interval; ``method`` says which of these was used.

    * `DELONG_FROM` of a kind or more: DeLong, normal; on the logit scale where the area is near 0
      or 1 for so many images (`LOPSIDED`, `NEAR_EDGE`) or the normal one leaves [0, 1].
    * From `FEWEST` of a kind on, or where answers hardly vary (`is_thin`): Newcombe (2006, Stat
      Med 25:559), its variance as large as DeLong's where that is larger. DeLong's counts for that
      by its degrees of freedom, Newcombe's for `WEIGHT` of them: on few images the former is a
      guess, on many the truth also for readers who rate one kind more evenly than the other.
    * ``clusters`` (one label per case, e.g. the patient) with a label that repeats within a
      class: percentile bootstrap of clusters, widened to Newcombe's interval of so many clusters
      where one of the two above would not be DeLong's.
    * Fewer than `FEWEST` images (or clusters) of a kind, or one rating for every image: no
      interval, and why. No method covers there what it says.

    Over simulated readers (area 0.5, 0.74 and 0.9; ``make bench SECTIONS=coverage``) the nominal
    95 % are 93 to 97. With ``resamples`` 0 no bootstrap is drawn and clusters are not taken into
    account.

    Raises:
        ReadersError: only one class of image, or unusable ratings.
    """
    positive, negative = _halves(truth, rating)
    total, value = len(positive) + len(negative), auc(truth, rating)
    if len(np.unique(np.concatenate([positive, negative]))) == 1:
        return Figure(value, None, None, total, "none", "the reader used one rating for all images")
    clustered = bool(resamples) and clusters is not None and has_repeats(truth, clusters)
    m, n = _sides(truth, clusters if clustered else None)
    if min(m, n) < FEWEST:
        few, kind = (m, "synthetic") if m <= n else (n, "real")
        noun = f"{kind} image{'' if few == 1 else 's'}"
        why = f"{few} {noun}" if not clustered else f"{kind} images of {few} patients"
        return Figure(
            value, None, None, total, "none",
            f"{why}: no interval is reliable below {FEWEST} of a kind",
        )  # fmt: skip
    thin = is_thin(truth, rating)
    trusted = min(m, n) >= DELONG_FROM and not thin
    why = "hardly any spread" if thin else f"fewer than {DELONG_FROM} of a kind"
    if clustered:
        low, high = _bootstrap(truth, rating, clusters, confidence, resamples, seed)
        method = f"patient-clustered bootstrap, {resamples} samples"
        if not trusted:
            bound = newcombe(value, m, n, confidence)
            low, high = min(low, bound[0]), max(high, bound[1])
            method += f", widened to Newcombe's interval ({why})"
        return Figure(value, min(low, value), max(high, value), total, method)
    variance = float(delong(truth, np.asarray(rating))[1][0, 0])
    if trusted:
        lopsided = min(m, n) * min(value, 1 - value) < LOPSIDED
        low, high, scale = area_limits(value, variance, confidence, lopsided=lopsided)
        return Figure(value, low, high, total, f"DeLong, {scale}")
    low, high = newcombe(value, m, n, confidence, _inflation(value, variance, m, n))
    return Figure(value, low, high, total, f"Newcombe ({why})")


def _sides(truth: ArrayLike, clusters: Sequence[str] | None) -> tuple[int, int]:
    """How many synthetic and real cases, or clusters of them."""
    t = np.asarray(truth)
    if clusters is None:
        return int((t == 1).sum()), int((t == 0).sum())
    labels = np.asarray(clusters)
    return len(np.unique(labels[t == 1])), len(np.unique(labels[t == 0]))


def _inflation(value: float, variance: float, m: int, n: int) -> float:
    """By how much DeLong's variance exceeds Newcombe's, as far as so few images can tell; ≥ 1."""
    expected = hanley_mcneil_variance(value, m, n, balanced=True)
    if expected <= 0:
        return 1.0
    own = min(m, n) - 1
    return max(1.0, (WEIGHT + own * variance / expected) / (WEIGHT + own))


def is_thin(truth: ArrayLike, rating: ArrayLike) -> bool:
    """Whether the answers vary too little to tell a variance from.

    In one of the classes fewer than `FEW_OFF` images have another place among those of the other
    class than most have: the area is 0 or 1 or next to it, or one rating was given to nearly all.

    Raises:
        ReadersError: only one class of image, or unusable ratings.
    """
    for placed in placements(*_halves(truth, rating)):
        counts = np.unique(np.round(placed, 9), return_counts=True)[1]
        if len(placed) - int(counts.max()) < FEW_OFF:
            return True
    return False


def reach(truth: ArrayLike, rating: ArrayLike) -> float:
    """How far from 0.5 these ratings could have put the area, had they been given otherwise.

    The smaller of the two ways: all the highest ratings to the synthetic images, or all to the
    real ones. A margin of equivalence beyond it cannot be left, whatever the reader sees.

    Raises:
        ReadersError: only one class of image, or unusable ratings.
    """
    positive, negative = _halves(truth, rating)
    ordered = np.sort(np.concatenate([positive, negative]))
    m, n = len(positive), len(negative)
    best = area.auc(np.arange(m + n) >= n, ordered)
    worst = area.auc(np.arange(m + n) < m, ordered)
    return min(best - 0.5, 0.5 - worst)


def wider_limits(
    truth: ArrayLike, rating: ArrayLike, confidence: float = 0.95
) -> tuple[float, float] | None:
    """The wider of DeLong's and Newcombe's limits, for any number of images; None for one rating.

    For screening, where too wide is no fault: what is reported of a reader is `auc_interval`.

    Raises:
        ReadersError: only one class of image, or unusable ratings.
    """
    positive, negative = _halves(truth, rating)
    m, n = len(positive), len(negative)
    if len(np.unique(np.concatenate([positive, negative]))) == 1:
        return None
    value = auc(truth, rating)
    low, high = newcombe(value, m, n, confidence)
    if min(m, n) > 1 and value not in (0.0, 1.0):
        variance = float(delong(truth, np.asarray(rating))[1][0, 0])
        other = area_limits(value, variance, confidence)
        low, high = min(low, other[0]), max(high, other[1])
    return low, high


def area_limits(
    value: float, variance: float, confidence: float, *, lopsided: bool = False
) -> tuple[float, float, str]:
    """(low, high, "normal" or "logit") of an area in (0, 1) from its variance.

    ``lopsided`` asks for the logit scale also where the normal interval is possible.
    """
    z, se = float(scipy.stats.norm.ppf(0.5 + confidence / 2)), sqrt(variance)
    low, high = value - z * se, value + z * se
    inside = 1 - NEAR_EDGE <= value <= NEAR_EDGE and low >= 0 and high <= 1
    if inside and not lopsided:
        return low, high, "normal"
    center, half = np.log(value / (1 - value)), z * se / (value * (1 - value))
    return (
        float(1 / (1 + np.exp(half - center))),
        float(1 / (1 + np.exp(-half - center))),
        "logit",
    )


def has_repeats(truth: ArrayLike, clusters: Sequence[str]) -> bool:
    """Whether a cluster holds several cases of one class; truth and clusters (n,)."""
    pairs = list(zip(np.asarray(truth).tolist(), clusters, strict=True))
    return len(set(pairs)) < len(pairs)


def _bootstrap(
    truth: ArrayLike,
    rating: ArrayLike,
    clusters: Sequence[str] | None,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Percentile limits; each class resampled on its own, by case or by cluster."""
    t = np.asarray(truth)
    labels = np.arange(len(t)).astype(str) if clusters is None else np.asarray(clusters)
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, len(t)))
    for value in (1, 0):
        weights[:, t == value] = bootstrap.resamples(labels[t == value], resamples, rng)
    drawn = area.weighted(t, rating, weights)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Verdict:
    """Whether one reader's area differs from 0.5, and whether it equals it within a margin.

    Both answers are None when the readings allow no verdict; ``reason`` then says why, as it does
    where the ratings could not have left the margin, so that equivalence is not shown. They are
    independent: a large study can show a difference that lies within the margin.
    ``equivalence_interval`` is the area with its 90 % interval, which must lie within 0.5 ±
    ``margin``.
    """

    margin: float
    auc: Figure
    equivalence_interval: Figure
    different_from_chance: bool | None
    equivalent_to_chance: bool | None
    reason: str | None


def verdict(
    truth: ArrayLike,
    rating: ArrayLike,
    margin: float = 0.10,
    clusters: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    rule: ScaleRule = ScaleRule(),  # noqa: B008 - frozen
) -> Verdict:
    """Difference by the 95 % interval, equivalence by the 90 % interval within 0.5 ± margin.

    The 90 % interval is that of two one-sided tests at 5 % (Schuirmann 1987). A reader who did not
    use the scale by the ``rule``, or who has no interval, gets no verdict, whatever their share of
    correct answers. Ratings whose `reach` is within the margin show no equivalence: no reader
    could have left it with them.

    Raises:
        ReadersError: only one class of image, or a margin outside (0, 0.5).
    """
    if not 0 < margin < 0.5:
        raise ReadersError(f"The margin must lie between 0 and 0.5, not {margin}.")
    wide = auc_interval(truth, rating, 0.95, clusters, resamples, seed)
    narrow = auc_interval(truth, rating, 0.90, clusters, resamples, seed)
    unused = rule.fault(rating)
    if unused is not None or wide.ends is None or narrow.ends is None:
        why = f"the scale was not used ({unused}); a verdict needs {rule.text}"
        return Verdict(margin, wide, narrow, None, None, why if unused else wide.note)
    within = 0.5 - margin <= narrow.ends[0] and narrow.ends[1] <= 0.5 + margin
    bound = reach(truth, rating)
    vacuous = within and bound <= margin
    return Verdict(
        margin,
        wide,
        narrow,
        not wide.ends[0] <= 0.5 <= wide.ends[1],
        within and not vacuous,
        cannot_leave(bound, margin) if vacuous else None,
    )


def cannot_leave(bound: float, margin: float) -> str:
    """Why an interval within the margin shows nothing."""
    return (
        f"these ratings could not have put the area further than {bound:.2f} from 0.5, so that it "
        f"lies within ±{margin:.2f} shows nothing"
    )
