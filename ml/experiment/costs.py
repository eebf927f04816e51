"""What tasks cost by the settings' steps and a machine's rates, and how long a run takes of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from ml.checkpoints.sampler import Sampler
from ml.config import Classifier, Experiment, GeneratorKind
from ml.experiment import arms, fresh_phantoms, pasted
from ml.experiment.tasks import (
    INNER,
    OUTER,
    CutPasted,
    CutViews,
    DrawFresh,
    Rois,
    Task,
    TrainClassifier,
    TrainGenerator,
)
from ml.training import budget

_PASTED_S = 0.01
"""Of one pasted lesion: its picture read and held to its digest, its ROI cut."""
_REAL = 0.06
"""Of what measuring drawn ROIs takes, what real ones do."""
_LOOK_S = 0.01
"""Of one training lesion in a look for copies."""


@dataclass(frozen=True)
class Rates:
    """Seconds that work takes while every core has some, or every lane of a GPU.

    On a GPU a step's seconds are those of the device: one over the steps that all lanes make.

    Attributes:
        classifier_s, dcgan_s, acgan_s: one training step at the settings' widths and batch.
        cgan_s, diffusion_s: the same of generators that a run may have besides.
        view_s: cutting one classic ROI.
        lesion_s: simulating one fresh lesion.
        task_s: what a classifier needs beside its steps: reading, scoring, writing.
        generator_task_s: what a generator needs, which also draws its ROIs.
        measure_s: measuring the ROIs of one generator in one fold, for each training lesion.
        begin_s: before the first task is at work.
        score_s: scoring one arm in one seed, with its bootstrap.
    """

    classifier_s: float
    dcgan_s: float
    acgan_s: float
    view_s: float = 4e-4
    lesion_s: float = 0.1
    task_s: float = 0.5
    generator_task_s: float = 0.5
    measure_s: float = 0.14
    begin_s: float = 0.0
    score_s: float = 0.0
    cgan_s: float = 0.0
    diffusion_s: float = 0.0


def nominal(settings: Experiment) -> Rates:
    """Rates of no machine in particular: enough to order tasks and to share progress out.

    A step's seconds follow from its products, as they were found on one core of a server (about
    48 GFLOP/s, and some milliseconds for whatever else) and on one H100 (``tests/bench/gpu.py``).
    """
    cnn = _cnn_gflop(settings.classifier)
    dcgan, acgan = (of.batch * budget.gan_gflop(of) for of in (settings.gan, settings.acgan))
    width = budget.width_of(settings.diffusion, settings.joint)
    diffusion = settings.joint.batch * budget.diffusion_gflop(width)
    if settings.device.startswith("cuda"):
        # what the cores do is done beside it
        return Rates(
            5e-5 + cnn / 60_000, 4e-4 + dcgan / 130_000, 4e-4 + acgan / 130_000,
            view_s=4e-5, lesion_s=0.01, task_s=0.33, generator_task_s=1.6, measure_s=0.14,
            cgan_s=4e-4 + acgan / 130_000, diffusion_s=1e-3 + diffusion / 65_000,
        )  # fmt: skip
    return Rates(
        0.006 + cnn / 48, 0.02 + dcgan / 46, 0.02 + acgan / 46,
        cgan_s=0.02 + acgan / 46, diffusion_s=0.02 + diffusion / 46,
    )  # fmt: skip


def _cnn_gflop(of: Classifier) -> float:
    """10⁹ operations of a training step: forward, and the gradients of inputs and of weights."""
    w = of.width
    areas = 62 * 62 * 1 * w + 29 * 29 * w * 2 * w + 12 * 12 * 2 * w * 4 * w
    return 3 * of.batch * 2 * (9 * areas + 36 * 4 * w * of.features) / 1e9


@dataclass(frozen=True)
class Costs:
    """What the tasks of one experiment cost on one data set.

    Attributes:
        lesions: of the data set.
        fresh: whether classifiers also score fresh lesions.
    """

    settings: Experiment
    lesions: int
    classes: int
    fresh: bool
    rates: Rates

    def seconds(self, task: Task) -> float:
        """Seconds of one core, about."""
        match task:
            case TrainClassifier():
                return self._classifier_s(task)
            case TrainGenerator():
                return self._generator_s(task)
            case DrawFresh():
                return self.rates.lesion_s * 3 * fresh_phantoms.CHUNK
            case CutPasted():
                most = pasted.needed(self.settings, self.classes)
                return _PASTED_S * max(most, self.settings.fidelity_rois)
            case CutViews():
                each = arms.most_classic(self.settings, self.classes)
                views = 24 * each * self.settings.folds / max(1, self.lesions)
                return self.rates.view_s * views + 0.1
            case _:  # real lesions are not searched for copies
                share = _REAL if task.kind == Rois.REAL else 1.0
                return self.rates.measure_s * self._training_lesions * share

    def rois(self, task: TrainClassifier) -> int:
        """Training ROIs of a classifier, about."""
        settings, size = self.settings, task.size
        total = (self._training_lesions + size.classic * (settings.folds - 1)) * size.real
        if size.source:
            total += size.synthetic * self.classes * (settings.folds - 1)
        if task.part == INNER:
            total *= 1 - 1 / settings.validation_parts
        return max(1, round(total))

    @property
    def _training_lesions(self) -> float:
        return self.lesions * (self.settings.folds - 1) / self.settings.folds

    def _classifier_s(self, task: TrainClassifier) -> float:
        settings = self.settings
        if task.size.arm == arms.DISCRIMINATOR:
            return 2.0
        if task.size.arm in arms.SIMPLE:
            return 2.0 + 0.002 * (settings.fresh_lesions if self.fresh else 0)
        batch = settings.classifier.batch
        steps = -(-self.rois(task) // batch)
        epochs = max(settings.classifier.epochs, -(-settings.least_steps // steps))
        scored = settings.fresh_lesions if self.fresh and task.part == OUTER else 100
        return self.rates.classifier_s * (steps * epochs + scored / batch / 3) + self.rates.task_s

    def _generator_s(self, task: TrainGenerator) -> float:
        settings, kind = self.settings, GeneratorKind(task.kind)
        of = settings.gan if kind == GeneratorKind.DCGAN else settings.acgan
        epochs, often, looked = of.epochs, 1, 0.0
        if kind in settings.further_generators:
            looked = _LOOK_S * self._training_lesions * (3 + of.epochs / of.sheet_every)
        if kind == GeneratorKind.DIFFUSION:
            epochs = budget.diffusion_epochs(settings)
            often = Sampler.of(settings.diffusion).evaluations * self.classes
        rois = self._training_lesions + settings.base * (settings.folds - 1)
        if kind == GeneratorKind.DCGAN:
            rois /= self.classes
        if task.part == INNER:
            rois *= 1 - 1 / settings.validation_parts
        step: float = getattr(self.rates, f"{kind}_s")
        drawn = arms.most_synthetic(settings, self.classes, kind) * (settings.folds - 1)
        return (
            step * epochs * rois / of.batch
            + step * often * drawn / of.batch / 3
            + looked
            + self.rates.generator_task_s
        )


def makespan(costs_s: Iterable[float], at_a_time: int) -> float:
    """Seconds until tasks have ended that are begun in this order, each when a place is free."""
    places = [0.0] * max(1, at_a_time)
    for cost_s in costs_s:
        heapq.heapreplace(places, places[0] + cost_s)
    return max(places)
