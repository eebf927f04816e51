"""Power by frequency: of the whole picture, and of the 8 × 8 blocks that JPEG works in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.leak_audit.places import Table

Numbers = NDArray[np.integer[Any]] | NDArray[np.floating[Any]]

BLOCK = 8
_TINY = 1e-3


def plane(pixels: Numbers) -> Table:
    """Each frequency's log power above those around it, of (n, h, w): a watermark stands out."""
    count, rows, columns = pixels.shape
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1]).astype(np.float32)
    centred = (pixels - pixels.mean(axis=(1, 2), keepdims=True)).astype(np.float32)
    power = np.log(np.abs(scipy.fft.rfft2(centred * window, axes=(1, 2))) ** 2 + _TINY)
    around = scipy.ndimage.uniform_filter(power, (0, 5, 5), mode=("nearest", "wrap", "nearest"))
    wide = power.shape[2]
    names = [
        f"power at {_signed(y, rows)} cycles down and {x} across"
        for y in range(rows)
        for x in range(wide)
    ]
    return Table((power - around).reshape(count, -1), names)


def _signed(k: int, size: int) -> int:
    return k if k <= size // 2 else k - size


def coefficients(
    pixels: Numbers, y: int, x: int, patterns: Sequence[int] | None = None
) -> NDArray[np.floating[Any]]:
    """DCT coefficients (n, blocks, 64 or of some patterns) of the blocks that begin at (y, x).

    In single precision, unless the pixels are in double.
    """
    part = pixels[:, y:, x:]
    rows, columns = (size - size % BLOCK for size in part.shape[1:])
    cut = part[:, :rows, :columns].reshape(len(part), rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    kind = np.float64 if pixels.dtype == np.float64 else np.float32
    lines: NDArray[Any] = cut.swapaxes(2, 3).reshape(len(part), -1, BLOCK * BLOCK).astype(kind)
    every: NDArray[Any] = basis().astype(kind)
    return np.asarray(lines @ (every if patterns is None else every[:, list(patterns)]))


@cache
def basis() -> NDArray[np.float64]:
    """(64, 64): a column is a pattern of the orthonormal DCT of a block."""
    one = scipy.fft.dct(np.eye(BLOCK), norm="ortho", axis=0).T
    both = np.einsum("ia,jb->ijab", one, one).reshape(BLOCK * BLOCK, BLOCK * BLOCK)
    return np.ascontiguousarray(both)


def blocks(pixels: Numbers) -> Table:
    """Of each DCT pattern: log power, and how power and zeros differ on the grid and off it."""
    on, off = coefficients(pixels, 0, 0), coefficients(pixels, BLOCK // 2, BLOCK // 2)
    power, other = (np.log((c**2).mean(axis=1) + _TINY)[:, 1:] for c in (on, off))
    zeros, elsewhere = ((np.abs(c) < 0.5).mean(axis=1)[:, 1:] for c in (on, off))
    called = [f"{k // BLOCK} down and {k % BLOCK} across" for k in range(1, BLOCK * BLOCK)]
    return Table(
        np.hstack([power, power - other, zeros - elsewhere]),
        [
            *(f"power of the 8-pixel pattern {name}" for name in called),
            *(
                f"power of the pattern {name}, on the 8-pixel grid against off it"
                for name in called
            ),
            *(
                f"zeros of the pattern {name}, on the 8-pixel grid against off it"
                for name in called
            ),
        ],
    )
