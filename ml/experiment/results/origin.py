"""Where results come from: the data set, what was asked for, the machine and its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml.config import Experiment, kept
from ml.dataset.about import About
from ml.lesion import LesionScheme


@dataclass(frozen=True)
class PartSize:
    """How much of a data set is in one part of its split."""

    lesions: int
    patients: int


@dataclass(frozen=True)
class DataSet:
    """The data set that was trained and tested on.

    Attributes:
        kind: ``phantom``, ``calibrated`` or ``uncalibrated``.
        counts: lesions of each class.
        calibration: what stands beside every result on phantoms; None for other data.
        about: what the owner says of it; None where nothing was said.
        split: of ``train``, ``val`` and ``test``, where the data set's own split was taken.
    """

    name: str
    kind: str
    digest: str
    scheme: LesionScheme
    lesions: int
    patients: int
    counts: Mapping[str, int]
    calibration: str | None
    split: Mapping[str, PartSize] | None = None
    about: About | None = None


@dataclass(frozen=True)
class Asked:
    """What the run was asked for.

    Attributes:
        config: the settings as they were dumped: an earlier version may have had fewer.
        seeds: of the repeats.
        command: which does the run again.
        capped: settings that were lowered to fit the data; None: the first runs did not say.
    """

    config: Mapping[str, Any]
    seeds: tuple[int, ...]
    command: str
    capped: tuple[str, ...] | None = None

    @cached_property
    def settings(self) -> Experiment:
        """``config`` with its types; ConfigError where a setting is not known any more."""
        return kept(self.config)


@dataclass(frozen=True)
class FreshPatients:
    """Fresh phantom patients: tested on, and drawn from by the oracle."""

    test_lesions: int
    oracle_lesions: int
    seed: int
    difficulty: float
    note: str


@dataclass(frozen=True)
class Device:
    """What was computed on."""

    device: str
    machine: str
    processor: str
    python: str
    torch: str
    gpu: str | None = None


@dataclass(frozen=True)
class Stage:
    """The wall time of one stage of one start; ``tasks``: those that were left to do."""

    stage: str
    tasks: int
    wall_s: float


@dataclass(frozen=True)
class Start:
    """One start of a run that may have been killed and gone on with."""

    wall_s: float
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class GeneratorTimes:
    """Seconds of one process for generators of one kind, medians over their trainings.

    Attributes:
        trainings: that were timed; of one of all classes each is one.
        training_s: from the first epoch to the last, without pauses of a run that was killed.
        drawing_s: an ROI; None where a generator drew too few to tell.
    """

    trainings: int
    training_s: float
    drawing_s: float | None


@dataclass(frozen=True)
class Times:
    """When a run ended (UTC), and the seconds that its starts took.

    Attributes:
        generators: by kind; None of earlier runs.
    """

    finished_at: str
    wall_s: float
    starts: tuple[Start, ...]
    generators: Mapping[str, GeneratorTimes] | None = None


@dataclass(frozen=True)
class FeatureFigures:
    """What the features of a classifier show of the first fold's test lesions and their views.

    Attributes:
        classifier: its task's name.
        views_each: classic augmentations of each lesion.
        silhouette: −1 … 1; None where it is not defined.
        neighbour_purity: share of the nearest ROIs of other patients that have the same class.
    """

    classifier: str
    lesions: int
    views_each: int
    silhouette: float | None
    silhouette_originals: float | None
    neighbour_purity: float | None
    neighbour_purity_originals: float | None


@dataclass(frozen=True)
class OfTheRun:
    """What only the run itself can tell; all else is evaluated from the files of its tasks."""

    commit: str
    device: Device
    embedding: Mapping[str, FeatureFigures]
    times: Times
