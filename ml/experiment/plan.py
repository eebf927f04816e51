"""The plan of a run: every task with what it costs and whether it is done, and the disk it fills.

Known before anything is computed, so that what cannot end well is refused before hours are spent.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ml.config import ConfigError, Experiment, Gan, GeneratorKind, Split
from ml.dataset.folds import FoldError, folds_of, inner_of
from ml.dataset.manifest import Manifest, ManifestError
from ml.experiment import arms, fresh_phantoms, pasted, tasks
from ml.experiment.arms import ArmSize
from ml.experiment.costs import Costs, Rates, makespan, nominal
from ml.experiment.folder import RunFolder
from ml.experiment.request import refuse_other, refuse_seeds
from ml.experiment.tasks import (
    INNER,
    OUTER,
    CutPasted,
    CutViews,
    DrawFresh,
    PlannedTask,
    Task,
    TrainClassifier,
    TrainGenerator,
)
from ml.experiment.tissue import TissueError
from ml.experiment.tissue.stock import Stock
from ml.experiment.training_sets import fresh_of, views_needed, views_starts
from ml.ground.counted import counted
from ml.progress import refuse_data_set, spoken
from ml.training.enough import refuse_few


@dataclass(frozen=True)
class Plan:
    """Every task of a run, by stage, known before anything is computed."""

    settings: Experiment
    manifest: Manifest
    seeds: tuple[int, ...]
    sizes: tuple[ArmSize, ...]
    costs: Costs
    views: tuple[PlannedTask, ...]
    generators: tuple[PlannedTask, ...]
    fresh: tuple[PlannedTask, ...]
    classifiers: tuple[PlannedTask, ...]
    """Those whose size nobody has to choose; the others are planned by ``later``."""
    measurements: tuple[PlannedTask, ...]
    tissue: tuple[PlannedTask, ...] = ()
    """Pasted lesions to be cut, where an arm has such."""

    @classmethod
    def of(cls, settings: Experiment, manifest: Manifest, seeds: int, folder: RunFolder) -> Plan:
        """Plan, and refuse what cannot end well.

        Args:
            folder: where is looked which tasks are done; nothing is written.

        Raises:
            HepaticaError: a data set with problems, too few patients for folds or for a validation
                part, more views than a lesion gives, fresh patients that are in the data set.
        """
        refuse_seeds(seeds)
        if problems := manifest.problems():
            raise ManifestError("The data set cannot be trained on: " + " ".join(problems))
        numbers = tuple(range(settings.seed, settings.seed + seeds))
        needed = fresh_of(settings, manifest)
        fresh_phantoms.refuse_known(manifest, needed)
        if needed and manifest.difficulty not in (None, settings.difficulty):
            raise ConfigError(
                f"The phantoms of {manifest.name} have difficulty {manifest.difficulty:g}, and "
                f"fresh ones of difficulty {settings.difficulty:g} would tell nothing about them; "
                f"set difficulty={manifest.difficulty:g}."
            )
        for seed in numbers:
            _refuse_folds(settings, manifest, seed)
            views_needed(manifest, settings, seed)
        classes = manifest.scheme.keys
        sizes = arms.sizes(settings, len(classes), bool(needed))
        costs = Costs(settings, len(manifest.lines), len(classes), bool(needed), nominal(settings))

        def planned(of: Iterable[Task]) -> tuple[PlannedTask, ...]:
            return tuple(
                PlannedTask(task, costs.seconds(task), folder.is_done(task)) for task in of
            )

        starts = views_starts(manifest)
        return cls(
            settings,
            manifest,
            numbers,
            sizes,
            costs,
            planned(CutViews(seed, start) for seed in numbers for start in starts),
            _longest_first(planned(_generators(settings, classes, numbers))),
            planned(DrawFresh(chunk) for chunk in needed),
            _longest_first(planned(_classifiers(settings, sizes, numbers))),
            planned(tasks.measurements(settings, numbers)),
            planned(CutPasted(key) for key in classes if settings.tissue),
        )

    @property
    def known(self) -> frozenset[str]:
        """The arms of this run."""
        return frozenset(size.arm for size in self.sizes)

    @property
    def tasks(self) -> tuple[PlannedTask, ...]:
        """All of them, in the order of the stages."""
        return (
            *self.views,
            *self.tissue,
            *self.generators,
            *self.fresh,
            *self.classifiers,
            *self.measurements,
        )

    def later(self, tasks: Iterable[TrainClassifier], folder: RunFolder) -> tuple[PlannedTask, ...]:
        """The classifiers of ``arms.MATCHED``, once selection has chosen their sizes."""
        return _longest_first(
            tuple(
                PlannedTask(task, self.costs.seconds(task), folder.is_done(task)) for task in tasks
            )
        )

    def expected(self, folder: RunFolder) -> tuple[PlannedTask, ...]:
        """What ``later`` will be, about: in every fold two sizes of each, where there are two.

        Nested selection picks one by fold and the paper's way one for all folds; which, nobody
        knows before, so that their costs are those of the middle and the largest. Where nested
        selection alone has a say, they are those of the largest.
        """
        found = []
        for arm in arms.MATCHED:
            of = [size for size in self.sizes if size.arm == arm]
            chosen = {of[(len(of) - 1) // 2], of[-1]} if of else set()
            if arm in arms.NESTED_ALONE:
                chosen = set(of[-1:])
            found += [
                TrainClassifier(size, OUTER, fold, seed)
                for seed in self.seeds
                for fold in range(self.settings.tested_folds)
                for size in sorted(chosen)
            ]
        return self.later(found, folder)

    def priced(self, rates: Rates) -> Plan:
        """The same tasks in the same order, at the rates of one machine."""
        costs = replace(self.costs, rates=rates)

        def priced(of: tuple[PlannedTask, ...]) -> tuple[PlannedTask, ...]:
            return tuple(replace(one, cost_s=costs.seconds(one.task)) for one in of)

        return replace(
            self,
            costs=costs,
            views=priced(self.views),
            generators=priced(self.generators),
            fresh=priced(self.fresh),
            classifiers=priced(self.classifiers),
            measurements=priced(self.measurements),
            tissue=priced(self.tissue),
        )

    def wall_s(self, folder: RunFolder, jobs: int, on_gpu: bool = False) -> float:
        """Seconds that what is left takes, about: stage by stage, as ``run`` goes through them.

        Args:
            jobs: tasks at a time on the cores.
            on_gpu: the trainings share a device, and everything else is done beside them.
        """

        def left(*stage: PlannedTask) -> list[PlannedTask]:
            return [one for one in stage if not one.done]

        later = self.expected(folder)
        generators, classifiers = left(*self.generators), left(*self.classifiers)
        seconds = makespan((one.cost_s for one in left(*self.views, *self.tissue)), jobs)
        if on_gpu:
            for trainings, beside in (
                (generators, self.fresh), (classifiers, self.measurements), (left(*later), ()),
            ):  # fmt: skip
                on_device = sum(one.cost_s for one in trainings)
                seconds += max(on_device, makespan((one.cost_s for one in left(*beside)), jobs))
        else:
            for stage in ((*generators, *left(*self.fresh)), classifiers, left(*later)):
                seconds += makespan((one.cost_s for one in stage), jobs)
            seconds += makespan((one.cost_s for one in left(*self.measurements)), jobs)
        scored = len(self.seeds) * (len(self.sizes) + 2 * len(self.known))
        return self.costs.rates.begin_s + seconds + self.costs.rates.score_s * scored

    def bytes_needed(self) -> int:
        """Disk that the run fills, about."""
        settings, classes = self.settings, len(self.manifest.scheme)
        roi = 64 * 64 * 2
        folds = settings.folds
        each = arms.most_classic(settings, classes) * folds + len(self.manifest.lines)
        kinds = (GeneratorKind.DCGAN, GeneratorKind.ACGAN, *settings.further_generators)
        most = sum(arms.most_synthetic(settings, classes, kind) for kind in kinds)
        drawn = most * (folds - 1) * classes * 2 * folds
        fresh = len(self.fresh) * fresh_phantoms.CHUNK * 3 * 4
        if settings.tissue:
            fresh += classes * max(pasted.needed(settings, classes), settings.fidelity_rois)
        pair = classes * _generator_bytes(settings.gan)
        pair += (len(kinds) - 1) * _generator_bytes(settings.acgan)
        weights = 2 * folds * len(self.seeds) * pair
        return weights + roi * ((each + drawn) * len(self.seeds) + fresh) + 2**26

    def check(self, folder: RunFolder) -> None:
        """Refuse a folder that holds another run, known fresh patients, and a disk too full.

        Raises:
            ConfigError: another run's folder, or too little room.
            OutputError: the folder is a data set.
            LeakageError: a fresh patient that is kept is in the data set, or pasted lesions lie in
                slices of a patient who tests.
            TissueError: pasted lesions that are not there, or that this run cannot train on.
        """
        refuse_data_set(folder.run)
        refuse_other(folder.run, self.settings, self.manifest)
        if self.settings.tissue:
            if folder.tissue is None:
                raise TissueError(
                    f"The arm {arms.TISSUE} needs its pasted lesions: python -m ml experiment "
                    "takes their folder with --tissue."
                )
            stock = Stock.load(folder.tissue)
            pasted.refuse_unfit(stock, self.settings, self.manifest, self.seeds)
        for one in self.fresh:
            if one.done and isinstance(one.task, DrawFresh):
                fresh_phantoms.refuse_same(self.manifest, one.task.chunk, folder.fresh)
        if all(one.done for one in self.generators):
            return
        there = next(at for at in (folder.run, *folder.run.parents) if at.exists())
        free, needed = shutil.disk_usage(there).free, self.bytes_needed()
        if free < needed:
            raise ConfigError(
                f"The run needs about {needed / 2**30:.1f} GB and {folder.run} has "
                f"{free / 2**30:.1f} GB left; make room or give another --out."
            )

    @property
    def _divided(self) -> str:
        if self.settings.split == Split.FOLDS:
            return f"{self.settings.folds} folds"
        fold = folds_of(self.manifest, self.settings, self.settings.seed)[0]
        return (
            f"{len(fold.train)} lesions train and {len(fold.test)} test, as the data set's split "
            "has it"
        )

    def describe(self, folder: RunFolder, jobs: int, on_gpu: bool = False) -> str:
        """For ``--dry-run``: what would be done, and about how long it would take."""
        jobs = jobs or os.cpu_count() or 1
        counts = self.manifest.counts()
        lines = [
            f"data set {self.manifest.name}: {len(self.manifest.lines)} "
            f"{self.manifest.kind} lesions of {len(self.manifest.patients)} patients ("
            + ", ".join(f"{number} {key}" for key, number in counts.items())
            + f"), digest {self.manifest.digest[:12]}",
            f"{self._divided}, seeds {', '.join(map(str, self.seeds))}, "
            f"device {self.settings.device}, {counted(jobs, 'task')} at a time",
            "",
            "arm                    classic per fold   synthetic per class and fold"
            if self.settings.split == Split.FOLDS
            else "arm                      classic in all            synthetic per class",
        ]
        times = 1 if self.settings.split == Split.FOLDS else self.settings.folds - 1
        for size in self.sizes:
            lines.append(f"  {size.arm:<20} {times * size.classic:>16} {times * size.added:>30}")
        lines.append("")
        for stage in tasks.STAGES:
            of = [one for one in self.tasks if one.task.stage == stage]
            if stage == CutPasted.stage and not of:
                continue
            left = [one for one in of if not one.done]
            cost = sum(one.cost_s for one in left)
            training = stage in (TrainGenerator.stage, TrainClassifier.stage)
            where = "the GPU" if on_gpu and training else "one core"
            lines.append(
                f"{len(of):>5} {stage:<12} tasks, {len(of) - len(left)} done, "
                f"{spoken(cost)} of {where} left"
            )
        if later := self.expected(folder):
            lines.append(
                f"then {', '.join(arm for arm in arms.MATCHED if arm in self.known)} at the "
                f"sizes that were chosen, at most {len(later)} tasks"
            )
        beside = "a GPU and " if on_gpu else ""
        lines += [
            f"about {spoken(self.wall_s(folder, jobs, on_gpu))} in all on {beside}"
            f"{counted(jobs, 'core')}, {self.bytes_needed() / 2**20:.0f} MB in {folder.run}",
        ]
        return "\n".join(lines)


def _refuse_folds(settings: Experiment, manifest: Manifest, seed: int) -> None:
    for split in folds_of(manifest, settings, seed):
        try:
            inner = inner_of(manifest, settings, seed, split)
        except FoldError as error:
            raise FoldError(
                "Nested selection needs training patients to set aside in fold "
                f"{split.index}: {error} Give more patients, or fewer validation_parts."
            ) from error
        for kind in settings.further_generators:
            refuse_few(kind, manifest.scheme.keys, [line.lesion_class for line in inner.train])


def _generators(
    settings: Experiment, classes: Iterable[str], seeds: Iterable[int]
) -> Iterable[TrainGenerator]:
    for seed in seeds:
        for part in (OUTER, INNER):
            for fold in range(settings.tested_folds):
                yield from tasks.generators(settings, classes, seed, part, fold)


def _classifiers(
    settings: Experiment, sizes: Iterable[ArmSize], seeds: Iterable[int]
) -> Iterable[TrainClassifier]:
    for seed in seeds:
        for part in (OUTER, INNER):
            for fold in range(settings.tested_folds):
                for size in sizes:
                    alone = part == OUTER and size.arm not in arms.MATCHED
                    if alone or size.arm in arms.SELECTED:
                        yield TrainClassifier(size, part, fold, seed)


def _longest_first(planned: tuple[PlannedTask, ...]) -> tuple[PlannedTask, ...]:
    """So that no core is idle at the end of a stage."""
    return tuple(sorted(planned, key=lambda one: -one.cost_s))


def _generator_bytes(settings: Gan) -> int:
    """Weights of a pair of networks on disk, about: most are in the widest transposed layer."""
    wide = settings.width**2 * (8 * 4 + 4 * 2 + 2) + settings.latent * settings.width * 8
    narrow = settings.discriminator_width**2 * (8 * 4 + 4 * 2 + 2)
    return 4 * 25 * (wide + narrow)
