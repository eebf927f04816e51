"""The worker: claims a queued run, iterates the experiment, saves its progress, finishes or fails.

A run's folder is scratch under ``runs_dir``. A worker that is killed, or that cannot reach the
database, leaves the folder behind; the run is claimed again once nobody has heard of its worker for
a while, and goes on where it stopped. Folders of runs that are over are removed by any worker.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from sqlalchemy import exc

from app.db import Database
from app.errors import Conflict, NotFound, Taken, Unavailable
from app.faults import code, trouble
from app.models.checkpoint import Checkpoint
from app.models.runs.run import Run, WorkerSign
from ml import config
from ml.dataset.manifest import Manifest
from ml.experiment import release, report, request
from ml.experiment import run as experiment
from ml.ground.errors import HepaticaError
from ml.progress import Progress, RunDir

_SIGN_EVERY_S = 10.0
_SAVE_EVERY_S = 1.0
_PAUSE_S = 5.0
_AFTER = 3
"""Steps after an experiment's own: two of the report, and the checkpoints."""

log = logging.getLogger("hepatica.worker")


class Worker:
    """Executes runs one after the other until it is told to stop."""

    def __init__(self, database: Database, runs_dir: Path, jobs: int = 0) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._database = database
        self._runs_dir = runs_dir
        self._jobs = jobs
        self._held: uuid.UUID | None = None

    def work(self, *, poll_s: float = 2.0, once: bool = False) -> None:
        """Take runs as they come; with ``once`` return when none waits.

        A run in hand when the database fails is left as it is, to be claimed again.
        """
        with self._signs_of_life():
            while True:
                try:
                    found = self._take()
                except (Unavailable, exc.SQLAlchemyError) as error:
                    if trouble(error) is None and not isinstance(error, Unavailable):
                        raise
                    if not isinstance(error, Unavailable):  # any other is in the log
                        log.error("The database failed: %s", code(error))
                    log.warning("The worker tries again in %g s.", _PAUSE_S)
                    pause = _PAUSE_S
                else:
                    if once and not found:
                        return
                    pause = 0.0 if found else poll_s
                time.sleep(pause)

    def _take(self) -> bool:
        """Claim a run and execute it; False when none waits."""
        self._sweep()
        with self._database.transaction() as session:
            run = Run.claim(session, self.name)
            taken = run.id if run else None
        if taken is None:
            return False
        self._held = taken
        try:
            self._execute(taken)
        finally:
            self._held = None  # signs of life must not keep a run that nobody works on
        return True

    def _sweep(self) -> None:
        """Remove scratch that nobody will come back for.

        A run that is cancelled while its worker is lost, for one, leaves patients' ROIs behind.
        """
        # listed before the database is asked: a run whose folder is there is known by then
        folders = {run_id: path for path in self._runs_dir.glob("*") if (run_id := _run_of(path))}
        if not folders:
            return
        with self._database.reading() as session:
            alive = Run.alive(session, folders)
        for run_id, path in folders.items():
            if run_id not in alive:
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """A thread that says every few seconds that this worker lives, whatever it computes."""
        stop = threading.Event()

        def sign() -> None:
            while not stop.is_set():
                with suppress(Exception), self._database.transaction() as session:
                    WorkerSign.give(session, self.name, self._held)
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
            done = self._iterate(run_id, folder)
            if done is not None:
                self._finish(run_id, folder, done)
        except Taken as error:
            self._end(run_id, str(error))
        except Conflict:
            return  # another worker has it now, and the folder with it
        except HepaticaError as error:
            self._end(run_id, str(error))
        except Exception as error:
            if isinstance(error, Unavailable) or trouble(error) is not None:
                log.warning("Run %s is left as it is, to be claimed again.", run_id)
                raise
            log.exception("Run %s ended with an unexpected fault.", run_id)
            self._end(run_id, _told(error))
        shutil.rmtree(folder, ignore_errors=True)

    def _iterate(self, run_id: uuid.UUID, folder: Path) -> int | None:
        """Run the experiment; how many steps it had, or None when it was cancelled."""
        with self._database.reading() as session:
            run = Run.require(session, run_id)
            preset, seeds, command = config.experiment(run.preset), run.seeds, run.command
            manifest = self._data(run, folder / "data")
        settings, capped = request.capped(preset, manifest, seeds)
        steps = experiment.run(
            settings,
            manifest,
            RunDir(folder / "run"),
            seeds=seeds,
            jobs=self._jobs,
            fresh=self._runs_dir / "fresh",
            command=command,
            capped=capped,
        )
        saved, total = -_SAVE_EVERY_S, 0
        # a generator: however it is left, it is closed, and that ends its tasks
        with closing(cast("Generator[Progress]", steps)):
            for step in steps:
                due = time.monotonic() - saved >= _SAVE_EVERY_S or step.done >= step.total
                total = step.total
                # its last words name a folder of this machine
                text = step.text if step.done < total else "the experiment is done"
                told = replace(step, total=total + _AFTER, text=text)
                if due and not self._save(run_id, told):
                    return None
                saved = time.monotonic() if due else saved
        return total

    def _data(self, run: Run, folder: Path) -> Manifest:
        if folder.exists():  # of an earlier claim; the digest is checked as it is loaded
            return Manifest.load(next(folder.iterdir()))
        partial = folder.with_name(f"data-{self.name}")
        shutil.rmtree(partial, ignore_errors=True)  # where the database failed half-way
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

    def _finish(self, run_id: uuid.UUID, folder: Path, done: int) -> None:
        """Report and checkpoints; everything that stays is stored in one transaction.

        They are the last steps of the same whole: what is told never falls back.
        """
        run_dir = RunDir(folder / "run")
        for step in report.write(run_dir.path):
            if step.done < step.total:
                told = Progress(done + step.done, done + _AFTER, step.text)
            else:
                told = Progress(done + step.done, done + _AFTER, "exporting the checkpoints")
            if not self._save(run_id, told):
                return
        with self._database.reading() as session:
            run = Run.require(session, run_id)
            run_preset, seeds, stem = run.preset, run.seeds, run.short_name
            manifest = self._data(run, folder / "data")
        settings, _ = request.capped(config.experiment(run_preset), manifest, seeds)
        made = release.checkpoints(settings, manifest, run_dir, stem, run_preset)
        with self._database.transaction() as session:
            run = Run.of_worker(session, run_id, self.name)
            for checkpoint in made:
                if checkpoint.root is not None:
                    Checkpoint.register(
                        session, checkpoint.root, self.name, serve=False, run_id=run_id
                    )
            run.finish(
                session,
                (run_dir.path / "results.json").read_bytes(),
                (run_dir.path / "report.html").read_bytes(),
            )

    def _end(self, run_id: uuid.UUID, error: str) -> None:
        with suppress(Conflict, NotFound), self._database.transaction() as session:
            Run.of_worker(session, run_id, self.name).fail(session, error)


def _told(error: Exception) -> str:
    """For the page; paths and values stay in the log."""
    reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return (
        f"An unexpected fault ended the run ({type(error).__name__}{reason}). The worker's log has "
        "the details. Queue the run again when the cause is found."
    )


def _run_of(folder: Path) -> uuid.UUID | None:
    """The run that a scratch folder is named by; None for anything else."""
    with suppress(ValueError):
        run_id = uuid.UUID(folder.name)
        return run_id if str(run_id) == folder.name else None
    return None
