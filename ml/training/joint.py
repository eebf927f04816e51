"""One generator of all classes, to checkpoints that serve: one for each class.

Both kinds beyond the paper are trained and measured alike, and as the DCGAN is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.checkpoints import saving
from ml.checkpoints.checkpoint import current_commit, tensors_from_bytes
from ml.checkpoints.metrics import GeneratorMetrics
from ml.config import Config, Gan, GeneratorKind
from ml.dataset.manifest import Line
from ml.ground.records import to_json
from ml.progress import Progress, RunDir
from ml.training import budget, cgan, diffusion, gan, runtime
from ml.training.described import described
from ml.training.enough import refuse_few
from ml.training.gan import Views
from ml.training.learned import EndedTraining, GeneratorTraining
from ml.training.learner import Learner
from ml.training.watched import Watch, copying, words

Pixels = npt.NDArray[np.float32]

_FIXED = 64
"""Samples whose variety is told, of each class."""
_AT_ONCE = 16
"""Samples between two lines of what is told, while a checkpoint's are drawn."""


def train(
    kind: GeneratorKind,
    data: str | Path,
    settings: Config,
    out: str | Path,
    name: str | None = None,
    checkpoints: str | Path | None = None,
    command: str = "",
    device: str = "cpu",
    lower: bool = False,
) -> Iterator[Progress]:
    """A generator of all classes from the training patients of a data set.

    Writes ``out`` as ``gan.fit`` does, ``config.json``, ``views.jsonl``, ``results.json`` (by
    class), and a checkpoint for each class, ``NAME-CLASS`` in ``out/checkpoints`` unless told
    where.

    Args:
        kind: ``cgan`` or ``diffusion``.
        name: the beginning of every checkpoint's name; that of the kind unless told.
        lower: lower ``augment.per_fold`` to what the lesions give, and say so, instead of refusing.

    Raises:
        ConfigError: too few lesions.
        CollapseError: see ``gan.fit``.
    """
    # not above: the whole experiment trains where there is no ONNX
    from ml.checkpoints import serving
    from ml.training.networks import export

    runtime.prepare()
    runtime.device(device)
    commit, run = current_commit(), RunDir(Path(out))
    total = epochs_of(kind, settings)

    def refuse(keys: Sequence[str], lines: Sequence[Line]) -> None:
        refuse_few(kind, keys, [line.lesion_class for line in lines])

    cut = yield from gan.views(data, settings, run, None, total, lower, refuse)
    settings, keys = cut.settings, cut.manifest.scheme.keys
    yield Progress(0, total, "comparing the training lesions with each other")
    watch = Watch.of(cut.manifest, cut.lines, settings.window_hu)
    seed = (cut.fold.index, settings.seed)
    yield from fit(
        kind, cut.rois, cut.labels, len(keys), settings, run, *seed, watch=watch, device=device
    )
    tensors = tensors_from_bytes((run.path / "generator.safetensors").read_bytes())
    ended = EndedTraining.load(run)
    notes = _notes(kind, cut, ended)
    stem, folder = name or kind.value, Path(checkpoints or run.path / "checkpoints")
    found: dict[str, GeneratorMetrics] = {}
    for position, key in enumerate(keys):
        meta = described(
            cut.manifest, settings, f"{stem}-{key}", commit,
            draws=key, without="classifier", command=command, network=kind,
        )  # fmt: skip
        model = export.of_class(kind, tensors, position, settings.diffusion.sigma_data)
        drawing, parts = serving.Generator(model, meta), []
        for first in range(0, gan.DRAWN, _AT_ONCE):
            parts.append(drawing.draw(range(first, first + _AT_ONCE)))
            yield Progress(total, total, f"{meta.name}: {first + _AT_ONCE} of {gan.DRAWN} drawn")
        samples = np.concatenate(parts)
        own = cut.rois[cut.labels == position]
        found[key] = _varied(gan.measured(cut, key, samples, ended, notes), samples, own)
        saving.save(replace(meta, metrics=found[key]), folder / meta.name, model, tensors)
        run.write_bytes(f"sheets/checkpoint-{key}.png", gan.sheet(samples[:_FIXED]))
    run.write_json("results.json", {key: to_json(one) for key, one in found.items()})
    yield Progress(total, total, f"{len(found)} checkpoints {stem}-CLASS written to {folder}")


def fit(
    kind: GeneratorKind,
    pixels: Pixels,
    labels: npt.NDArray[np.int64],
    classes: int,
    settings: Config,
    out: RunDir,
    *seed: object,
    watch: Watch | None = None,
    device: str = "cpu",
) -> Iterator[Progress]:
    """Train one generator of all classes; as ``ml.training.gan.fit``.

    Args:
        kind: ``cgan`` or ``diffusion``.
        pixels: (n, 64, 64) in [−1, 1], with their class positions in ``labels`` (n,).
        watch: looks for copies of the lesions that the ROIs are views of.

    Raises:
        CollapseError, ConfigError: as ``ml.training.gan.fit``.
    """
    own = settings.diffusion if kind == GeneratorKind.DIFFUSION else settings.cgan
    told, make = learner(kind, settings, classes)
    yield from gan.fit(
        pixels, told, out, *seed, device=device, labels=labels, make=make, own=own,
        watch=watch, when_copying=own.copying,
    )  # fmt: skip


def learner(
    kind: GeneratorKind, settings: Config, classes: int
) -> tuple[Gan, Callable[..., Learner]]:
    """What ``gan.fit`` is told of a kind, and what builds its networks from that."""
    if kind == GeneratorKind.DIFFUSION:
        return diffusion.schedule(settings), partial(diffusion.Model, classes, settings.diffusion)
    return settings.joint, partial(cgan.Pair, classes, settings.cgan)


def epochs_of(kind: GeneratorKind, settings: Config) -> int:
    """Epochs of a generator of all classes."""
    return (
        budget.diffusion_epochs(settings)
        if kind == GeneratorKind.DIFFUSION
        else settings.joint.epochs
    )


def _varied(metrics: GeneratorMetrics, samples: Pixels, own: Pixels) -> GeneratorMetrics:
    """With the variety of this class: what was told in training is of all classes together."""
    drawn = gan.variety(samples[:_FIXED])
    real = gan.variety(own[np.linspace(0, len(own) - 1, min(len(own), 4 * _FIXED)).astype(int)])
    return replace(
        metrics,
        spread_as_share_of_real=drawn.spread / real.spread,
        nearest_other_sample=drawn.nearest,
        nearest_other_real=real.nearest,
    )


def _notes(kind: GeneratorKind, cut: Views, ended: EndedTraining) -> list[str]:
    settings, learned = cut.settings, ended.learned
    joint, own = settings.joint, settings.diffusion
    rois = learned.steps * min(joint.batch, ended.rois)
    if kind == GeneratorKind.DIFFUSION:
        width = budget.width_of(own, joint)
        how = f"weights averaged (decay {own.ema:g})"
        spent = rois * budget.diffusion_gflop(width)
        also = [
            f"Its training budget is {own.budget:g} times that of the conditional GAN of the same "
            "settings, in multiplications and additions, to a whole number of epochs."
        ]
    else:
        how = (
            f"weights averaged (decay {joint.ema:g}) after a burn-in of "
            f"{settings.cgan.burn_in:.0%} of the steps"
        )
        spent = rois * budget.gan_gflop(joint)
        also = gan.narrow(joint)
    return [
        gan.trained_on(cut, ended),
        f"One network of all classes: {learned.steps} steps of batch {joint.batch}, "
        f"{len(learned.losses)} epochs, about {spent / 1000:,.1f} · 10¹² operations; {how}; "
        f"attempt {learned.attempts}.",
        *also,
        copies_note(learned),
    ]


def copies_note(learned: GeneratorTraining) -> str:
    """What was seen of copies in training, in words."""
    looks = [look for look in learned.looks if look.samples]
    if not looks:
        return "Whether it copies was not looked at in training: too few patients of each class."
    if learned.stopped is not None:
        end = f"the weights of epoch {learned.kept}" if learned.kept else "the last weights"
        return (
            f"It copied after epoch {learned.stopped}, where training was ended and {end} kept: "
            f"{words(looks[-1])}."
        )
    if copying(looks[-1]):
        return f"It copies: at the end of its training {words(looks[-1])}."
    return f"At the end of its training {words(looks[-1])}; of none that copies 5 % are expected."
