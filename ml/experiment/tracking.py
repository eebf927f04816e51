"""A finished run told to MLflow, where that is installed and somebody asks for it.

It goes where ``MLFLOW_TRACKING_URI`` says and nowhere else: what MLflow tells its makers of its use
is switched off before it is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml.experiment.results import FILE, Results
from ml.experiment.results.scores import ArmSummary, Selection
from ml.ground.errors import HepaticaError, reason
from ml.ground.records import to_json
from ml.progress import Progress
from ml.statistics.figure import Figure

TARGET = "MLFLOW_TRACKING_URI"
_QUIET = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
_TRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_FILES = (FILE, "config.json", "predictions.csv", "report.html")
_MOST_LETTERS = 500
"""Of a parameter; MLflow's own limit is larger, and its oldest was this."""
_UNFIT = re.compile(r"[^A-Za-z0-9_\-. /]")
"""What the name of a metric may not hold."""


class TrackingError(HepaticaError):
    """A run that cannot be told to MLflow."""


def log(folder: Path, experiment: str) -> Iterator[Progress]:
    """Make a run of that experiment in MLflow: settings, figures with their ends, files.

    Figures are those of nested selection, an arm each, with ``_low`` and ``_high``.

    Raises:
        ResultsError: no whole results in ``folder``.
        TrackingError: MLflow is not installed, not told where to write, or does not take it.
    """
    results = Results.load(folder)
    if not os.environ.get(TARGET):
        raise TrackingError(
            f"Where it is to be written is not known: set {TARGET}, such as "
            f"{TARGET}=sqlite:///mlflow.db or the address of a server. Nothing was sent."
        )
    for name in _QUIET:
        os.environ[name] = "true"
    os.environ.setdefault(_TRIES, "2")  # its own seven take minutes
    try:
        import mlflow
    except ImportError as error:
        raise TrackingError(
            "MLflow is not installed here: pip install mlflow-skinny (of a server elsewhere) or "
            "mlflow. Nothing was sent."
        ) from error
    yield Progress(0, 1, f"telling {experiment} in MLflow")
    try:
        mlflow.set_experiment(experiment)
        with mlflow.start_run(run_name=folder.resolve().name):
            mlflow.log_params(parameters(results))
            mlflow.log_metrics(figures(results))
            for name in _FILES:
                if (folder / name).exists():
                    mlflow.log_artifact(str(folder / name))
    except Exception as error:  # whatever a store or a server makes of it
        told = reason(error) if isinstance(error, OSError) else str(error)
        raise TrackingError(
            f"MLflow did not take the run: {' '.join(told.split())[:300]}"
        ) from error
    yield Progress(1, 1, f"{folder.resolve().name} stands in {experiment} of MLflow")


def parameters(results: Results) -> dict[str, str]:
    """What the run was asked for and of, as MLflow's parameters: dotted names, texts."""
    asked = to_json(results.found.asked)
    told = {
        "command": asked.get("command"),
        "seeds": asked.get("seeds"),
        "dataset": {
            name: to_json(results.found.dataset).get(name) for name in ("name", "kind", "digest")
        },
        "commit": results.run.commit,
        "config": asked.get("config"),
    }
    return {
        _UNFIT.sub("_", name): text[:_MOST_LETTERS]
        for name, value in _flat(told)
        if (text := "" if value is None else str(value))
    }


def figures(results: Results) -> dict[str, float]:
    """The figures of every arm under nested selection, each with its 95 % interval."""
    found: dict[str, float] = {}
    for arm in results.found.scores.summary:
        if arm.selection is Selection.NESTED:
            for name, figure in _of_arm(arm).items():
                if figure is not None and figure.value is not None:
                    key = _UNFIT.sub("_", f"{arm.name}/{name}")
                    found[key] = figure.value
                    if figure.ends is not None:
                        found[f"{key}_low"], found[f"{key}_high"] = figure.ends
    return found


def _of_arm(arm: ArmSummary) -> Mapping[str, Figure | None]:
    return {
        "balanced_accuracy": arm.balanced_accuracy,
        "accuracy": arm.accuracy,
        "sensitivity": arm.sensitivity.get("weighted"),
        "specificity": arm.specificity.get("weighted"),
        "auc": arm.auc.get("macro"),
        "true_balanced_accuracy": arm.true_balanced_accuracy,
        "brier": arm.brier,
        "log_loss": arm.log_loss,
        "calibration_error": arm.calibration_error,
    }


def _flat(told: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
