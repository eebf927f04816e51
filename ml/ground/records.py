"""Frozen dataclasses as JSON and back: every field under its name, and nothing else.

A field without a default must be there. One with a default may be absent, and is left out where it
has its default. ``json_key`` gives a field another name; ``merged`` puts the fields of a record
among those of the one that holds it. Of several kinds of record (``A | B``) the first whose fields
are all there is taken. A class that has ``to_dict`` and ``from_dict`` says its own form.

What does not fit is refused by its place; nothing is converted, so that what was read is written
as it was.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from ml.ground.errors import HepaticaError

T = TypeVar("T")
_PLAIN = frozenset((str, int, float, bool))


class RecordError(HepaticaError):
    """JSON that does not have the form of a record; the message names the place."""


def json_key(name: str) -> dict[str, str]:
    """Metadata of a field that is called otherwise in JSON: ``field(metadata=json_key("class"))``.

    For words that Python keeps for itself.
    """
    return {"json_key": name}


def merged() -> dict[str, bool]:
    """Metadata of a field whose own fields stand beside those of its record."""
    return {"merged": True}


def to_json(value: Any) -> Any:
    """The JSON form of a record, or of anything made of records, lists, mappings and plain values.

    Raises:
        TypeError: something that no record may hold.
    """
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        written: dict[str, Any] = {}
        for item in dataclasses.fields(value):
            one = getattr(value, item.name)
            if item.default is not MISSING and one == item.default:
                continue
            if item.metadata.get("merged"):
                written |= to_json(one)
            else:
                written[_key(item)] = to_json(one)
        return written
    if isinstance(value, Mapping):
        return {key: to_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value.value if isinstance(value, Enum) else value
    raise TypeError(f"{type(value).__name__} has no form in JSON")


@overload
def from_json(kind: type[T], data: Any, place: str = "") -> T: ...
@overload
def from_json(kind: types.UnionType, data: Any, place: str = "") -> Any: ...
def from_json(kind: Any, data: Any, place: str = "") -> Any:
    """The record whose ``to_json`` is ``data``.

    Args:
        kind: its class, or several (``A | B``).
        place: what leads to ``data``, for the refusal.

    Raises:
        RecordError: a field that is missing or unknown, or a value of another type.
    """
    return _read(kind, data, place)


def extract(kind: type[T], data: Any, place: str = "") -> T:
    """The record whose fields stand among others in ``data``; raises as ``from_json``."""
    _refuse_unless(isinstance(data, dict), place, "an object of named values", data)
    record: Any = kind
    return from_json(kind, {key: data[key] for key in _names(record) if key in data}, place)


def _read(kind: Any, data: Any, place: str) -> Any:
    if kind is Any or _is_plain(kind, data):
        return data
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read(_chosen(arguments, data), data, place)
    if origin is tuple:
        return _tuple(arguments, data, place)
    if origin is not None:  # Mapping[str, X]
        _refuse_unless(isinstance(data, dict), place, "an object of named values", data)
        return {key: _read(arguments[1], one, f"{place}[{key!r}]") for key, one in data.items()}
    if hasattr(kind, "from_dict"):
        try:
            return kind.from_dict(data)
        except (HepaticaError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecordError(f"{_told(place)} is no {kind.__name__}: {error!r}.") from error
    if dataclasses.is_dataclass(kind):
        return _record(kind, data, place)
    return _plain(kind, data, place)


def _record(kind: Any, data: Any, place: str) -> Any:
    _refuse_unless(isinstance(data, dict), place, "an object of named values", data)
    values, left = {}, dict(data)
    for item, key, of in _fields(kind):
        if item.metadata.get("merged"):
            own = {key: left.pop(key) for key in _names(of) if key in left}
            if own or item.default is MISSING:
                values[item.name] = _read(of, own, place)
            continue
        if key in left:
            values[item.name] = _read(of, left.pop(key), f"{place}.{key}" if place else key)
        elif item.default is MISSING:
            raise RecordError(f"{_told(f'{place}.{key}' if place else key)} is missing.")
    if left:
        names = ", ".join(sorted(f"{place}.{key}" if place else str(key) for key in left))
        raise RecordError(f"{names}: nothing of that name is known here.")
    return kind(**values)


def _tuple(arguments: tuple[Any, ...], data: Any, place: str) -> tuple[Any, ...]:
    _refuse_unless(isinstance(data, list), place, "a list", data)
    if arguments[-1] is not Ellipsis:
        _refuse_unless(len(data) == len(arguments), place, f"a list of {len(arguments)}", data)
        kinds = arguments
    elif all(_is_plain(arguments[0], one) for one in data):
        return tuple(data)
    else:
        kinds = (arguments[0],) * len(data)
    return tuple(
        _read(kind, one, f"{place}[{i}]")
        for i, (kind, one) in enumerate(zip(kinds, data, strict=True))
    )


def _is_plain(kind: Any, data: Any) -> bool:
    """Whether that is all to be said of it: most of a record is text and numbers, as they are."""
    return type(data) is kind and kind in _PLAIN


def _plain(kind: Any, data: Any, place: str) -> Any:
    if issubclass(kind, Enum):
        known = [member.value for member in kind]
        _refuse_unless(data in known, place, f"one of {', '.join(known)}", data)
        return kind(data)
    fits = isinstance(data, kind) or (kind is float and isinstance(data, int))
    # a truth value is a whole number to Python, and to nobody else
    fits = fits and (kind is bool or not isinstance(data, bool))
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    _refuse_unless(fits, place, words.get(kind, "nothing"), data)
    return data


def _chosen(kinds: tuple[Any, ...], data: Any) -> Any:
    """Of a union, the kind that ``data`` is meant to be."""
    if data is None and types.NoneType in kinds:
        return types.NoneType
    some = [kind for kind in kinds if kind is not types.NoneType]
    if isinstance(data, dict):
        for kind in some:
            if _is_record(kind) and _names(kind, needed=True) <= data.keys():
                return kind
        # none is whole: what is missing is told of the one that it is most like
        return max(some, key=lambda kind: len(_names(kind) & data.keys()))
    return some[-1]


@cache
def _names(kind: Any, needed: bool = False) -> frozenset[str]:
    """The JSON names of a record's fields, of those of several kinds, or those that are needed."""
    if get_origin(kind) in (Union, types.UnionType):
        return frozenset().union(*(_names(one, needed) for one in get_args(kind)))
    if not _is_record(kind):
        return frozenset()
    hints, names = _hints(kind), set[str]()
    for item in dataclasses.fields(kind):
        if needed and item.default is not MISSING:
            continue
        if item.metadata.get("merged"):
            names |= _names(hints[item.name], needed)
        else:
            names.add(_key(item))
    return frozenset(names)


def _is_record(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind)


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


@cache
def _fields(kind: Any) -> tuple[tuple[Field[Any], str, Any], ...]:
    """Of a record each field, its JSON name and its type."""
    hints = _hints(kind)
    return tuple((item, _key(item), hints[item.name]) for item in dataclasses.fields(kind))


def _key(item: Field[Any]) -> str:
    return str(item.metadata.get("json_key", item.name))


def _refuse_unless(fits: bool, place: str, wanted: str, data: Any) -> None:
    if not fits:
        shown = repr(data)
        shown = shown if len(shown) <= 40 else f"{shown[:39]}…"
        raise RecordError(f"{_told(place)} must be {wanted}, not {shown}.")


def _told(place: str) -> str:
    return place or "The whole"
