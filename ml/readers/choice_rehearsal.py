"""Simulated readers of pairs through the real analysis, and the power of a study of them.

The readers are those of Roe & Metz (1997, Acad Radiol 4:298), who see each image as more or less
synthetic and name the one of the pair that looks more so. So the share named right is Φ of the
latent difference, and the models of ratings and of pairs are of the same readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.ground import records
from ml.progress import Progress
from ml.readers.choice import analyse_choices
from ml.readers.pairs import PairReading, Side
from ml.readers.reading import Protocol
from ml.readers.rehearsal import Coverage, Fell, Probit, RoeMetz, Tally, Votes
from ml.readers.results import Refused
from ml.statistics import forced_choice, mrmc
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings

STUDIES = 400
"""Simulated studies behind a planned power: its own standard error is at most 0.025."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChoiceDesign:
    """Readers of the same pairs, and the model of their answers."""

    readers: int = 5
    pairs: int = 100
    margin: float = 0.10
    correct: Probit = field(default_factory=lambda: of_share(0.5))

    def __post_init__(self) -> None:
        if self.readers < 1 or self.pairs < 2:
            raise ReadersError("A study of pairs needs a reader and two pairs.")


def of_share(share: float, model: RoeMetz | None = None) -> Probit:
    """Readers whose mean share named right is ``share``, with the spreads of a Roe–Metz model.

    Raises:
        ReadersError: a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ReadersError(f"A simulated share lies between 0 and 1, not at {share}.")
    known = model or RoeMetz()
    own = 2 * (1 - known.case)  # of the difference between two images; everything is in its units
    reader_sd, pair_sd = sqrt(2 * known.reader / own), sqrt(2 * known.case / own)
    level = float(scipy.stats.norm.ppf(share)) * sqrt(1 + reader_sd**2 + pair_sd**2)
    return Probit(level, reader_sd, pair_sd)


def simulate_choices(design: ChoiceDesign, rng: np.random.Generator) -> tuple[PairReading, ...]:
    """Readings of one simulated study, in random orders and on balanced sides."""
    right = design.correct.draw(design.pairs, design.readers, rng)
    readings = []
    for j in range(design.readers):
        order = rng.permutation(design.pairs) + 1
        on_left = rng.permutation(np.arange(design.pairs) < design.pairs // 2)
        for k in range(design.pairs):
            asked, other = (Side.LEFT, Side.RIGHT) if on_left[k] else (Side.RIGHT, Side.LEFT)
            readings.append(
                PairReading(
                    reader=f"simulated {j + 1}",
                    case=f"pair {k + 1}",
                    asked=asked,
                    answer=asked if right[j, k] else other,
                    generator="simulated",
                    position=int(order[k]),
                )
            )
    return tuple(readings)


@dataclass(frozen=True)
class ChoiceOutcome:
    """What a rehearsal shows: how often intervals (nominal 0.95) held, and how verdicts fell."""

    design: ChoiceDesign
    studies: int
    seed: int
    true_share: float
    nominal: float
    coverage: tuple[Coverage, ...]
    verdicts: Fell

    def to_json(self) -> Any:
        """The JSON form; every setting of the design is written."""
        return records.to_json(self) | {"design": asdict(self.design)}


MEAN = "mean share, random readers and pairs (Obuchowski–Rockette–Hillis)"
FIXED = "mean share of these readers (fixed readers)"


@dataclass
class ChoiceRehearsal:
    """Many simulated studies of one design; iterate `run`, then ask for the `outcome`."""

    design: ChoiceDesign
    studies: int = 500
    seed: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    across: Votes = field(default_factory=Votes)
    alone: Votes = field(default_factory=Votes)
    done: int = 0

    def run(self) -> Iterator[Progress]:
        """One step per study: simulate, analyse as a real study is, count."""
        self.tallies = {name: Tally(name) for name in (MEAN, FIXED)}
        rules = Protocol(margin=self.design.margin, resamples=0)
        truth = self.design.correct.accuracy()
        for study in range(self.studies):
            rng = np.random.default_rng([self.seed, study])
            found = analyse_choices(simulate_choices(self.design, rng), rules)
            for name, one in ((MEAN, found.across.random), (FIXED, found.across.fixed)):
                if not isinstance(one, Refused):
                    self.tallies[name].count(one.mean.low, one.mean.high, truth)
            self.across.count(found.across.verdict)
            for entry in found.readers:
                self.alone.count(entry.verdict)
            self.done = study + 1
            yield Progress(study + 1, self.studies, "simulated studies")

    def outcome(self) -> ChoiceOutcome:
        """What was found in the studies that are done."""
        return ChoiceOutcome(
            design=self.design,
            studies=self.done,
            seed=self.seed,
            true_share=self.design.correct.accuracy(),
            nominal=0.95,
            coverage=tuple(tally.coverage() for tally in self.tallies.values()),
            verdicts=Fell(self.across.shares(), self.alone.shares()),
        )


@dataclass(frozen=True)
class AloneRow:
    """One reader of so many pairs: chances, 0–1, exact."""

    pairs: int
    difference: float
    equivalence: float


@dataclass(frozen=True)
class ChoicePlan:
    """Power of a study of pairs.

    ``alone`` is of one reader, exact and with independent pairs. ``difference`` and ``equivalence``
    are of readers at large, from ``studies`` simulated ones: the chance that the 95 % interval
    excludes 0.5 where the share is ``share``, and that the 90 % interval lies within 0.5 ± margin
    where readers guess; None with fewer than three readers, and ``without`` says why.
    """

    readers: int
    pairs: int
    share: float
    margin: float
    alone: tuple[AloneRow, ...]
    difference: float | None
    equivalence: float | None
    studies: int
    assumptions: tuple[str, ...]
    without: str | None = None


def plan_choices(
    readers: int,
    pairs: int,
    share: float,
    margin: float = 0.10,
    studies: int = STUDIES,
    seed: int = 0,
) -> ChoicePlan:
    """The power of so many readers and pairs.

    Raises:
        ReadersError: a number that no study can have, such as no reader or a single pair.
    """
    if readers < 1 or pairs < 2:
        raise ReadersError(
            f"A study of pairs needs at least 1 reader and 2 pairs, not {readers} and {pairs}."
        )
    known, guessing = of_share(share), of_share(0.5)
    difference = equivalence = None
    least = Protocol().least_readers
    if readers >= least:
        design = ChoiceDesign(readers, pairs, margin, known)
        difference = _chance(design, studies, seed, margin=None)
        equivalence = _chance(
            ChoiceDesign(readers, pairs, margin, guessing), studies, seed, margin=margin
        )
    rows = tuple(
        AloneRow(
            count,
            forced_choice.difference_power(share, count),
            forced_choice.equivalence_power(count, margin),
        )
        for count in sorted({50, 100, 150, 200, 300, pairs})
    )
    return ChoicePlan(
        readers, pairs, share, margin, rows, difference, equivalence, studies,
        (
            f"readers differ by a standard deviation of {known.reader_sd:.2f} and pairs by "
            f"{known.image_sd:.2f}, in units of a reader's own uncertainty about a pair (Roe & "
            "Metz with a reader variance of 0.011 and a shared case variance of 0.4)",
            "every reader reads every pair, and no two pairs are of one patient",
            f"{studies} simulated studies, seed {seed}",
        ),
        None if readers >= least else
        f"{readers} {'reader' if readers == 1 else 'readers'} cannot speak for other readers: at "
        f"least {least} are needed, and nothing is shown of readers at large",
    )  # fmt: skip


def _chance(design: ChoiceDesign, studies: int, seed: int, margin: float | None) -> float:
    """How often the 95 % interval excludes 0.5, or the 90 % one lies within 0.5 ± ``margin``."""
    names = tuple(f"reader {j + 1}" for j in range(design.readers))
    cases = tuple(f"pair {k + 1}" for k in range(design.pairs))
    truth = np.ones(design.pairs, dtype=np.int64)
    confidence = 0.95 if margin is None else 0.90
    shown = 0
    for study in range(studies):
        rng = np.random.default_rng([seed, study])
        right = design.correct.draw(design.pairs, design.readers, rng)
        block = Ratings(names, ("pairs",), cases, truth, right[None])
        try:
            mean = mrmc.random_readers(block, mrmc.FigureOfMerit.MEAN, confidence=confidence).mean
            if margin is not None:
                own = mrmc.fixed_readers(block, mrmc.FigureOfMerit.MEAN, confidence=confidence)
                mean = mean.no_narrower_than(own.mean)
        except ReadersError:  # no verdict
            continue
        if margin is None:
            shown += not mean.low <= 0.5 <= mean.high
        else:
            shown += 0.5 - margin <= mean.low and mean.high <= 0.5 + margin
    return shown / studies
