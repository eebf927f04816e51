"""What a curve found: ``curve.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.experiment.curve import CurveError
from ml.experiment.results.origin import FreshPatients
from ml.ground.records import RecordError, from_json, to_json
from ml.progress import RunDir
from ml.statistics.figure import Figure

FILE = "curve.json"
VERSION = 1


@dataclass(frozen=True)
class Cohort:
    """The training lesions of one seed at one size.

    Attributes:
        size: lesions that were asked for; whole patients may leave fewer.
        counts: of each class.
        lowered: settings that the data set did not allow, a sentence each.
    """

    seed: int
    size: int
    lesions: int
    patients: int
    counts: Mapping[str, int]
    digest: str
    lowered: tuple[str, ...] = ()


@dataclass(frozen=True)
class Point:
    """One arm at one number of training lesions, on fresh lesions.

    Attributes:
        seeds: in which it could be trained.
        classic, synthetic: ROIs beside the lesions themselves, of all classes, mean over seeds;
            ``synthetic`` counts whatever stands in the place of synthetic ones.
        balanced_accuracy: which is the mean sensitivity too, since the pool has as many of each
            class.
        sensitivity, specificity: of each class against the others, each of which counts alike.
    """

    arm: str
    size: int
    seeds: tuple[int, ...]
    classic: float
    synthetic: float
    balanced_accuracy: Figure
    sensitivity: Mapping[str, Figure]
    specificity: Mapping[str, Figure]


@dataclass(frozen=True)
class Gap:
    """One arm less another at one number of training lesions, in balanced accuracy.

    Attributes:
        p: that agrees with the interval.
        training_share: what chance of training, training patients among it, is of its variance.
        holm_p: after Holm over all primary comparisons; None of a secondary one.
    """

    arm: str
    against: str
    size: int
    seeds: tuple[int, ...]
    difference: Figure
    p: float
    training_share: float | None
    holm_p: float | None = None


@dataclass(frozen=True)
class Curve:
    """Everything that a curve found.

    Attributes:
        config: the settings as they were dumped.
        fresh: the lesions that tested.
        failed: trainings that gave nothing, by seed, size and task, and why.
        inference: how intervals and p were made.
        version: of the form of this record.
    """

    command: str
    commit: str
    phantom_version: str
    config: Mapping[str, Any]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    fresh: FreshPatients
    cohorts: tuple[Cohort, ...]
    points: tuple[Point, ...]
    primary: tuple[Gap, ...]
    secondary: tuple[Gap, ...]
    failed: Mapping[str, str]
    inference: str
    version: int

    @property
    def told_seeds(self) -> str:
        """How many there are, in words."""
        return "1 seed" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"

    def to_json(self) -> Any:
        """Every field under its name."""
        return to_json(self)

    @classmethod
    def from_json(cls, data: Any) -> Curve:
        """The curve whose ``to_json`` is ``data``.

        Raises:
            CurveError: of another version, or no curve.
        """
        version = data.get("version") if isinstance(data, dict) else None
        if version != VERSION:
            raise CurveError(
                f"{FILE} is of version {version!r}, and this program reads {VERSION}; use the "
                "program that wrote it."
            )
        try:
            return from_json(cls, data)
        except RecordError as error:
            raise CurveError(f"{FILE} is no whole curve: {error}") from error

    @classmethod
    def load(cls, folder: Path) -> Curve:
        """The curve in ``folder``; CurveError where there is none."""
        try:
            data = RunDir(folder).read_json(FILE)
        except (OSError, ValueError) as error:
            raise CurveError(
                f"{folder} has no whole {FILE} ({error!r}); give the command again, which goes on "
                "where it stopped."
            ) from error
        return cls.from_json(data)
