"""THE PAGE: the experiment of Frid-Adar et al. (2018) from a data set to ``results.json``.

Folds separate patients. In every fold and seed, on training patients only: classic augmentations
are cut, a DCGAN per class and an ACGAN are trained, and one CNN per arm and size. The same again
without a validation part of the training patients, on which nested selection picks a size. Every
CNN then says what the fold's test lesions are. On phantoms it also meets fresh patients.
"""

from __future__ import annotations

import io
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml.checkpoints.checkpoint import current_commit
from ml.config import ConfigError, Experiment, Gan, command, experiment, load, named
from ml.dataset.folds import FoldError, patient_folds
from ml.dataset.manifest import Manifest, ManifestError
from ml.experiment import (
    arms,
    evaluation,
    measures,
    parallel,
    trainings,
)
from ml.experiment import (
    fresh_phantoms as freshphantoms,
)
from ml.experiment.arms import Point
from ml.experiment.trainings import INNER, OUTER, Place, Task
from ml.phantom.lesions import CALIBRATION, DEFAULT_DIFFICULTY
from ml.progress import Progress, RunDir, refuse_data_set, spoken
from ml.training import runtime

MOST_SEEDS = 1000


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
) -> Iterator[Progress]:
    """The whole method; a run that was killed goes on where it stopped, with the same numbers.

    Closing the generator cancels the run and its workers.

    Args:
        run_dir: gets ``config.json``, ``log.jsonl``, ``results.json``; ``tasks`` and ``views`` hold
            what a later start of the same run takes up.
        seeds: repeats with other partitions, weights and draws: ``settings.seed`` and up.
        jobs: tasks at a time on this machine; 0: one per core.
        cluster: address of a Ray cluster that shares the folders of data and run.
        fresh: where fresh phantoms are kept; one folder may serve many runs.
        capped: what ``trainings.capped`` told of the settings; stands in the results.

    Raises:
        HepaticaError: before anything trains, for everything that can be known by then.
    """
    plan = Plan.of(settings, manifest, seeds)
    place = Place(
        manifest.root.resolve(),
        run_dir.path.resolve(),
        (fresh or run_dir.path / "fresh").resolve(),
        0 if cluster else os.getpid(),
        f"-{secrets.token_hex(4)}",
    )
    runtime.prepare()
    begin(plan, place, run_dir, command, capped)
    clock = _Clock(plan, place, run_dir)
    for words in capped:
        yield replace(clock.note(words), said=True)
    work = partial(trainings.perform, place, settings)
    measure = partial(measures.perform, place, settings)

    # classic augmentation: every view that any fold will ask for, cut from the whole slices
    yield from clock.through(work, plan.views, jobs, cluster)
    # a DCGAN per class and an ACGAN, on training patients; and patients nobody has seen
    yield from clock.through(work, (*plan.generators, *plan.fresh), jobs, cluster)
    # one CNN per arm and size, scored on the patients that its fold holds out
    yield from clock.through(work, plan.classifiers, jobs, cluster)
    # how real, how varied, how much copied
    yield from clock.through(measure, plan.measurements(), jobs, cluster)

    outputs = evaluation.Outputs(place, settings, manifest, plan.seeds)
    yield clock.note("comparing the arms")
    results = {
        "dataset": {
            "name": manifest.name,
            "kind": manifest.kind,
            "digest": manifest.digest,
            "scheme": manifest.scheme.to_dict(),
            "lesions": len(manifest.lines),
            "patients": len(manifest.patients),
            "counts": manifest.counts(),
            "calibration": phantom_note(manifest),
        },
        "config": settings.dump(),
        "seeds": list(plan.seeds),
        "command": command,
        "capped": list(capped),
        "commit": current_commit(),
        "device": _device(settings),
        **evaluation.evaluate(outputs),
        **measures.collect(place, settings, manifest, plan.seeds),
        "embedding": _embedding(outputs, place, run_dir),
        "fresh": _fresh_told(settings, plan),
        "times": clock.times(),
    }
    run_dir.write_json("results.json", results)
    yield clock.note(f"results in {run_dir.path / 'results.json'}")


@dataclass(frozen=True)
class Asked:
    """What a run was told to do: settings, repeats, and the command that does it again.

    Attributes:
        kept: settings named by the command; those of a preset may be lowered to fit the data.
        capped: what was lowered.
    """

    settings: Experiment
    seeds: int
    command: str
    kept: tuple[str, ...] = ()
    capped: tuple[str, ...] = ()

    @classmethod
    def of(cls, preset: str | None, assignments: Sequence[str], seeds: int | None) -> Asked:
        """A new run; without a preset ``quick``, without seeds one.

        Raises:
            ConfigError: no such preset or setting, or an impossible number of seeds.
        """
        name, repeats = preset or "quick", 1 if seeds is None else seeds
        if not 1 <= repeats <= MOST_SEEDS:
            raise ConfigError(f"{repeats} seeds: give at least one, at most {MOST_SEEDS}.")
        settings = experiment(name).override(assignments)
        return cls(settings, repeats, command(name, repeats, assignments), named(assignments))

    def fitted(self, manifest: Manifest) -> Asked:
        """The same with a preset's sizes lowered to what the data set's views allow."""
        settings, told = trainings.capped(self.settings, manifest, self.seeds, self.kept)
        return replace(self, settings=settings, capped=told)

    @classmethod
    def again(
        cls,
        folder: Path,
        preset: str | None,
        assignments: Sequence[str],
        seeds: int | None,
        manifest: Manifest,
    ) -> Asked:
        """What the run in ``folder`` was told; nothing else may be asked of it.

        Raises:
            ConfigError: no run there, or other settings asked of it.
        """
        path = folder / "config.json"
        if not path.exists():
            raise ConfigError(f"{folder} holds no run to resume; start it without --resume.")
        told = _kept(folder)
        settings = load(told["experiment"], Experiment)
        kept = cls(
            settings,
            int(told.get("seeds", 1)),
            str(told.get("command", "")),
            capped=tuple(told.get("capped", ())),
        )
        if preset:
            asked = cls.of(preset, assignments, kept.seeds).fitted(manifest).settings
        else:
            asked = settings.override(assignments)
        if asked != kept.settings or seeds not in (None, kept.seeds):
            raise ConfigError(
                f"The run in {folder} has other settings; resume it without --preset, --set and "
                "--seeds."
            )
        return kept


def rehearse(
    settings: Experiment,
    manifest: Manifest,
    out: Path,
    seeds: int = 1,
    jobs: int = 0,
    fresh: Path | None = None,
    capped: Sequence[str] = (),
) -> Iterator[str]:
    """Everything that ``run`` would refuse, then the plan with its tasks and time; trains nothing.

    Yields:
        What it is about to measure, then the plan.

    Raises:
        HepaticaError: as ``run``.
    """
    plan = Plan.of(settings, manifest, seeds)
    place = Place(manifest.root.resolve(), out.resolve(), (fresh or out / "fresh").resolve())
    check(plan, place)
    yield from capped
    yield f"timing a training step of each network here ({settings.device}) …"
    yield plan.describe(place, jobs, Rates.measured(settings, len(manifest.scheme)))


def _embedding(outputs: evaluation.Outputs, place: Place, run_dir: RunDir) -> dict[str, Any]:
    """What the features of the first fold's networks show; the arrays go to ``embedding.npz``."""
    picked = outputs.selected(evaluation.NESTED, outputs.seeds[0])
    chosen = {
        arm: trainings.Classifier(picked[arm].points[0], OUTER, 0, outputs.seeds[0]).name
        for arm in (arms.CLASSIC, arms.DCGAN)
        if arm in picked
    }
    figures: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for name, told, found in measures.embedding(place, outputs.settings, outputs.manifest, chosen):
        figures[name] = told
        arrays |= {f"{name}|{key}": value for key, value in found.items()}
    fold = trainings.fold_of(outputs.manifest, outputs.settings, outputs.seeds[0], 0, OUTER)
    for key in outputs.keys:
        # what the sample sheets of the generators are to be seen beside
        lines = list(fold.train.only(key))[:32]
        rois, _ = trainings.classic_rois(place, outputs.manifest, outputs.seeds[0], lines, 0)
        arrays[f"real|{key}"] = rois.astype(np.float16)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    run_dir.write_bytes("embedding.npz", stream.getvalue())
    return figures


def phantom_note(manifest: Manifest) -> str | None:
    """What stands beside every result on phantoms; None for other data."""
    if manifest.kind != "phantom":
        return None
    note = "Phantoms: simulated CT with known truth, no patient."
    if manifest.difficulty is None:
        return f"{note} Their difficulty is not known."
    if manifest.difficulty != DEFAULT_DIFFICULTY:
        return f"{note} Their difficulty, {manifest.difficulty:g}, is not the calibrated one."
    return f"{note} {CALIBRATION}"


@dataclass(frozen=True)
class Plan:
    """Every task of a run, known before anything is computed."""

    settings: Experiment
    manifest: Manifest
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    views: tuple[Task, ...]
    fresh: tuple[Task, ...]
    generators: tuple[Task, ...]
    classifiers: tuple[Task, ...]

    @classmethod
    def of(cls, settings: Experiment, manifest: Manifest, seeds: int) -> Plan:
        """Plan, and refuse what cannot end well.

        Raises:
            HepaticaError: a data set with problems, too few patients for folds or for a validation
                part, more views than a lesion gives, a device that is not there, fresh patients
                that are in the data set.
        """
        if not 1 <= seeds <= MOST_SEEDS:
            raise ConfigError(f"{seeds} seeds: give at least one, at most {MOST_SEEDS}.")
        runtime.device(settings.device)
        if problems := manifest.problems():
            raise ManifestError("The data set cannot be trained on: " + " ".join(problems))
        classes = manifest.scheme.keys
        numbers = tuple(range(settings.seed, settings.seed + seeds))
        needed = trainings.fresh_of(settings, manifest)
        freshphantoms.refuse_known(manifest, needed)
        if needed and manifest.difficulty not in (None, settings.difficulty):
            raise ConfigError(
                f"The phantoms of {manifest.name} have difficulty {manifest.difficulty:g}, and "
                f"fresh ones of difficulty {settings.difficulty:g} would tell nothing about them; "
                f"set difficulty={manifest.difficulty:g}."
            )
        for seed in numbers:
            for split in patient_folds(manifest, settings.folds, seed):
                try:
                    split.validation(settings.validation_parts, seed)
                except FoldError as error:
                    raise FoldError(
                        "Nested selection needs training patients to set aside in fold "
                        f"{split.index}: {error} Give more patients, or fewer validation_parts."
                    ) from error
            trainings.views_needed(manifest, settings, seed)
        points = arms.points(settings, len(classes), bool(needed))
        parts = [(part, fold) for part in (OUTER, INNER) for fold in range(settings.folds)]
        generators: list[Task] = []
        classifiers: list[Task] = []
        for seed in numbers:
            for part, fold in parts:
                generators.append(trainings.Generator("acgan", part, fold, seed))
                generators += [
                    trainings.Generator("dcgan", part, fold, seed, key) for key in classes
                ]
                classifiers += [
                    trainings.Classifier(point, part, fold, seed)
                    for point in points
                    if part == OUTER or point.arm in arms.SELECTED
                ]
        starts = trainings.views_starts(manifest)
        views = [trainings.Views(seed, start) for seed in numbers for start in starts]
        plan = cls(
            settings,
            manifest,
            numbers,
            points,
            tuple(views),
            tuple(trainings.Fresh(chunk) for chunk in needed),
            tuple(generators),
            tuple(classifiers),
        )
        # the longest first, so that no core is idle at the end of a stage
        ordered = {
            name: tuple(sorted(getattr(plan, name), key=lambda task: -plan.cost_s(task)))
            for name in ("generators", "classifiers")
        }
        return cls(settings, manifest, numbers, points, plan.views, plan.fresh, **ordered)

    def measurements(self) -> tuple[measures.Measure, ...]:
        return measures.tasks(self.settings, self.seeds)

    def rois(self, task: trainings.Classifier) -> int:
        """Training ROIs of a classifier, about."""
        settings, point = self.settings, task.point
        lesions = len(self.manifest.lines) * (settings.folds - 1) / settings.folds
        total = (lesions + point.classic * (settings.folds - 1)) * point.real
        if point.source:
            total += point.synthetic * len(self.manifest.scheme) * (settings.folds - 1)
        if task.part == INNER:
            total *= 1 - 1 / settings.validation_parts
        return max(1, round(total))

    def cost_s(self, task: Task | measures.Measure, rates: Rates | None = None) -> float:
        """Seconds of one core, about."""
        told = rates or NOMINAL
        settings = self.settings
        if isinstance(task, trainings.Classifier):
            if task.point.arm == arms.DISCRIMINATOR:
                return 2.0
            batch = settings.classifier.batch
            steps = -(-self.rois(task) // batch)
            epochs = max(settings.classifier.epochs, -(-settings.least_steps // steps))
            scored = settings.fresh_lesions if self.fresh and task.part == OUTER else 100
            return told.classifier_s * (steps * epochs + scored / batch / 3) + 0.5
        if isinstance(task, trainings.Generator):
            of = settings.gan if task.kind == "dcgan" else settings.acgan
            lesions = len(self.manifest.lines) * (settings.folds - 1) / settings.folds
            rois = lesions + settings.base * (settings.folds - 1)
            if task.kind == "dcgan":
                rois /= len(self.manifest.scheme)
            if task.part == INNER:
                rois *= 1 - 1 / settings.validation_parts
            step = told.dcgan_s if task.kind == "dcgan" else told.acgan_s
            drawn = arms.most_synthetic(settings, len(self.manifest.scheme))
            return step * of.epochs * rois / of.batch + step * drawn / of.batch / 3 + 0.5
        if isinstance(task, trainings.Fresh):
            return 0.1 * 3 * freshphantoms.CHUNK
        if isinstance(task, trainings.Views):
            each = arms.most_classic(settings, len(self.manifest.scheme))
            return 4e-4 * 24 * each * settings.folds / max(1, len(self.manifest.lines)) + 0.1
        return 4.0

    def tasks(self) -> tuple[Task | measures.Measure, ...]:
        return (
            *self.views,
            *self.generators,
            *self.fresh,
            *self.classifiers,
            *self.measurements(),
        )

    def bytes_needed(self) -> int:
        """Disk that the run fills, about."""
        settings, classes = self.settings, len(self.manifest.scheme)
        roi = 64 * 64 * 2
        folds = settings.folds
        each = arms.most_classic(settings, classes) * folds + len(self.manifest.lines)
        drawn = arms.most_synthetic(settings, classes) * (folds - 1) * classes * 2 * 2 * folds
        fresh = len(self.fresh) * freshphantoms.CHUNK * 3 * 4
        pair = classes * _generator_bytes(settings.gan) + _generator_bytes(settings.acgan)
        weights = 2 * folds * len(self.seeds) * pair
        return weights + roi * ((each + drawn) * len(self.seeds) + fresh) + 2**26

    def describe(self, place: Place, jobs: int, rates: Rates) -> str:
        """For ``--dry-run``: what would be done, and about how long it would take."""
        jobs = jobs or os.cpu_count() or 1
        tasks = self.tasks()
        counts = self.manifest.counts()
        lines = [
            f"data set {self.manifest.name}: {len(self.manifest.lines)} "
            f"{self.manifest.kind} lesions of {len(self.manifest.patients)} patients ("
            + ", ".join(f"{number} {key}" for key, number in counts.items())
            + f"), digest {self.manifest.digest[:12]}",
            f"{self.settings.folds} folds, seeds {', '.join(map(str, self.seeds))}, "
            f"device {self.settings.device}, {jobs} task(s) at a time",
            "",
            "arm                    classic per fold   synthetic per class and fold",
        ]
        for point in self.points:
            added = point.synthetic if point.source else 0
            lines.append(f"  {point.name.rsplit('-', 2)[0]:<20} {point.classic:>16} {added:>30}")
        total = 0.0
        lines.append("")
        for kind in (
            trainings.Views, trainings.Generator, trainings.Fresh, trainings.Classifier,
            measures.Measure,
        ):  # fmt: skip
            of = [task for task in tasks if isinstance(task, kind)]
            left = [task for task in of if not self._done(place, task)]
            cost = sum(self.cost_s(task, rates) for task in left)
            total += cost
            lines.append(
                f"{len(of):>5} {kind.__name__.lower():<12} tasks, {len(of) - len(left)} done, "
                f"{spoken(cost)} of one core left"
            )
        lines += [
            f"about {spoken(total / jobs)} in all on {jobs} core(s), "
            f"{self.bytes_needed() / 2**20:.0f} MB in {place.run}",
        ]
        return "\n".join(lines)

    def _done(self, place: Place, task: Task | measures.Measure) -> bool:
        if isinstance(task, measures.Measure):
            return place.done(task.name)
        return trainings.is_done(place, task)


def _generator_bytes(settings: Gan) -> int:
    """Weights of a pair of networks on disk, about: most are in the widest transposed layer."""
    wide = settings.width**2 * (8 * 4 + 4 * 2 + 2) + settings.latent * settings.width * 8
    narrow = settings.discriminator_width**2 * (8 * 4 + 4 * 2 + 2)
    return 4 * 25 * (wide + narrow)


@dataclass(frozen=True)
class Rates:
    """Seconds of one training step at the settings' widths and batch."""

    classifier_s: float
    dcgan_s: float
    acgan_s: float

    @classmethod
    def measured(cls, settings: Experiment, classes: int) -> Rates:
        """A few steps of each network on this machine."""
        from ml.training import acgan, classifier, gan

        runtime.prepare()
        device = runtime.device(settings.device)

        def seconds(step: Callable[[int], None], batch: int) -> float:
            few = min(batch, _FEW)
            step(few)
            once = _timed(step, few, device) * batch / few
            if once > _LONG_S:
                return once
            step(batch)
            return min(_timed(step, batch, device) for _ in range(3))

        told = settings.classifier
        network = classifier.build(classes, 0.5, told).to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9, nesterov=True)
        rois = torch.zeros(max(told.batch, settings.gan.batch, settings.acgan.batch), 1, 64, 64)
        rois = rois.to(device)
        answers = torch.zeros(len(rois), dtype=torch.int64, device=device)

        def classify(count: int) -> None:
            with runtime.mixed(device, told.precision):
                logits = network(rois[:count]).float()
            loss = torch.nn.functional.cross_entropy(logits, answers[:count])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()

        pairs: list[gan.Pair] = [gan.Pair(settings.gan, device, "rate")]
        pairs.append(acgan.Pair(classes, settings.acgan, device, "rate"))

        def generate(pair: gan.Pair, count: int) -> None:
            latents = torch.from_numpy(pair.latents(runtime.generator("rate"), count)).to(device)
            pair.step(rois[:count], answers[:count], latents, 1)

        return cls(
            seconds(classify, told.batch),
            *(seconds(partial(generate, pair), pair.settings.batch) for pair in pairs),
        )


_FEW = 8
"""ROIs of the first step that is timed: at the paper's widths a whole batch takes a CPU long."""
_LONG_S = 1.0
"""A step that takes longer is not timed again, but counted up from the few."""


def _timed(step: Callable[[int], None], count: int, device: torch.device) -> float:
    started = time.perf_counter()
    step(count)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


NOMINAL = Rates(0.03, 0.06, 0.07)


def begin(
    plan: Plan, place: Place, run_dir: RunDir, command: str, capped: Sequence[str] = ()
) -> None:
    """Make the folder this run's, or refuse it.

    Raises:
        ConfigError: it holds a run with other settings or data.
        HepaticaError: it cannot be written, or the disk is too full.
    """
    check(plan, place)
    told = {"seeds": len(plan.seeds), "command": command, "capped": list(capped)}
    run_dir.write_json("config.json", {**_of_run(plan), **told})


def check(plan: Plan, place: Place) -> None:
    """Refuse a folder that holds another run, known fresh patients, and a disk that is too full."""
    refuse_data_set(place.run)
    if (place.run / "config.json").exists():
        kept = _kept(place.run)
        if {key: kept.get(key) for key in ("experiment", "digest")} != _of_run(plan):
            raise ConfigError(
                f"{place.run} holds a run with other settings or another data set; "
                "give a new folder with --out."
            )
    for task in plan.fresh:
        if isinstance(task, trainings.Fresh) and trainings.is_done(place, task):
            freshphantoms.refuse_same(plan.manifest, task.chunk, place.fresh)
    if all(trainings.is_done(place, task) for task in plan.generators):
        return
    there = next(folder for folder in (place.run, *place.run.parents) if folder.exists())
    free, needed = shutil.disk_usage(there).free, plan.bytes_needed()
    if free < needed:
        raise ConfigError(
            f"The run needs about {needed / 2**30:.1f} GB and {place.run} has "
            f"{free / 2**30:.1f} GB left; make room or give another --out."
        )


def _kept(folder: Path) -> dict[str, Any]:
    try:
        kept = RunDir(folder).read_json("config.json")
    except ValueError as error:
        kept = error
    if not isinstance(kept, dict) or "experiment" not in kept:
        raise ConfigError(
            f"{folder / 'config.json'} is damaged, or of another program; begin in another folder."
        )
    return kept


def _of_run(plan: Plan) -> dict[str, Any]:
    # through JSON, tuples are lists
    settings: dict[str, Any] = trainings.as_json(plan.settings.dump())
    return {"experiment": settings, "digest": plan.manifest.digest}


_STARTS = "starts.json"


class _Clock:
    """Progress of a run in seconds of work, told while its tasks run."""

    def __init__(self, plan: Plan, place: Place, run_dir: RunDir) -> None:
        self.plan, self.place, self.run_dir = plan, place, run_dir
        costs = [plan.cost_s(task) for task in plan.tasks()]
        self.total, self.done = max(1, round(sum(costs))), 0.0
        self.started = time.time()
        self.stages: list[dict[str, Any]] = []
        path = run_dir.path / _STARTS
        self.before: list[dict[str, Any]] = run_dir.read_json(_STARTS) if path.exists() else []

    def through(
        self, function: Any, tasks: Sequence[Any], jobs: int, cluster: str | None
    ) -> Iterator[Progress]:
        """Do a stage's tasks that are not done yet."""
        stage: dict[str, Any] = {"wall_s": 0.0}
        started = time.time()
        left = [task for task in tasks if not self.plan._done(self.place, task)]
        self.done += sum(self.plan.cost_s(task) for task in tasks if task not in set(left))
        number = len(tasks) - len(left)
        name = type(tasks[0]).__name__.lower() if tasks else ""
        stage |= {"stage": name, "tasks": len(left)}
        self.stages.append(stage)
        if left:
            cores = jobs or os.cpu_count() or 1
            for task in parallel.each(
                function,
                left,
                self.place.stop,
                cores,
                cluster,
                partial(self.plan._done, self.place),
            ):
                if task is None:
                    yield self._live(f"{name} {number} of {len(tasks)}")
                    continue
                number += 1
                self.done += self.plan.cost_s(task)
                stage["wall_s"] = time.time() - started
                yield self.note(f"{name} {number} of {len(tasks)}: {task.name}")
        stage["wall_s"] = time.time() - started

    def note(self, text: str) -> Progress:
        step = Progress(min(self.total, round(self.done)), self.total, text)
        self.run_dir.log(step)
        self.run_dir.write_json(_STARTS, self._starts())
        return step

    def _live(self, text: str) -> Progress:
        """What a task at work told last."""
        figures = None
        logs = sorted(
            (self.place.run / "tasks").glob("*/log.jsonl"), key=lambda path: path.stat().st_mtime
        )
        if logs:
            entry = trainings.last_entry(logs[-1])
            if entry:
                text = f"{text}; {logs[-1].parent.name}: {entry.get('text', '')}"
                figures = entry.get("figures")
        return Progress(min(self.total, round(self.done)), self.total, text, figures)

    def _starts(self) -> list[dict[str, Any]]:
        """This start and those before it, of a run that was killed."""
        return [*self.before, {"wall_s": time.time() - self.started, "stages": self.stages}]

    def times(self) -> dict[str, Any]:
        starts = self._starts()
        return {
            "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "wall_s": sum(start["wall_s"] for start in starts),
            "starts": starts,
        }


def _device(settings: Experiment) -> dict[str, Any]:
    told: dict[str, Any] = {
        "device": settings.device,
        "machine": platform.machine(),
        "processor": _processor(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if settings.device.startswith("cuda"):
        told["gpu"] = torch.cuda.get_device_name(runtime.device(settings.device))
    return told


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _fresh_told(settings: Experiment, plan: Plan) -> dict[str, Any] | None:
    if not plan.fresh:
        return None
    each = 3 * freshphantoms.CHUNK
    chunks = [task.chunk for task in plan.fresh if isinstance(task, trainings.Fresh)]
    return {
        "test_lesions": each * sum(chunk.use == freshphantoms.TEST for chunk in chunks),
        "oracle_lesions": each * sum(chunk.use == freshphantoms.ORACLE for chunk in chunks),
        "seed": settings.fresh_seed,
        "difficulty": settings.difficulty,
        "note": "equal numbers of each class; no patient of the data set; one pool for all folds, "
        "arms and seeds",
    }
