"""A finished run evaluated again from what its tasks left, on any machine that has the data set.

Only what the training machine alone could tell is taken from the first ``results.json``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from ml.checkpoints.checkpoint import current_commit
from ml.dataset.manifest import Manifest
from ml.experiment import evaluation, fresh_phantoms, predictions
from ml.experiment.findings import evaluated
from ml.experiment.folder import RunFolder
from ml.experiment.outcomes import Missing
from ml.experiment.plan import Plan
from ml.experiment.request import Request, digest_of
from ml.experiment.results import VERSION, Results
from ml.experiment.results.origin import OfTheRun
from ml.experiment.results.synthetic import FeatureNetwork
from ml.experiment.tasks import DrawFresh, PlannedTask
from ml.ground.errors import HepaticaError
from ml.ground.records import RecordError, extract
from ml.progress import Progress, RunDir

FIRST = "results-first.json"
"""Where the first results are kept once others have taken their place."""
_BY = "evaluated_by"


class EvaluationError(HepaticaError):
    """A run that cannot be evaluated again."""


def evaluate(run: Path, data: Path, fresh: Path | None = None) -> Iterator[Progress]:
    """Write ``results.json`` of a finished run again, equal to the first up to rounding.

    ``predictions.csv`` is written again as well.

    Where it is not equal (another version of this program evaluated), that is said, the first is
    kept beside it, and the new one names the commit that evaluated it.

    Args:
        data: the data set that the run was of; its folder may lie elsewhere by now.
        fresh: where the run kept fresh phantoms; default ``run/fresh``.

    Raises:
        EvaluationError: no finished run there, another data set, or files of tasks that are
            missing or damaged.
        HepaticaError: a data set that cannot be read, results that cannot be written.
    """
    if not (run / "config.json").exists():
        raise EvaluationError(f"{run} holds no run (no config.json); give the folder of one.")
    request = Request.of_run(run)
    first = _first(run)
    manifest = Manifest.load(data)
    if manifest.digest != digest_of(run):
        raise EvaluationError(
            f"{data} is not the data set of the run in {run}: its digest is "
            f"{manifest.digest[:12]}, the run's {digest_of(run)[:12]}; give the one with --data."
        )
    folder = RunFolder(data, run, fresh or run / "fresh")
    plan = Plan.of(request.settings, manifest, request.seeds, folder)
    _refuse_missing(plan, folder)
    yield Progress(0, 2, "reading what the tasks left")
    try:
        of_the_run, network = extract(OfTheRun, first), _network(first)
        outputs = evaluation.Outputs(folder, request.settings, manifest, plan.seeds)
        _refuse_incomplete(plan.later(outputs.matched(), folder), folder)
        yield Progress(1, 2, "comparing the arms")
        found = evaluated(folder, outputs, network, request.command, request.capped)
    except (OSError, KeyError, ValueError, EOFError, BadZipFile, RecordError) as error:
        raise EvaluationError(
            f"{run}: something that the run left is damaged ({error!r}); copy its folder again, "
            "whole."
        ) from error
    by = first.pop(_BY, None)
    results = Results(of_the_run, found, version=VERSION)
    second = results.to_json()
    if told := _differs(first, second):
        if not (run / FIRST).exists():
            RunDir(run).write_bytes(FIRST, (run / "results.json").read_bytes())
        by = current_commit()
        yield Progress(
            1,
            2,
            f"{run / 'results.json'} {told}. Another version of this program evaluated it; the "
            f"first stays as {FIRST}.",
            said=True,
        )
    yield Progress(1, 2, predictions.write(outputs, RunDir(run)))
    replace(results, evaluated_by=by).save(RunDir(run))
    yield Progress(2, 2, f"results in {run / 'results.json'}")


def _first(run: Path) -> dict[str, Any]:
    """The first results as they lie there: another version may have written them."""
    path = run / "results.json"
    if not path.exists():
        raise EvaluationError(
            f"The run in {run} has not ended (no results.json); go on with it: "
            f"python -m ml experiment --data DATA --out {run} --resume."
        )
    try:
        first = RunDir(run).read_json("results.json")
    except ValueError as error:
        first = error
    if not isinstance(first, dict):
        raise EvaluationError(
            f"{path} is damaged; restore it, or let the run end again (--resume)."
        )
    return first


def _refuse_missing(plan: Plan, folder: RunFolder) -> None:
    """EvaluationError where a file of a task that the evaluation reads is not there."""
    tested = [
        one
        for one in plan.fresh
        if isinstance(one.task, DrawFresh) and one.task.chunk.use == fresh_phantoms.TEST
    ]
    missing = _names(tested)
    if missing:
        raise EvaluationError(
            f"{folder.fresh} lacks {len(missing)} of the {len(tested)} pieces of fresh phantoms "
            "that the run was tested on; give the folder that has them with --fresh."
        )
    _refuse_incomplete(
        (*plan.tissue, *plan.generators, *plan.classifiers, *plan.measurements), folder
    )


def _refuse_incomplete(needed: Sequence[PlannedTask], folder: RunFolder) -> None:
    missing = _names(needed)
    if missing:
        raise EvaluationError(
            f"{folder.run / 'tasks'} lacks the results of {len(missing)} of {len(needed)} tasks "
            f"({missing[0]} for one); copy the run's folder again, whole."
        )


def _names(planned: Sequence[PlannedTask]) -> list[str]:
    return [one.task.name for one in planned if not one.done]


def _network(first: Mapping[str, Any]) -> FeatureNetwork | Missing:
    """What the run said of its feature network: the one that comes with this program may differ."""
    said = first["fidelity"]
    if "missing" in said:
        return extract(Missing, said, "fidelity")
    return extract(FeatureNetwork, said, "fidelity")


def _differs(first: Mapping[str, Any], again: Mapping[str, Any]) -> str:
    """In words: what is not as it was, and what there was not; empty where all is alike."""
    changed = sorted(key for key in first if not _equal(first[key], again.get(key), more=True))
    same = [key for key in first if key not in changed]
    new = sorted({*again} - {*first} | {key for key in same if not _equal(first[key], again[key])})
    told = [f"is not what it was, in: {', '.join(changed)}"] if changed else []
    if new:
        rest = "" if changed else "; what it had is as it was"
        told.append(f"has what it had not, in: {', '.join(new)}{rest}")
    return ", and ".join(told)


def _equal(one: Any, other: Any, more: bool = False) -> bool:
    """Equal up to the rounding of another processor.

    Args:
        more: ``other`` may have names that ``one`` has not.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        alike = one.keys() <= other.keys() if more else one.keys() == other.keys()
        return alike and all(_equal(one[key], other[key], more) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _equal(a, b, more) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)
