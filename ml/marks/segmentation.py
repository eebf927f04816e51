"""Segmentations (SEG, PS3.3 A.51 and C.8.20): every segment's parts, each on its largest slice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from ml.marks.region import MarkError, Mask, Place, Plane, Point, Region, regions
from ml.marks.words import cleaned

READ = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
)
"""Transfer syntaxes of objects that mark lesions."""
_NO_LESIONS = {
    ("SCT", "91723000"): "an anatomical structure",
    ("SCT", "123037004"): "an anatomical structure",
    ("SRT", "T-D000A"): "an anatomical structure",
    ("SCT", "260787004"): "a physical object",
    ("SRT", "A-00004"): "a physical object",
    ("SCT", "91720002"): "a body substance",
    ("SRT", "T-D0080"): "a body substance",
    ("SCT", "105590001"): "a substance",
    ("SCT", "246464006"): "a function",
    ("SCT", "309825002"): "a spatial and relational concept",
    ("SRT", "R-42018"): "a spatial and relational concept",
}
"""Property categories of segments (CID 7150) that are no lesion: a whole liver is not one."""


def read(dataset: Dataset, max_pixels: int) -> tuple[tuple[Region, ...], int]:
    """The regions of a segmentation, and how many specks were left out.

    Args:
        max_pixels: of all frames together.

    Raises:
        MarkError: it cannot be read as a whole; why.
    """
    segments = list(dataset.get("SegmentSequence") or [])
    if not segments:
        raise MarkError("it has no segment.")
    wanted: dict[int, Dataset] = {}
    found: list[Region] = []
    for item in segments:
        number = int(item.get("SegmentNumber", 0))
        if reason := no_lesion(item):
            found.append(_told(item, number, dataset, flaw=reason))
        else:
            wanted[number] = item
    masks: dict[int, dict[Place, tuple[Mask, Plane | None]]] = {one: {} for one in wanted}
    flaws: dict[int, str] = {}
    if wanted:
        _gather(dataset, max_pixels, masks, flaws)
    small = 0
    for number, item in wanted.items():
        try:
            if number in flaws:
                raise MarkError(flaws[number])
            parts, specks = _parts(masks[number])
        except MarkError as error:
            found.append(_told(item, number, dataset, flaw=str(error)))
            continue
        small += specks
        for place, size, corners, plane in parts:
            found.append(_told(item, number, dataset, place, size, corners, plane=plane))
    return tuple(found), small


def no_lesion(segment: Dataset) -> str:
    """Why a segment is no lesion, by its category; "" where it may be one."""
    for code in segment.get("SegmentedPropertyCategoryCodeSequence") or []:
        key = (str(code.get("CodingSchemeDesignator", "")), str(code.get("CodeValue", "")))
        if key in _NO_LESIONS:
            return f"its segment is {_NO_LESIONS[key]}, by its category, and no lesion."
    return ""


def _told(
    item: Dataset,
    number: int,
    dataset: Dataset,
    place: Place | None = None,
    size: tuple[int, int] | None = None,
    corners: tuple[Point, ...] = (),
    flaw: str = "",
    plane: Plane | None = None,
) -> Region:
    return Region(
        number,
        cleaned(item.get("SegmentLabel"), dataset),
        cleaned(item.get("TrackingID"), dataset),
        str(item.get("TrackingUID") or ""),
        places=(place,) if place else (),
        size=size,
        points=corners,
        flaw=flaw,
        plane=plane,
    )


_Part = tuple[Place, tuple[int, int], tuple[Point, ...], Plane | None]


def _parts(masks: dict[Place, tuple[Mask, Plane | None]]) -> tuple[list[_Part], int]:
    """Of each part of a segment its slice, that slice's size, its box's corners and its plane."""
    if not masks:
        raise MarkError("its segment marks nothing.")
    if len(masks) > 1 and any(plane is None for _, plane in masks.values()):
        raise MarkError("its frames do not tell where they lie (Plane Position and Orientation).")
    along = {place: plane.along if plane else 0.0 for place, (_, plane) in masks.items()}
    order = sorted(masks, key=along.__getitem__)
    found, small = regions([masks[place][0] for place in order], [along[place] for place in order])
    parts: list[_Part] = []
    for one in found:
        box = one.box
        corners = ((box.x, box.y), (box.x + box.width, box.y + box.height))
        place = order[one.place]
        rows, columns = masks[place][0].shape
        parts.append((place, (int(rows), int(columns)), corners, masks[place][1]))
    return parts, small


def _gather(
    dataset: Dataset,
    max_pixels: int,
    masks: dict[int, dict[Place, tuple[Mask, Plane | None]]],
    flaws: dict[int, str],
) -> None:
    """Put every frame that marks something to its segment and image."""
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    label_map = str(dataset.get("SegmentationType", "")) == "LABELMAP"
    count = 0
    for frame, group in zip(_frames(dataset, max_pixels), groups, strict=False):
        count += 1
        of = list(masks) if label_map else [segment_of(group, shared)]
        for number in of:
            if number not in masks:
                continue
            mask = inside(frame, dataset, number)
            if not mask.any():
                continue
            try:
                place = source_of(group, shared)
            except MarkError as error:
                flaws[number] = str(error)
                continue
            known = masks[number].get(place)
            joined = mask if known is None else known[0] | mask
            masks[number][place] = joined, plane_of(group, shared)
    if count != len(groups) or count != int(dataset.get("NumberOfFrames", 1) or 1):
        raise MarkError(
            f"it has {int(dataset.get('NumberOfFrames', 1) or 1)} frames and tells the place of "
            f"{len(groups)}."
        )


def _frames(dataset: Dataset, max_pixels: int) -> Iterator[np.ndarray]:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax not in READ:
        raise MarkError(
            f"its frames are stored as {syntax.name}, which is not read; send it uncompressed or "
            "as RLE."
        )
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    pixels = frames * int(dataset.get("Rows", 0)) * int(dataset.get("Columns", 0))
    if not 0 < pixels <= max_pixels:
        raise MarkError(
            f"it has {pixels / 1e6:.0f} million pixels, more than are read at once; segment "
            "fewer slices in one object."
            if pixels > 0
            else "it has no pixels."
        )
    yield from iter_pixels(dataset, raw=True)


def inside(frame: np.ndarray, dataset: Dataset, number: int | None) -> Mask:
    """What of a frame belongs to a segment."""
    kind = str(dataset.get("SegmentationType", ""))
    if kind == "FRACTIONAL":
        return np.asarray(frame > int(dataset.get("MaximumFractionalValue", 255)) / 2)
    if kind == "LABELMAP":
        return np.asarray(frame == number)
    return np.asarray(frame != 0)


def segment_of(group: Dataset, shared: Dataset) -> int | None:
    """Which segment a frame is of; None in a label map, whose values tell."""
    for part in (group, shared):
        told = part.get("SegmentIdentificationSequence")
        if told:
            return int(told[0].ReferencedSegmentNumber)
    return None


def source_of(group: Dataset, shared: Dataset) -> Place:
    """The image that a frame lies on.

    Raises:
        MarkError: it does not tell, or names several.
    """
    for part in (group, shared):
        found = {
            Place(str(source.ReferencedSOPInstanceUID), _first(source.get("ReferencedFrameNumber")))
            for derived in part.get("DerivationImageSequence") or []
            for source in derived.get("SourceImageSequence") or []
            if source.get("ReferencedSOPInstanceUID")
        }
        if len(found) > 1:
            raise MarkError(
                "a frame of it names several images, so that it is not clear on which it lies."
            )
        if found:
            return found.pop()
    raise MarkError("its frames do not say on which images they lie (Derivation Image Sequence).")


def _first(value: object) -> int:
    if value is None or value == "":
        return 1
    return int(value[0]) if isinstance(value, list) or hasattr(value, "__len__") else int(value)  # type: ignore[call-overload,index]


def plane_of(group: Dataset, shared: Dataset) -> Plane | None:
    """Where a frame lies, as the segmentation itself tells; None where it does not."""
    place = _in(group, shared, "PlanePositionSequence", "ImagePositionPatient")
    turned = _in(group, shared, "PlaneOrientationSequence", "ImageOrientationPatient")
    if place is None or turned is None or len(place) != 3 or len(turned) != 6:
        return None
    spacing = _in(group, shared, "PixelMeasuresSequence", "PixelSpacing")
    known = spacing is not None and len(spacing) == 2 and min(spacing) > 0
    return Plane(tuple(turned), tuple(place), tuple(spacing) if spacing and known else None)


def _in(group: Dataset, shared: Dataset, sequence: str, keyword: str) -> list[float] | None:
    for part in (group, shared):
        told = part.get(sequence)
        if told and told[0].get(keyword):
            return [float(value) for value in told[0].get(keyword)]
    return None
