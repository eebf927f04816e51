"""Rendered images: what a browser shows without knowing DICOM (PS3.18 8.3.5, 10.4.1.1.3)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image as Picture
from sqlalchemy.orm import Session

from app.errors import BadRequest
from app.models.cases.case import Image
from ml.images.voi import Table, VoiFunction, Window

EYE = Window(50.0, 200.0)
"""The window in HU where none is asked for and the file named neither one nor a table."""
THUMBNAIL_PX = 128
JPEG, PNG = "image/jpeg", "image/png"

_MOST_PX = 4096
_QUALITY = 90
_NUMBER = re.compile(r"[+-]?(\d{1,9}(\.\d{0,9})?|\.\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Viewport:
    """A size to fit into, and the part of the picture: x, y, width, height; below zero mirrored.

    ``part`` is None for the whole picture; so is each of its numbers where none is given.
    """

    width: int
    height: int
    part: tuple[float | None, float | None, float | None, float | None] = (None,) * 4


@dataclass(frozen=True)
class Rendering:
    """How an image is to be shown."""

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = _QUALITY

    @classmethod
    def of(cls, parameters: Mapping[str, str], default: Viewport | None = None) -> Rendering:
        """From the parameters window, viewport and quality of a request.

        Raises:
            BadRequest: one of them cannot be read.
        """
        return cls(
            _window(parameters.get("window", "")),
            _viewport(parameters.get("viewport", "")) or default,
            _quality(parameters.get("quality", "")),
        )

    def drawn(self, session: Session, image: Image, kind: str) -> bytes:
        """An image as JPEG or PNG.

        Raises:
            BadRequest: the part of the picture lies outside of it.
        """
        values = image.pixels(session)
        usual: Window | Table
        if image.calibrated:
            usual = next(iter(image.windows), None) or image.table or EYE
        else:
            usual = Window.of_range(0.0, float(np.iinfo(values.dtype).max))
        grey = Picture.fromarray((self.window or usual).greys(values))
        shown = grey if self.viewport is None else _fitted(grey, self.viewport, image.spacing_mm)
        stream = io.BytesIO()
        if kind == PNG:
            shown.save(stream, "PNG", compress_level=1)
        else:
            shown.save(stream, "JPEG", quality=self.quality)
        return stream.getvalue()


def _fitted(
    grey: Picture.Image, to: Viewport, spacing_mm: tuple[float, float] | None
) -> Picture.Image:
    """The part that is asked for, as large as fits, with lengths in both directions alike."""
    x, y, width, height = to.part
    left, top = x or 0.0, y or 0.0
    wide = grey.width - left if width is None else width
    high = grey.height - top if height is None else height
    right, bottom = left + abs(wide), top + abs(high)
    inside = left >= 0 and top >= 0 and right <= grey.width and bottom <= grey.height
    if not inside or abs(wide) < 1 or abs(high) < 1:
        raise BadRequest(
            f"viewport names a part of the picture that lies outside of it or holds no pixel; it "
            f"has {grey.width} × {grey.height}."
        )
    rows, columns = spacing_mm or (1.0, 1.0)
    length, depth = abs(wide) * columns, abs(high) * rows
    scale = min(to.width / length, to.height / depth)
    size = max(1, round(length * scale)), max(1, round(depth * scale))
    shown = grey.resize(size, Picture.Resampling.BILINEAR, box=(left, top, right, bottom))
    if wide < 0:
        shown = shown.transpose(Picture.Transpose.FLIP_LEFT_RIGHT)
    if high < 0:
        shown = shown.transpose(Picture.Transpose.FLIP_TOP_BOTTOM)
    return shown


def _window(told: str) -> Window | None:
    if not told:
        return None
    parts = [part.strip() for part in told.split(",")]
    functions = {one.value: one for one in VoiFunction}
    function = functions.get(parts[2].lower() if len(parts) == 3 else VoiFunction.LINEAR)
    numbers = [_number(part) for part in parts[:2]]
    center, width = numbers if len(numbers) == 2 else (None, None)
    if center is not None and width is not None and function is not None and len(parts) <= 3:
        try:
            return Window(center, width, function)
        except ValueError:
            pass
    raise BadRequest(
        "window must be center,width or center,width,function: a function is linear (width from "
        "1), linear-exact or sigmoid (width above 0)."
    )


def _viewport(told: str) -> Viewport | None:
    if not told:
        return None
    parts = [part.strip() for part in told.split(",")]
    numbers = [_number(part) if part else None for part in parts]
    read = all(number is not None or not part for number, part in zip(numbers, parts, strict=True))
    size = numbers[:2]
    if read and len(parts) in (2, 4, 6) and all(_is_size(one) for one in size):
        part = (*numbers[2:], *(None,) * (6 - len(numbers)))
        x, y, width, height = part
        return Viewport(int(size[0] or 0), int(size[1] or 0), (x, y, width, height))
    raise BadRequest(
        f"viewport must be width,height in whole pixels from 1 to {_MOST_PX}, then, where only a "
        "part is wanted, x,y,width,height in pixels of the image."
    )


def _is_size(value: float | None) -> bool:
    return value is not None and value.is_integer() and 1 <= value <= _MOST_PX


def _quality(told: str) -> int:
    if not told:
        return _QUALITY
    number = _number(told)
    if number is None or not number.is_integer() or not 1 <= number <= 100:
        raise BadRequest("quality must be a whole number from 1 to 100.")
    return int(number)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None
