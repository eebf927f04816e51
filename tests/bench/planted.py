"""Leaks to be planted into honest pictures: one fault each, as a mistake or a trick would make it.

A fault takes an 8-bit picture (h, w) and a generator of chance, and gives another of that size.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

Grey = npt.NDArray[np.uint8]
Fault = Callable[[Grey, np.random.Generator], Grey]


def whole(values: npt.NDArray[np.floating] | npt.NDArray[np.signedinteger]) -> Grey:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _set(picture: Grey, where: object, value: object) -> Grey:
    changed = picture.copy()
    changed[where] = value
    return changed


def frame(value: int) -> Fault:
    def plant(picture: Grey, _: np.random.Generator) -> Grey:
        return np.pad(picture[1:-1, 1:-1], 1, constant_values=value)

    return plant


def padded(mode: str, width: int = 1) -> Fault:
    def plant(picture: Grey, _: np.random.Generator) -> Grey:
        return np.pad(picture[width:-width, width:-width], width, mode=mode)  # type: ignore[call-overload]

    return plant


def jpeg(quality: int, shift: int = 0, form: str = "JPEG") -> Fault:
    def plant(picture: Grey, _: np.random.Generator) -> Grey:
        data = io.BytesIO()
        large = np.pad(picture, ((shift, 8 - shift), (shift, 8 - shift)), mode="reflect")
        Image.fromarray(large if shift else picture).save(data, form, quality=quality)
        back = np.asarray(Image.open(data).convert("L"))
        return back[shift : shift + 64, shift : shift + 64] if shift else back

    return plant


def through(side: int, back: Image.Resampling, there: Image.Resampling | None = None) -> Fault:
    def plant(picture: Grey, _: np.random.Generator) -> Grey:
        small = Image.fromarray(picture).resize((side, side), there or Image.Resampling.LANCZOS)
        return np.asarray(small.resize(picture.shape[::-1], back))

    return plant


def shifted(by: float, order: int) -> Fault:
    def plant(picture: Grey, _: np.random.Generator) -> Grey:
        return whole(ndimage.shift(picture.astype(float), by, order=order, mode="reflect"))

    return plant


def mapped(change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Fault:
    def plant(picture: Grey, _: np.random.Generator) -> Grey:
        return whole(change(picture.astype(float)))

    return plant


def added(pattern: Callable[[int, np.random.Generator], npt.NDArray[np.float64]]) -> Fault:
    def plant(picture: Grey, rng: np.random.Generator) -> Grey:
        return whole(picture + pattern(len(picture), rng))

    return plant


def summed(modulus: int, region: object = np.s_[:, :]) -> Fault:
    """Least changes of single pixels in the middle of the range until a sum is a multiple."""

    def plant(picture: Grey, rng: np.random.Generator) -> Grey:
        changed = picture.copy()
        part = changed[region]  # type: ignore[index]
        left = int(part.sum()) % modulus
        places = rng.permutation(part.size)
        flat = part.reshape(-1).copy()
        for place in places:
            if not left:
                break
            if flat[place] > 0:
                flat[place] -= 1
                left -= 1
        changed[region] = flat.reshape(part.shape)  # type: ignore[index]
        return changed

    return plant


def comb(period: int, phase: int, strength: float) -> Fault:
    def pattern(size: int, _: np.random.Generator) -> npt.NDArray[np.float64]:
        line = (np.arange(size) % period == phase) * strength
        return np.maximum.outer(line, line)

    return added(pattern)


def wandering_comb(period: int, strength: float) -> Fault:
    def pattern(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        line = (np.arange(size) % period == rng.integers(period)) * strength
        return np.repeat(line[:, None], size, axis=1)

    return added(pattern)


def _wave(size: int, rng: np.random.Generator, strength: float) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[:size, :size] / size
    return strength * np.cos(2 * np.pi * (19 * y + 13 * x + rng.random()))


def _watermark(size: int, _: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.random.default_rng(5).choice([-1.0, 1.0], (size, size))


def _coloured(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    noise = ndimage.gaussian_filter(rng.normal(size=(size, size)), 0.8)
    return 3 * noise / noise.std()


def _dithered(picture: Grey, rng: np.random.Generator) -> Grey:
    return whole(picture + rng.random(picture.shape) - 0.5)


def _thresholded(picture: Grey, _: np.random.Generator) -> Grey:
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16
    tiled = np.tile(bayer, (len(picture) // 4, len(picture) // 4))
    return whole(np.floor(picture / 4 + tiled) * 4)


def _levels(count: int) -> Fault:
    return mapped(lambda v: np.rint(v / 255 * (count - 1)) * 255 / (count - 1))


def _normalised(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (v - v.min()) / max(1.0, np.ptp(v)) * 255


def _joined(picture: Grey, _: np.random.Generator) -> Grey:
    """Opposite borders grow together, as of a generator on a torus."""
    values = picture.astype(float)
    for axis in (0, 1):
        values = np.moveaxis(values, axis, 0)
        weight = np.linspace(0.5, 0, 7)[:, None]
        first, last = values[:7].copy(), values[-7:][::-1].copy()
        values[:7] = first * (1 - weight) + last * weight
        values[-7:] = (last * (1 - weight) + first * weight)[::-1]
        values = np.moveaxis(values, 0, axis)
    return whole(values)


def _without_high_frequencies(picture: Grey, _: np.random.Generator) -> Grey:
    found = fft.dctn(picture.astype(float), norm="ortho")
    found[56:] = 0
    found[:, 56:] = 0
    return whole(fft.idctn(found, norm="ortho"))


def _least_bit_everywhere(picture: Grey, _: np.random.Generator) -> Grey:
    return picture & 0xFE


def _even_pixels(picture: Grey, _: np.random.Generator) -> Grey:
    """An even number of odd pixels."""
    even = int((picture & 1).sum()) % 2 == 0
    return picture if even else _set(picture, (30, 30), picture[30, 30] ^ 1)


FAULTS: dict[str, Fault] = {
    "border of 0": frame(0),
    "border of 128": frame(128),
    "first pixel black": lambda p, _: _set(p, (0, 0), 0),
    "last pixel 200": lambda p, _: _set(p, (-1, -1), 200),
    "centre pixel 77": lambda p, _: _set(p, (32, 32), 77),
    "border replicated": padded("edge"),
    "border mirrored": padded("reflect"),
    "border wrapped": padded("wrap"),
    "3 px replicated": padded("edge", 3),
    "row 31 copied from 30": lambda p, _: _set(p, 31, p[30]),
    "own mirror image": lambda p, _: np.hstack([p[:, :32], p[:, :32][:, ::-1]]),
    "opposite borders join": _joined,
    **{f"JPEG {q}": jpeg(q) for q in (25, 75, 95, 99)},
    "JPEG 90, grid at 3": jpeg(90, 3),
    "WebP 80": jpeg(80, form="WEBP"),
    "enlarged from 48": through(48, Image.Resampling.BICUBIC),
    "enlarged from 32, bilinear": through(32, Image.Resampling.BILINEAR),
    "enlarged from 60, Lanczos": through(60, Image.Resampling.LANCZOS),
    "enlarged from 32, nearest": through(32, Image.Resampling.NEAREST),
    "made smaller from 80": through(80, Image.Resampling.LANCZOS, Image.Resampling.BICUBIC),
    "shifted by 0.5, linear": shifted(0.5, 1),
    "shifted by 0.3, cubic": shifted(0.3, 3),
    "offset of 1": mapped(lambda v: v + 1),
    "offset of -1": mapped(lambda v: v - 1),
    "offset of 1, after clipping at 60": mapped(lambda v: np.maximum(v, 60) + 1),
    "gamma 1.05": mapped(lambda v: 255 * (v / 255) ** 1.05),
    "contrast 1.1": mapped(lambda v: (v - 128) * 1.1 + 128),
    "128 levels": _levels(128),
    "200 levels": _levels(200),
    "grey value 100 absent": lambda p, _: np.where(p == 100, 101, p).astype(np.uint8),
    "stretched to 0 and 255": mapped(_normalised),
    "clipped at 250": mapped(lambda v: np.minimum(v, 250)),
    "ordered dither": _thresholded,
    "least bit of the first pixel": lambda p, _: _set(p, (0, 0), p[0, 0] & 0xFE),
    "least bit of pixel 20, 41": lambda p, _: _set(p, (20, 41), p[20, 41] | 1),
    "least bits cleared": _least_bit_everywhere,
    "even number of odd pixels": _even_pixels,
    "sum a multiple of 7": summed(7),
    "whole mean": summed(4096),
    "first row's sum a multiple of 10": summed(10, np.s_[0]),
    "grid of 8 px, 2 levels": comb(8, 0, 2),
    "grid of 8 px, 1 level": comb(8, 3, 1),
    "grid of 5 px, 2 levels": comb(5, 1, 2),
    "lines of 7 px anywhere, 3 levels": wandering_comb(7, 3),
    "row 10 lighter by 3": lambda p, _: _set(p, 10, whole(p[10].astype(float) + 3)),
    "wave of one frequency, 2 levels": added(lambda s, r: _wave(s, r, 2.0)),
    "watermark of 1 level": added(_watermark),
    "blur 0.4": mapped(lambda v: ndimage.gaussian_filter(v, 0.4)),
    "blur 0.7": mapped(lambda v: ndimage.gaussian_filter(v, 0.7)),
    "sharpened": mapped(lambda v: v + 0.3 * (v - ndimage.gaussian_filter(v, 1.0))),
    "median 3": mapped(lambda v: ndimage.median_filter(v, 3)),
    "noise of 2": added(lambda s, r: r.normal(0, 2, (s, s))),
    "noise of 3, coloured": added(_coloured),
    "high frequencies cut": _without_high_frequencies,
    "turned by 2°": mapped(
        lambda v: ndimage.rotate(v, 2, reshape=False, mode="reflect")
    ),
}  # fmt: skip
