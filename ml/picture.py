"""PNG and JPEG as uncalibrated grey values, and the size that a JPEG stream announces.

Colour becomes luminance (ITU-R BT.601), transparency is put on black, an EXIF orientation is
obeyed as every viewer obeys it. The size is asked of the header before anything is decoded.
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ml.image import MAX_SIDE_PX, Corrupt, CTSlice, DicomError, NotAnImage, TooLarge

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

_J2K = b"\xff\x4f\xff\x51"


class StreamSize(NamedTuple):
    """What a JPEG, JPEG-LS or JPEG 2000 stream announces; ``lossless`` is JPEG process 14."""

    rows: int
    columns: int
    precision: int
    components: int
    lossless: bool = False


def stream_size(stream: bytes) -> StreamSize | None:
    """Read the frame header (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2, 15444-1 A.5.1); None: none."""
    at = stream.find(_J2K, 0, 1024)
    if at >= 0 and len(stream) >= at + 43:
        siz = stream[at + 4 : at + 43]
        width, height, left, top = (int.from_bytes(siz[i : i + 4], "big") for i in range(4, 20, 4))
        components = int.from_bytes(siz[36:38], "big")
        return StreamSize(height - top, width - left, (siz[38] & 0x7F) + 1, components)
    if stream[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            return StreamSize(
                int.from_bytes(stream[at + 5 : at + 7], "big"),
                int.from_bytes(stream[at + 7 : at + 9], "big"),
                stream[at + 4],
                stream[at + 9],
                marker == 0xC3,
            )
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def refuse_large(rows: int, columns: int, name: str) -> None:
    """Raises TooLarge beyond 4096 pixels a side, Corrupt for an empty image."""
    if rows <= 0 or columns <= 0:
        raise Corrupt(f"{name}: the header says {columns} × {rows} pixels; export it again.")
    if max(rows, columns) > MAX_SIDE_PX:
        raise TooLarge(
            f"{name}: {columns} × {rows} pixels; at most {MAX_SIDE_PX} × {MAX_SIDE_PX} are read. "
            "Export the slice at its original size."
        )


def read(data: bytes, name: str) -> CTSlice:
    """A PNG or JPEG as uncalibrated grey: uint8, or uint16 where it has more than 8 bits.

    Raises:
        NotAnImage: neither PNG nor JPEG.
        TooLarge: over 4096 pixels a side.
        Corrupt: truncated or undecodable.
    """
    if data.startswith(PNG):
        rows, columns = (int.from_bytes(data[i : i + 4], "big") for i in (20, 16))
        depth = data[24] if len(data) > 24 else 8
        deep_jpeg = False
    elif data.startswith(JPEG):
        size = stream_size(data)
        if size is None:
            raise Corrupt(f"{name}: this JPEG has no image in it; export it again.")
        rows, columns, depth = size.rows, size.columns, size.precision
        deep_jpeg = depth != 8 or size.lossless
        if deep_jpeg and size.components != 1:
            raise Corrupt(
                f"{name}: a colour JPEG of {depth} bits is not read; "
                "export it as 8-bit JPEG or PNG."
            )
    else:
        raise NotAnImage(f"{name} is neither PNG nor JPEG.")
    refuse_large(rows, columns, name)
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
            pixels = _deep_jpeg(data, depth)
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
        ),
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


def _deep_jpeg(data: bytes, depth: int) -> npt.NDArray[Any]:
    """A lossless or 12-bit JPEG; 9 to 15 bits are spread over the full range of uint16."""
    from libjpeg.utils import decode

    grey: npt.NDArray[Any] = np.squeeze(np.asarray(decode(data)))
    if depth <= 8:
        return grey.astype(np.uint8)
    top = (1 << depth) - 1
    spread: npt.NDArray[Any] = np.rint(np.minimum(grey, top) * (65535 / top))
    return spread.astype(np.uint16)
