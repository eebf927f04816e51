"""The model of Bradley & Terry (1952, Biometrika 39:324): how often one is preferred to another.

P(i is preferred to j) = s_i / (s_i + s_j). Strengths are told as logarithms whose mean is 0, so
that a difference of two is the log odds of their contest. Fitted by the iteration of Hunter (2004,
Ann Stat 32:384), over many tables of wins at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.statistics.proportion import ReadersError

Floats = NDArray[np.float64]

_STEPS = 5000
_CLOSE = 1e-10


def strengths(wins: ArrayLike) -> Floats:
    """Log strengths (…, k), mean 0, of tables of wins (…, k, k): row i was preferred to column j.

    A table whose strengths are not finite (one always wins, or two groups never met) gives NaN.

    Raises:
        ReadersError: fewer than two contestants, or a negative number of wins.
    """
    table = np.asarray(wins, dtype=np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2] or table.shape[-1] < 2:
        raise ReadersError("Strengths need a square table of wins of two contestants or more.")
    if (table < 0).any():
        raise ReadersError("A number of wins is negative.")
    flat = table.reshape(-1, *table.shape[-2:]).copy()
    k = flat.shape[-1]
    flat[:, np.arange(k), np.arange(k)] = 0.0
    met = flat + flat.transpose(0, 2, 1)
    won = flat.sum(axis=2)
    found = np.full(won.shape, np.nan)
    finite = np.flatnonzero(_connected(flat))
    power = np.ones((len(finite), k))
    for _ in range(_STEPS):
        if not len(finite):
            break
        both = power[:, :, None] + power[:, None, :]
        new = won[finite] / (met[finite] / both).sum(axis=2)
        new /= np.exp(np.log(new).mean(axis=1, keepdims=True))
        moved = np.abs(np.log(new) - np.log(power)).max()
        power = new
        if moved < _CLOSE:
            break
    found[finite] = np.log(power)
    return found.reshape(won.shape if table.ndim > 2 else (k,))


def _connected(wins: Floats) -> NDArray[np.bool_]:
    """Whether everybody is reached from everybody along wins (tables,): Ford's condition (1957)."""
    k = wins.shape[-1]
    reach = (wins > 0) | np.eye(k, dtype=bool)
    for _ in range(max(1, int(np.ceil(np.log2(k))))):
        reach = (reach.astype(float) @ reach.astype(float)) > 0
    return np.asarray(reach.all(axis=(1, 2)))
