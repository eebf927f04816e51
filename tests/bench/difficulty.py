"""Difficulty of the phantoms: what the compact classic arm reaches on data sets of their own.

The seeds here are used nowhere else, no arm but classic is trained, and nothing but the difficulty
that a version is made at may be decided by what is printed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ml.config import Experiment, experiment
from ml.dataset import prepare
from ml.dataset.manifest import Manifest
from ml.experiment import arms, fresh_phantoms, parallel
from ml.experiment.folder import RunFolder
from ml.experiment.perform import perform
from ml.experiment.tasks import INNER, OUTER, CutViews, DrawFresh, TrainClassifier
from ml.experiment.training_sets import fresh_of, views_starts
from ml.lesion import LIVER
from ml.phantom import Version, series
from ml.phantom.lesions import DIFFICULTY
from ml.statistics import classification
from ml.training.shipped import COUNTS

SEEDS = (7001, 7002, 7003, 7004)
LOW, HIGH = 0.74, 0.83
"""Where the weighted sensitivity of the classic arm should lie; the paper's was 0.786."""


def calibration() -> Iterator[str]:
    """Weighted sensitivity of the classic arm, sizes by nested selection, on each data set."""
    for version in Version:
        yield from _of(version)


def _of(version: Version) -> Iterator[str]:
    found = []
    made = f"phantom {version} at difficulty {DIFFICULTY[version]:g}"
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            matrix = _confusion(Path(folder), seed, version)
        value = float(classification.weighted(classification.sensitivities(matrix), matrix))
        found.append(value)
        n = sum(COUNTS.values())
        yield f"{made}, data set {seed}: sensitivity {value:.3f}, n = {n}"
    mean = float(np.mean(found))
    said = "within" if LOW <= mean <= HIGH else "OUTSIDE"
    spread = float(np.std(found, ddof=1))
    yield (
        f"{made}: mean {mean:.3f} (standard deviation {spread:.3f}) is {said} {LOW:.2f} to "
        f"{HIGH:.2f}"
    )


def _confusion(folder: Path, seed: int, version: Version) -> classification.Ints:
    """One data set from its patients to the counts of the tested lesions."""
    made = series.write_cohort(COUNTS, seed, folder / "ct", key_slices_only=True, version=version)
    for _ in made:
        pass
    for _ in prepare.dicom(folder / "ct", LIVER, folder / "data"):
        pass
    # the tasks of phantom data sets also score fresh lesions; what they find there is not looked at
    settings = experiment("compact").override(
        [
            f"seed={seed}",
            f"fresh_seed={10_000 * seed}",
            "fresh_lesions=10",
            f"difficulty={DIFFICULTY[version]}",
        ]
    )
    manifest = Manifest.load(folder / "data")
    run = RunFolder(folder / "data", folder / "run", folder / "fresh")
    run.run.mkdir()
    sizes = tuple(p for p in arms.sizes(settings, 3, oracle=False) if p.arm == arms.CLASSIC)
    starts = views_starts(manifest)
    fresh = [c for c in fresh_of(settings, manifest) if c.use == fresh_phantoms.TEST]
    parts = [(part, fold) for part in (OUTER, INNER) for fold in range(settings.folds)]
    stages = (
        [*(CutViews(seed, start) for start in starts), *(DrawFresh(chunk) for chunk in fresh)],
        [TrainClassifier(size, *part, seed) for size in sizes for part in parts],
    )
    for tasks in stages:
        for _ in parallel.each(partial(perform, run, settings), tasks, run.stop, -1):
            pass
    return _selected(run, settings, manifest, sizes)


def _selected(
    run: RunFolder, settings: Experiment, manifest: Manifest, sizes: tuple[arms.ArmSize, ...]
) -> classification.Ints:
    truth = np.asarray([manifest.scheme.index(line.lesion_class) for line in manifest.lines])
    called = np.full(len(truth), -1)
    for fold in range(settings.folds):
        scores = {}
        for size in sizes:
            rows, answers = _outputs(run, TrainClassifier(size, INNER, fold, settings.seed))
            matrix = classification.confusion(truth[rows], answers, 3)
            scores[size] = float(classification.balanced_accuracy(matrix))
        size = arms.pick(scores, sizes)
        rows, answers = _outputs(run, TrainClassifier(size, OUTER, fold, settings.seed))
        called[rows] = answers
    return classification.confusion(truth, called, 3)


def _outputs(
    run: RunFolder, task: TrainClassifier
) -> tuple[classification.Ints, classification.Ints]:
    with np.load(run.task(task.name).path / "outputs.npz") as stored:
        return stored["rows"], stored["probabilities"].argmax(axis=1)
