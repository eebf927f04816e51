"""JPEG, JPEG-LS and JPEG 2000 streams: what their headers announce, and their decoding.

The announced size is compared with the file's before anything is decoded, because a decoder
reserves what the stream asks for, fills with grey what is missing, and says nothing.

ValueError
 └ StreamError   a stream that its decoder cannot read; never leaves `dicom` and `picture`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

_J2K = b"\xff\x4f\xff\x51"
_LOSSLESS_FRAMES = (0xC3, 0xC7, 0xCB, 0xCF)
_NO_PICTURE = b"\x55\x33\x0f\xa5" * 64
"""Bits that a decoder takes for blocks where the stream's own have ended too early."""
_MOST_TILES = 65_535
"""Of a JPEG 2000 stream (ISO/IEC 15444-1 A.4.2)."""


class Coding(StrEnum):
    """Which standard a stream follows."""

    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"


class StreamHeader(NamedTuple):
    """What a stream announces.

    ``signed`` is None where the coding cannot say it (JPEG, JPEG-LS); ``lossless`` is JPEG's
    process 14; ``tiles`` are those of JPEG 2000; ``lossy``: it cannot give back what was coded.
    """

    coding: Coding
    rows: int
    columns: int
    precision: int
    components: int
    lossless: bool = False
    signed: bool | None = None
    tiles: int = 1
    lossy: bool = False


class StreamError(ValueError):
    """A stream that its decoder cannot read; the message is for people."""


def header(stream: bytes) -> StreamHeader | None:
    """Read the frame header (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2, 15444-1 A.5.1); None: none."""
    at = stream.find(_J2K, 0, 1024)
    if at >= 0:
        found = _size_of_2000(stream[at + 4 : at + 43])
        return found and found._replace(lossy=_is_irreversible(stream, at))
    if stream[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            is_ls = marker == 0xF7
            return StreamHeader(
                Coding.JPEG_LS if is_ls else Coding.JPEG,
                rows=int.from_bytes(stream[at + 5 : at + 7], "big"),
                columns=int.from_bytes(stream[at + 7 : at + 9], "big"),
                precision=stream[at + 4],
                components=stream[at + 9],
                lossless=marker == 0xC3,
                lossy=_is_near(stream, at) if is_ls else marker not in _LOSSLESS_FRAMES,
            )
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _segments(stream: bytes, at: int) -> Iterator[tuple[int, int]]:
    """(marker, offset of what follows its length) of the segments from ``at`` up to the data."""
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] == 0xFF:
            at += 1
            continue
        yield stream[at + 1], at + 4
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")


def _is_near(stream: bytes, at: int) -> bool:
    """Whether JPEG-LS may differ from what was coded: NEAR of the scan (ISO/IEC 14495-1 C.2.3)."""
    for marker, inside in _segments(stream, at):
        if marker == 0xDA and inside < len(stream):
            return stream[inside + 1 + 2 * stream[inside] :][:1] != b"\0"
    return False


def _is_irreversible(stream: bytes, at: int) -> bool:
    """Whether JPEG 2000 takes the 9-7 wavelet, COD of the main header (ISO/IEC 15444-1 A.6.1)."""
    for marker, inside in _segments(stream, at + 2):
        if marker == 0x90:  # the first tile
            break
        if marker == 0x52:
            return stream[inside + 9 : inside + 10] == b"\0"
    return False


def _size_of_2000(marker: bytes) -> StreamHeader | None:
    if len(marker) < 39:
        return None
    width, height, left, top, tile_width, tile_height, tile_left, tile_top = (
        int.from_bytes(marker[i : i + 4], "big") for i in range(4, 36, 4)
    )
    if not tile_width or not tile_height:
        return None
    across = -(-(width - tile_left) // tile_width)
    down = -(-(height - tile_top) // tile_height)
    return StreamHeader(
        Coding.JPEG_2000,
        rows=height - top,
        columns=width - left,
        precision=(marker[38] & 0x7F) + 1,
        components=int.from_bytes(marker[36:38], "big"),
        signed=bool(marker[38] & 0x80),
        tiles=across * down,
    )


def trimmed(stream: bytes) -> tuple[bytes, bytes] | None:
    """A stream up to its end marker, and the padding after it; None where it has no end marker.

    Padding is zeros, or 0xFF as some encoders leave it: nothing else may follow the end.
    """
    end = stream.rfind(b"\xff\xd9")
    if end < 0 or stream[end + 2 :].strip(b"\x00\xff"):
        return None
    return stream[: end + 2], stream[end + 2 :]


def decode(stream: bytes, announced: StreamHeader) -> Pixels:
    """The pixels of a stream, (rows, columns) for one component, as the stream codes them.

    Signed JPEG 2000 comes as a signed type; anything else as an unsigned one, whatever the
    values mean.

    Args:
        announced: what ``header`` said of the stream, after the caller has judged its size.

    Raises:
        StreamError: the stream cannot be decoded, or gives other pixels than it announced.
    """
    if announced.tiles > _MOST_TILES:
        raise StreamError(f"it announces {announced.tiles} tiles")
    pixels = _decoded(stream, announced)
    if announced.coding is Coding.JPEG and ends_early(
        stream, pixels, lambda more: _decoded(more, announced)
    ):
        raise StreamError("it ends before its last pixel")
    shape = (announced.rows, announced.columns)
    wanted = shape if announced.components == 1 else (*shape, announced.components)
    if pixels.shape != wanted or pixels.dtype.kind not in "iu":
        raise StreamError(f"it gives {pixels.shape} {pixels.dtype} where it announced {wanted}")
    return pixels


def ends_early(stream: bytes, pixels: Pixels, read: Callable[[bytes], Pixels]) -> bool:
    """Whether a JPEG has an end marker but not all of its blocks.

    The decoder fills what is missing with grey and says nothing. What stands between the last
    block and the end marker changes nothing, unless it is taken for blocks that are missing.

    Args:
        pixels: as ``read`` gave them of the whole stream.
    """
    end = stream.rfind(b"\xff\xd9")
    blocks = stream[:end].rstrip(b"\xff")  # before a marker any number of them may stand
    try:
        more = read(blocks + _NO_PICTURE + stream[end:])
    except ValueError:  # StreamError too; Pillow raises OSError, or SyntaxError
        return True
    return not np.array_equal(more, pixels)


def _decoded(stream: bytes, announced: StreamHeader) -> Pixels:
    try:
        return np.asarray(_decoder(announced)(stream))
    except MemoryError:
        raise
    except Exception as error:  # the decoders raise types of their own
        words = str(error).splitlines() or [type(error).__name__]
        raise StreamError(words[0][:120]) from error


def _decoder(announced: StreamHeader) -> Callable[[bytes], Any]:
    # imported here: the decoders are needed by compressed files alone
    import imagecodecs

    return {
        Coding.JPEG: imagecodecs.jpeg8_decode,
        Coding.JPEG_LS: imagecodecs.jpegls_decode,
        Coding.JPEG_2000: imagecodecs.jpeg2k_decode,
    }[announced.coding]
