"""Simulated readers through the real analysis: what a design would give, before anyone reads.

Ratings by the model of Roe & Metz (1997, Acad Radiol 4:298), cut into the points of the scale;
correct answers by a probit model with random readers and images. The truths of both models are
computed in closed form, so the coverage of the analysis' intervals can be counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any
from typing import Protocol as Form

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.ground import records
from ml.progress import Progress
from ml.readers.analysis import analyse
from ml.readers.choice_results import ChoiceVerdict
from ml.readers.grade_results import GradesAcross
from ml.readers.reading import Protocol, Reading
from ml.readers.results import Across, MeanVerdict, ReaderVerdict, Refused
from ml.statistics import mrmc
from ml.statistics.area import of_histograms
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError, wilson_limits
from ml.statistics.ratings import Ratings

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RoeMetz:
    """Latent rating = separation · truth + reader + case + reader × case, in case-level units.

    ``case`` + ``own`` = 1: variance shared by readers, and each reader's own with its noise.
    ``reader`` is the variance of a reader's place on the scale, drawn apart for real and
    synthetic images. ``cuts`` (rising) cut it into ratings 1 … len(cuts) + 1.
    """

    separation: float = 0.0
    reader: float = 0.011
    case: float = 0.4
    cuts: tuple[float, ...] = (-1.2, -0.55, 0.0, 0.55, 1.2)

    def __post_init__(self) -> None:
        if not 0 <= self.case <= 1 or self.reader < 0:
            raise ReadersError("Variances: case between 0 and 1, reader 0 or more.")
        if list(self.cuts) != sorted(set(self.cuts)) or not self.cuts:
            raise ReadersError("The cuts of the scale must rise.")

    @classmethod
    def with_area(
        cls,
        area: float,
        reader: float = 0.011,
        case: float = 0.4,
        cuts: Sequence[float] = (-1.2, -0.55, 0.0, 0.55, 1.2),
    ) -> RoeMetz:
        """The model whose mean area before cutting into ratings is ``area``, above 0 and below 1.

        ``cuts`` are told from the middle between real and synthetic images.

        Raises:
            ReadersError: another area.
        """
        if not 0 < area < 1:
            raise ReadersError(f"A simulated area lies between 0 and 1, not at {area}.")
        separation = float(scipy.stats.norm.ppf(area)) * sqrt(2 * (1 + reader))
        middle = separation / 2
        return cls(separation, reader, case, tuple(middle + c for c in cuts))

    def draw(
        self, truth: NDArray[np.int64], readers: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], Floats]:
        """Ratings (readers, n) from 1, and each reader's true area (readers,) on such images."""
        n = len(truth)
        places = rng.normal(0, sqrt(self.reader), (readers, 2))
        latent = (
            self.separation * truth
            + places[:, truth]
            + rng.normal(0, sqrt(self.case), n)
            + rng.normal(0, sqrt(1 - self.case), (readers, n))
        )
        own = [self._area(b[0], self.separation + b[1], 1.0) for b in places]
        return np.searchsorted(self.cuts, latent) + 1, np.array(own)

    def area(self) -> float:
        """The mean true area of the cut ratings over readers and images.

        Readers' places for real and synthetic images are independent, and an area is bilinear in
        the two distributions of ratings, so the mean over readers is that of the mean ratings.
        """
        return self._area(0.0, self.separation, sqrt(1 + self.reader))

    def _area(self, real: float, synthetic: float, sd: float) -> float:
        edges = np.array([-np.inf, *self.cuts, np.inf])
        p = [np.diff(scipy.stats.norm.cdf((edges - mean) / sd)) for mean in (synthetic, real)]
        return float(of_histograms(p[0], p[1]))


@dataclass(frozen=True)
class Probit:
    """P(correct) = Φ(level + reader + image), with standard deviations of readers and images."""

    level: float = 0.25
    reader_sd: float = 0.3
    image_sd: float = 0.6

    def draw(self, images: int, readers: int, rng: np.random.Generator) -> Floats:
        """Correct answers (readers, images), 0 or 1."""
        latent = (
            self.level
            + rng.normal(0, self.reader_sd, (readers, 1))
            + rng.normal(0, self.image_sd, images)
            + rng.normal(0, 1, (readers, images))
        )
        return (latent > 0).astype(np.float64)

    def accuracy(self) -> float:
        """The mean share correct over readers and images."""
        spread = sqrt(1 + self.reader_sd**2 + self.image_sd**2)
        return float(scipy.stats.norm.cdf(self.level / spread))


@dataclass(frozen=True)
class Design:
    """Readers of the same images, a share of them synthetic, and the models of their answers."""

    readers: int = 5
    images: int = 120
    synthetic_share: float = 0.5
    margin: float = 0.10
    ratings: RoeMetz = field(default_factory=RoeMetz)
    correct: Probit = field(default_factory=Probit)

    def __post_init__(self) -> None:
        fake = round(self.images * self.synthetic_share)
        if self.readers < 1 or min(fake, self.images - fake) < 2:
            raise ReadersError("A rehearsal needs a reader, two real and two synthetic images.")

    def truth(self) -> NDArray[np.int64]:
        """(images,) of 1 synthetic, then 0 real; the order of reading is drawn for each reader."""
        fake = round(self.images * self.synthetic_share)
        return np.array([1] * fake + [0] * (self.images - fake), dtype=np.int64)


def simulate(design: Design, rng: np.random.Generator) -> tuple[tuple[Reading, ...], Floats]:
    """Readings of one simulated study in random orders, and each reader's true area (readers,)."""
    truth = design.truth()
    rated, own = design.ratings.draw(truth, design.readers, rng)
    readings = []
    for j in range(design.readers):
        order = rng.permutation(len(truth)) + 1
        readings += [
            Reading(
                reader=f"simulated {j + 1}",
                case=f"image {k + 1}",
                synthetic=bool(truth[k]),
                rating=int(rated[j, k]),
                generator="simulated" if truth[k] else None,
                position=int(order[k]),
            )
            for k in range(len(truth))
        ]
    return tuple(readings), own


@dataclass
class Tally:
    """How often intervals held the truth, and how wide they were."""

    name: str
    held: int = 0
    studies: int = 0
    width: float = 0.0

    def count(self, low: float | None, high: float | None, truth: float) -> None:
        """Note one study's interval; one without ends is left out of the count."""
        if low is None or high is None:
            return
        self.studies += 1
        self.held += low <= truth <= high
        self.width += high - low

    def coverage(self) -> Coverage:
        """How often the truth was held, and the mean width."""
        if not self.studies:
            return Coverage(self.name, None, 0)
        share = self.held / self.studies
        ends = wilson_limits(self.held, self.studies)
        return Coverage(self.name, share, self.studies, *ends, self.width / self.studies)


@dataclass(frozen=True)
class Coverage:
    """How often the interval ``name`` held the truth in ``n`` studies, and its mean width.

    ``low`` and ``high`` are Wilson's interval of the simulation itself. All but the name is None
    where no study had the interval.
    """

    name: str
    coverage: float | None
    n: int
    low: float | None = None
    high: float | None = None
    mean_width: float | None = None


@dataclass(frozen=True)
class Verdicts:
    """Shares of ``n`` verdicts that were "equivalent to chance" and "different from chance"."""

    equivalent: float | None
    different: float | None
    n: int

    @classmethod
    def of(cls, equivalent: int, different: int, n: int) -> Verdicts:
        """From counts; the shares are None of no verdict."""
        return cls(equivalent / n if n else None, different / n if n else None, n)


@dataclass(frozen=True)
class Fell:
    """How verdicts fell: over the mean of the readers, and over each alone."""

    across: Verdicts
    per_reader: Verdicts


@dataclass
class Votes:
    """How often verdicts were "equivalent to chance" and "different from chance"."""

    equivalent: int = 0
    different: int = 0
    n: int = 0

    def count(self, verdict: MeanVerdict | ReaderVerdict | ChoiceVerdict | None) -> None:
        """Note one study's verdict; where none was given nothing is counted."""
        if verdict is None or verdict.different_from_chance is None:
            return
        self.n += 1
        self.equivalent += bool(verdict.equivalent_to_chance)
        self.different += verdict.different_from_chance

    def shares(self) -> Verdicts:
        """What fell how often."""
        return Verdicts.of(self.equivalent, self.different, self.n)


@dataclass(frozen=True)
class Outcome:
    """What a rehearsal shows: how often intervals (nominal 0.95) held, and how verdicts fell."""

    design: Design
    studies: int
    seed: int
    true_area: float
    true_accuracy: float
    nominal: float
    coverage: tuple[Coverage, ...]
    verdicts: Fell

    def to_json(self) -> Any:
        """The JSON form; every setting of the design is written."""
        return records.to_json(self) | {"design": asdict(self.design)}


RECOMMENDED = "mean area, random readers and cases (Obuchowski–Rockette–Hillis)"
CORRECT = "share correct, random readers and cases (same formulas)"
OWN = "one reader's area (DeLong)"
FIXED = "mean area of these readers (fixed readers)"
POOLED = "share correct, readings pooled as if independent (never offered; for comparison)"


class _Judged(Form):
    """A reader's area and what is said of it, of ratings or of grades."""

    @property
    def auc(self) -> Figure:
        """The area."""

    @property
    def verdict(self) -> ReaderVerdict:
        """What is said of it."""


class _Counting(Form):
    """A rehearsal of areas."""

    tallies: dict[str, Tally]
    across: Votes
    alone: Votes


def count_areas(
    to: _Counting,
    across: Across | GradesAcross,
    readers: Sequence[_Judged],
    own: Sequence[float] | Floats,
    area: float,
) -> None:
    """Note one simulated study: did its intervals hold, and how did its verdicts fall?

    Args:
        own: each reader's true area (readers,).
        area: that of readers at large.
    """
    if across.verdict is not None and not isinstance(across.random, Refused):
        mean = across.random.mean
        to.tallies[RECOMMENDED].count(mean.low, mean.high, area)
        to.across.count(across.verdict)
    if not isinstance(across.fixed, Refused):
        mean = across.fixed.mean
        to.tallies[FIXED].count(mean.low, mean.high, float(np.mean(own)))
    for one, truth in zip(readers, own, strict=True):
        to.tallies[OWN].count(one.auc.low, one.auc.high, float(truth))
        to.alone.count(one.verdict)


@dataclass
class Rehearsal:
    """Many simulated studies of one design; iterate `run`, then ask for the `outcome`."""

    design: Design
    studies: int = 500
    seed: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    across: Votes = field(default_factory=Votes)
    alone: Votes = field(default_factory=Votes)
    done: int = 0

    def run(self) -> Iterator[Progress]:
        """One step per study: simulate, analyse as a real study is, count."""
        self.tallies = {n: Tally(n) for n in (RECOMMENDED, CORRECT, OWN, FIXED, POOLED)}
        rules = Protocol(margin=self.design.margin, resamples=0)
        area, accuracy = self.design.ratings.area(), self.design.correct.accuracy()
        for study in range(self.studies):
            rng = np.random.default_rng([self.seed, study])
            readings, own = simulate(self.design, rng)
            result = analyse(readings, rules)
            count_areas(self, result.across, result.readers, own, area)
            self._correct(rng, accuracy)
            self.done = study + 1
            yield Progress(study + 1, self.studies, "simulated studies")

    def _correct(self, rng: np.random.Generator, accuracy: float) -> None:
        right = self.design.correct.draw(self.design.images, self.design.readers, rng)
        self.tallies[POOLED].count(*wilson_limits(int(right.sum()), right.size), accuracy)
        if self.design.readers < 2:
            return
        names = tuple(f"simulated {j + 1}" for j in range(self.design.readers))
        cases = tuple(f"image {k + 1}" for k in range(self.design.images))
        block = Ratings(names, ("simulated",), cases, self.design.truth(), right[None])
        try:
            mean = mrmc.random_readers(block, mrmc.FigureOfMerit.MEAN).mean
        except ReadersError:  # every simulated answer was alike: there is no interval to count
            return
        self.tallies[CORRECT].count(mean.low, mean.high, accuracy)

    def outcome(self) -> Outcome:
        """What was found in the studies that are done."""
        return Outcome(
            design=self.design,
            studies=self.done,
            seed=self.seed,
            true_area=self.design.ratings.area(),
            true_accuracy=self.design.correct.accuracy(),
            nominal=0.95,
            coverage=tuple(tally.coverage() for tally in self.tallies.values()),
            verdicts=Fell(self.across.shares(), self.alone.shares()),
        )
