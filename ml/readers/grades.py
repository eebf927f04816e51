"""Grades: how realistic readers find an image, by several questions of five anchored points.

Nobody is asked whether it is real. That synthetic images get lower grades than real ones is what is
measured, so the lower grade stands for the surer "synthetic" of `ml.readers.reading`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from ml.readers.reading import Protocol, Reading
from ml.readers.shown import Shown, in_order
from ml.statistics.proportion import ReadersError
from ml.statistics.scale_use import ScaleRule

POINTS = 5
"""Points of each question, from 1 (least realistic) to 5."""


@dataclass(frozen=True)
class GradedQuestion:
    """A question and its anchors: what each grade from 1 to 5 means."""

    text: str
    anchors: tuple[str, ...]


@dataclass(frozen=True)
class GradedReading:
    """One reader's grades of one image.

    ``grades`` has one of 1 … 5 for each question, in their order; None where there is no answer.
    The rest is as in `ml.readers.reading.Reading`, ``unsent`` too.
    """

    reader: str
    case: str
    synthetic: bool
    grades: tuple[int, ...] | None
    generator: str | None = None
    position: int = 0
    session: int = 1
    is_repeat: bool = False
    is_practice: bool = False
    patient: str | None = None
    lesion_class: str | None = None
    active_ms: int | None = None
    unsent: bool = field(default=False, repr=False)

    @property
    def source(self) -> str:
        """``real``, or the generator's name."""
        return (self.generator or "synthetic") if self.synthetic else "real"

    @property
    def cluster(self) -> str:
        """Images of one patient belong together; any other image stands alone."""
        return f"patient {self.patient}" if self.patient else f"image {self.case}"

    def of(self, question: int) -> Reading:
        """The answer to a question, from 0, as a rating on five points: 5 is the lowest grade."""
        return Reading(
            reader=self.reader,
            case=self.case,
            synthetic=self.synthetic,
            rating=None if self.grades is None else POINTS + 1 - self.grades[question],
            generator=self.generator,
            position=self.position,
            session=self.session,
            is_repeat=self.is_repeat,
            is_practice=self.is_practice,
            patient=self.patient,
            lesion_class=self.lesion_class,
            active_ms=self.active_ms,
            unsent=self.unsent,
        )


class GradeRule(ScaleRule):
    """The rule of when a scale was used, in the words of grades."""

    @property
    def text(self) -> str:
        """The rule, to follow "a verdict needs"."""
        return super().text.replace("rating", "grade")

    def fault(self, ratings: ArrayLike) -> str | None:
        """As of ratings, which are the grades turned round; the words name grades."""
        told = super().fault(POINTS + 1 - np.asarray(ratings, dtype=np.float64))
        return None if told is None else told.replace("rating", "grade")


def rules_of_grades(rules: Protocol) -> Protocol:
    """The same rules for ratings that stand for grades."""
    rule = rules.scale_rule
    return replace(rules, scale=POINTS, scale_rule=GradeRule(rule.least_off, rule.least_ratings))


@dataclass(frozen=True)
class GradesShown(Shown[GradedReading]):
    """What readers graded."""

    @property
    def sources(self) -> tuple[str, ...]:
        """``real``, then the generators by name; those whose images were graded."""
        found = {one.source for one in self.first}
        real = ("real",) if any(not one.synthetic for one in self.first) else ()
        return real + tuple(sorted(found - {"real"}))


def counted_grades(readings: Iterable[GradedReading]) -> list[GradedReading]:
    """The readings without answers to pictures that were never sent: nobody can have seen those."""
    return [replace(one, grades=None) if one.unsent else one for one in readings]


def present_grades(
    readings: Iterable[GradedReading], questions: Sequence[GradedQuestion]
) -> GradesShown:
    """Sort readings into first presentations and repeats, as `ml.readers.shown.in_order`.

    Raises:
        ReadersError: another number of grades than of questions, a grade beyond 1 … 5, or an image
            that has two truths.
    """
    truth: dict[str, tuple[bool, str | None]] = {}

    def check(one: GradedReading) -> None:
        grades = one.grades or ()
        if len(grades) != len(questions):
            raise ReadersError(
                f"Reader {one.reader} gave {len(grades)} grades to {one.case}; there are "
                f"{len(questions)} questions."
            )
        wrong = [grade for grade in grades if not 1 <= grade <= POINTS]
        if wrong:
            raise ReadersError(
                f"Reader {one.reader} gave {one.case} the grade {wrong[0]}; grades go from 1 to "
                f"{POINTS}."
            )
        told = (one.synthetic, one.generator)
        if truth.setdefault(one.case, told) != told:
            raise ReadersError(f"Image {one.case} has two truths among the readings.")

    shown = in_order(readings, lambda one: one.grades is not None, check)
    return GradesShown(shown.first, shown.repeats, shown.practice, shown.unanswered, shown.late)
