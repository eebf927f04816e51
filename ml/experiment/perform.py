"""The tasks done (torch): each reads files, computes with one thread, and leaves files."""

from __future__ import annotations

import io
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml.checkpoints.checkpoint import tensors_from_bytes, tensors_to_bytes
from ml.config import Experiment, GeneratorKind, Mixing, SimpleModel
from ml.dataset.augment import Drawn, views_of
from ml.dataset.folds import Fold
from ml.dataset.manifest import Line, Manifest
from ml.experiment import arms, fresh_phantoms, measured_lesions, pasted
from ml.experiment.folder import RunFolder
from ml.experiment.outcomes import ClassifierOutcome, Collapsed, GeneratorOutcome
from ml.experiment.parallel import Watch
from ml.experiment.spent import DRAWN
from ml.experiment.tasks import (
    OUTER,
    CutPasted,
    CutViews,
    DrawFresh,
    TrainClassifier,
    TrainGenerator,
    Training,
    generator_of,
)
from ml.experiment.tissue import TissueError
from ml.experiment.tissue.stock import Stock
from ml.experiment.training_sets import (
    LINES_AT_A_TIME,
    Pixels,
    classic_rois,
    failed_generator,
    fold_of,
    fresh_of,
    manifest_of,
    training_set,
    views_each,
    views_needed,
)
from ml.ground.records import to_json
from ml.images.roi import View
from ml.progress import Progress, RunDir
from ml.training import (
    acgan,
    classifier,
    drawing,
    gan,
    joint,
    runtime,
    simple,
    visual_words,
    watched,
)
from ml.training.learned import EndedTraining, GeneratorTraining
from ml.training.networks import acgan as acgan_networks

_SCORE_BATCH = 256
_DRAWN_AT_ONCE = 32
"""ROIs between two looks at whether the run is to stop."""
_MIXED = {arms.MIXUP: Mixing.MIXUP, arms.CUTMIX: Mixing.CUTMIX}


def perform(folder: RunFolder, settings: Experiment, task: Training) -> None:
    """Do one task, unless its files say that it is done; a killed one goes on where it stopped."""
    runtime.prepare()
    watch = Watch(folder.stop, folder.owner)
    steps = _steps(folder, settings, task)
    watch()
    for _ in steps:
        watch()


def _steps(folder: RunFolder, settings: Experiment, task: Training) -> Iterator[Progress]:
    match task:
        case CutViews():
            return _views(folder, settings, task)
        case CutPasted():
            return _pasted(folder, settings, task)
        case DrawFresh():
            return _fresh(folder, task)
        case TrainGenerator():
            return _generator(folder, settings, task)
        case TrainClassifier():
            return _classifier(folder, settings, task)


def _views(folder: RunFolder, settings: Experiment, task: CutViews) -> Iterator[Progress]:
    if folder.is_done(task):
        return
    manifest = manifest_of(folder.data)
    each = views_needed(manifest, settings, task.seed)
    lines = manifest.lines[task.start : task.start + LINES_AT_A_TIME]
    rois = np.empty((len(lines), 1 + each, 64, 64), np.float16)
    records: list[str] = []
    for i, line in enumerate(lines):
        views = [View(), *views_of(line, settings.augment, task.seed)[:each]]
        for k, view in enumerate(views):
            rois[i, k] = manifest.roi(line, settings.window_hu, view)
            records.append(json.dumps(Drawn(line.id, view).to_dict()))
        yield Progress(i + 1, len(lines), "cutting ROIs")
    out = folder.views(task.seed)
    out.write_bytes(f"{task.start}.jsonl", ("\n".join(records) + "\n").encode())
    _write_array(out, f"{task.start}.npy", rois)


def _pasted(folder: RunFolder, settings: Experiment, task: CutPasted) -> Iterator[Progress]:
    if folder.has_result(task.name):
        return
    if folder.tissue is None:
        raise TissueError("The run's pasted lesions are not cut: give their folder with --tissue.")
    manifest, key = manifest_of(folder.data), task.lesion_class
    most = max(pasted.needed(settings, len(manifest.scheme)), settings.fidelity_rois)
    rois, outcome = pasted.cut(Stock.load(folder.tissue), key, most, settings.window_hu)
    out = folder.task(task.name)
    _write_array(out, f"rois-{key}.npy", rois)
    out.write_json("result.json", to_json(outcome))
    yield Progress(1, 1, task.name)


def _fresh(folder: RunFolder, task: DrawFresh) -> Iterator[Progress]:
    fresh_phantoms.make(task.chunk, folder.fresh)
    fresh_phantoms.refuse_same(manifest_of(folder.data), task.chunk, folder.fresh)
    yield Progress(1, 1, task.name)


# -- generators -----------------------------------------------------------------------------------


def _generator(folder: RunFolder, settings: Experiment, task: TrainGenerator) -> Iterator[Progress]:
    if folder.has_result(task.name):
        return
    manifest = manifest_of(folder.data)
    out = folder.task(task.name)
    fold = fold_of(manifest, settings, task.seed, task.fold, task.part)
    whole = fold_of(manifest, settings, task.seed, task.fold, OUTER)
    own = fold.train.only(task.lesion_class) if task.lesion_class else fold.train
    each = views_each(settings, whole, settings.base)
    pixels, labels = classic_rois(folder, manifest, task.seed, list(own), each)
    kind = GeneratorKind(task.kind)
    seed = (task.kind, task.lesion_class, task.part, task.fold, task.seed)
    keys = manifest.scheme.keys

    def ended(fared: Collapsed | GeneratorTraining) -> None:
        outcome = GeneratorOutcome(
            kind=task.kind,
            lesion_class=task.lesion_class or None,
            part=task.part,
            fold=task.fold,
            seed=task.seed,
            patients=tuple(sorted(own.patients)),
            lesions=len(own),
            rois=len(pixels),
            fared=fared,
        )
        out.write_json("result.json", to_json(outcome))

    device = settings.device
    try:
        if kind == GeneratorKind.DCGAN:
            yield from gan.fit(pixels, settings.gan, out, *seed, device=device)
        elif kind == GeneratorKind.ACGAN:
            yield from acgan.fit(
                pixels, labels, len(keys), settings.acgan, out, *seed, device=device
            )
        else:
            watch = watched.Watch.of(manifest, list(own), settings.window_hu)
            yield from joint.fit(
                kind, pixels, labels, len(keys), settings, out, *seed, watch=watch, device=device
            )
    except gan.CollapseError as error:
        ended(Collapsed(str(error)))
        return
    most = arms.most_synthetic(settings, len(keys), kind) * (settings.folds - 1)
    count = max(most, settings.fidelity_rois)
    for key in [task.lesion_class] if task.lesion_class else keys:
        rois = yield from _draw(out, settings, task, len(keys), keys.index(key), count)
        _write_array(out, f"rois-{key}.npy", rois.astype(np.float16))
    ended(EndedTraining.load(out).learned)


def _draw(
    out: RunDir, settings: Experiment, task: TrainGenerator, classes: int, position: int, count: int
) -> Generator[Progress, None, Pixels]:
    """ROIs of one class: image i is that of seed i, as a checkpoint of the generator serves it."""
    tensors = tensors_from_bytes((out.path / "generator.safetensors").read_bytes())
    kind, parts = GeneratorKind(task.kind), []
    draw = drawing.drawer(kind, tensors, settings, classes, position, settings.device)
    for first in range(0, count, _DRAWN_AT_ONCE):
        seeds = range(first, min(count, first + _DRAWN_AT_ONCE))
        parts.append(draw(seeds))
        drawn = Progress(seeds.stop, count, f"{task.name}: {seeds.stop} of {count} {DRAWN}")
        out.log(drawn)
        yield drawn
    return np.concatenate(parts)


# -- classifiers ----------------------------------------------------------------------------------


def _classifier(
    folder: RunFolder, settings: Experiment, task: TrainClassifier
) -> Iterator[Progress]:
    if folder.has_result(task.name):
        return
    manifest = manifest_of(folder.data)
    out = folder.task(task.name)
    fold = fold_of(manifest, settings, task.seed, task.fold, task.part)
    source, keys = task.size.source, manifest.scheme.keys
    if source in tuple(GeneratorKind):
        failed = failed_generator(folder, source, task.part, task.fold, task.seed, keys)
        if failed:
            outcome = ClassifierOutcome(failed=": ".join(failed))
            out.write_json("result.json", to_json(outcome))
            return
    trained = ClassifierOutcome()
    if task.size.arm == arms.FEATURES:
        yield from _features(folder, settings, manifest, task, fold)
        return
    if task.size.arm == arms.VISUAL:
        yield from _visual_words(folder, settings, manifest, task, fold)
        return
    if task.size.arm == arms.DISCRIMINATOR:
        network = _discriminator(folder, settings, manifest, task, fold)
    else:
        pixels, labels = training_set(folder, settings, manifest, task, fold)
        recipe = settings.classifier
        steps = -(-len(pixels) // recipe.batch)
        recipe = replace(recipe, epochs=max(recipe.epochs, -(-settings.least_steps // steps)))
        trained = ClassifierOutcome(
            rois=len(pixels), steps=steps * recipe.epochs, epochs=recipe.epochs
        )
        seed = (task.size.name, task.part, task.fold, task.seed)
        classes = len(manifest.scheme)
        network = classifier.build(classes, classifier.mean_of(pixels), recipe, *seed)
        yield from classifier.fit(
            network, pixels, labels, recipe, out, *seed, device=settings.device,
            mixing=_MIXED.get(task.size.arm),
        )  # fmt: skip
    tested = list(fold.test)
    rois = _plain(manifest, settings, tested)
    outputs: dict[str, npt.NDArray[Any]] = {
        "rows": np.asarray([_row(manifest)[line.id] for line in tested], np.int64),
        "probabilities": probabilities(network, rois, settings.device)
        if tested
        else np.empty((0, len(keys)), np.float32),
    }
    if task.part == OUTER and (needed := fresh_of(settings, manifest)):
        lesions = _fresh_lesions(needed, folder.fresh, manifest.scheme.keys)
        fresh = probabilities(network, lesions.rois[:, 0], settings.device)
        outputs["fresh"] = fresh.argmax(axis=1).astype(np.uint8)
    if task.part == OUTER and task.fold == 0 and task.seed == settings.seed:
        out.write_bytes("weights.safetensors", tensors_to_bytes(runtime.arrays(network)))
    _leave(out, outputs, trained)


def _leave(out: RunDir, outputs: dict[str, npt.NDArray[Any]], trained: ClassifierOutcome) -> None:
    out.write_arrays("outputs.npz", outputs)
    out.write_json("result.json", to_json(trained))


def _features(
    folder: RunFolder, settings: Experiment, manifest: Manifest, task: TrainClassifier, fold: Fold
) -> Iterator[Progress]:
    """The simple model on the real training lesions; it sees no view of them."""
    with_size = measured_lesions.sized(folder, settings, manifest)
    values = measured_lesions.of_data(folder.data, settings.window_hu, with_size)
    yield Progress(1, 2, f"{task.name}: lesions measured")
    row = _row(manifest)
    train, test = (
        np.asarray([row[line.id] for line in side], np.int64) for side in (fold.train, fold.test)
    )
    keys = manifest.scheme.keys
    labels = np.asarray([manifest.scheme.index(line.lesion_class) for line in fold.train])
    tested = [values[test]]
    if task.part == OUTER and (needed := fresh_of(settings, manifest)):
        window = settings.window_hu
        tested.append(measured_lesions.of_fresh(needed, folder.fresh, keys, window, with_size))
        yield Progress(1, 2, f"{task.name}: fresh lesions measured")
    seed = (task.part, task.fold, task.seed)
    model = SimpleModel(task.size.model)
    both = np.concatenate(tested)
    table = simple.probabilities(model, values[train], labels, both, len(keys), *seed)
    trained = ClassifierOutcome(rois=len(train), measurements=values.shape[1], with_size=with_size)
    _leave_table(folder.task(task.name), test, table, len(tested) > 1, trained)
    yield Progress(2, 2, task.name)


def _visual_words(
    folder: RunFolder, settings: Experiment, manifest: Manifest, task: TrainClassifier, fold: Fold
) -> Iterator[Progress]:
    """Words of the real training lesions' patches; it sees no view of them."""
    keys, row = manifest.scheme.keys, _row(manifest)
    train, tested = (_plain(manifest, settings, list(side)) for side in (fold.train, fold.test))
    labels = np.asarray([manifest.scheme.index(line.lesion_class) for line in fold.train])
    test = np.asarray([row[line.id] for line in fold.test], np.int64)
    fresh = fresh_of(settings, manifest) if task.part == OUTER else ()
    if fresh:
        lesions = _fresh_lesions(fresh, folder.fresh, keys)
        tested = np.concatenate([tested, lesions.rois[:, 0]])
    yield Progress(1, 2, f"{task.name}: ROIs read")
    seed = (task.part, task.fold, task.seed)
    words = int(task.size.model)
    table = visual_words.probabilities(words, train, labels, tested, len(keys), *seed)
    trained = ClassifierOutcome(rois=len(train))
    _leave_table(folder.task(task.name), test, table, bool(fresh), trained)
    yield Progress(2, 2, task.name)


def _leave_table(
    out: RunDir,
    rows: npt.NDArray[np.int64],
    table: npt.NDArray[np.float64],
    fresh: bool,
    trained: ClassifierOutcome,
) -> None:
    """Probabilities of the lines of these rows, and what is said of fresh lesions behind them."""
    outputs = {"rows": rows, "probabilities": table[: len(rows)]}
    if fresh:
        outputs["fresh"] = table[len(rows) :].argmax(axis=1).astype(np.uint8)
    _leave(out, outputs, trained)


def _plain(manifest: Manifest, settings: Experiment, lines: Sequence[Line]) -> Pixels:
    """(n, 64, 64) of some lines as they are."""
    rois = np.empty((len(lines), 64, 64), np.float32)
    for i, line in enumerate(lines):
        rois[i] = manifest.roi(line, settings.window_hu)
    return rois


class _Named(torch.nn.Module):
    """The class head of an ACGAN's discriminator as a classifier."""

    def __init__(self, discriminator: acgan_networks.Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, rois: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.discriminator(rois)[1]
        return logits


def _discriminator(
    folder: RunFolder, settings: Experiment, manifest: Manifest, task: TrainClassifier, fold: Fold
) -> torch.nn.Module:
    """Its batch normalisation is given the statistics of real training ROIs alone.

    Those of training are a mixture of real and generated batches, which no test ROI comes from.
    """
    name = generator_of("acgan", task.part, task.fold, task.seed, "").name
    stored = (folder.task(name).path / "discriminator.safetensors").read_bytes()
    classes = len(manifest.scheme)
    network = acgan_networks.Discriminator(classes, settings.acgan.discriminator_width)
    tensors = tensors_from_bytes(stored)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    device = runtime.device(settings.device)
    network.to(device)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None
    each = views_each(settings, fold, settings.base)
    pixels, _ = classic_rois(folder, manifest, task.seed, list(fold.train), each)
    order = runtime.generator("statistics", task.name).permutation(len(pixels))
    with torch.no_grad():
        for part in torch.split(torch.from_numpy(order), settings.acgan.batch):
            network(torch.from_numpy(pixels[part.numpy()])[:, None].to(device))
    return _Named(network)


def probabilities(network: torch.nn.Module, rois: Pixels, device: str) -> Pixels:
    """(n, classes) for ROIs (n, 64, 64) in [-1, 1]."""
    network.eval()
    target = runtime.device(device)
    with torch.no_grad():
        parts = [
            network(part[:, None].to(target)).softmax(1).cpu()
            for part in torch.split(torch.from_numpy(np.ascontiguousarray(rois)), _SCORE_BATCH)
        ]
    found: Pixels = torch.cat(parts).numpy()
    return found


@lru_cache(maxsize=1)
def _fresh_lesions(
    needed: tuple[fresh_phantoms.Chunk, ...], folder: Path, keys: tuple[str, ...]
) -> fresh_phantoms.FreshLesions:
    return fresh_phantoms.load(needed, fresh_phantoms.TEST, folder, keys)


def _row(manifest: Manifest) -> dict[str, int]:
    return {line.id: i for i, line in enumerate(manifest.lines)}


def _write_array(out: RunDir, name: str, array: npt.NDArray[Any]) -> None:
    stream = io.BytesIO()
    np.save(stream, array)
    out.write_bytes(name, stream.getbuffer())  # type: ignore[arg-type]
