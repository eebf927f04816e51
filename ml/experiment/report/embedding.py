"""Features of test lesions and their augmentations in the plane, by openTSNE."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SETTINGS = "openTSNE, perplexity 30 (fewer for small sets), PCA start, seed 0"


@dataclass(frozen=True)
class Plane:
    """Positions (n, 2) of ROIs with their class positions; ``original``: not an augmentation."""

    name: str
    positions: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    original: npt.NDArray[np.bool_]


def planes(folder: Path) -> tuple[Plane, ...] | None:
    """One plane per classifier in ``embedding.npz``; None where openTSNE is not installed."""
    try:
        from openTSNE import TSNE
    except ImportError:
        return None
    found: list[Plane] = []
    with np.load(folder / "embedding.npz", allow_pickle=False) as stored:
        names = [key.partition("|")[0] for key in stored.files if key.endswith("|features")]
        for name in names:
            features = stored[f"{name}|features"].astype(np.float64)
            placed = TSNE(
                perplexity=min(30, max(2, (len(features) - 1) // 3)),
                initialization="pca",
                random_state=0,
                n_jobs=1,
            ).fit(features)
            found.append(
                Plane(
                    name,
                    np.asarray(placed, np.float64),
                    stored[f"{name}|labels"],
                    stored[f"{name}|original"],
                )
            )
    return tuple(found)
