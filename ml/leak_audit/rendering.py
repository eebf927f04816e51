"""What the file of an image tells before anyone looks at the image: traces of its rendering."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pydicom
import scipy
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ml.leak_audit import copies
from ml.statistics.proportion import ReadersError

Floats = NDArray[np.float64]

MAX_PIXELS = 64_000_000


class LeakAuditError(ReadersError):
    """Images that cannot be audited; the message names the file."""


@dataclass(frozen=True)
class Encoded:
    """An image as it is served: its bytes, and a name for messages (never audited).

    One of ``practice`` is shown before the others, with its truth.
    """

    data: bytes
    name: str
    practice: bool = False


@dataclass(frozen=True)
class Opened:
    """``pixels`` (h, w) grey as stored numbers; ``levels`` the values that a pixel could take.

    ``stored`` the numbers of one channel; ``keys`` names of metadata; ``values`` ``key=value`` of
    metadata; ``coding`` how the pixels were coded and the file put together; ``numbers`` plain
    measures of the file.
    """

    format: str
    mode: str
    pixels: Floats
    stored: Floats
    top: float
    keys: frozenset[str]
    values: frozenset[str]
    coding: frozenset[str]
    numbers: Mapping[str, float]
    digest: str


def read(image: Encoded) -> Opened:
    """Open PNG, JPEG, DICOM or another picture that Pillow reads.

    Raises:
        LeakAuditError: not an image, damaged, or larger than 64 million pixels.
    """
    if not image.data:
        raise LeakAuditError(f"{image.name} is empty.")
    if image.data[128:132] == b"DICM":
        return _dicom(image)
    return _picture(image)


def _picture(image: Encoded) -> Opened:
    try:
        with Image.open(io.BytesIO(image.data)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise LeakAuditError(f"{image.name} has more than {MAX_PIXELS} pixels.")
            picture.load()
            mode, kind = picture.mode, picture.format or "unknown"
            plain = picture.convert("RGB") if mode not in _PLAIN else picture
            stored = np.asarray(plain, dtype=np.float64)
            items = {str(k): _short(v) for k, v in picture.info.items()}
            items |= {f"Exif {k}": _short(v) for k, v in picture.getexif().items()}
            tables = getattr(picture, "quantization", None)
            coding = set()
            if tables:
                coding.add(f"quantisation {_digest(repr(sorted(tables.items())).encode())}")
                coding.add(f"components {getattr(picture, 'layer', None)}")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, struct.error) as error:
        if isinstance(error, LeakAuditError):
            raise
        # Pillow's own words quote where in memory it is
        nothing = isinstance(error, UnidentifiedImageError)
        why = "no picture can be made out in it" if nothing else error
        raise LeakAuditError(
            f"{image.name} is not a readable image ({why}); take it out of the folder."
        ) from error
    except Image.DecompressionBombError as error:
        raise LeakAuditError(f"{image.name} is too large to audit.") from error
    bits, trailing = _BITS.get(mode, 8), 0
    keys = set(items)
    if kind == "PNG":
        bits, trailing, chunks, more = _png(image.data)
        keys |= chunks
        coding |= more
    elif kind == "JPEG":
        end = image.data.rfind(b"\xff\xd9")
        trailing = len(image.data) - end - 2 if end >= 0 else 0
        coding |= {item for item in keys if item.startswith("progress")}
    return _opened(
        image, kind, mode, stored, float(2**bits - 1), items, keys, coding, bits, trailing
    )


_PLAIN = ("L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N", "1", "RGB")
_BITS = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16}


def _png(data: bytes) -> tuple[int, int, set[str], set[str]]:
    """(bit depth, bytes after IEND, names of optional chunks, how the pixels were coded)."""
    place, bits = 8, 8
    chunks: set[str] = set()
    coding: set[str] = set()
    order: list[str] = []
    body_of: list[bytes] = []
    row_bytes = 0
    while place + 8 <= len(data):
        size = struct.unpack(">I", data[place : place + 4])[0]
        name = data[place + 4 : place + 8].decode("latin-1")
        body = data[place + 8 : place + 8 + size]
        place += 12 + size
        if order[-1:] != [name]:
            order.append(name)
        if name == "IHDR" and len(body) >= 13:
            bits = body[8]
            channels = {2: 3, 4: 2, 6: 4}.get(body[9], 1)
            row_bytes = (int.from_bytes(body[:4], "big") * channels * bits + 7) // 8
            coding |= {f"colour type {body[9]}", f"interlace {body[12]}"}
        elif name == "IDAT":
            if not any(c.startswith("zlib") for c in coding):
                coding.add(f"zlib header {body[:2].hex()}")
            body_of.append(body)
        elif name == "IEND":
            break
        else:
            chunks.add(f"chunk {name}")
    coding.add(f"chunks {' '.join(order)}")
    if "interlace 0" in coding:
        coding |= _filters(b"".join(body_of), row_bytes)
    return bits, max(0, len(data) - place), chunks, coding


def _filters(body: bytes, row_bytes: int) -> set[str]:
    """Whether a PNG filters its rows, and how its data are cut into deflate blocks at first."""
    try:
        raw = zlib.decompressobj().decompress(body, 8 * MAX_PIXELS)
    except zlib.error:
        return set()
    kinds = set(raw[:: row_bytes + 1])
    said = "by row" if len(kinds) > 1 else f"all {next(iter(kinds), 0)}"
    first = (body[2] >> 1) & 3 if len(body) > 2 else 0
    return {f"filters {said}", f"deflate block type {first}"}


def _dicom(image: Encoded) -> Opened:
    try:
        dataset = pydicom.dcmread(io.BytesIO(image.data))
        stored = np.asarray(dataset.pixel_array, dtype=np.float64)
    except Exception as error:  # pydicom and its decoders raise many kinds
        raise LeakAuditError(f"{image.name} is not a readable DICOM image ({error}).") from error
    if stored.ndim > 2 and int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        stored = stored[0]
    items = {}
    for element in [*dataset.file_meta, *dataset]:
        if element.keyword != "PixelData" and element.tag.elem != 0:
            items[element.keyword or str(element.tag)] = _short(element.value)
    bits = int(dataset.get("BitsStored", 16))
    mode = f"{dataset.get('PhotometricInterpretation', '')} {dataset.get('BitsAllocated', '')}"
    coding = {f"transfer syntax {dataset.file_meta.get('TransferSyntaxUID', '')}"}
    return _opened(
        image, "DICOM", mode, stored, float(2**bits - 1), items, set(items), coding, bits, 0
    )


def _opened(
    image: Encoded,
    kind: str,
    mode: str,
    stored: Floats,
    top: float,
    items: Mapping[str, str],
    keys: set[str],
    coding: set[str],
    bits: int,
    trailing: int,
) -> Opened:
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    grey = stored if stored.ndim == 2 else stored[:, :, :3].mean(axis=2)
    spread = 0.0 if stored.ndim == 2 else float(np.ptp(stored[:, :, :3], axis=2).mean())
    if min(grey.shape) < 8:
        raise LeakAuditError(f"{image.name} is smaller than 8 pixels.")
    height, width = grey.shape
    # stored numbers only: a mean of colour channels has fractions that say nothing of grey levels
    levels = stored if stored.ndim == 2 else stored[:, :, 0]
    numbers = {
        "file bytes": float(len(image.data)),
        "width": float(width),
        "height": float(height),
        "bit depth": float(bits),
        "channels": float(channels),
        "colour in a grey image": spread,
        "metadata length": float(sum(len(k) + len(v) for k, v in items.items())),
        "bytes after the image": float(trailing),
        **_levels(levels),
    }
    return Opened(
        kind,
        mode,
        grey,
        levels,
        top,
        frozenset(keys),
        frozenset(f"{k}={v}" for k, v in items.items()),
        frozenset(coding),
        numbers,
        copies.digest(stored),
    )


def _levels(stored: Floats) -> dict[str, float]:
    """Traces in the histogram of what was done to grey values, blind to what the image shows.

    Each is exactly 0 (step: 1) unless it is far beyond chance, so that natural histograms tie.
    """
    quiet = {"grey step": 1.0, "histogram gaps": 0.0, "histogram comb": 0.0, "odd grey values": 0.0}
    if not np.array_equal(stored, np.round(stored)):
        return quiet
    values = stored.astype(np.int64).ravel()
    found = np.unique(values)
    step = int(np.gcd.reduce(np.diff(found))) if len(found) > 2 else 1
    inner = values[(values > found[0]) & (values < found[-1])]  # clipping piles up at the ends
    span = int(found[-1] - found[0])
    quiet["grey step"] = float(step)
    if len(inner) < 200 or span > 1 << 17:
        return quiet
    counts = np.bincount(inner - found[0], minlength=span + 1)[1:-1].astype(np.float64)
    if len(counts) < 17:
        return quiet
    # a single value that stands out, such as a flat frame, is content
    counts = np.minimum(counts, 3 * scipy.ndimage.median_filter(counts, 9, mode="nearest") + 10)
    total = float(counts.sum())
    odd = float(counts[np.arange(found[0] + 1, found[-1]) % 2 == 1].sum()) / total
    if abs(odd - 0.5) * 2 * math.sqrt(total) > 6:
        quiet["odd grey values"] = abs(odd - 0.5)
    smooth = np.convolve(counts, np.full(9, 1 / 9), mode="same")
    dense = smooth >= 10
    dense[:4] = dense[-4:] = False
    if dense.sum() >= 10:
        gaps = float((counts[dense] == 0).mean())
        quiet["histogram gaps"] = gaps if gaps > 0.02 else 0.0
        # squared deviation over mean is about 1 in seven of ten bins by chance; a comb lifts most
        excess = float(np.quantile((counts[dense] - smooth[dense]) ** 2 / smooth[dense], 0.7))
        quiet["histogram comb"] = excess if excess > 5 else 0.0
    return quiet


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 64 else f"{len(text)} characters {_digest(text.encode())}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
