"""A finished run as MLflow is told of it: by a stand-in everywhere, by MLflow where it is."""

from __future__ import annotations

import importlib.util
import json
import lzma
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ml.experiment import tracking
from ml.experiment.results import FILE, Results, ResultsError

EVIDENCE = Path(__file__).parents[2] / "evidence" / "compact-nodules.json.xz"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with the whole results of a run of the nodules."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / FILE).write_bytes(lzma.decompress(EVIDENCE.read_bytes()))
    (folder / "config.json").write_text("{}", "utf-8")
    return folder


class StandIn(ModuleType):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.told: dict[str, Any] = {"artifacts": []}

    def set_experiment(self, name: str) -> None:
        self.told["experiment"] = name

    def start_run(self, run_name: str) -> StandIn:
        self.told["run"] = run_name
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def log_params(self, told: dict[str, str]) -> None:
        self.told["params"] = told

    def log_metrics(self, told: dict[str, float]) -> None:
        self.told["metrics"] = told

    def log_artifact(self, path: str) -> None:
        self.told["artifacts"].append(Path(path).name)


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Installed, and told where to write."""
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    monkeypatch.setenv(tracking.TARGET, "sqlite:///nowhere.db")
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "")  # put back afterwards
    return stand_in


def test_settings_figures_and_files_are_told_and_nothing_to_its_makers(
    run: Path, mlflow: StandIn
) -> None:
    list(tracking.log(run, "nodules"))
    told = mlflow.told
    assert (told["experiment"], told["run"]) == ("nodules", "run")
    assert told["artifacts"] == [FILE, "config.json"]
    results = Results.load(run)
    arms = {one.name: one for one in results.found.scores.summary if one.selection == "nested"}
    figure = arms["classic"].balanced_accuracy
    assert told["metrics"]["classic/balanced_accuracy"] == figure.value
    assert told["metrics"]["classic/balanced_accuracy_low"] == figure.low
    assert {name.split("/")[0] for name in told["metrics"]} == {
        name.replace("+", "_") for name in arms
    }
    raw = json.loads((run / FILE).read_text("utf-8"))
    assert told["params"]["dataset.digest"] == raw["dataset"]["digest"]
    assert told["params"]["config.seed"] == str(raw["config"]["seed"])
    assert all(len(text) <= 500 for text in told["params"].values())
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"


def test_why_nothing_is_told_is_said(
    run: Path, mlflow: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResultsError):
        list(tracking.log(tmp_path, "x"))

    def full(_name: str) -> None:
        raise RuntimeError("the store\nis full")

    monkeypatch.setattr(mlflow, "set_experiment", full)
    with pytest.raises(tracking.TrackingError, match="the store is full"):
        list(tracking.log(run, "x"))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(tracking.TrackingError, match="not installed"):
        list(tracking.log(run, "x"))
    monkeypatch.delenv(tracking.TARGET)
    with pytest.raises(tracking.TrackingError, match=f"set {tracking.TARGET}"):
        list(tracking.log(run, "x"))


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed")
def test_mlflow_itself_takes_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(tracking.TARGET, f"sqlite:///{tmp_path}/mlflow.db")
    list(tracking.log(run, "nodules"))
    import mlflow

    [found] = mlflow.search_runs(experiment_names=["nodules"], output_format="list")
    assert found.data.metrics["classic/balanced_accuracy_low"] < 1
