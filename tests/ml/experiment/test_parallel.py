"""Tasks in parallel: refusals reach the caller, a lost worker costs only its own task."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ml.config import ConfigError
from ml.experiment import parallel


def _fail_on_three(task: int) -> None:
    if task == 3:
        raise ConfigError("three is refused")


@pytest.mark.parametrize("jobs", [1, 2])
def test_refusal_of_a_task_reaches_the_caller(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(ConfigError, match="three is refused"):
        list(parallel.each(_fail_on_three, range(6), tmp_path / "stop", jobs))


def _die_once(task: Path) -> None:
    if task.name == "2" and not task.exists():
        task.write_text("died here once")
        os.kill(os.getpid(), signal.SIGKILL)
    task.write_text("done")


def test_task_of_a_killed_worker_is_done_by_another(tmp_path: Path) -> None:
    tasks = [tmp_path / str(i) for i in range(5)]
    assert {task for task in parallel.each(_die_once, tasks, tmp_path / "stop", 2) if task} == set(
        tasks
    )
    assert all(task.read_text() == "done" for task in tasks)


def _wait(task: Path) -> None:
    task.write_text(str(os.getpid()))
    time.sleep(3600)  # longer than any test may take


def test_closing_ends_the_workers_at_once(tmp_path: Path) -> None:
    tasks = [tmp_path / str(i) for i in range(3)]
    steps = parallel.each(_wait, tasks, tmp_path / "stop", 2)
    while not any(task.exists() for task in tasks):
        next(steps)
    assert not (tmp_path / "stop").exists()
    steps.close()  # type: ignore[attr-defined]
    for task in tasks:
        if task.exists() and task.read_text():
            with pytest.raises(ProcessLookupError):
                for _ in range(100):
                    os.kill(int(task.read_text()), 0)
                    time.sleep(0.1)


def test_worker_of_a_killed_run_ends_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    for alive in (os.getpid(), os.getppid(), 0):
        parallel.Watch(tmp_path / "stop", alive)()
    assert not ended
    parallel.Watch(tmp_path / "stop", 2**22 + 1)()
    assert ended == [1]
    (tmp_path / "stop").write_text("")
    with pytest.raises(parallel.Stopped):
        parallel.Watch(tmp_path / "stop")()


def test_missing_ray_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(parallel.ClusterError, match=r"hepatica\[cluster\]"):
        list(parallel.each(_fail_on_three, [1], tmp_path / "stop", 1, cluster="auto"))
