"""Many small measures of texture, for a classifier: what no single one of them may tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.leak_audit.spectra import coefficients

Floats = NDArray[np.float64]

_PART_PX = 96
_BANDS = 24
_SMALL = 4
_TINY = 1e-3


def measures(pixels: NDArray[np.integer[Any]], residue: NDArray[np.float32], top: float) -> Floats:
    """(n, k) of (n, h, w): power by band and by DCT pattern, small steps, noise and its brightness.

    Args:
        pixels: stored numbers.
        residue: the same less the mean of the eight neighbours.
        top: the greatest value that a pixel could have.
    """
    part = np.s_[:, :_PART_PX, :_PART_PX]
    # in double precision: the order of the images must be the same on every processor
    image = pixels[part].astype(np.float64) * (255.0 / top)
    rest = residue[part].astype(np.float64) * (255.0 / top)
    return np.hstack(
        [_bands(image), _patterns(image), _steps(image), _noise(image, rest), _predictor(image)]
    )


def _bands(image: Floats) -> Floats:
    rows, columns = image.shape[1:]
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    centred = image - image.mean(axis=(1, 2), keepdims=True)
    power = np.abs(scipy.fft.rfft2(centred * window, axes=(1, 2))) ** 2
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    radius, angle = np.hypot(fy, fx), np.abs(np.arctan2(np.abs(fy), fx))
    band = np.minimum((radius / 0.5 * (_BANDS - 4)).astype(int), _BANDS - 1)
    found = [
        np.log(power[:, (band == k) & (radius > 0)].mean(axis=1) + _TINY) for k in range(_BANDS)
    ]
    fine = (radius > 0.25) & (radius <= 0.5)
    for k in range(4):
        part = fine & (angle >= k * np.pi / 8) & (angle <= (k + 1) * np.pi / 8)
        found.append(np.log(power[:, part].mean(axis=1) + _TINY))
    logs = np.stack(found, axis=1)
    return np.hstack([logs, np.diff(logs[:, :_BANDS], axis=1)])


def _patterns(image: Floats) -> Floats:
    power = [(coefficients(image, at, at) ** 2).mean(axis=1)[:, 1:] for at in (0, 4)]
    found: Floats = np.log(power[0] + power[1] + _TINY)
    return found


def _steps(image: Floats) -> Floats:
    """How often steps to the right, down and in slope are 0, 1 … 4 grey levels."""
    found = []
    for step in (
        np.diff(image, axis=1), np.diff(image, axis=2),
        np.diff(image, 2, axis=1), np.diff(image, 2, axis=2),
    ):  # fmt: skip
        size = np.minimum(np.rint(np.abs(step)), _SMALL + 1).reshape(len(image), -1)
        found += [(size == k).mean(axis=1) for k in range(_SMALL + 1)]
    shares: Floats = np.sqrt(np.stack(found, axis=1))
    return shares


def _noise(image: Floats, rest: Floats) -> Floats:
    flat = np.abs(rest).reshape(len(rest), -1)
    order = np.sort(flat, axis=1)
    at = (np.array([0.25, 0.5, 0.75, 0.9, 0.97]) * (order.shape[1] - 1)).astype(int)
    sizes = np.log(order[:, at] + 0.1)
    bright = image.reshape(len(image), -1).argsort(axis=1)
    by_brightness = np.take_along_axis(flat, bright, axis=1)
    quarters = by_brightness[:, : by_brightness.shape[1] // 4 * 4].reshape(len(rest), 4, -1)
    noise = np.log(quarters.mean(axis=2) + 0.1)
    return np.hstack([sizes, np.diff(sizes, axis=1), noise, np.diff(noise, axis=1)])


_NEIGHBOURS = (
    ((0, 1), (0, -1)), ((1, 0), (-1, 0)), ((1, 1), (-1, -1)), ((1, -1), (-1, 1)),
    ((0, 2), (0, -2)), ((2, 0), (-2, 0)), ((1, 2), (-1, -2)), ((1, -2), (-1, 2)),
    ((2, 1), (-2, -1)), ((2, -1), (-2, 1)), ((0, 3), (0, -3)), ((3, 0), (-3, 0)),
)  # fmt: skip


def _predictor(image: Floats) -> Floats:
    """How a pixel is best predicted from its neighbours: twelve weights and what is left.

    Blur, sharpening and interpolation change the weights, whatever the picture shows (Popescu &
    Farid 2005, IEEE TSP 53:758).
    """
    count, rows, columns = image.shape

    def moved(y: int, x: int) -> Floats:
        return image[:, 3 + y : rows - 3 + y, 3 + x : columns - 3 + x].reshape(count, -1)

    middle = moved(0, 0)
    around = np.stack(
        [sum(moved(*place) for place in pair) / 2 - middle for pair in _NEIGHBOURS], axis=1
    )
    # weights that add up to 1: the mean of the picture says nothing
    base, others = around[:, 0], around[:, 1:] - around[:, :1]
    gram = np.einsum("nkp,nlp->nkl", others, others, optimize=True)
    right = np.einsum("nkp,np->nk", others, -base, optimize=True)
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None] / gram.shape[1] + _TINY
    weights = np.linalg.solve(gram + 1e-4 * size * np.eye(gram.shape[1]), right[:, :, None])[
        :, :, 0
    ]
    left = base + np.einsum("nkp,nk->np", others, weights)
    rest = np.log((left**2).mean(axis=1) + _TINY) - np.log((base**2).mean(axis=1) + _TINY)
    return np.hstack([weights, rest[:, None]])
