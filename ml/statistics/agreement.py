"""Agreement between readers, and of a reader with themselves.

Coefficients that the answers do not define (every answer the same) are said to be so: they are
neither 1 nor 0. Intervals of two raters are Fleiss, Cohen & Everitt's (1969, Psychol Bull
72:323), those of several are percentile bootstraps over cases.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.statistics import bootstrap
from ml.statistics.comparison import mcnemar_p
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError, exact, wilson, wilson_limits
from ml.statistics.roc import RESAMPLES

Floats = NDArray[np.float64]
Weights = Literal["none", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]

ONE_CATEGORY = "every answer was the same, so agreement beyond chance is not defined"


@dataclass(frozen=True)
class Agreement:
    """Two raters: κ, observed agreement, 2·p_o − 1 (PABAK), and how common each category is.

    ``prevalence`` is the share of both raters' answers per category: with a rare category κ is
    low even where the raters nearly always agree (Feinstein & Cicchetti 1990).
    """

    kappa: Figure
    observed: Figure
    pabak: Figure
    prevalence: Mapping[str, float]


def cohen(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    categories: Sequence[Hashable] | None = None,
    weights: Weights = "none",
    confidence: float = 0.95,
) -> Agreement:
    """Cohen's κ of two raters of the same cases (1960; weighted 1968).

    ``categories`` in their order; needed for weights when not every category was used. PABAK and
    the observed agreement are unweighted.

    Raises:
        ReadersError: no case, unequal lengths, or an answer outside ``categories``.
    """
    if len(first) != len(second) or not first:
        raise ReadersError(
            f"Agreement needs pairs of answers; there are {len(first)} and {len(second)}."
        )
    order = list(categories) if categories is not None else sorted({*first, *second}, key=str)
    place = {category: k for k, category in enumerate(order)}
    for answer in (*first, *second):
        if answer not in place:
            raise ReadersError(f"The answer {answer!r} is not among the categories {order}.")
    k, n = len(order), len(first)
    table = np.zeros((k, k))
    np.add.at(table, ([place[a] for a in first], [place[b] for b in second]), 1.0)
    p = table / n
    agreed = round(float(np.trace(table)))
    observed = wilson(agreed, n, confidence, "Wilson, pairs of answers")
    low, high = wilson_limits(agreed, n, confidence)
    pabak = Figure(2 * (agreed / n) - 1, 2 * low - 1, 2 * high - 1, n, "2·p_o − 1, Wilson")
    prevalence = {str(c): float((p[i].sum() + p[:, i].sum()) / 2) for i, c in enumerate(order)}
    return Agreement(_kappa(p, n, weights, confidence), observed, pabak, prevalence)


def _kappa(p: Floats, n: int, weights: Weights, confidence: float) -> Figure:
    k = p.shape[0]
    method = ("Cohen κ" if weights == "none" else f"Cohen κ, {weights} weights") + ", delta method"
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    if k < 2 or float(rows @ columns) >= 1 - 1e-12:
        return Figure.undefined(n, method, ONE_CATEGORY)
    gap = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / (k - 1)
    w = {"none": (gap == 0).astype(float), "linear": 1 - gap, "quadratic": 1 - gap**2}[weights]
    p_o, p_e = float((w * p).sum()), float((w * np.outer(rows, columns)).sum())
    if p_e >= 1 - 1e-12:
        return Figure.undefined(n, method, ONE_CATEGORY)
    value = (p_o - p_e) / (1 - p_e)
    row_weights, column_weights = w @ columns, rows @ w
    spread = w - np.add.outer(row_weights, column_weights) * (1 - value)
    variance = ((p * spread**2).sum() - (value - p_e * (1 - value)) ** 2) / (n * (1 - p_e) ** 2)
    half = float(scipy.stats.norm.ppf(0.5 + confidence / 2)) * sqrt(max(float(variance), 0.0))
    note = None
    if variance <= 1e-15:
        note = "no interval, because no answers differ; see the observed agreement"
    return Figure(value, max(-1.0, value - half), min(1.0, value + half), n, method, note)


def answer_counts(answers: Sequence[Sequence[Hashable | None]]) -> Floats:
    """Counts (cases, categories) from answers per rater and case; None where not rated."""
    order = sorted({a for rater in answers for a in rater if a is not None}, key=str)
    counts = np.zeros((len(answers[0]), len(order)))
    for rater in answers:
        for case, answer in enumerate(rater):
            if answer is not None:
                counts[case, order.index(answer)] += 1
    return counts


def fleiss(
    counts: NDArray[Any],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
) -> Figure:
    """Fleiss' κ (1971) from counts (cases, categories); raters per case may differ.

    ``clusters`` labels cases that are resampled together, such as ROIs of one patient.

    Cases with fewer than two raters say nothing and are left out. With unequal numbers the chance
    term uses the pooled shares of all answers.

    Raises:
        ReadersError: no case has two raters.
    """
    table = np.asarray(counts, dtype=np.float64)
    groups = _groups(clusters, len(table))[table.sum(axis=1) >= 2]
    table = table[table.sum(axis=1) >= 2]
    if not len(table):
        raise ReadersError("No case was rated by two readers, so there is no agreement to measure.")
    method = "Fleiss κ, bootstrap over cases"
    value = float(_fleiss(table[None])[0])
    if not np.isfinite(value):
        return Figure.undefined(len(table), method, ONE_CATEGORY)
    return _with_bootstrap(
        value, table, groups, _fleiss_counted, method, confidence, resamples, seed
    )


def _groups(clusters: Sequence[str] | None, cases: int) -> NDArray[Any]:
    return np.arange(cases) if clusters is None else np.asarray(clusters)


def _fleiss_counted(table: Floats, weights: Floats) -> Floats:
    n = table.sum(axis=1)
    agreed = ((table**2).sum(axis=1) - n) / (n * (n - 1))
    observed = weights @ agreed / weights.sum(axis=1)
    pooled = weights @ table
    share = pooled / pooled.sum(axis=1, keepdims=True)
    chance = (share**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance >= 1 - 1e-12, np.nan, (observed - chance) / (1 - chance))


def _fleiss(tables: Floats) -> Floats:
    return np.array([_fleiss_counted(t, np.ones((1, len(t))))[0] for t in tables])


def _with_bootstrap(
    value: float,
    table: Floats,
    groups: NDArray[Any],
    statistic: Callable[[Floats, Floats], Floats],
    method: str,
    confidence: float,
    resamples: int,
    seed: int,
) -> Figure:
    """``statistic(table, counts (b, cases))`` over bootstrap counts; undefined draws left out."""
    n = len(table)
    if not resamples:
        return Figure(value, None, None, n, method, "no interval was asked for")
    drawn = statistic(table, bootstrap.resamples(groups, resamples, np.random.default_rng(seed)))
    if len(set(groups.tolist())) < n:
        method = method.replace("over cases", "over patients")
    usable = drawn[np.isfinite(drawn)]
    if len(usable) < resamples / 2:
        return Figure(value, None, None, n, method, "too few cases differ for an interval")
    tail = (1 - confidence) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    note = None
    if len(usable) < resamples:
        note = f"{resamples - len(usable)} of {resamples} bootstrap samples did not define it"
    return Figure(
        value, min(float(low), value), max(float(high), value), n,
        f"{method}, {resamples} samples", note,
    )  # fmt: skip


def krippendorff(
    values: NDArray[Any],
    level: Level = "nominal",
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
) -> Figure:
    """Krippendorff's α from values (raters, cases), NaN where missing (Krippendorff 2011).

    ``ordinal`` and ``interval`` take the values as they stand; ``nominal`` takes them as codes.

    Raises:
        ReadersError: no case has two ratings.
    """
    data = np.asarray(values, dtype=np.float64)
    present = data[np.isfinite(data)]
    levels = np.unique(present)
    table = np.stack([(data == v).sum(axis=0) for v in levels], axis=1).astype(np.float64) if len(
        levels
    ) else np.zeros((0, 1))  # fmt: skip
    groups = _groups(clusters, data.shape[1])
    if len(levels):
        groups = groups[table.sum(axis=1) >= 2]
    table = table[table.sum(axis=1) >= 2]
    if not len(table):
        raise ReadersError("No case was rated by two readers, so there is no agreement to measure.")
    method = f"Krippendorff α, {level}, bootstrap over cases"

    def statistic(counted: Floats, weights: Floats) -> Floats:
        return _alpha(counted, weights, levels, level)

    value = float(statistic(table, np.ones((1, len(table))))[0])
    if not np.isfinite(value):
        return Figure.undefined(len(table), method, ONE_CATEGORY)
    return _with_bootstrap(value, table, groups, statistic, method, confidence, resamples, seed)


def _alpha(table: Floats, weights: Floats, levels: Floats, level: Level) -> Floats:
    n_u = table.sum(axis=1)
    k = table.shape[1]
    pairs = table[:, :, None] * table[:, None, :]
    pairs[:, np.arange(k), np.arange(k)] -= table
    pairs /= (n_u - 1)[:, None, None]
    coincidence = np.tensordot(weights, pairs, axes=(1, 0))
    n_c = coincidence.sum(axis=2)
    n = n_c.sum(axis=1)
    expected = (n_c[:, :, None] * n_c[:, None, :]) / (n - 1)[:, None, None]
    if level == "nominal":
        distance = np.broadcast_to(1.0 - np.eye(k), expected.shape)
    elif level == "interval":
        gap = np.subtract.outer(levels, levels) ** 2
        distance = np.broadcast_to(gap, expected.shape)
    else:
        upto = np.cumsum(n_c, axis=1) - n_c / 2
        distance = (upto[:, :, None] - upto[:, None, :]) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        disagreement = (expected * distance).sum(axis=(1, 2))
        ratio = (coincidence * distance).sum(axis=(1, 2)) / disagreement
    return np.where(disagreement <= 1e-12, np.nan, 1 - ratio)


@dataclass(frozen=True)
class EqualShares:
    """A test of equal shares of correct answers; ``p`` None where nothing differs."""

    name: str
    statistic: float | None
    df: int | None
    p: float | None
    n: int
    note: str | None


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> EqualShares:
    """Exact McNemar test of two readers (or sessions) on the same cases (1947).

    ``statistic`` is the number of cases that only the first got right.

    Raises:
        ReadersError: unequal lengths or no case.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape or not a.size:
        raise ReadersError("McNemar's test needs the same cases answered twice.")
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_first + only_second
    if not discordant:
        return EqualShares("McNemar, exact", 0.0, None, None, a.size, "no case tells them apart")
    return EqualShares("McNemar, exact", float(only_first), None, mcnemar_p(a, b), a.size, None)


def cochran(correct: NDArray[Any]) -> EqualShares:
    """Cochran's Q (1950) for three or more readers; ``correct`` (cases, readers) of 0 and 1.

    Raises:
        ReadersError: fewer than two readers or no case.
    """
    table = np.asarray(correct, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not len(table):
        raise ReadersError("Cochran's Q needs cases answered by two or more readers.")
    k = table.shape[1]
    columns, rows = table.sum(axis=0), table.sum(axis=1)
    spread = float((rows * (k - rows)).sum())
    if spread == 0:
        return EqualShares("Cochran Q", 0.0, k - 1, None, len(table), "no case tells them apart")
    q = float((k - 1) * k * ((columns - columns.mean()) ** 2).sum() / spread)
    return EqualShares(
        "Cochran Q", q, k - 1, float(scipy.stats.chi2.sf(q, k - 1)), len(table), None
    )


def same_share(first: Sequence[Hashable], second: Sequence[Hashable]) -> Figure:
    """How often two answers to the same image agree, exact interval.

    Raises:
        ReadersError: no pair.
    """
    agreed = sum(a == b for a, b in zip(first, second, strict=True))
    return exact(agreed, len(first), method="exact, pairs of answers")
