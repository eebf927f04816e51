"""Training of a DCGAN on the lesions of one class → a generator's checkpoint.

``fit`` trains ``ml.training.acgan``'s networks as well: what differs is a ``Pair``.

Frid-Adar et al. (2018, section III-B): alternating steps of discriminator and generator on
classically augmented ROIs of training patients, with the non-saturating generator loss. Here also:
averaged generator weights, sample sheets of fixed latents, and a check for collapse that restarts
the training with the next seed.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator, Sequence
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
from ml.dataset.folds import Fold, Part, patient_folds
from ml.dataset.manifest import Manifest
from ml.ground.errors import HepaticaError
from ml.ground.records import RecordError, to_json
from ml.images.roi import to_grey
from ml.progress import Progress, RunDir, refuse_data_set
from ml.statistics import classification, correlation
from ml.statistics.figure import Figure
from ml.training import likened, runtime
from ml.training.described import described
from ml.training.gan_steps import Steps
from ml.training.learned import EndedTraining, GeneratorTraining, Unfinished
from ml.training.networks import dcgan

Pixels = npt.NDArray[np.float32]

_STATE = "state.safetensors"
_FIXED = 64
"""Latents that stay the same through a training, drawn on every sample sheet."""
_CHECK_AFTER = 0.2
"""Share of the epochs before which no collapse is judged: every generator begins with one grey."""


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


class Pair:
    """Generator, discriminator, averaged generator and optimizers of one attempt."""

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
            new: weight of the present generator in the averaged one (``gan_steps.new_weight``).
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

        with torch.no_grad():
            for mean, now in zip(
                self.average.parameters(), self.generator.parameters(), strict=True
            ):
                mean.lerp_(now, new)
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


def fit(
    pixels: Pixels,
    settings: config.Gan,
    out: RunDir,
    *seed: object,
    device: str = "cpu",
    labels: npt.NDArray[np.int64] | None = None,
    make: Callable[..., Pair] = Pair,
) -> Iterator[Progress]:
    """Train one generator; a killed run goes on from its last saved epoch, a finished one is kept.

    Writes ``out``: ``generator.safetensors`` (averaged weights), ``discriminator.safetensors``,
    ``training.json`` (attempts, variety, losses), sample sheets and loss curves as PNG,
    ``log.jsonl``.

    Args:
        pixels: (n, 64, 64) in [-1, 1], ROIs of one class, or of those in ``labels``.
        labels: (n,) class positions, for a generator of several classes.
        make: builds the networks of an attempt from (settings, device, *seed).
        seed: names this training; everything drawn follows from it.

    Yields:
        One Progress per epoch with ``discriminator_loss`` and ``generator_loss``.

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
    task = runtime.task_of(pixels, sorted(asdict(settings).items()), *told_labels, *seed)
    if _finished(out, task):
        return

    failures: list[str] = []
    pace = runtime.Pace()
    steps = Steps(pixels, answers, settings, target)
    pair = make(settings, target, *seed, 0)
    fixed = pair.latents(runtime.generator("gan", "fixed", *seed), _FIXED)
    told = runtime.load_state(out, _STATE, pair.modules, pair.optimizers, task)
    first, losses = 0, list[list[float]]()
    if told is not None:
        failures, first = list(told.failures), told.epochs
        losses = [list(both) for both in told.losses]
        pair.average.eval()
    while True:
        attempt = (*seed, len(failures))
        reason = None
        steps.begin(pair)
        for epoch in range(first, settings.epochs):
            rng = runtime.generator("gan", "epoch", *attempt, epoch)
            with runtime.stream(target):
                steps.run(rng, epoch)
                loss_d, loss_g = steps.told()
            losses.append([loss_d, loss_g])
            figures = {"discriminator_loss": loss_d, "generator_loss": loss_g}
            done = epoch + 1
            if not np.isfinite(losses[-1]).all():
                reason = "the loss is not a number"
            elif done % settings.sheet_every == 0 or done == settings.epochs:
                pair.settle(*attempt, epoch)
                samples = pair.sample(fixed)
                if done >= _CHECK_AFTER * settings.epochs:
                    reason = collapsed(samples, real, settings)
                name = f"sheets/attempt-{len(failures)}-epoch-{done:04d}.png"
                out.write_bytes(name, sheet(samples))
                out.write_bytes(f"losses-attempt-{len(failures)}.png", _curves(losses))
                if reason is None and done < settings.epochs and pace.due():
                    told = Unfinished(task, done, tuple(failures), tuple(map(tuple, losses)))
                    with pace.saving():
                        runtime.save_state(out, _STATE, pair.modules, pair.optimizers, told)
            step = Progress(
                done,
                settings.epochs,
                f"generator epoch {done}: D {loss_d:.3f}, G {loss_g:.3f}",
                figures if reason is None else None,
            )
            out.log(step)
            yield step
            if reason is not None:
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
        pair = make(settings, target, *seed, len(failures))
        first, losses = 0, []

    drawn = variety(pair.sample(fixed))
    out.write_bytes("generator.safetensors", tensors_to_bytes(runtime.arrays(pair.average)))
    told_apart = runtime.arrays(pair.discriminator)
    out.write_bytes("discriminator.safetensors", tensors_to_bytes(told_apart))
    learned = GeneratorTraining(
        attempts=len(failures) + 1,
        collapsed=tuple(failures),
        steps=steps.number * settings.epochs,
        losses=tuple(map(tuple, losses)),
        spread=drawn.spread,
        spread_real=real.spread,
        nearest=drawn.nearest,
        nearest_real=real.nearest,
    )
    EndedTraining(task, len(pixels), learned).save(out)
    (out.path / _STATE).unlink(missing_ok=True)


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
    manifest = Manifest.load(Path(data))
    refuse_data_set(Path(out))
    manifest.scheme.index(lesion_class)
    fold = patient_folds(manifest, settings.folds, settings.seed)[settings.test_fold]
    lines = fold.train.only(lesion_class)
    commit = current_commit()
    run = RunDir(Path(out))
    if lower:
        settings, words = augment.capped(settings, [fold.train])
        if words:
            yield Progress(0, settings.gan.epochs, words, said=True)
    run.write_json("config.json", settings.dump())
    rois = augment.Rois(manifest, settings.window_hu)
    # the group of the whole training part, so that the classifier's and the generators' ROIs agree
    everyone = augment.group(fold.train, settings.augment, settings.seed, settings.folds - 1)
    own = {line.id for line in lines}
    drawn = [record for record in everyone if record.line_id in own]
    for step in rois.fill(lines, drawn):
        yield Progress(0, settings.gan.epochs, step.text)
    views = "".join(json.dumps(record.to_dict()) + "\n" for record in rois.records)
    run.write_bytes("views.jsonl", views.encode())
    seed = (lesion_class, fold.index, settings.seed)
    yield from fit(rois.pixels, settings.gan, run, *seed, device=device)

    tensors = tensors_from_bytes((run.path / "generator.safetensors").read_bytes())
    ended = EndedTraining.load(run)
    learned = ended.learned
    meta = described(
        manifest, settings, name or f"dcgan-{lesion_class}", commit,
        draws=lesion_class, without="classifier", command=command,
    )  # fmt: skip
    model = export.generator(tensors)
    samples = serving.Generator(model, meta).draw(range(256))
    metrics = GeneratorMetrics(
        spread_as_share_of_real=learned.spread / learned.spread_real,
        nearest_other_sample=learned.nearest,
        nearest_other_real=learned.nearest_real,
        synthetic_to_nearest_training=float(_nearest(samples, rois.pixels).mean()),
        attempts=learned.attempts,
        generator_steps=learned.steps,
        notes=tuple(_notes(fold, lines, settings, ended)),
    )
    if held := list(fold.test.only(lesion_class)):
        patients = [line.patient for line in held]
        pictures = np.stack([manifest.roi(line, settings.window_hu) for line in held])
        metrics = replace(
            metrics,
            held_out_to_nearest_training=_likeness(pictures, patients, rois.pixels),
            n_held_out_lesions=len(held),
            n_held_out_patients=len(set(patients)),
        )
        metrics = likened.to_held_out(
            metrics, manifest, settings.window_hu, list(lines), held, samples
        )
    meta = replace(meta, metrics=metrics)
    saving.save(meta, checkpoint or run.path / "checkpoint", model, tensors)
    run.write_bytes("sheets/checkpoint.png", sheet(samples[:_FIXED]))
    run.write_json("results.json", to_json(metrics))
    total = settings.gan.epochs
    yield Progress(total, total, f"checkpoint {meta.name} written")


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


def _curves(losses: Sequence[Sequence[float]]) -> bytes:
    """PNG of the two losses over the epochs; discriminator dark, generator light."""
    width, height, edge = 480, 240, 24
    picture = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(picture)
    values = np.nan_to_num(np.asarray(losses, np.float64), posinf=0, neginf=0)
    top = max(float(values.max()), 1e-6)
    pen.rectangle((edge, edge, width - edge, height - edge), outline=160)
    pen.text((edge, 6), f"loss 0-{top:.2f}, epochs 1-{len(values)}: D black, G grey", fill=0)
    for column, ink in ((1, 150), (0, 0)):
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


def _notes(fold: Fold, lines: Part, settings: config.Config, ended: EndedTraining) -> list[str]:
    gan = settings.gan
    notes = [
        f"Trained on {len(lines)} lesions of {len(lines.patients)} patients "
        f"({settings.folds - 1} of {settings.folds} patient-separated folds), "
        f"{ended.rois} ROIs with classic augmentation; the patients of fold {fold.index} "
        "were never seen.",
        f"{ended.learned.steps} steps of batch {gan.batch}; weights averaged (decay {gan.ema:g}); "
        f"attempt {ended.learned.attempts}.",
    ]
    if gan.width < 128:
        notes.append(
            f"Generator width {gan.width}, the paper's is 128: narrower, so that training fits "
            "two CPU cores."
        )
    return notes
