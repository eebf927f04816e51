"""The worker: claims a queued run, iterates the experiment, saves its progress, finishes or fails.

A run's folder is scratch under ``runs_dir``. A worker that is killed leaves the folder behind; the
run is claimed again once nobody has heard of its worker for a while, and goes on where it stopped.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from app.db import Database
from app.errors import Conflict
from app.models.checkpoint import Checkpoint
from app.models.run import Run, WorkerSign
from ml import config, experiment, release, report
from ml.errors import HepaticaError
from ml.manifest import Manifest
from ml.progress import Progress, RunDir

_SIGN_EVERY_S = 10.0
_SAVE_EVERY_S = 1.0


class Worker:
    """Executes runs one after the other until it is told to stop."""

    def __init__(self, database: Database, runs_dir: Path, jobs: int = 0) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._database = database
        self._runs_dir = runs_dir
        self._jobs = jobs

    def work(self, *, poll_s: float = 2.0, once: bool = False) -> None:
        """Take runs as they come; with ``once`` return when none waits."""
        with self._signs_of_life():
            while True:
                with self._database.transaction() as session:
                    run = Run.claim(session, self.name)
                    taken = run.id if run else None
                if taken is not None:
                    self._execute(taken)
                elif once:
                    return
                else:
                    time.sleep(poll_s)

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """A thread that says every few seconds that this worker lives, whatever it computes."""
        stop = threading.Event()

        def sign() -> None:
            while not stop.is_set():
                with suppress(Exception), self._database.transaction() as session:
                    WorkerSign.give(session, self.name)
                stop.wait(_SIGN_EVERY_S)

        thread = threading.Thread(target=sign, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5)

    def _execute(self, run_id: uuid.UUID) -> None:
        folder = self._runs_dir / str(run_id)
        try:
            if self._iterate(run_id, folder):
                self._finish(run_id, folder)
        except Conflict:
            return  # another worker has it now, and the folder with it
        except HepaticaError as error:
            self._end(run_id, str(error))
        except Exception as error:
            self._end(run_id, f"An unexpected fault: {error!r}. It is in the worker's output.")
            raise
        shutil.rmtree(folder, ignore_errors=True)

    def _iterate(self, run_id: uuid.UUID, folder: Path) -> bool:
        """Run the experiment; False when it was cancelled."""
        with self._database.reading() as session:
            run = Run.require(session, run_id)
            settings, seeds = config.experiment(run.preset), run.seeds
            manifest = self._data(run, folder / "data")
        steps = experiment.run(
            settings,
            manifest,
            RunDir(folder / "run"),
            seeds=seeds,
            jobs=self._jobs,
            fresh=self._runs_dir / "fresh",
        )
        saved = -_SAVE_EVERY_S
        for step in steps:  # a generator: left early, it is closed, and that ends its tasks
            due = time.monotonic() - saved >= _SAVE_EVERY_S or step.done >= step.total
            if due and not self._save(run_id, step):
                cast("Generator[Progress]", steps).close()
                return False
            saved = time.monotonic() if due else saved
        return True

    def _data(self, run: Run, folder: Path) -> Manifest:
        if folder.exists():  # of an earlier claim; the digest is checked as it is loaded
            return Manifest.load(next(folder.iterdir()))
        partial = folder.with_name(f"data-{self.name}")
        partial.mkdir(parents=True)
        with self._database.reading() as session:
            run.dataset.unpack(session, partial)
        partial.rename(folder)
        return Manifest.load(next(folder.iterdir()))

    def _save(self, run_id: uuid.UUID, step: Progress) -> bool:
        """Note the progress; False when the run was cancelled."""
        with self._database.transaction() as session:
            run = Run.of_worker(session, run_id, self.name)
            if run.cancel_at is not None:
                run.end_cancelled(session)
                return False
            run.save(session, step)
        return True

    def _finish(self, run_id: uuid.UUID, folder: Path) -> None:
        """Report and checkpoints; everything that stays is stored in one transaction."""
        run_dir = RunDir(folder / "run")
        for step in report.write(run_dir.path):
            if not self._save(run_id, step):
                return
        with self._database.reading() as session:
            run = Run.require(session, run_id)
            settings, stem = config.experiment(run.preset), run.short_name
            manifest = self._data(run, folder / "data")
        made = release.checkpoints(settings, manifest, run_dir, stem)
        with self._database.transaction() as session:
            run = Run.of_worker(session, run_id, self.name)
            for checkpoint in made:
                if checkpoint.root is not None:
                    Checkpoint.register(session, checkpoint.root, self.name, serve=False)
            run.finish(
                session,
                (run_dir.path / "results.json").read_bytes(),
                (run_dir.path / "report.html").read_bytes(),
            )

    def _end(self, run_id: uuid.UUID, error: str) -> None:
        with suppress(Conflict), self._database.transaction() as session:
            Run.of_worker(session, run_id, self.name).fail(session, error)
