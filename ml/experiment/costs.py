"""What tasks cost: seconds of one core by the settings' steps and the rate of each network."""

from __future__ import annotations

from dataclasses import dataclass

from ml.config import Experiment
from ml.experiment import arms, fresh_phantoms
from ml.experiment.tasks import (
    INNER,
    OUTER,
    CutViews,
    DrawFresh,
    Task,
    TrainClassifier,
    TrainGenerator,
)


@dataclass(frozen=True)
class Rates:
    """Seconds of one training step at the settings' widths and batch."""

    classifier_s: float
    dcgan_s: float
    acgan_s: float


NOMINAL = Rates(0.03, 0.06, 0.07)
"""Rates of no machine in particular: enough to order tasks and to share progress out."""


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
    rates: Rates = NOMINAL

    def seconds(self, task: Task) -> float:
        """Seconds of one core, about."""
        match task:
            case TrainClassifier():
                return self._classifier_s(task)
            case TrainGenerator():
                return self._generator_s(task)
            case DrawFresh():
                return 0.1 * 3 * fresh_phantoms.CHUNK
            case CutViews():
                each = arms.most_classic(self.settings, self.classes)
                return 4e-4 * 24 * each * self.settings.folds / max(1, self.lesions) + 0.1
            case _:
                return 4.0

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
        batch = settings.classifier.batch
        steps = -(-self.rois(task) // batch)
        epochs = max(settings.classifier.epochs, -(-settings.least_steps // steps))
        scored = settings.fresh_lesions if self.fresh and task.part == OUTER else 100
        return self.rates.classifier_s * (steps * epochs + scored / batch / 3) + 0.5

    def _generator_s(self, task: TrainGenerator) -> float:
        settings = self.settings
        of = settings.gan if task.kind == "dcgan" else settings.acgan
        rois = self._training_lesions + settings.base * (settings.folds - 1)
        if task.kind == "dcgan":
            rois /= self.classes
        if task.part == INNER:
            rois *= 1 - 1 / settings.validation_parts
        step = self.rates.dcgan_s if task.kind == "dcgan" else self.rates.acgan_s
        drawn = arms.most_synthetic(settings, self.classes)
        return step * of.epochs * rois / of.batch + step * drawn / of.batch / 3 + 0.5
