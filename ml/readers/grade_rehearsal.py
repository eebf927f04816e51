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
from ml.readers.grade_results import GradeResult
from ml.readers.grades import POINTS, GradedQuestion, GradedReading
from ml.readers.grading import analyse_grades
from ml.readers.reading import Protocol
from ml.readers.rehearsal import (
    FIXED,
    OWN,
    RECOMMENDED,
    Coverage,
    Fell,
    RoeMetz,
    Tally,
    Verdicts,
)
from ml.readers.results import Refused
from ml.statistics.latent import CUTS_OF_GRADES
from ml.statistics.proportion import ReadersError

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
        if self.readers < 1 or min(self.synthetic, self.images - self.synthetic) < 2:
            raise ReadersError("A rehearsal needs a reader, two real and two synthetic images.")

    @property
    def synthetic(self) -> int:
        """How many of the images."""
        return round(self.images * self.synthetic_share)


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
    truth = np.array([1] * design.synthetic + [0] * (design.images - design.synthetic))
    rated, own = design.grades.draw(truth, design.readers, rng)
    readings = []
    for j in range(design.readers):
        order = rng.permutation(len(truth)) + 1
        readings += [
            GradedReading(
                reader=f"simulated {j + 1}",
                case=f"image {k + 1}",
                synthetic=bool(truth[k]),
                grades=(POINTS + 1 - int(rated[j, k]),),
                generator="simulated" if truth[k] else None,
                position=int(order[k]),
            )
            for k in range(len(truth))
        ]
    return tuple(readings), tuple(map(float, own))


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
    across: list[tuple[bool, bool]] = field(default_factory=list)
    alone: list[tuple[bool, bool]] = field(default_factory=list)
    done: int = 0

    def run(self) -> Iterator[Progress]:
        """One step per study: simulate, analyse as a real study is, count."""
        self.tallies = {name: Tally(name) for name in (RECOMMENDED, OWN, FIXED)}
        rules = Protocol(margin=self.design.margin, resamples=0)
        for study in range(self.studies):
            rng = np.random.default_rng([self.seed, study])
            readings, own = simulate_grades(self.design, rng)
            self._count(analyse_grades(readings, [SIMULATED], rules), own)
            self.done = study + 1
            yield Progress(study + 1, self.studies, "simulated studies")

    def _count(self, result: GradeResult, own: tuple[float, ...]) -> None:
        [question] = result.questions
        across, area = question.across, self.design.grades.area()
        if across.verdict is not None and not isinstance(across.random, Refused):
            mean = across.random.mean
            self.tallies[RECOMMENDED].count(mean.low, mean.high, area)
            verdict = across.verdict
            self.across.append((verdict.equivalent_to_chance, verdict.different_from_chance))
        if not isinstance(across.fixed, Refused):
            mean = across.fixed.mean
            self.tallies[FIXED].count(mean.low, mean.high, float(np.mean(own)))
        for one, truth in zip(question.readers, own, strict=True):
            self.tallies[OWN].count(one.auc.low, one.auc.high, truth)
            if one.verdict.different_from_chance is not None:
                fell = bool(one.verdict.equivalent_to_chance), one.verdict.different_from_chance
                self.alone.append(fell)

    def outcome(self) -> GradeOutcome:
        """What was found in the studies that are done."""
        return GradeOutcome(
            design=self.design,
            studies=self.done,
            seed=self.seed,
            true_area=self.design.grades.area(),
            nominal=0.95,
            coverage=tuple(tally.coverage() for tally in self.tallies.values()),
            verdicts=Fell(_verdicts(self.across), _verdicts(self.alone)),
        )


def _verdicts(fell: list[tuple[bool, bool]]) -> Verdicts:
    return Verdicts.of(sum(one for one, _ in fell), sum(two for _, two in fell), len(fell))
