"""Things to test with, made by plain functions with sane defaults."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def make_hu(seed: int = 0, side: int = 128) -> npt.NDArray[np.int16]:
    """Soft tissue of about 110 HU with a darker disc of 30 px in the middle, (side, side)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    hu = 110 + 8 * rng.standard_normal((side, side))
    hu[np.hypot(x, y) < 15] -= 100
    return np.rint(hu).astype(np.int16)


def make_dicom(
    hu: npt.NDArray[np.int16] | None = None,
    *,
    study: str = "1",
    series: str = "1",
    number: int = 1,
    z: float = 0.0,
    patient_id: str = "12345678",
    spacing: tuple[float, float] | None = (0.8, 0.8),
    phantom: bool = False,
    without: tuple[str, ...] = (),
    **tags: Any,
) -> bytes:
    """A CT slice as a DICOM file. ``study`` and ``series`` are words from which UIDs are made."""
    pixels = make_hu(number) if hu is None else hu
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[study, series, str(number)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    fields: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(entropy_srcs=["study", study]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series", study, series]),
        "Modality": "CT",
        "PatientID": patient_id,
        "PatientName": "Secret^Sylvia",
        "PatientBirthDate": "19610101",
        "InstitutionName": "Secret Hospital",
        "AccessionNumber": "SECRET-ACC",
        "Manufacturer": "Hepatica" if phantom else "ACME",
        "ManufacturerModelName": "Phantom" if phantom else "Scanner",
        "InstanceNumber": number,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, z],
        "SliceThickness": 2.5,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "PixelData": np.ascontiguousarray(pixels, "<i2").tobytes(),
        **({"PixelSpacing": list(spacing)} if spacing else {}),
        **tags,
    }
    for keyword, value in fields.items():
        if keyword not in without:
            setattr(dataset, keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def make_png(side: int = 64, seed: int = 0, form: str = "PNG") -> bytes:
    """A grey picture with noise in it."""
    grey = np.random.default_rng(seed).integers(60, 200, (side, side), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, form)
    return stream.getvalue()


def make_zip(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def hidden_fields(html: str, form: str = "data-review") -> dict[str, str]:
    """The hidden fields of the first form with that attribute, as a browser would send them."""
    found = re.search(rf"<form[^>]*\b{form}\b.*?</form>", html, re.S)
    assert found, f"the page has no form with {form}"
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', found[0]))
