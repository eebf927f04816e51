"""PNG and JPEG as uncalibrated grey values.

Colour becomes luminance (ITU-R BT.601), transparency is put on black, an EXIF orientation is
obeyed as every viewer obeys it. The size is asked of the header before anything is decoded.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ml.images import burned_in, codestream, percentiles
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

PICTURE = (
    "A picture without Hounsfield units and millimetres: grey values depend on the window with "
    "which it was saved."
)
_TRANSPARENT = "It has transparent pixels, which count as black."
_COLOURED_FROM = 48
"""Difference of the channels of a pixel; compression of grey leaves less."""
_END = b"\0\0\0\0IEND\xaeB`\x82"
_LAST_FILTER = 4
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
"""First column, first row, steps across and down of the passes of an interlaced PNG."""
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
            if data.startswith(PNG):
                _refuse_short(data)
            elif codestream.ends_early(data, pixels, lambda more: _pillow(more, depth)[0]):
                raise ValueError("it ends before its last pixel")
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
            PICTURE,
            *warnings,
            *_narrow(pixels),
            *((burned_in.SUSPECTED,) if burned_in.has_text(pixels) else ()),
        ),
    )


def _narrow(pixels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Said of a picture whose grey values lie so close together that no network sees them."""
    low, high = percentiles.span(pixels, 0.1, 99.9)
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
    if isinstance(error, UnidentifiedImageError):  # its own words quote where in memory it is
        return "no picture can be made out in it"
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _pillow(data: bytes, depth: int) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    warnings: list[str] = []
    with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as opened:
        if getattr(opened, "n_frames", 1) > 1:
            warnings.append("It holds several images: only the first is used.")
        opened.load()
        picture: Image.Image = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):
            grey = np.clip(np.asarray(picture), 0, 65535).astype(np.uint16)
            clear = picture.info.get("transparency")
            if isinstance(clear, int) and (grey == clear).any():
                warnings.append(_TRANSPARENT)
                grey[grey == clear] = 0
            return grey, tuple(warnings)
        if depth == 16:
            warnings.append("16-bit colour was reduced to 8 bits.")
        if "A" in picture.mode or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            if int(np.asarray(picture)[..., 3].min()) < 255:
                warnings.append(_TRANSPARENT)
            black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
            picture = Image.alpha_composite(black, picture).convert("RGB")
        elif picture.mode not in ("1", "L"):
            picture = picture.convert("RGB")
        if picture.mode == "RGB" and _is_coloured(np.asarray(picture)):
            warnings.append(
                "A picture in colour: only its brightness is used. If marks or a colour scale lie "
                "over the slice, export it without them."
            )
        return np.asarray(picture.convert("L")), tuple(warnings)


def _is_coloured(picture: npt.NDArray[Any]) -> bool:
    """Whether (rows, columns, 3) is more than grey with the traces that compression leaves."""
    span = picture.max(axis=2).astype(np.int16) - picture.min(axis=2)
    return bool((span > _COLOURED_FROM).sum() > picture.shape[0] * picture.shape[1] / 1000)


def _refuse_short(data: bytes) -> None:
    """Raises ValueError where a PNG has fewer bytes of pixels than its size asks for.

    The decoder leaves what is missing black and says nothing.
    """
    at, packed = len(PNG), []
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kind, inside = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            header = inside
        elif kind == b"IDAT":
            packed.append(inside)
        at += 12 + size
    wanted = _bytes_of_png(header)
    inflate, found = zlib.decompressobj(), 0
    for piece in packed:
        while piece and found < wanted:
            found += len(inflate.decompress(piece, 2**20))
            piece = inflate.unconsumed_tail
    found += len(inflate.flush()) if found < wanted else 0
    if found < wanted:
        raise ValueError("it ends before its last pixel")


def is_plain(data: bytes, most_pixels: int) -> bool:
    """Whether this is a PNG of header, pixels and end alone, with as many bytes as it announces.

    So it holds nothing that a decoder could be misled by: no palette, profile, text or animation,
    no passes, no piece longer than it says, no more and no fewer pixels.
    """
    if not data.startswith(PNG) or data[8:16] != b"\0\0\0\x0dIHDR":
        return False
    columns, rows = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    depth, colours, *others = data[24:29]
    if not 0 < rows * columns <= most_pixels or depth not in (8, 16) or colours or any(others):
        return False
    at, packed = len(PNG) + 25, []
    while data[at + 4 : at + 8] == b"IDAT":
        size = int.from_bytes(data[at : at + 4], "big")
        packed.append(data[at + 8 : at + 8 + size])
        at += 12 + size
    if data[at:] != _END:
        return False
    wanted, inflate = _bytes_of_png(data[16:29]), zlib.decompressobj()
    try:
        found = inflate.decompress(b"".join(packed), wanted + 1)
    except zlib.error:
        return False
    whole = len(found) == wanted and inflate.eof and not inflate.unused_data
    return whole and max(found[:: wanted // rows]) <= _LAST_FILTER


def _bytes_of_png(header: bytes) -> int:
    """Bytes of the rows of all passes, unpacked (PNG specification, 7 and 8)."""
    columns, rows = (int.from_bytes(header[i : i + 4], "big") for i in (0, 4))
    bits = header[8] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[header[9]]
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        wide, high = -(-(columns - left) // across), -(-(rows - top) // down)
        if wide > 0 and high > 0:
            total += high * (1 + -(-wide * bits // 8))
    return total


def _deep_jpeg(data: bytes, announced: StreamHeader) -> npt.NDArray[Any]:
    """A lossless or 12-bit JPEG; 9 to 15 bits are spread over the full range of uint16."""
    whole = codestream.trimmed(data)
    grey = codestream.decode(data if whole is None else whole[0], announced)
    if announced.precision <= 8:
        return grey.astype(np.uint8)
    top = (1 << announced.precision) - 1
    spread: npt.NDArray[Any] = np.rint(np.minimum(grey, top) * (65535 / top))
    return spread.astype(np.uint16)
