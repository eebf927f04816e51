"""One frame of a CT object: Hounsfield units, spacing, place, and the few tags that are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ml.image import Corrupt, CTSlice, NotCT

ALLOWED_TAGS = (
    "Modality",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "SyntheticData",
    "BodyPartExamined",
    "PatientPosition",
    "KVP",
    "SliceThickness",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "GantryDetectorTilt",
    "LossyImageCompression",
)
"""Keywords whose values are kept. None names a person, a place, a date or an examination."""

PHANTOM = ("Hepatica", "Phantom")
"""Manufacturer and ManufacturerModelName of Hepatica's own phantom."""

_ALWAYS_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_MAYBE_LOSSY = (
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
)


def ct_slice(
    dataset: Dataset,
    index: int,
    stored: npt.NDArray[Any],
    told_of_file: tuple[str, ...],
    tags: dict[str, str],
    name: str,
) -> CTSlice:
    """Frame ``index`` (from 0) with its stored values, as a slice in HU.

    Raises:
        NotCT: its values are not Hounsfield units.
        Corrupt: Hounsfield units cannot be told.
    """
    told = list(told_of_file)
    hounsfield = _hounsfield(dataset, index, stored, told, name)
    spacing = _numbers(_attribute(dataset, index, "PixelMeasuresSequence", "PixelSpacing"), 2)
    if spacing is not None and not all(0.01 <= value <= 20 for value in spacing):
        told.append(f"The pixel spacing {spacing[0]:g} × {spacing[1]:g} mm is impossible.")
        spacing = None
    if spacing is None:
        told.append("No pixel spacing: boxes in pixels work, millimetres do not.")
    thickness = _numbers(_attribute(dataset, index, "PixelMeasuresSequence", "SliceThickness"), 1)
    instance = _numbers(dataset.get("InstanceNumber"), 1)
    return CTSlice(
        pixels=hounsfield,
        calibrated=True,
        spacing_mm=(spacing[0], spacing[1]) if spacing else None,
        study_uid=uid(dataset, "StudyInstanceUID"),
        series_uid=uid(dataset, "SeriesInstanceUID"),
        sop_uid=uid(dataset, "SOPInstanceUID"),
        frame=index + 1,
        patient_id=str(dataset.get("PatientID") or ""),
        position_mm=_position_mm(dataset, index),
        instance_number=int(instance[0]) if instance else None,
        slice_thickness_mm=thickness[0] if thickness and thickness[0] > 0 else None,
        phantom=(tags.get("Manufacturer"), tags.get("ManufacturerModelName")) == PHANTOM,
        tags=tags,
        warnings=tuple(told),
    )


def _hounsfield(
    dataset: Dataset, index: int, stored: npt.NDArray[Any], told: list[str], name: str
) -> npt.NDArray[np.int16]:
    """HU = stored × slope + intercept (PS3.3 C.11.1), rounded, clipped to int16.

    MONOCHROME1 changes the display only: the HU are the same.
    """
    sequence = "PixelValueTransformationSequence"
    slope = _numbers(_attribute(dataset, index, sequence, "RescaleSlope"), 1)
    intercept = _numbers(_attribute(dataset, index, sequence, "RescaleIntercept"), 1)
    kind = str(_attribute(dataset, index, sequence, "RescaleType") or "HU").upper()
    original = "ORIGINAL" in many(dataset.get("ImageType"))[:1]
    # US (unspecified) is what some scanners write on plain slices
    if kind != "HU" and not (kind == "US" and original):
        raise NotCT(
            f"{name}: its values are {kind}, not Hounsfield units (a perfusion or "
            "material map?); give the original slices."
        )
    if intercept is None:
        if int(dataset.get("PixelRepresentation") or 0) == 0:
            raise Corrupt(
                f"{name} has no RescaleIntercept, so Hounsfield units cannot be told; "
                "send or export it again with it."
            )
        told.append("No RescaleIntercept: the stored values are taken as Hounsfield units.")
    factor, offset = (slope or (1.0,))[0], (intercept or (0.0,))[0]
    if factor == 0:
        raise Corrupt(f"{name}: RescaleSlope is 0; send or export it again.")
    if factor.is_integer() and offset.is_integer() and abs(factor) < 2**14 and abs(offset) < 2**30:
        wide: npt.NDArray[Any] = stored.astype(np.int32)
        if factor != 1:
            wide *= int(factor)
        if offset:
            wide += int(offset)
    else:
        wide = np.rint(stored * factor + offset)
    _clear_padding(dataset, stored, wide)
    return np.clip(wide, -32768, 32767, out=wide).astype(np.int16)


def _clear_padding(dataset: Dataset, stored: npt.NDArray[Any], wide: npt.NDArray[Any]) -> None:
    """Make pixel padding (PS3.3 C.7.5.1.1.2) air, unless it lies within −1024…3071 HU.

    Some scanners declare 0 as padding, which may be water: such values stay.
    """
    first = _numbers(dataset.get("PixelPaddingValue"), 1)
    if first is None:
        return
    last = _numbers(dataset.get("PixelPaddingRangeLimit"), 1) or first
    bits = int(dataset.BitsAllocated)
    signed = int(dataset.get("PixelRepresentation") or 0) == 1
    ends = sorted(_wrapped(int(value[0]), bits, signed) for value in (first, last))
    padding = (stored >= ends[0]) & (stored <= ends[1]) & ((wide < -1024) | (wide > 3071))
    wide[padding] = -1024


def _wrapped(value: int, bits: int, signed: bool) -> int:
    value %= 1 << bits
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def _attribute(dataset: Dataset, index: int, sequence: str, keyword: str) -> Any:
    """Per-frame, then shared functional group (PS3.3 C.7.6.16), then the data set itself."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for group in (*per_frame[index : index + 1], *shared[:1]):
        for item in (group.get(sequence) or ())[:1]:
            if item.get(keyword) is not None:
                return item.get(keyword)
    return dataset.get(keyword)


def _position_mm(dataset: Dataset, index: int) -> float | None:
    position = _numbers(
        _attribute(dataset, index, "PlanePositionSequence", "ImagePositionPatient"), 3
    )
    orientation = _numbers(
        _attribute(dataset, index, "PlaneOrientationSequence", "ImageOrientationPatient"), 6
    )
    if position is None or orientation is None:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    return float(np.dot(position, normal)) if np.linalg.norm(normal) > 0.5 else None


def many(value: Any) -> list[Any]:
    """The values of an attribute of any multiplicity."""
    if value is None or value == "":
        return []
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return list(value)
    return [value]


def _numbers(value: Any, count: int) -> Sequence[float] | None:
    """That many finite numbers, or None where the attribute has not got them."""
    try:
        numbers = [float(item) for item in many(value)]
    except (TypeError, ValueError):
        return None
    usable = len(numbers) == count and all(math.isfinite(number) for number in numbers)
    return numbers if usable else None


def uid(dataset: Dataset, keyword: str) -> str:
    """A UID, for SOP UIDs if need be that of the file meta group; "" where it is none."""
    value = str(dataset.get(keyword) or "")
    if not value and keyword.startswith("SOP"):
        value = str(dataset.file_meta.get(f"MediaStorage{keyword}") or "")
    return value if len(value) <= 64 and all(c in "0123456789." for c in value) else ""


def allowed_tags(dataset: Dataset) -> dict[str, str]:
    """The values of ``ALLOWED_TAGS``, at most 64 characters each."""
    tags: dict[str, str] = {}
    for keyword in ALLOWED_TAGS:
        text = "\\".join(str(item) for item in many(dataset.get(keyword)))
        text = "".join(c for c in text if c.isprintable()).strip()[:64]
        if text:
            tags[keyword] = text
    return tags


def warnings(dataset: Dataset, syntax: UID) -> tuple[str, ...]:
    """What the user should know of the whole file."""
    told = []
    lossy = str(dataset.get("LossyImageCompression") or "")
    if lossy == "01" or syntax in _ALWAYS_LOSSY or (syntax in _MAYBE_LOSSY and lossy != "00"):
        told.append("Lossy compression has changed the Hounsfield units of this image.")
    if str(dataset.get("BurnedInAnnotation") or "") == "YES":
        told.append("The image has burned-in annotation, which may name the patient.")
    if str(dataset.get("PhotometricInterpretation") or "") == "MONOCHROME1":
        told.append("Stored for inverse display (MONOCHROME1); the Hounsfield units are the same.")
    return tuple(told)
