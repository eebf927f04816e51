"""Structured reports after TID 1500: a measurement group is a lesion (PS3.16 TID 1410, 1411)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from ml.marks.graphics import Drawn, figure
from ml.marks.region import Form, MarkError, Place, Region, around
from ml.marks.words import cleaned

_GROUP = ("125007", "DCM")
_TRACKING_ID = ("112039", "DCM")
_TRACKING_UID = ("112040", "DCM")
_FINDING = ("121071", "DCM")
_DEEPEST = 32
_MOST_ITEMS = 100_000


def read(dataset: Dataset) -> tuple[Region, ...]:
    """A region for each measurement group that draws one.

    Raises:
        MarkError: it has no measurement group.
    """
    groups = [item for _, item in _nested(dataset) if _is(item, "CONTAINER", _GROUP)]
    if not groups:
        raise MarkError("it has no Measurement Group (TID 1500), and so marks nothing.")
    return tuple(_region(number, group, dataset) for number, group in enumerate(groups, 1))


@dataclass
class _Group:
    """What a measurement group says of one lesion."""

    tracking_id: str = ""
    tracking_uid: str = ""
    finding: str = ""
    drawn: dict[Place, list[Drawn]] = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)


def _region(number: int, item: Dataset, dataset: Dataset) -> Region:
    group = _Group()
    for parent, child in _nested(item):
        _read(parent, child, group)
    told = Region(
        number,
        cleaned(group.finding, dataset),
        cleaned(group.tracking_id, dataset),
        group.tracking_uid[:64],
        flaw=(group.flaws or ["it has no region in coordinates of an image (2-D SCOORD)."])[0],
    )
    if not group.drawn:
        return told
    # on several slices: the one on which it is largest, as of a segmentation
    place, drawn = max(group.drawn.items(), key=lambda one: _area(one[1]))
    form, points = _together(drawn)
    return Region(
        number,
        told.label,
        told.tracking_id,
        told.tracking_uid,
        form,
        (place,),
        points=points,
    )


def _read(parent: Dataset, item: Dataset, group: _Group) -> None:
    if _is(item, "TEXT", _TRACKING_ID):
        group.tracking_id = str(item.get("TextValue") or "")
    elif _is(item, "UIDREF", _TRACKING_UID):
        group.tracking_uid = str(item.get("UID") or "")
    elif _is(item, "CODE", _FINDING) and not group.finding:
        codes = item.get("ConceptCodeSequence") or [Dataset()]
        group.finding = str(codes[0].get("CodeMeaning") or "")
    elif str(item.get("ValueType")) == "SCOORD3D":
        group.flaws.append("its region is in 3-D coordinates, which are not read; write 2-D ones.")
    elif str(item.get("ValueType")) == "IMAGE" and _names_segment(item):
        group.flaws.append("its region stands in a segmentation, which marks by itself.")
    elif str(item.get("ValueType")) == "SCOORD":
        try:
            place = _source(item)
            kind = str(item.get("GraphicType") or "")
            values = item.get("GraphicData")
            angle = _unit(parent) == "deg"
            found = figure(kind, [] if values is None else list(values), distance=not angle)
        except (MarkError, TypeError) as error:
            group.flaws.append(str(error))
        else:
            group.drawn.setdefault(place, []).append(found)


def _together(drawn: list[Drawn]) -> tuple[Form, tuple[tuple[float, float], ...]]:
    """One figure of several around the same lesion: an outline and an axis, two axes."""
    if len(drawn) == 1:
        return drawn[0].form, drawn[0].points
    boxes = [one.points for one in drawn if one.form is Form.BOX]
    if boxes:
        return Form.BOX, around([point for corners in boxes for point in corners])
    # axes: the longest is the diameter
    longest = max(drawn, key=lambda one: _reach(one))
    return Form.CIRCLE, longest.points


def _reach(one: Drawn) -> float:
    (ax, ay), (bx, by) = one.points
    return (ax - bx) ** 2 + (ay - by) ** 2


def _area(drawn: list[Drawn]) -> float:
    def of(one: Drawn) -> float:
        (ax, ay), (bx, by) = one.points
        return 3.14 * _reach(one) if one.form is Form.CIRCLE else abs((bx - ax) * (by - ay))

    return max(of(one) for one in drawn)


def _source(item: Dataset) -> Place:
    """The image that coordinates were selected from."""
    for child in item.get("ContentSequence") or []:
        if str(child.get("ValueType")) == "IMAGE":
            for image in child.get("ReferencedSOPSequence") or []:
                told = image.get("ReferencedFrameNumber")
                number = told if isinstance(told, int | str) else (told or [1])[0]
                return Place(str(image.get("ReferencedSOPInstanceUID") or ""), int(number or 1))
    raise MarkError("its region does not say on which image it lies.")


def _names_segment(item: Dataset) -> bool:
    return any(
        one.get("ReferencedSegmentNumber") for one in item.get("ReferencedSOPSequence") or []
    )


def _unit(item: Dataset) -> str:
    for value in item.get("MeasuredValueSequence") or []:
        for code in value.get("MeasurementUnitsCodeSequence") or []:
            return str(code.get("CodeValue") or "")
    return ""


def _is(item: Dataset, kind: str, concept: tuple[str, str]) -> bool:
    if str(item.get("ValueType")) != kind:
        return False
    for code in item.get("ConceptNameCodeSequence") or []:
        return (str(code.get("CodeValue")), str(code.get("CodingSchemeDesignator"))) == concept
    return False


def _nested(item: Dataset) -> Iterator[tuple[Dataset, Dataset]]:
    """Every item below one, with its parent.

    Raises:
        MarkError: it is deeper, or has more of them, than reports are.
    """
    stack = [(item, child, 1) for child in reversed(item.get("ContentSequence") or [])]
    count = 0
    while stack:
        parent, child, depth = stack.pop()
        count += 1
        if depth > _DEEPEST or count > _MOST_ITEMS:
            raise MarkError("its content is nested deeper, or is longer, than a report's.")
        yield parent, child
        stack += [(child, one, depth + 1) for one in reversed(child.get("ContentSequence") or [])]
