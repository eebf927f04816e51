"""Multinomial logistic regression of many columns, with a ridge, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics.multinomial import softmax

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LOOSE = 1e-8
"""Ridge of the intercepts, of which one too many is estimated: it moves no probability."""
_STEPS = 60
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Ridged:
    """``weights`` (k, classes) and ``intercepts`` (classes,); each row adds up to 0."""

    weights: Floats
    intercepts: Floats

    def logits(self, design: Floats) -> Floats:
        """(n, classes) of ``design`` (n, k)."""
        return np.asarray(design @ self.weights + self.intercepts)


def fit(
    design: Floats, labels: Ints, classes: int, ridge: float, start: Ridged | None = None
) -> Ridged:
    """Maximise the likelihood less ½ ``ridge`` Σ weights²; intercepts are free.

    Args:
        design: (n, k), standardised: one ridge is for all columns.
        labels: (n,) class positions. A class of nobody gets a low intercept.
        ridge: above 0; with it there is one maximum, also of separated classes.
        start: where to begin, a fit of the same columns; it changes the way, not the end.
    """
    count, width = design.shape
    x = np.concatenate([design, np.ones((count, 1))], axis=1)
    aim = np.eye(classes)[labels]
    penalty = np.full((width + 1, classes), float(ridge))
    penalty[-1] = _LOOSE
    found = np.zeros((width + 1, classes))
    if start is not None:
        found = np.concatenate([start.weights, start.intercepts[None]])

    def loss(weights: Floats) -> float:
        logits = x @ weights
        top = logits.max(axis=1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        own = (logits * aim).sum(axis=1)
        return float((total - own).sum() + 0.5 * (penalty * weights**2).sum())

    value = loss(found)
    for _ in range(_STEPS):
        p = softmax(x @ found)
        slope = x.T @ (p - aim) + penalty * found
        size = (width + 1) * classes
        curve = np.zeros((classes, width + 1, classes, width + 1))
        for i in range(classes):
            for j in range(i, classes):
                share = p[:, i] * ((i == j) - p[:, j])
                curve[i, :, j] = curve[j, :, i] = x.T @ (x * share[:, None])
        flat = curve.reshape(size, size) + np.diag(penalty.T.ravel())
        step = np.linalg.solve(flat, slope.T.ravel()).reshape(classes, width + 1).T
        length, fallen = 1.0, value
        while length > 1e-6:
            fallen = loss(found - length * step)
            if fallen <= value:
                break
            length /= 2
        if fallen > value:
            break
        found = found - length * step
        done = float(np.abs(length * step).max()) < _TOLERANCE
        value = fallen
        if done:
            break
    found = found - found.mean(axis=1, keepdims=True)
    return Ridged(found[:-1], found[-1])
