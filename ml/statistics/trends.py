"""What changes with the position in a session: correctness and time; and what readers ticked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ml.statistics import logistic
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError, wilson, wilson_limits

Floats = NDArray[np.float64]


def difference(
    successes: int, n: int, other_successes: int, other_n: int, confidence: float = 0.95
) -> Figure:
    """First minus second proportion, hybrid score interval (Newcombe 1998, Stat Med 17:873).

    Raises:
        ReadersError: either has no observation.
    """
    one = Figure(successes / n, *wilson_limits(successes, n, confidence), n, "Wilson")
    limits = wilson_limits(other_successes, other_n, confidence)
    other = Figure(other_successes / other_n, *limits, other_n, "Wilson")
    return replace(apart(one, other), method="Newcombe hybrid score")


def apart(one: Figure, other: Figure) -> Figure:
    """First minus second of two independent figures, from the interval of each (Zou & Donner 2008,
    Stat Med 27:1693)."""
    value, (low, high) = one.known, one.ends or (one.known, one.known)
    against, (other_low, other_high) = other.known, other.ends or (other.known, other.known)
    gap = value - against
    down = sqrt((value - low) ** 2 + (other_high - against) ** 2)
    up = sqrt((high - value) ** 2 + (against - other_low) ** 2)
    return Figure(gap, gap - down, gap + up, (one.n or 0) + (other.n or 0), "Zou and Donner")


def learning(correct: Sequence[bool], position: ArrayLike, confidence: float = 0.95) -> Figure:
    """Odds ratio of a correct answer per 10 trials: above 1 learning, below 1 fatigue.

    Logistic regression of correctness on position, Wald interval on the log scale. ``position``
    (n,) counts trials, in the order of ``correct``.
    """
    y, x = np.asarray(correct, dtype=np.float64), np.asarray(position, dtype=np.float64) / 10
    method = "logistic regression on position, odds ratio per 10 trials, Wald"
    if len(y) < 10:
        return Figure.undefined(len(y), method, "fewer than 10 trials")
    if y.min() == y.max():
        return Figure.undefined(len(y), method, "all answers were equally right or wrong")
    if x.min() == x.max():
        return Figure.undefined(len(y), method, "all answers have the same position")
    fit = _logistic(x - x.mean(), y)
    if fit is None:
        return Figure.undefined(len(y), method, "right and wrong answers do not overlap in time")
    slope, se = fit
    half = float(scipy.stats.norm.ppf(0.5 + confidence / 2)) * se
    return Figure(exp(slope), exp(slope - half), exp(slope + half), len(y), method)


def _logistic(x: Floats, y: Floats) -> tuple[float, float] | None:
    """(slope, standard error); None where the likelihood has no maximum."""
    design = np.stack([np.ones_like(x), x], axis=1)
    found = logistic.fit(design, y, worst_condition=1e10)
    if found is None or not found.converged or np.abs(design @ found.weights).max() > 25:
        return None
    return float(found.weights[1]), float(sqrt(np.linalg.inv(found.information)[1, 1]))


def halves(correct: Sequence[bool], position: ArrayLike) -> Figure:
    """Share correct in the second half of the trials minus that in the first, −1 … 1."""
    order = np.argsort(np.asarray(position), kind="stable")
    y = np.asarray(correct, dtype=bool)[order]
    cut = len(y) // 2
    if not cut:
        return Figure.undefined(len(y), "Newcombe hybrid score", "fewer than 2 trials")
    return difference(int(y[cut:].sum()), len(y) - cut, int(y[:cut].sum()), cut)


@dataclass(frozen=True)
class Times:
    """Active seconds per trial: quartiles, total, and the trend in per cent per 10 trials."""

    n: int
    median_s: float
    quartiles_s: tuple[float, float]
    total_s: float
    trend_percent: Figure


def times(active_ms: ArrayLike, position: ArrayLike, confidence: float = 0.95) -> Times | None:
    """Times of one reader from milliseconds and positions (n,); None where none was measured.

    Times of 0 ms are not in the trend.
    """
    ms, x = np.asarray(active_ms, dtype=np.float64), np.asarray(position, dtype=np.float64) / 10
    if not ms.size:
        return None
    low, median, high = np.quantile(ms / 1000, [0.25, 0.5, 0.75])
    usable = ms > 0
    method = "regression of log time on position, per cent per 10 trials"
    n = int(usable.sum())
    if n < 10 or len(np.unique(x[usable])) < 2:
        trend = Figure.undefined(n, method, "fewer than 10 timed trials")
    else:
        line = scipy.stats.linregress(x[usable], np.log(ms[usable]))
        half = float(scipy.stats.t.ppf(0.5 + confidence / 2, n - 2)) * float(line.stderr)
        slope = float(line.slope)
        low_p, value, high_p = (100 * (exp(s) - 1) for s in (slope - half, slope, slope + half))
        trend = Figure(value, low_p, high_p, n, method)
    return Times(len(ms), float(median), (float(low), float(high)), float(ms.sum() / 1000), trend)


@dataclass(frozen=True)
class Reason:
    """One checklist reason for one generator: ticked on its images, on real ones, and the gap.

    ``real`` and ``excess`` are None where no real image was read.
    """

    generator: str
    reason: str
    synthetic: Figure
    real: Figure | None
    excess: Figure | None


def reasons(
    ticked_synthetic: Mapping[str, Sequence[Sequence[str]]], ticked_real: Sequence[Sequence[str]]
) -> tuple[Reason, ...]:
    """Checklist reasons per generator, the one that gives it away most first.

    ``ticked_synthetic[generator]`` and ``ticked_real`` hold the reasons ticked per reading. A
    reason ticked as often on real images gives nothing away; ``excess`` is the difference.
    Intervals treat readings as independent and describe these readers only.
    """
    found = []
    n_real = len(ticked_real)
    for generator, readings in ticked_synthetic.items():
        if not readings:
            continue
        names = sorted({r for ticks in (*readings, *ticked_real) for r in ticks})
        rows = []
        for name in names:
            count = sum(name in ticks for ticks in readings)
            on_real = sum(name in ticks for ticks in ticked_real)
            rows.append(
                Reason(
                    generator,
                    name,
                    wilson(count, len(readings), method="Wilson, readings"),
                    wilson(on_real, n_real, method="Wilson, readings") if n_real else None,
                    difference(count, len(readings), on_real, n_real) if n_real else None,
                )
            )
        rows.sort(key=_gives_away, reverse=True)
        found.extend(rows)
    return tuple(found)


def _gives_away(row: Reason) -> float:
    figure = row.excess if row.excess is not None else row.synthetic
    if figure.value is None:
        raise ReadersError("A reason without readings cannot be ranked.")
    return figure.value
