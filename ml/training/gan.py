"""Training of a DCGAN on the lesions of one class → a generator's checkpoint.

``fit`` trains the other generators as well (``ml.training.acgan``, ``cgan``, ``diffusion``): what
differs is a ``Learner``.

Frid-Adar et al. (2018, section III-B): alternating steps of discriminator and generator on
classically augmented ROIs of training patients, with the non-saturating generator loss. Here also:
averaged generator weights, sample sheets of fixed latents, and a check for collapse that restarts
the training with the next seed.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch.nn.functional import softplus

from ml import config
from ml.checkpoints import saving
from ml.checkpoints.checkpoint import (
    current_commit,
    tensors_from_bytes,
    tensors_to_bytes,
)
from ml.checkpoints.metrics import GeneratorMetrics
from ml.dataset import augment
from ml.dataset.folds import Fold, patient_folds
from ml.dataset.manifest import Line, Manifest
from ml.ground.errors import HepaticaError
from ml.ground.records import RecordError, to_json
from ml.images.roi import to_grey
from ml.progress import Progress, RunDir, refuse_data_set
from ml.statistics import classification, correlation
from ml.statistics.figure import Figure
from ml.training import likened, runtime
from ml.training.described import described
from ml.training.gan_steps import Steps
from ml.training.learned import EndedTraining, GeneratorTraining, Look, Unfinished
from ml.training.learner import Learner
from ml.training.networks import dcgan
from ml.training.watched import Watch, copying, words

Pixels = npt.NDArray[np.float32]

_STATE = "state.safetensors"
DRAWN = 256
"""Samples that a checkpoint is measured on."""
_FIXED = 64
"""Latents that stay the same through a training, drawn on every sample sheet."""


class CollapseError(HepaticaError):
    """A generator collapsed in every attempt; nothing was made of it."""


@dataclass(frozen=True)
class Variety:
    """How different ROIs of one set are from each other.

    Attributes:
        spread: mean over pairs of the root mean square difference, in ROI units (0–2).
        nearest: mean correlation of each ROI with the one most like it.
    """

    spread: float
    nearest: float


def variety(rois: Pixels) -> Variety:
    """Variety of (n, 64, 64) ROIs, n at least 2; constant ROIs correlate fully with each other."""
    flat = rois.reshape(len(rois), -1).astype(np.float64)
    square = (flat**2).sum(axis=1)
    gap = np.maximum(square[:, None] + square[None] - 2 * flat @ flat.T, 0) / flat.shape[1]
    pairs = np.triu_indices(len(flat), 1)
    like = correlation.of_pairs(flat, flat)
    np.fill_diagonal(like, -np.inf)
    return Variety(float(np.sqrt(gap)[pairs].mean()), float(like.max(axis=1).mean()))


def collapsed(samples: Pixels, real: Variety, settings: config.Gan) -> str | None:
    """Why samples (n, 64, 64) are no use: not finite, or far too alike. None when they are."""
    if not np.isfinite(samples).all():
        return "the samples are not numbers"
    drawn = variety(samples)
    if drawn.spread < settings.collapse_spread * real.spread:
        return (
            f"mean pairwise distance {drawn.spread:.3f} is under {settings.collapse_spread:g} of "
            f"the real {real.spread:.3f}"
        )
    if 1 - drawn.nearest < settings.collapse_correlation * (1 - real.nearest):
        return (
            f"mean correlation with the nearest sample {drawn.nearest:.3f}, real ROIs have "
            f"{real.nearest:.3f}"
        )
    return None


class Pair(Learner):
    """Generator, discriminator, averaged generator and optimizers of one attempt."""

    losses = ("discriminator_loss", "generator_loss")

    def __init__(self, settings: config.Gan, device: torch.device, *seed: object) -> None:
        with runtime.seeded("gan", "weights", *seed):
            generator, discriminator = self.networks(settings)
        # the layout in which a batch-64 step measured fastest
        self.generator = generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.discriminator = discriminator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.generator)
        betas = (settings.beta1, settings.beta2)
        self.optimizers = {
            name: torch.optim.Adam(
                module.parameters(), settings.learning_rate, betas,
                fused=True, capturable=device.type == "cuda",
            )
            for name, module in (
                ("generator", self.generator),
                ("discriminator", self.discriminator),
            )
        }  # fmt: skip
        self.settings = settings
        self.device = device

    def networks(self, settings: config.Gan) -> tuple[torch.nn.Module, torch.nn.Module]:
        """Fresh generator and discriminator."""
        return (
            dcgan.Generator(settings.width, settings.latent),
            dcgan.Discriminator(settings.discriminator_width),
        )

    def latents(self, rng: np.random.Generator, count: int) -> Pixels:
        """What ``count`` images are drawn from, (count, anything)."""
        return _latents(rng, count, self.settings.latent)

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """The networks that the saved state of an unfinished training holds, by name."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }

    def discriminator_loss(
        self, real: torch.Tensor, answers: torch.Tensor, fake: torch.Tensor, latents: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy of real against drawn (Goodfellow et al. 2014, equation 1); a scalar.

        Args:
            real: (n, 1, 64, 64) in [−1, 1].
            answers: their class positions (n,), of which a DCGAN takes no notice.
            fake: (n, 1, 64, 64), drawn from ``latents``.
        """
        return (
            softplus(-self.discriminator(real)).mean() + softplus(self.discriminator(fake)).mean()
        )

    def generator_loss(self, fake: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """−log D(G(z)) in the mean (Goodfellow et al. 2014, end of section 3); a scalar."""
        return softplus(-self.discriminator(fake)).mean()

    def step(
        self,
        real: torch.Tensor,
        answers: torch.Tensor,
        latents: torch.Tensor,
        new: float | torch.Tensor,
    ) -> torch.Tensor:
        """One update of both networks; returns (discriminator loss, generator loss), (2,).

        Args:
            real: (n, 1, 64, 64) in [−1, 1].
            answers: class positions of ``real``, for networks that look at them.
            latents: n rows as of ``latents``.
            new: weight of the present generator in the averaged one (``learner.new_weight``).
        """
        fake = self.generator(latents)
        loss_d = self.discriminator_loss(real, answers, fake.detach(), latents)
        self.optimizers["discriminator"].zero_grad(set_to_none=True)
        torch.autograd.backward(loss_d)
        self.optimizers["discriminator"].step()

        self.discriminator.requires_grad_(False)
        loss_g = self.generator_loss(fake, latents)
        self.optimizers["generator"].zero_grad(set_to_none=True)
        torch.autograd.backward(loss_g)
        self.optimizers["generator"].step()
        self.discriminator.requires_grad_(True)

        self.average_in(new)
        return torch.stack([loss_d.detach(), loss_g.detach()])

    def settle(self, *seed: object) -> None:
        """Batch-normalisation statistics of the averaged weights, over 1024 fresh latents.

        Statistics averaged along with the weights belong to other weights; these are exact
        ("standing statistics", Brock et al. 2019).
        """
        norms = [m for m in self.average.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        self.average.train()
        latents = self.latents(runtime.generator("gan", "settle", *seed), 1024)
        with torch.no_grad():
            for part in torch.split(torch.from_numpy(latents).to(self.device), 64):
                self.average(part)
        self.average.eval()

    def sample(self, latents: Pixels) -> Pixels:
        """ROIs (n, 64, 64) in [−1, 1] of the averaged generator, from n rows as of ``latents``."""
        with torch.no_grad():
            drawn = self.average(torch.from_numpy(latents).to(self.device))
        rois: Pixels = drawn[:, 0].cpu().numpy()
        return rois

    def told(self, losses: tuple[float, ...]) -> str:
        """Both losses, in words."""
        return f"D {losses[0]:.3f}, G {losses[1]:.3f}"


def fit(
    pixels: Pixels,
    settings: config.Gan,
    out: RunDir,
    *seed: object,
    device: str = "cpu",
    labels: npt.NDArray[np.int64] | None = None,
    make: Callable[..., Learner] = Pair,
    own: config.Conditional | config.Diffusion | None = None,
    watch: Watch | None = None,
    when_copying: config.Copying = config.Copying.WARN,
) -> Iterator[Progress]:
    """Train one generator; a killed run goes on from its last saved epoch, a finished one is kept.

    Writes ``out``: ``generator.safetensors`` (averaged weights), ``discriminator.safetensors``
    where there is one, ``training.json`` (attempts, variety, losses, looks for copies), sample
    sheets and loss curves as PNG, ``log.jsonl``.

    Args:
        pixels: (n, 64, 64) in [-1, 1], ROIs of one class, or of those in ``labels``.
        labels: (n,) class positions, for a generator of several classes.
        make: builds what learns in an attempt from (settings, device, *seed).
        own: its further settings, which ``make`` knows: they are part of what names the training.
        watch: looks for copies after the first epoch and at every sheet.
        when_copying: what is done when there are some.
        seed: names this training; everything drawn follows from it.

    Yields:
        One Progress per epoch with the losses; what must be read is said in one of its own.

    Raises:
        CollapseError: collapse in the first attempt and in all ``settings.restarts`` after it.
        ConfigError: fewer than two ROIs, or ROIs that are all the same.
    """
    if len(pixels) < 2:
        raise config.ConfigError("A generator needs at least two ROIs to train on.")
    target = runtime.device(device)
    probe = runtime.generator("gan", "probe", *seed).permutation(len(pixels))[: _FIXED * 4]
    probe.sort()
    real = variety(pixels[probe])
    if real.spread < 1e-3:
        raise config.ConfigError(
            "All training ROIs are the same picture; there is nothing to learn."
        )
    answers = np.zeros(len(pixels), np.int64) if labels is None else labels
    told_labels = [] if labels is None else [labels.tolist()]
    told_own = [] if own is None else [sorted(asdict(own).items())]
    told_settings = sorted(asdict(settings).items())
    task = runtime.task_of(pixels, told_settings, *told_labels, *told_own, *seed)
    if _finished(out, task):
        return

    failures: list[str] = []
    pace = runtime.Pace()
    steps = Steps(pixels, answers, settings, target)
    stopping = watch is not None and when_copying == config.Copying.STOP

    def begun() -> tuple[Learner, dict[str, torch.nn.Module]]:
        made = make(settings, target, *seed, len(failures))
        kept = {"kept": copy.deepcopy(made.average)} if stopping else {}
        return made, {**made.modules, **kept}

    learner, modules = begun()
    fixed = learner.latents(runtime.generator("gan", "fixed", *seed), _FIXED)
    told = runtime.load_state(out, _STATE, modules, learner.optimizers, task)
    first, losses, looks = 0, list[tuple[float, ...]](), list[Look]()
    if told is not None:
        failures, first = list(told.failures), told.epochs
        losses, looks = list(told.losses), list(told.looks)
        learner.average.eval()
    while True:
        attempt = (*seed, len(failures))
        reason, stopped = None, None
        steps.begin(learner)
        for epoch in range(first, settings.epochs):
            rng = runtime.generator("gan", "epoch", *attempt, epoch)
            with runtime.stream(target):
                steps.run(rng, epoch)
                losses.append(steps.told())
            figures = dict(zip(learner.losses, losses[-1], strict=True))
            done = epoch + 1
            looked = None
            sheets = done % settings.sheet_every == 0 or done == settings.epochs
            if not np.isfinite(losses[-1]).all():
                reason = "the loss is not a number"
            elif sheets or (watch is not None and done == 1):
                learner.settle(*attempt, epoch)
                samples = learner.sample(fixed)
                if done >= learner.judged_after * settings.epochs:
                    reason = collapsed(samples, real, settings)
                name = f"sheets/attempt-{len(failures)}-epoch-{done:04d}.png"
                out.write_bytes(name, sheet(samples))
                out.write_bytes(f"losses-attempt-{len(failures)}.png", _curves(losses, learner))
                if watch is not None and reason is None:
                    looked = watch.look(done, samples, learner.positions(fixed))
                    looks.append(looked)
                    if stopping and copying(looked):
                        stopped = done
                    elif stopping:
                        modules["kept"].load_state_dict(learner.average.state_dict())
                unfinished = reason is None and stopped is None and done < settings.epochs
                if unfinished and pace.due():
                    told = Unfinished(task, done, tuple(failures), tuple(losses), tuple(looks))
                    with pace.saving():
                        runtime.save_state(out, _STATE, modules, learner.optimizers, told)
            step = Progress(
                done,
                settings.epochs,
                f"generator epoch {done}: {learner.told(losses[-1])}",
                figures if reason is None else None,
            )
            out.log(step)
            yield step
            if looked is not None and copying(looked):
                yield _said(out, done, settings.epochs, looked, looks if stopping else None)
            if reason is not None or stopped is not None:
                break
        if reason is None:
            break
        failures.append(f"epoch {done}: {reason}")
        if len(failures) > settings.restarts:
            raise CollapseError(
                f"The generator collapsed in each of {len(failures)} attempts ({failures[-1]}); "
                "nothing is kept. More ROIs, a narrower discriminator (gan.discriminator_width) "
                "or a smaller gan.learning_rate may help."
            )
        restart = Progress(
            0, settings.epochs, f"collapsed ({failures[-1]}); beginning again with the next seed"
        )
        out.log(restart)
        yield restart
        learner, modules = begun()
        first, losses, looks = 0, [], []

    kept = None if stopped is None else _last_without(looks)
    if kept is not None:
        learner.average.load_state_dict(modules["kept"].state_dict())
    drawn = variety(learner.sample(fixed))
    out.write_bytes("generator.safetensors", tensors_to_bytes(runtime.arrays(learner.average)))
    if "discriminator" in modules:
        told_apart = runtime.arrays(modules["discriminator"])
        out.write_bytes("discriminator.safetensors", tensors_to_bytes(told_apart))
    learned = GeneratorTraining(
        attempts=len(failures) + 1,
        collapsed=tuple(failures),
        steps=steps.number * len(losses),
        losses=tuple(losses),
        spread=drawn.spread,
        spread_real=real.spread,
        nearest=drawn.nearest,
        nearest_real=real.nearest,
        looks=tuple(looks),
        stopped=stopped,
        kept=kept,
    )
    EndedTraining(task, len(pixels), learned).save(out)
    (out.path / _STATE).unlink(missing_ok=True)


def _last_without(looks: Sequence[Look]) -> int | None:
    """The epoch of the last look that found no copying."""
    return next((one.epoch for one in reversed(looks) if not copying(one)), None)


def _said(
    out: RunDir, done: int, total: int, looked: Look, looks: Sequence[Look] | None
) -> Progress:
    """That it copies, and what is done about it.

    Args:
        looks: all of them, where the training is stopped; None: it goes on.
    """
    if looks is None:
        end = "The training goes on; its checkpoint will say so."
    elif (kept := _last_without(looks)) is not None:
        end = f"The training ends here, and the weights of epoch {kept} are kept."
    else:
        end = "The training ends here; it copied from the first look on, and these are kept."
    said = Progress(done, total, f"It copies: {words(looked)}. {end}", said=True)
    out.log(said)
    return said


@dataclass(frozen=True)
class Views:
    """What a generator is trained on: the training lesions of a data set, and their views.

    Attributes:
        lines: the lesions.
        rois: (n, 64, 64) in [−1, 1].
        labels: (n,) class positions.
    """

    manifest: Manifest
    fold: Fold
    settings: config.Config
    lines: Sequence[Line]
    rois: Pixels
    labels: npt.NDArray[np.int64]


def views(
    data: str | Path,
    settings: config.Config,
    run: RunDir,
    lesion_class: str | None,
    total: int,
    lower: bool,
    refuse: Callable[[Sequence[str], Sequence[Line]], None] = lambda _keys, _lines: None,
) -> Generator[Progress, None, Views]:
    """Cut the training lesions; writes ``config.json`` and ``views.jsonl``.

    Args:
        lesion_class: the class that is cut; None: all of them.
        total: epochs that are going to be trained, for what is told.
        lower: lower ``augment.per_fold`` to what the lesions give, and say so, instead of refusing.
        refuse: raises where the lesions of a scheme's keys are too few, before anything is written.
    """
    manifest = Manifest.load(Path(data))
    refuse_data_set(run.path)
    if lesion_class is not None:
        manifest.scheme.index(lesion_class)
    fold = patient_folds(manifest, settings.folds, settings.seed)[settings.test_fold]
    lines = list(fold.train if lesion_class is None else fold.train.only(lesion_class))
    refuse(manifest.scheme.keys, lines)
    if lower:
        settings, lowered = augment.capped(settings, [fold.train])
        if lowered:
            yield Progress(0, total, lowered, said=True)
    run.write_json("config.json", settings.dump())
    rois = augment.Rois(manifest, settings.window_hu)
    # the group of the whole training part, so that the classifier's and the generators' ROIs agree
    everyone = augment.group(fold.train, settings.augment, settings.seed, settings.folds - 1)
    own = {line.id for line in lines}
    drawn = [record for record in everyone if record.line_id in own]
    for step in rois.fill(lines, drawn):
        yield Progress(0, total, step.text)
    told = "".join(json.dumps(record.to_dict()) + "\n" for record in rois.records)
    run.write_bytes("views.jsonl", told.encode())
    return Views(manifest, fold, settings, lines, rois.pixels, rois.labels)


def train(
    data: str | Path,
    lesion_class: str,
    settings: config.Config,
    out: str | Path,
    name: str | None = None,
    checkpoint: str | Path | None = None,
    command: str = "",
    device: str = "cpu",
    lower: bool = False,
) -> Iterator[Progress]:
    """One generator from the training patients of a data set, to a checkpoint that serves.

    Writes ``out`` as ``fit`` does, ``config.json``, ``views.jsonl``, ``results.json``, and the
    checkpoint, in ``out/checkpoint`` unless told where.

    Args:
        lower: lower ``augment.per_fold`` to what the lesions give, and say so, instead of refusing.

    Raises:
        SchemeError: the data set's scheme has no such class.
        CollapseError: see ``fit``.
    """
    # not above: the whole experiment trains where there is no ONNX
    from ml.checkpoints import serving
    from ml.training.networks import export

    runtime.prepare()
    runtime.device(device)
    commit = current_commit()
    run, total = RunDir(Path(out)), settings.gan.epochs
    cut = yield from views(data, settings, run, lesion_class, total, lower)
    manifest, fold, settings = cut.manifest, cut.fold, cut.settings
    seed = (lesion_class, fold.index, settings.seed)
    yield from fit(cut.rois, settings.gan, run, *seed, device=device)

    tensors = tensors_from_bytes((run.path / "generator.safetensors").read_bytes())
    ended = EndedTraining.load(run)
    meta = described(
        manifest, settings, name or f"dcgan-{lesion_class}", commit,
        draws=lesion_class, without="classifier", command=command,
    )  # fmt: skip
    model = export.generator(tensors)
    samples = serving.Generator(model, meta).draw(range(DRAWN))
    metrics = measured(cut, lesion_class, samples, ended, _notes(cut, ended))
    meta = replace(meta, metrics=metrics)
    saving.save(meta, checkpoint or run.path / "checkpoint", model, tensors)
    run.write_bytes("sheets/checkpoint.png", sheet(samples[:_FIXED]))
    run.write_json("results.json", to_json(metrics))
    yield Progress(total, total, f"checkpoint {meta.name} written")


def measured(
    cut: Views, lesion_class: str, samples: Pixels, ended: EndedTraining, notes: Sequence[str]
) -> GeneratorMetrics:
    """What is measured of samples (n, 64, 64) of a class: variety, likeness, copies.

    Args:
        notes: how the generator was trained, a sentence each.
    """
    manifest, window_hu = cut.manifest, cut.settings.window_hu
    own = cut.rois[cut.labels == manifest.scheme.index(lesion_class)]
    lines = list(cut.fold.train.only(lesion_class))
    learned = ended.learned
    metrics = GeneratorMetrics(
        spread_as_share_of_real=learned.spread / learned.spread_real,
        nearest_other_sample=learned.nearest,
        nearest_other_real=learned.nearest_real,
        synthetic_to_nearest_training=float(_nearest(samples, own).mean()),
        attempts=learned.attempts,
        generator_steps=learned.steps,
        notes=tuple(notes),
    )
    if held := list(cut.fold.test.only(lesion_class)):
        patients = [line.patient for line in held]
        pictures = np.stack([manifest.roi(line, window_hu) for line in held])
        metrics = replace(
            metrics,
            held_out_to_nearest_training=_likeness(pictures, patients, own),
            n_held_out_lesions=len(held),
            n_held_out_patients=len(set(patients)),
        )
        metrics = likened.to_held_out(metrics, manifest, window_hu, lines, held, samples)
    return metrics


def sheet(rois: Pixels, columns: int = 8) -> bytes:
    """PNG of ROIs (n, 64, 64) in [-1, 1] side by side."""
    rows = -(-len(rois) // columns)
    side = rois.shape[1] + 2
    grid = np.full((rows * side, columns * side), 255, np.uint8)
    grey = to_grey(np.nan_to_num(rois))
    for i, roi in enumerate(grey):
        top, left = i // columns * side, i % columns * side
        grid[top : top + side - 2, left : left + side - 2] = roi
    return _png(Image.fromarray(grid))


def _finished(out: RunDir, task: str) -> bool:
    if not (out.path / "generator.safetensors").exists():
        return False
    try:
        return EndedTraining.load(out).task == task
    except (OSError, ValueError, RecordError):
        return False


def _curves(losses: Sequence[Sequence[float]], learner: Learner) -> bytes:
    """PNG of the losses over the epochs; the first dark, the second light."""
    width, height, edge = 480, 240, 24
    picture = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(picture)
    values = np.nan_to_num(np.asarray(losses, np.float64), posinf=0, neginf=0)
    top = max(float(values.max()), 1e-6)
    pen.rectangle((edge, edge, width - edge, height - edge), outline=160)
    names = ", ".join(
        f"{name.removesuffix('_loss')} {ink}"
        for name, ink in zip(learner.losses, ("black", "grey"), strict=False)
    )
    pen.text((edge, 6), f"loss 0-{top:.2f}, epochs 1-{len(values)}: {names}", fill=0)
    for column, ink in ((1, 150), (0, 0))[-values.shape[1] :]:
        points = [
            (
                edge + (width - 2 * edge) * i / max(len(values) - 1, 1),
                height - edge - (height - 2 * edge) * value / top,
            )
            for i, value in enumerate(values[:, column])
        ]
        pen.line(points, fill=ink, width=2)
    return _png(picture)


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _latents(rng: np.random.Generator, count: int, size: int) -> Pixels:
    """Uniform in [-1, 1): the paper's prior for training, used for sampling too (DECISIONS.md)."""
    return rng.random((count, size), dtype=np.float32) * np.float32(2) - np.float32(1)


def _nearest(rois: Pixels, training: Pixels) -> npt.NDArray[np.float64]:
    """Of each ROI (n, 64, 64) the correlation with the training ROI most like it."""
    some, known = (stack.reshape(len(stack), -1) for stack in (rois, training))
    return np.asarray(correlation.of_pairs(some, known).max(axis=1), np.float64)


def _likeness(held: Pixels, patients: Sequence[str], training: Pixels) -> Figure:
    """How alike held-out lesions are to their nearest training ROI, bootstrapped over patients.

    A generator that copies stands nearer to the training ROIs than held-out patients do.
    """
    real = _nearest(held, training)
    weights = classification.patient_resamples(patients, 2000, 0)
    drawn = (weights @ real) / weights.sum(axis=1)
    return classification.percentile_interval(float(real.mean()), drawn)


def trained_on(cut: Views, ended: EndedTraining) -> str:
    """What a generator was trained on, in a sentence."""
    folds = cut.settings.folds
    return (
        f"Trained on {len(cut.lines)} lesions of {len({line.patient for line in cut.lines})} "
        f"patients ({folds - 1} of {folds} patient-separated folds), {ended.rois} ROIs with "
        f"classic augmentation; the patients of fold {cut.fold.index} were never seen."
    )


def narrow(gan: config.Gan) -> list[str]:
    """That its networks are narrower than the paper's; nothing where they are not."""
    if gan.width >= 128:
        return []
    return [
        f"Generator width {gan.width}, the paper's is 128: narrower, so that training fits two CPU "
        "cores."
    ]


def _notes(cut: Views, ended: EndedTraining) -> list[str]:
    gan = cut.settings.gan
    return [
        trained_on(cut, ended),
        f"{ended.learned.steps} steps of batch {gan.batch}; weights averaged (decay {gan.ema:g}); "
        f"attempt {ended.learned.attempts}.",
        *narrow(gan),
    ]
