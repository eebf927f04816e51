"""JSON Schema (draft 2020-12) of what `ml.ground.records` writes for a class of records."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

Schema = dict[str, object]  # opaque here: only its parts are written, none is read again

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def of(kind: type, title: str) -> Schema:
    """The schema of ``records.to_json`` of a ``kind``; each record is described by its docstring.

    Raises:
        TypeError: a field of a type that no record may hold.
    """
    definitions: Schema = {}
    root = _of(kind, definitions)
    return {"$schema": DRAFT, "title": title, **root, "$defs": dict(sorted(definitions.items()))}


def _of(kind: Any, definitions: Schema) -> Schema:
    if kind is Any:
        return {}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(one, definitions) for one in arguments]}
    if origin is tuple:
        return _tuple(arguments, definitions)
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if dataclasses.is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]
        if name not in definitions:
            definitions[name] = {}  # a record may hold records of its own kind
            definitions[name] = _record(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    raise TypeError(f"{kind!r} has no form in JSON")


def _tuple(arguments: tuple[Any, ...], definitions: Schema) -> Schema:
    if arguments[-1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    return {
        "type": "array",
        "prefixItems": [_of(one, definitions) for one in arguments],
        "minItems": len(arguments),
        "items": False,
    }


def _record(kind: Any, definitions: Schema) -> Schema:
    properties, required = _properties(kind, definitions)
    written: Schema = {
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "additionalProperties": False,
    }
    words = inspect.getdoc(kind)
    return (
        {"description": words.split("\n\n")[0].replace("\n", " "), **written} if words else written
    )


def _properties(kind: Any, definitions: Schema) -> tuple[Schema, set[str]]:
    hints = get_type_hints(kind)
    properties: Schema = {}
    required: set[str] = set()
    for item in dataclasses.fields(kind):
        if item.metadata.get("merged"):
            inner, needed = _properties(hints[item.name], definitions)
            properties |= inner
            required |= needed if item.default is dataclasses.MISSING else set()
            continue
        key = str(item.metadata.get("json_key", item.name))
        properties[key] = _of(hints[item.name], definitions)
        if item.default is dataclasses.MISSING:
            required.add(key)
    return properties, required
