"""Logistic regression by Newton's method, with a ridge where one is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STEEPEST = 30.0
"""Log odds are cut here, so that a separated sample overflows nothing."""


@dataclass(frozen=True)
class Logistic:
    """``weights`` (k,) and the information matrix (k, k) that the last step was made with."""

    weights: Floats
    information: Floats
    converged: bool


def fit(
    design: Floats,
    outcome: npt.ArrayLike,
    penalty: npt.ArrayLike = 0.0,
    *,
    steps: int = 50,
    tolerance: float = 1e-10,
    worst_condition: float = inf,
) -> Logistic | None:
    """Maximise the likelihood less ½ ``penalty`` · weights².

    Args:
        design: (n, k); a column of ones is the intercept.
        outcome: (n,) of 0 and 1.
        penalty: of each weight (k,), or one for all.
        steps: how many are made at most.
        tolerance: a step that changes no weight by as much is the last.
        worst_condition: of the information matrix; beyond it there is no maximum to be found.

    Returns:
        None where the information matrix is worse conditioned than allowed.
    """
    y, ridge = np.asarray(outcome, np.float64), np.broadcast_to(penalty, design.shape[1])
    weights = np.zeros(design.shape[1])
    information = np.zeros((design.shape[1], design.shape[1]))
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -_STEEPEST, _STEEPEST)))
        information = design.T @ (design * (p * (1 - p))[:, None]) + np.diag(ridge)
        if worst_condition < inf and np.linalg.cond(information) > worst_condition:
            return None
        step = np.linalg.solve(information, design.T @ (y - p) - ridge * weights)
        weights = weights + step
        if np.abs(step).max() < tolerance:
            return Logistic(weights, information, True)
    return Logistic(weights, information, False)
