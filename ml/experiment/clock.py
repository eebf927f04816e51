"""The progress of a run in seconds of work, told while its tasks run and written down."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.experiment import parallel, spent
from ml.experiment.folder import RunFolder
from ml.experiment.results.origin import Stage, Start, Times
from ml.experiment.tasks import PlannedTask, TrainGenerator
from ml.ground.records import RecordError, from_json, to_json
from ml.progress import Progress, RunDir

_STARTS = "starts.json"

OnDevice = Callable[[Callable[[Any], None], list[Any], Path, int], Iterator[Any]]
"""From what does a task, tasks, stop file and cores to what ``lanes.each`` tells."""


class Clock:
    """Progress of a run in seconds of work, told while its tasks run.

    Attributes:
        total: what all tasks cost.
        done: what those cost that are behind the run.
    """

    def __init__(
        self,
        planned: Sequence[PlannedTask],
        folder: RunFolder,
        run_dir: RunDir,
        expected: Sequence[PlannedTask] = (),
    ) -> None:
        self.folder, self.run_dir = folder, run_dir
        self._trained = [one.task for one in planned if isinstance(one.task, TrainGenerator)]
        self._planned_s = sum(one.cost_s for one in planned)
        self.total, self.done = 1, 0.0
        self.expect(expected)
        self.started = time.time()
        self.stages: list[Stage] = []
        path = run_dir.path / _STARTS
        before = run_dir.read_json(_STARTS) if path.exists() else []
        self.before = tuple(from_json(Start, one, _STARTS) for one in before)

    def expect(self, tasks: Sequence[PlannedTask]) -> None:
        """Tasks beyond those planned: what is expected of them, until they are known."""
        self.total = max(1, round(self._planned_s + sum(one.cost_s for one in tasks)))

    def through(
        self,
        function: Callable[[Any], None],
        planned: Sequence[PlannedTask],
        jobs: int,
        cluster: str | None,
        on_device: OnDevice | None = None,
    ) -> Iterator[Progress]:
        """Do a stage's tasks that are not done yet.

        Args:
            function: does one task.
            jobs: at a time on this machine; 0: one per core.
            cluster: as ``parallel.each``.
            on_device: does trainings on a GPU and other tasks on the cores.
        """
        started = time.time()
        cost_s = {one.task: one.cost_s for one in planned if not one.done}
        self.done += sum(one.cost_s for one in planned if one.done)
        number = len(planned) - len(cost_s)
        name = planned[0].task.stage if planned else ""
        self.stages.append(Stage(name, len(cost_s), 0.0))
        if cost_s:
            cores = jobs or os.cpu_count() or 1
            is_done, stop = self.folder.is_done, self.folder.stop
            if on_device is None:
                told = parallel.each(function, list(cost_s), stop, cores, cluster, is_done)
            else:
                told = on_device(function, list(cost_s), stop, cores)
            for task in told:
                if task is None:
                    yield self._live(f"{name} {number} of {len(planned)}")
                    continue
                if isinstance(task, Progress):
                    yield replace(self.note(task.text), said=True)
                    continue
                number += 1
                self.done += cost_s[task]
                self._has_taken(time.time() - started)
                yield self.note(f"{name} {number} of {len(planned)}: {task.name}")
        self._has_taken(time.time() - started)

    def _has_taken(self, wall_s: float) -> None:
        self.stages[-1] = replace(self.stages[-1], wall_s=wall_s)

    def note(self, text: str) -> Progress:
        """A step that is written to ``log.jsonl``, and the times so far to ``starts.json``."""
        step = Progress(min(self.total, round(self.done)), self.total, text)
        self.run_dir.log(step)
        self.run_dir.write_json(_STARTS, to_json(self._starts()))
        return step

    def times(self) -> Times:
        """When it ended, seconds by start and stage."""
        starts = self._starts()
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        wall_s = sum(start.wall_s for start in starts)
        generators = spent.by_kind(self.folder.run / "tasks", self._trained)
        return Times(ended, wall_s, starts, generators)

    def _live(self, text: str) -> Progress:
        """What a task at work told last."""
        figures = None
        logs = sorted(
            (self.folder.run / "tasks").glob("*/log.jsonl"), key=lambda path: path.stat().st_mtime
        )
        if logs:
            last = last_step(logs[-1])
            if last is not None:
                text = f"{text}; {logs[-1].parent.name}: {last.text}"
                figures = last.figures
        return Progress(min(self.total, round(self.done)), self.total, text, figures)

    def _starts(self) -> tuple[Start, ...]:
        """This start and those before it, of a run that was killed."""
        return (*self.before, Start(time.time() - self.started, tuple(self.stages)))


def last_step(log: Path) -> Progress | None:
    """The step of the last whole line of a ``log.jsonl`` that may be growing."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, io.SEEK_END)
            stream.seek(max(0, stream.tell() - 4096))
            lines = [line for line in stream.read().split(b"\n")[1:-1] if line]
        entry = json.loads(lines[-1]) if lines else {}
        return from_json(Progress, {k: v for k, v in entry.items() if k != "at"}) if entry else None
    except (OSError, ValueError, RecordError):
        return None
