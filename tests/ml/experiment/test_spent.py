"""Seconds of training and drawing, from the logs of a run's generators."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ml.experiment import spent
from ml.experiment.results.origin import GeneratorTimes
from ml.experiment.tasks import OUTER, TrainGenerator


def _log(tasks: Path, name: str, *steps: tuple[float, str], cut: str = "") -> None:
    lines = [
        json.dumps({"at": at, "done": int(re.findall(r"\d+", text)[0]), "total": 9, "text": text})
        for at, text in steps
    ]
    (tasks / name).mkdir(parents=True)
    (tasks / name / "log.jsonl").write_text("\n".join([*lines, cut]) + "\n", "utf-8")


def test_epochs_and_drawn_rois_are_timed_without_the_pause_of_a_kill(tmp_path: Path) -> None:
    _log(
        tmp_path, "dcgan-a-outer-0-0",
        (100.0, "epoch 1: D 1"), (102.0, "epoch 2: D 1"),
        (9000.0, "epoch 2: D 1"), (9002.0, "epoch 3: D 1"),
        (9010.0, "a: 32 of 80 drawn"), (9011.0, "a: 64 of 80 drawn"),
        (9011.5, "a: 80 of 80 drawn"), (9050.0, "a: 32 of 80 drawn"),
        cut='{"at": 9051.0, "do',
    )  # fmt: skip
    _log(
        tmp_path, "dcgan-b-outer-0-0", (0.0, "epoch 1: D 1"), (4.0, "epoch 2: D 1")
    )  # fmt: skip
    _log(tmp_path, "acgan-outer-0-0", (0.0, "epoch 1: D 1"))  # one epoch: no time between
    # a classifier, whose folder is called like a generator's
    _log(tmp_path, "acgan-discriminator-10-0-outer-0-0", (0.0, "epoch 1"), (9.0, "epoch 2"))
    trained = [
        TrainGenerator("dcgan", OUTER, 0, 0, "a"), TrainGenerator("dcgan", OUTER, 0, 0, "b"),
        TrainGenerator("acgan", OUTER, 0, 0, ""),
    ]  # fmt: skip
    assert spent.by_kind(tmp_path, trained) == {
        "dcgan": GeneratorTimes(2, pytest.approx((2 + 2 + 2 + 8) / 2), pytest.approx(1.5 / 48))
    }


def test_a_run_without_generators_has_no_times(tmp_path: Path) -> None:
    assert spent.by_kind(tmp_path, [TrainGenerator("dcgan", OUTER, 0, 0, "a")]) == {}
