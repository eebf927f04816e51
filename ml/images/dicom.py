"""Files to images: DICOM CT in Hounsfield units; PNG and JPEG as uncalibrated grey values.

What a file is, is read from its content, never from its name. Everything downstream trusts a
``CTSlice``: nobody asks for the modality again. The tree of refusals stands in ``ct_slice``.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.filereader import read_dataset, read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGTransferSyntaxes,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from ml.ground.counted import counted
from ml.images import codestream, frame, picture
from ml.images.ct_slice import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    Corrupt,
    CTSlice,
    DicomError,
    FrameError,
    NoPixels,
    NotAnImage,
    NotCT,
    TooLarge,
    UnsupportedSyntax,
)
from ml.images.frame import ALLOWED_TAGS, ENHANCED
from ml.images.header import REMEDY, Header
from ml.images.origin import Origin

# pydicom's warnings quote header values, a patient's name among them: they must reach no log
config.settings.reading_validation_mode = config.IGNORE
logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

__all__ = [
    "ALLOWED_TAGS",
    "CTSlice",
    "Corrupt",
    "DicomError",
    "FrameError",
    "Identity",
    "NoPixels",
    "NotAnImage",
    "NotCT",
    "Opened",
    "Origin",
    "TooLarge",
    "UnsupportedSyntax",
    "each",
    "identity",
    "is_part10",
    "opened",
    "parsed",
    "read",
    "read_frame",
    "sop_instance_uid",
]

CT_CLASSES = (CTImageStorage, *ENHANCED)

_NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
_STREAMS = (
    *JPEGTransferSyntaxes,
    *JPEG2000TransferSyntaxes,
    JPEGLSLossless,
    JPEGLSNearLossless,
)
SYNTAXES = (*_NATIVE, *_STREAMS, RLELossless)
"""Transfer syntaxes that are read, those without compression first."""
Stored = npt.NDArray[Any]

_FIRST_PIXELS = 0x7FE00008
_PADDING = (0x00000000, 0xFFFCFFFC)
"""After the last attribute: zeros up to a whole block, and data set trailing padding."""
_ANOTHER_FILE = 0x49444D43
"""What the letters DICM of a second file look like."""
_MAX_INFLATED_BYTES = MAX_FILE_BYTES
_KNOWN = (
    (b"PK\x03\x04", "a zip archive; unpack it and give the images in it"),
    (b"Rar!", "a RAR archive; unpack it and give the images in it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it and give the images in it"),
    (b"%PDF", "a PDF; export the slice as DICOM, PNG or JPEG"),
    (b"\x1f\x8b", "a gzip file, perhaps NIfTI; export the slice as DICOM, PNG or JPEG"),
    (b"GIF8", "a GIF; export the slice as DICOM, PNG or JPEG"),
    (b"II*\x00", "a TIFF; export the slice as DICOM, PNG or JPEG"),
    (b"MM\x00*", "a TIFF; export the slice as DICOM, PNG or JPEG"),
    (b"BM", "a BMP; export the slice as DICOM, PNG or JPEG"),
    (b"RIFF", "a WebP or other RIFF file; export the slice as DICOM, PNG or JPEG"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000 picture; export the slice as DICOM, PNG or JPEG"),
)


def read(data: bytes, name: str) -> tuple[CTSlice, ...]:
    """Every image of a file: all frames of a CT object, or the one picture of a PNG or JPEG.

    Args:
        data: the whole file.
        name: what the messages call it.

    Raises:
        DicomError: of the kinds in ``ct_slice``; the message names the file and the remedy.
    """
    return tuple(each(data, name))


def each(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Iterator[CTSlice]:
    """The images of a file one by one, so that only one need be in memory.

    Args:
        max_pixels: of all frames together; more is refused before anything is decoded.

    Raises:
        DicomError: as ``read``; images before the fault may have been given already.
    """
    yield from _guarded(data, _shown(name), min(max_pixels, MAX_PIXELS), None)


def read_frame(data: bytes, name: str, number: int | None) -> CTSlice:
    """One image of a file; only that frame is decoded.

    Args:
        number: DICOM frame number, from 1; None for the only one.

    Raises:
        DicomError: as ``read``; no such frame, or several and none was named.
    """
    (found,) = _guarded(data, _shown(name), MAX_PIXELS, _Wanted(number))
    return found


@dataclass(frozen=True)
class _Wanted:
    """The one frame that is asked for; None: the only one."""

    number: int | None

    def of(self, frames: int, name: str) -> int:
        """Its number, from 1; FrameError where there is no such frame."""
        if self.number is None and frames > 1:
            raise FrameError(f"{name} has {frames} frames; say which with frame=1…{frames}.")
        if self.number is not None and not 1 <= self.number <= frames:
            raise FrameError(
                f"{name} has {counted(frames, 'frame')}; there is no frame {self.number}."
            )
        return self.number or 1


def _guarded(data: bytes, name: str, max_pixels: int, wanted: _Wanted | None) -> Iterator[CTSlice]:
    with _damage_told(name, _CUT_SHORT):
        if data.startswith((picture.PNG, picture.JPEG)):
            found = picture.read(data, name, max_pixels)
            if wanted is not None:
                wanted.of(1, name)
            yield found
            return
        _refuse_foreign(data, name)
        yield from _images(_dataset(data, name), data, name, max_pixels, wanted)


def _images(
    dataset: Dataset, data: bytes, name: str, max_pixels: int, wanted: _Wanted | None
) -> Iterator[CTSlice]:
    header = Header(dataset, name)
    _refuse_non_ct(header)
    yield from _slices(header, data, max_pixels, wanted)


@dataclass(frozen=True)
class Identity:
    """What a DICOM file says that it is; "" for what it does not say.

    Attributes:
        data_set: SHA-256 in hex of the bytes after the file meta group (PS3.10 7.1). That group
            tells of the last sender, and may change while the object stays the same.
        origin: whose it is and which examination.
    """

    sop_class_uid: str
    sop_uid: str
    series_uid: str
    study_uid: str
    transfer_syntax_uid: str
    data_set: str
    origin: Origin = field(default_factory=Origin, repr=False)


_CUT_SHORT = "damaged or cut short"


@contextmanager
def _damage_told(name: str, what: str = "damaged") -> Iterator[None]:
    """A damaged header makes pydicom and the decoders raise nearly anything: it is Corrupt."""
    try:
        yield
    except (DicomError, MemoryError):
        raise
    except Exception as error:
        raise Corrupt(
            f"{name} is {what} ({type(error).__name__}); send or export it again."
        ) from error


def identity(data: bytes, name: str) -> Identity:
    """Which object a DICOM file is, without decoding its pixels.

    Raises:
        DicomError: as ``read``, as far as the header tells.
    """
    name = _shown(name)
    with _damage_told(name):
        start = _refuse_foreign(data, name)
        return _identity(Header(_dataset(data, name, stop_before_pixels=True), name), data, start)


def _identity(header: Header, data: bytes, start: int) -> Identity:
    return Identity(
        frame.uid(header, "SOPClassUID"),
        frame.uid(header, "SOPInstanceUID"),
        frame.uid(header, "SeriesInstanceUID"),
        frame.uid(header, "StudyInstanceUID"),
        str(header.dataset.file_meta.TransferSyntaxUID),
        hashlib.sha256(memoryview(data)[start:]).hexdigest(),
        Origin.of(header),
    )


@dataclass(frozen=True)
class Opened:
    """A DICOM file whose header is read: which object it is, and then what it holds."""

    identity: Identity
    _data: bytes = field(repr=False)
    _name: str
    _found: Dataset | Exception = field(repr=False)
    """The whole data set; or what its end raises, though its header can be read."""

    @property
    def dataset(self) -> Dataset:
        """The data set as ``parsed`` gives it; it raises the same."""
        with _damage_told(self._name):
            return self._whole()

    def each(self, max_pixels: int = MAX_PIXELS) -> Iterator[CTSlice]:
        """Its images as the function ``each`` gives them, once; it raises the same."""
        with _damage_told(self._name, _CUT_SHORT):
            yield from _images(
                self._whole(), self._data, self._name, min(max_pixels, MAX_PIXELS), None
            )

    def _whole(self) -> Dataset:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def opened(data: bytes, name: str) -> Opened:
    """A DICOM file, read once for what it is and for what it holds.

    Raises:
        DicomError: as ``identity``.
    """
    name = _shown(name)
    with _damage_told(name):
        start = _refuse_foreign(data, name)
        found: Dataset | Exception
        try:
            found = head = _dataset(data, name)
        except MemoryError:
            raise
        except Exception as error:  # behind the header it may be damaged all it likes
            found, head = error, _dataset(data, name, stop_before_pixels=True)
        return Opened(_identity(Header(head, name), data, start), data, name, found)


def parsed(data: bytes, name: str) -> Dataset:
    """A DICOM file as pydicom reads it, its transfer syntax settled; no pixels are decoded.

    Raises:
        DicomError: as ``identity``.
    """
    name = _shown(name)
    with _damage_told(name):
        _refuse_foreign(data, name)
        return _dataset(data, name)


def is_part10(data: bytes) -> bool:
    """Whether these bytes begin as a DICOM file does (PS3.10 7.1)."""
    return data[128:132] == b"DICM"


def sop_instance_uid(data: bytes, name: str) -> str:
    """The SOP Instance UID of a DICOM file, without decoding its pixels; "" where it has none.

    Raises:
        DicomError: as ``identity``.
    """
    return identity(data, name).sop_uid


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[-200:] or "the file"


def _refuse_foreign(data: bytes, name: str) -> int:
    """Refuse what is no DICOM file or unpacks to too much; the offset of its data set."""
    if not data:
        raise NotAnImage(f"{name} is empty (0 bytes); send or export it again.")
    if is_part10(data):
        meta, start = _meta(data)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            _refuse_inflated(data, start, name)
        return start
    for magic, what in _KNOWN:
        if data.startswith(magic):
            raise NotAnImage(f"{name} is {what}.")
    if data[:2] not in (b"\x02\x00", b"\x08\x00") or len(data) < 132:
        text = "text, " if _is_text(data[:512]) else ""
        raise NotAnImage(
            f"{name} is {text}neither DICOM nor PNG nor JPEG; export the slice in one of these "
            "formats."
        )
    return 0


def _dataset(data: bytes, name: str, stop_before_pixels: bool = False) -> Dataset:
    """The data set of a DICOM file, its transfer syntax settled in ``file_meta``."""
    preamble = is_part10(data)
    tags = _Tags(stop_before_pixels)
    dataset: Dataset = read_partial(io.BytesIO(data), tags.stop_at, force=not preamble)
    tags.refuse_doubled(name)
    if not preamble and not (dataset.get("SOPClassUID") and dataset.get("Modality")):
        raise NotAnImage(
            f"{name} is neither DICOM nor PNG nor JPEG; export the slice in one of these formats."
        )
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        dataset.file_meta = FileMetaDataset(dataset.file_meta)
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    return dataset


class _Tags:
    """The tags of a data set as they are read.

    Of one that is there twice (two files run together, a tool that appends) the library takes the
    last, whichever it is.
    """

    def __init__(self, before_pixels: bool) -> None:
        self.before_pixels = before_pixels
        self.seen: set[BaseTag] = set()
        self.doubled: BaseTag | None = None

    def stop_at(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        if (tag in self.seen and tag not in _PADDING) or tag == _ANOTHER_FILE:
            self.doubled = tag
        self.seen.add(tag)
        return self.before_pixels and tag >= _FIRST_PIXELS

    def refuse_doubled(self, name: str) -> None:
        if self.doubled is not None:
            tag = self.doubled
            what = f"the attribute ({tag.group:04X},{tag.element:04X}) twice"
            if tag == _ANOTHER_FILE:
                what = "another file after its own end"
            raise Corrupt(f"{name} has {what}, as when two files are run together; {REMEDY}.")


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in start)


def _meta(data: bytes) -> tuple[Dataset, int]:
    """The file meta group (PS3.10 7.1) and the offset of what follows it."""
    stream = io.BytesIO(data)
    stream.seek(132)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    return meta, stream.tell()


def _refuse_inflated(data: bytes, start: int, name: str) -> None:
    """A deflated data set is unpacked whole by pydicom: measure it first, a piece at a time."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    total, rest = 0, data[start:]
    while rest and not inflate.eof:
        total += len(inflate.decompress(rest, 2**22))
        rest = inflate.unconsumed_tail
        if total > _MAX_INFLATED_BYTES:
            raise TooLarge(
                f"{name} unpacks to more than {_MAX_INFLATED_BYTES >> 20} MiB; "
                "send the series as single slices."
            )


def _refuse_non_ct(header: Header) -> None:
    name = header.name
    sop_class = UID(frame.uid(header, "SOPClassUID"))
    modality = header.text("Modality").upper()
    if sop_class == MediaStorageDirectoryStorage or header.has("DirectoryRecordSequence"):
        raise NotCT(f"{name} is a DICOMDIR, the index of a disc; give the image files beside it.")
    if modality not in ("", "CT"):
        shown = modality if len(modality) <= 16 else "of another modality"
        raise NotCT(
            f"{name} is {shown} ({sop_class.name or 'class unknown'}), not CT; give CT slices."
        )
    # some anonymisers empty the SOP class: then the modality has to do
    if sop_class and sop_class not in CT_CLASSES:
        raise NotCT(
            f"{name} is a {sop_class.name}, not a CT image with Hounsfield units; "
            "give the original slices, or export this one as PNG or JPEG."
        )
    if not sop_class and not modality:
        raise NotCT(f"{name} says neither its class nor its modality; give CT slices.")
    frame.refuse_no_slice(header, "ImageType")


def _slices(
    header: Header, data: bytes, max_pixels: int, wanted: _Wanted | None
) -> Iterator[CTSlice]:
    """Check the header, then decode frame after frame (PS3.3 C.7.6.3, C.8.2.1, C.8.15)."""
    name = header.name
    if not header.has("PixelData"):
        if header.has("FloatPixelData") or header.has("DoubleFloatPixelData"):
            raise UnsupportedSyntax(f"{name} has floating-point pixels; export it as 16-bit CT.")
        if b"\xe0\x7f\x10\x00" in data or b"\x7f\xe0\x00\x10" in data:
            raise Corrupt(f"{name} is cut short within its pixels; send or export it again.")
        raise NoPixels(
            f"{name} has no pixel data: it may be cut short, or never had any; "
            "send or export it again."
        )
    layout = _Layout.of(header)
    only = None if wanted is None else wanted.of(layout.frames, name)
    picture.refuse_many(layout.frames if only is None else 1, layout.rows, layout.columns,
                        max_pixels, name)  # fmt: skip
    told = [*frame.warnings(header, layout.syntax)]
    tags = frame.allowed_tags(header)
    frames = frame.frames_of(header, layout.frames, frame.uid(header, "SOPClassUID"))
    for number, stored in _stored(header, layout, told, only):
        yield frame.ct_slice(frames[number - 1], stored, tuple(told), tags)


@dataclass(frozen=True)
class _Layout:
    """How the pixels of an object lie (PS3.3 C.7.6.3), every value checked."""

    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    syntax: UID

    @classmethod
    def of(cls, header: Header) -> _Layout:
        """Raises UnsupportedSyntax, TooLarge or Corrupt for a layout that is not read."""
        name = header.name
        syntax = UID(header.dataset.file_meta.TransferSyntaxUID)
        if syntax not in SYNTAXES:
            raise UnsupportedSyntax(
                f"{name} is stored as {syntax.name} ({syntax}), which is retired or not for CT; "
                "export it uncompressed, or as JPEG-LS or JPEG 2000 lossless."
            )
        rows, columns = (header.required(side, 0, 65535) for side in ("Rows", "Columns"))
        frames = header.whole("NumberOfFrames", -(2**31), 2**31 - 1)
        frames = 1 if frames is None else frames
        picture.refuse_large(rows, columns, name)
        if frames < 1:
            raise Corrupt(f"{name}: the header says {frames} frames; send or export it again.")
        colours = header.text("PhotometricInterpretation").upper()
        if not colours:
            raise header.missing("PhotometricInterpretation")
        samples = header.required("SamplesPerPixel", 0, 65535)
        if samples != 1 or colours not in ("MONOCHROME1", "MONOCHROME2"):
            raise UnsupportedSyntax(
                f"{name} is in colour ({colours[:16]}); give the original grey CT slices, "
                "or export it as PNG or JPEG."
            )
        allocated = header.required("BitsAllocated", 0, 65535)
        stored = header.required("BitsStored", 0, 65535)
        high = header.required("HighBit", 0, 65535)
        if allocated not in (8, 16) or not 1 <= stored <= allocated or high != stored - 1:
            raise UnsupportedSyntax(
                f"{name} stores {stored} of {allocated} bits with high bit {high}; "
                "export it with 8 or 16 bits."
            )
        signed = header.required("PixelRepresentation", 0, 1) == 1
        return cls(rows, columns, frames, allocated, stored, signed, syntax)


def _stored(
    header: Header, layout: _Layout, told: list[str], only: int | None
) -> Iterator[tuple[int, Stored]]:
    """(frame number, stored values) of every frame, or of one.

    Values are (rows, columns), signed or unsigned as the header says.
    """
    read = _streamed if layout.syntax in _STREAMS else _plain
    count = 0
    for count, array in enumerate(read(header, layout, told, only), 1):
        if count <= layout.frames:
            yield only or count, _valued(header, layout, array)
    if count != (1 if only else layout.frames):
        raise _incomplete(header, layout, count)


def _incomplete(header: Header, layout: _Layout, count: int) -> Corrupt:
    return Corrupt(
        f"{header.name}: {count} of {layout.frames} frames are there; send or export it again."
    )


def _plain(header: Header, layout: _Layout, told: list[str], only: int | None) -> Iterator[Stored]:
    """Frames that are not compressed, or by RLE."""
    dataset = header.dataset
    if layout.syntax == ExplicitVRBigEndian and layout.bits_allocated == 16:
        vr = dataset["PixelData"].VR
        if vr != "OW":  # bytes in an order that nobody can tell (PS3.5 8.1.2, A.3)
            raise Corrupt(
                f"{header.name}: its pixels of 16 bits, big endian, are stored as {vr} and not as "
                f"OW, so the order of their bytes is not known; {REMEDY}."
            )
    if layout.syntax in _NATIVE:
        dataset.PixelData = _without_excess(header, layout, told)
    arrays = get_decoder(layout.syntax).iter_array(
        dataset,
        indices=None if only is None else [only - 1],
        raw=True,
        decoding_plugin="" if layout.syntax in _NATIVE else "pydicom",
        correct_unused_bits=False,
    )
    for stored, _ in arrays:
        if stored.shape != (layout.rows, layout.columns):
            raise Corrupt(f"{header.name}: a frame has {stored.shape} pixels; export it again.")
        yield stored


def _without_excess(header: Header, layout: _Layout, told: list[str]) -> bytes:
    """The bytes of uncompressed pixels; trailing zeros of older applications are left out.

    PS3.5 8.1.1 asks receivers to accept them.
    """
    pixels: bytes = header.dataset.PixelData
    expected = layout.rows * layout.columns * layout.frames * (layout.bits_allocated // 8)
    excess = len(pixels) - expected
    if excess < 0 or pixels[expected:].strip(b"\0"):
        raise Corrupt(
            f"{header.name} has {len(pixels)} bytes of pixels where its header says {expected}; "
            "it may be cut short, or its Rows, Columns or BitsAllocated are wrong. "
            "Send or export it again."
        )
    if excess > expected % 2:
        told.append(f"{excess} zero bytes after the last pixel were left out.")
    return pixels[: expected + expected % 2]


def _streamed(
    header: Header, layout: _Layout, told: list[str], only: int | None
) -> Iterator[Stored]:
    """Frames compressed as JPEG, JPEG-LS or JPEG 2000."""
    dataset = header.dataset
    offsets = None
    if dataset.get("ExtendedOffsetTable") and dataset.get("ExtendedOffsetTableLengths"):
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    _refuse_disordered(header, layout.frames, offsets)
    streams = generate_frames(
        dataset.PixelData, number_of_frames=layout.frames, extended_offsets=offsets
    )
    number = 0
    for number, stream in enumerate(streams, 1):
        if only not in (None, number):
            continue
        announced = codestream.header(stream)
        whole = codestream.trimmed(stream)
        if announced is None or whole is None:
            raise Corrupt(f"{header.name}: frame {number} is cut short; send or export it again.")
        _compare(header, layout, announced, number)
        if announced.lossy:
            told.append(frame.LOSSY)
        if whole[1] not in (b"", b"\0"):  # one zero makes an even length (PS3.5 A.4)
            told.append(f"{len(whole[1])} bytes of padding after the end of a frame were left out.")
        try:
            yield codestream.decode(whole[0], announced)
        except codestream.StreamError as error:
            raise Corrupt(
                f"{header.name}: frame {number} is damaged ({error}); send or export it again."
            ) from error
    if number != layout.frames:
        raise _incomplete(header, layout, number)


def _refuse_disordered(header: Header, frames: int, extended: tuple[bytes, bytes] | None) -> None:
    """Refuse a table of frames that would swap or repeat them (PS3.5 A.4, PS3.3 C.7.6.3.1.8)."""
    if extended is not None:
        table = np.frombuffer(extended[0], "<u8").tolist()
    else:
        table = parse_basic_offsets(header.dataset.PixelData)
    rising = all(before < after for before, after in pairwise(table))
    if table and (table[0] != 0 or not rising or (extended and len(table) != frames)):
        raise Corrupt(
            f"{header.name}: the table of where its frames begin is out of order, so which frame "
            f"is which is not known; {REMEDY}."
        )


def _compare(
    header: Header, layout: _Layout, announced: codestream.StreamHeader, number: int
) -> None:
    """Refuse a stream that is not what the header says of it (PS3.5 8.2, A.4)."""
    size = (announced.rows, announced.columns, announced.components)
    if size != (layout.rows, layout.columns, 1):
        raise Corrupt(
            f"{header.name}: frame {number} holds {announced.columns} × {announced.rows} pixels in "
            f"{announced.components} colours where the header says {layout.columns} × "
            f"{layout.rows} grey; export it again."
        )
    if announced.signed is not None and announced.signed != layout.signed:
        raise Corrupt(
            f"{header.name}: frame {number} is {'signed' if announced.signed else 'unsigned'}, and "
            f"PixelRepresentation (0028,0103) is {int(layout.signed)}; {REMEDY}."
        )
    too_deep = announced.precision > layout.bits_allocated
    # 8 bits of what were more have been scaled; and the sign of a value with fewer bits than the
    # header says stands nobody knows where
    scaled = announced.precision <= 8 < layout.bits_stored
    if too_deep or scaled or (layout.signed and announced.precision < layout.bits_stored):
        raise Corrupt(
            f"{header.name}: frame {number} has {announced.precision} bits, and BitsStored "
            f"(0028,0101) is {layout.bits_stored}; {REMEDY}."
        )


def _valued(header: Header, layout: _Layout, array: Stored) -> Stored:
    """Pixels as the values that their stored bits mean (PS3.5 8.1.1).

    The sign is the highest of the stored bits. What lies above must repeat it, be zero, or hold
    overlays that the header declares; else the bits do not say which value is meant.
    """
    bits, stored = layout.bits_allocated, layout.bits_stored
    plain = _plainly_valued(layout, array.astype(f"u{bits // 8}", copy=False))
    if plain is not None:
        return plain
    raw = array.astype(f"u{bits // 8}", copy=False).astype(np.int32)
    low = raw & ((1 << stored) - 1)
    negative = (low >> (stored - 1)) & 1 if layout.signed else np.zeros_like(low)
    value = low - (negative << stored)
    above = raw >> stored
    repeated = negative * ((1 << (bits - stored)) - 1)
    ours = ~(_overlay_bits(header, bits) >> stored)
    stray = ((above & ours) != 0) & ((above & ours) != (repeated & ours))
    if stray.any():
        raise Corrupt(
            f"{header.name}: {int(stray.sum())} pixels use more than the {stored} bits of "
            f"BitsStored (0028,0101); {REMEDY}."
        )
    return value.astype(f"{'i' if layout.signed else 'u'}{bits // 8}")


def _plainly_valued(layout: _Layout, raw: Stored) -> Stored | None:
    """The values where nothing but signs lies above the stored bits, as nearly always; else None.

    It is what `_valued` comes to, in a third of the time.
    """
    bits, stored = layout.bits_allocated, layout.bits_stored
    signed = f"i{bits // 8}"
    if stored == bits:
        return raw.view(signed) if layout.signed else raw
    if not layout.signed:
        return None if (raw >> stored).any() else raw
    spare = bits - stored
    values = (raw << spare).view(signed) >> spare
    stray = (values.view(raw.dtype) != raw) & ((raw >> stored) != 0)
    return None if stray.any() else values


def _overlay_bits(header: Header, allocated: int) -> int:
    """The bits of a pixel in which overlays lie, as a mask (PS3.3 C.9.2, retired).

    An overlay with pixels of its own (OverlayData) uses none.
    """
    mask = 0
    for group in range(0x6000, 0x6020, 2):
        bit, depth = (header.dataset.get((group, element)) for element in (0x0102, 0x0100))
        values = [None if one is None else one.value for one in (bit, depth)]
        inside = (group, 0x3000) not in header.dataset and values[1] in (None, allocated)
        if inside and isinstance(values[0], int) and 0 <= values[0] < allocated:
            mask |= 1 << values[0]
    return mask
