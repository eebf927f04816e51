"""How alike pictures are: the correlation of every pair, as they stand or in any orientation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml.statistics import symmetry

Floats = npt.NDArray[np.float64]

_CONSTANT = 1e-9
"""A picture whose mean-free length is no longer is constant: what is left is rounding."""


def units(rows: npt.ArrayLike) -> Floats:
    """Mean-free rows (n, d) of length 1, whose products are correlations; 0 for a constant one."""
    flat = np.asarray(rows, np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    found: Floats = np.where(length > _CONSTANT, flat / np.maximum(length, _CONSTANT), 0.0)
    return found


def of_pairs(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Correlation (n, m) of rows (n, d) with rows (m, d); 1 where either is constant."""
    one, other = units(first), units(second)
    alike: Floats = one @ other.T
    alike[~one.any(axis=1)] = 1.0
    alike[:, ~other.any(axis=1)] = 1.0
    return alike


def in_any_orientation(first: Floats, second: Floats, side: int) -> Floats:
    """The highest correlation (n, m) under the eight flips and turns of the second.

    Args:
        first, second: (n, side²) and (m, side²) as ``units`` gives them.
    """
    turned = [first @ other.T for other in symmetry.of_rows(second, side)]
    return np.asarray(np.max(turned, axis=0), np.float64)
