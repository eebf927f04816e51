"""Checkpoints out of a finished experiment: what a run trained, in the form that serves.

Released are networks of the first fold and seed: the classifiers of the classic arms and of the
arms with synthetic ROIs at the size that nested selection chose, scored on the patients that the
fold held out, and the DCGAN of each class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ml.checkpoints.checkpoint import Checkpoint, current_commit, tensors_from_bytes
from ml.config import Experiment
from ml.dataset.manifest import Manifest
from ml.experiment import arms, trainings
from ml.progress import RunDir
from ml.statistics import classification
from ml.training.networks import export

RELEASED = (arms.NONE, arms.CLASSIC, arms.DCGAN, arms.ACGAN, arms.EQUAL)
_FOLD = 0


def checkpoints(
    settings: Experiment, manifest: Manifest, run: RunDir, stem: str, preset: str
) -> list[Checkpoint]:
    """Export the networks of a finished run to ``run/checkpoints``.

    Args:
        stem: the beginning of every checkpoint's name.
        preset: the name of ``settings``, which every card repeats.
    """
    place = trainings.Place(manifest.root, run.path, run.path / "fresh")
    made = [
        _classifier(settings, manifest, run, place, point, stem, preset)
        for point in _chosen(settings, manifest, run)
        if (place.task(_name(point, settings)).path / "weights.safetensors").exists()
    ]
    for key in manifest.scheme.keys:
        task = trainings.generator_of("dcgan", trainings.OUTER, _FOLD, settings.seed, key)
        if "failed" not in place.result(task.name):
            made.append(_generator(settings, manifest, run, place, task, stem, preset))
    return made


def _name(point: arms.Point, settings: Experiment) -> str:
    return trainings.Classifier(point, trainings.OUTER, _FOLD, settings.seed).name


def _chosen(settings: Experiment, manifest: Manifest, run: RunDir) -> list[arms.Point]:
    """The size of each released arm in the first fold, as nested selection chose it."""
    classes = len(manifest.scheme)
    sizes = {
        (
            entry["name"],
            entry["chosen_per_fold"][_FOLD]["classic_per_fold"],
            entry["chosen_per_fold"][_FOLD]["synthetic_per_fold"],
        )
        for entry in run.read_json("results.json")["arms"]
        if entry["selection"] == "nested" and entry["seed"] == settings.seed
    }

    def size(point: arms.Point) -> tuple[str, int, int]:
        return point.arm, point.classic, classes * point.synthetic if point.source else 0

    every = arms.points(settings, classes, oracle=False)
    return [point for point in every if point.arm in RELEASED and size(point) in sizes]


def _classifier(
    settings: Experiment,
    manifest: Manifest,
    run: RunDir,
    place: trainings.Place,
    point: arms.Point,
    stem: str,
    preset: str,
) -> Checkpoint:
    folder = place.task(_name(point, settings)).path
    fold = trainings.fold_of(manifest, settings, settings.seed, _FOLD, trainings.OUTER)
    with np.load(folder / "outputs.npz") as outputs:
        lines = [manifest.lines[row] for row in outputs["rows"]]
        probabilities = outputs["probabilities"].astype(np.float64)
    truth = [manifest.scheme.index(line.lesion_class) for line in lines]
    patients = [line.patient for line in lines]
    scored = classification.score(truth, probabilities, patients, manifest.scheme.keys)
    notes = [
        f"Arm {point.arm} of an experiment: per training fold {point.classic} classic ROIs and "
        f"{point.synthetic} synthetic ones of each class.",
        f"Trained on the {len(fold.train)} lesions of {len(fold.train.patients)} patients of "
        f"{settings.folds - 1} of {settings.folds} folds, tested on the {len(fold.test)} lesions "
        f"of the other {len(fold.test.patients)}; the size was chosen on a part of the training "
        "patients.",
    ]
    tensors = tensors_from_bytes((folder / "weights.safetensors").read_bytes())
    described = _describe(
        settings, manifest, f"{stem}-{point.arm.replace('+', '-')}", "classifier", preset
    )
    metrics: dict[str, Any] = {
        "test": scored.to_dict(),
        "training": {"n_lesions": len(fold.train), "n_patients": len(fold.train.patients)},
        "notes": notes,
    }
    made = replace(described, metrics=metrics)
    return made.save(run.path / "checkpoints" / made.name, export.classifier(tensors), tensors)


def _generator(
    settings: Experiment,
    manifest: Manifest,
    run: RunDir,
    place: trainings.Place,
    task: trainings.Generator,
    stem: str,
    preset: str,
) -> Checkpoint:
    result = place.result(task.name)
    tensors = tensors_from_bytes(
        (place.task(task.name).path / "generator.safetensors").read_bytes()
    )
    described = _describe(
        settings, manifest, f"{stem}-dcgan-{task.lesion_class}", "generator", preset
    )
    fold = trainings.fold_of(manifest, settings, settings.seed, _FOLD, trainings.OUTER)
    patients = fold.train.only(task.lesion_class).patients
    made = replace(
        described,
        lesion_class=task.lesion_class,
        latent_size=settings.gan.latent,
        metrics={
            "generator_steps": result["steps"],
            "attempts": result["attempts"],
            "training": {"n_lesions": result["lesions"], "n_patients": len(patients)},
            "notes": [f"Trained on {result['lesions']} lesions of the first fold's patients."],
        },
    )
    return made.save(run.path / "checkpoints" / made.name, export.generator(tensors), tensors)


def _describe(
    settings: Experiment, manifest: Manifest, name: str, kind: str, preset: str
) -> Checkpoint:
    generator = kind == "generator"
    return Checkpoint(
        name=name,
        kind=kind,
        scheme=manifest.scheme,
        lesion_class=manifest.scheme.keys[0] if generator else None,
        window_hu=settings.window_hu,
        training_kind=manifest.kind,
        grey_range=manifest.grey_range,
        dataset_digest=manifest.digest,
        dataset_name=manifest.name,
        commit=current_commit(),
        preset=preset,
        config=settings.dump(),
        metrics={},
        latent_size=settings.gan.latent if generator else None,
    )
