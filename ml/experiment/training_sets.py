"""What a network is trained on: the fold, its classic and synthetic ROIs, and how many of each.

A test patient cannot reach a training: lines are taken from a Fold, and synthetic ROIs say which
patients their generator saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.config import ConfigError, Experiment, GeneratorKind, seed_for
from ml.dataset.augment import count_of
from ml.dataset.folds import Fold, LeakageError, folds_of, inner_of
from ml.dataset.manifest import Line, Manifest
from ml.experiment import arms, fresh_phantoms
from ml.experiment.folder import RunFolder
from ml.experiment.outcomes import Collapsed
from ml.experiment.tasks import OUTER, CutPasted, TrainClassifier, generator_of

Pixels = npt.NDArray[np.float32]
LINES_AT_A_TIME = 24
"""Lesions whose views one task cuts."""


@lru_cache(maxsize=2)
def manifest_of(data: Path) -> Manifest:
    """A data set, verified once in a process."""
    return Manifest.load(data)


def fold_of(manifest: Manifest, settings: Experiment, seed: int, index: int, part: str) -> Fold:
    """A fold of a seed's partition: tested on its test patients, or on its validation patients."""
    fold = folds_of(manifest, settings, seed)[index]
    return fold if part == OUTER else inner_of(manifest, settings, seed, fold)


def views_each(settings: Experiment, fold: Fold, per_fold: int) -> int:
    """Classic ROIs per lesion; the same for all lesions (section IV-B)."""
    return round(per_fold * (settings.folds - 1) / len(fold.train)) if per_fold else 0


def views_needed(manifest: Manifest, settings: Experiment, seed: int) -> int:
    """Classic ROIs per lesion that some training of this seed asks for.

    Raises:
        ConfigError: more than a lesion can give.
    """
    per_fold = arms.most_classic(settings, len(manifest.scheme))
    folds = folds_of(manifest, settings, seed)
    each = max(views_each(settings, fold, per_fold) for fold in folds)
    smallest = min(settings.base, *settings.classic)
    if any(views_each(settings, fold, smallest) == 0 for fold in folds):
        raise ConfigError(
            f"{smallest} classic ROIs per fold are less than half a view of each of "
            f"{max(len(fold.train) for fold in folds)} training lesions; raise classic and base."
        )
    least = min(count_of(line, settings.augment) for line in manifest.lines)
    if each > least:
        lesions = min(len(fold.train) for fold in folds)
        raise ConfigError(
            f"{per_fold} classic ROIs per fold (the largest arm, equal-compute included) ask for "
            f"{each} views of each of {lesions} training lesions, but a lesion here gives {least}; "
            f"lower classic and synthetic, or set augment.rotations to "
            f"{-(-each * settings.augment.rotations // least)} or more."
        )
    return each


def views_starts(manifest: Manifest) -> range:
    """Where each task that cuts views begins, in the data set's lines."""
    return range(0, len(manifest.lines), LINES_AT_A_TIME)


def classic_rois(
    folder: RunFolder, manifest: Manifest, seed: int, lines: Sequence[Line], each: int
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Originals and the first ``each`` augmentations of some lines, with their labels."""
    row = {line.id: i for i, line in enumerate(manifest.lines)}
    views = folder.views(seed).path
    stored = {
        start: np.load(views / f"{start}.npy", mmap_mode="r") for start in views_starts(manifest)
    }
    parts, labels = [], []
    for line in lines:
        start = row[line.id] // LINES_AT_A_TIME * LINES_AT_A_TIME
        parts.append(np.asarray(stored[start][row[line.id] - start, : 1 + each], np.float32))
        labels.append(manifest.scheme.index(line.lesion_class))
    rois = np.stack(parts)
    return rois.reshape(-1, 64, 64), np.repeat(np.asarray(labels, np.int64), 1 + each)


def synthetic_rois(
    folder: RunFolder,
    fold: Fold,
    kind: str,
    part: str,
    seed: int,
    per_class: int,
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """The first ``per_class`` ROIs of each class from the generators of a fold, with labels.

    Pasted lesions are the same in every fold, part and seed.

    Raises:
        LeakageError: a generator saw a patient that this fold tests on, or a lesion lies in their
            tissue.
        ConfigError: a generator left fewer ROIs.
    """
    parts, labels = [], []
    for position, key in enumerate(fold.scheme.keys):
        if kind == arms.PASTED:
            pasted = CutPasted(key)
            name, patients = pasted.name, folder.result(pasted).patients
            told = f"{name} holds lesions in tissue of"
        else:
            generator = generator_of(kind, part, fold.index, seed, key)
            name, patients = generator.name, folder.result(generator).patients
            told = f"Generator {name} was trained on"
        saw = set(patients) & fold.test.patients
        if saw:
            raise LeakageError(
                f"{told} patient {min(saw)!r}, whom fold {fold.index} tests on; remove the run's "
                "folder and begin again."
            )
        stored = np.load(folder.task(name).path / f"rois-{key}.npy", mmap_mode="r")
        if len(stored) < per_class:
            raise ConfigError(f"{name} has {len(stored)} ROIs, not {per_class}.")
        parts.append(np.asarray(stored[:per_class], np.float32))
        labels.append(np.full(per_class, position))
    return np.concatenate(parts), np.concatenate(labels).astype(np.int64)


def repeated(
    folder: RunFolder, manifest: Manifest, task: TrainClassifier, fold: Fold, per_class: int
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Plain ROIs of the training lesions, ``per_class`` of each class.

    All of a class come as often, give or take one; which come once more follows from the seed.
    """
    parts, labels = [], []
    for key in fold.scheme.keys:
        own, label = classic_rois(folder, manifest, task.seed, list(fold.train.only(key)), 0)
        order = np.random.default_rng(seed_for("repeated", key, task.part, task.fold, task.seed))
        chosen = np.resize(order.permutation(len(own)), per_class)
        parts.append(own[chosen])
        labels.append(label[chosen])
    return np.concatenate(parts), np.concatenate(labels)


def failed_generator(
    folder: RunFolder, kind: str, part: str, fold: int, seed: int, keys: Sequence[str]
) -> tuple[str, str] | None:
    """The first generator of a part of a fold that could not be trained, and why."""
    for key in keys:
        generator = generator_of(kind, part, fold, seed, key)
        fared = folder.result(generator).fared
        if isinstance(fared, Collapsed):
            return generator.name, fared.failed
    return None


def _synthetic_per_class(
    settings: Experiment, manifest: Manifest, task: TrainClassifier, fold: Fold
) -> int:
    """Synthetic ROIs per class of a training; a smaller part gets as many per lesion."""
    total = task.size.synthetic * (settings.folds - 1)
    if task.part == OUTER:
        return total
    whole = fold_of(manifest, settings, task.seed, task.fold, OUTER)
    return round(total * len(fold.train) / len(whole.train))


def training_set(
    folder: RunFolder, settings: Experiment, manifest: Manifest, task: TrainClassifier, fold: Fold
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """What a classifier is trained on: (n, 64, 64) in [-1, 1] and class positions (n,).

    Raises:
        LeakageError, ConfigError: as ``synthetic_rois``; LeakageError, too, where a patient who was
            simulated afresh is in the data set.
    """
    size = task.size
    parts: list[tuple[Pixels, npt.NDArray[np.int64]]] = []
    if size.real:
        whole = fold_of(manifest, settings, task.seed, task.fold, OUTER)
        each = views_each(settings, whole, size.classic)
        parts.append(classic_rois(folder, manifest, task.seed, list(fold.train), each))
    if size.source in (*GeneratorKind, arms.PASTED):
        count = _synthetic_per_class(settings, manifest, task, fold)
        numbered = replace(fold, index=task.fold)
        parts.append(synthetic_rois(folder, numbered, size.source, task.part, task.seed, count))
    elif size.source == "real":
        count = _synthetic_per_class(settings, manifest, task, fold)
        parts.append(repeated(folder, manifest, task, fold, count))
    elif size.source == "oracle":
        fresh = fresh_phantoms.load(
            fresh_of(settings, manifest), fresh_phantoms.ORACLE, folder.fresh, manifest.scheme.keys
        )
        if set(fresh.patients) & manifest.patients:
            raise LeakageError("A fresh patient is in the data set; set fresh_seed to another.")
        for position in range(len(manifest.scheme)):
            # every lesion once before any is seen a second way
            own = fresh.rois[fresh.labels == position].swapaxes(0, 1).reshape(-1, 64, 64)
            count = size.synthetic * (settings.folds - 1)
            parts.append((own[:count], np.full(len(own[:count]), position, np.int64)))
    return np.concatenate([rois for rois, _ in parts]), np.concatenate([of for _, of in parts])


def fresh_of(settings: Experiment, manifest: Manifest) -> tuple[fresh_phantoms.Chunk, ...]:
    """The fresh lesions that a run on this data set needs; none where there can be none."""
    if not fresh_phantoms.possible(manifest):
        return ()
    most = settings.synthetic_of(len(manifest.scheme))[-1]
    return fresh_phantoms.chunks(settings, most, settings.folds - 1, manifest.of_phantom)
