"""The classifier two-sample test: can a program that learned from some tell the rest apart?

Lopez-Paz & Oquab (2017, ICLR; arXiv 1610.06545). Two sets that are drawn alike cannot be told apart
better than by chance. The program is a logistic regression with a ridge on standardised columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics import logistic

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOLDS = 5
LEAST = 2 * FOLDS
"""Groups of either set that it needs."""
RIDGES = (1.0, 10.0, 100.0)
"""Which of these, the training part of each fold says."""
_INNER = 3
_CUT = 5.0
"""Standardised columns are cut here: one odd row must not lead."""


def parts(strata: Ints, clusters: npt.NDArray[np.str_], count: int, seed: int) -> Ints:
    """One of ``count`` parts for each of n rows: clusters whole, strata spread evenly.

    Args:
        strata: (n,) from 0 on: which set, or which kind of which set.
        clusters: (n,) a name each; rows of one name are in one part.
    """
    rng = np.random.default_rng(seed)
    names = sorted(set(clusters.tolist()))
    many = int(strata.max()) + 1
    sizes = {name: np.bincount(strata[clusters == name], minlength=many) for name in names}
    order = [names[int(k)] for k in rng.permutation(len(names))]
    order.sort(key=lambda name: -int(sizes[name].sum()))  # the large ones first; else as drawn
    filled = np.zeros((count, many))
    where = {}
    for name in order:
        kinds = sizes[name] > 0
        part = int(np.argmin(filled[:, kinds].sum(axis=1)))
        filled[part] += sizes[name]
        where[name] = part
    return np.array([where[name] for name in clusters.tolist()], dtype=np.int64)


def out_of_part(table: Floats, truth: Ints, part: Ints, ridge: float) -> Floats:
    """Log odds (n,) of the second set, each by a regression on the rows of the other parts."""
    scores = np.zeros(len(truth))
    for k in range(int(part.max()) + 1):
        train, test = part != k, part == k
        scores[test] = _learned(table[train], truth[train], table[test], ridge)
    return scores


def _learned(table: Floats, truth: Ints, tested: Floats, ridge: float) -> Floats:
    penalty = np.full(table.shape[1] + 1, ridge)
    penalty[0] = 1e-6  # spares the intercept, but for what keeps it finite
    centre, scale = table.mean(axis=0), table.std(axis=0)
    scale[scale == 0] = 1.0

    def design(rows: Floats) -> Floats:
        standard = np.clip((rows - centre) / scale, -_CUT, _CUT)
        return np.column_stack([np.ones(len(standard)), standard])

    found = logistic.fit(design(table), truth, penalty, steps=30, tolerance=1e-8)
    assert found is not None  # a ridge leaves nothing singular
    return np.asarray(design(tested) @ found.weights)


@dataclass(frozen=True)
class Scored:
    """What the program made of every row, when it had not learned from its part.

    Attributes:
        truth: (n,), 1 for the second set.
        part: (n,) which part each row was in.
        scores: (n,) log odds of the second set; comparable within a part.
    """

    truth: Ints
    part: Ints
    scores: Floats

    def area(self, weights: Floats) -> Floats:
        """(b,): share of pairs, one row of each set in the same part, that are told apart.

        0.5: not at all; 1: all. It is an area under the ROC curve (Mann & Whitney) within parts:
        scores of different parts are those of different regressions. NaN where no pair is drawn.

        Args:
            weights: (b, n) how often each row counts; a row of ones is the sample itself.
        """
        won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for k in range(int(self.part.max()) + 1):
            first = np.flatnonzero((self.part == k) & (self.truth == 0))
            second = np.flatnonzero((self.part == k) & (self.truth == 1))
            gap = self.scores[second][None] - self.scores[first][:, None]
            wins = (gap > 0) + 0.5 * (gap == 0)
            won += ((weights[:, first] @ wins) * weights[:, second]).sum(axis=1)
            pairs += weights[:, first].sum(axis=1) * weights[:, second].sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(won / pairs)


def tested(
    first: Floats,
    second: Floats,
    owners_first: Sequence[str],
    owners_second: Sequence[str],
    kinds_first: Ints,
    kinds_second: Ints,
    seed: int,
) -> Scored | None:
    """Let the program tell two sets apart, nested: ridges are chosen where nothing is tested.

    Args:
        first, second: (n, k) and (m, k).
        owners_first, owners_second: whose each row is. What is of one owner is never both learned
            from and tested, whichever set it is in.
        kinds_first, kinds_second: (n,) and (m,) from 0 on. Each kind is spread over the parts: what
            a part has too much of the others lack, and the program would learn it the wrong way.

    Returns:
        None where either set is of fewer than `LEAST` owners, or where nothing varies.
    """
    if min(len(set(owners_first)), len(set(owners_second))) < LEAST:
        return None
    table = np.concatenate([first, second])
    table = table[:, np.ptp(table, axis=0) > 0]
    if not table.shape[1]:
        return None
    truth = np.repeat(np.array([0, 1]), [len(first), len(second)])
    owners = np.asarray([*owners_first, *owners_second])
    strata = 2 * np.concatenate([kinds_first, kinds_second]) + truth
    part = parts(strata, owners, FOLDS, seed)
    scores = np.zeros(len(truth))
    for k in range(FOLDS):
        train, test = part != k, part == k
        inner = parts(strata[train], owners[train], _INNER, seed + 1 + k)
        told = {
            ridge: _area(truth[train], inner, out_of_part(table[train], truth[train], inner, ridge))
            for ridge in RIDGES
        }
        # of equals the strongest ridge
        ridge = max(RIDGES, key=lambda one: (round(told[one], 12), one))
        scores[test] = _learned(table[train], truth[train], table[test], ridge)
    return Scored(truth, part, scores)


def _area(truth: Ints, part: Ints, scores: Floats) -> float:
    return float(Scored(truth, part, scores).area(np.ones((1, len(truth))))[0])
