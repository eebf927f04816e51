"""The tasks of an experiment by name: what can be done alone, and what its files are called.

A name stands in seeds and in folders: changed, it would give other numbers and lose finished runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from ml.config import Experiment, GeneratorKind
from ml.experiment.arms import PASTED, ArmSize
from ml.experiment.fresh_phantoms import Chunk


class Level(StrEnum):
    """Which patients of a fold something is trained on."""

    OUTER = "outer"
    """Its training patients."""
    INNER = "inner"
    """The same without those set aside for validation."""


OUTER, INNER = Level.OUTER, Level.INNER


class Rois(StrEnum):
    """Whose ROIs are measured."""

    REAL = "real"
    """The training lesions in the place of synthetic ROIs: a baseline."""
    DCGAN = "dcgan"
    ACGAN = "acgan"
    CGAN = "cgan"
    DIFFUSION = "diffusion"
    TISSUE = PASTED
    """Phantom lesions in real tissue."""


@dataclass(frozen=True)
class CutViews:
    """Cut the original and the classic augmentations of some lesions, for one seed.

    Attributes:
        start: position in the data set of the first lesion.
    """

    stage: ClassVar[str] = "views"
    seed: int
    start: int

    @property
    def name(self) -> str:
        """The folder of the task within the run's."""
        return f"views-{self.seed}-{self.start}"


@dataclass(frozen=True)
class DrawFresh:
    """Simulate a chunk of fresh patients."""

    stage: ClassVar[str] = "fresh"
    chunk: Chunk

    @property
    def name(self) -> str:
        """The folder of the task within the run's."""
        return f"fresh-{self.chunk.use}-{self.chunk.number}"


@dataclass(frozen=True)
class CutPasted:
    """Cut the ROIs of one class of phantom lesions in real tissue; for all folds and seeds."""

    stage: ClassVar[str] = "tissue"
    lesion_class: str

    @property
    def name(self) -> str:
        """The folder of the task within the run's."""
        return f"{PASTED}-{self.lesion_class}"


@dataclass(frozen=True)
class TrainGenerator:
    """Train a DCGAN of one class, or a generator of all (empty ``lesion_class``), and draw from it.

    Attributes:
        kind: one of ``GeneratorKind``.
        part: ``OUTER`` or ``INNER``.
    """

    stage: ClassVar[str] = "generator"
    kind: str
    part: str
    fold: int
    seed: int
    lesion_class: str = ""

    @property
    def name(self) -> str:
        """The folder of the task within the run's."""
        of = f"-{self.lesion_class}" if self.lesion_class else ""
        return f"{self.kind}{of}-{self.part}-{self.fold}-{self.seed}"


@dataclass(frozen=True)
class TrainClassifier:
    """Train one size of one arm, and score it on the lesions that its fold holds out."""

    stage: ClassVar[str] = "classifier"
    size: ArmSize
    part: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """The folder of the task within the run's."""
        return f"{self.size.name}-{self.part}-{self.fold}-{self.seed}"


@dataclass(frozen=True)
class Measure:
    """Measure the ROIs of one origin in one fold of one seed."""

    stage: ClassVar[str] = "measure"
    kind: Rois
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """The folder of the task within the run's."""
        return f"measure-{self.kind}-{self.fold}-{self.seed}"


Training = CutViews | CutPasted | DrawFresh | TrainGenerator | TrainClassifier
Task = Training | Measure

STAGES = tuple(
    kind.stage
    for kind in (CutViews, CutPasted, TrainGenerator, DrawFresh, TrainClassifier, Measure)
)
"""Names of the kinds of tasks, in the order in which they are told."""


@dataclass(frozen=True)
class PlannedTask:
    """A task of a plan.

    Attributes:
        cost_s: seconds of one core, about.
        done: whether its files said so when the plan was made.
    """

    task: Task
    cost_s: float
    done: bool


def generator_of(kind: str, part: str, fold: int, seed: int, lesion_class: str) -> TrainGenerator:
    """The generator that draws a class: all kinds but the DCGAN draw all of them."""
    # a validation split counts as part of its fold
    return TrainGenerator(kind, part, fold, seed, lesion_class if kind == "dcgan" else "")


def measurements(settings: Experiment, seeds: Sequence[int]) -> tuple[Measure, ...]:
    """Every kind of ROIs in every fold of every seed."""
    return tuple(
        Measure(kind, fold, seed)
        for seed in seeds
        for fold in range(settings.tested_folds)
        for kind in measured_kinds(settings)
    )


def measured_kinds(settings: Experiment) -> tuple[Rois, ...]:
    """Whose ROIs a run measures."""
    further = [Rois(one) for one in settings.further_generators]
    pasted = [Rois.TISSUE] if settings.tissue else []
    return (Rois.REAL, Rois.DCGAN, Rois.ACGAN, *further, *pasted)


def generators(
    settings: Experiment, classes: Iterable[str], seed: int, part: str, fold: int
) -> tuple[TrainGenerator, ...]:
    """Every generator of a part of a fold: a DCGAN of each class, and those of all classes."""
    joint = (GeneratorKind.ACGAN, *settings.further_generators)
    return (
        *(TrainGenerator("dcgan", part, fold, seed, key) for key in classes),
        *(TrainGenerator(kind.value, part, fold, seed) for kind in joint),
    )
