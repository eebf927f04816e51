"""The Image Library of a report: which images it is about, and how each lies (PS3.16 TID 1600).

What is not kept of an image is left out; nothing is put in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.valuerep import DSfloat

from app.models.cases.case import Image
from app.objects import rebuilt
from app.objects.content import Relation, coded, container, image, number, uid
from ml.lesion import Code

SOURCE = Code("260753009", "SCT", "Source")

_LIBRARY = Code("111028", "DCM", "Image Library")
_GROUP = Code("126200", "DCM", "Image Library Group")
_MODALITY = Code("121139", "DCM", "Modality")
_CT = Code("CT", "DCM", "Computed Tomography")
_OTHER = Code("OT", "DCM", "Other")
_FRAME_OF_REFERENCE = Code("112227", "DCM", "Frame of Reference UID")
_ROWS = Code("110910", "DCM", "Pixel Data Rows")
_COLUMNS = Code("110911", "DCM", "Pixel Data Columns")
_SPACINGS = (
    Code("111026", "DCM", "Horizontal Pixel Spacing"),
    Code("111066", "DCM", "Vertical Pixel Spacing"),
)
_THICKNESS = Code("112225", "DCM", "Slice Thickness")
_POSITION = tuple(
    Code(f"11090{number}", "DCM", f"Image Position (Patient) {axis}")
    for number, axis in enumerate("XYZ", 1)
)
_ORIENTATION = tuple(
    Code(f"11090{number}", "DCM", f"Image Orientation (Patient) {side} {axis}")
    for number, (side, axis) in enumerate(
        ((side, axis) for side in ("Row", "Column") for axis in "XYZ"), 4
    )
)
_PIXELS = Code("{pixels}", "UCUM", "Pixels")
_MM = Code("mm", "UCUM", "mm")
_UNIT_VECTOR = Code("{-1:1}", "UCUM", "{-1:1}")


def of(images: Iterable[Image]) -> bytes:
    """The library of these images, as a content item: a group of each modality."""
    entries: dict[bool, list[bytes]] = {}
    for one in images:
        entries.setdefault(one.calibrated, []).append(_entry(one))
    groups = [container(Relation.CONTAINS, _GROUP, group) for group in entries.values()]
    return container(Relation.CONTAINS, _LIBRARY, groups)


def _entry(of: Image) -> bytes:
    kind = rebuilt.sop_class(of.calibrated)
    return image(Relation.CONTAINS, SOURCE, kind, str(of.uid), _described(of))


def _described(of: Image) -> Iterator[bytes]:
    """TID 1602, and of a CT image TID 1604."""
    has = Relation.ACQUISITION_CONTEXT
    yield coded(has, _MODALITY, _CT if of.calibrated else _OTHER)
    if frame := str(of.tags.get("FrameOfReferenceUID", "")):
        yield uid(has, _FRAME_OF_REFERENCE, frame)
    yield number(has, _ROWS, of.rows, _PIXELS)
    yield number(has, _COLUMNS, of.columns, _PIXELS)
    if not of.calibrated:
        return
    for one in _lengths(of):
        yield number(has, one.name, one.value, one.unit)


@dataclass(frozen=True)
class _Length:
    name: Code
    value: DSfloat
    unit: Code = _MM


def _lengths(of: Image) -> Iterator[_Length]:
    """As `rebuilt` writes them into the image itself."""
    if of.spacing_mm is not None:
        for name, value in zip(_SPACINGS, reversed(of.spacing_mm), strict=True):
            yield _Length(name, rebuilt.decimal(value))
    thickness = rebuilt.kept_decimal(str(of.tags.get("SliceThickness", "")))
    if thickness is not None:
        yield _Length(_THICKNESS, thickness)
    for name, value in zip(_POSITION, of.position or (), strict=False):
        yield _Length(name, rebuilt.decimal(value))
    for name, value in zip(_ORIENTATION, of.orientation or (), strict=False):
        yield _Length(name, rebuilt.decimal(value), _UNIT_VECTOR)
