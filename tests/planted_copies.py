"""Copies that a generator might make of a training lesion, and sets that it might collapse to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Pixels = npt.NDArray[np.float32]
HU = 2 / 400
"""One HU in ROI units, at a window of 400 HU."""


def copies(rng: np.random.Generator) -> Mapping[str, Callable[[Pixels], Pixels]]:
    """By name, what is done to lesions (n, 64, 64)."""

    def noisy(hu: float) -> Callable[[Pixels], Pixels]:
        return lambda rois: rois + hu * HU * rng.normal(size=rois.shape)

    def turned(angle: float) -> Callable[[Pixels], Pixels]:
        return lambda rois: ndimage.rotate(
            rois, angle, (1, 2), reshape=False, order=1, mode="reflect"
        )

    def shifted(pixels: int) -> Callable[[Pixels], Pixels]:
        return lambda rois: np.stack(
            [
                ndimage.shift(
                    roi, (round(pixels * np.sin(a)), round(pixels * np.cos(a))), order=0,
                    mode="reflect",
                )
                for roi, a in zip(rois, rng.uniform(0, 2 * np.pi, len(rois)), strict=True)
            ]
        )  # fmt: skip

    def blurred(pixels: float) -> Callable[[Pixels], Pixels]:
        return lambda rois: ndimage.gaussian_filter(rois, (0, pixels, pixels))

    return {
        "exact": lambda rois: rois,
        "mirrored": lambda rois: rois[:, :, ::-1],
        "quarter turn": lambda rois: np.rot90(rois, 1, (1, 2)),
        "noise of 10 HU": noisy(10),
        "noise of 20 HU": noisy(20),
        "shift of 1 px": shifted(1),
        "shift of 2 px": shifted(2),
        "shift of 4 px": shifted(4),
        "turn of 10°": turned(10),
        "turn of 37°": turned(37),
        "turn of 205°": turned(205),
        "+30 HU": lambda rois: rois + 30 * HU,
        "-30 HU": lambda rois: rois - 30 * HU,
        "times 0.9": lambda rois: 0.9 * rois,
        "times 1.1": lambda rois: 1.1 * rois,
        "blur of 1 px": blurred(1),
        "blur of 2 px": blurred(2),
    }


def planted(name: str, rois: Pixels, rng: np.random.Generator) -> Pixels:
    """These lesions, changed, in the range of ROIs."""
    return np.clip(copies(rng)[name](rois), -1, 1).astype(np.float32)


def collapses(rois: Pixels, rng: np.random.Generator) -> Mapping[str, Pixels]:
    """By name, a set of as many ROIs as there are lesions, of far fewer pictures."""
    n = len(rois)
    noise = 20 * HU * rng.normal(size=rois.shape)
    half = rois.copy()
    half[: n // 2] = rois[0]
    angles = np.linspace(0, 360, n, endpoint=False)
    sets = {
        "one picture and noise": np.repeat(rois[:1], n, axis=0) + noise,
        "two pictures and noise": rois[np.arange(n) % 2] + noise,
        "half of them alike": half + noise,
        "one lesion turned": np.stack(
            [ndimage.rotate(rois[0], a, reshape=False, order=1, mode="reflect") for a in angles]
        ),
    }
    return {name: np.clip(one, -1, 1).astype(np.float32) for name, one in sets.items()}
