"""A DICOM object that marks lesions, by its SOP class, from its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pydicom.dataset import Dataset

from ml.images import dicom
from ml.images.ct_slice import MAX_PIXELS, DicomError
from ml.marks import contours, presentation, report, segmentation
from ml.marks.region import MarkError, Marking, MarkKind, Region

MOST_REGIONS = 100
"""One object marks at most so many lesions; one of more is a parcellation, or a mistake."""

KINDS = {
    "1.2.840.10008.5.1.4.1.1.66.4": MarkKind.SEGMENTATION,
    "1.2.840.10008.5.1.4.1.1.66.7": MarkKind.SEGMENTATION,  # label map
    "1.2.840.10008.5.1.4.1.1.481.3": MarkKind.STRUCTURE_SET,
    "1.2.840.10008.5.1.4.1.1.88.22": MarkKind.REPORT,  # enhanced
    "1.2.840.10008.5.1.4.1.1.88.33": MarkKind.REPORT,  # comprehensive
    "1.2.840.10008.5.1.4.1.1.88.34": MarkKind.REPORT,  # comprehensive 3D
    "1.2.840.10008.5.1.4.1.1.88.35": MarkKind.REPORT,  # extensible
    "1.2.840.10008.5.1.4.1.1.11.1": MarkKind.PRESENTATION,
    "1.2.840.10008.5.1.4.1.1.11.2": MarkKind.PRESENTATION,  # colour
}
"""SOP classes that mark lesions."""

_OURS = "Hepatica"


def read(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Marking:
    """What an object marks. A region of it that marks nothing has a flaw; the others stand.

    Args:
        data: the whole file.
        name: what the messages call it.
        max_pixels: of all frames of a segmentation together.

    Raises:
        DicomError: no DICOM file, or a damaged one.
        MarkError: none of the classes above, or it marks no lesion as a whole; why.
    """
    return of(dicom.parsed(data, name), name, max_pixels)


def of(dataset: Dataset, name: str, max_pixels: int = MAX_PIXELS) -> Marking:
    """The same of an object that is parsed already (``dicom.Opened.dataset``); raises the same."""
    try:
        kind = KINDS.get(str(dataset.get("SOPClassUID", "")))
        if kind is None:
            raise MarkError("it is no object that marks lesions.")
        return _marking(dataset, kind, max_pixels)
    except MarkError as error:
        raise MarkError(f"{name}: {error}") from None
    except (DicomError, MemoryError):
        raise
    except Exception as error:  # a damaged object makes pydicom raise nearly anything
        raise MarkError(
            f"{name}: it is damaged or lacks what places it ({type(error).__name__})."
        ) from error


def _marking(dataset: Dataset, kind: MarkKind, max_pixels: int) -> Marking:
    small = 0
    ours = _is_ours(dataset)
    found: Sequence[Region] = ()
    if not ours and kind is MarkKind.SEGMENTATION:
        found, small = segmentation.read(dataset, max_pixels)
    elif not ours:
        found = _READERS[kind](dataset)
    if len(found) > MOST_REGIONS:
        raise MarkError(
            f"it marks {len(found)} places, more than the {MOST_REGIONS} that one object may: "
            "send the lesions alone."
        )
    return Marking(
        kind=kind,
        sop_uid=str(dataset.get("SOPInstanceUID") or ""),
        study_uid=str(dataset.get("StudyInstanceUID") or ""),
        patient_id=str(dataset.get("PatientID") or "").strip(),
        regions=tuple(replace(one, tracking_uid=one.tracking_uid[:64]) for one in found),
        ours=ours,
        small=small,
        pixels=_pixels(dataset) if kind is MarkKind.SEGMENTATION else 0,
    )


_READERS: dict[MarkKind, Callable[[Dataset], Sequence[Region]]] = {
    MarkKind.STRUCTURE_SET: contours.read,
    MarkKind.REPORT: report.read,
    MarkKind.PRESENTATION: presentation.read,
}


def _pixels(dataset: Dataset) -> int:
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    return max(0, frames * int(dataset.get("Rows", 0)) * int(dataset.get("Columns", 0)))


def _is_ours(dataset: Dataset) -> bool:
    made_by = (dataset.get("Manufacturer"), dataset.get("ManufacturerModelName"))
    return all(str(one) == _OURS for one in made_by)
