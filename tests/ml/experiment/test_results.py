"""``results.json`` that is not whole, or of another version, is refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.__main__ import main
from ml.experiment.results import Results
from tests.golden import stored_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return stored_run.unpacked(stored_run.TODAY, tmp_path)


def _drop(path: list[Any]) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        del data[path[-1]]

    return change


def _put(path: list[Any], value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_drop(["summary"]), "summary is missing."),
        (_drop(["arms", 3, "seed"]), "arms[3].seed is missing."),
        (_drop(["arms", 0, "auc", "low"]), "arms[0].auc"),
        (_drop(["generators", 0, "steps"]), "generators[0]"),
        (_put(["arms", 1, "score"], 1), "arms[1].score: nothing of that name is known here."),
        (_put(["times", "starts"], {}), "times.starts must be a list, not {}."),
        (_put(["comparisons", 0, "p"], "0.1"), "comparisons[0].p must be a number, not '0.1'."),
        (_put(["arms", 0, "selection"], "best"), "arms[0].selection must be one of fixed, paper"),
        (_put(["dataset", "scheme"], {"name": "x"}), "dataset.scheme is no LesionScheme"),
    ],
)
def test_a_wrong_place_is_named_with_what_to_do(
    change: Callable[[Any], None], told: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads((run / "results.json").read_text("utf-8"))
    change(data)
    (run / "results.json").write_text(json.dumps(data), "utf-8")
    assert main(["report", str(run), "--table"]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"error: {run} has no whole results.json: ") and told in message
    assert "--again" in message and "Traceback" not in message


def test_results_of_a_later_version_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads((run / "results.json").read_text("utf-8"))
    (run / "results.json").write_text(json.dumps({**data, "version": 3}), "utf-8")
    assert main(["report", str(run), "--table"]) == 1
    assert "is of version 3, and this program reads 1 to 2" in capsys.readouterr().err


def test_results_that_say_the_first_version_are_read(run: Path) -> None:
    data = json.loads((run / "results.json").read_text("utf-8"))
    read = Results.from_json({**data, "version": 1})
    assert read.to_json() == data
    assert read.found.scores.probabilities is None and read.found.scores.arms[0].brier is None
