"""Files to images: DICOM CT in Hounsfield units; PNG and JPEG as uncalibrated grey values.

What a file is, is read from its content, never from its name. Everything downstream trusts a
``CTSlice``: nobody asks for the modality again. The tree of refusals stands in ``ml.image``.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGTransferSyntaxes,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from ml import frame, picture
from ml.frame import ALLOWED_TAGS
from ml.image import (
    MAX_PIXELS,
    Corrupt,
    CTSlice,
    DicomError,
    NoPixels,
    NotAnImage,
    NotCT,
    TooLarge,
    UnsupportedSyntax,
)

__all__ = [
    "ALLOWED_TAGS",
    "CTSlice",
    "Corrupt",
    "DicomError",
    "NoPixels",
    "NotAnImage",
    "NotCT",
    "TooLarge",
    "UnsupportedSyntax",
    "read",
    "sop_instance_uid",
]

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)

_JPEG_FAMILY = "1.2.840.10008.1.2.4."
# On damaged streams gdcm ends the process and pylibjpeg-rle panics with a BaseException; these
# decoders were fuzzed and do neither.
_PLUGINS = {
    RLELossless: "pydicom",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    **dict.fromkeys(JPEGTransferSyntaxes, "pylibjpeg"),
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg"),
}
_MAX_INFLATED_BYTES = 2 * MAX_PIXELS + 2**26
_KNOWN = (
    (b"PK\x03\x04", "a zip archive; unpack it, or give it where archives are accepted"),
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
        DicomError: of the kinds in ``ml.image``; the message names the file and the remedy.
    """
    name = _shown(name)
    try:
        if data.startswith((picture.PNG, picture.JPEG)):
            return (picture.read(data, name),)
        dataset = _dataset(data, name)
        _refuse_non_ct(dataset, name)
        return tuple(_slices(dataset, data, name))
    except (DicomError, MemoryError):
        raise
    # a damaged header makes pydicom and the decoders raise nearly anything
    except Exception as error:
        raise Corrupt(
            f"{name} is damaged or cut short ({_reason(error)}); send or export it again."
        ) from error


def sop_instance_uid(data: bytes, name: str) -> str:
    """The SOP Instance UID of a DICOM file, without decoding its pixels; "" where it has none.

    Raises:
        DicomError: as ``read``, as far as the header tells.
    """
    name = _shown(name)
    try:
        return frame.uid(_dataset(data, name, stop_before_pixels=True), "SOPInstanceUID")
    except (DicomError, MemoryError):
        raise
    except Exception as error:
        raise Corrupt(f"{name} is damaged ({_reason(error)}); send or export it again.") from error


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[-200:] or "the file"


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__


def _dataset(data: bytes, name: str, stop_before_pixels: bool = False) -> Dataset:
    """The data set of a DICOM file, its transfer syntax settled in ``file_meta``."""
    if not data:
        raise NotAnImage(f"{name} is empty (0 bytes); send or export it again.")
    preamble = data[128:132] == b"DICM"
    if not preamble:
        for magic, what in _KNOWN:
            if data.startswith(magic):
                raise NotAnImage(f"{name} is {what}.")
        if data[:2] not in (b"\x02\x00", b"\x08\x00") or len(data) < 132:
            text = "text, " if _is_text(data[:512]) else ""
            raise NotAnImage(
                f"{name} is {text}neither DICOM nor PNG nor JPEG; "
                "export the slice in one of these formats."
            )
    elif _transfer_syntax(data) == DeflatedExplicitVRLittleEndian:
        _refuse_inflated(data, name)
    dataset = pydicom.dcmread(
        io.BytesIO(data), force=not preamble, stop_before_pixels=stop_before_pixels
    )
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


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in start)


def _meta(data: bytes) -> tuple[Dataset, int]:
    """The file meta group (PS3.10 7.1) and the offset of what follows it."""
    stream = io.BytesIO(data)
    stream.seek(132)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    return meta, stream.tell()


def _transfer_syntax(data: bytes) -> str:
    return str(_meta(data)[0].get("TransferSyntaxUID", ""))


def _refuse_inflated(data: bytes, name: str) -> None:
    """A deflated data set is unpacked whole by pydicom: measure it first, a piece at a time."""
    _, start = _meta(data)
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


def _refuse_non_ct(dataset: Dataset, name: str) -> None:
    sop_class = UID(frame.uid(dataset, "SOPClassUID"))
    modality = str(dataset.get("Modality") or "")
    if sop_class == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in dataset:
        raise NotCT(f"{name} is a DICOMDIR, the index of a disc; give the image files beside it.")
    if modality not in ("", "CT"):
        raise NotCT(
            f"{name} is {modality} ({sop_class.name or 'class unknown'}), not CT; give CT slices."
        )
    # some anonymisers empty the SOP class: then the modality has to do
    if sop_class and sop_class not in CT_CLASSES:
        raise NotCT(
            f"{name} is a {sop_class.name}, not a CT image with Hounsfield units; "
            "give the original slices, or export this one as PNG or JPEG."
        )
    if not sop_class and not modality:
        raise NotCT(f"{name} says neither its class nor its modality; give CT slices.")
    image_type = [str(value).upper() for value in frame.many(dataset.get("ImageType"))]
    if "LOCALIZER" in image_type:
        raise NotCT(f"{name} is a localizer (scout view), not a slice; give the axial slices.")


def _slices(dataset: Dataset, data: bytes, name: str) -> Iterator[CTSlice]:
    """Check the header, then decode frame after frame (PS3.3 C.7.6.3, C.8.2.1, C.8.15)."""
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise UnsupportedSyntax(f"{name} has floating-point pixels; export it as 16-bit CT.")
        if b"\xe0\x7f\x10\x00" in data or b"\x7f\xe0\x00\x10" in data:
            raise Corrupt(f"{name} is cut short within its pixels; send or export it again.")
        raise NoPixels(
            f"{name} has no pixel data: it may be cut short, or never had any; "
            "send or export it again."
        )
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frames = int(dataset.get("NumberOfFrames") or 1)
    picture.refuse_large(rows, columns, name)
    if frames < 1:
        raise Corrupt(f"{name}: the header says {frames} frames; send or export it again.")
    if frames * rows * columns > MAX_PIXELS:
        raise TooLarge(
            f"{name}: {frames} frames of {columns} × {rows} are more than {MAX_PIXELS} pixels; "
            f"send at most {MAX_PIXELS // (rows * columns)} frames in one file."
        )
    _refuse_layout(dataset, name)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    _refuse_stream(dataset, syntax, rows, columns, frames, name)
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups is not None and len(groups) not in (0, frames):
        raise Corrupt(
            f"{name}: {len(groups)} functional groups for {frames} frames; export it again."
        )
    told = frame.warnings(dataset, syntax)
    tags = frame.allowed_tags(dataset)
    decoded = 0
    plugin = _PLUGINS.get(syntax, "")
    arrays = get_decoder(syntax).iter_array(dataset, raw=True, decoding_plugin=plugin)
    for index, (stored, _) in enumerate(arrays):
        if index >= frames or stored.shape != (rows, columns):
            break
        decoded += 1
        yield frame.ct_slice(dataset, index, stored, told, tags, name)
    if decoded != frames:
        raise Corrupt(f"{name}: {decoded} of {frames} frames are there; send or export it again.")


def _refuse_layout(dataset: Dataset, name: str) -> None:
    samples = int(dataset.get("SamplesPerPixel") or 1)
    colours = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    if samples != 1 or colours not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedSyntax(
            f"{name} is in colour ({colours}); give the original grey CT slices, "
            "or export it as PNG or JPEG."
        )
    allocated = int(dataset.BitsAllocated)
    stored = int(dataset.get("BitsStored") or allocated)
    high = int(dataset.get("HighBit", stored - 1))
    if allocated not in (8, 16) or not 1 <= stored <= allocated or high != stored - 1:
        raise UnsupportedSyntax(
            f"{name} stores {stored} of {allocated} bits with high bit {high}; "
            "export it with 8 or 16 bits."
        )


def _refuse_stream(
    dataset: Dataset, syntax: UID, rows: int, columns: int, frames: int, name: str
) -> None:
    """Refuse what no decoder reads, and what a decoder would read wrongly or without limit."""
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise UnsupportedSyntax(
            f"{name} is stored as {syntax.name} ({syntax}), which is retired or not for CT; "
            "export it uncompressed, or as JPEG-LS or JPEG 2000 lossless."
        )
    if not syntax.is_encapsulated:
        expected = rows * columns * frames * (int(dataset.BitsAllocated) // 8)
        actual = len(dataset.PixelData)
        if actual not in (expected, expected + expected % 2):
            raise Corrupt(
                f"{name} has {actual} bytes of pixels where its header says {expected}; "
                "it may be cut short. Send or export it again."
            )
        return
    offsets = None
    if dataset.get("ExtendedOffsetTable") and dataset.get("ExtendedOffsetTableLengths"):
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    count = 0
    for stream in generate_frames(
        dataset.PixelData, number_of_frames=frames, extended_offsets=offsets
    ):
        count += 1
        if not str(syntax).startswith(_JPEG_FAMILY):
            continue
        size = picture.stream_size(stream)
        # a decoder fills what is missing with grey and says nothing
        if size is None or not stream.rstrip(b"\x00").endswith(b"\xff\xd9"):
            raise Corrupt(f"{name}: frame {count} is cut short; send or export it again.")
        if (size.rows, size.columns, size.components) != (rows, columns, 1):
            raise Corrupt(
                f"{name}: frame {count} holds {size.columns} × {size.rows} pixels in "
                f"{size.components} colours where the header says {columns} × {rows} grey; "
                "export it again."
            )
    if count != frames:
        raise Corrupt(f"{name}: {count} of {frames} frames are there; send or export it again.")
