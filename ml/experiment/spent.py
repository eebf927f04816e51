"""What generators took: seconds of training and of drawing, read from the logs of their tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from ml.experiment.results.origin import GeneratorTimes
from ml.experiment.tasks import TrainGenerator

DRAWN = "drawn"
"""The last word of a step that tells of drawing."""
_PAUSE = 20.0
"""Steps between which there are so many medians are of two starts of a run that was killed."""


@dataclass(frozen=True)
class _Step:
    """A line of a generator's log: when, how many epochs or ROIs by then, and which of the two."""

    at: float
    done: int
    is_drawn: bool


def by_kind(tasks: Path, trained: Iterable[TrainGenerator]) -> Mapping[str, GeneratorTimes]:
    """Of every kind of generator of which one left a log in ``tasks``.

    An epoch is as long as the time since the one before, so the first counts as the median one.
    """
    logs: dict[str, list[list[_Step]]] = {}
    for task in trained:
        logs.setdefault(task.kind, []).append(_steps(tasks / task.name / "log.jsonl"))
    found: dict[str, GeneratorTimes] = {}
    for kind, some in logs.items():
        of_training = [_training_s([one.at for one in log if not one.is_drawn]) for log in some]
        of_drawing = [_drawing_s([one for one in log if one.is_drawn]) for log in some]
        training = [one for one in of_training if one is not None]
        drawing = [one for one in of_drawing if one is not None]
        if training:
            found[kind] = GeneratorTimes(
                len(training), median(training), median(drawing) if drawing else None
            )
    return found


def _steps(log: Path) -> list[_Step]:
    """Every line that a kill did not cut short."""
    steps = []
    for line in log.read_text("utf-8").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        steps.append(_Step(entry["at"], entry["done"], entry["text"].endswith(DRAWN)))
    return steps


def _training_s(epochs: Sequence[float]) -> float | None:
    gaps = _gaps(epochs)
    return sum(gaps) + median(gaps) if gaps else None


def _drawing_s(steps: Sequence[_Step]) -> float | None:
    """Of one ROI: every part but a class's first, which also waited for what came before."""
    spent, rois = 0.0, 0
    for one, other in pairwise(steps):
        if other.done > one.done:
            spent, rois = spent + other.at - one.at, rois + other.done - one.done
    return spent / rois if rois else None


def _gaps(ats: Sequence[float]) -> list[float]:
    gaps = [after - before for before, after in pairwise(ats)]
    longest = _PAUSE * median(gaps) if gaps else 0.0
    return [gap for gap in gaps if gap <= longest]
