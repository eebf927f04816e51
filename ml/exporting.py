"""Networks of a run as checkpoints that serve: those of the first seed and the first fold.

They were trained on two of three folds and tested on the third, so each carries figures of its
own; the experiment's figures are about the method, over all folds and seeds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from ml import arms, evaluation, trainings
from ml.checkpoint import Checkpoint, tensors_from_bytes
from ml.evaluation import NESTED, Outputs
from ml.metrics import classification
from ml.progress import Progress
from ml.trainings import OUTER, Place

FOLDER = "checkpoints"
_EXPORTED = (arms.NONE, arms.CLASSIC, arms.DCGAN, arms.ACGAN)


def possible() -> bool:
    """Whether ONNX is installed here; a machine that only trains need not have it."""
    return importlib.util.find_spec("onnx") is not None


def checkpoints(place: Place, outputs: Outputs, commit: str, command: str) -> Iterator[Progress]:
    """Write RUN/checkpoints/NAME: one classifier per arm, one DCGAN generator per class."""
    from ml.networks import export

    settings, manifest = outputs.settings, outputs.manifest
    seed = outputs.seeds[0]
    fold = trainings.fold_of(manifest, settings, seed, 0, OUTER)
    told: dict[str, Any] = {
        "scheme": manifest.scheme,
        "window_hu": settings.window_hu,
        "training_kind": manifest.kind,
        "dataset_digest": manifest.digest,
        "dataset_name": manifest.name,
        "commit": commit,
        "config": settings.dump(),
        "command": command,
    }
    picked = outputs.selected(NESTED, seed)
    of_fold = (
        f"Trained on {len(fold.train)} lesions of {len(fold.train.patients)} patients; the "
        f"{len(fold.test.patients)} patients of fold 0 were never seen."
    )
    names = [arm for arm in _EXPORTED if arm in picked]
    total = len(names) + len(manifest.scheme)
    for done, arm in enumerate(names, 1):
        point = picked[arm].points[0]
        task = trainings.Classifier(point, OUTER, 0, seed).name
        stored = (place.task(task).path / "weights.safetensors").read_bytes()
        tensors = tensors_from_bytes(stored)
        name = arm.replace("+", "-")
        Checkpoint(
            name=name,
            kind="classifier",
            lesion_class=None,
            metrics={
                "test": _score(outputs, picked[arm], fold.test.patients),
                "notes": [of_fold, f"Arm {arm} of an experiment: {point.name}, seed {seed}."],
            },
            **told,
        ).save(place.run / FOLDER / name, export.classifier(tensors), tensors)
        yield Progress(done, total, f"checkpoint {name}")
    for done, key in enumerate(manifest.scheme.keys, len(names) + 1):
        task = trainings.Generator("dcgan", OUTER, 0, seed, key).name
        result = place.result(task)
        if "failed" in result:
            continue
        stored = (place.task(task).path / "generator.safetensors").read_bytes()
        tensors = tensors_from_bytes(stored)
        name = f"dcgan-{key.replace('_', '-')}"
        Checkpoint(
            name=name,
            kind="generator",
            lesion_class=key,
            latent_size=settings.gan.latent,
            metrics={
                "spread_as_share_of_real": result["spread"] / result["spread_real"],
                "nearest_other_sample_correlation": result["nearest"],
                "nearest_other_real_correlation": result["nearest_real"],
                "attempts": result["attempts"],
                "generator_steps": result["steps"],
                "notes": [of_fold, f"Generator {task} of an experiment."],
            },
            **told,
        ).save(place.run / FOLDER / name, export.generator(tensors), tensors)
        yield Progress(done, total, f"checkpoint {name}")


def _score(
    outputs: Outputs, outcome: evaluation.Outcome, patients: frozenset[str]
) -> dict[str, Any]:
    rows = np.flatnonzero([patient in patients for patient in outputs.patients])
    return classification.score(
        outputs.truth[rows],
        outcome.probabilities[rows],
        [outputs.patients[row] for row in rows],
        outputs.keys,
        outputs.settings.resamples,
        outputs.settings.seed,
    ).to_dict()
