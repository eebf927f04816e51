"""Text burned into pixels: how often words are seen, and how often none are taken for some.

Phantoms, and real slices where HEPATICA_TEST_DATA names them. Words are drawn in several values and
sizes, in a corner and over the body.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ml.ground.errors import HepaticaError
from ml.images import dicom
from ml.images.burned_in import has_text
from ml.phantom import series
from ml.statistics.proportion import wilson_limits

Pixels = npt.NDArray[np.int16]
PATIENTS = 12
"""Of each class of phantoms."""
_WORDS = "DOE^JANE 1961"
_INKS = ((3071, 14), (1000, 12), (255, 20), (0, 13), (-1024, 16))
"""HU and size in pixels; the last two of the first three stand over the body."""


def found() -> Iterator[str]:
    """Hits and false alarms, each with its count and a 95 % interval."""
    slices = [*_phantoms(), *_real()]
    for source in ("phantom", "real"):
        plain = [pixels for where, pixels in slices if where == source]
        if not plain:
            yield f"{source}: none here (HEPATICA_TEST_DATA)"
            continue
        yield f"{source}, no words: {_share([has_text(one) for one in plain])} taken for text"
        for value, size in _INKS:
            seen = [has_text(_drawn(one, value, size)) for one in plain if min(one.shape) >= 200]
            yield f"{source}, words of {value} HU, {size} px: {_share(seen)} seen"


def _share(seen: list[bool]) -> str:
    low, high = wilson_limits(sum(seen), len(seen))
    return f"{sum(seen)} of {len(seen)} ({100 * low:.1f} to {100 * high:.1f} %)"


def _drawn(pixels: Pixels, value: int, size: int) -> Pixels:
    rows, columns = pixels.shape
    at = (columns // 3, rows // 2) if value in (255, -1024) else (6, 6)
    ink = Image.new("1", (columns, rows))
    ImageDraw.Draw(ink).text(at, _WORDS, fill=1, font=ImageFont.load_default(size=size))
    return np.where(np.asarray(ink), np.int16(value), pixels)


def _phantoms() -> Iterator[tuple[str, Pixels]]:
    counts = dict.fromkeys(("cyst", "metastasis", "hemangioma"), PATIENTS)
    with tempfile.TemporaryDirectory() as folder:
        for _ in series.write_cohort(counts, 4242, Path(folder), key_slices_only=True):
            pass
        yield from (("phantom", pixels) for pixels in _read(Path(folder)))


def _real() -> Iterator[tuple[str, Pixels]]:
    if shared := os.environ.get("HEPATICA_TEST_DATA"):
        yield from (("real", pixels) for pixels in _read(Path(shared) / "dicom"))


def _read(folder: Path) -> Iterator[Pixels]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                yield from (one.pixels for one in dicom.read(path.read_bytes(), path.name))
            except HepaticaError:
                continue
