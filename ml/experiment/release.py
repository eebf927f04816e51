"""Checkpoints out of a finished experiment: what a run trained, in the form that serves.

Released are networks of the first fold and seed: the classifiers of the classic arms and of the
arms with synthetic ROIs at the size that nested selection chose, scored on the patients that the
fold held out, and every kind of generator for each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml.checkpoints import saving, serving
from ml.checkpoints.checkpoint import (
    Checkpoint,
    current_commit,
    tensors_from_bytes,
)
from ml.checkpoints.metrics import (
    ClassifierMetrics,
    GeneratorMetrics,
    HeldOutScore,
    TrainedOn,
)
from ml.config import Experiment, GeneratorKind
from ml.dataset.manifest import Manifest
from ml.dataset.measured import measured
from ml.experiment import arms
from ml.experiment.folder import RunFolder
from ml.experiment.results import Results
from ml.experiment.results.scores import AddedPerFold, ArmScore, Selection
from ml.experiment.tasks import OUTER, TrainClassifier, TrainGenerator, generator_of
from ml.experiment.training_sets import fold_of
from ml.images import quick
from ml.progress import RunDir
from ml.statistics import classification
from ml.training.described import described
from ml.training.judged import out_of_fold
from ml.training.kept import kept
from ml.training.learned import GeneratorTraining
from ml.training.networks import export
from ml.trust.evidence import Missing
from ml.trust.lesions import Lesions
from ml.trust.record import Looks, Trust

RELEASED = (arms.NONE, arms.CLASSIC, arms.DCGAN, arms.ACGAN, *arms.FURTHER, arms.EQUAL)
_FOLD = 0
_LEAST = 1e-30
"""A probability that was stored as 0 was smaller than what its type holds."""


def checkpoints(
    settings: Experiment, manifest: Manifest, run: RunDir, stem: str, preset: str
) -> list[Checkpoint]:
    """Export the networks of a finished run to ``run/checkpoints``.

    Args:
        stem: the beginning of every checkpoint's name.
        preset: the name of ``settings``, which every card repeats.
    """
    folder = RunFolder(manifest.root, run.path, run.path / "fresh")
    made = [
        _classifier(settings, manifest, run, folder, size, stem, preset)
        for size in _chosen(settings, manifest, Results.load(run.path).found.scores.arms)
        if (folder.task(_name(size, settings)).path / "weights.safetensors").exists()
    ]
    for kind in (GeneratorKind.DCGAN, GeneratorKind.ACGAN, *settings.further_generators):
        for key in manifest.scheme.keys:
            task = generator_of(kind.value, OUTER, _FOLD, settings.seed, key)
            fared = folder.result(task).fared
            if isinstance(fared, GeneratorTraining):
                made.append(
                    _generator(settings, manifest, run, folder, task, key, fared, stem, preset)
                )
    return made


def _kind(size: arms.ArmSize) -> str:
    if size.source == arms.PASTED:
        return "phantom lesions in real tissue (the tissue is real, the lesions are simulated)"
    return "synthetic ones"


def _name(size: arms.ArmSize, settings: Experiment) -> str:
    return TrainClassifier(size, OUTER, _FOLD, settings.seed).name


def _chosen(
    settings: Experiment, manifest: Manifest, scores: Sequence[ArmScore]
) -> list[arms.ArmSize]:
    """The size of each released arm in the first fold, as nested selection chose it."""
    classes = len(manifest.scheme)
    chosen = {
        (score.name, score.chosen_per_fold[_FOLD])
        for score in scores
        if score.selection == Selection.NESTED and score.seed == settings.seed
    }

    def key(size: arms.ArmSize) -> tuple[str, AddedPerFold]:
        return size.arm, AddedPerFold(size.classic, classes * size.added)

    every = arms.sizes(settings, classes, oracle=False)
    return [size for size in every if size.arm in RELEASED and key(size) in chosen]


def _classifier(
    settings: Experiment,
    manifest: Manifest,
    run: RunDir,
    folder: RunFolder,
    size: arms.ArmSize,
    stem: str,
    preset: str,
) -> Checkpoint:
    task = folder.task(_name(size, settings)).path
    fold = fold_of(manifest, settings, settings.seed, _FOLD, OUTER)
    with np.load(task / "outputs.npz") as outputs:
        lines = [manifest.lines[row] for row in outputs["rows"]]
        probabilities = outputs["probabilities"].astype(np.float64)
    truth = [manifest.scheme.index(line.lesion_class) for line in lines]
    patients = [line.patient for line in lines]
    scored = classification.score(truth, probabilities, patients, manifest.scheme.keys)
    notes = [
        f"Arm {size.arm} of an experiment: per training fold {size.classic} classic ROIs and "
        f"{size.synthetic} {_kind(size)} of each class.",
        f"Trained on the {len(fold.train)} lesions of {len(fold.train.patients)} patients of "
        + (
            f"{settings.folds - 1} of {settings.folds} folds"
            if settings.tested_folds > 1
            else "the part that the data set names for it"
        )
        + f", tested on the {len(fold.test)} lesions "
        f"of the other {len(fold.test.patients)}; the size was chosen on a part of the training "
        "patients.",
    ]
    tensors = tensors_from_bytes((task / "weights.safetensors").read_bytes())
    name = f"{stem}-{size.arm.replace('+', '-')}"
    made = replace(
        described(manifest, settings, name, current_commit(), preset=preset),
        metrics=ClassifierMetrics(
            test=HeldOutScore.of(scored),
            training=TrainedOn(len(fold.train), len(fold.train.patients)),
            notes=tuple(notes),
        ),
    )
    target = run.path / "checkpoints" / made.name
    onnx = export.classifier(tensors)
    trust, lesions = _trust(settings, manifest, folder, size, serving.Classifier(onnx, made))
    return saving.save(made, target, onnx, tensors, trust=trust, lesions=lesions)


def _trust(
    settings: Experiment,
    manifest: Manifest,
    folder: RunFolder,
    size: arms.ArmSize,
    served: serving.Classifier,
) -> tuple[Trust, Lesions] | tuple[None, None]:
    """How far the first fold's network can be believed, by those of the other folds; the lesions.

    None where that size was not trained in every fold. The networks of the other folds are not
    kept, only what they said of the lesions that they had not seen.

    Args:
        served: the first fold's network.
    """
    if settings.tested_folds < 2:
        return None, None
    logits = np.full((len(manifest.lines), len(manifest.scheme)), np.nan)
    folds = np.zeros(len(manifest.lines), np.int64)
    for fold in range(settings.folds):
        task = TrainClassifier(size, OUTER, fold, settings.seed)
        if not folder.has_result(task.name) or folder.result(task).failed:
            return None, None
        with np.load(folder.task(task.name).path / "outputs.npz") as outputs:
            said = outputs["probabilities"].astype(np.float64)
            logits[outputs["rows"]] = np.log(np.maximum(said, _LEAST))
            folds[outputs["rows"]] = fold
    lesions = out_of_fold(manifest, logits, folds)
    looks = Looks(
        measured=measured(manifest, settings.window_hu, quick.measure),
        distances=np.full((len(lesions), 2), np.nan),
        reference=Missing("an experiment does not keep the networks of its other folds"),
        displays=tuple(one.display for one in manifest.scheme.classes),
    )
    trust = Trust.of(lesions, _FOLD, looks, settings.seed)
    rois, own = manifest.rois(settings.window_hu), folds != _FOLD
    features = served.outputs(rois).features
    return trust, kept(manifest, rois, lesions, trust, own, features, looks.measured)


def _generator(
    settings: Experiment,
    manifest: Manifest,
    run: RunDir,
    folder: RunFolder,
    task: TrainGenerator,
    drawn: str,
    training: GeneratorTraining,
    stem: str,
    preset: str,
) -> Checkpoint:
    tensors = tensors_from_bytes(
        (folder.task(task.name).path / "generator.safetensors").read_bytes()
    )
    kind = GeneratorKind(task.kind)
    fold = fold_of(manifest, settings, settings.seed, _FOLD, OUTER)
    own = fold.train.only(task.lesion_class) if task.lesion_class else fold.train
    made = replace(
        described(
            manifest,
            settings,
            f"{stem}-{kind}-{drawn}",
            current_commit(),
            draws=drawn,
            preset=preset,
            network=kind,
        ),
        metrics=GeneratorMetrics(
            generator_steps=training.steps,
            attempts=training.attempts,
            training=TrainedOn(len(own), len(own.patients)),
            notes=(f"Trained on {len(own)} lesions of the first fold's patients.",),
        ),
    )
    target = run.path / "checkpoints" / made.name
    position = manifest.scheme.index(drawn)
    model = export.of_class(kind, tensors, position, settings.diffusion.sigma_data)
    return saving.save(made, target, model, tensors)
