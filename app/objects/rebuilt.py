"""Objects rebuilt from what is kept: derived and de-identified, and they say so.

Nothing that was not kept is put in its place: what the standard wants in a CT image and an upload
did not leave here is empty, or missing (PS3.3 A.3, A.8). Pixels are Hounsfield units, so slope is 1
and intercept 0. Each frame of a multi-frame object is an image of its own.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    SecondaryCaptureImageStorage,
)
from pydicom.valuerep import DSfloat

from app.models.cases.case import Case, Image, Series
from app.objects.part10 import written
from app.settings import VERSION
from ml.images import voi
from ml.images.ct_slice import MADE_BY
from ml.images.decimals import DECIMAL
from ml.images.frame import ALLOWED_TAGS, BURNED_IN, FRAMES, LOSSY

SERIES_DESCRIPTION = "De-identified, rebuilt by Hepatica"
DERIVATION = (
    "Rebuilt from kept Hounsfield units and allow-listed attributes; not the object that was "
    "received. De-identified: names, numbers, descriptions, times and private attributes were not "
    "kept, dates were not or were moved, and all UIDs are others."
)
_PROFILE = ("113100", "Basic Application Confidentiality Profile")
_EQUIPMENT = ("109104", "De-identifying Equipment")
_DATES_MOVED = (
    "113107",
    "Retain Longitudinal Temporal Information Modified Dates Option",
)
DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
"""Kept where a door keeps dates, moved by the patient's days."""
_METHOD = "Allow-list of attributes; keyed map of UIDs (HMAC)"
_TEXT = re.compile(r"[^\\\x00-\x1f]{1,64}")
_WHOLE = re.compile(r"[+-]?\d{1,10}", re.ASCII)
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}", re.ASCII)

_ELSEWHERE = ("Modality", "ImageType", "FrameOfReferenceUID", "RescaleType", "SeriesNumber")
"""Kept tags that need a rule of their own."""
_STAYS = ("ContrastBolusAgent",)
"""Kept tags that do not leave: free text, which the profile does away with (PS3.15 table E.1-1)."""
NOT_KEPT = (
    "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
    "PatientBirthDate", "PatientSex",
)  # fmt: skip
"""Type 2 in every object, and not kept."""
KNOWN = (
    "SpecificCharacterSet", "StudyInstanceUID", "PatientName", "PatientID",
    "PatientIdentityRemoved", "DeidentificationMethod", "SeriesInstanceUID", "Modality",
    "SeriesDescription", "SeriesNumber", "SOPClassUID", "SOPInstanceUID", "InstanceNumber",
    "InstanceCreationDate", "InstanceCreationTime", "TimezoneOffsetFromUTC",
    "DerivationDescription", "ContributingEquipmentSequence", "DeidentificationMethodCodeSequence",
    "ImageComments", "BurnedInAnnotation", "ConversionType", "PixelSpacing",
    "NominalScannedPixelSpacing", "ImageOrientationPatient", "ImagePositionPatient",
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept", "RescaleSlope",
    "InstanceAvailability", "RetrieveURL", "LongitudinalTemporalInformationModified", *DATES,
    *voi.TAGS, MADE_BY,
    *(word for word in ALLOWED_TAGS if word not in _STAYS),
)  # fmt: skip
"""Attributes that an object can have a value of."""
_EMPTY_OF_IMAGE = ("Manufacturer", "KVP", "SliceThickness", "AcquisitionNumber", "PatientPosition")
"""Type 2 in a CT image; empty where an upload did not tell them."""


def of_study(case: Case) -> Dataset:
    """What all objects of a case share: patient and study."""
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    for keyword in NOT_KEPT:
        setattr(found, keyword, None)
    found.StudyDate = case.study_date
    found.StudyInstanceUID = case.uid
    found.PatientName = found.PatientID = re.sub(r"[\\^=]", "_", case.pseudonym)
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = _METHOD
    return found


def of_series(series: Series, first: Image) -> Dataset:
    """What the objects of a series share."""
    found = Dataset()
    found.SeriesInstanceUID = series.uid
    found.Modality = modality(first.calibrated)
    found.SeriesDescription = SERIES_DESCRIPTION
    found.SeriesNumber = found.Laterality = None
    _put(found, "SeriesNumber", str(first.tags.get("SeriesNumber", "")))
    return found


def modality(calibrated: bool) -> str:
    """CT, or OT for pictures, which say nothing of how they were made."""
    return "CT" if calibrated else "OT"


def sop_class(calibrated: bool) -> str:
    """CT Image Storage, or Secondary Capture for pictures."""
    return str(CTImageStorage if calibrated else SecondaryCaptureImageStorage)


def header(image: Image) -> Dataset:
    """An image without its pixels."""
    series = image.series
    found = of_study(series.case)
    found.update(of_series(series, image))
    found.SOPClassUID = sop_class(image.calibrated)
    found.SOPInstanceUID = image.uid
    # of one object, whose own number says nothing of its frames
    several = image.frame > 1 or FRAMES in image.tags
    found.InstanceNumber = image.frame if several else image.instance_number
    found.InstanceCreationDate = image.created_at.strftime("%Y%m%d")
    found.InstanceCreationTime = image.created_at.strftime("%H%M%S")
    found.TimezoneOffsetFromUTC = "+0000"
    found.DerivationDescription = DERIVATION
    found.ContributingEquipmentSequence = [_equipment()]
    found.DeidentificationMethodCodeSequence = methods(series.case)
    found.LongitudinalTemporalInformationModified = longitudinal(series.case)
    for keyword in DATES[1:]:
        if told := str(image.tags.get(keyword, "")):
            setattr(found, keyword, told)
    if image.warnings:
        found.ImageComments = " ".join(image.warnings)[:10_000]
    if BURNED_IN in image.warnings:
        found.BurnedInAnnotation = "YES"
    _of_acquisition(found, image)
    _of_place(found, image)
    _of_pixels(found, image)
    return found


def named(image: Image) -> Dataset:
    """What an image is referred to by, and nothing of what it is."""
    found = Dataset()
    found.SOPClassUID = sop_class(image.calibrated)
    found.SOPInstanceUID = image.uid
    found.SeriesInstanceUID = image.series.uid
    found.StudyInstanceUID = image.series.case.uid
    return found


def methods(case: Case) -> list[Dataset]:
    """How what leaves of a case was de-identified, as codes (PS3.16 CID 7050)."""
    moved = [code(*_DATES_MOVED)] if case.study_date else []
    return [code(*_PROFILE), *moved]


def longitudinal(case: Case) -> str:
    """What became of dates (0028,0303), as PS3.15 E.3.6 has it."""
    return "MODIFIED" if case.study_date else "REMOVED"


def file(image: Image, raw: bytes) -> bytes:
    """A whole DICOM file (PS3.10), Explicit VR Little Endian.

    Args:
        raw: the pixels, little-endian.
    """
    found = header(image)
    # bytes of 8 bits are padded to an even length (PS3.5 8.1.1)
    found.PixelData = raw + b"\0" * (len(raw) % 2)
    found["PixelData"].VR = "OW" if found.BitsAllocated > 8 else "OB"
    return written(found)


def raw_pixels(stored: bytes) -> bytes:
    """Pixels as they are in an object, from the bytes in the database."""
    return zlib.decompress(stored)


# -- parts of an image -------------------------------------------------------------------------


def _of_acquisition(found: Dataset, image: Image) -> None:
    told = {word: str(image.tags.get(word, "")) for word in ALLOWED_TAGS}
    if not image.calibrated:
        found.ImageType = ["DERIVED", "SECONDARY"]
        found.ConversionType = "WSD"
        return
    found.ImageType = ["DERIVED", *_image_type(told["ImageType"])]
    for keyword in _EMPTY_OF_IMAGE:
        setattr(found, keyword, None)
    for keyword, text in told.items():
        if text and keyword not in (*_ELSEWHERE, *_STAYS):
            _put(found, keyword, text)
    if image.phantom:
        found.SyntheticData = "YES"
        if made := str(image.tags.get(MADE_BY, "")):
            _put(found, MADE_BY, made)
    if LOSSY in image.warnings:
        found.LossyImageCompression = "01"


def _image_type(told: str) -> list[str]:
    """What follows the first value of a CT's Image Type, as far as it was kept.

    A CT image is axial or a localizer (PS3.3 C.8.2.1.1.1), and localizers are not taken.
    """
    kept = [one.strip() for one in told.split("\\")[1:]]
    second = kept[0] if kept and kept[0] in ("PRIMARY", "SECONDARY") else "PRIMARY"
    third = kept[1] if len(kept) > 1 and kept[1] else "AXIAL"
    values = [second, third, *(one for one in kept[2:] if one)]
    return [one for one in values if _CODE.fullmatch(one)]


def _of_place(found: Dataset, image: Image) -> None:
    if image.spacing_mm is not None:
        name = "PixelSpacing" if image.calibrated else "NominalScannedPixelSpacing"
        setattr(found, name, [decimal(value) for value in image.spacing_mm])
    if image.orientation is not None:
        found.ImageOrientationPatient = [decimal(value) for value in image.orientation]
    if image.position is not None:
        found.ImagePositionPatient = [decimal(value) for value in image.position]
    if of := str(image.tags.get("FrameOfReferenceUID", "")):
        found.FrameOfReferenceUID = of
        found.PositionReferenceIndicator = None


def _of_pixels(found: Dataset, image: Image) -> None:
    bits = 8 if image.dtype == "uint8" else 16
    found.SamplesPerPixel = 1
    found.PhotometricInterpretation = "MONOCHROME2"
    found.Rows, found.Columns = image.rows, image.columns
    found.BitsAllocated = found.BitsStored = bits
    found.HighBit = bits - 1
    found.PixelRepresentation = int(image.dtype == "int16")
    if image.calibrated:
        found.RescaleIntercept, found.RescaleSlope = "0", "1"
        # what is said to be unspecified stays so (PS3.3 C.11.1.1.2)
        windows = image.windows
        if windows:
            found.WindowCenter = [decimal(one.center) for one in windows]
            found.WindowWidth = [decimal(one.width) for one in windows]
            found.VOILUTFunction = windows[0].function.name
        found.RescaleType = "US" if image.tags.get("RescaleType", "").upper() == "US" else "HU"


def _equipment() -> Dataset:
    """This installation, as what de-identified the object (PS3.15 E.1.1)."""
    found = Dataset()
    found.PurposeOfReferenceCodeSequence = [code(*_EQUIPMENT)]
    found.Manufacturer = found.ManufacturerModelName = "Hepatica"
    found.SoftwareVersions = VERSION[:64]
    return found


def code(value: str, meaning: str) -> Dataset:
    """A concept of the DICOM standard's own scheme."""
    found = Dataset()
    found.CodeValue = value
    found.CodingSchemeDesignator = "DCM"
    found.CodeMeaning = meaning
    return found


# -- values ------------------------------------------------------------------------------------


def decimal(value: float) -> DSfloat:
    """A number as DICOM writes it, with at most 16 characters (PS3.5 6.2 DS)."""
    return DSfloat(value, auto_format=True)


def kept_decimal(text: str) -> DSfloat | None:
    """A kept text as the number that it is; None where it is none."""
    text = text.strip()
    return DSfloat(text) if _is_decimal(text) else None


def _put(found: Dataset, keyword: str, text: str) -> None:
    """Set an attribute from kept text; what its VR does not take stays as it was."""
    kind = dictionary_VR(keyword)
    fits = _FITS[kind]
    values = [one.strip() for one in text.split("\\")]
    if all(fits(one) for one in values):
        read = [float(one) for one in values] if kind == "FL" else values
        setattr(found, keyword, read if len(read) > 1 else read[0])


def _is_decimal(text: str) -> bool:
    return len(text) <= 16 and bool(DECIMAL.fullmatch(text))


_FITS: dict[str, Callable[[str], bool]] = {
    "CS": lambda text: bool(_CODE.fullmatch(text)),
    "DS": _is_decimal,
    "FL": _is_decimal,
    "IS": lambda text: bool(_WHOLE.fullmatch(text)) and -(2**31) <= int(text) < 2**31,
    "LO": lambda text: bool(_TEXT.fullmatch(text)),
    "SH": lambda text: len(text) <= 16 and bool(_TEXT.fullmatch(text)),
}
