"""One cell of a curve: the arms of the experiment on the training lesions of one seed and size."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ml.config import Experiment
from ml.dataset.manifest import Manifest
from ml.experiment import request
from ml.experiment.clock import Clock, last_step
from ml.experiment.curve import CurveError, cohorts
from ml.experiment.curve.asked import Asking
from ml.experiment.folder import RunFolder
from ml.experiment.parallel import Watch
from ml.experiment.plan import Plan
from ml.experiment.run import trained
from ml.experiment.tasks import PlannedTask
from ml.ground.errors import HepaticaError
from ml.progress import Progress, RunDir


@dataclass(frozen=True)
class Cell:
    """Picklable, so that a process of its own can train it."""

    asking: Asking
    out: Path
    fresh: Path
    seed: int
    size: int

    @property
    def name(self) -> str:
        """Of its folder, which is a run's."""
        return f"seed-{self.seed}-training-{self.size}"

    @property
    def run(self) -> Path:
        """Its folder."""
        return self.out / "cells" / self.name

    def manifest(self) -> Manifest:
        """Its training lesions."""
        return Manifest.load(cohorts.folder(self.out, self.seed, self.size))

    def settings(self, manifest: Manifest) -> tuple[Experiment, tuple[str, ...]]:
        """The settings that its lesions allow, and a sentence for each that was lowered."""
        asked = self.asking.of_seed(self.seed)
        return request.capped(asked, manifest, 1, (*self.asking.kept, "split"))

    def folder(self, owner: int = 0) -> RunFolder:
        """As a run's."""
        data = cohorts.folder(self.out, self.seed, self.size)
        start = f"-{secrets.token_hex(4)}"
        return RunFolder(data.resolve(), self.run.resolve(), self.fresh.resolve(), owner, start)

    def plan(self, folder: RunFolder | None = None) -> Plan:
        """Its tasks; nothing is measured but what its classifiers say of fresh lesions.

        Raises:
            CurveError: its lesions cannot be trained on so.
        """
        manifest = self.manifest()
        settings, _ = self.settings(manifest)
        folder = folder or self.folder()
        try:
            plan = replace(Plan.of(settings, manifest, 1, folder), measurements=())
            plan.check(folder)
        except HepaticaError as error:
            raise CurveError(
                f"{self.size} training lesions of seed {self.seed}: {error} (Other training "
                "patients: --set seed=N.)"
            ) from error
        return plan

    def tasks(self) -> tuple[PlannedTask, ...]:
        """Its tasks with what they cost, but for fresh lesions, which all cells share."""
        folder = self.folder()
        plan = self.plan(folder)
        return (*plan.views, *plan.generators, *plan.classifiers, *plan.expected(folder))

    def train(self, stop: Path, owner: int, jobs: int) -> None:
        """Every task that is not done.

        Args:
            stop: appears when the cells are to end.
            owner: process of the curve.
        """
        for _ in self._steps(stop, owner, jobs):
            pass

    def _steps(self, stop: Path, owner: int, jobs: int) -> Iterator[Progress]:
        watch = Watch(stop, owner)
        folder, run_dir = self.folder(owner), RunDir(self.run)
        plan = self.plan(folder)
        _, lowered = self.settings(plan.manifest)
        request.keep(run_dir, plan.settings, plan.manifest, 1, self.asking.command, lowered)
        clock = Clock(plan.tasks, folder, run_dir, plan.expected(folder))
        with closing(trained(plan, folder, clock, jobs)) as steps:
            for step in steps:
                watch()
                yield step
        yield clock.note("trained")

    def share_done(self) -> float:
        """How much of it is behind it, 0–1, by its log."""
        told = last_step(self.run / "log.jsonl")
        return min(1.0, told.done / max(told.total, 1)) if told else 0.0
