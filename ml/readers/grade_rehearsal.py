"""Simulated readers of graded realism through the real analysis, before anyone reads.

The readers are those of Roe & Metz (1997, Acad Radiol 4:298): each image looks more or less real to
them, and what they see is cut into five grades. One question is simulated: the first, which the
primary hypothesis is of. The power of a study is that of ratings on five points
(`ml.readers.simulation`), because its areas are judged by the same formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ml.ground import records
from ml.progress import Progress
from ml.readers.grades import POINTS, GradedQuestion, GradedReading
from ml.readers.grading import analyse_grades
from ml.readers.reading import Protocol
from ml.readers.rehearsal import (
    FIXED,
    OWN,
    RECOMMENDED,
    Coverage,
    Design,
    Fell,
    RoeMetz,
    Tally,
    Votes,
    count_areas,
    simulate,
)
from ml.statistics.latent import CUTS_OF_GRADES

SIMULATED = GradedQuestion("simulated", tuple(map(str, range(1, POINTS + 1))))


@dataclass(frozen=True)
class GradeDesign:
    """Readers of the same images, a share of them synthetic, and the model of their grades."""

    readers: int = 5
    images: int = 120
    synthetic_share: float = 0.5
    margin: float = 0.10
    grades: RoeMetz = field(default_factory=lambda: of_area(0.5))

    def __post_init__(self) -> None:
        self.of_ratings  # noqa: B018 - it refuses what cannot be simulated

    @property
    def of_ratings(self) -> Design:
        """The same readers and images with ratings, which the grades are turned round.

        Raises:
            ReadersError: too few readers or images of either kind.
        """
        return Design(
            self.readers, self.images, self.synthetic_share, self.margin, ratings=self.grades
        )


def of_area(area: float) -> RoeMetz:
    """Readers to whom real images look more real with a mean area of ``area`` before grading.

    Raises:
        ReadersError: an area that is not between 0 and 1.
    """
    return RoeMetz.with_area(area, cuts=CUTS_OF_GRADES)


def simulate_grades(
    design: GradeDesign, rng: np.random.Generator
) -> tuple[tuple[GradedReading, ...], tuple[float, ...]]:
    """Grades of one simulated study in random orders, and each reader's true area (readers,)."""
    rated, own = simulate(design.of_ratings, rng)
    graded = tuple(
        GradedReading(
            reader=one.reader,
            case=one.case,
            synthetic=one.synthetic,
            grades=None if one.rating is None else (POINTS + 1 - one.rating,),
            generator=one.generator,
            position=one.position,
        )
        for one in rated
    )
    return graded, tuple(map(float, own))


@dataclass(frozen=True)
class GradeOutcome:
    """What a rehearsal shows: how often intervals (nominal 0.95) held, and how verdicts fell.

    ``true_area`` is that of the grades: a little nearer to 0.5 than before grading.
    """

    design: GradeDesign
    studies: int
    seed: int
    true_area: float
    nominal: float
    coverage: tuple[Coverage, ...]
    verdicts: Fell

    def to_json(self) -> Any:
        """The JSON form; every setting of the design is written."""
        return records.to_json(self) | {"design": asdict(self.design)}


@dataclass
class GradeRehearsal:
    """Many simulated studies of one design; iterate `run`, then ask for the `outcome`."""

    design: GradeDesign
    studies: int = 500
    seed: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    across: Votes = field(default_factory=Votes)
    alone: Votes = field(default_factory=Votes)
    done: int = 0

    def run(self) -> Iterator[Progress]:
        """One step per study: simulate, analyse as a real study is, count."""
        self.tallies = {name: Tally(name) for name in (RECOMMENDED, OWN, FIXED)}
        rules = Protocol(margin=self.design.margin, resamples=0)
        area = self.design.grades.area()
        for study in range(self.studies):
            rng = np.random.default_rng([self.seed, study])
            readings, own = simulate_grades(self.design, rng)
            [question] = analyse_grades(readings, [SIMULATED], rules).questions
            count_areas(self, question.across, question.readers, own, area)
            self.done = study + 1
            yield Progress(study + 1, self.studies, "simulated studies")

    def outcome(self) -> GradeOutcome:
        """What was found in the studies that are done."""
        return GradeOutcome(
            design=self.design,
            studies=self.done,
            seed=self.seed,
            true_area=self.design.grades.area(),
            nominal=0.95,
            coverage=tuple(tally.coverage() for tally in self.tallies.values()),
            verdicts=Fell(self.across.shares(), self.alone.shares()),
        )
