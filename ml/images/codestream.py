"""JPEG, JPEG-LS and JPEG 2000 streams: what their headers announce, and their decoding.

The announced size is compared with the file's before anything is decoded, because a decoder
reserves what the stream asks for, fills with grey what is missing, and says nothing.

ValueError
 └ StreamError   a stream that its decoder cannot read; never leaves `dicom` and `picture`
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

_J2K = b"\xff\x4f\xff\x51"
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
    process 14; ``tiles`` are those of JPEG 2000.
    """

    coding: Coding
    rows: int
    columns: int
    precision: int
    components: int
    lossless: bool = False
    signed: bool | None = None
    tiles: int = 1


class StreamError(ValueError):
    """A stream that its decoder cannot read; the message is for people."""


def header(stream: bytes) -> StreamHeader | None:
    """Read the frame header (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2, 15444-1 A.5.1); None: none."""
    at = stream.find(_J2K, 0, 1024)
    if at >= 0:
        return _size_of_2000(stream[at + 4 : at + 43])
    if stream[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            return StreamHeader(
                Coding.JPEG_LS if marker == 0xF7 else Coding.JPEG,
                rows=int.from_bytes(stream[at + 5 : at + 7], "big"),
                columns=int.from_bytes(stream[at + 7 : at + 9], "big"),
                precision=stream[at + 4],
                components=stream[at + 9],
                lossless=marker == 0xC3,
            )
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


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
    try:
        pixels = np.asarray(_decoder(announced)(stream))
    except MemoryError:
        raise
    except Exception as error:  # the decoders raise types of their own
        raise StreamError(str(error).splitlines()[0][:120] or type(error).__name__) from error
    shape = (announced.rows, announced.columns)
    wanted = shape if announced.components == 1 else (*shape, announced.components)
    if pixels.shape != wanted or pixels.dtype.kind not in "iu":
        raise StreamError(f"it gives {pixels.shape} {pixels.dtype} where it announced {wanted}")
    return pixels


def _decoder(announced: StreamHeader) -> Callable[[bytes], Any]:
    # imported here: the decoders are needed by compressed files alone
    import imagecodecs

    return {
        Coding.JPEG: imagecodecs.jpeg8_decode,
        Coding.JPEG_LS: imagecodecs.jpegls_decode,
        Coding.JPEG_2000: imagecodecs.jpeg2k_decode,
    }[announced.coding]
