"""Recognition of pictures that are being read: how often a changed copy is found, and another not.

Real nodules and liver slices where HEPATICA_TEST_DATA names them, else phantoms alone. Half of the
pictures are known; a change is made to each known one, and the other half are strangers.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench import pool
from ml.images import roi
from ml.phantom.series import draw_lesion_slices
from ml.statistics.proportion import wilson_limits
from ml.statistics.recognition import Recognition

Grey = npt.NDArray[np.uint8]
PICTURES = 50
"""Of each source; half of them known."""
_SIDE = 64


def _resized(grey: Grey, width: int = _SIDE, height: int = _SIDE) -> Grey:
    picture = Image.fromarray(np.ascontiguousarray(grey))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def _jpeg(grey: Grey, quality: int) -> Grey:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def _tilted(grey: Grey, degrees: float) -> Grey:
    return np.asarray(Image.fromarray(grey).rotate(degrees, Image.Resampling.BICUBIC))


def _noisy(grey: Grey) -> Grey:
    noise = np.random.default_rng(1).normal(0, 5, grey.shape)
    return np.clip(grey + noise, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Grey], Grey]] = {
    "as it is": lambda grey: grey,
    "brightened": lambda grey: (0.7 * grey + 60).astype(np.uint8),
    "mirrored": lambda grey: np.ascontiguousarray(grey[:, ::-1]),
    "turned": lambda grey: np.ascontiguousarray(np.rot90(grey)),
    "cropped": lambda grey: _resized(grey[10:54, 8:52]),
    "minified by a third": lambda grey: _resized(np.pad(grey, 16, mode="edge")),
    "minified to half": lambda grey: _resized(np.pad(grey, 32, mode="edge")),
    "shifted": lambda grey: np.roll(grey, (4, -3), (0, 1)),
    "stretched": lambda grey: _resized(_resized(grey, 72, 64)[:, 4:68]),
    "tilted by 5 degrees": lambda grey: _tilted(grey, 5),
    "tilted by 10 degrees": lambda grey: _tilted(grey, 10),
    "blurred": lambda grey: gaussian_filter(grey, 1.0),
    "noisy": _noisy,
    "JPEG of quality 30": lambda grey: _jpeg(grey, 30),
    "JPEG of quality 10": lambda grey: _jpeg(grey, 10),
    "mirrored, cropped, dimmed, JPEG": lambda grey: _jpeg(
        (0.8 * _resized(grey[6:58, 5:57])[::-1]).astype(np.uint8), 50
    ),
}


def found() -> Iterator[str]:
    """Each source and change (about a minute)."""
    data = os.environ.get("HEPATICA_TEST_DATA", "")
    sources = ["nodules", "liver", "phantoms"] if data else ["phantoms"]
    if not data:
        yield "HEPATICA_TEST_DATA is not set: phantoms alone"
    rows = [(source, name) for source in sources for name in (*CHANGES, "")]
    for (source, name), (hits, n, seconds) in zip(rows, pool.each(_of, rows), strict=True):
        low, high = wilson_limits(hits, n)
        what = name or "strangers, taken for a known one"
        yield (
            f"{source}, {what}: {hits} of {n} ({low:.2f} to {high:.2f}), "
            f"{1000 * seconds:.0f} ms each"
        )


def _of(row: tuple[str, str]) -> tuple[int, int, float]:
    """How many were recognised of how many, and the seconds of one look."""
    source, name = row
    pictures = _pictures(source)
    half = len(pictures) // 2
    known = _known(source)
    asked = [CHANGES[name](one) for one in pictures[:half]] if name else list(pictures[half:])
    begun = time.perf_counter()
    hits = sum(known.knows(one) for one in asked)
    return hits, len(asked), (time.perf_counter() - begun) / len(asked)


@cache
def _known(source: str) -> Recognition:
    pictures = _pictures(source)
    return Recognition(pictures[: len(pictures) // 2])


@cache
def _pictures(source: str) -> Sequence[Grey]:
    data = Path(os.environ.get("HEPATICA_TEST_DATA", "absent"))
    if source == "nodules":
        files = sorted((data / "nodules_ct64" / "images").glob("*.png"))[:PICTURES]
        return [_grey(np.asarray(Image.open(one), np.float64)) for one in files]
    if source == "liver":
        return _windows(sorted((data / "liver_slices").glob("*/images/*")))
    counts = {"cyst": PICTURES - 2 * (PICTURES // 3), "metastasis": PICTURES // 3,
              "hemangioma": PICTURES // 3}  # fmt: skip
    found = []
    for made, number, image in draw_lesion_slices(counts, 1):
        box = image.box(number)
        assert box is not None, made.patient_id
        values = roi.cut(image.hu, roi.Box(*box), image.spacing_mm, roi.AIR_HU)
        found.append(roi.to_grey(roi.normalise(values, (-150.0, 250.0))))
    return found


def _windows(files: Sequence[Path]) -> Sequence[Grey]:
    """A random window of each slice."""
    rng = np.random.default_rng(2)
    found = []
    for file in files[:PICTURES]:
        whole = np.asarray(Image.open(file).convert("F"), np.float64)
        top, left = (int(rng.integers(size // 4, 3 * size // 4 - _SIDE)) for size in whole.shape)
        found.append(_grey(whole[top : top + _SIDE, left : left + _SIDE]))
    return found


def _grey(values: npt.NDArray[np.float64]) -> Grey:
    low, high = np.quantile(values, [0.01, 0.99])
    return np.clip(255 * (values - low) / max(high - low, 1e-9), 0, 255).astype(np.uint8)
