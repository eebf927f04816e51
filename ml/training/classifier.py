"""Training of the classifier: augmented ROIs of the training patients → a checkpoint.

Nothing is chosen on the held-out patients: settings are fixed before, the last epoch's weights
are kept, and the test fold is scored once, through the ONNX file that will serve.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml import config
from ml.checkpoints import saving
from ml.checkpoints.checkpoint import (
    current_commit,
    tensors_from_bytes,
    tensors_to_bytes,
)
from ml.checkpoints.members import Ensemble, Tensors, joined
from ml.checkpoints.metrics import ClassifierMetrics, HeldOutScore, TrainedOn
from ml.dataset import augment
from ml.dataset.folds import Fold, patient_folds
from ml.dataset.manifest import Manifest
from ml.dataset.measured import measured as measured_lesions
from ml.ground.records import to_json
from ml.images import quick
from ml.images.measurements import Measured
from ml.progress import Progress, RunDir, refuse_data_set
from ml.statistics import classification
from ml.training import runtime
from ml.training.cnn_steps import Steps, draw
from ml.training.described import described
from ml.training.judged import out_of_fold
from ml.training.kept import kept
from ml.training.learned import Unfinished
from ml.training.networks.cnn import Cnn
from ml.trust.evidence import Missing
from ml.trust.lesions import Lesions
from ml.trust.novelty import NoveltyError, Reference
from ml.trust.record import Looks, Trust, clause
from ml.trust.together import Together, together

if TYPE_CHECKING:  # the whole experiment trains where there is no ONNX
    from ml.checkpoints import serving

TRIED_ON = 100
"""Patients that a cross-validated classifier is tried on: about 1 minute of one core."""
_STATE = "state.safetensors"


def build(classes: int, mean: float, settings: config.Classifier, *seed: object) -> Cnn:
    """A fresh network; its weights follow from the seed alone."""
    with runtime.seeded("classifier", "weights", *seed):
        return Cnn(classes, mean, settings.dropout, settings.features, settings.width)


def mean_of(pixels: npt.NDArray[np.float32]) -> float:
    """Mean of all pixels of ROIs, mapped to [0, 1]: what the network takes off its input."""
    return float((pixels.mean(dtype=np.float64) + 1) / 2)


def fit(
    network: Cnn,
    pixels: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    settings: config.Classifier,
    out: RunDir,
    *seed: object,
    device: str = "cpu",
    mixing: config.Mixing | None = None,
) -> Iterator[Progress]:
    """Train ``network`` in place; a killed run goes on from its last whole epoch.

    Args:
        pixels: (n, 64, 64) in [-1, 1].
        labels: (n,) positions in the scheme.
        out: where the unfinished state is kept; it is removed at the end.
        seed: names this training; order, dropout and what is mixed follow from it.
        mixing: how ROIs are mixed in pairs, and their labels with them; None: not at all.

    Yields:
        One Progress per epoch with ``loss`` and ``accuracy`` on the training ROIs; of mixed ones
        the accuracy is that for the first of each pair.

    Raises:
        ConfigError: the loss is no finite number any more: too high a learning rate.
        StateError: the unfinished state in ``out`` is that of another training.
        DeviceError: this machine does not have the device.
    """
    target = runtime.device(device)
    mixed = () if mixing is None else (mixing,)
    task = runtime.task_of(pixels, labels.tolist(), sorted(settings.dump().items()), *seed, *mixed)
    pace = runtime.Pace()
    with runtime.stream(target):
        steps = Steps(network, pixels, labels, settings, target, mixing=mixing)
    modules, optimizers = {"network": network}, {"optimizer": steps.optimizer}
    told = runtime.load_state(out, _STATE, modules, optimizers, task)
    done = first = 0 if told is None else told.epochs

    def keep() -> None:
        with pace.saving():
            runtime.save_state(out, _STATE, modules, optimizers, Unfinished(task, done))

    kept = first
    try:
        drawn = draw(settings, len(pixels), first, *seed, mixing=mixing)
        for epoch in range(first, settings.epochs):
            with runtime.stream(target):
                steps.run(drawn)
                if epoch + 1 < settings.epochs:  # while a GPU is at work
                    drawn = draw(settings, len(pixels), epoch + 1, *seed, mixing=mixing)
                loss, accuracy = steps.told()
            if not np.isfinite(loss):
                raise config.ConfigError(
                    f"Training the classifier diverged in epoch {epoch + 1} (the loss is not a "
                    "number); lower classifier.learning_rate."
                )
            done = epoch + 1
            if pace.due():
                keep()
                kept = done
            step = Progress(
                done,
                settings.epochs,
                f"classifier epoch {done}: loss {loss:.3f}",
                {"loss": loss, "accuracy": accuracy},
            )
            out.log(step)
            yield step
    except GeneratorExit:
        if kept < done < settings.epochs:
            keep()
        raise
    network.eval()
    (out.path / _STATE).unlink(missing_ok=True)


def train(
    data: str | Path,
    settings: config.Config,
    out: str | Path,
    name: str = "classifier",
    checkpoint: str | Path | None = None,
    cross_validate: bool = False,
    command: str = "",
    device: str = "cpu",
    lower: bool = False,
    tried_on: int = TRIED_ON,
) -> Iterator[Progress]:
    """One classifier from a data set: split, augment, fit, export, score the held-out patients.

    Writes ``out``: ``config.json``, ``log.jsonl``, ``results.json`` and per fold the network and
    ``views.jsonl`` (every augmentation drawn); and the checkpoint, in ``out/checkpoint`` unless
    told where. A killed run goes on where it stopped, and a finished one makes another checkpoint
    of the same networks when ``classifier.committee`` alone is changed.

    Args:
        cross_validate: also train on every other fold, to test every lesion once; by those of
            training patients the checkpoint is calibrated. A committee of every fold needs it.
        command: recorded as the way to train it again.
        lower: lower ``augment.per_fold`` to what the lesions give, and say so, instead of refusing.
        tried_on: patients that a cross-validated classifier is tried on (`ml.training.trying`).
    """
    # not above: the whole experiment trains where there is no ONNX
    from ml.checkpoints import serving
    from ml.training.networks import export

    every_fold = settings.classifier.every_fold
    if every_fold and not cross_validate:
        raise config.ConfigError(
            "classifier.committee=every_fold serves the networks of every fold, and only one fold "
            "is trained on; add --cross-validate."
        )
    runtime.prepare()
    runtime.device(device)
    manifest = Manifest.load(Path(data))
    refuse_data_set(Path(out))
    folds = patient_folds(manifest, settings.folds, settings.seed)
    turns = [settings.test_fold]
    if cross_validate:
        turns += [i for i in range(settings.folds) if i != settings.test_fold]
    members = settings.classifier.members
    each = settings.classifier.epochs * members
    run = RunDir(Path(out))
    if lower:
        settings, words = augment.capped(settings, [folds[i].train for i in turns])
        if words:
            yield Progress(0, len(turns) * each, words, said=True)
    run.write_json("config.json", settings.dump())
    meta = described(manifest, settings, name, current_commit(), without="gan", command=command)
    lines, own_rois = manifest.lines, manifest.rois(settings.window_hu)
    rows = {line.id: i for i, line in enumerate(lines)}
    probabilities = np.full((len(lines), len(manifest.scheme)), np.nan)
    logits = probabilities.copy()
    alone = np.full((len(lines), members, len(manifest.scheme)), np.nan)
    networks: list[Tensors] = []
    by_fold: dict[int, tuple[serving.Classifier, npt.NDArray[np.float32]]] = {}
    for turn, index in enumerate(turns):
        folder = RunDir(run.path / f"fold-{index}")
        for step in _fit_fold(manifest, folds[index], settings, folder, device):
            text = f"fold {turn + 1} of {len(turns)}: {step.text}"
            seen = Progress(turn * each + step.done, len(turns) * each, text, step.figures)
            run.log(seen)
            yield seen
        trained = [_weights(_folder(folder, member)) for member in range(members)]
        networks += trained
        served = serving.Classifier(
            export.ensemble(trained, members),
            replace(meta, ensemble=Ensemble(members) if members > 1 else None),
        )
        tested = [rows[line.id] for line in folds[index].test]
        outputs = served.outputs(own_rois[tested])
        probabilities[tested], logits[tested] = outputs.probabilities, outputs.logits
        if outputs.members is not None:
            alone[tested] = outputs.members
        by_fold[index] = served, outputs.features

    first = RunDir(run.path / f"fold-{turns[0]}")
    tested = [rows[line.id] for line in folds[turns[0]].test]
    everyone = list(range(len(lines)))
    of_all = _score(manifest, everyone, probabilities) if cross_validate else None
    metrics = ClassifierMetrics(
        test=None if every_fold else _score(manifest, tested, probabilities),
        cross_validation=of_all,
        training=TrainedOn(len(lines), len(manifest.patients)) if every_fold else None,
        notes=tuple(_notes(folds[turns[0]], first, settings)),
    )
    if not every_fold:
        networks = networks[:members]
    if len(networks) > 1:
        meta = replace(meta, ensemble=Ensemble(len(networks), len(networks) // members))
    onnx = export.ensemble(networks, members)
    trust, lesions = None, None
    if cross_validate:
        serves = serving.Classifier(onnx, meta)
        trust, lesions = yield from _trust(
            manifest, own_rois, folds, by_fold, logits, alone, settings, serves, tried_on
        )
    saving.save(
        replace(meta, metrics=metrics),
        checkpoint or run.path / "checkpoint",
        onnx,
        joined(networks),
        trust=trust,
        lesions=lesions,
    )
    run.write_json("results.json", to_json(metrics))
    score, whose = metrics.test, "on held-out patients"
    if score is None:
        score, whose = of_all, "out of fold, the networks of each fold by themselves"
    value = score.balanced_accuracy.value if score else None
    total = len(turns) * each
    yield Progress(total, total, f"balanced accuracy {value:.3f} {whose}")


def _folder(fold: RunDir, member: int) -> RunDir:
    """Where a network of a fold is kept; the first one's is the fold's own."""
    return RunDir(fold.path / f"member-{member}") if member else fold


def _weights(folder: RunDir) -> Tensors:
    return tensors_from_bytes((folder.path / "weights.safetensors").read_bytes())


def _fit_fold(
    manifest: Manifest, fold: Fold, settings: config.Config, folder: RunDir, device: str
) -> Iterator[Progress]:
    """Train on one fold's training part and leave ``model.onnx`` and ``weights.safetensors``.

    Of several networks each is left in ``_folder``; all see the same ROIs, and differ in what they
    begin with, the order of the ROIs and what is dropped.
    """
    from ml.training.networks import export

    one, members = settings.classifier.of_one, settings.classifier.members
    task: dict[str, object] = {
        "digest": manifest.digest,
        "fold": fold.index,
        "config": {**replace(settings, classifier=one).dump(), "gan": None},
    }
    tasks = [task, *({**task, "member": member} for member in range(1, members))]
    left = [
        member for member, own in enumerate(tasks) if not _is_done(_folder(folder, member), own)
    ]
    if not left:
        return
    total = one.epochs
    rois = augment.Rois(manifest, settings.window_hu)
    drawn = augment.group(fold.train, settings.augment, settings.seed, settings.folds - 1)
    for step in rois.fill(fold.train, drawn):
        yield Progress(left[0] * total, members * total, step.text)
    views = "".join(json.dumps(record.to_dict()) + "\n" for record in rois.records)
    folder.write_bytes("views.jsonl", views.encode())
    for member in left:
        own = _folder(folder, member)
        name = (fold.index, settings.seed, *(("member", member) if member else ()))
        network = build(len(manifest.scheme), mean_of(rois.pixels), one, *name)
        told = f"network {member + 1} of {members}: " if members > 1 else ""
        for step in fit(network, rois.pixels, rois.labels, one, own, *name, device=device):
            done, text = member * total + step.done, told + step.text
            yield Progress(done, members * total, text, step.figures)
        tensors = runtime.arrays(network)
        own.write_bytes("weights.safetensors", tensors_to_bytes(tensors))
        own.write_bytes("model.onnx", export.classifier(tensors))
        own.write_json("task.json", tasks[member])


def _is_done(folder: RunDir, task: dict[str, object]) -> bool:
    return (folder.path / "task.json").exists() and folder.read_json("task.json") == task


def _trust(
    manifest: Manifest,
    rois: npt.NDArray[np.float32],
    folds: Sequence[Fold],
    by_fold: Mapping[int, tuple[serving.Classifier, npt.NDArray[np.float32]]],
    logits: npt.NDArray[np.float64],
    alone: npt.NDArray[np.float64],
    settings: config.Config,
    serves: serving.Classifier,
    tried_on: int,
) -> Generator[Progress, None, tuple[Trust, Lesions]]:
    """How far the network of ``settings.test_fold`` can be believed, or the committee; the lesions.

    Of several networks in each fold, what they say together is judged. A committee of every fold
    saw all lesions, so temperature, sets and limits are those of its part that had not seen each:
    a larger committee is right more often than its parts and no surer, so by the same temperature
    more cautious. What is unlike is told by the networks of the test fold, whose features the
    committee gives.

    Args:
        rois: of all lesions, in the order of the lines.
        by_fold: of each fold its network, and the features that it has of the fold's test lesions.
        logits: (lesions, classes), by the network of the fold that held each out.
        alone: (lesions, members, classes), by each of several networks.
        serves: the network that serves, or the committee.
        tried_on: patients to try it on.

    Yields:
        As ``trying.tables``.
    """
    from ml.training import trying  # it simulates, and whoever only trains need not be able to

    lines, window = manifest.lines, settings.window_hu
    rows = {line.id: i for i, line in enumerate(lines)}
    held_out_in = np.zeros(len(lines), np.int64)
    for fold in folds:
        held_out_in[[rows[line.id] for line in fold.test]] = fold.index
    lesions = out_of_fold(manifest, logits, held_out_in)
    measured = measured_lesions(manifest, window, quick.measure)
    distances = np.full((len(lines), 2), np.nan)
    references: dict[int, Reference | Missing] = {}
    for index, (served, features) in by_fold.items():
        own = [rows[line.id] for line in folds[index].train]
        trained = served.outputs(rois[own])
        references[index] = reference = _reference(
            trained.features, measured.rows(own), lesions.labels[own], manifest
        )
        if isinstance(reference, Reference):
            tested = [rows[line.id] for line in folds[index].test]
            distances[tested] = reference.scores(features, measured.values[tested])
    displays = tuple(one.display for one in manifest.scheme.classes)
    looks = Looks(measured, distances, references[settings.test_fold], displays)
    every_fold = settings.classifier.every_fold
    held_out = None if every_fold else settings.test_fold
    trust = Trust.of(lesions, held_out, looks, settings.seed)
    worth: Together | Missing | None = None
    if settings.classifier.members > 1:
        worth = together(lesions, alone, settings.seed)
    elif every_fold:
        worth = Missing(
            "each lesion was held out from one of the networks alone, so only lesions of other "
            "patients tell what they are worth together"
        )
    trust = replace(trust, figures=replace(trust.figures, together=worth))
    features = serves.outputs(rois).features
    trained = held_out_in != settings.test_fold
    shown = kept(manifest, rois, lesions, trust, trained, features, measured)
    networks = {index: (served, references[index]) for index, (served, _) in by_fold.items()}
    trust = yield from trying.tables(
        manifest, serves, trust, folds, networks, tried_on, settings.seed
    )
    return trust, shown


def _reference(
    features: npt.NDArray[np.float32],
    measured: Measured,
    truth: npt.NDArray[np.int64],
    manifest: Manifest,
) -> Reference | Missing:
    """The ROIs that a network was trained on, or why what is unlike them cannot be told."""
    try:
        return Reference.fit(features, measured, truth, manifest.scheme.keys)
    except NoveltyError as error:
        return Missing(clause(error))


def _score(
    manifest: Manifest, rows: list[int], probabilities: npt.NDArray[np.float64]
) -> HeldOutScore:
    lines = [manifest.lines[row] for row in rows]
    truth = [manifest.scheme.index(line.lesion_class) for line in lines]
    patients = [line.patient for line in lines]
    scored = classification.score(truth, probabilities[rows], patients, manifest.scheme.keys)
    return HeldOutScore.of(scored)


def _notes(fold: Fold, folder: RunDir, settings: config.Config) -> list[str]:
    with (folder.path / "views.jsonl").open() as stream:
        rois = sum(1 for _ in stream)
    lesions, tested = len(fold.train), len(fold.test)
    people, others = len(fold.train.patients), len(fold.test.patients)
    recipe = settings.classifier
    spread = (
        f"{settings.folds - 1} of {settings.folds} patient-separated folds) and "
        f"{rois - lesions} classic augmentations of them; no synthetic ROI."
    )
    paper = (
        f"{recipe.epochs} epochs at learning rate {recipe.learning_rate:g}; the paper: 150 at "
        "0.001."
    )
    several = (
        [
            f"{recipe.members} networks of a fold, alike but for their seeds: what they begin "
            "with, the order of the ROIs and what is dropped."
        ]
        if recipe.members > 1
        else []
    )
    if recipe.every_fold:
        return [
            f"The networks of all {settings.folds} folds serve together. Those of the first were "
            f"trained on {lesions} lesions of {people} patients ({spread}",
            *several,
            f"No lesion was held out from all of them, so the whole has no figure of its own. Each "
            f"of the {lesions + tested} lesions of {people + others} patients was tested once, by "
            "the networks that had not seen it; no setting was chosen on them.",
            paper,
        ]
    return [
        f"Trained on {lesions} lesions of {people} patients ({spread}",
        *several,
        f"Tested on the {tested} lesions of the other {others} patients, once, after training; no "
        "setting was chosen on them.",
        paper,
    ]
