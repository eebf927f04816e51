"""What an image is drawn from: random numbers of its seed, and of nothing else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml.checkpoints.checkpoint import CheckpointError

Pixels = npt.NDArray[np.float32]


def _of_seed(seed: int) -> np.random.Generator:
    """Random numbers of a seed, a whole number in [0, 2⁶⁴); CheckpointError for another."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise CheckpointError(f"A seed is a whole number from 0 to 2^64 − 1, not {seed!r}.")
    return np.random.Generator(np.random.Philox(key=int(seed)))


def latent(seed: int, size: int) -> Pixels:
    """The latent vector (size,) of a seed: uniform in [-1, 1) (Frid-Adar et al., section III-B).

    Raises:
        CheckpointError: the seed is not a whole number in [0, 2⁶⁴).
    """
    return _of_seed(seed).random(size, dtype=np.float32) * np.float32(2) - np.float32(1)


def noise(seed: int, side: int) -> Pixels:
    """Standard normal noise (side, side) of a seed, by Box and Muller from uniform numbers.

    NumPy may change how it draws normal numbers, which it has done before.

    Raises:
        CheckpointError: the seed is not a whole number in [0, 2⁶⁴).
    """
    half = -(-side * side // 2)
    length, angle = _of_seed(seed).random((2, half))
    radius, turn = np.sqrt(-2 * np.log1p(-length)), 2 * np.pi * angle
    normal = np.concatenate([radius * np.cos(turn), radius * np.sin(turn)])[: side * side]
    return normal.reshape(side, side).astype(np.float32)
