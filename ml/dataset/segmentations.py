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

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset

from ml.dataset.entries import Entry, Mark
from ml.dataset.files import Files
from ml.dataset.table import CellError, PrepareError, Row
from ml.images.ct_slice import CTSlice, DicomError
from ml.marks import components, contours, region, segmentation
from ml.marks.region import MarkError, Mask, Plane, Seen

_SEG = "1.2.840.10008.5.1.4.1.1.66.4"
_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


@dataclass(frozen=True)
class Found:
    """Segmentations under a folder.

    Attributes:
        entries: one for each segment or ROI.
        counts: "small": specks that were left out; grows while the entries are read.
        aside: what of them is no lesion, as they tell themselves, a sentence each.
    """

    entries: list[Entry]
    counts: dict[str, int] = field(default_factory=lambda: {"small": 0})
    aside: list[str] = field(default_factory=list)


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
        for number, label, flaw in labels:
            if flaw:
                told.aside.append(f"Left out: {file}, {label or number}: {flaw}")
                continue
            told.entries.append(
                Entry(
                    f"{file}, {label or number}",
                    label,
                    "",
                    partial(_marks, path, number, label, files, told.counts),
                )
            )
    if told.aside and not told.entries:
        raise PrepareError(f"{folder} marks no lesion. {told.aside[0]}")
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
        wanted = [
            "SOPClassUID", "SegmentSequence", "StructureSetROISequence",
            "RTROIObservationsSequence",
        ]  # fmt: skip
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=wanted)
    except MemoryError:
        raise
    except Exception:  # no DICOM, whatever pydicom makes of it
        return None
    return dataset if str(dataset.get("SOPClassUID", "")) in (_SEG, _RTSTRUCT) else None


def _segments(dataset: Dataset) -> Iterator[tuple[int, str, str]]:
    """Number and label of each segment, and why it is no lesion ("" where it may be one)."""
    for item in dataset.get("SegmentSequence") or []:
        label = str(item.get("SegmentLabel", "")).strip()
        yield int(item.get("SegmentNumber", 0)), label, segmentation.no_lesion(item)


def _rois(dataset: Dataset) -> Iterator[tuple[int, str, str]]:
    """The same of each ROI of a structure set."""
    for item in dataset.get("StructureSetROISequence") or []:
        number = int(item.get("ROINumber", 0))
        label = str(item.get("ROIName", "")).strip()
        yield number, label, contours.no_lesion(dataset, number)


def _marks(
    path: Path, number: int, label: str, files: Files, counts: dict[str, int]
) -> Sequence[Mark]:
    try:
        dataset = dcmread(path)
        if str(dataset.SOPClassUID) == _SEG:
            masks = _of_segment(dataset, number, files)
        else:
            masks = _of_contours(dataset, number, files)
    except MarkError as error:
        raise CellError(str(error)) from None
    except (CellError, DicomError, MemoryError):
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


def _seen(ct_slice: CTSlice) -> Seen:
    return Seen(ct_slice.size, ct_slice.spacing_mm, ct_slice.orientation, ct_slice.position)


def _on(uid: str, mask: Mask, files: Files, plane: Plane | None = None) -> _Marked:
    ct_slice, file = files.slice_of(Row(0, {"sop_instance_uid": uid}))
    if ct_slice.size != mask.shape:
        raise CellError(
            f"it has {mask.shape[1]} × {mask.shape[0]} pixels, the image that it marks "
            f"{ct_slice.size[1]} × {ct_slice.size[0]}; segment on the image itself."
        )
    if plane is not None:
        plane.refuse_other(_seen(ct_slice))
    position = ct_slice.position_mm
    if position is None:
        raise CellError(f"file {file!r} does not tell where its slice lies.")
    return _Marked(mask, ct_slice, file, position)


def _of_segment(dataset: Dataset, number: int, files: Files) -> list[_Marked]:
    frames = np.asarray(dataset.pixel_array)
    frames = frames[None] if frames.ndim == 2 else frames
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != len(frames):
        raise CellError(f"it has {len(frames)} frames and tells the place of {len(groups)}.")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    masks: dict[str, Mask] = {}
    planes: dict[str, Plane | None] = {}
    for frame, group in zip(frames, groups, strict=True):
        mask = segmentation.inside(frame, dataset, number)
        if segmentation.segment_of(group, shared) not in (number, None) or not mask.any():
            continue
        uid = segmentation.source_of(group, shared).sop_uid
        masks[uid] = masks[uid] | mask if uid in masks else mask
        planes[uid] = segmentation.plane_of(group, shared)
    return [_on(uid, mask, files, planes[uid]) for uid, mask in masks.items()]


def _of_contours(dataset: Dataset, number: int, files: Files) -> list[_Marked]:
    by_image: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for place, points in contours.of_roi(dataset, number):
        by_image[place.sop_uid].append(np.asarray(points, np.float64))
    found = []
    for uid, polygons in by_image.items():
        ct_slice, _ = files.slice_of(Row(0, {"sop_instance_uid": uid}))
        seen = _seen(ct_slice)
        mask = np.zeros(ct_slice.size, bool)
        for polygon in polygons:
            mask ^= region.drawn(region.in_pixels(polygon, seen), ct_slice.size)
        if mask.any():
            found.append(_on(uid, mask, files))
    return found
