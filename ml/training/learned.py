"""How far a training has come, and how a generator learned: what trainings leave beside weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from ml.ground.records import from_json, merged, to_json
from ml.progress import RunDir

_FILE = "training.json"


@dataclass(frozen=True)
class Look:
    """Of one look for copies, after ``epoch``.

    Attributes:
        samples: that were compared; 0 where there are too few patients to tell.
        flagged: those that may be copies; 5 % at most are expected of a generator that copies none.
    """

    epoch: int
    samples: int
    flagged: int


@dataclass(frozen=True)
class Unfinished:
    """How far a training has come.

    Attributes:
        task: names the settings and the data.
        epochs: those that are behind it.
        failures: why a generator's earlier attempts collapsed.
        losses: of a generator's present attempt, those of each epoch.
        looks: of the same, for copies.
    """

    task: str
    epochs: int
    failures: tuple[str, ...] = ()
    losses: tuple[tuple[float, ...], ...] = ()
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True)
class GeneratorTraining:
    """How a generator learned.

    Attributes:
        attempts: trainings until one did not collapse.
        collapsed: why each of those before did.
        losses: of each epoch: (discriminator, generator), of a diffusion model its one.
        spread: mean distance between two samples (0–2) …
        spread_real: … and between two real ROIs.
        nearest: mean correlation of a sample with the one most like it …
        nearest_real: … and of real ROIs.
        looks: for copies in training; of the paper's generators there are none.
        stopped: the epoch after which it was ended, since it copied; None: it went to its end.
        kept: the epoch whose weights were kept then.
    """

    attempts: int
    collapsed: tuple[str, ...]
    steps: int
    losses: tuple[tuple[float, ...], ...]
    spread: float
    spread_real: float
    nearest: float
    nearest_real: float
    looks: tuple[Look, ...] = ()
    stopped: int | None = None
    kept: int | None = None


@dataclass(frozen=True)
class EndedTraining:
    """A training that has ended; ``task`` names it, and ``rois`` is how many it saw."""

    task: str
    rois: int
    learned: GeneratorTraining = field(metadata=merged())

    @classmethod
    def load(cls, folder: RunDir) -> Self:
        """What ``save`` wrote.

        Raises:
            OSError, ValueError: it is not there, or no JSON.
            RecordError: it is of another form.
        """
        return from_json(cls, folder.read_json(_FILE), _FILE)

    def save(self, folder: RunDir) -> None:
        """Write ``training.json``; OutputError when the system does not let it be written."""
        folder.write_json(_FILE, to_json(self))
