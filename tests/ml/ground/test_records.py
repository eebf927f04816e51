"""Records as JSON and back: the same bytes, or a refusal that names the place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from ml.ground.records import RecordError, extract, from_json, json_key, merged, to_json
from ml.statistics.figure import Figure


class Colour(StrEnum):
    DARK = "dark"
    BRIGHT = "bright"


@dataclass(frozen=True)
class Why:
    missing: str


@dataclass(frozen=True)
class Sizes:
    width: int
    height: float


@dataclass(frozen=True)
class Picture:
    kind: str = field(metadata=json_key("class"))
    sizes: Sizes = field(metadata=merged())
    colour: Colour
    points: tuple[tuple[int, int], ...]
    named: Mapping[str, Figure | Why]
    parent: int | None
    note: str | None = None


WHOLE: dict[str, Any] = {
    "class": "slice",
    "width": 3,
    "height": 4,
    "colour": "dark",
    "points": [[1, 2], [3, 4]],
    "named": {"a": {"value": 0.5, "low": None, "high": None}, "b": {"missing": "few"}},
    "parent": None,
}


def test_a_record_is_written_as_it_was_read() -> None:
    read = from_json(Picture, WHOLE)
    assert (read.kind, read.sizes, read.colour) == ("slice", Sizes(3, 4), Colour.DARK)
    assert read.points == ((1, 2), (3, 4)) and read.named["b"] == Why("few")
    assert to_json(read) == WHOLE
    noted = from_json(Picture, {**WHOLE, "note": "seen"})
    assert noted.note == "seen" and to_json(noted) == {**WHOLE, "note": "seen"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parent": ...}, "run.parent is missing."),
        ({"width": ...}, "run.width is missing."),
        ({"weight": 1}, "run.weight: nothing of that name is known here."),
        ({"width": 1.5}, "run.width must be a whole number, not 1.5."),
        ({"width": True}, "run.width must be a whole number, not True."),
        ({"height": "4"}, "run.height must be a number, not '4'."),
        ({"class": None}, "run.class must be text, not None."),
        ({"colour": "red"}, "run.colour must be one of dark, bright, not 'red'."),
        ({"points": {}}, "run.points must be a list, not {}."),
        ({"points": [[1, 2], [3]]}, "run.points[1] must be a list of 2, not [3]."),
        ({"named": []}, "run.named must be an object of named values, not []."),
        ({"named": {"b": {"missing": 1}}}, "run.named['b'].missing must be text, not 1."),
        ({"named": {"a": {"value": 1, "low": 0}}}, "run.named['a'].high is missing."),
        (
            {"named": {"a": {"value": 1, "low": 0, "high": 2, "x": 1}}},
            "run.named['a'].x: nothing of that name",
        ),
    ],
)
def test_what_is_missing_unknown_or_of_another_type_is_refused(
    change: dict[str, Any], told: str
) -> None:
    data = {key: value for key, value in {**WHOLE, **change}.items() if value is not ...}
    with pytest.raises(RecordError) as refused:
        from_json(Picture, data, "run")
    assert told in str(refused.value)


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(RecordError, match="The whole must be an object"):
        from_json(Picture, data)


def test_a_record_among_other_things_is_taken_out() -> None:
    assert extract(Sizes, WHOLE) == Sizes(3, 4)
    with pytest.raises(RecordError, match="height is missing"):
        extract(Sizes, {"width": 3, "depth": 1})


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no form"):
        to_json({"a": [object()]})
