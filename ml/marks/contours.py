"""Structure sets (RTSTRUCT, PS3.3 A.19.3, C.8.8.5 and C.8.8.6): the closed contours of each ROI."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydicom.dataset import Dataset

from ml.marks.region import Form, MarkError, Place, Region
from ml.marks.words import cleaned

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OPEN = ("OPEN_PLANAR", "OPEN_NONPLANAR")
_LESION_TYPES = ("", "GTV")
"""Interpreted types (C.8.8.8.1) that may be a lesion: a CTV or PTV is one with a margin around."""
_MOST_POINTS = 500_000

Contour = tuple[Place, tuple[tuple[float, float, float], ...]]


def no_lesion(dataset: Dataset, number: int) -> str:
    """Why an ROI is no lesion, by its interpreted type; "" where it may be one."""
    for item in dataset.get("RTROIObservationsSequence") or []:
        kind = str(item.get("RTROIInterpretedType") or "")
        if int(item.get("ReferencedROINumber", -1)) == number and kind.upper() not in _LESION_TYPES:
            return f"its type is {kind}, and no lesion (GTV)."
    return ""


def read(dataset: Dataset) -> tuple[Region, ...]:
    """A region for each ROI of a structure set.

    Raises:
        MarkError: it has no ROI, or more points than are read.
    """
    found = []
    total = 0
    for item in dataset.get("StructureSetROISequence") or []:
        number = int(item.get("ROINumber", 0))
        region = _region(dataset, number, cleaned(item.get("ROIName"), dataset))
        total += sum(len(points) for _, points in region.contours)
        if total > _MOST_POINTS:
            raise MarkError(f"it has more than {_MOST_POINTS} points; send fewer structures.")
        found.append(region)
    if not found:
        raise MarkError("it has no structure (ROI).")
    return tuple(found)


def _region(dataset: Dataset, number: int, label: str) -> Region:
    if flaw := no_lesion(dataset, number):
        return Region(number, label, flaw=flaw)
    try:
        contours = list(of_roi(dataset, number))
    except MarkError as error:
        return Region(number, label, flaw=str(error))
    if not contours:
        return Region(number, label, flaw="it has no closed contour.")
    places = tuple(dict.fromkeys(place for place, _ in contours))
    index = {place: i for i, place in enumerate(places)}
    return Region(
        number,
        label,
        form=Form.CONTOURS,
        places=places,
        contours=tuple((index[place], points) for place, points in contours),
    )


def of_roi(dataset: Dataset, number: int) -> Iterator[Contour]:
    """The closed contours of an ROI, each with the image that it names, in mm of the patient.

    A contour that is written twice counts once: contours within each other are holes, and a second
    copy would cut the first one out.

    Raises:
        MarkError: one does not name its image, is open, or its points are no numbers.
    """
    seen = set()
    closed = opened = False
    for item in dataset.get("ROIContourSequence") or []:
        if int(item.get("ReferencedROINumber", -1)) != number:
            continue
        for contour in item.get("ContourSequence") or []:
            kind = str(contour.get("ContourGeometricType", ""))
            closed, opened = closed or kind in _CLOSED, opened or kind in _OPEN
            if closed and opened:
                raise MarkError("some of its contours are closed and some open; close all of them.")
            if kind not in _CLOSED:
                continue
            images = contour.get("ContourImageSequence") or []
            if len(images) != 1 or not images[0].get("ReferencedSOPInstanceUID"):
                raise MarkError("its contours do not say on which image they lie.")
            told = images[0].get("ReferencedFrameNumber")
            frame = int(told) if isinstance(told, int | str) and str(told) else 1
            place = Place(str(images[0].ReferencedSOPInstanceUID), frame)
            values = [float(value) for value in contour.get("ContourData") or []]
            if len(values) % 3 or len(values) < 9 or not all(map(math.isfinite, values)):
                raise MarkError("a contour of it is no polygon in mm (Contour Data).")
            triples = zip(values[0::3], values[1::3], values[2::3], strict=True)
            points = tuple(triples)
            # the same outline may begin elsewhere, or run the other way round
            outline = place, frozenset(points)
            if outline not in seen:
                seen.add(outline)
                yield place, points
