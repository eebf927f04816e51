"""Presentation states (GSPS, PS3.3 A.33.1 and C.10.5): the closed figures of their annotations."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from ml.marks.graphics import figure
from ml.marks.region import MarkError, Place, Region
from ml.marks.words import cleaned


def read(dataset: Dataset) -> tuple[Region, ...]:
    """A region for each figure that is drawn.

    Raises:
        MarkError: nothing is drawn.
    """
    found: list[Region] = []
    for annotation in dataset.get("GraphicAnnotationSequence") or []:
        texts = annotation.get("TextObjectSequence") or []
        label = cleaned(texts[0].get("UnformattedTextValue") if texts else "", dataset)
        for item in _figures(annotation):
            found.append(_region(len(found) + 1, label, item, annotation, dataset))
    if not found:
        raise MarkError("nothing is drawn in it, so it marks nothing.")
    return tuple(found)


def _figures(annotation: Dataset) -> Iterator[Dataset]:
    yield from annotation.get("GraphicObjectSequence") or []
    yield from annotation.get("CompoundGraphicSequence") or []


def _region(
    number: int, label: str, item: Dataset, annotation: Dataset, dataset: Dataset
) -> Region:
    try:
        units = item.get("GraphicAnnotationUnits") or item.get("CompoundGraphicUnits")
        if str(units) != "PIXEL":
            raise MarkError("it is drawn relative to the display, and not to the image's pixels.")
        kind = str(item.get("GraphicType") or item.get("CompoundGraphicType") or "")
        values = item.get("GraphicData")
        drawn = figure(kind, [] if values is None else list(values), distance=False)
        place = _image(annotation, dataset)
    except (MarkError, TypeError) as error:
        return Region(number, label, flaw=str(error))
    return Region(number, label, form=drawn.form, places=(place,), points=drawn.points)


def _image(annotation: Dataset, dataset: Dataset) -> Place:
    """The one image that an annotation is about (C.10.5: without its own, all of the state)."""
    named = annotation.get("ReferencedImageSequence") or [
        image
        for series in dataset.get("ReferencedSeriesSequence") or []
        for image in series.get("ReferencedImageSequence") or []
    ]
    if len(named) != 1:
        raise MarkError(f"it is drawn on {len(named)} images, and a lesion is marked on one.")
    told = named[0].get("ReferencedFrameNumber")
    numbers = [told] if isinstance(told, int | str) else list(told or [1])
    if len(numbers) != 1:
        raise MarkError(f"it is drawn on {len(numbers)} frames, and a lesion is marked on one.")
    return Place(str(named[0].get("ReferencedSOPInstanceUID") or ""), int(numbers[0] or 1))
