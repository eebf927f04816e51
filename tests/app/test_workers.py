"""Workers: killed with kill -9 and the run goes on; many workers never take the same run.

Faults: of the database they outlast, of a run they say; scratch never outlives its run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import worker as workers
from app.db import Database, now
from app.models import DatasetVersion, Run, User, WorkerSign
from app.models.runs.dataset import _zipped
from app.models.runs.run import LOST_AFTER_S
from app.place import ROOT
from app.worker import Worker
from ml import config
from ml.dataset.manifest import Manifest
from ml.experiment import run as experiment
from ml.ground.errors import HepaticaError
from ml.progress import Progress, RunDir
from tests.ml.discs import SMALL, WORK, data_set

pytestmark = pytest.mark.timeout(200)
SETTINGS = replace(SMALL, device="cpu")


@pytest.fixture
def installation(tmp_path):
    """A database in a file, an account, a frozen dataset version."""
    database = Database(f"sqlite:///{tmp_path}/workers.sqlite3")
    prepare(database, tmp_path)
    yield database
    database.engine.dispose()


def prepare(database: Database, folder: Path) -> None:
    database.migrate()
    data_set(folder / "discs")
    with database.transaction() as session:
        researcher = User.add(session, "rita", "researcher", "correct horse")
        DatasetVersion.freeze(session, researcher, _zipped(folder / "discs"))


def queue(database: Database) -> Run:
    """A run of somebody new: asked for twice by one person it is one run."""
    with database.transaction() as session:
        [dataset] = DatasetVersion.all(session)
        by = User.add(session, f"rita-{uuid.uuid4()}", "researcher", "correct horse")
        return Run.queue(session, by, dataset, "quick", 1)


def start(folder: Path, program: str = WORK) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "HEPATICA_DATABASE_URL": f"sqlite:///{folder}/workers.sqlite3",
        "HEPATICA_RUNS_DIR": str(folder / "runs"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=log, stderr=log
        )


def finished_tasks(folder: Path, run: Run) -> dict[str, int]:
    """When each task that is done was done, in nanoseconds."""
    found = (folder / "runs" / str(run.id) / "run" / "tasks").glob("*/result.json")
    times = {}
    for path in found:
        with suppress(FileNotFoundError):  # a finished worker is removing its scratch
            times[path.parent.name] = path.stat().st_mtime_ns
    return times


@pytest.mark.chaos
def test_a_run_whose_worker_is_killed_is_claimed_again_and_goes_on_to_the_same_numbers(
    installation, tmp_path
):
    run = queue(installation)
    first = start(tmp_path)
    try:
        while len(finished_tasks(tmp_path, run)) < 12:
            assert first.poll() is None, (tmp_path / "worker.log").read_text()
            time.sleep(0.02)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    kept = finished_tasks(tmp_path, run)
    with installation.transaction() as session:
        killed = Run.require(session, run.id)
        assert (killed.state, killed.claims) == ("running", 1)
        assert Run.claim(session, "early") is None  # its worker was heard of a moment ago
        killed.heard_at = now() - timedelta(seconds=LOST_AFTER_S + 1)
        session.execute(sa.update(WorkerSign).values(heard_at=killed.heard_at))

    second = start(tmp_path)
    while second.poll() is None:
        # what the killed worker had finished is not done again
        later = finished_tasks(tmp_path, run)
        assert all(later.get(name, time_ns) == time_ns for name, time_ns in kept.items())
        time.sleep(0.1)
    assert second.returncode == 0, (tmp_path / "worker.log").read_text()
    with installation.reading() as session:
        ended = Run.require(session, run.id)
        assert (ended.state, ended.error, ended.claims) == ("done", None, 2)
        found = json.loads(ended.results(session))
    undisturbed = RunDir(tmp_path / "undisturbed")
    data, command = Manifest.load(tmp_path / "discs"), run.command
    for _ in experiment.run(SETTINGS, data, undisturbed, jobs=2, command=command):
        pass
    expected = undisturbed.read_json("results.json")
    for results in (found, expected):
        results.pop("times")
    found["dataset"]["name"] = expected["dataset"]["name"]
    assert found == expected


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_workers_at_once_take_every_run_once(tmp_path, request, kind):
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/workers.sqlite3"
    else:
        url = request.getfixturevalue("postgres")
    database = Database(url)
    prepare(database, tmp_path)
    runs = {queue(database).id for _ in range(12)}
    taken: list[tuple[str, object]] = []
    barrier = threading.Barrier(8)

    def work(name: str) -> None:
        own = Database(url)
        barrier.wait()
        while True:
            with own.transaction() as session:
                run = Run.claim(session, name)
                if run is None:
                    break
                taken.append((name, run.id))
        own.engine.dispose()

    threads = [threading.Thread(target=work, args=(f"worker {i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert {run.claims for run in Run.all(session)} == {1}
    database.engine.dispose()
    assert Counter(run for _, run in taken) == dict.fromkeys(runs, 1)


# -- faults ---------------------------------------------------------------------------------------


class Stage:
    """Stands for ``experiment.run``: each run of a worker plays the next of its acts."""

    def __init__(self, *acts):
        self.acts = list(acts)
        self.closed = 0

    def run(self, _settings, _manifest, run_dir, **_options):
        run_dir.write_bytes("tasks/roi.npy", b"of a patient")
        act = self.acts.pop(0)
        try:
            yield Progress(1, 2, "a step")
            act()
            yield Progress(2, 2, "the last step")
        finally:
            self.closed += 1


def refuse():
    raise HepaticaError("this data set will not do")


def stumble():
    raise ZeroDivisionError("a value of a patient")


def failure_of_database(*_args, **_options):
    raise sa.exc.OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))


@pytest.fixture
def staged(monkeypatch):
    """``staged(act, …)``: a Stage in place of the experiment; a worker pauses for no time."""
    monkeypatch.setattr(config, "experiment", lambda _name: SETTINGS)
    monkeypatch.setattr(workers, "_PAUSE_S", 0.0)

    def stage(*acts) -> Stage:
        made = Stage(*acts)
        monkeypatch.setattr(workers.experiment, "run", made.run)
        return made

    return stage


def state(database: Database, run: Run) -> str:
    with database.reading() as session:
        return Run.require(session, run.id).state


def lose(database: Database, run: Run) -> None:
    """Let the worker of a run not have been heard of for a while."""
    with database.transaction() as session:
        lost = now() - timedelta(seconds=LOST_AFTER_S + 1)
        Run.require(session, run.id).heard_at = lost


KILLED = """
import os, signal, sys
from app import worker
from app.__main__ import main
from ml.progress import Progress

def run(_settings, _manifest, run_dir, **_options):
    run_dir.write_bytes("tasks/roi.npy", b"of a patient")
    yield Progress(1, 2, "a step")
    os.kill(os.getpid(), signal.SIGKILL)

worker.experiment.run = run
sys.exit(main(["work", "--once"]))
"""


@pytest.mark.long
def test_a_run_whose_worker_is_killed_is_claimed_again_with_what_was_done(
    installation, tmp_path, staged, monkeypatch
):
    run = queue(installation)
    assert start(tmp_path, KILLED).wait(120) == -signal.SIGKILL
    with installation.transaction() as session:
        killed = Run.require(session, run.id)
        assert (killed.state, killed.claims) == ("running", 1)
        assert Run.claim(session, "early") is None  # its worker was heard of a moment ago
    lose(installation, run)
    kept = tmp_path / "runs" / str(run.id) / "run" / "tasks" / "roi.npy"
    before = kept.stat().st_mtime_ns

    def go_on(_settings, _manifest, run_dir, **_options):
        assert (run_dir.path / "tasks" / "roi.npy").stat().st_mtime_ns == before
        yield Progress(2, 2, "the last step")
        refuse()

    staged()
    monkeypatch.setattr(workers.experiment, "run", go_on)
    Worker(installation, tmp_path / "runs").work(once=True)
    with installation.reading() as session:
        ended = Run.require(session, run.id)
        assert (ended.state, ended.claims) == ("failed", 2)
        assert ended.error == "this data set will not do"
    assert not (tmp_path / "runs" / str(run.id)).exists()


def test_an_unexpected_fault_fails_its_run_alone_and_leaves_no_scratch(
    installation, tmp_path, staged, caplog
):
    first, second = queue(installation), queue(installation)
    staged(stumble, refuse)
    Worker(installation, tmp_path / "runs").work(once=True)
    assert state(installation, second) == "failed"  # the worker went on
    with installation.reading() as session:
        told = Run.require(session, first.id)
        assert told.state == "failed"
        assert "unexpected fault" in told.error
        assert "ZeroDivisionError" in told.error
        assert "patient" not in told.error
    [entry] = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert str(first.id) in entry.getMessage()
    assert entry.exc_info[0] is ZeroDivisionError
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_full_disk_is_named_on_the_page(installation, tmp_path, staged):
    def fill():
        raise OSError(28, "No space left on device", "/srv/secret/path")

    run = queue(installation)
    staged(fill)
    Worker(installation, tmp_path / "runs").work(once=True)
    with installation.reading() as session:
        error = Run.require(session, run.id).error
    assert "No space left on device" in error
    assert "/srv" not in error


def test_a_fault_of_the_database_leaves_the_run_to_be_claimed_again(
    installation, tmp_path, staged, monkeypatch, caplog
):
    run = queue(installation)
    stage = staged(lambda: None, refuse)
    save = Run.save
    monkeypatch.setattr(Run, "save", failure_of_database)
    worker = Worker(installation, tmp_path / "runs")
    worker.work(once=True)
    assert stage.closed == 1  # its tasks were ended: nobody follows them
    assert state(installation, run) == "running"
    assert (tmp_path / "runs" / str(run.id) / "run" / "tasks" / "roi.npy").exists()
    assert "disk I/O error" in caplog.text
    assert str(run.id) in caplog.text

    monkeypatch.setattr(Run, "save", save)
    lose(installation, run)
    worker.work(once=True)  # the same one may take it up again
    with installation.reading() as session:
        ended = Run.require(session, run.id)
        assert (ended.state, ended.claims) == ("failed", 2)
        assert ended.error == "this data set will not do"
    assert not (tmp_path / "runs" / str(run.id)).exists()


def test_a_fault_of_the_database_while_a_fault_is_told_is_outlasted_too(
    installation, tmp_path, staged, monkeypatch
):
    run = queue(installation)
    staged(stumble)
    monkeypatch.setattr(Run, "fail", failure_of_database)
    Worker(installation, tmp_path / "runs").work(once=True)
    assert state(installation, run) == "running"
    assert (tmp_path / "runs" / str(run.id)).exists()


def test_data_that_came_half_way_are_fetched_again_by_the_same_worker(
    installation, tmp_path, staged, monkeypatch
):
    run = queue(installation)
    staged(refuse)
    unpack = DatasetVersion.unpack

    def half_way(_version, _session, folder):
        (folder / "half").write_bytes(b"")
        failure_of_database()

    monkeypatch.setattr(DatasetVersion, "unpack", half_way)
    worker = Worker(installation, tmp_path / "runs")
    worker.work(once=True)
    assert state(installation, run) == "running"
    monkeypatch.setattr(DatasetVersion, "unpack", unpack)
    lose(installation, run)
    worker.work(once=True)
    with installation.reading() as session:
        assert Run.require(session, run.id).error == "this data set will not do"


def test_signs_of_life_do_not_keep_a_run_that_the_worker_let_go(
    installation, tmp_path, staged, monkeypatch
):
    first, second = queue(installation), queue(installation)
    heard = []

    def read():
        with installation.reading() as session:
            return [Run.require(session, one.id).heard_at for one in (first, second)]

    def outlive_signs():
        heard.append(read())
        while read()[1] <= heard[0][1]:  # until a sign of life of the second
            time.sleep(0.01)
        heard.append(read())
        refuse()

    staged(failure_of_database, outlive_signs)
    monkeypatch.setattr(workers, "_SIGN_EVERY_S", 0.02)
    Worker(installation, tmp_path / "runs").work(once=True)
    before, after = heard
    assert after[0] == before[0]
    assert after[1] > before[1]
    lose(installation, first)
    with installation.transaction() as session:
        assert Run.claim(session, "another").id == first.id


def test_a_worker_outlasts_a_database_that_fails_while_it_waits(
    installation, tmp_path, staged, monkeypatch, caplog
):
    run = queue(installation)
    staged(refuse)
    claim, failures = Run.claim, [1, 2, 3]

    def sometimes(session, name):
        if failures:
            failures.pop()
            failure_of_database()
        return claim(session, name)

    monkeypatch.setattr(Run, "claim", staticmethod(sometimes))
    Worker(installation, tmp_path / "runs").work(once=True)
    assert not failures
    assert state(installation, run) == "failed"
    assert caplog.text.count("The database failed") == 3


def test_a_mistake_of_ours_in_a_query_is_no_fault_of_the_database(installation, tmp_path, staged):
    def mistake():
        raise sa.exc.ProgrammingError("SELEC", {}, sqlite3.ProgrammingError("syntax"))

    run = queue(installation)
    staged(mistake)
    Worker(installation, tmp_path / "runs").work(once=True)
    assert state(installation, run) == "failed"


def test_scratch_of_runs_that_are_over_or_unknown_is_removed_and_no_other(
    installation, tmp_path, staged
):
    lost, held, waiting = (queue(installation) for _ in range(3))
    root = tmp_path / "runs"
    unknown = uuid.uuid4()
    names = [str(one.id) for one in (lost, held, waiting)]
    for name in (*names, str(unknown), "fresh", "notes", unknown.hex):
        (root / name).mkdir(parents=True)
        (root / name / "roi.npy").write_bytes(b"of a patient")
    with installation.transaction() as session:
        for name in ("lost", "holder"):
            Run.claim(session, name)
        Run.require(session, lost.id).heard_at = now() - timedelta(seconds=LOST_AFTER_S + 1)
    with installation.transaction() as session:
        Run.require(session, lost.id).cancel(session, session.get(User, lost.owner_id))
    assert state(installation, lost) == "cancelled"
    worker = Worker(installation, root)
    worker._sweep()
    left = {path.name for path in root.iterdir()}
    assert left == {str(held.id), str(waiting.id), "fresh", "notes", unknown.hex}

    staged(refuse)
    with installation.transaction() as session:  # while the worker waits for its next run
        Run.require(session, waiting.id).cancel(session, session.get(User, waiting.owner_id))
    worker.work(once=True)
    left = {path.name for path in root.iterdir()}
    assert left == {str(held.id), "fresh", "notes", unknown.hex}
