"""PNG and JPEG as uncalibrated grey values.

Colour becomes luminance (ITU-R BT.601), transparency is put on black, an EXIF orientation is
obeyed as every viewer obeys it. The size is asked of the header before anything is decoded.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ml.images import codestream
from ml.images.codestream import Coding, StreamHeader
from ml.images.ct_slice import (
    MAX_PIXELS,
    MAX_SIDE_PX,
    NARROW,
    Corrupt,
    CTSlice,
    DicomError,
    NotAnImage,
    TooLarge,
)

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

_USED_SHARE = 0.10
"""Of a 16-bit picture's range: under it 12 bits, or HU with an offset, were saved unscaled."""


def refuse_large(rows: int, columns: int, name: str) -> None:
    """Raises TooLarge beyond 4096 pixels a side, Corrupt for an empty image."""
    if rows <= 0 or columns <= 0:
        raise Corrupt(f"{name}: the header says {columns} × {rows} pixels; export it again.")
    if max(rows, columns) > MAX_SIDE_PX:
        raise TooLarge(
            f"{name}: {columns} × {rows} pixels; at most {MAX_SIDE_PX} × {MAX_SIDE_PX} are read. "
            "Export the slice at its original size."
        )


def refuse_many(frames: int, rows: int, columns: int, most: int, name: str) -> None:
    """Raises TooLarge where the frames together have more than ``most`` pixels."""
    if frames * rows * columns <= most:
        return
    if most < MAX_PIXELS:
        raise TooLarge(
            f"{name}: with its {frames * rows * columns / 1e6:.0f} million pixels this upload "
            "holds more than is decoded at once. Upload it by itself."
        )
    raise TooLarge(
        f"{name}: {frames} frames of {columns} × {rows} are more than {most} pixels; send at most "
        f"{most // (rows * columns)} frames in one file."
    )


def read(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> CTSlice:
    """A PNG or JPEG as uncalibrated grey: uint8, or uint16 where it has more than 8 bits.

    Raises:
        NotAnImage: neither PNG nor JPEG.
        TooLarge: over 4096 pixels a side, or over ``max_pixels``.
        Corrupt: truncated or undecodable.
    """
    if data.startswith(PNG):
        rows, columns = (int.from_bytes(data[i : i + 4], "big") for i in (20, 16))
        depth = data[24] if len(data) > 24 else 8
        deep_jpeg: StreamHeader | None = None
    elif data.startswith(JPEG):
        size = codestream.header(data)
        if size is None:
            raise Corrupt(f"{name}: this JPEG has no image in it; export it again.")
        rows, columns, depth = size.rows, size.columns, size.precision
        by_pillow = size.coding is Coding.JPEG and depth == 8 and not size.lossless
        deep_jpeg = None if by_pillow else size
        if deep_jpeg and size.components != 1:
            raise Corrupt(
                f"{name}: a colour JPEG of {depth} bits is not read; "
                "export it as 8-bit JPEG or PNG."
            )
    else:
        raise NotAnImage(f"{name} is neither PNG nor JPEG.")
    refuse_large(rows, columns, name)
    refuse_many(1, rows, columns, max_pixels, name)
    # a decoder fills what is missing with grey and may say nothing
    if data.startswith(PNG):
        whole = b"IEND" in data
    else:
        whole = data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    if not whole:
        raise Corrupt(f"{name} is cut short; send or export it again.")
    warnings: tuple[str, ...] = ()
    try:
        if deep_jpeg:
            pixels = _deep_jpeg(data, deep_jpeg)
        else:
            pixels, warnings = _pillow(data, depth)
    except (DicomError, MemoryError):
        raise
    except Exception as error:
        raise Corrupt(
            f"{name} is damaged or cut short ({_reason(error)}); export it again."
        ) from error
    if pixels.shape not in ((rows, columns), (columns, rows)):
        raise Corrupt(f"{name}: the pixels do not fill {columns} × {rows}; export it again.")
    return CTSlice(
        np.ascontiguousarray(pixels),
        calibrated=False,
        warnings=(
            "A picture without Hounsfield units and millimetres: grey values depend on the window "
            "with which it was saved.",
            *warnings,
            *_narrow(pixels),
        ),
    )


def _narrow(pixels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Said of a picture whose grey values lie so close together that no network sees them."""
    low, high = np.percentile(pixels, (0.1, 99.9))
    if low == high:
        return (f"Every pixel has the same grey value ({low:.0f}): there is nothing to see.",)
    share = (high - low) / float(np.iinfo(pixels.dtype).max)
    if pixels.dtype == np.uint8 or share >= _USED_SHARE:
        return ()
    return (
        f"{NARROW} {share:.0%} of its 16-bit grey range ({low:.0f} to {high:.0f}), as "
        "when 12 bits or HU with an offset are saved unscaled: its contrast is lost, and a score "
        "of it means nothing. Export it windowed to the full range, or give the DICOM slice.",
    )


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _pillow(data: bytes, depth: int) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    warnings: list[str] = []
    with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as opened:
        if getattr(opened, "n_frames", 1) > 1:
            warnings.append("An animation: only its first image is used.")
        opened.load()
        picture: Image.Image = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):
            grey = np.asarray(picture)
            return np.clip(grey, 0, 65535).astype(np.uint16), tuple(warnings)
        if depth == 16:
            warnings.append("16-bit colour was reduced to 8 bits.")
        if picture.mode not in ("1", "L", "RGB"):
            has_alpha = "A" in picture.mode or "transparency" in picture.info
            picture = picture.convert("RGBA" if has_alpha else "RGB")
        if picture.mode == "RGBA":
            black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
            picture = Image.alpha_composite(black, picture).convert("RGB")
        return np.asarray(picture.convert("L")), tuple(warnings)


def _deep_jpeg(data: bytes, announced: StreamHeader) -> npt.NDArray[Any]:
    """A lossless or 12-bit JPEG; 9 to 15 bits are spread over the full range of uint16."""
    whole = codestream.trimmed(data)
    grey = codestream.decode(data if whole is None else whole[0], announced)
    if announced.precision <= 8:
        return grey.astype(np.uint8)
    top = (1 << announced.precision) - 1
    spread: npt.NDArray[Any] = np.rint(np.minimum(grey, top) * (65535 / top))
    return spread.astype(np.uint16)
