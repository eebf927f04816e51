"""THE PAGE: the experiment of Frid-Adar et al. (2018) from a data set to ``results.json``.

Folds separate patients. In every fold and seed, on training patients only: classic augmentations
are cut, a DCGAN per class and an ACGAN are trained, and one CNN per arm and size. The same again
without a validation part of the training patients, on which nested selection picks a size; then the
controls at the sizes that were picked. Every CNN then says what the fold's test lesions are. On
phantoms it also meets fresh patients.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ml.checkpoints.checkpoint import current_commit
from ml.config import ConfigError, Experiment, Split
from ml.dataset.manifest import Manifest
from ml.experiment import (
    arms,
    evaluation,
    lanes,
    machine,
    measured,
    measuring,
    perform,
    predictions,
    request,
)
from ml.experiment.clock import Clock
from ml.experiment.findings import evaluated
from ml.experiment.folder import RunFolder
from ml.experiment.plan import Plan
from ml.experiment.results import VERSION, Results
from ml.experiment.results.origin import OfTheRun
from ml.experiment.tasks import Measure, PlannedTask, Task, TrainClassifier, TrainGenerator
from ml.ground.counted import counted
from ml.progress import Progress, RunDir
from ml.training import runtime


def run(
    settings: Experiment,
    manifest: Manifest,
    run_dir: RunDir,
    seeds: int = 1,
    jobs: int = 0,
    cluster: str | None = None,
    fresh: Path | None = None,
    command: str = "",
    capped: Sequence[str] = (),
    tissue: Path | None = None,
) -> Iterator[Progress]:
    """The whole method; a run that was killed goes on where it stopped, with the same numbers.

    Closing the generator cancels the run and its workers.

    Args:
        run_dir: gets ``config.json``, ``log.jsonl``, ``predictions.csv``, ``results.json``;
            ``tasks`` and ``views`` hold what a later start of the same run takes up.
        seeds: repeats with other partitions, weights and draws: ``settings.seed`` and up.
        jobs: tasks at a time on this machine; 0: one per core.
        cluster: address of a Ray cluster that shares the folders of data and run.
        fresh: where fresh phantoms are kept; one folder may serve many runs.
        capped: what ``request.capped`` told of the settings; stands in the results.
        tissue: the folder of the pasted lesions whose digest ``settings.tissue`` is.

    Raises:
        HepaticaError: before anything trains, for everything that can be known by then.
    """
    folder = RunFolder(
        manifest.root.resolve(),
        run_dir.path.resolve(),
        (fresh or run_dir.path / "fresh").resolve(),
        0 if cluster else os.getpid(),
        f"-{secrets.token_hex(4)}",
        tissue and tissue.resolve(),
    )
    plan = _planned(settings, manifest, seeds, folder)
    runtime.prepare()
    plan.check(folder)
    request.keep(run_dir, settings, manifest, seeds, command, capped)
    clock = Clock(plan.tasks, folder, run_dir, plan.expected(folder))
    for words in capped:
        yield replace(clock.note(words), said=True)
    yield from trained(plan, folder, clock, jobs, cluster)

    outputs = evaluation.Outputs(folder, settings, manifest, plan.seeds)
    yield clock.note("comparing the arms")
    network = measured.feature_network(manifest)
    found = evaluated(folder, outputs, network, command, capped)
    embedding = measuring.embedding(folder, outputs)
    of_the_run = OfTheRun(current_commit(), machine.described(settings), embedding, clock.times())
    yield clock.note(predictions.write(outputs, run_dir))
    Results(of_the_run, found, version=VERSION).save(run_dir)
    yield clock.note(f"results in {run_dir.path / 'results.json'}")


def trained(
    plan: Plan, folder: RunFolder, clock: Clock, jobs: int = 0, cluster: str | None = None
) -> Generator[Progress]:
    """Every task of a plan that is not done, stage by stage; then the controls, once it is known
    at which sizes.

    Args:
        jobs, cluster: as of ``run``.
    """
    settings = plan.settings
    work = partial(_work, folder, settings)
    on_device = partial(_on_device, settings) if on_gpu(settings.device, cluster) else None

    def through(*stage: PlannedTask) -> Iterator[Progress]:
        yield from clock.through(work, stage, jobs, cluster, on_device)

    # classic augmentation: every view that any fold will ask for, cut from the whole slices; and
    # phantom lesions in real tissue, where an arm has such
    yield from through(*plan.views, *plan.tissue)
    # a DCGAN per class and an ACGAN, on training patients; and patients nobody has seen
    yield from through(*plan.generators, *plan.fresh)
    # one CNN per arm and size, scored on the patients that its fold holds out; and, where the
    # cores have nothing else to do, how real, how varied, how much copied
    beside = plan.measurements if on_device else ()
    yield from through(*plan.classifiers, *beside)
    # the controls, at the sizes that were chosen
    chosen = evaluation.Outputs(folder, settings, plan.manifest, plan.seeds).matched()
    controls = plan.later(chosen, folder)
    clock.expect(controls)
    yield from through(*controls)
    if not beside:
        yield from through(*plan.measurements)


def rehearse(
    settings: Experiment,
    manifest: Manifest,
    out: Path,
    seeds: int = 1,
    jobs: int = 0,
    fresh: Path | None = None,
    capped: Sequence[str] = (),
    tissue: Path | None = None,
) -> Iterator[str]:
    """Everything that ``run`` would refuse, then the plan with its tasks and time; trains nothing.

    Yields:
        What it is about to measure, then the plan.

    Raises:
        HepaticaError: as ``run``.
    """
    folder = RunFolder(
        manifest.root.resolve(), out.resolve(), (fresh or out / "fresh").resolve(), tissue=tissue
    )
    plan = _planned(settings, manifest, seeds, folder)
    plan.check(folder)
    yield from capped
    cores = jobs or os.cpu_count() or 1
    yield (
        f"timing here, on {counted(cores, 'core')} at a time, what the run will do "
        f"({settings.device}); this takes about ten seconds …"
    )
    measured_here = machine.rates(settings, manifest, cores)
    yield plan.priced(measured_here).describe(folder, cores, on_gpu(settings.device))


def _work(folder: RunFolder, settings: Experiment, task: Task) -> None:
    if isinstance(task, Measure):
        measuring.perform(folder, settings, task)
    else:
        perform.perform(folder, settings, task)


def on_gpu(device: str, cluster: str | None = None) -> bool:
    """Whether this process trains on a GPU: then it has the trainings share it."""
    return device.startswith("cuda") and cluster is None


def _on_device(
    settings: Experiment, function: Callable[[Any], None], tasks: list[Task], stop: Path, jobs: int
) -> Iterator[Any]:
    """``lanes.each``: trainings on the device, everything else on the cores."""
    trainings = [task for task in tasks if _is_network(task)]
    others = [task for task in tasks if not _is_network(task)]
    many = machine.LANES[trainings[0].stage] if trainings else 0
    return lanes.each(function, trainings, others, stop, settings.device, many, jobs)


def _is_network(task: Task) -> bool:
    if isinstance(task, TrainClassifier):
        return task.size.arm not in arms.SIMPLE
    return isinstance(task, TrainGenerator)


def _planned(settings: Experiment, manifest: Manifest, seeds: int, folder: RunFolder) -> Plan:
    """The plan, for a device that is there."""
    if settings.split == Split.FRESH:
        raise ConfigError(
            "split=fresh tests no patient of the data set: python -m ml curve trains so. An "
            "experiment takes split=folds, or split=given where the data set names a split."
        )
    request.refuse_seeds(seeds)
    runtime.device(settings.device)
    return Plan.of(settings, manifest, seeds, folder)
