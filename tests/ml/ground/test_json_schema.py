from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import jsonschema
import pytest

from ml.ground import json_schema, records


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Place:
    """Where something is."""

    x: float
    y: float = 0.0


@dataclass(frozen=True)
class Thing:
    """Something.

    More of it.
    """

    colour: Colour
    sizes: tuple[int, ...]
    pair: tuple[int, str]
    parts: Mapping[str, Thing | None]
    kind: str = field(metadata=records.json_key("class"))
    place: Place = field(metadata=records.merged())
    note: str | None = None


THING = Thing(Colour.RED, (1, 2), (1, "a"), {}, "k", Place(1.5))
WHOLE = Thing(Colour.BLUE, (), (0, ""), {"inner": THING, "none": None}, "k", Place(1, 2.0), "n")


@pytest.mark.parametrize("thing", [THING, WHOLE])
def test_what_is_written_has_the_form_of_its_schema(thing: Thing) -> None:
    schema = json_schema.of(Thing, "thing")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(records.to_json(thing), schema)
    assert schema["$defs"]["Thing"]["description"] == "Something."


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "green"}, {"sizes": ["1"]}, {"pair": [1]}, {"parts": {"a": 1}}, {"class": 1},
        {"x": "far"}, {"unknown": 1}, {"note": 5},
    ],
)  # fmt: skip
def test_what_is_not_of_that_form_is_refused(change: dict[str, object]) -> None:
    schema, data = json_schema.of(Thing, "thing"), records.to_json(THING)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | change, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({key: one for key, one in data.items() if key != "x"}, schema)


def test_a_type_that_no_record_may_hold_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: complex

    with pytest.raises(TypeError, match="no form"):
        json_schema.of(Odd, "odd")
