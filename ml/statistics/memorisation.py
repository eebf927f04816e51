"""Whether a generator copies: how near synthetic ROIs come to those that it was trained on.

Distances are root mean square differences of pixels, or of features, over the 8 symmetries of the
square (4 turns, each also mirrored); of features also as the most alike by correlation lie on each
other (`copies`). What they are compared with are ROIs of patients that the generator never saw: a
generator that copies comes nearer to its training ROIs than they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics.symmetry import SYMMETRIES, turned

Pixels = npt.NDArray[np.float32]

PIXELS, FEATURES, COPIES = "pixels", "features", "correlation"
"""The spaces in which distances are told; the last is that of `copies`."""
EXPECTED = 0.05
"""Share of held-out ROIs under the threshold; a generator that copies nothing has about as much."""


def turns(queries: Pixels, describe: Callable[[Pixels], Pixels]) -> tuple[Pixels, ...]:
    """Descriptions (n, d) of ROIs (n, 64, 64) under each symmetry.

    Args:
        describe: ROIs (n, 64, 64) → (n, d): the pixels themselves, or features.
    """
    return tuple(describe(turned(queries, symmetry)) for symmetry in range(SYMMETRIES))


def nearest(
    queries: Sequence[Pixels], references: Pixels
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each query: distance to the nearest reference, its position, and the symmetry.

    Args:
        queries: as ``turns`` gives them.
        references: descriptions (m, d).
    """
    squares = (references**2).sum(axis=1)
    best = np.full(len(queries[0]), np.inf, np.float32)
    where = np.zeros(len(best), np.int64)
    how = np.zeros(len(best), np.int64)
    for symmetry, described in enumerate(queries):
        gaps = (described**2).sum(axis=1)[:, None] + squares[None] - 2 * described @ references.T
        found = gaps.argmin(axis=1)
        value = np.take_along_axis(gaps, found[:, None], axis=1)[:, 0]
        better = value < best
        best[better], where[better], how[better] = value[better], found[better], symmetry
    size = references.shape[1]
    return np.sqrt(np.maximum(best, 0).astype(np.float64) / size), where, how


def apart(first: Pixels, second: Pixels) -> npt.NDArray[np.float64]:
    """Root mean square difference (n,) of descriptions (n, d), pair by pair."""
    gaps = (first.astype(np.float64) - second.astype(np.float64)) ** 2
    return np.asarray(np.sqrt(gaps.mean(axis=1)))


@dataclass(frozen=True)
class Judged:
    """Which synthetic ROIs are nearer to training than held-out lesions are.

    Attributes:
        thresholds: by class, what 5 % of held-out lesions are nearer than; none without any.
        flagged: (n,) nearer than the threshold of their class …
        nearer_than_any: … and nearer than every held-out lesion of it.
    """

    thresholds: Mapping[str, float]
    flagged: npt.NDArray[np.bool_]
    nearer_than_any: npt.NDArray[np.bool_]


def judged(
    synthetic: Sequence[tuple[str, npt.NDArray[np.float64]]],
    held_out: Mapping[str, npt.NDArray[np.float64]],
) -> Judged:
    """Judge distances to the nearest training ROI class by class.

    Args:
        synthetic: distances (n,) of each class, in the order in which they are told.
        held_out: of each class of which some were held out.
    """
    thresholds = {
        key: float(np.quantile(gaps, EXPECTED)) for key, gaps in held_out.items() if len(gaps)
    }
    flagged, nearer = [], []
    for key, gaps in synthetic:
        flagged.append(gaps < thresholds.get(key, -np.inf))
        nearer.append(gaps < (held_out[key].min() if key in thresholds else -np.inf))
    return Judged(thresholds, np.concatenate(flagged), np.concatenate(nearer))


def flat(rois: Pixels) -> Pixels:
    """ROIs (n, 64, 64) as they are: (n, 4096)."""
    return rois.reshape(len(rois), -1)
