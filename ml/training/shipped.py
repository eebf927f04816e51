"""The checkpoints that come with the program, made again from nothing but seeds.

182 phantom lesions (53, 64 and 65, as Frid-Adar et al. 2018 had of patients) → one classifier, the
networks of all three folds together, and one generator per class, trained on the patients of two of
three folds. Of every kind that serves generators are trained; those of one kind are shipped
(``ml.training.nearest``).
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from ml import config
from ml.checkpoints import saving
from ml.checkpoints.card.words import OwnersWords
from ml.checkpoints.checkpoint import CheckpointError
from ml.checkpoints.metrics import GeneratorMetrics
from ml.config import GeneratorKind
from ml.dataset import prepare
from ml.dataset.manifest import Manifest
from ml.lesion import LIVER
from ml.phantom import SHIPPED, series
from ml.phantom.lesions import DIFFICULTY as CALIBRATED
from ml.progress import Progress
from ml.training import classifier, gan, joint, likened, nearest

COUNTS = {"cyst": 53, "metastasis": 64, "hemangioma": 65}
SEED = 2018
DIFFICULTY = CALIBRATED[SHIPPED]
NAME = "phantom-182"
CNN = "cnn"
CHECKPOINTS = "checkpoints"
"""Of the scratch: what was trained, shipped or not."""
_LOOKS_EVERY_S = 2.0

WORDS = OwnersWords(
    developer="The Hepatica developers.",
    licence="Apache-2.0.",
    release_stage="Comes with the software, for trying it out and for its tests.",
    intended_use="To show on simulated images what the software does, and to test it.",
    users="Whoever tries, tests or develops the software.",
    population="Nobody.",
    out_of_scope="Any image of a patient.",
    maintenance="Trained anew with a release of the software that changes how it is trained.",
    security_contact="The maintainers, as SECURITY.md says.",
)
"""What the project says of the checkpoints that come with its software."""


def train(
    out: str | Path,
    work: str | Path,
    jobs: int = 2,
    counts: Mapping[str, int] = COUNTS,
    settings: config.Config = config.TRAININGS["shipped"],
    tried_on: int = classifier.TRIED_ON,
    others: int = nearest.OTHERS,
) -> Iterator[Progress]:
    """Simulate, prepare, train, choose and export; about 50 minutes on two cores.

    Args:
        out: gets one folder per checkpoint, ``phantom-cnn`` and ``phantom-KIND-CLASS``; those that
            are there are replaced when theirs are ready.
        work: scratch: images, data set and run folders; a killed run goes on from there.
        jobs: trainings at a time, one core each.
        counts: lesions of each class to simulate.
        settings: what every training is told.
        tried_on: phantom patients that the classifier is tried on.
        others: lesions of each class that the kinds of generators are compared by.

    Raises:
        CollapseError: a generator of every kind collapsed in every attempt; nothing is shipped.
    """
    target, scratch = Path(out), Path(work)
    data = scratch / NAME
    yield from _lesions(data, counts, SEED)
    keys = Manifest.load(data).scheme.keys
    # the longest first, so that no core waits for the last
    names = [CNN, *nearest.JOINT, *(_name(GeneratorKind.DCGAN, key) for key in keys)]
    total = sum(_length(name, settings) for name in names)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        work_of = {
            name: pool.submit(_one, name, data, scratch, settings, tried_on) for name in names
        }
        while wait(work_of.values(), _LOOKS_EVERY_S).not_done:
            done = sum(_epochs(scratch / name) for name in names)
            yield Progress(min(done, total), total, _told(work_of, scratch))
        collapsed = collapsed_of(work_of)
    made = {
        kind: {key: scratch / CHECKPOINTS / f"phantom-{_name(kind, key)}" for key in keys}
        for kind in nearest.KINDS
        if kind not in collapsed
    }
    unseen = scratch / f"{NAME}-others"
    yield from _lesions(unseen, dict.fromkeys(counts, others), nearest.SEED)
    yield Progress(total, total, "comparing the generators with lesions that none of them saw")
    chosen = nearest.of(made, Manifest.load(data), Manifest.load(unseen), collapsed)
    shipped = [scratch / CHECKPOINTS / f"phantom-{CNN}", *made[chosen.kind].values()]
    for root in made[chosen.kind].values():
        chosen.say(root)
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("phantom-*"):
        shutil.rmtree(old)
    for root in shipped:
        saving.say(root, WORDS)
        shutil.copytree(root, target / root.name)
    yield Progress(total, total, f"{chosen.words} {len(shipped)} checkpoints in {target}")


def measure(
    out: str | Path, work: str | Path, counts: Mapping[str, int] = COUNTS
) -> Iterator[Progress]:
    """How far the generators in ``out`` are from held-out lesions, measured again.

    Their lesions are drawn again from the seed; nothing is trained, no network changes.

    Args:
        work: as of ``train``.

    Raises:
        CheckpointError: a generator of other lesions than are drawn here.
    """
    data = Path(work) / NAME
    yield from _lesions(data, counts, SEED)
    manifest = Manifest.load(data)
    roots = sorted(root for root in Path(out).glob("phantom-*") if root.name != f"phantom-{CNN}")
    if not roots:
        raise CheckpointError(f"There is no generator of `make weights` in {out}.")
    for done, root in enumerate(roots, 1):
        generator = nearest.opened(root)
        meta = generator.meta
        if not isinstance(meta.metrics, GeneratorMetrics):
            raise CheckpointError(f"{root} holds no generator.")
        if meta.dataset_digest != manifest.digest:
            raise CheckpointError(
                f"{meta.name} was trained on lesions of digest {meta.dataset_digest[:12]}, and "
                f"those drawn here have {manifest.digest[:12]}: the phantom is another, or the "
                "processor rounds otherwise. Measure where they are the same, or train anew."
            )
        fold = nearest.fold_of(generator, manifest)
        key = str(meta.lesion_class)
        lines, held = (list(part.only(key)) for part in (fold.train, fold.test))
        found = likened.to_held_out(
            meta.metrics, manifest, meta.window_hu, lines, held, generator.draw(range(256))
        )
        saving.measure(root, found)
        yield Progress(done, len(roots), f"{meta.name} measured")


def _lesions(data: Path, counts: Mapping[str, int], seed: int) -> Iterator[Progress]:
    """A data set of phantoms in ``data``, unless it is there already."""
    if not (data / "manifest.json").exists():
        images = data.parent / f"{data.name}-dicom"
        shutil.rmtree(images, ignore_errors=True)
        yield from series.write_cohort(
            counts, seed, images, DIFFICULTY, key_slices_only=True, version=SHIPPED
        )
        yield from prepare.dicom(images, LIVER, data)


def collapsed_of(work_of: Mapping[str, Future[None]]) -> tuple[GeneratorKind, ...]:
    """The kinds of generators of which a training collapsed in every attempt: they ship nothing.

    Args:
        work_of: every training, ended, by its name.

    Raises:
        CollapseError: no other kind is left; or whatever else a training raised.
    """
    collapsed: dict[GeneratorKind, gan.CollapseError] = {}
    for name, future in work_of.items():
        kind = GeneratorKind(name) if name in nearest.JOINT else GeneratorKind.DCGAN
        try:
            future.result()
        except gan.CollapseError as error:
            collapsed[kind] = error
    if len(collapsed) == len(nearest.KINDS):
        raise collapsed.popitem()[1]
    return tuple(collapsed)


def _name(kind: GeneratorKind, key: str) -> str:
    return f"{kind}-{key}"


def _length(name: str, settings: config.Config) -> int:
    """Epochs of a training."""
    if name == CNN:
        return settings.classifier.epochs * settings.classifier.members * settings.folds
    if name in nearest.JOINT:
        return joint.epochs_of(GeneratorKind(name), settings)
    return settings.gan.epochs


def _one(name: str, data: Path, scratch: Path, settings: config.Config, tried_on: int) -> None:
    run, checkpoints = scratch / name, scratch / CHECKPOINTS
    command, title = "make weights", f"phantom-{name}"
    if name == CNN:
        recipe = replace(settings.classifier, committee=config.Committee.EVERY_FOLD)
        steps = classifier.train(
            data,
            replace(settings, classifier=recipe),
            run,
            name=title,
            checkpoint=checkpoints / title,
            cross_validate=True,
            command=command,
            tried_on=tried_on,
        )
    elif name in nearest.JOINT:
        steps = joint.train(
            GeneratorKind(name), data, settings, run,
            name=title, checkpoints=checkpoints, command=command,
        )  # fmt: skip
    else:
        key = name.removeprefix(_name(GeneratorKind.DCGAN, ""))
        steps = gan.train(
            data, key, settings, run, name=title, checkpoint=checkpoints / title, command=command
        )
    for _ in steps:
        pass


def _epochs(run: Path) -> int:
    try:
        return int(json.loads((run / "log.jsonl").read_text().splitlines()[-1])["done"])
    except (OSError, IndexError, ValueError, KeyError):
        return 0


def _told(work_of: dict[str, Future[None]], scratch: Path) -> str:
    return ", ".join(
        f"{name} {'ready' if future.done() else f'epoch {_epochs(scratch / name)}'}"
        for name, future in work_of.items()
    )
