"""The classifier two-sample test: what differs is told apart, what does not is not."""

from __future__ import annotations

import numpy as np
import pytest

from ml.statistics import area, two_sample
from ml.statistics.two_sample import FOLDS


def _names(letter: str, count: int, each: int = 1) -> list[str]:
    return [f"{letter}{k // each}" for k in range(count)]


def _tested(seed: int, shift: float) -> two_sample.Scored:
    """Two sets of three kinds that differ a lot; the second is moved by ``shift`` besides."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(60) % 3
    first, second = (rng.normal(size=(60, 8)) + 3 * kinds[:, None] for _ in range(2))
    second[:, 2] += shift
    owners = _names("p", 60, 2), _names("s", 60)
    told = two_sample.tested(first, second, *owners, kinds, kinds, seed)
    assert told is not None
    return told


def test_owners_are_whole_and_sets_spread() -> None:
    truth = np.array([0] * 40 + [1] * 40)
    clusters = np.array(_names("p", 40, 4) + _names("s", 40))
    part = two_sample.parts(truth, clusters, FOLDS, 0)
    assert set(part.tolist()) == set(range(FOLDS))
    for name in set(clusters.tolist()):
        assert len(set(part[clusters == name].tolist())) == 1
    for k in range(FOLDS):
        assert np.bincount(truth[part == k], minlength=2).tolist() == [8, 8]


def test_what_is_alike_is_not_told_apart_and_what_differs_is() -> None:
    ones = np.ones((1, 120))
    alike = [float(_tested(seed, 0).area(ones)[0]) for seed in range(12)]
    assert np.mean(alike) == pytest.approx(0.5, abs=0.06)
    assert _tested(0, 6).area(ones)[0] > 0.95


def test_the_area_counts_pairs_within_parts_and_draws_as_often_as_they_are_drawn() -> None:
    told = _tested(1, 1)
    rng = np.random.default_rng(0)
    weights = rng.poisson(1.0, (3, 120)).astype(float)
    found = told.area(weights)
    for row, value in zip(weights, found, strict=True):
        rows = np.repeat(np.arange(120), row.astype(int))
        won = pairs = 0.0
        for k in range(FOLDS):
            own = rows[told.part[rows] == k]
            sides = [int((told.truth[own] == i).sum()) for i in (0, 1)]
            won += area.auc(told.truth[own] == 1, told.scores[own]) * sides[0] * sides[1]
            pairs += sides[0] * sides[1]
        assert value == pytest.approx(won / pairs)


def test_few_owners_and_columns_that_do_not_vary_give_nothing() -> None:
    rows, kinds = np.random.default_rng(0).normal(size=(20, 3)), np.zeros(20, np.int64)
    few = two_sample.tested(rows, rows, _names("p", 20, 3), _names("s", 20), kinds, kinds, 0)
    even = np.ones((20, 3))
    none = two_sample.tested(even, even, _names("p", 20), _names("s", 20), kinds, kinds, 0)
    assert few is None and none is None
