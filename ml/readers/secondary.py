"""Everything but the primary hypothesis: one family of tests, adjusted together where planned.

Where the protocol names Holm, no verdict on a secondary hypothesis goes by its own interval alone:
that of a reader, of readers like these or of two generators holds where its interval shows it and
its adjusted p is below 0.05. Intervals stay as they are, and are those of one question each.

A p value is taken from an interval (Altman & Bland 2011, BMJ 343:d2304), as many standard errors as
the interval's half on that side allows, by the distribution that the interval is of, unless there
is an exact one. At 5 % it says what the interval says; further away it is an approximation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import scipy

from ml.readers.choice_results import (
    ChoicesAcross,
    ChoicesOfReader,
    ChoiceTested,
    ChoiceVerdict,
)
from ml.readers.hypothesis import Claim, Hypothesis, Measure, Multiplicity, Whose
from ml.readers.reading import Protocol
from ml.readers.results import (
    LEVEL,
    Across,
    Adjusted,
    BetweenGenerators,
    MeanVerdict,
    ReaderVerdict,
    Refused,
    Secondary,
    Tested,
)
from ml.statistics import comparison
from ml.statistics.figure import Figure
from ml.statistics.mrmc import Analysis, TreatmentMean

_ALL = ""
"""Whose a hypothesis is that is of no single reader: of readers like these."""

V = TypeVar("V", ReaderVerdict, MeanVerdict, ChoiceVerdict)

Graded = tuple[Mapping[str, ReaderVerdict], Across, BetweenGenerators | Refused | None]
"""Of one graded question: each reader's verdict, all together, and its generators."""


@dataclass(frozen=True)
class _Question:
    """A hypothesis of a reader, or of ``_ALL``; ``claim`` is None of one between generators.

    ``part``: which part of a study it is of, such as a question; "" where there is but one.
    """

    words: str
    p: float | None
    who: str
    claim: Claim | None
    part: str = ""


@dataclass(frozen=True)
class Family:
    """The secondary hypotheses of a study.

    ``adjusted`` is (part, reader, claim) → p after Holm, None where there is none; empty where
    nothing is adjusted. ``of``: the part that verdicts are judged by, as in `_Question`.
    """

    hypotheses: tuple[Secondary, ...]
    adjusted: Mapping[tuple[str, str, Claim], float | None]
    of: str = ""

    def judged(self, who: str, verdict: V) -> V:
        """A reader's verdict by the adjusted p values; as it is where nothing is adjusted."""
        if not self.adjusted or verdict.different_from_chance is None:
            return verdict
        different = self.adjusted.get((self.of, who, Claim.DIFFERENT))
        equivalent = self.adjusted.get((self.of, who, Claim.EQUIVALENT))
        return replace(
            verdict,
            different_from_chance=verdict.different_from_chance and _still(different),
            equivalent_to_chance=bool(verdict.equivalent_to_chance) and _still(equivalent),
            adjusted=Adjusted(
                len(self.hypotheses),
                different,
                equivalent,
                verdict.different_from_chance and not _still(different),
                bool(verdict.equivalent_to_chance) and not _still(equivalent),
            ),
        )

    def part(self, name: str) -> Family:
        """The same, to judge what is of one part of a study, such as a question."""
        return replace(self, of=name)

    def across(self, verdict: MeanVerdict | None) -> MeanVerdict | None:
        """The verdict of readers like these, but for the claim that is the primary hypothesis."""
        return None if verdict is None else self.judged(_ALL, verdict)


NO_FAMILY = Family((), {})


def as_planned(
    verdict: MeanVerdict | None,
    hypothesis: Hypothesis | None,
    planned: Tested | ChoiceTested | None,
) -> MeanVerdict | None:
    """The verdict of readers like these, its primary claim as the plan for missing answers has it.

    That claim is in no family, and what all answers say of it is an analysis beside the plan.
    """
    if verdict is None or hypothesis is None or planned is None or hypothesis.generator:
        return verdict
    if hypothesis.whose is not Whose.LIKE_THESE:
        return verdict
    holds = bool(planned.holds)
    if hypothesis.claim is Claim.DIFFERENT:
        return replace(verdict, different_from_chance=holds)
    if hypothesis.claim is Claim.EQUIVALENT and verdict.equivalent_to_chance is not holds:
        why = planned.note or "as planned for missing answers, it is the primary hypothesis"
        return replace(verdict, equivalent_to_chance=holds, reason=why)
    return verdict


def _still(p: float | None) -> bool:
    """Whether a claim that its interval shows is one still; the primary one has no p here."""
    return p is None or p < LEVEL


def of_ratings(
    readers: Mapping[str, ReaderVerdict],
    across: Across,
    between: BetweenGenerators | Refused | None,
    rules: Protocol,
) -> Family:
    """Of a study of ratings; none where no primary hypothesis was named.

    One without a verdict has no p, and counts in the adjustment with p = 1.
    """
    if rules.hypothesis is None:
        return NO_FAMILY
    return _tested(_of_areas(readers, across, between, rules), rules)


def of_grades(questions: Mapping[str, Graded], rules: Protocol) -> Family:
    """Of a study of graded realism: all questions, by what they ask, are one family.

    The primary hypothesis is of the first. `Family.part` is what is of one of them.
    """
    if rules.hypothesis is None:
        return NO_FAMILY
    rows: list[_Question] = []
    for place, (name, (readers, across, between)) in enumerate(questions.items()):
        own = rules if place == 0 else replace(rules, hypothesis=None)
        rows += _named(name, _of_areas(readers, across, between, own))
    return _tested(rows, rules)


def of_preferences(
    contests: Mapping[str, tuple[Sequence[ChoicesOfReader], ChoicesAcross]], rules: Protocol
) -> Family:
    """Of a study of preferences: all contests, by their names, are one family.

    Of one contest the primary hypothesis is not in it; of several it is of a generator against all
    others, which is no contest, so that none is left out.
    """
    if rules.hypothesis is None:
        return NO_FAMILY
    own = rules if len(contests) == 1 else replace(rules, hypothesis=None)
    if own.hypothesis is not None:
        own = replace(own, hypothesis=replace(own.hypothesis, generator=""))
    rows: list[_Question] = []
    for name, (readers, across) in contests.items():
        rows += _named(name, _of_shares(readers, across, own, Measure.PREFERENCE))
    return _tested(rows, rules)


def _named(name: str, rows: Sequence[_Question]) -> list[_Question]:
    return [replace(row, words=f"{name} {row.words}", part=name) for row in rows]


def _of_areas(
    readers: Mapping[str, ReaderVerdict],
    across: Across,
    between: BetweenGenerators | Refused | None,
    rules: Protocol,
) -> list[_Question]:
    rows = [
        row
        for name, one in readers.items()
        for row in _of_reader(name, one, one.auc, None, None, rules, rules.measure)
    ]
    mean = None if isinstance(across.random, Refused) else across.random.mean
    rows += _of_readers(mean, across.verdict, rules, rules.measure)
    random = between.random if isinstance(between, BetweenGenerators) else between
    return [*rows, *_of_generators(random, rules, rules.measure)]


def of_choices(
    readers: Sequence[ChoicesOfReader],
    across: ChoicesAcross,
    between: Analysis | Refused | None,
    rules: Protocol,
) -> Family:
    """The same of a study of pairs; of independent pairs with the readers' exact p values."""
    if rules.hypothesis is None:
        return NO_FAMILY
    rows = _of_shares(readers, across, rules, Measure.SHARE)
    return _tested([*rows, *_of_generators(between, rules, Measure.SHARE)], rules)


def _of_shares(
    readers: Sequence[ChoicesOfReader], across: ChoicesAcross, rules: Protocol, measure: Measure
) -> list[_Question]:
    rows = [
        row
        for one in readers
        for row in _of_reader(
            one.reader, one.verdict, one.primary, one.verdict.p, one.verdict.equivalence_p, rules,
            measure,
        )
    ]  # fmt: skip
    mean = None if isinstance(across.random, Refused) else across.random.mean
    return [*rows, *_of_readers(mean, across.verdict, rules, measure)]


def difference_p(value: float, low: float, high: float, df: float | None = None) -> float:
    """Two-sided p against 0.5 of an area with its 95 % interval.

    Args:
        df: of the t distribution that the interval is of; None: of the normal one.
    """
    half = value - low if value > 0.5 else high - value
    away = abs(value - 0.5)
    if half <= 0:
        return 0.0 if away else 1.0
    return min(1.0, 2 * _beyond(away / half, 0.975, df))


def equivalence_p(
    value: float, low: float, high: float, margin: float, df: float | None = None
) -> float:
    """p of two one-sided tests within 0.5 ± ``margin``, of an area with its 90 % interval.

    Args:
        df: as of ``difference_p``.
    """

    def one(room: float, half: float) -> float:
        if half <= 0:
            return 0.0 if room > 0 else 1.0
        return _beyond(room / half, 0.95, df)

    return max(one(0.5 + margin - value, high - value), one(value - 0.5 + margin, value - low))


def _beyond(halves: float, level: float, df: float | None) -> float:
    """The tail beyond so many half-widths of an interval that ends at this quantile."""
    known = scipy.stats.norm if df is None else scipy.stats.t(df)
    return float(known.sf(known.ppf(level) * halves))


def _tested(rows: Sequence[_Question], rules: Protocol) -> Family:
    if rules.multiplicity is not Multiplicity.HOLM:
        return Family(tuple(Secondary(row.words, row.p, None, None) for row in rows), {})
    adjusted = [
        None if row.p is None else q
        for row, q in zip(
            rows, comparison.holm([1.0 if row.p is None else row.p for row in rows]), strict=True
        )
    ]
    return Family(
        tuple(
            Secondary(row.words, row.p, q, None if q is None else q < LEVEL)
            for row, q in zip(rows, adjusted, strict=True)
        ),
        {
            (row.part, row.who, row.claim): q
            for row, q in zip(rows, adjusted, strict=True)
            if row.claim is not None
        },
    )


def _of_reader(
    name: str,
    verdict: ReaderVerdict | ChoiceVerdict,
    wide: Figure,
    exact_difference: float | None,
    exact_equivalence: float | None,
    rules: Protocol,
    measure: Measure,
) -> list[_Question]:
    different = equivalent = None
    narrow = verdict.equivalence_interval
    if verdict.different_from_chance is not None and wide.ends and narrow.ends:
        different, equivalent = exact_difference, exact_equivalence
        if different is None:
            different = difference_p(wide.known, *wide.ends)
        if equivalent is None:
            equivalent = equivalence_p(narrow.known, *narrow.ends, rules.margin)
        if not verdict.equivalent_to_chance and equivalent < LEVEL:
            equivalent = None  # an interval within the margin that shows nothing
    within = f"within ±{rules.margin:.2f}"
    return [
        _Question(
            f"reader {name}: {measure} different from chance", different, name, Claim.DIFFERENT
        ),
        _Question(
            f"reader {name}: {measure} equivalent to chance {within}", equivalent, name,
            Claim.EQUIVALENT,
        ),
    ]  # fmt: skip


def _of_readers(
    mean: TreatmentMean | None, verdict: MeanVerdict | None, rules: Protocol, measure: Measure
) -> list[_Question]:
    """Readers like these, but for what the primary hypothesis says of them."""
    primary = rules.hypothesis
    found: dict[Claim, float | None] = {Claim.DIFFERENT: None, Claim.EQUIVALENT: None}
    if verdict is not None and mean is not None:
        low, high = verdict.equivalence_low, verdict.equivalence_high
        found[Claim.DIFFERENT] = difference_p(mean.value, mean.low, mean.high, mean.df)
        # the wider interval may be that of these very readers, which is no t interval
        p = max(equivalence_p(mean.value, low, high, rules.margin, df) for df in (mean.df, None))
        found[Claim.EQUIVALENT] = p if verdict.equivalent_to_chance or p >= LEVEL else None
    return [
        _Question(f"readers like these: mean {measure} {claim}", p, _ALL, claim)
        for claim, p in found.items()
        if primary is None
        or primary.generator
        or (primary.claim, primary.whose) != (claim, Whose.LIKE_THESE)
    ]


def _of_generators(
    random: Analysis | Refused | None, rules: Protocol, measure: Measure
) -> list[_Question]:
    """Pairs of generators, for readers like these."""
    if random is None or isinstance(random, Refused):
        return []
    pairs, primary = random.differences, rules.hypothesis
    ours = primary and (primary.claim, primary.whose) == (Claim.GENERATORS, Whose.LIKE_THESE)
    if ours and len(pairs) == 1:
        return []
    return [
        _Question(f"{one.first} and {one.second}: mean {measure} differs", one.p, _ALL, None)
        for one in pairs
    ]
