"""The tasks of an experiment: each reads files, computes with one thread, and leaves files.

RUN/views/SEED/      classic augmentations of all lesions, and what was drawn
RUN/fresh/           lesions of fresh phantom patients
RUN/tasks/NAME/      one generator or classifier: ``result.json`` is written last, and means done

A test patient cannot reach a training: tasks take their lines from a Fold, and synthetic ROIs say
which patients their generator saw.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml.checkpoints.checkpoint import tensors_from_bytes, tensors_to_bytes
from ml.config import ConfigError, Experiment
from ml.dataset.augment import Drawn, count_of, views_of
from ml.dataset.folds import Fold, LeakageError, patient_folds
from ml.dataset.manifest import Line, Manifest
from ml.experiment import arms
from ml.experiment import fresh_phantoms as freshphantoms
from ml.experiment.arms import Point
from ml.experiment.parallel import Watch
from ml.images.roi import View
from ml.progress import Progress, RunDir
from ml.training import acgan, classifier, gan, runtime
from ml.training.networks import acgan as acgan_networks
from ml.training.networks import dcgan as dcgan_networks

Pixels = npt.NDArray[np.float32]
OUTER, INNER = "outer", "inner"
"""Training patients of a fold; and the same without those set aside for validation."""
_LINES_AT_A_TIME = 24
_SCORE_BATCH = 256


@dataclass(frozen=True)
class Place:
    """Where a run reads and writes; picklable, so that a task can be sent anywhere.

    Attributes:
        owner: process id of the run, when its tasks are on the same machine.
        start: names this start of the run, of several.
    """

    data: Path
    run: Path
    fresh: Path
    owner: int = 0
    start: str = ""

    @property
    def stop(self) -> Path:
        """Appears when the tasks of this start are to end."""
        return self.run / f"stop{self.start}"

    def task(self, name: str) -> RunDir:
        return RunDir(self.run / "tasks" / name)

    def views(self, seed: int) -> RunDir:
        return RunDir(self.run / "views" / str(seed))

    def done(self, name: str) -> bool:
        return (self.run / "tasks" / name / "result.json").exists()

    def result(self, name: str) -> dict[str, Any]:
        result: dict[str, Any] = RunDir(self.run / "tasks" / name).read_json("result.json")
        return result


# -- tasks -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Views:
    """Cut the original and the classic augmentations of some lesions, for one seed."""

    seed: int
    start: int

    @property
    def name(self) -> str:
        return f"views-{self.seed}-{self.start}"


@dataclass(frozen=True)
class Fresh:
    """Simulate a chunk of fresh patients."""

    chunk: freshphantoms.Chunk

    @property
    def name(self) -> str:
        return f"fresh-{self.chunk.use}-{self.chunk.number}"


@dataclass(frozen=True)
class Generator:
    """Train a DCGAN of one class, or an ACGAN of all (empty ``lesion_class``), and draw from it."""

    kind: str
    part: str
    fold: int
    seed: int
    lesion_class: str = ""

    @property
    def name(self) -> str:
        of = f"-{self.lesion_class}" if self.lesion_class else ""
        return f"{self.kind}{of}-{self.part}-{self.fold}-{self.seed}"


@dataclass(frozen=True)
class Classifier:
    """Train one point of one arm, and score it on the lesions that its fold holds out."""

    point: Point
    part: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.point.name}-{self.part}-{self.fold}-{self.seed}"


Task = Views | Fresh | Generator | Classifier


def perform(place: Place, settings: Experiment, task: Task) -> None:
    """Do one task, unless its files say that it is done; a killed one goes on where it stopped."""
    runtime.prepare()
    watch = Watch(place.stop, place.owner)
    steps = {
        Views: _views,
        Fresh: _fresh,
        Generator: _generator,
        Classifier: _classifier,
    }[type(task)](place, settings, task)  # type: ignore[operator]
    watch()
    for _ in steps:
        watch()


def is_done(place: Place, task: Task) -> bool:
    if isinstance(task, Views):
        return (place.run / "views" / str(task.seed) / f"{task.start}.npy").exists()
    if isinstance(task, Fresh):
        return freshphantoms.is_made(task.chunk, place.fresh)
    return place.done(task.name)


# -- folds and training sets -----------------------------------------------------------------------


@lru_cache(maxsize=2)
def manifest_of(data: Path) -> Manifest:
    return Manifest.load(data)


def fold_of(manifest: Manifest, settings: Experiment, seed: int, index: int, part: str) -> Fold:
    """A fold of a seed's partition: tested on its test patients, or on its validation patients."""
    fold = patient_folds(manifest, settings.folds, seed)[index]
    return fold if part == OUTER else fold.validation(settings.validation_parts, seed)


def views_each(manifest: Manifest, settings: Experiment, fold: Fold, per_fold: int) -> int:
    """Classic ROIs per lesion; the same for all lesions (section IV-B)."""
    return round(per_fold * (settings.folds - 1) / len(fold.train)) if per_fold else 0


def views_needed(manifest: Manifest, settings: Experiment, seed: int) -> int:
    """Classic ROIs per lesion that some training of this seed asks for.

    Raises:
        ConfigError: more than a lesion can give.
    """
    per_fold = arms.most_classic(settings, len(manifest.scheme))
    folds = patient_folds(manifest, settings.folds, seed)
    each = max(views_each(manifest, settings, fold, per_fold) for fold in folds)
    smallest = min(settings.base, *settings.classic)
    if any(views_each(manifest, settings, fold, smallest) == 0 for fold in folds):
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


def capped(
    settings: Experiment, manifest: Manifest, seeds: int, kept: Collection[str] = ()
) -> tuple[Experiment, tuple[str, ...]]:
    """Settings whose sizes the data set's views allow, and one sentence for each that was lowered.

    Args:
        kept: names of settings that somebody asked for: they stay, to be refused if impossible.
    """
    classes = len(manifest.scheme)
    least = min((count_of(line, settings.augment) for line in manifest.lines), default=0)
    lesions = min(
        len(fold.train)
        for seed in range(settings.seed, settings.seed + seeds)
        for fold in patient_folds(manifest, settings.folds, seed)
    )
    most = least * lesions // (settings.folds - 1)
    if arms.most_classic(settings, classes) <= most:
        return settings, ()
    lowered = settings
    if "classic" not in kept:
        lowered = replace(lowered, classic=_at_most(settings.classic, most))
    if "base" not in kept:
        # synthetic ROIs stand beside it, and equal-compute replaces them by classic ones
        lowered = replace(lowered, base=max(1, min(settings.base, most // 2)))
    if "synthetic" not in kept:
        room = (most - lowered.base) // classes
        lowered = replace(lowered, synthetic=_at_most(settings.synthetic, max(1, room)))
    told = tuple(
        f"{name}={_spoken(getattr(lowered, name))}, not {_spoken(getattr(settings, name))}: "
        f"{lesions} training lesions with {least} views each give {most} classic ROIs per fold"
        for name in ("classic", "base", "synthetic")
        if getattr(lowered, name) != getattr(settings, name)
    )
    return lowered, told


def _at_most(sizes: Sequence[int], most: int) -> tuple[int, ...]:
    return tuple(sorted({min(size, max(1, most)) for size in sizes}))


def _spoken(sizes: int | Sequence[int]) -> str:
    return str(sizes) if isinstance(sizes, int) else "+".join(map(str, sizes))


def views_starts(manifest: Manifest) -> range:
    return range(0, len(manifest.lines), _LINES_AT_A_TIME)


def _views(place: Place, settings: Experiment, task: Views) -> Iterator[Progress]:
    if is_done(place, task):
        return
    manifest = manifest_of(place.data)
    each = views_needed(manifest, settings, task.seed)
    lines = manifest.lines[task.start : task.start + _LINES_AT_A_TIME]
    rois = np.empty((len(lines), 1 + each, 64, 64), np.float16)
    records: list[str] = []
    for i, line in enumerate(lines):
        views = [View(), *views_of(line, settings.augment, task.seed)[:each]]
        for k, view in enumerate(views):
            rois[i, k] = manifest.roi(line, settings.window_hu, view)
            records.append(json.dumps(Drawn(line.id, view).to_dict()))
        yield Progress(i + 1, len(lines), "cutting ROIs")
    folder = place.views(task.seed)
    folder.write_bytes(f"{task.start}.jsonl", ("\n".join(records) + "\n").encode())
    _write_array(folder, f"{task.start}.npy", rois)


def classic_rois(
    place: Place, manifest: Manifest, seed: int, lines: Sequence[Line], each: int
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Originals and the first ``each`` augmentations of some lines, with their labels."""
    row = {line.id: i for i, line in enumerate(manifest.lines)}
    folder = place.views(seed).path
    stored = {
        start: np.load(folder / f"{start}.npy", mmap_mode="r") for start in views_starts(manifest)
    }
    parts, labels = [], []
    for line in lines:
        start = row[line.id] // _LINES_AT_A_TIME * _LINES_AT_A_TIME
        parts.append(np.asarray(stored[start][row[line.id] - start, : 1 + each], np.float32))
        labels.append(manifest.scheme.index(line.lesion_class))
    rois = np.stack(parts)
    return rois.reshape(-1, 64, 64), np.repeat(np.asarray(labels, np.int64), 1 + each)


def synthetic_rois(
    place: Place, settings: Experiment, fold: Fold, kind: str, part: str, seed: int, per_class: int
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """The first ``per_class`` ROIs of each class from the generators of a fold, with labels.

    Raises:
        LeakageError: a generator saw a patient that this fold tests on.
    """
    parts, labels = [], []
    for position, key in enumerate(fold.scheme.keys):
        name = generator_of(kind, part, fold.index, seed, key).name
        saw = set(place.result(name)["patients"]) & fold.test.patients
        if saw:
            raise LeakageError(
                f"Generator {name} was trained on patient {min(saw)!r}, whom fold {fold.index} "
                "tests on; remove the run's folder and begin again."
            )
        stored = np.load(place.task(name).path / f"rois-{key}.npy", mmap_mode="r")
        if len(stored) < per_class:
            raise ConfigError(f"Generator {name} drew {len(stored)} ROIs, not {per_class}.")
        parts.append(np.asarray(stored[:per_class], np.float32))
        labels.append(np.full(per_class, position))
    return np.concatenate(parts), np.concatenate(labels).astype(np.int64)


def generator_of(kind: str, part: str, fold: int, seed: int, lesion_class: str) -> Generator:
    """The generator that draws a class: the ACGAN draws all of them."""
    # a validation split counts as part of its fold
    return Generator(kind, part, fold, seed, lesion_class if kind == "dcgan" else "")


def _shared(settings: Experiment, manifest: Manifest, task: Classifier, fold: Fold) -> int:
    """Synthetic ROIs per class of a training; a smaller part gets as many per lesion."""
    total = task.point.synthetic * (settings.folds - 1)
    if task.part == OUTER:
        return total
    whole = fold_of(manifest, settings, task.seed, task.fold, OUTER)
    return round(total * len(fold.train) / len(whole.train))


def training_set(
    place: Place, settings: Experiment, manifest: Manifest, task: Classifier, fold: Fold
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """What a classifier is trained on: (n, 64, 64) in [-1, 1] and class positions (n,)."""
    point = task.point
    pixels: list[Pixels] = []
    labels: list[npt.NDArray[np.int64]] = []
    if point.real:
        whole = fold_of(manifest, settings, task.seed, task.fold, OUTER)
        each = views_each(manifest, settings, whole, point.classic)
        found = classic_rois(place, manifest, task.seed, list(fold.train), each)
        pixels.append(found[0])
        labels.append(found[1])
    if point.source in ("dcgan", "acgan"):
        count = _shared(settings, manifest, task, fold)
        numbered = replace(fold, index=task.fold)
        found = synthetic_rois(place, settings, numbered, point.source, task.part, task.seed, count)
        pixels.append(found[0])
        labels.append(found[1])
    elif point.source == "oracle":
        pool = freshphantoms.load(
            fresh_of(settings, manifest), freshphantoms.ORACLE, place.fresh, manifest.scheme.keys
        )
        if set(pool.patients) & manifest.patients:
            raise LeakageError("A fresh patient is in the data set; set fresh_seed to another.")
        for position in range(len(manifest.scheme)):
            # every lesion once before any is seen a second way
            own = pool.rois[pool.labels == position].swapaxes(0, 1).reshape(-1, 64, 64)
            count = point.synthetic * (settings.folds - 1)
            pixels.append(own[:count])
            labels.append(np.full(len(own[:count]), position, np.int64))
    return np.concatenate(pixels), np.concatenate(labels)


def fresh_of(settings: Experiment, manifest: Manifest) -> tuple[freshphantoms.Chunk, ...]:
    """The fresh lesions that a run on this data set needs; none where there can be none."""
    if not freshphantoms.possible(manifest):
        return ()
    return freshphantoms.chunks(settings, settings.synthetic[-1], settings.folds - 1)


def _fresh(place: Place, settings: Experiment, task: Fresh) -> Iterator[Progress]:
    freshphantoms.make(task.chunk, place.fresh)
    freshphantoms.refuse_same(manifest_of(place.data), task.chunk, place.fresh)
    yield Progress(1, 1, task.name)


# -- generators ------------------------------------------------------------------------------------


def _generator(place: Place, settings: Experiment, task: Generator) -> Iterator[Progress]:
    if place.done(task.name):
        return
    manifest = manifest_of(place.data)
    out = place.task(task.name)
    fold = fold_of(manifest, settings, task.seed, task.fold, task.part)
    whole = fold_of(manifest, settings, task.seed, task.fold, OUTER)
    own = fold.train.only(task.lesion_class) if task.lesion_class else fold.train
    each = views_each(manifest, settings, whole, settings.base)
    pixels, labels = classic_rois(place, manifest, task.seed, list(own), each)
    seed = (task.kind, task.lesion_class, task.part, task.fold, task.seed)
    keys = manifest.scheme.keys
    result: dict[str, Any] = {
        "kind": task.kind,
        "class": task.lesion_class or None,
        "part": task.part,
        "fold": task.fold,
        "seed": task.seed,
        "patients": sorted(own.patients),
        "lesions": len(own),
        "rois": len(pixels),
    }
    device = settings.device
    try:
        if task.kind == "dcgan":
            yield from gan.fit(pixels, settings.gan, out, *seed, device=device)
        else:
            yield from acgan.fit(
                pixels, labels, len(keys), settings.acgan, out, *seed, device=device
            )
    except gan.CollapseError as error:
        out.write_json("result.json", {**result, "failed": str(error)})
        return
    training = out.read_json("training.json")
    most = arms.most_synthetic(settings, len(keys)) * (settings.folds - 1)
    count = max(most, settings.fidelity_rois)
    for key in [task.lesion_class] if task.lesion_class else keys:
        rois = _draw(out, settings, task, len(keys), keys.index(key), count)
        _write_array(out, f"rois-{key}.npy", rois.astype(np.float16))
    result |= {
        key: training[key]
        for key in (
            "attempts", "collapsed", "steps", "losses", "spread", "spread_real", "nearest",
            "nearest_real",
        )
    }  # fmt: skip
    out.write_json("result.json", result)


def _draw(
    out: RunDir, settings: Experiment, task: Generator, classes: int, position: int, count: int
) -> Pixels:
    """ROIs of one class: image i depends on (generator, class, i) alone, up to batch arithmetic."""
    told = settings.gan if task.kind == "dcgan" else settings.acgan
    network: torch.nn.Module
    if task.kind == "dcgan":
        network = dcgan_networks.Generator(told.width, told.latent)
    else:
        network = acgan_networks.Generator(classes, told.width, told.latent)
    tensors = tensors_from_bytes((out.path / "generator.safetensors").read_bytes())
    network.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    device = runtime.device(settings.device)
    network.eval().to(device)
    rng = runtime.generator("synthetic", task.name, position)
    latents = rng.random((count, told.latent), dtype=np.float32) * np.float32(2) - np.float32(1)
    if task.kind != "dcgan":
        latents = acgan.with_class(latents, np.full(count, position))
    with torch.no_grad():
        parts = [
            network(part.to(device))[:, 0].cpu()
            for part in torch.split(torch.from_numpy(latents), _SCORE_BATCH)
        ]
    rois: Pixels = torch.cat(parts).numpy()
    return rois


# -- classifiers -----------------------------------------------------------------------------------


def _classifier(place: Place, settings: Experiment, task: Classifier) -> Iterator[Progress]:
    if place.done(task.name):
        return
    manifest = manifest_of(place.data)
    out = place.task(task.name)
    fold = fold_of(manifest, settings, task.seed, task.fold, task.part)
    if missing := _failed(place, task, manifest.scheme.keys):
        out.write_json("result.json", {"failed": missing})
        return
    trained: dict[str, Any] = {}
    if task.point.arm == arms.DISCRIMINATOR:
        network = _discriminator(place, settings, manifest, task, fold)
    else:
        pixels, labels = training_set(place, settings, manifest, task, fold)
        told = settings.classifier
        steps = -(-len(pixels) // told.batch)
        told = replace(told, epochs=max(told.epochs, -(-settings.least_steps // steps)))
        trained = {"rois": len(pixels), "steps": steps * told.epochs, "epochs": told.epochs}
        seed = (task.point.name, task.part, task.fold, task.seed)
        classes = len(manifest.scheme)
        network = classifier.build(classes, classifier.mean_of(pixels), told, *seed)
        yield from classifier.fit(network, pixels, labels, told, out, *seed, device=settings.device)
    tested = list(fold.test)
    rois = np.stack([manifest.roi(line, settings.window_hu) for line in tested])
    outputs: dict[str, npt.NDArray[Any]] = {
        "rows": np.asarray([_row(manifest)[line.id] for line in tested]),
        "probabilities": probabilities(network, rois, settings.device),
    }
    if task.part == OUTER and (needed := fresh_of(settings, manifest)):
        pool = _pool(needed, place.fresh, manifest.scheme.keys)
        fresh = probabilities(network, pool.rois[:, 0], settings.device)
        outputs["fresh"] = fresh.argmax(axis=1).astype(np.uint8)
    if task.part == OUTER and task.fold == 0 and task.seed == settings.seed:
        out.write_bytes("weights.safetensors", tensors_to_bytes(runtime.arrays(network)))
    stream = io.BytesIO()
    np.savez(stream, **outputs)  # type: ignore[arg-type]
    out.write_bytes("outputs.npz", stream.getvalue())
    out.write_json("result.json", trained)


def _failed(place: Place, task: Classifier, keys: Sequence[str]) -> str | None:
    if task.point.source in ("dcgan", "acgan"):
        for key in keys:
            name = generator_of(task.point.source, task.part, task.fold, task.seed, key).name
            failed = place.result(name).get("failed")
            if failed:
                return f"{name}: {failed}"
    return None


class _Named(torch.nn.Module):
    """The class head of an ACGAN's discriminator as a classifier."""

    def __init__(self, discriminator: acgan_networks.Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, rois: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.discriminator(rois)[1]
        return logits


def _discriminator(
    place: Place, settings: Experiment, manifest: Manifest, task: Classifier, fold: Fold
) -> torch.nn.Module:
    """Its batch normalisation is given the statistics of real training ROIs alone.

    Those of training are a mixture of real and generated batches, which no test ROI comes from.
    """
    name = generator_of("acgan", task.part, task.fold, task.seed, "").name
    stored = (place.task(name).path / "discriminator.safetensors").read_bytes()
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
    each = views_each(manifest, settings, fold, settings.base)
    pixels, _ = classic_rois(place, manifest, task.seed, list(fold.train), each)
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
    told: Pixels = torch.cat(parts).numpy()
    return told


@lru_cache(maxsize=1)
def _pool(
    needed: tuple[freshphantoms.Chunk, ...], folder: Path, keys: tuple[str, ...]
) -> freshphantoms.Pool:
    return freshphantoms.load(needed, freshphantoms.TEST, folder, keys)


def as_json(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def last_entry(log: Path) -> dict[str, Any] | None:
    """The last whole line of a ``log.jsonl`` that may be growing."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, io.SEEK_END)
            stream.seek(max(0, stream.tell() - 4096))
            lines = [line for line in stream.read().split(b"\n")[1:-1] if line]
        return dict(json.loads(lines[-1])) if lines else None
    except (OSError, ValueError):
        return None


def _row(manifest: Manifest) -> dict[str, int]:
    return {line.id: i for i, line in enumerate(manifest.lines)}


def _write_array(out: RunDir, name: str, array: npt.NDArray[Any]) -> None:
    stream = io.BytesIO()
    np.save(stream, array)
    out.write_bytes(name, stream.getbuffer())  # type: ignore[arg-type]
