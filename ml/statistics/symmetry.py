"""The eight flips and quarter turns of a square image."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Kind = TypeVar("Kind", bound=np.generic)

SYMMETRIES = 8


def turned(images: npt.NDArray[Kind], symmetry: int) -> npt.NDArray[Kind]:
    """(n, h, w) under symmetry 0 (none) … 7: quarter turns (modulo 4), mirrored from 4 on.

    Axes after these (colours) stay as they are.
    """
    images = np.rot90(images, symmetry % 4, axes=(1, 2))
    return np.ascontiguousarray(images[:, :, ::-1] if symmetry >= 4 else images)


def of_rows(rows: npt.NDArray[Kind], side: int) -> list[npt.NDArray[Kind]]:
    """The eight of images given as rows (n, side²), each as rows again."""
    images = rows.reshape(-1, side, side)
    return [turned(images, symmetry).reshape(len(images), -1) for symmetry in range(SYMMETRIES)]
