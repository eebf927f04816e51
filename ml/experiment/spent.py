"""What generators took: seconds of training and of drawing, read from the logs of their tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from ml.config import GeneratorKind
from ml.experiment.results.origin import GeneratorTimes

DRAWN = "drawn"
"""The last word of a step that tells of drawing."""
_PAUSE = 20.0
"""Steps between which there are so many medians are of two starts of a run that was killed."""


def by_kind(tasks: Path) -> Mapping[str, GeneratorTimes]:
    """Of every kind of generator whose training left a log in ``tasks``.

    An epoch is as long as the time since the one before, so the first counts as the median one.
    """
    found: dict[str, GeneratorTimes] = {}
    for kind in GeneratorKind:
        logs = [_steps(path / "log.jsonl") for path in sorted(tasks.glob(f"{kind}-*"))]
        of_training = [_training_s([at for at, text in log if not _draws(text)]) for log in logs]
        of_drawing = [_drawing_s([step for step in log if _draws(step[1])]) for log in logs]
        trained = [one for one in of_training if one is not None]
        drawn = [one for one in of_drawing if one is not None]
        if trained:
            found[kind] = GeneratorTimes(
                len(trained), median(trained), median(drawn) if drawn else None
            )
    return found


def _draws(text: str) -> bool:
    return text.endswith(DRAWN)


def _steps(log: Path) -> list[tuple[float, str]]:
    """(seconds, words) of every line that a kill did not cut short."""
    steps = []
    for line in log.read_text("utf-8").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        steps.append((float(entry["at"]), str(entry["text"])))
    return steps


def _training_s(epochs: Sequence[float]) -> float | None:
    gaps = _gaps(epochs)
    return sum(gaps) + median(gaps) if gaps else None


def _drawing_s(steps: Sequence[tuple[float, str]]) -> float | None:
    """Of one ROI: every part but a class's first, which also waited for what came before."""
    spent, rois = 0.0, 0
    for (before, one), (at, other) in pairwise(steps):
        first, then = _number(one), _number(other)
        if then > first:
            spent, rois = spent + at - before, rois + then - first
    return spent / rois if rois else None


def _number(text: str) -> int:
    """Of "NAME: 64 of 100 drawn", 64."""
    return int(text.split()[-4])


def _gaps(ats: Sequence[float]) -> list[float]:
    gaps = [after - before for before, after in pairwise(ats)]
    longest = _PAUSE * median(gaps) if gaps else 0.0
    return [gap for gap in gaps if gap <= longest]
