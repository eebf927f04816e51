"""The analysis of preferences: of two images by two generators, which looks more real?

Each contest of two generators is a forced choice against 0.5, each reader first, then random
readers and pairs by the formulas and rules of `ml.readers.choice`. Of three generators and more the
model of Bradley & Terry puts them on one scale. Nothing is said of real images: none is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ml.readers import choice, choice_primary, preference_words, secondary
from ml.readers.choice_results import ChoiceAmended, ChoicePrimary, ChoicesOfReader, ChoiceTested
from ml.readers.hypothesis import Hypothesis, Measure
from ml.readers.pairs import PairReading, PairsShown, Side, counted_pairs, present_pairs
from ml.readers.preference_results import (
    CommonScale,
    Contest,
    PreferenceCounts,
    PreferenceResult,
    PreferencesAcross,
    PreferencesOfReader,
    PreferredOfPart,
    PreferringReader,
    Strength,
)
from ml.readers.reading import Protocol
from ml.readers.results import Refused, Unsent
from ml.statistics import bradley_terry, trends
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError, exact

METHOD = "Bradley–Terry, bootstrap of readers and of pairs"
_AGAINST = {
    choice_primary.RIGHT: "missing answers taken as for it",
    choice_primary.WRONG: "missing answers taken as against it",
}
_LEAST_FINITE = 0.9


def analyse_preferences(
    readings: Iterable[PairReading],
    protocol: Protocol | None = None,
    later: Mapping[int, Protocol] | None = None,
) -> PreferenceResult:
    """The whole result of a study.

    Args:
        readings: every trial, also those without an answer; each of two generators.
        protocol: what was fixed before reading; its hypothesis is of one generator, or of the
            first by name where it names none.
        later: version → rules that amended it after the first answer; told beside it.

    Raises:
        ReadersError: a pair with a real image or of one generator, or readings that contradict each
            other (`present_pairs`).
    """
    rules = protocol or Protocol()
    given = [_by_name(one) for one in readings]
    every = counted_pairs(given)
    unsent = Unsent.of(
        ((r.reader, r.unsent) for r in given if r.answer is not None and not r.is_practice),
        in_protocol=rules.unsent_rule_in_protocol,
    )
    shown = Unsent.apart(unsent, present_pairs(every))
    counts = _counts(shown)
    parts = {pair: _of(shown, *pair) for pair in _contests(shown)}
    found = {
        pair: (own := _readers(part, rules), choice.together(part, own, rules))
        for pair, part in parts.items()
    }
    family = secondary.of_preferences(
        {_named(*pair): of_pair for pair, of_pair in found.items()}, rules
    )
    primary = _primary(every, counts.generators, rules, given if unsent else None)
    # of several contests the hypothesis is of a generator against all others, which is none of them
    own_hypothesis = rules.hypothesis if len(parts) == 1 else None
    if own_hypothesis is not None:
        own_hypothesis = replace(own_hypothesis, generator="")
    contests = []
    for pair, (own, across) in found.items():
        judged = family.part(_named(*pair))
        contests.append(
            Contest(
                *pair,
                len({one.case for one in parts[pair].first}),
                tuple(
                    PreferencesOfReader(
                        one.reader, one.n, one.correct, one.primary, one.left,
                        judged.judged(one.reader, one.verdict),
                        tuple(PreferredOfPart(row.name, row.correct) for row in one.by_class),
                        one.own,
                    )
                    for one in own
                ),
                PreferencesAcross(
                    across.left_out, across.random, across.fixed,
                    secondary.as_planned(
                        judged.across(across.verdict),
                        own_hypothesis,
                        primary.planned if primary else None,
                    ),
                    across.no_verdict,
                ),
            )
        )  # fmt: skip
    readers = tuple(_reader(name, shown) for name in shown.readers)
    result = PreferenceResult(
        summary="",
        margin=rules.margin,
        least_other_side=rules.scale_rule.least_off,
        preferences=counts,
        primary=primary,
        amended=tuple(
            row
            for version, amended in (later or {}).items()
            if (row := _amended(every, counts.generators, rules, version, amended)) is not None
        ),
        contests=tuple(contests),
        scale=_scale(shown, counts.generators, rules),
        readers=readers,
        secondary=family.hypotheses,
        warnings=preference_words.warnings(counts, contests, readers),
        methods="",
        unsent=unsent,
    )
    return replace(
        result,
        warnings=Unsent.first(unsent, result.warnings),
        summary=" ".join(preference_words.sentences(result)),
        methods=preference_words.methods(result, rules),
    )


def favouring(readings: Iterable[PairReading], generator: str) -> list[PairReading]:
    """The pairs that show an image of a generator, turned so that it is their first."""
    return [
        one if one.generator == generator else _turned(one)
        for one in readings
        if generator in (one.generator, one.other)
    ]


def _turned(one: PairReading) -> PairReading:
    assert one.other is not None
    return replace(one, asked=one.asked.other, generator=one.other, other=one.generator)


def _by_name(one: PairReading) -> PairReading:
    if one.other is None or one.other == one.generator:
        raise ReadersError(
            f"Pair {one.case} is of {one.generator} and {one.other or 'a real image'}; a "
            "preference is between two generators."
        )
    return one if one.generator < one.other else _turned(one)


def _named(first: str, second: str) -> str:
    return f"{first} against {second}:"


def _contests(shown: PairsShown) -> list[tuple[str, str]]:
    return sorted({(one.generator, one.other or "") for one in shown.first})


def _of(shown: PairsShown, first: str, second: str) -> PairsShown:
    def is_own(one: PairReading) -> bool:
        return (one.generator, one.other) == (first, second)

    return replace(
        shown,
        first=tuple(one for one in shown.first if is_own(one)),
        repeats=tuple(pair for pair in shown.repeats if is_own(pair[0])),
    )


def _readers(part: PairsShown, rules: Protocol) -> tuple[ChoicesOfReader, ...]:
    return tuple(choice.reader(name, part, rules) for name in part.readers)


def _reader(name: str, shown: PairsShown) -> PreferringReader:
    mine = shown.of(name)
    timed = [(one.active_ms, k) for k, one in enumerate(mine, 1) if one.active_ms is not None]
    return PreferringReader(
        name,
        len(mine),
        exact(sum(one.answer is Side.LEFT for one in mine), len(mine)),
        trends.times([ms for ms, _ in timed], [k for _, k in timed]),
    )


# -- the primary hypothesis -----------------------------------------------------------------------


def meant(hypothesis: Hypothesis, generators: Sequence[str]) -> Hypothesis:
    """The same with the generator that it is of: the first by name where it names none."""
    return hypothesis if hypothesis.generator else replace(hypothesis, generator=min(generators))


def _primary(
    readings: Sequence[PairReading],
    generators: Sequence[str],
    rules: Protocol,
    given: Sequence[PairReading] | None = None,
) -> ChoicePrimary | None:
    if rules.hypothesis is None or not generators:
        return None
    named = meant(rules.hypothesis, generators)
    own = favouring(readings, named.generator)
    whole = None if given is None else favouring(given, named.generator)
    nothing_marked = frozenset[str]()  # no audit can tell synthetic images from real ones here
    found = choice_primary.primary(own, replace(rules, hypothesis=named), nothing_marked, whole)
    if found is None:
        return None
    return replace(
        found,
        hypothesis=named.statement(rules.margin, Measure.PREFERENCE),
        planned=_renamed(found.planned),
        sensitivity=tuple(_renamed(one) for one in found.sensitivity),
    )


def _renamed(one: ChoiceTested) -> ChoiceTested:
    return replace(one, analysis=_AGAINST.get(one.analysis, one.analysis))


def _amended(
    readings: Sequence[PairReading],
    generators: Sequence[str],
    rules: Protocol,
    version: int,
    later: Protocol,
) -> ChoiceAmended | None:
    same = (rules.margin, rules.hypothesis, rules.missing)
    if same == (later.margin, later.hypothesis, later.missing):
        return None
    return ChoiceAmended(version, later.margin, _primary(readings, generators, later))


# -- one scale for all ----------------------------------------------------------------------------


def _scale(
    shown: PairsShown, generators: tuple[str, ...], rules: Protocol
) -> CommonScale | Refused | None:
    """By Bradley & Terry; intervals by resampling readers and, apart from them, pairs.

    Both are crossed: a resampled table weighs each answer by how often its reader and its pair were
    drawn (Owen 2007, Ann Appl Stat 1:386), which is a little wide, never narrow.
    """
    if len(generators) < 3:
        return None
    place = {name: k for k, name in enumerate(generators)}
    readers = {name: k for k, name in enumerate(shown.readers)}
    pairs = {case: k for k, case in enumerate(dict.fromkeys(one.case for one in shown.first))}
    won, lost, who, what = (
        np.array(column)
        for column in zip(
            *(
                (
                    place[one.generator if one.named_first else one.other or ""],
                    place[(one.other or "") if one.named_first else one.generator],
                    readers[one.reader],
                    pairs[one.case],
                )
                for one in shown.first
            ),
            strict=True,
        )
    )
    k = len(generators)
    table = np.zeros((k, k))
    np.add.at(table, (won, lost), 1.0)
    value = bradley_terry.strengths(table)
    n = len(shown.first)
    rows = [
        (name, int(table[j].sum()), int(table[j].sum() + table[:, j].sum()))
        for name, j in place.items()
    ]
    if not np.isfinite(value).all():
        return Refused(
            "one generator, or some of them, was always or never preferred to the others, so how "
            "far apart they are has no bound"
        )
    rng = np.random.default_rng(rules.seed)
    drawn = np.zeros((rules.resamples, k, k))
    for sample in range(rules.resamples):
        of_readers = np.bincount(
            rng.integers(len(readers), size=len(readers)), minlength=len(readers)
        )
        of_pairs = np.bincount(rng.integers(len(pairs), size=len(pairs)), minlength=len(pairs))
        weights = (of_readers[who] * of_pairs[what]).astype(float)
        np.add.at(drawn[sample], (won, lost), weights)
    again = bradley_terry.strengths(drawn) if rules.resamples else np.zeros((0, k))
    finite = again[np.isfinite(again).all(axis=1)]
    note = None
    if not rules.resamples or len(finite) < _LEAST_FINITE * len(again):
        note = "too few resampled tables have a bound, so there is no interval"
    ends = None if note else np.quantile(finite, (0.025, 0.975), axis=0)
    return CommonScale(
        tuple(
            Strength(
                name,
                preferred,
                met,
                Figure(
                    float(value[j]),
                    None if ends is None else float(ends[0, j]),
                    None if ends is None else float(ends[1, j]),
                    n,
                    METHOD,
                    note,
                ),
            )
            for j, (name, preferred, met) in enumerate(rows)
        )
    )


def _counts(shown: PairsShown) -> PreferenceCounts:
    pairs = {one.case: one for one in shown.first}
    names = {name for one in pairs.values() for name in (one.generator, one.other or "")}
    return PreferenceCounts(
        readers=len(shown.readers),
        pairs=len(pairs),
        generators=tuple(sorted(names)),
        contests=dict(Counter(f"{one.generator} | {one.other}" for one in pairs.values())),
        classes=dict(Counter(one.lesion_class for one in pairs.values() if one.lesion_class)),
        readings=len(shown.first),
        repeats=len(shown.repeats),
        practice_left_out=shown.practice,
        unanswered_left_out=shown.unanswered,
        late=shown.late,
    )
