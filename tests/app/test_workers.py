"""Workers: killed with kill -9 and the run goes on; many workers never take the same run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.db import ROOT, Database, now
from app.models import DatasetVersion, Run, User, WorkerSign
from app.models.dataset import _zipped
from app.models.run import LOST_AFTER_S
from ml import experiment
from ml.manifest import Manifest
from ml.progress import RunDir
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
    with database.transaction() as session:
        [dataset] = DatasetVersion.all(session)
        return Run.queue(session, User.require(session, "rita"), dataset, "quick", 1)


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "HEPATICA_DATABASE_URL": f"sqlite:///{folder}/workers.sqlite3",
        "HEPATICA_RUNS_DIR": str(folder / "runs"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", WORK], cwd=ROOT, env=environment, stdout=log, stderr=log
        )


def finished_tasks(folder: Path, run: Run) -> dict[str, int]:
    """When each task that is done was done, in nanoseconds."""
    found = (folder / "runs" / str(run.id) / "run" / "tasks").glob("*/result.json")
    times = {}
    for path in found:
        with suppress(FileNotFoundError):  # a finished worker is removing its scratch
            times[path.parent.name] = path.stat().st_mtime_ns
    return times


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
    for _ in experiment.run(SETTINGS, Manifest.load(tmp_path / "discs"), undisturbed, jobs=2):
        pass
    expected = undisturbed.read_json("results.json")
    for results in (found, expected):
        results.pop("times")
    found["dataset"]["name"] = expected["dataset"]["name"]
    assert found == expected


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
