"""Whether a generator copies: how near synthetic ROIs come to those that it was trained on.

Distances are root mean square differences of pixels, or of features, over the 8 symmetries of the
square (4 turns, each also mirrored). What they are compared with are ROIs of patients that the
generator never saw: a generator that copies comes nearer to its training ROIs than they do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]

SYMMETRIES = 8
EXPECTED = 0.05
"""Share of held-out ROIs under the threshold; a generator that copies nothing has about as much."""


def turned(rois: Pixels, symmetry: int) -> Pixels:
    """(n, 64, 64) under symmetry 0 (none) … 7: ``symmetry % 4`` quarter turns, from 4 mirrored."""
    rois = np.rot90(rois, symmetry % 4, axes=(1, 2))
    return np.ascontiguousarray(rois[:, :, ::-1] if symmetry >= 4 else rois)


def nearest(
    queries: Pixels,
    references: Pixels,
    describe: Callable[[Pixels], Pixels],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each query: distance to the nearest reference, its position, and the symmetry.

    Args:
        describe: ROIs (n, 64, 64) → (n, d): the pixels themselves, or features.
    """
    targets = describe(references)
    squares = (targets**2).sum(axis=1)
    best = np.full(len(queries), np.inf, np.float32)
    where = np.zeros(len(queries), np.int64)
    how = np.zeros(len(queries), np.int64)
    for symmetry in range(SYMMETRIES):
        described = describe(turned(queries, symmetry))
        gaps = (described**2).sum(axis=1)[:, None] + squares[None] - 2 * described @ targets.T
        found = gaps.argmin(axis=1)
        value = np.take_along_axis(gaps, found[:, None], axis=1)[:, 0]
        better = value < best
        best[better], where[better], how[better] = value[better], found[better], symmetry
    size = targets.shape[1]
    return np.sqrt(np.maximum(best, 0).astype(np.float64) / size), where, how


def flat(rois: Pixels) -> Pixels:
    """ROIs (n, 64, 64) as they are: (n, 4096)."""
    return rois.reshape(len(rois), -1)
