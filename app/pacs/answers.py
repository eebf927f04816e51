"""What a PACS tells in DICOM JSON: what it holds (QIDO-RS), what it stored (STOW-RS)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.pacs.exchange import Reply
from app.pacs.faults import NotDicomWeb, NotStored
from app.pacs.parts import not_dicom

MOST_BYTES = 64e6
"""Of one answer in JSON: a page of a search holds a thousand objects at most."""

_STUDY, _SERIES, _SOP, _SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
_MODALITY, _MODALITIES = "00080060", "00080061"
_STORED, _FAILED, _OTHER_FAILURES = "00081199", "00081198", "0008119A"
_REFERENCED, _REASON, _WARNING = "00081155", "00081197", "00081196"

_REASONS = {
    0x0110: "processing failed",
    0x0111: "it holds an object of that UID already",
    0x0112: "no such object",
    0x0117: "the UID is not valid",
    0x0122: "it does not take this class of objects",
    0x0124: "it does not allow it",
    0x0212: "a resource is missing",
    0xC122: "it does not take this transfer syntax",
    0x131: "it does not take this transfer syntax",
}
"""PS3.18 I.2.2 and PS3.7 annex C; the ranges A7xx, A9xx and Cxxx are in ``_words``."""


@dataclass(frozen=True)
class Found:
    """A study, series or instance that a PACS says it holds; "" for what it does not say.

    UIDs are left out of its ``repr``, which might be logged.
    """

    study_uid: str = field(repr=False)
    series_uid: str = field(default="", repr=False)
    sop_uid: str = field(default="", repr=False)
    sop_class_uid: str = ""
    modality: str = ""


@dataclass(frozen=True)
class Failure:
    """An object that was not stored: the code of PS3.18 I.2.2 where it was told, and words."""

    sop_uid: str = field(repr=False)
    code: int | None
    words: str


@dataclass(frozen=True)
class Stored:
    """What a PACS says of what it was sent. What it says is no proof: ask ``Pacs.holds``.

    Attributes:
        sop_uids: that it says it has stored.
        failures: that it says it has not.
        told: whether it said anything of single objects.
    """

    sop_uids: frozenset[str] = field(repr=False)
    failures: tuple[Failure, ...]
    told: bool

    def refuse_failures(self, pacs: str) -> None:
        """Return where it names no failure.

        Raises:
            NotStored: with its reasons in words.
        """
        if self.failures:
            reasons = ", ".join(dict.fromkeys(one.words for one in self.failures))
            raise NotStored(
                f"The PACS {pacs} did not store {len(self.failures)} of the objects: {reasons}."
            )


def found(reply: Reply) -> list[Found]:
    """The matches of a search.

    Raises:
        NotDicomWeb: it is no list of DICOM JSON.
    """
    return [
        Found(
            _text(item, _STUDY),
            _text(item, _SERIES),
            _text(item, _SOP),
            _text(item, _SOP_CLASS),
            _text(item, _MODALITY) or _text(item, _MODALITIES),
        )
        for item in _items(reply)
    ]


def stored(reply: Reply) -> Stored:
    """What became of each object, from the response's data set (PS3.18 I.1).

    An answer without a data set in JSON, as some PACS give it, says nothing: ``told`` is False.

    Raises:
        NotDicomWeb: it is a web page.
    """
    data = reply.read(MOST_BYTES)
    if "html" in reply.kind:
        raise not_dicom(reply, data)
    told = _json(data)
    if isinstance(told, list) and len(told) == 1:  # one PACS puts it into a list
        told = told[0]
    if not isinstance(told, dict):
        return Stored(frozenset(), (), told=False)
    ok = [_text(item, _REFERENCED) for item in _sequence(told, _STORED)]
    failures = [
        Failure(_text(item, _REFERENCED), code := _number(item, _REASON), _words(code))
        for tag in (_FAILED, _OTHER_FAILURES)
        for item in _sequence(told, tag)
    ]
    return Stored(frozenset(filter(None, ok)), tuple(failures), bool(ok or failures))


def _items(reply: Reply) -> Iterator[Mapping[str, Any]]:
    data = reply.read(MOST_BYTES)
    if reply.status == 204 or not data.strip():
        return
    told = _json(data)
    if told is None:
        raise not_dicom(reply, data)
    if not isinstance(told, list) or not all(isinstance(item, dict) for item in told):
        raise NotDicomWeb(
            f"{reply.pacs.shown} answers a search with JSON that is no list of DICOM data sets."
        )
    yield from told


def _json(data: bytes) -> Any:
    """What it holds; None for what is no JSON, or is nested without end."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _values(item: Mapping[str, Any], tag: str) -> list[Any]:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _text(item: Mapping[str, Any], tag: str) -> str:
    values = _values(item, tag)
    return values[0].strip("\0 ") if values and isinstance(values[0], str) else ""


def _number(item: Mapping[str, Any], tag: str) -> int | None:
    values = _values(item, tag)
    return values[0] if values and type(values[0]) is int else None


def _sequence(item: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    return [one for one in _values(item, tag) if isinstance(one, dict)]


def _words(code: int | None) -> str:
    if code is None:
        return "it gives no reason"
    kinds = {0xA7: "it is out of room", 0xA9: "the object does not fit its class or its study"}
    words = _REASONS.get(code) or kinds.get(code >> 8)
    if words is None:
        words = "it cannot understand the object" if code >> 12 == 0xC else "it failed"
    return f"{words} ({code:04X})"
