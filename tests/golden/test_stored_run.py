"""A run that was kept, and one of an earlier version: read, evaluated and reported as before."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.experiment import again, report
from ml.experiment.report import page
from ml.experiment.request import Request
from ml.experiment.results import Results
from ml.progress import RunDir
from tests.golden import stored_run
from tests.golden.test_pins import leaves

PINS = json.loads(Path(__file__).with_name("report.json").read_text("utf-8"))
STORED = {"run": stored_run.TODAY, "run-d3d9a5e": stored_run.OLD}


@pytest.fixture(params=STORED)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    return stored_run.unpacked(STORED[request.param], tmp_path), PINS[request.param]


def test_results_that_are_read_are_written_as_they_were(stored, tmp_path: Path) -> None:
    run, _ = stored
    Results.load(run).save(RunDir(tmp_path / "again"))
    written = (tmp_path / "again" / "results.json").read_bytes()
    assert written == (run / "results.json").read_bytes()


def test_what_was_asked_for_is_read(stored) -> None:
    run, _ = stored
    request, asked = Request.of_run(run), Results.load(run).found.asked
    assert (request.settings, request.command) == (asked.settings, asked.command)
    assert request.seeds == len(asked.seeds) and request.settings.folds == 2


def test_the_table_is_what_it_was(stored) -> None:
    run, pinned = stored
    assert report.table(run) == pinned["table"]


def test_the_report_is_what_it_was(stored) -> None:
    run, pinned = stored
    html = page.render(Results.load(run), run, stored_run.planes())
    found = stored_run.sections(html)
    assert found.keys() == pinned["sections"].keys()
    assert [name for name in found if found[name] != pinned["sections"][name]] == []


def test_evaluated_again_every_figure_is_what_it_was(tmp_path: Path) -> None:
    """``again`` compares all that it finds with the first results, and says what differs.

    Since version 2 of the results there is more in them. Intervals and p are made otherwise since
    2026-11-28 (`ml/statistics/trainings.py`): the one way counted the chance that is peculiar to a
    patient in one training up to three times and had intervals that p did not agree with. Values
    stay to the digit.
    """
    run = stored_run.unpacked(stored_run.TODAY, tmp_path)
    first = json.loads((run / "results.json").read_text("utf-8"))
    steps = list(again.evaluate(run, tmp_path / "data", tmp_path / "fresh"))
    [told] = [step.text for step in steps if step.said]
    changed = "answer, arms, comparisons, comparisons_paper_protocol, config, curve, dataset"
    more = "fidelity, fresh, memorisation, summary"
    assert f"results.json is not what it was, in: {changed}, {more}" in told
    assert "has what it had not, in: inference, probabilities, subgroups, version. " in told
    found = json.loads((run / "results.json").read_text("utf-8"))
    assert found.keys() == {
        *first, "inference", "probabilities", "subgroups", "version", "evaluated_by",
    }  # fmt: skip
    was, now = dict(leaves(first)), dict(leaves(found))
    other = {path.rpartition("/")[2] for path in was if not _alike(was[path], now.get(path))}
    # which phantom it is of is always said now
    words = {"interval", "distance", "flagged_below", "note", "calibration"}
    assert other <= {"low", "high", "p", "holm_p", "permutations", *"0123456789", *words}
    moved = {path for path in was if not _alike(was[path], now.get(path)) and path[-1].isdigit()}
    assert all(path.startswith("/answer/") for path in moved)
    assert json.loads((run / again.FIRST).read_text("utf-8")) == first
    # it keeps the method that it was begun with
    assert found["config"]["method_version"] == 1 and "primary" not in found
    assert {"brier", "log_loss", "calibration_error"} <= found["arms"][0].keys()


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def test_the_predictions_of_a_run_give_its_figures_again(tmp_path: Path) -> None:
    """Whoever has ``predictions.csv`` alone can count what the run counted."""
    run = stored_run.unpacked(stored_run.TODAY, tmp_path)
    list(again.evaluate(run, tmp_path / "data", tmp_path / "fresh"))
    results = json.loads((run / "results.json").read_text("utf-8"))
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    keys = [one["key"] for one in results["dataset"]["scheme"]["classes"]]
    assert list(lines[0])[:8] == [
        "lesion", "file", "patient", "arm", "selection", "seed", "fold", "truth",
    ]  # fmt: skip
    assert list(lines[0])[8:11] == [f"probability_{key}" for key in keys]
    for arm in results["arms"]:
        own = [
            line
            for line in lines
            if (line["arm"], line["selection"], int(line["seed"]))
            == (arm["name"], arm["selection"], arm["seed"])
            and (arm["selection"] != "fixed" or _size(line) == _size(arm))
        ]
        assert len({line["lesion"] for line in own}) == len(own) == results["dataset"]["lesions"]
        assert {line["fold"] for line in own} == {"0", "1"}
        truth = np.array([keys.index(line["truth"]) for line in own])
        table = np.array([[float(line[f"probability_{key}"]) for key in keys] for line in own])
        hits = table.argmax(axis=1) == truth
        assert [hits[truth == i].mean() for i in range(3)] == pytest.approx(
            [arm["sensitivity"]["per_class"][key]["value"] for key in keys]
        )
        brier = ((table - np.eye(3)[truth]) ** 2).sum(axis=1).mean()
        assert brier == pytest.approx(arm["brier"]["value"])


def _size(of: Mapping[str, Any]) -> tuple[int, int]:
    return int(of["classic_per_fold"]), int(of["synthetic_per_fold"])
