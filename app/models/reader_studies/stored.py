"""What is stored as JSON, read into types: what is missing, unknown or of another kind is told."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from app.errors import Damaged

Json = dict[str, Any]
"""A JSON object as a column holds it: the border where the types of this room begin."""

T = TypeVar("T")

_TOLD = 3
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


class Stored:
    """For a frozen dataclass whose fields are the keys of a JSON object; no other key is read."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    def to_json(self) -> Json:
        """The JSON form, as a column keeps it."""
        return write(self)


def read(kind: type[T], found: object, what: str) -> T:
    """``found`` as a ``kind``.

    Args:
        what: what it is, as a sentence begins: "The plan of the study".

    Raises:
        Damaged: a key is missing or unknown, or a value is of another kind; no value is repeated.
    """
    try:
        known: T = _adapter(kind).validate_python(found)
        return known
    except ValidationError as error:
        faults = [_said(one["loc"], one["type"], one["msg"]) for one in error.errors()]
    more = f", and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
    raise unreadable(what, "; ".join(faults[:_TOLD]) + more)


def unreadable(what: str, fault: str) -> Damaged:
    """The refusal of what is stored in no form that is known here."""
    return Damaged(
        f"{what} cannot be read: {fault}. Either it was changed in the database, or a later "
        "version of Hepatica wrote it. Use that version, or restore a backup."
    )


def write(value: object) -> Json:
    """The JSON form of a dataclass: tuples as lists, ids and words as text."""
    written: Json = _adapter(type(value)).dump_python(value, mode="json")
    return written


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _said(where: tuple[int | str, ...], kind: str, message: str) -> str:
    place = ".".join(str(part) for part in where) or "it"
    if kind in ("missing", "missing_argument"):
        return f"{place} is missing"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{place[:60]} is not known"
    return f"{place}: {message[0].lower()}{message[1:]}"
