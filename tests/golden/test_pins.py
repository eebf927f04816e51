"""Numbers, names and bytes that a change of the house must leave as they are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.leak_audit.record import from_json
from ml.readers.results import Result
from tests.golden import pins


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no collection, under its path."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from leaves(value[key], f"{path}/{key}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from leaves(one, f"{path}/{number}")
    else:
        yield path, value


def differences(found: Any, pinned: Any, tolerance: float) -> list[str]:
    """What is not as it was; numbers may differ by rounding."""
    was, now = dict(leaves(pinned)), dict(leaves(pins.plain(found)))
    told = [f"{path}: {how}" for how, paths in (("new", now.keys() - was.keys()),
            ("gone", was.keys() - now.keys())) for path in sorted(paths)]  # fmt: skip
    for path in was.keys() & now.keys():
        a, b = was[path], now[path]
        numbers = isinstance(a, float) and isinstance(b, int | float)
        if not (math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12) if numbers else a == b):
            told.append(f"{path}: {b!r}, was {a!r}")
    return told


@pytest.fixture(scope="module")
def pinned() -> dict[str, Any]:
    return json.loads(pins.PINS.read_text("utf-8"))


def test_a_pin_that_moved_is_told():
    pinned = {"a": [1.0, 2.0], "b": "x"}
    assert differences({"a": [1.0, 2.0 + 1e-12], "b": "x"}, pinned, 1e-9) == []
    assert differences({"a": [1.0, 2.1], "b": "x"}, pinned, 1e-9) == ["/a/1: 2.1, was 2.0"]
    assert differences({"a": [1.0], "c": "x"}, pinned, 1e-9) == [
        "/c: new",
        "/a/1: gone",
        "/b: gone",
    ]


def test_analysis_audit_plan_protocol_and_files_of_reader_studies(pinned):
    found = pins.of_reader_studies()
    assert differences(found, {key: pinned[key] for key in found}, 1e-9) == []


def test_what_was_written_before_there_were_types_is_read_and_written_alike(pinned):
    """The pins are of programs that had dictionaries alone."""
    assert Result.from_json(pinned["analysis"]).to_json() == pinned["analysis"]
    assert from_json(pinned["leak audit"]).to_json() == pinned["leak audit"]


def test_a_leak_audit_of_the_first_version_is_read_and_names_no_image():
    first = json.loads((Path(__file__).parent / "leak_audit_1.json").read_text("utf-8"))
    found = from_json(first)
    assert found.to_json() == first and found.version == 1
    assert found.verdict == "amber" and found.coloured() == {}


def test_the_files_and_figures_of_an_experiment(pinned, finished_run: Path):
    found, was = pins.of_experiment(finished_run), pinned["experiment"]
    assert found["files"] == was["files"]
    assert dict(leaves(pins.plain(found["results"]))).keys() == dict(leaves(was["results"])).keys()
    if pins.canary() != pinned["canary"]:
        pytest.skip("this machine trains to other bits than that of the pins; names were compared")
    assert differences(found, was, 1e-6) == []
