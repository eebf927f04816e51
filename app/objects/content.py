"""Content items of a structured report (PS3.3 C.17.3), as the bytes in which they leave.

A report of ten lesions has a thousand data sets within each other; made and copied one by one in
general terms they took fifty times as long as it took to score the lesions. Here each item is
written at once, in Explicit VR Little Endian and UTF-8 (ISO_IR 192). A test makes the same reports
by highdicom's templates and compares them byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache

from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.valuerep import DSfloat

from ml.lesion import Code

Element = tuple[int, bytes]
"""A tag as a number, and the whole data element; elements of a data set are sorted by tag."""

_ITEM = 0xFFFEE000
_LONG = frozenset({"SQ", "UT", "UC", "UR"})
_CODE_LENGTH, _MEANING_LENGTH = 16, 64
CONTENT = 0x0040A730


class Relation(StrEnum):
    """What an item is to the one that holds it (PS3.3 table C.17.3-8)."""

    CONTAINS = "CONTAINS"
    CONCEPT_MODIFIER = "HAS CONCEPT MOD"
    OBSERVATION_CONTEXT = "HAS OBS CONTEXT"
    ACQUISITION_CONTEXT = "HAS ACQ CONTEXT"
    SELECTED_FROM = "SELECTED FROM"


# -- items -------------------------------------------------------------------------------------


def container(relation: Relation, name: Code, items: Iterable[bytes], template: str = "") -> bytes:
    """A CONTAINER of items; ``template`` is one of DCMR's."""
    more = [_text(0x0040A050, "CS", "CONTINUOUS"), _sequence(CONTENT, items)]
    if template:
        more.append(_sequence(0x0040A504, [_template(template)]))
    return _content(relation, "CONTAINER", name, *more)


def coded(relation: Relation, name: Code, value: Code) -> bytes:
    """A CODE."""
    return _content(relation, "CODE", name, _concept(0x0040A168, value))


def text(relation: Relation, name: Code, value: str) -> bytes:
    """A TEXT."""
    return _content(relation, "TEXT", name, _text(0x0040A160, "UT", value))


def uid(relation: Relation, name: Code, value: str) -> bytes:
    """A UIDREF."""
    return _content(relation, "UIDREF", name, _uid(0x0040A124, value))


def person(relation: Relation, name: Code, value: str) -> bytes:
    """A PNAME."""
    return _content(relation, "PNAME", name, _text(0x0040A123, "PN", value))


def number(relation: Relation, name: Code, value: float, unit: Code) -> bytes:
    """A NUM: as decimal text, and of what is no whole number by its type as binary as well."""
    measured = [
        _concept(0x004008EA, unit),
        _text(0x0040A30A, "DS", str(DSfloat(value, auto_format=True))),
    ]
    if isinstance(value, float):
        measured.append((0x0040A161, _element(0x0040A161, "FD", struct.pack("<d", value))))
    return _content(relation, "NUM", name, _sequence(0x0040A300, [_data_set(measured)]))


def image(
    relation: Relation, name: Code, sop_class: str, sop_uid: str, items: Iterable[bytes] = ()
) -> bytes:
    """An IMAGE, with items below it."""
    below = list(items)
    more = [_sequence(CONTENT, below)] if below else []
    return _content(relation, "IMAGE", name, _sop(sop_class, sop_uid), *more)


def polyline(
    relation: Relation, name: Code, points: Sequence[tuple[float, float]], source: bytes
) -> bytes:
    """A SCOORD of (column, row) points on an image, which is an item of its own."""
    flat = [side for point in points for side in point]
    graphic = _element(0x00700022, "FL", struct.pack(f"<{len(flat)}f", *flat))
    return _content(
        relation,
        "SCOORD",
        name,
        (0x00700022, graphic),
        _text(0x00700023, "CS", "POLYLINE"),
        _sequence(CONTENT, [source]),
    )


def below(items: Iterable[bytes]) -> RawDataElement:
    """The Content Sequence of a report, for its data set."""
    value = _items(items)
    return RawDataElement(Tag(CONTENT), "SQ", len(value), value, 0, False, True)


# -- data elements -----------------------------------------------------------------------------


def _content(relation: Relation, kind: str, name: Code, *more: Element) -> bytes:
    return _data_set([*_head(relation, kind, name), *more])


@lru_cache(maxsize=256)
def _head(relation: Relation, kind: str, name: Code) -> tuple[Element, ...]:
    return (
        _text(0x0040A010, "CS", relation),
        _text(0x0040A040, "CS", kind),
        _concept(0x0040A043, name),
    )


@lru_cache(maxsize=256)
def _concept(tag: int, code: Code) -> Element:
    """A code sequence of one item (PS3.3 8.8)."""
    if len(code.meaning) > _MEANING_LENGTH:
        raise ValueError("The meaning of a code may have 64 characters.")
    value = _text(0x00080100, "SH", code.value)
    if len(code.value) > _CODE_LENGTH:
        is_urn = code.value.startswith("urn") or "://" in code.value
        value = _text(*((0x00080120, "UR") if is_urn else (0x00080119, "UC")), code.value)
    meaning = _text(0x00080104, "LO", code.meaning)
    return _sequence(tag, [_data_set([value, _text(0x00080102, "SH", code.scheme), meaning])])


def _sop(sop_class: str, sop_uid: str) -> Element:
    named = _data_set([_uid(0x00081150, sop_class), _uid(0x00081155, sop_uid)])
    return _sequence(0x00081199, [named])


def _template(number: str) -> bytes:
    return _data_set([_text(0x00080105, "CS", "DCMR"), _text(0x0040DB00, "CS", number)])


def _text(tag: int, kind: str, value: str) -> Element:
    data = value.encode()
    return tag, _element(tag, kind, data + b" " * (len(data) % 2))


def _uid(tag: int, value: str) -> Element:
    data = value.encode("ascii")
    return tag, _element(tag, "UI", data + b"\0" * (len(data) % 2))


def _sequence(tag: int, items: Iterable[bytes]) -> Element:
    return tag, _element(tag, "SQ", _items(items))


def _data_set(elements: Iterable[Element]) -> bytes:
    return b"".join([data for _, data in sorted(elements)])


def _items(items: Iterable[bytes]) -> bytes:
    head = struct.pack("<HH", _ITEM >> 16, _ITEM & 0xFFFF)
    return b"".join([head + struct.pack("<I", len(one)) + one for one in items])


def _element(tag: int, kind: str, value: bytes) -> bytes:
    """Explicit VR Little Endian (PS3.5 7.1.2)."""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind.encode("ascii")
    if kind in _LONG:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value  # struct.error above 65535 bytes
