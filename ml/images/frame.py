"""One frame of a CT object: Hounsfield units, spacing, place, and the few tags that are kept.

Whatever decides a value in HU, a length in mm, an order or an identity is read by `header`:
right, or refused. What is taken although the standard wants it otherwise is said in a warning.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)

from ml.images import burned_in, description, orientation, voi
from ml.images.ct_slice import MADE_BY, Corrupt, CTSlice, NotCT
from ml.images.header import REMEDY, Header
from ml.images.voi import Window

Stored = npt.NDArray[Any]

ENHANCED = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)

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
    "SeriesNumber",
    "StackID",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "FrameOfReferenceUID",
    "RescaleType",
)
"""Keywords whose values are kept. None names a person, a place, a date or an examination."""

PHANTOM = ("Hepatica", "Phantom")
"""Manufacturer and ManufacturerModelName of Hepatica's own phantom."""

_MADE = re.compile(r"phantom [0-9.]{1,16}(\\difficulty [0-9.e-]{1,24})?", re.ASCII)

RESCALE = ("RescaleSlope", "RescaleIntercept")
"""Kept as the file writes them: what refers to the file has to tell them again."""
FRAMES = "NumberOfFrames"
"""Kept of a frame of several."""

_OF_FRAMES = (
    ("CTImageFrameTypeSequence", "FrameType", "ImageType"),
    ("CTReconstructionSequence", "ConvolutionKernel", "ConvolutionKernel"),
    ("CTXRayDetailsSequence", "KVP", "KVP"),
    ("PixelMeasuresSequence", "SliceThickness", "SliceThickness"),
    ("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
    ("FrameContentSequence", "StackID", "StackID"),
    ("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier"),
    ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase",
     "NominalPercentageOfCardiacPhase"),
)  # fmt: skip
"""Functional groups that say of a frame what a tag says of a slice."""

BURNED_IN = "The image has burned-in annotation, which may name the patient."
LOSSY = "Lossy compression has changed the Hounsfield units of this image."
_ALWAYS_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_MAYBE_LOSSY = (
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
)
_MAPS = (
    (
        "IODINE", "WATER", "FAT", "CALCIUM", "URIC_ACID", "ZEFF", "Z_EFF", "EFFECTIVE_Z",
        "EFF_ATOMIC_NUM", "RHO", "ELECTRON_DENSITY", "VNC", "VIRTUAL_NON_CONTRAST", "MONO",
        "MONOENERGETIC", "MONOCHROMATIC", "PERFUSION", "CBF", "RCBF", "CBV", "RCBV", "MTT", "TTP",
        "TMAX", "PBV", "BV", "BF", "PS", "HPI", "MIP", "MINIP", "MAX_IP", "MIN_IP", "SUBTRACTION",
        "DIFFERENCE", "EFF_Z", "VNI", "KEV", "OVERLAY", "FUSION", "VRT", "VOLUME_RENDERING",
        "VOLUME_RENDERED", "VOLUMERENDERED", "RENDERED", "SURFACE_MASK", "COLOR_MASK",
        "MATERIAL_DENSITY", "ELECTRON", "SPECTRAL", "URIC",
    )
)  # fmt: skip
"""Words of ImageType for what is computed from CT and is no plain slice of it."""
_NO_SLICES = (
    "LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM", "TOPO", "SURVIEW", "SCANOGRAM", "SCANO",
    "SCANOSCOPE",
)  # fmt: skip
_REPORTS = (
    "DOSE_INFO", "DOSE_REPORT", "DOSE_SHEET", "SCREEN_SAVE", "SCREENSAVE", "SCREENSHOT",
    "SCREEN_SHOT", "SCREEN_CAPTURE", "PATIENT_PROTOCOL", "REPORT",
)  # fmt: skip
_KINDS = (
    "ImageType", "FrameType", "VolumetricProperties", "VolumeBasedCalculationTechnique",
)  # fmt: skip
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_WORD = re.compile(r"[A-Z0-9_ /%.-]{1,16}", re.ASCII)
_LOWEST_HU, _HIGHEST_HU = -32768, 32767
_AIR_HU = -1024
_NOISY_AIR_HU = -1100
"""Noise takes air this far down; what is darker is no air."""
_WHOLE_SLICE_PX = 256
_LEAST_SPAN_HU = 50
_LEAST_VIEW_MM, _MOST_VIEW_MM = 100.0, 1000.0
"""A slice of the trunk is no smaller, and no gantry is wider."""
_MOST_ASPECT = 1.5
_TILTED_FROM_DEG = 5.0
_MOST_WINDOWS = 4


@dataclass(frozen=True)
class Frame:
    """A frame of an object: its header, and its functional groups where the object has them.

    Attributes:
        header: the whole object's.
        number: DICOM frame number, from 1.
        of: how many frames the object has.
        own, shared: the frame's functional groups (PS3.3 C.7.6.16), and those of all frames.
        enhanced: the object's class keeps its values in functional groups.
    """

    header: Header
    number: int = 1
    of: int = 1
    own: Header | None = None
    shared: Header | None = None
    enhanced: bool = False

    def holder(self, sequence: str, keyword: str) -> Header:
        """The header that states ``keyword`` for this frame; the object's own where none does.

        Raises:
            Corrupt: two places state different values.
        """
        groups = [item for item in self.groups(sequence) if item.text(keyword)]
        top = [self.header] if self.header.text(keyword) else []
        # the groups of an enhanced object are the ones that count; elsewhere they are foreign
        told = groups or top if self.enhanced else top + groups
        if not told:
            return self.header
        if any(item.text(keyword) != told[0].text(keyword) for item in told):
            raise Corrupt(
                f"{told[0].name}: {keyword} of frame {self.number} is stated twice and differs; "
                f"{REMEDY}."
            )
        return told[0]

    def groups(self, sequence: str) -> list[Header]:
        """The functional group of that name, the frame's own before that of all frames.

        Raises:
            Corrupt: one of them has several items, where one is allowed.
        """
        found: list[Header] = []
        for group in filter(None, (self.own, self.shared)):
            items = group.items(sequence)
            if len(items) > 1:
                raise Corrupt(
                    f"{group.name}: {sequence} of frame {self.number} has {len(items)} items where "
                    f"one is allowed; {REMEDY}."
                )
            found += items
        return found


def ct_slice(
    frame: Frame, stored: Stored, told_of_file: tuple[str, ...], tags: dict[str, str]
) -> CTSlice:
    """A frame with its stored values, as a slice in HU.

    Args:
        stored: (rows, columns), signed or unsigned as PixelRepresentation says.
        told_of_file: warnings of the whole file.
        tags: of the whole file.

    Raises:
        NotCT: its values are not Hounsfield units.
        Corrupt: Hounsfield units or geometry cannot be told.
    """
    header = frame.header
    told = list(told_of_file)
    for group in frame.groups("CTImageFrameTypeSequence"):
        refuse_no_slice(group, "FrameType")
    hounsfield = _hounsfield(frame, stored, told)
    if BURNED_IN not in told and burned_in.has_text(hounsfield):
        told.append(burned_in.SUSPECTED)
    cosines, position = _place(frame, told)
    thickness = frame.holder("PixelMeasuresSequence", "SliceThickness").decimal("SliceThickness")
    phantom = (tags.get("Manufacturer"), tags.get("ManufacturerModelName")) == PHANTOM
    made = header.text(MADE_BY) if phantom else ""
    return CTSlice(
        pixels=hounsfield,
        calibrated=True,
        spacing_mm=_spacing_mm(frame, stored, told),
        study_uid=uid(header, "StudyInstanceUID", told),
        series_uid=uid(header, "SeriesInstanceUID", told),
        sop_uid=uid(header, "SOPInstanceUID", told),
        frame=frame.number,
        patient_id=_identity(header, "PatientID", told),
        issuer=_identity(header, "IssuerOfPatientID", told),
        acquired=_acquired(frame),
        orientation=cosines,
        position=position,
        instance_number=_instance_number(header, told),
        slice_thickness_mm=thickness if thickness and thickness > 0 else None,
        phantom=phantom,
        tags={
            **_tags_of(frame, tags),
            **_windows(frame, told),
            **({MADE_BY: made} if _MADE.fullmatch(made) else {}),
            **_stored_as(frame),
        },
        warnings=tuple(dict.fromkeys(told)),
    )


def _stored_as(frame: Frame) -> dict[str, str]:
    """How the values of a frame are stored in its file, as tags."""
    values = {
        word: frame.holder("PixelValueTransformationSequence", word).text(word) for word in RESCALE
    }
    several = frame.header.text(FRAMES)
    return values if several in ("", "1") else {**values, FRAMES: several}


# -- Hounsfield units --------------------------------------------------------------------------


def _hounsfield(frame: Frame, stored: Stored, told: list[str]) -> npt.NDArray[np.int16]:
    """HU = stored × slope + intercept (PS3.3 C.11.1), rounded.

    MONOCHROME1 changes the display only: the HU are the same.
    """
    header = frame.header
    _judge_kind(frame, told)
    if header.has("ModalityLUTSequence"):
        raise Corrupt(
            f"{header.name} has a ModalityLUTSequence (0028,3000) in place of RescaleSlope and "
            "RescaleIntercept; such tables are not read. Export the slice with slope and intercept."
        )
    slope, intercept = (
        _rescale(frame, keyword) for keyword in ("RescaleSlope", "RescaleIntercept")
    )
    if slope == 0:
        raise Corrupt(f"{header.name}: RescaleSlope (0028,1053) is 0; {REMEDY}.")
    _judge_slope(header, slope, stored, told)
    _refuse_other_mapping(frame, slope, intercept)
    exact = slope.is_integer() and intercept.is_integer()
    if exact and abs(slope) < 2**14 and abs(intercept) < 2**30:
        wide: npt.NDArray[Any] = stored.astype(np.int32)
        if slope != 1:
            wide *= int(slope)
        if intercept:
            wide += int(intercept)
    else:
        wide = np.rint(stored * slope + intercept)
    _clear_padding(header, stored, wide)
    _judge_values(header, wide, told)
    return wide.astype(np.int16)


def _rescale(frame: Frame, keyword: str) -> float:
    holder = frame.holder("PixelValueTransformationSequence", keyword)
    value = holder.decimal(keyword)
    if value is None:
        raise Corrupt(
            f"{holder.name} has no {keyword}, so Hounsfield units cannot be told; "
            "send or export it again with it."
        )
    return value


def _judge_kind(frame: Frame, told: list[str]) -> None:
    header = frame.header
    kind = frame.holder("PixelValueTransformationSequence", "RescaleType").text("RescaleType")
    kind = kind.upper() or "HU"
    named = _named_kinds(frame, _MAPS)
    if kind == "HU":
        pass
    elif kind == "US" and not named:
        # unspecified: what some scanners and workstations write on plain slices
        told.append(
            "RescaleType is US (unspecified): the values are taken as Hounsfield units, as of "
            "plain CT."
        )
    else:
        shown = kind if _WORD.fullmatch(kind) else "of an unknown kind"
        what = f" and its ImageType names {named[0]}" if named else ""
        raise NotCT(
            f"{header.name}: its RescaleType (0028,1054) is {shown}{what}, so its values are not "
            "known to be Hounsfield units; give the original slices."
        )
    if named:
        told.append(
            f"ImageType names {named[0]}: this seems to be computed from CT (a map or a "
            "projection), no plain slice. The networks know plain slices only."
        )


def _named_kinds(frame: Frame, terms: Sequence[str]) -> list[str]:
    """Which of the terms the words for the kind of a frame hold."""
    holders = [frame.header, *frame.groups("CTImageFrameTypeSequence")]
    return [term for holder in holders for key in _KINDS for term in _terms(holder, key, terms)]


def _terms(header: Header, keyword: str, terms: Sequence[str]) -> list[str]:
    """The terms that an attribute holds as words of their own: MD_IODINE, IODINE MAP."""
    texts = [re.sub(r"[\W_]+", "_", text.upper()) for text in header.texts(keyword)]
    # 70KEV and MONO70 are two words each
    texts = [re.sub(r"(?<=[A-Z])(?=\d{2})|(?<=\d)(?=KEV)", "_", text) for text in texts]
    return [term for term in terms if any(f"_{term}_" in f"_{text}_" for text in texts)]


def refuse_no_slice(header: Header, keyword: str) -> None:
    """Raises NotCT where the words for the kind of an image name a localizer or a report."""
    for term in _terms(header, keyword, _NO_SLICES):
        raise NotCT(
            f"{header.name} is a localizer (scout view: {keyword} {term}), not a slice; "
            "give the axial slices."
        )
    for term in _terms(header, keyword, _REPORTS):
        raise NotCT(
            f"{header.name} is a report or a screen ({keyword} {term}), not a slice; give the "
            "axial slices."
        )


def _refuse_other_mapping(frame: Frame, slope: float, intercept: float) -> None:
    """Refuse a Real World Value Mapping to HU (PS3.3 C.7.6.16.2.11) that says other values."""
    holders = [frame.header, *filter(None, (frame.own, frame.shared))]
    for item in (one for each in holders for one in each.items("RealWorldValueMappingSequence")):
        units = [code.text("CodeValue") for code in item.items("MeasurementUnitsCodeSequence")]
        if not any("hnsf" in unit.lower() for unit in units):
            continue
        other = item.decimal("RealWorldValueSlope"), item.decimal("RealWorldValueIntercept")
        if other[0] is None or other[1] is None:
            continue
        if any(abs((other[0] - slope) * value + other[1] - intercept) > 0.5 for value in (0, 1000)):
            raise Corrupt(
                f"{frame.header.name}: RescaleSlope and RescaleIntercept say other Hounsfield "
                f"units than its RealWorldValueMappingSequence (0040,9096); {REMEDY}."
            )


def _judge_slope(header: Header, slope: float, stored: Stored, told: list[str]) -> None:
    span = int(stored.max()) - int(stored.min())
    if span and span * abs(slope) < 0.5:
        raise Corrupt(
            f"{header.name}: RescaleSlope (0028,1053) is {slope:g}, which makes one Hounsfield "
            f"unit of its {span + 1} stored values; {REMEDY}."
        )
    if span >= _LEAST_SPAN_HU and span * abs(slope) < _LEAST_SPAN_HU:
        told.append(
            f"RescaleSlope is {slope:g}, so that all pixels lie within {span * abs(slope):.0f} HU: "
            "it may be wrong."
        )
    if slope < 0:
        told.append(
            f"RescaleSlope is {slope:g}, below zero: what is stored brighter counts as less dense. "
            "It may be wrong."
        )


def _clear_padding(header: Header, stored: Stored, wide: npt.NDArray[Any]) -> None:
    """Make pixel padding (PS3.3 C.7.5.1.1.2) air, unless it lies within −1024…3071 HU.

    Some scanners declare 0 as padding, which may be water: such values stay.
    """
    first = header.whole("PixelPaddingValue", -32768, 65535)
    last = header.whole("PixelPaddingRangeLimit", -32768, 65535)
    if first is None:
        if last is not None:
            raise header.missing("PixelPaddingValue")
        return
    signed = stored.dtype.kind == "i"
    bits = 8 * stored.dtype.itemsize
    low, high = sorted(
        _wrapped(value, bits, signed) for value in (first, first if last is None else last)
    )
    padding = (stored >= low) & (stored <= high) & ((wide < _AIR_HU) | (wide > 3071))
    wide[padding] = _AIR_HU


def _wrapped(value: int, bits: int, signed: bool) -> int:
    # files write −2000 as 63536 and the other way round: the bits are the same
    value %= 1 << bits
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def _judge_values(header: Header, wide: npt.NDArray[Any], told: list[str]) -> None:
    """Refuse what no CT number can be, and tell of what is hardly one."""
    low, high = float(wide.min()), float(wide.max())
    if low < _LOWEST_HU or high > _HIGHEST_HU:
        worst = high if high > _HIGHEST_HU else low
        count = int(((wide < _LOWEST_HU) | (wide > _HIGHEST_HU)).sum())
        representation = header.whole("PixelRepresentation", 0, 1)
        raise Corrupt(
            f"{header.name}: {count} pixels come to as much as {worst:.0f} HU, which CT cannot "
            f"hold. PixelRepresentation (0028,0103) is {representation}; it or RescaleSlope or "
            f"RescaleIntercept is wrong. Correct it at the source, or export the slice again."
        )
    dark = int((wide < _NOISY_AIR_HU).sum())
    if dark > wide.size // 1000:
        told.append(
            f"{dark / wide.size:.0%} of the pixels are darker than air (down to {low:.0f} HU): "
            "padding that is not declared, or a wrong RescaleIntercept."
        )
    if min(wide.shape) >= _WHOLE_SLICE_PX and low > -500:
        told.append(
            f"No pixel is as dark as air (the darkest has {low:.0f} HU). If this is a whole slice, "
            "its RescaleIntercept is wrong."
        )


# -- geometry ----------------------------------------------------------------------------------


def _judge_view(spacing: Sequence[float], shape: tuple[int, ...], told: list[str]) -> None:
    """Tell of millimetres that no scanner gives: then a lesion's size in mm is wrong too."""
    sides = [count * step for count, step in zip(shape, spacing, strict=True)]
    shown = f"PixelSpacing {spacing[0]:g}\\{spacing[1]:g} makes the slice"
    if max(sides) > _MOST_VIEW_MM:
        told.append(f"{shown} {max(sides):.0f} mm long, longer than a gantry is wide: it is wrong.")
    elif min(shape) >= _WHOLE_SLICE_PX and max(sides) < _LEAST_VIEW_MM:
        told.append(f"{shown} {max(sides):.0f} mm long, less than a body: it may be wrong.")
    if max(spacing) > _MOST_ASPECT * min(spacing):
        told.append(
            f"The pixels are {spacing[0]:g} mm high and {spacing[1]:g} mm wide, which no scanner "
            "gives: this is a reformat, or PixelSpacing is wrong."
        )


def _spacing_mm(frame: Frame, stored: Stored, told: list[str]) -> tuple[float, float] | None:
    holder = frame.holder("PixelMeasuresSequence", "PixelSpacing")
    spacing = holder.decimals("PixelSpacing", 2)
    if spacing is None:
        aspect = frame.header.decimals("PixelAspectRatio", 2)
        if aspect is not None and aspect[0] != aspect[1]:
            raise Corrupt(
                f"{holder.name} has no PixelSpacing (0028,0030) and its pixels are not square; "
                f"{REMEDY} with it."
            )
        told.append("No pixel spacing: boxes in pixels work, millimetres do not.")
        return None
    if not all(0.01 <= value <= 20 for value in spacing):
        raise holder.fault("PixelSpacing", "two distances from 0.01 to 20 mm")
    _judge_view(spacing, stored.shape, told)
    return spacing[0], spacing[1]


def _judge_gantry(frame: Frame, tilt: float, told: list[str]) -> None:
    """Say where the gantry was tilted and the orientation does not show it."""
    try:
        gantry = frame.header.decimals("GantryDetectorTilt", 1)
    except Corrupt:  # it changes no value, so a bad one costs nobody the slice
        return
    if gantry is not None and abs(gantry[0]) - tilt > _TILTED_FROM_DEG:
        told.append(
            f"The gantry was tilted by {abs(gantry[0]):.0f}° (GantryDetectorTilt), and the "
            "orientation of the slice does not show it: one of them is wrong."
        )


def _place(
    frame: Frame, told: list[str]
) -> tuple[tuple[float, ...] | None, tuple[float, float, float] | None]:
    """Orientation (six cosines) and position (mm) of a frame; None for what the file lacks."""
    holder = frame.holder("PlaneOrientationSequence", "ImageOrientationPatient")
    cosines = holder.decimals("ImageOrientationPatient", 6)
    if cosines is not None:
        if not orientation.is_orientation(cosines):
            raise holder.fault("ImageOrientationPatient", "two unit vectors at right angles")
        plane, tilt = orientation.plane(cosines), orientation.tilt_deg(cosines)
        if plane is not orientation.Plane.AXIAL:
            told.append(f"The slice is {plane}, not axial. The networks know axial slices only.")
        elif tilt > _TILTED_FROM_DEG:
            told.append(f"The slice is tilted by {tilt:.0f}° against the axial plane.")
        else:
            _judge_gantry(frame, tilt, told)
        edges = orientation.edges(cosines)
        if plane is orientation.Plane.AXIAL and (edges.left[0], edges.top[0]) != ("R", "A"):
            told.append(
                f"The slice is stored turned or mirrored: {edges.left} is on its left and "
                f"{edges.top} at its top, where R and A are usual."
            )
    holder = frame.holder("PlanePositionSequence", "ImagePositionPatient")
    position = holder.decimals("ImagePositionPatient", 3)
    if position is not None and frame.of > 1 and holder is frame.header:
        told.append(f"One position is stated for {frame.of} frames: where each lies is not known.")
        position = None
    if position is None:
        return cosines, None
    return cosines, (position[0], position[1], position[2])


def _instance_number(header: Header, told: list[str]) -> int | None:
    """Where a scanner numbered the slice; it orders slices only where positions do not."""
    try:
        return header.whole("InstanceNumber", -(2**31), 2**31 - 1)
    except Corrupt:
        told.append("InstanceNumber (0020,0013) is no number of at most 31 bits and is left out.")
        return None


# -- identity and words ------------------------------------------------------------------------


def uid(header: Header, keyword: str, told: list[str] | None = None) -> str:
    """A UID, for SOP UIDs if need be that of the file meta group; "" where there is none.

    One that is no valid UID (letters, too long) still tells studies, series and images apart: it
    is taken as it stands, or by its SHA-256 where it is longer than 64 characters, and said.

    Raises:
        Corrupt: it holds bytes that are no text.
    """
    if header.is_damaged(keyword):
        raise Corrupt(f"{header.name}: {keyword} is damaged; send or export the slice again.")
    text = header.text(keyword)
    if not text and keyword.startswith("SOP"):
        text = str(header.dataset.file_meta.get(f"MediaStorage{keyword}") or "").strip()
    if not text or _UID.fullmatch(text):
        return text
    if told is not None:
        told.append(
            f"{keyword} is no valid UID (digits and dots, at most 64); it is taken as it stands."
        )
    if len(text) <= 64 and text.isascii():
        return text
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()[:56]}"


def _identity(header: Header, keyword: str, told: list[str]) -> str:
    text, readable = header.identity(keyword)
    if not readable:
        told.append(
            f"{keyword} cannot be read in the character set of the file; it is taken byte by byte, "
            "so the same person written otherwise counts as another."
        )
    return text


def allowed_tags(header: Header) -> dict[str, str]:
    """The values of ``ALLOWED_TAGS``, at most 64 characters each, and what may be kept of how the
    series is called and played."""
    told = {word: header.text(word) for word in (description.DESCRIPTION, *description.FILM)}
    return {
        keyword: text for keyword in ALLOWED_TAGS if (text := header.text(keyword)[:64].strip())
    } | description.tags(told)


def _tags_of(frame: Frame, tags: dict[str, str]) -> dict[str, str]:
    """The tags of a frame: those of the file, with what its functional groups say of it."""
    if frame.own is None and frame.shared is None:
        return tags
    found = dict(tags)
    for sequence, keyword, tag in _OF_FRAMES:
        for item in reversed(frame.groups(sequence)):
            if text := item.text(keyword)[:64].strip():
                found[tag] = text
    return found


def _windows(frame: Frame, told: list[str]) -> dict[str, str]:
    """The windows with which the file wants to be shown, as tags; what cannot be used is said.

    A window changes no value, so a bad one is left out and the slice taken.
    """
    texts = {}
    try:
        for keyword in voi.TAGS:
            texts[keyword] = frame.holder("FrameVOILUTSequence", keyword).text(keyword)
        found = Window.of_tags(texts)[:_MOST_WINDOWS]
    except (Corrupt, ValueError):
        told.append("The window that the file names cannot be used; the usual ones are shown.")
        found = ()
    return Window.tags(found) or _table(frame, told)


def _table(frame: Frame, told: list[str]) -> dict[str, str]:
    """The table with which the file wants to be shown where it names no window, as a tag."""
    if not frame.header.has("VOILUTSequence"):
        return {}
    try:
        items = frame.header.items("VOILUTSequence")
        # several are alternatives (PS3.3 C.11.2.1); the first is as good as any
        return {voi.TABLE: _table_of(items[0]).text} if items else {}
    except (Corrupt, ValueError):
        told.append(
            "The file is to be shown by a table (VOI LUT) that is damaged or has more than "
            f"{voi.MOST_STEPS} steps of grey; the usual windows are shown."
        )
        return {}


def _table_of(item: Header) -> voi.Table:
    count, first, bits = item.words("LUTDescriptor")
    count = count or 2**16
    # signed where the values are (C.11.1.1.1), whatever VR was written; HU are
    first -= 2**16 if first >= 2**15 else 0
    entries = item.words("LUTData")
    if bits == 8 and len(entries) == (count + 1) // 2 < count:
        entries = item.words("LUTData", bits=8)[:count]  # two to a word
    if len(entries) != count:
        raise ValueError("it has another number of entries than it says")
    return voi.Table.of_entries(first, np.array(entries), bits)


def _acquired(frame: Frame) -> str:
    """When the frame was acquired, as the file writes it; "" where it does not say."""
    for item in frame.groups("FrameContentSequence"):
        if text := item.text("FrameAcquisitionDateTime"):
            return text
    header = frame.header
    moment = header.text("AcquisitionDateTime")
    return moment or f"{header.text('AcquisitionDate')} {header.text('AcquisitionTime')}".strip()


def warnings(header: Header, syntax: UID) -> tuple[str, ...]:
    """What the user should know of the whole file."""
    told = []
    lossy = header.text("LossyImageCompression").upper()
    methods = ("LossyImageCompressionMethod", "LossyImageCompressionRatio")
    stated = lossy in ("01", "1", "YES") or any(header.text(keyword) for keyword in methods)
    if stated or syntax in _ALWAYS_LOSSY or (syntax in _MAYBE_LOSSY and lossy != "00"):
        told.append(LOSSY)
    if header.text("BurnedInAnnotation").upper() == "YES":
        told.append(BURNED_IN)
    if header.text("PhotometricInterpretation") == "MONOCHROME1":
        told.append("Stored for inverse display (MONOCHROME1); the Hounsfield units are the same.")
    return tuple(told)


def frames_of(header: Header, count: int, sop_class: str) -> Sequence[Frame]:
    """Every frame of an object with its functional groups.

    Raises:
        Corrupt: an enhanced object without groups, or another number of them than of frames.
    """
    enhanced = sop_class in ENHANCED
    own = header.items("PerFrameFunctionalGroupsSequence")
    shared = header.items("SharedFunctionalGroupsSequence")
    if enhanced and not own:
        raise header.missing("PerFrameFunctionalGroupsSequence")
    if own and len(own) != count:
        raise Corrupt(
            f"{header.name}: {len(own)} functional groups for {count} frames; export it again."
        )
    if len(shared) > 1:
        raise Corrupt(f"{header.name}: {len(shared)} shared functional groups; export it again.")
    return [
        Frame(
            header,
            number,
            count,
            own[number - 1] if own else None,
            shared[0] if shared else None,
            enhanced,
        )
        for number in range(1, count + 1)
    ]
