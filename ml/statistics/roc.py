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
from ml.statistics.exact import newcombe
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap samples where nothing else is said."""

NEAR_EDGE = 0.95
"""Beyond this area (or below 1 − it) the interval is built on the logit scale."""


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

    * DeLong, normal; on the logit scale beyond `NEAR_EDGE` or where the normal one leaves [0, 1].
    * One case in a class, or an area of 0 or 1: percentile bootstrap by case, widened to
      Newcombe's interval, because such a bootstrap hardly varies or does not vary at all.
    * ``clusters`` (one label per case, e.g. the patient) with a label that repeats within a
      class: percentile bootstrap of clusters.
    * One rating for every image: 0.5 without an interval.

    With ``resamples`` 0 no bootstrap is drawn: Newcombe's interval stands alone, and clusters are
    not taken into account.

    Raises:
        ReadersError: only one class of image, or unusable ratings.
    """
    positive, negative = _halves(truth, rating)
    m, n, total = len(positive), len(negative), len(positive) + len(negative)
    value = auc(truth, rating)
    if len(np.unique(np.concatenate([positive, negative]))) == 1:
        return Figure(value, None, None, total, "none", "the reader used one rating for all images")
    if resamples and clusters is not None and has_repeats(truth, clusters):
        low, high = _bootstrap(truth, rating, clusters, confidence, resamples, seed)
        method = f"patient-clustered bootstrap, {resamples} samples"
        if min(m, n) == 1 or value in (0.0, 1.0):
            bound = newcombe(value, m, n, confidence)
            low, high = min(low, bound[0]), max(high, bound[1])
            method += ", widened to Newcombe's interval"
        return Figure(value, min(low, value), max(high, value), total, method)
    if min(m, n) == 1 or value in (0.0, 1.0):
        why = "one image in a class" if min(m, n) == 1 else f"area of {value:.0f}"
        low, high = newcombe(value, m, n, confidence)
        method = f"Newcombe ({why})"
        if resamples:
            drawn = _bootstrap(truth, rating, None, confidence, resamples, seed)
            low, high = min(low, drawn[0]), max(high, drawn[1])
            method = f"bootstrap by case ({why}), widened to Newcombe's interval"
        return Figure(value, low, high, total, method)
    variance = float(delong(truth, np.asarray(rating))[1][0, 0])
    low, high, scale = area_limits(value, variance, confidence)
    return Figure(value, low, high, total, f"DeLong, {scale}")


def area_limits(value: float, variance: float, confidence: float) -> tuple[float, float, str]:
    """(low, high, "normal" or "logit") of an area in (0, 1) from its variance."""
    z, se = float(scipy.stats.norm.ppf(0.5 + confidence / 2)), sqrt(variance)
    low, high = value - z * se, value + z * se
    if 1 - NEAR_EDGE <= value <= NEAR_EDGE and low >= 0 and high <= 1:
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

    Both answers are None when the readings allow no verdict; ``reason`` then says why. They are
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
) -> Verdict:
    """Difference by the 95 % interval, equivalence by the 90 % interval within 0.5 ± margin.

    The 90 % interval is that of two one-sided tests at 5 % (Schuirmann 1987). A reader who used
    one rating gets no verdict, whatever their share of correct answers.

    Raises:
        ReadersError: only one class of image, or a margin outside (0, 0.5).
    """
    if not 0 < margin < 0.5:
        raise ReadersError(f"The margin must lie between 0 and 0.5, not {margin}.")
    wide = auc_interval(truth, rating, 0.95, clusters, resamples, seed)
    narrow = auc_interval(truth, rating, 0.90, clusters, resamples, seed)
    if wide.low is None or wide.high is None or narrow.low is None or narrow.high is None:
        return Verdict(margin, wide, narrow, None, None, wide.note)
    return Verdict(
        margin,
        wide,
        narrow,
        not wide.low <= 0.5 <= wide.high,
        0.5 - margin <= narrow.low and narrow.high <= 0.5 + margin,
        None,
    )
