"""Trainings that share a device: all are done, too little memory takes a lane, a loss is told."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from ml.config import ConfigError
from ml.experiment import lanes, parallel
from ml.progress import Progress


def _write(task: Path) -> None:
    task.write_text("done")


def _tasks(folder: Path, count: int) -> list[Path]:
    return [folder / str(i) for i in range(count)]


def test_trainings_and_other_tasks_are_all_done(tmp_path: Path) -> None:
    trainings, others = _tasks(tmp_path, 5), [tmp_path / "a", tmp_path / "b"]
    told = lanes.each(_write, trainings, others, tmp_path / "stop", "cpu", 2, 1)
    assert {task for task in told if task is not None} == {*trainings, *others}
    assert not (tmp_path / "stop").exists()


def test_so_many_are_at_work_at_a_time(tmp_path: Path) -> None:
    both = threading.Barrier(2)
    list(lanes.each(lambda task: both.wait(20), [1, 2, 3, 4], [], tmp_path / "stop", "cpu", 2, 1))


def test_too_little_memory_takes_a_lane_and_is_said(tmp_path: Path) -> None:
    at_work, most = [0], [0]
    lock = threading.Lock()

    def train(task: int) -> None:
        with lock:
            at_work[0] += 1
            full = at_work[0] > 2
        try:
            time.sleep(0.02)
            if full:
                raise torch.OutOfMemoryError("CUDA out of memory")
            most[0] = max(most[0], task)
        finally:
            with lock:
                at_work[0] -= 1

    told = list(lanes.each(train, list(range(8)), [], tmp_path / "stop", "cpu", 4, 1))
    said = [one.text for one in told if isinstance(one, Progress)]
    assert said and all("does not hold" in text for text in said)
    assert {one for one in told if isinstance(one, int)} == set(range(8))


def test_memory_for_not_even_one_is_refused(tmp_path: Path) -> None:
    def train(task: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(lanes.MemoryFullError, match=r"one training alone.*--resume"):
        list(lanes.each(train, [1, 2, 3], [], tmp_path / "stop", "cpu", 2, 1))


def test_a_lost_device_is_told_with_a_way_on(tmp_path: Path) -> None:
    def train(task: int) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nmore of it")

    with pytest.raises(lanes.LostDeviceError, match=r"unspecified launch failure\).*--resume"):
        list(lanes.each(train, [1], [], tmp_path / "stop", "cpu", 1, 1))


def test_what_a_training_refuses_reaches_the_caller_and_ends_the_others(tmp_path: Path) -> None:
    watch = parallel.Watch(tmp_path / "stop")

    def train(task: int) -> None:
        if task == 1:
            raise ConfigError("diverged")
        while True:  # a training: looks after every epoch
            watch()
            time.sleep(0.01)

    with pytest.raises(ConfigError, match="diverged"):
        list(lanes.each(train, [0, 1], [], tmp_path / "stop", "cpu", 2, 1))
    assert not [one for one in threading.enumerate() if one.name.startswith("lane")]


def test_closing_ends_the_trainings(tmp_path: Path) -> None:
    watch = parallel.Watch(tmp_path / "stop")

    def train(task: int) -> None:
        while True:
            watch()
            time.sleep(0.01)

    steps = lanes.each(train, [0, 1, 2], [], tmp_path / "stop", "cpu", 2, 1)
    assert next(steps) is None
    steps.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name.startswith("lane")]
