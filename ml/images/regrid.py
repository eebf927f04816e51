"""Pictures on a grid of their own: shifted by less than a pixel and sampled anew.

A stored copy of a picture then has no pixel in common with the one that is shown. Real and
synthetic pictures pass through the same samples, drawn alike, and none is taken from beyond the
picture's edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]

_NARROWEST, _WIDEST = 57.0, 60.0
"""From the first sample to the last, in pixels of a picture of 64: each picture has a span of its
own, so that no period of the grid is common to all."""
_SIDE = 64


def redrawn(pixels: Pixels, seed: int) -> Pixels:
    """A picture (64, 64) in [−1, 1] on another grid, the same for the same seed.

    64 samples a side over 57 to 60 pixels, begun at random, by cubic convolution with a = −½
    (Keys 1981, doi 10.1109/TASSP.1981.1163711); what it overshoots is clipped.

    Raises:
        ValueError: another shape.
    """
    if pixels.shape != (_SIDE, _SIDE):
        raise ValueError(f"A picture of 64 × 64 is needed, not of {pixels.shape}.")
    rng = np.random.default_rng(seed)
    span = rng.uniform(_NARROWEST, _WIDEST)
    down, across = (_weights(rng.uniform(1.0, _SIDE - 2 - span), span) for _ in range(2))
    return np.clip(down @ pixels.astype(np.float64) @ across.T, -1.0, 1.0).astype(np.float32)


def _weights(first: float, span: float) -> npt.NDArray[np.float64]:
    """(64, 64): what each pixel of a line gives to each of 64 samples from ``first`` on."""
    places = first + span * np.arange(_SIDE) / (_SIDE - 1)
    distance = np.abs(places[:, None] - np.arange(_SIDE)[None, :])
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
