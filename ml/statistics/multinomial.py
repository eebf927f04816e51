"""Multinomial logistic models of few parameters, many weightings of the same sample at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RIDGE = 1e-9
"""Keeps a matrix that the sample leaves singular solvable; it moves no figure that is shown."""
_AT_A_TIME = 200_000
"""Numbers of a design times weightings: as many as a cache holds."""


@dataclass(frozen=True)
class Fitted:
    """``parameters`` (b, p) of each weighting, and which of them came to rest (b,).

    One that did not has no maximum: the sample is separated, or a class is missing in it.
    """

    parameters: Floats
    converged: npt.NDArray[np.bool_]


def softmax(scores: Floats) -> Floats:
    """exp of (…, k), each row scaled to add up to 1."""
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def fit(
    design: Floats,
    truth: Ints,
    weights: Floats,
    start: Floats,
    *,
    steps: int = 60,
    tolerance: float = 1e-8,
    bound: float = 50.0,
) -> Fitted:
    """Maximise Σ wᵢ log softmax(Xᵢ θ)[yᵢ] by Newton's method, with halved steps where needed.

    Args:
        design: (n, k, p): what each parameter adds to the score of each of k classes.
        truth: (n,) class positions.
        weights: (b, n), how often each of the sample counts in each of b fits.
        start: (p,) where each of them begins.
        steps: how many are made at most.
        tolerance: a step that changes no parameter by as much is the last.
        bound: a parameter that leaves ±``bound`` goes to infinity: no maximum.
    """
    size = max(1, _AT_A_TIME // design.size)
    parts = [
        _fit(design, truth, weights[at : at + size], start, steps, tolerance, bound)
        for at in range(0, len(weights), size)
    ]
    return Fitted(
        np.concatenate([one.parameters for one in parts]),
        np.concatenate([one.converged for one in parts]),
    )


def _fit(
    design: Floats,
    truth: Ints,
    weights: Floats,
    start: Floats,
    steps: int,
    tolerance: float,
    bound: float,
) -> Fitted:
    # classes and parameters lead: sums over a short last axis would take most of the time
    by_class = np.ascontiguousarray(design.transpose(1, 2, 0))
    own = design[np.arange(len(truth)), truth]
    squares = (by_class[:, :, None] * by_class[:, None]).reshape(len(by_class), -1, len(truth))
    theta = np.tile(np.asarray(start, np.float64), (len(weights), 1))
    value = _likelihood(by_class, own, weights, theta)
    moving = np.ones(len(weights), bool)
    lost = np.zeros(len(weights), bool)
    for _ in range(steps):
        rows = np.flatnonzero(moving)
        if not rows.size:
            break
        w, at = weights[rows], theta[rows]
        step = _newton(by_class, squares, own, w, at)
        share = np.ones(len(rows))
        for _ in range(12):  # the likelihood never falls
            tried = at + share[:, None] * step
            reached = _likelihood(by_class, own, w, tried)
            worse = reached < value[rows] - 1e-12 * (1 + np.abs(value[rows]))
            if not worse.any():
                break
            share = np.where(worse, share / 2, share)
        theta[rows] = np.clip(tried, -bound, bound)
        value[rows] = reached
        lost[rows] = np.abs(tried).max(axis=1) >= bound
        still = np.abs(share[:, None] * step).max(axis=1) >= tolerance
        moving[rows] = still & ~lost[rows]
    return Fitted(theta, ~moving & ~lost)


def _newton(by_class: Floats, squares: Floats, own: Floats, w: Floats, theta: Floats) -> Floats:
    """The step (b, p) that leads to the maximum of the likelihood's parabola."""
    p = theta.shape[1]
    scores = theta @ by_class
    chances = np.exp(scores - scores.max(axis=0))
    chances /= chances.sum(axis=0)
    expected = sum(
        chance * one[:, None] for chance, one in zip(chances, by_class, strict=True)
    )  # (p, b, n)
    weighted = w * expected
    gradient = w @ own - weighted.sum(axis=2).T
    curve = sum((w * chance) @ one.T for chance, one in zip(chances, squares, strict=True))
    curve = np.reshape(curve, (-1, p, p)) - np.matmul(
        weighted.transpose(1, 0, 2), np.asarray(expected).transpose(1, 2, 0)
    )
    return np.asarray(np.linalg.solve(curve + _RIDGE * np.eye(p), gradient[..., None])[..., 0])


def _likelihood(by_class: Floats, own: Floats, weights: Floats, theta: Floats) -> Floats:
    scores = theta @ by_class
    top = scores.max(axis=0)
    whole = top + np.log(np.exp(scores - top).sum(axis=0))
    return np.asarray((weights * (theta @ own.T - whole)).sum(axis=1))
