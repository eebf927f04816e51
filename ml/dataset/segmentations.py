"""Lesions that DICOM objects mark: segmentations (SEG) and contours (RTSTRUCT).

PS3.3 A.51 and C.8.20 (SEG), A.19.3 and C.8.8.6 (RTSTRUCT). The label of a segment or of an ROI is
the lesion's class, or is mapped to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.dataset import Dataset

from ml.dataset import components
from ml.dataset.entries import Entry, Mark
from ml.dataset.files import Files
from ml.dataset.table import CellError, PrepareError, Row
from ml.images.ct_slice import CTSlice

_SEG = "1.2.840.10008.5.1.4.1.1.66.4"
_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
_CLOSED = "CLOSED_PLANAR"
_OFF_PLANE_MM = 1.0

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """Segmentations under a folder.

    Attributes:
        entries: one for each segment or ROI.
        counts: "small": specks that were left out; grows while the entries are read.
    """

    entries: list[Entry]
    counts: dict[str, int] = field(default_factory=lambda: {"small": 0})


def found(folder: Path, files: Files) -> Found:
    """An entry for each segment of a SEG and each ROI of an RTSTRUCT under a folder.

    Raises:
        PrepareError: none is there.
    """
    told = Found([])
    for path in sorted(folder.rglob("*")):
        dataset = _object(path)
        if dataset is None:
            continue
        file = path.relative_to(folder).as_posix()
        labels = _segments(dataset) if str(dataset.SOPClassUID) == _SEG else _rois(dataset)
        for number, label in labels:
            told.entries.append(
                Entry(
                    f"{file}, {label or number}",
                    label,
                    "",
                    partial(_marks, path, number, label, files, told.counts),
                )
            )
    if not told.entries:
        raise PrepareError(
            f"{folder} has neither lesions.csv nor a DICOM segmentation (SEG) or structure set "
            "(RTSTRUCT) that marks lesions."
        )
    return told


def _object(path: Path) -> Dataset | None:
    """The header of a SEG or RTSTRUCT; None for anything else."""
    try:
        if not path.is_file():
            return None
        wanted = ["SOPClassUID", "SegmentSequence", "StructureSetROISequence"]
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=wanted)
    except MemoryError:
        raise
    except Exception:  # no DICOM, whatever pydicom makes of it
        return None
    return dataset if str(dataset.get("SOPClassUID", "")) in (_SEG, _RTSTRUCT) else None


def _segments(dataset: Dataset) -> Iterator[tuple[int, str]]:
    for item in dataset.get("SegmentSequence") or []:
        yield int(item.get("SegmentNumber", 0)), str(item.get("SegmentLabel", "")).strip()


def _rois(dataset: Dataset) -> Iterator[tuple[int, str]]:
    for item in dataset.get("StructureSetROISequence") or []:
        yield int(item.get("ROINumber", 0)), str(item.get("ROIName", "")).strip()


def _marks(
    path: Path, number: int, label: str, files: Files, counts: dict[str, int]
) -> Sequence[Mark]:
    try:
        dataset = dcmread(path)
        if str(dataset.SOPClassUID) == _SEG:
            masks = _of_segment(dataset, number, files)
        else:
            masks = _of_contours(dataset, number, files)
    except (CellError, MemoryError):
        raise
    except Exception as error:  # a damaged object makes pydicom raise nearly anything
        raise CellError(
            f"it is damaged or lacks what places it ({type(error).__name__}: {error})."
        ) from error
    if not masks:
        raise CellError(f"{label or number} marks nothing.")
    order = sorted(masks, key=lambda one: one.position)
    places = components.gaps_filled([one.mask for one in order], [one.position for one in order])
    stack = np.zeros((places[-1] + 1, *order[0].mask.shape), bool)
    for one, place in zip(order, places, strict=True):
        if one.mask.shape != order[0].mask.shape:
            raise CellError("it marks images of different sizes; segment them one by one.")
        stack[place] |= one.mask
    lesions, small = components.largest(stack)
    counts["small"] += small
    if not lesions:
        raise CellError(f"{label or number} has {small} specks of a pixel, and no lesion.")
    at = dict(zip(places, order, strict=True))
    return [Mark(at[one.place].ct_slice, at[one.place].file, one.box) for one in lesions]


@dataclass(frozen=True)
class _Marked:
    """A mask (rows, columns) on one slice."""

    mask: Mask
    ct_slice: CTSlice
    file: str
    position: float


def _on(uid: str, mask: Mask, files: Files) -> _Marked:
    ct_slice, file = files.slice_of(Row(0, {"sop_instance_uid": uid}))
    if ct_slice.size != mask.shape:
        raise CellError(
            f"it has {mask.shape[1]} × {mask.shape[0]} pixels, the image that it marks "
            f"{ct_slice.size[1]} × {ct_slice.size[0]}; segment on the image itself."
        )
    position = ct_slice.position_mm
    if position is None:
        raise CellError(f"file {file!r} does not tell where its slice lies.")
    return _Marked(mask, ct_slice, file, position)


def _of_segment(dataset: Dataset, number: int, files: Files) -> list[_Marked]:
    frames = np.asarray(dataset.pixel_array)
    frames = frames[None] if frames.ndim == 2 else frames
    if str(dataset.get("SegmentationType", "")) == "FRACTIONAL":
        inside = frames > int(dataset.get("MaximumFractionalValue", 255)) / 2
    elif str(dataset.get("SegmentationType", "")) == "LABELMAP":
        inside = frames == number
    else:
        inside = frames != 0
    masks: dict[str, Mask] = {}
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != len(inside):
        raise CellError(f"it has {len(inside)} frames and tells the place of {len(groups)}.")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for mask, group in zip(inside, groups, strict=True):
        if _segment_of(group, shared) not in (number, None) or not mask.any():
            continue
        uid = _source_of(group, shared)
        masks[uid] = masks[uid] | mask if uid in masks else np.asarray(mask)
    return [_on(uid, mask, files) for uid, mask in masks.items()]


def _segment_of(group: Dataset, shared: Dataset) -> int | None:
    """Which segment a frame is of; None in a label map, whose values tell."""
    for part in (group, shared):
        told = part.get("SegmentIdentificationSequence")
        if told:
            return int(told[0].ReferencedSegmentNumber)
    return None


def _source_of(group: Dataset, shared: Dataset) -> str:
    """SOP Instance UID of the image that a frame lies on."""
    for part in (group, shared):
        for derived in part.get("DerivationImageSequence") or []:
            for source in derived.get("SourceImageSequence") or []:
                if source.get("ReferencedSOPInstanceUID"):
                    return str(source.ReferencedSOPInstanceUID)
    raise CellError("its frames do not say on which images they lie (Derivation Image Sequence).")


def _of_contours(dataset: Dataset, number: int, files: Files) -> list[_Marked]:
    contours = [
        contour
        for item in dataset.get("ROIContourSequence") or []
        if int(item.get("ReferencedROINumber", -1)) == number
        for contour in item.get("ContourSequence") or []
        if str(contour.get("ContourGeometricType", "")) == _CLOSED
    ]
    by_image: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for contour in contours:
        images = contour.get("ContourImageSequence") or []
        if len(images) != 1 or not images[0].get("ReferencedSOPInstanceUID"):
            raise CellError("its contours do not say on which image they lie.")
        points = np.asarray([float(v) for v in contour.ContourData], np.float64).reshape(-1, 3)
        by_image[str(images[0].ReferencedSOPInstanceUID)].append(points)
    found = []
    for uid, polygons in by_image.items():
        ct_slice, _ = files.slice_of(Row(0, {"sop_instance_uid": uid}))
        mask = np.zeros(ct_slice.size, bool)
        for points in polygons:
            mask ^= _drawn(_pixels(points, ct_slice), ct_slice.size)  # a hole is drawn twice
        if mask.any():
            found.append(_on(uid, mask, files))
    return found


def _pixels(points: npt.NDArray[np.float64], ct_slice: CTSlice) -> npt.NDArray[Any]:
    """Points (n, 3) in mm of the patient as (column, row), 0 the centre of the first pixel."""
    if ct_slice.orientation is None or ct_slice.position is None or ct_slice.spacing_mm is None:
        raise CellError("the image that it marks does not tell where it lies in the patient.")
    along = np.asarray(ct_slice.orientation, np.float64).reshape(2, 3)
    offset = points - np.asarray(ct_slice.position, np.float64)
    off_plane = float(np.abs(offset @ np.cross(along[0], along[1])).max())
    if off_plane > _OFF_PLANE_MM:
        raise CellError(f"its contours lie {off_plane:.1f} mm off the image that they name.")
    row, column = ct_slice.spacing_mm
    return np.stack([offset @ along[0] / column, offset @ along[1] / row], axis=1)


def _drawn(points: npt.NDArray[Any], size: tuple[int, int]) -> Mask:
    picture = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(picture).polygon([(float(x), float(y)) for x, y in points], fill=1)
    return np.asarray(picture, bool)
