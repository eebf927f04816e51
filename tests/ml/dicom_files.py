"""Small DICOM files for tests, made by the project."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import imagecodecs
import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

ROOT = "1.2.826.0.1.3680043.8.498."


def stored_values(rows: int = 40, columns: int = 48, seed: int = 0) -> np.ndarray:
    """int16 stored values of a noisy disc; intercept −1024 makes them HU."""
    y, x = np.mgrid[:rows, :columns]
    disc = (x - columns / 2) ** 2 + (y - rows / 2) ** 2 < (min(rows, columns) / 3) ** 2
    values = 24 + 1060 * disc + np.random.default_rng(seed).normal(0, 8, (rows, columns))
    return values.astype(np.int16)


def ct_dataset(stored: np.ndarray | None = None, **changes: Any) -> Dataset:
    """A CT slice; ``changes`` set attributes by keyword, None deletes one."""
    stored = stored_values() if stored is None else stored
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    dataset = Dataset()
    dataset.file_meta = meta
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(ROOT, [str(stored.tobytes())]),
        "StudyInstanceUID": ROOT + "1",
        "SeriesInstanceUID": ROOT + "2",
        "PatientID": "P-1",
        "PatientName": "Nobody^Nowhere",
        "Modality": "CT",
        "Manufacturer": "Acme",
        "ManufacturerModelName": "Scanner",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "StudyDescription": "secret words",
        "StudyDate": "20200101",
        "InstitutionName": "Somewhere",
        "KVP": "120",
        "SliceThickness": "2.5",
        "InstanceNumber": "7",
        "PixelSpacing": [0.7, 0.8],
        "ImagePositionPatient": [-100.0, -100.0, 42.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "Rows": stored.shape[-2],
        "Columns": stored.shape[-1],
        "BitsAllocated": 8 * stored.dtype.itemsize,
        "BitsStored": 8 * stored.dtype.itemsize,
        "HighBit": 8 * stored.dtype.itemsize - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "PixelData": stored.tobytes(),
    }
    if stored.ndim == 3:
        values["NumberOfFrames"] = len(stored)
    for keyword, value in (values | changes).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset["PixelData"].VR = "OW" if stored.dtype.itemsize == 2 else "OB"
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or ROOT + "9"
    return dataset


def encoded(dataset: Dataset, syntax: str | None = None) -> bytes:
    """The bytes of a file, in the syntax asked for."""
    native = {
        ImplicitVRLittleEndian: (True, True),
        ExplicitVRLittleEndian: (False, True),
        DeflatedExplicitVRLittleEndian: (False, True),
        ExplicitVRBigEndian: (False, False),
    }
    if syntax in native:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").byteswap().tobytes()
    elif syntax == RLELossless:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax is not None:
        frames = [stream(syntax, frame) for frame in _frames(dataset)]
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate(frames)
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _frames(dataset: Dataset) -> np.ndarray:
    """(frames, rows, columns) stored values; every bit of them is stored."""
    assert dataset.BitsStored == dataset.BitsAllocated
    kind = "i" if dataset.PixelRepresentation else "u"
    values = np.frombuffer(dataset.PixelData, f"<{kind}{dataset.BitsAllocated // 8}")
    return values.reshape(-1, dataset.Rows, dataset.Columns)


def stream(syntax: str, values: np.ndarray) -> bytes:
    """The values of one frame, coded without loss and with all the bits of their type.

    JPEG and JPEG-LS know no sign: signed values go in as the same bits without one.
    """
    if syntax == JPEG2000Lossless:
        return imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat="j2k")
    bits = 8 * values.dtype.itemsize
    unsigned = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    if syntax == JPEGLSLossless:
        return imagecodecs.jpegls_encode(unsigned)
    if syntax == JPEGLosslessSV1:
        return imagecodecs.jpeg8_encode(unsigned, lossless=True, bitspersample=bits)
    raise ValueError(f"no encoder for {syntax}")


def ct_file(stored: np.ndarray | None = None, syntax: str | None = None, **changes: Any) -> bytes:
    return encoded(ct_dataset(stored, **changes), syntax)


def enhanced_file(stored: np.ndarray, frames: list[Mapping[str, Any]]) -> bytes:
    """Enhanced CT: per frame ``intercept`` and ``z``; spacing and orientation shared.

    A frame may have a ``window``: centre and width.
    """
    absent = dict.fromkeys(
        ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope",
         "RescaleIntercept", "SliceThickness")
    )  # fmt: skip
    dataset = ct_dataset(stored, SOPClassUID=EnhancedCTImageStorage, **absent)

    def group(sequence: str, **values: Any) -> Dataset:
        item, holder = Dataset(), Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(holder, sequence, [item])
        return holder

    shared = group("PixelMeasuresSequence", PixelSpacing=[0.5, 0.6], SliceThickness="3")
    shared.update(group("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0]))
    dataset.SharedFunctionalGroupsSequence = [shared]
    per_frame = []
    for frame in frames:
        item = group("PlanePositionSequence", ImagePositionPatient=[0, 0, frame["z"]])
        item.update(
            group(
                "PixelValueTransformationSequence",
                RescaleIntercept=frame["intercept"],
                RescaleSlope=1,
                RescaleType="HU",
            )
        )
        if "window" in frame:
            center, width = frame["window"]
            item.update(group("FrameVOILUTSequence", WindowCenter=[center], WindowWidth=[width]))
        per_frame.append(item)
    dataset.PerFrameFunctionalGroupsSequence = per_frame
    return encoded(dataset)


def with_raw(keyword: str, raw: bytes, syntax: str | None = None, **changes: Any) -> bytes:
    """A slice whose attribute holds these very bytes, whatever they mean."""
    marker = "7"
    data = ct_file(syntax=syntax, **{**changes, keyword: marker})
    tag = Tag(keyword)
    little = syntax != ExplicitVRBigEndian
    order = "little" if little else "big"
    at = data.index(tag.group.to_bytes(2, order) + tag.element.to_bytes(2, order))
    raw += b" " * (len(raw) % 2)
    if syntax == ImplicitVRLittleEndian:
        size_at, size_bytes = at + 4, 4
    else:
        size_at, size_bytes = at + 6, 2
    old = int.from_bytes(data[size_at : size_at + size_bytes], order)
    start = size_at + size_bytes
    return data[:size_at] + len(raw).to_bytes(size_bytes, order) + raw + data[start + old :]
