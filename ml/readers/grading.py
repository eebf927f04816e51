"""The analysis of graded realism: each question by itself, each reader first, then across readers.

For each question the measure is the area under the ROC curve of the grades: the chance that a real
image gets a higher grade than a synthetic one, ties counting half. It is judged by the rules and
the formulas of ratings (`ml.readers.several`). Only first presentations count; repeats serve
agreement of a reader with themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import median

import numpy as np

from ml.readers import grade_words, several, single
from ml.readers import primary as hypothesis
from ml.readers import secondary as others
from ml.readers.grade_results import (
    AreaOfPart,
    Distribution,
    GeneratorsGraded,
    GradeResult,
    GradesAcross,
    GradesAlike,
    GradesOfReader,
    GradingReader,
    OwnGrades,
    QuestionResult,
)
from ml.readers.grades import (
    POINTS,
    GradedQuestion,
    GradedReading,
    GradesShown,
    counted_grades,
    present_grades,
    rules_of_grades,
)
from ml.readers.hypothesis import Measure
from ml.readers.reading import Presentations, Protocol, Reading, present
from ml.readers.results import (
    Across,
    Amended,
    AppliedRule,
    BetweenGenerators,
    Counts,
    Primary,
    Unsent,
)
from ml.statistics import agreement, trends
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError

GRADES = tuple(range(1, POINTS + 1))


def analyse_grades(
    readings: Iterable[GradedReading],
    questions: Sequence[GradedQuestion],
    protocol: Protocol | None = None,
    later: Mapping[int, Protocol] | None = None,
    marked: Collection[str] | None = None,
) -> GradeResult:
    """The whole result of a study.

    Args:
        readings: every trial, also those without an answer.
        questions: what was asked, in the order of the grades; the hypothesis is of the first.
        protocol: what was fixed before reading; its scale is that of grades.
        later: version → rules that amended it after the first answer; told beside it.
        marked: images that a leak audit marks, by case; None where that is not known.

    Raises:
        ReadersError: no question, one that is asked twice, or readings that contradict each other
            (`present_grades`).
    """
    if not questions:
        raise ReadersError("Grades are given to questions, and there is none.")
    twice = [text for text, n in Counter(one.text for one in questions).items() if n > 1]
    if twice:  # its hypotheses are known by its text
        raise ReadersError(f"The question “{twice[0]}” is asked twice. Word the questions apart.")
    rules = rules_of_grades(protocol or Protocol())
    given = list(readings)
    every = counted_grades(given)
    unsent = Unsent.of(
        ((r.reader, r.unsent) for r in given if r.grades is not None and not r.is_practice),
        in_protocol=rules.unsent_rule_in_protocol,
    )
    shown = Unsent.apart(unsent, present_grades(every, questions))
    counts = Counts.of(shown)
    asked = [_Asked(every, shown, place, one, rules) for place, one in enumerate(questions)]
    readers = tuple(_reader(name, shown) for name in shown.readers)
    family = others.of_grades({one.question.text: one.judged for one in asked}, rules)
    primary = asked[0].primary(marked, given if unsent else None) if shown.first else None
    results = tuple(
        one.result(family.part(one.question.text), primary if place == 0 else None)
        for place, one in enumerate(asked)
    )
    found = GradeResult(
        summary="",
        margin=rules.margin,
        grades=counts,
        questions=results,
        readers=readers,
        primary=primary,
        amended=asked[0].amended(later or {}) if shown.first else (),
        secondary=family.hypotheses if shown.first else (),
        scale_rule=AppliedRule(
            rules.scale_rule.least_off, rules.scale_rule.least_ratings, rules.scale_rule_in_protocol
        ),
        warnings=grade_words.warnings(counts, results, readers, rules),
        methods="",
        unsent=unsent,
    )
    return replace(
        found,
        warnings=Unsent.first(unsent, found.warnings),
        summary=" ".join(grade_words.sentences(found)),
        methods=grade_words.methods(found, rules),
    )


class _Asked:
    """One question, its grades as the ratings that the formulas take."""

    def __init__(
        self,
        every: Sequence[GradedReading],
        shown: GradesShown,
        place: int,
        question: GradedQuestion,
        rules: Protocol,
    ) -> None:
        self._graded, self._place, self._rules = shown, place, rules
        self._ratings = [one.of(place) for one in every]
        self._shown: Presentations = present(self._ratings, POINTS)
        self.question = question
        self.across: Across = several.across(self._shown, rules)
        self.between = several.between(self._shown, rules)
        self.readers = tuple(self._reader(name) for name in shown.readers)

    @property
    def judged(self) -> others.Graded:
        """What is said of this question alone."""
        return {one.reader: one.verdict for one in self.readers}, self.across, self.between

    def result(self, family: others.Family, primary: Primary | None) -> QuestionResult:
        """Its part of the result, with verdicts by the family of all questions.

        Args:
            primary: of the question that the primary hypothesis is of.
        """
        across, between = self.across, self.between
        return QuestionResult(
            text=self.question.text,
            anchors=self.question.anchors,
            distributions=self._distributions(self._graded.first),
            readers=tuple(
                replace(one, verdict=family.judged(one.reader, one.verdict)) for one in self.readers
            ),
            across=GradesAcross(
                across.left_out,
                across.random,
                across.fixed,
                others.as_planned(
                    family.across(across.verdict),
                    self._rules.hypothesis,
                    primary.planned if primary else None,
                ),
                across.no_verdict,
            ),
            between_generators=GeneratorsGraded(
                between.random, between.fixed, between.left_out, between.no_verdict
            )
            if isinstance(between, BetweenGenerators)
            else between,
            agreement=self._alike(),
            alpha=self._alpha(),
        )

    def primary(
        self, marked: Collection[str] | None, given: Sequence[GradedReading] | None
    ) -> Primary | None:
        whole = None if given is None else [one.of(self._place) for one in given]
        return hypothesis.primary(self._ratings, _of_the_first(self._rules), marked, whole)

    def amended(self, later: Mapping[int, Protocol]) -> tuple[Amended, ...]:
        rules = _of_the_first(self._rules)
        rows = (
            hypothesis.amended(
                self._ratings, rules, version, _of_the_first(rules_of_grades(changed))
            )
            for version, changed in later.items()
        )
        return tuple(row for row in rows if row is not None)

    # -- readers -------------------------------------------------------------------------------

    def _reader(self, name: str) -> GradesOfReader:
        mine = self._shown.of(name)
        real = [one for one in mine if not one.synthetic]
        fake = [one for one in mine if one.synthetic]
        verdict, _ = single.area(mine, self._rules)
        return GradesOfReader(
            reader=name,
            n=len(mine),
            real=len(real),
            synthetic=len(fake),
            distributions=self._distributions(self._graded.of(name)),
            auc=verdict.auc,
            verdict=verdict,
            by_generator=self._parts(fake, lambda one: one.generator or "synthetic", real),
            by_class=self._parts(mine, lambda one: one.lesion_class, ()),
            own=self._own(name),
        )

    def _parts(
        self,
        readings: Sequence[Reading],
        part: Callable[[Reading], str | None],
        beside: Sequence[Reading],
    ) -> tuple[AreaOfPart, ...]:
        """The area of each part of the readings, with those ``beside`` it."""
        names = sorted({name for one in readings if (name := part(one)) is not None})
        return tuple(
            AreaOfPart(
                name,
                single.auc_or_reason(
                    [*beside, *(one for one in readings if part(one) == name)], self._rules
                ),
            )
            for name in names
        )

    def _own(self, name: str) -> OwnGrades | None:
        pairs = [
            (self._grade(first), self._grade(again))
            for first, again in self._graded.repeats
            if first.reader == name
        ]
        if not pairs:
            return None
        before, after = [a for a, _ in pairs], [b for _, b in pairs]
        return OwnGrades(
            len(pairs),
            agreement.cohen(before, after, GRADES, "quadratic"),
            agreement.same_share(before, after),
        )

    def _grade(self, one: GradedReading) -> int:
        assert one.grades is not None  # presented, so answered
        return one.grades[self._place]

    def _distributions(self, readings: Sequence[GradedReading]) -> tuple[Distribution, ...]:
        rows = []
        for source in self._graded.sources:
            given = [self._grade(one) for one in readings if one.source == source]
            if given:
                counts = Counter(given)
                rows.append(
                    Distribution(
                        source, len(given), tuple(counts[k] for k in GRADES), float(median(given))
                    )
                )
        return tuple(rows)

    # -- agreement -----------------------------------------------------------------------------

    def _alike(self) -> tuple[GradesAlike, ...]:
        rows = []
        for a, b in combinations(self._by_reader, 2):
            first, second = self._by_reader[a], self._by_reader[b]
            both = [case for case in first if case in second]
            if both:
                found = agreement.cohen(
                    [first[c] for c in both], [second[c] for c in both], GRADES, "quadratic"
                )
                rows.append(GradesAlike((a, b), len(both), found))
        return tuple(rows)

    @property
    def _by_reader(self) -> dict[str, dict[str, int]]:
        return {
            name: {one.case: self._grade(one) for one in self._graded.of(name)}
            for name in self._graded.readers
        }

    def _alpha(self) -> Figure:
        clusters = {one.case: one.cluster for one in self._graded.first}
        values = np.array(
            [[float(mine.get(case, np.nan)) for case in clusters]
             for mine in self._by_reader.values()]
        )  # fmt: skip
        try:
            if len(values) < 2:
                raise ReadersError("agreement between readers needs two readers")
            return agreement.krippendorff(
                values, "ordinal", resamples=self._rules.resamples, seed=self._rules.seed,
                clusters=tuple(clusters.values()),
            )  # fmt: skip
        except ReadersError as error:
            return Figure.undefined(0, "none", str(error))


def _of_the_first(rules: Protocol) -> Protocol:
    """By which hypotheses speak of the first question."""
    return replace(rules, measure=Measure.GRADE)


def _reader(name: str, shown: GradesShown) -> GradingReader:
    mine = shown.of(name)
    order = range(1, len(mine) + 1)
    timed = [
        (one.active_ms, k) for k, one in zip(order, mine, strict=True) if one.active_ms is not None
    ]
    grades = [one.grades or () for one in mine]
    alike = None
    if grades and len(grades[0]) > 1:
        alike = sum(len(set(one)) == 1 for one in grades) / len(grades)
    return GradingReader(
        name, len(mine), alike, trends.times([t for t, _ in timed], [k for _, k in timed])
    )
