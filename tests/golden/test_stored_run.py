"""A run that was kept, and one of an earlier version: read, evaluated and reported as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml.experiment import again, report
from ml.experiment.report import page
from ml.experiment.request import Request
from ml.experiment.results import Results
from ml.progress import RunDir
from tests.golden import stored_run

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
    """``again`` compares all that it finds with the first results, and says what differs."""
    run = stored_run.unpacked(stored_run.TODAY, tmp_path)
    first = json.loads((run / "results.json").read_text("utf-8"))
    steps = list(again.evaluate(run, tmp_path / "data", tmp_path / "fresh"))
    assert [step.text for step in steps if step.said] == []
    assert json.loads((run / "results.json").read_text("utf-8")).keys() == first.keys()
    assert not (run / again.FIRST).exists()
