"""ROC curves of a class against the rest, averaged over trainings, with a band over patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GRID = np.linspace(0, 1, 51)
"""Shares of false positives at which a curve is told."""


@dataclass(frozen=True)
class RocCurve:
    """Sensitivity at each of ``false_positives``, and a pointwise 95 % band; all 0–1."""

    false_positives: tuple[float, ...]
    sensitivity: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def mean_curve(
    positive: npt.ArrayLike, scores: Floats, weights: Floats, widening: float = 1.0
) -> RocCurve | None:
    """The vertical average of several trainings' curves (Fawcett 2006, Pattern Recogn Lett 27:861).

    None where a class has no lesion.

    Args:
        positive: (n,) which lesions have the class.
        scores: (seeds, n), rising with the certainty that they have it.
        weights: (b, n): how often each lesion is drawn, for the band.
        widening: by how much the band is stretched away from the curve.
    """
    has = np.asarray(positive, bool)
    if not has.any() or has.all():
        return None
    once = np.ones((1, has.size))
    value = np.mean([_at_grid(has, row, once)[0] for row in scores], axis=0)
    drawn = np.mean([_at_grid(has, row, weights) for row in scores], axis=0)
    known = drawn[np.isfinite(drawn).all(axis=1)]
    ends = np.quantile(known, [0.025, 0.975], axis=0) if len(known) else (value, value)
    low, high = (np.clip(value + widening * (end - value), 0.0, 1.0) for end in ends)
    return RocCurve(*(_rounded(one) for one in (GRID, value, low, high)))


def _at_grid(positive: npt.NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Sensitivity (b, grid); NaN where a draw lacks a class. Ties are a slope, as in the area."""
    order = np.argsort(-score, kind="stable")
    _, starts = np.unique(-score[order], return_index=True)
    sorted_weights = weights[:, order]
    rises = np.cumsum(np.add.reduceat(sorted_weights * positive[order], starts, axis=1), axis=1)
    falls = np.cumsum(np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1), axis=1)
    found = np.full((len(weights), len(GRID)), np.nan)
    for i, (up, down) in enumerate(zip(rises, falls, strict=True)):
        if up[-1] and down[-1]:
            found[i] = np.interp(GRID, np.r_[0, down / down[-1]], np.r_[0, up / up[-1]])
    return found


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
