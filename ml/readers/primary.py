"""The primary hypothesis tested as it was planned, then otherwise, to see what it depends on.

One test decides. The sensitivity analyses beside it leave something out or fill something in; they
decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ml.readers import secondary, several, single
from ml.readers.hypothesis import Claim, Hypothesis, Missing, Whose
from ml.readers.reading import Presentations, Protocol, Reading, present
from ml.readers.results import Amended, BetweenGenerators, MeanVerdict, Primary, Refused, Tested
from ml.statistics import roc
from ml.statistics.mrmc import Analysis

AS_PLANNED = "as planned"
ALL_RIGHT = "missing answers taken as certainly right"
ALL_WRONG = "missing answers taken as certainly wrong"
WITH_UNSENT = "with the answers to pictures that were never sent"
UNMARKED = "without the images that the leak audit marks"
ONCE = "one real image of each patient"


def primary(
    readings: Sequence[Reading],
    rules: Protocol,
    marked: Collection[str] | None = None,
    given: Sequence[Reading] | None = None,
) -> Primary | None:
    """The primary hypothesis by the plan, with its sensitivity analyses; None where none was named.

    Args:
        readings: every trial of the study, also those without an answer.
        rules: what was fixed before reading.
        marked: images that a leak audit marks, by case; None where it does not tell which.
        given: the same with answers to pictures that were never sent; None where there is none.
    """
    hypothesis, missing = rules.hypothesis, rules.missing
    if hypothesis is None:
        return None
    missing = missing or Missing.ALL
    shown = present(readings, rules.scale)
    ways = _ways(readings, shown, rules)
    planned = _by_plan(ways, missing, hypothesis, rules)
    rows: list[Tested] = []
    if shown.unanswered:
        for way, name in (
            (Missing.ALL, Missing.ALL.value),
            (Missing.COMPLETE, Missing.COMPLETE.value),
        ):
            if way is not missing:
                rows.append(test(ways[name](), hypothesis, rules, name))
        rows += _worst(ways, hypothesis, rules)
    base = ways[Missing.COMPLETE.value if missing is Missing.COMPLETE else Missing.ALL.value]()
    if given is not None:
        rows.append(test(present(given, rules.scale), hypothesis, rules, WITH_UNSENT))
    if marked is None:
        rows.append(_untold(UNMARKED, "the leak audit does not tell which images it marks"))
    elif marked:
        left = _only(base, lambda one: one.case not in marked)
        name = f"{UNMARKED} ({len(marked)})"
        rows.append(test(left, hypothesis, rules, name))
    once = _first_of_patients(base)
    if len(once.first) < len(base.first):
        rows.append(test(once, hypothesis, rules, ONCE))
    return Primary(
        hypothesis=hypothesis.statement(rules.margin, rules.measure),
        claim=hypothesis.claim,
        whose=hypothesis.whose,
        generator=hypothesis.generator,
        missing=missing,
        planned=planned,
        sensitivity=tuple(rows),
    )


def amended(
    readings: Sequence[Reading], rules: Protocol, version: int, later: Protocol
) -> Amended | None:
    """What would be said by rules that were amended after the first answer; None if nothing else.

    Args:
        rules: the primary ones.
        version: of the protocol that amended them.
        later: the amended ones.
    """
    same = (rules.margin, rules.hypothesis, rules.missing, rules.multiplicity)
    if same == (later.margin, later.hypothesis, later.missing, later.multiplicity):
        return None
    shown = present(readings, rules.scale)
    missing = later.missing or Missing.ALL
    planned = None
    if later.hypothesis is not None:
        ways = _ways(readings, shown, later)
        planned = _by_plan(ways, missing, later.hypothesis, later)
    readers = {name: single.verdict(name, shown, later) for name in shown.readers}
    across = several.across(shown, later)
    family = secondary.of_ratings(readers, across, several.between(shown, later), later)
    mean = secondary.as_planned(family.across(across.verdict), later.hypothesis, planned)
    return Amended(
        version=version,
        margin=later.margin,
        hypothesis=later.hypothesis.statement(later.margin, later.measure)
        if later.hypothesis
        else None,
        planned=planned,
        equivalent={
            name: family.judged(name, one).equivalent_to_chance for name, one in readers.items()
        },
        mean_equivalent=None if mean is None else mean.equivalent_to_chance,
    )


def test(shown: Presentations, hypothesis: Hypothesis, rules: Protocol, name: str) -> Tested:
    """The hypothesis on these first presentations, and in its note who is not among them."""
    tested = _judged(shown, hypothesis, rules, name)
    told = tested.value is not None or tested.p is not None
    return tested if not told else _without(tested, shown, hypothesis)


def _meant(shown: Presentations, hypothesis: Hypothesis) -> Presentations:
    """Of a hypothesis of one generator only its synthetic images."""
    if not hypothesis.generator:
        return shown
    return _only(shown, lambda one: not one.synthetic or _generator(one) == hypothesis.generator)


def _without(tested: Tested, shown: Presentations, hypothesis: Hypothesis) -> Tested:
    """With a note of the readers whom the test leaves out."""
    meant = _meant(shown, hypothesis)
    if hypothesis.claim is Claim.GENERATORS:
        out, of = several.left_out_between(meant), "generator"
    else:
        out, of = several.left_out(meant), "kind"
    if not out:
        return tested
    without = f"without {', '.join(out)}, who read fewer than {roc.FEWEST} images of a {of}"
    return replace(tested, note=f"{tested.note}; {without}" if tested.note else without)


def _judged(shown: Presentations, hypothesis: Hypothesis, rules: Protocol, name: str) -> Tested:
    """The test alone; its note says why there is no verdict."""
    shown = _meant(shown, hypothesis)
    sizes = len(shown.readers), len({one.case for one in shown.first})
    if not shown.first:
        return replace(_untold(name, "no answer is left"), readers=0, images=0)
    if hypothesis.claim is Claim.GENERATORS:
        return _of_generators(shown, hypothesis, rules, name, sizes)
    if hypothesis.whose is Whose.LIKE_THESE:
        found = several.across(shown, rules)
        analysis, verdict, why = found.random, found.verdict, found.no_verdict
    else:
        analysis, verdict, why = several.of_these(shown, rules)
    if isinstance(analysis, Refused):
        return replace(_untold(name, analysis.refused), readers=sizes[0], images=sizes[1])
    return _told(name, hypothesis.claim, analysis, verdict, why)


def _told(
    name: str,
    claim: Claim,
    analysis: Analysis,
    verdict: MeanVerdict | None,
    why: str | None,
) -> Tested:
    mean, holds = analysis.mean, None
    parts = analysis.components
    if verdict is not None:
        holds = (
            verdict.equivalent_to_chance
            if claim is Claim.EQUIVALENT
            else verdict.different_from_chance
        )
        why = verdict.reason if claim is Claim.EQUIVALENT else None
    return Tested(
        name, parts.readers, parts.cases, mean.value, mean.low, mean.high,
        verdict.equivalence_low if verdict else None,
        verdict.equivalence_high if verdict else None,
        None, holds, why,
    )  # fmt: skip


def _of_generators(
    shown: Presentations,
    hypothesis: Hypothesis,
    rules: Protocol,
    name: str,
    sizes: tuple[int, int],
) -> Tested:
    """By the F test over the generators; of two, their difference."""
    between = several.between(shown, rules)
    empty = replace(_untold(name, "one generator alone"), readers=sizes[0], images=sizes[1])
    if not isinstance(between, BetweenGenerators):
        return empty if between is None else replace(empty, note=between.refused)
    found = between.random if hypothesis.whose is Whose.LIKE_THESE else between.fixed
    if isinstance(found, Refused):
        return replace(empty, note=found.refused)
    if found.p is None:
        p = found.differences[0].p if len(found.differences) == 1 else None
    else:
        p = found.p
    without_p = "the error of the difference is not known" if p is None else None
    gap = found.differences[0] if len(found.differences) == 1 else None
    parts = found.components
    return Tested(
        name, parts.readers, parts.cases,
        gap.value if gap else None, gap.low if gap else None, gap.high if gap else None,
        None, None, p, None if p is None else p < 0.05, between.no_verdict or without_p,
    )  # fmt: skip


# -- which readings -------------------------------------------------------------------------------


def _ways(
    readings: Sequence[Reading], shown: Presentations, rules: Protocol
) -> Mapping[str, Callable[[], Presentations]]:
    """Name → first presentations with missing answers treated in that way."""
    ways = {
        Missing.ALL.value: lambda: shown,
        Missing.COMPLETE.value: lambda: _complete(readings, shown),
        ALL_RIGHT: lambda: _filled(readings, rules, right=True),
        ALL_WRONG: lambda: _filled(readings, rules, right=False),
    }
    drawn = {_generator(one) for one in readings if one.synthetic} if shown.unanswered else ()
    for name in sorted(drawn):
        for right, words in ((True, "right, others as wrong"), (False, "wrong, others as right")):
            ways[f"missing answers to {name} taken as {words}"] = partial(
                _filled, readings, rules, right=not right, but=name
            )
    return ways


def _by_plan(
    ways: Mapping[str, Callable[[], Presentations]],
    missing: Missing,
    hypothesis: Hypothesis,
    rules: Protocol,
) -> Tested:
    if missing is not Missing.WORST:
        return test(ways[missing.value](), hypothesis, rules, f"{AS_PLANNED}: {missing}")
    rows = _worst(ways, hypothesis, rules)
    name = f"{AS_PLANNED}: {missing}"
    untold = next((one for one in rows if one.holds is None), None)
    if untold is not None:
        why = next((one.note for one in rows if one.note), None)
        return replace(untold, analysis=name, note=why)
    sides = {one.value is not None and one.value > _MIDDLE[hypothesis.claim] for one in rows}
    one_side = hypothesis.claim is Claim.EQUIVALENT or len(sides) == 1
    worse = next((one for one in rows if not one.holds), rows[-1])
    note = None if one_side else _TURNS[hypothesis.claim]
    return replace(
        worse,
        analysis=name,
        holds=all(one.holds for one in rows) and one_side,
        note=note or worse.note,
    )


def _worst(
    ways: Mapping[str, Callable[[], Presentations]], hypothesis: Hypothesis, rules: Protocol
) -> list[Tested]:
    """With missing answers as right, then as wrong; no verdict where the given ones allow none.

    Of a difference between generators also with those of one as right and of the others as wrong,
    and the other way round, which is what draws them furthest together or apart.

    What is filled in must not stand for a use of the scale that the readers did not make.
    """
    given = _judged(ways[Missing.ALL.value](), hypothesis, rules, Missing.ALL.value)
    rows = []
    for name in ways if hypothesis.claim is Claim.GENERATORS else (ALL_RIGHT, ALL_WRONG):
        if name in _AS_GIVEN:
            continue
        filled = ways[name]()
        found = _judged(filled, hypothesis, rules, name)
        if given.holds is None:
            found = replace(found, holds=None, note=given.note)
        # who is left out of the answers as they were given can be in these
        told = found.value is not None or found.p is not None
        rows.append(_without(found, filled, hypothesis) if told else found)
    return rows


_TURNS = {
    Claim.DIFFERENT: "above with answers taken as right, below with them as wrong",
    Claim.GENERATORS: "which generator is above depends on how missing answers are taken",
}
_AS_GIVEN = (Missing.ALL.value, Missing.COMPLETE.value)
_MIDDLE = {Claim.EQUIVALENT: 0.5, Claim.DIFFERENT: 0.5, Claim.GENERATORS: 0.0}


def _only(shown: Presentations, keeps: Callable[[Reading], bool]) -> Presentations:
    return replace(shown, first=tuple(one for one in shown.first if keeps(one)), repeats=())


def _complete(readings: Sequence[Reading], shown: Presentations) -> Presentations:
    """Of readers who answered every image that they were to read."""
    asked: dict[str, set[str]] = {}
    for one in readings:
        if not one.is_practice:
            asked.setdefault(one.reader, set()).add(one.case)
    done = {name for name, cases in asked.items() if {r.case for r in shown.of(name)} == cases}
    return _only(shown, lambda one: one.reader in done)


def _filled(
    readings: Sequence[Reading], rules: Protocol, *, right: bool, but: str = ""
) -> Presentations:
    """With every missing first answer at the end of the scale that is right, or wrong.

    Of readers who answered something: who never began did not read.

    Args:
        but: the generator of which they are taken the other way.
    """
    began = {one.reader for one in readings if one.rating is not None and not one.is_practice}
    return present(
        [
            one
            if one.rating is not None or one.is_repeat or one.reader not in began
            else replace(
                one,
                rating=rules.scale
                if one.synthetic is (right is not (one.synthetic and _generator(one) == but))
                else 1,
            )
            for one in readings
        ],
        rules.scale,
    )


def _first_of_patients(shown: Presentations) -> Presentations:
    """The real image of each patient whose code comes first, and every synthetic one."""
    kept: dict[str, str] = {}
    for one in sorted(shown.first, key=lambda one: one.case):
        if not one.synthetic:
            kept.setdefault(one.cluster, one.case)
    cases = set(kept.values())
    return _only(shown, lambda one: one.synthetic or one.case in cases)


def _generator(one: Reading) -> str:
    return one.generator or "synthetic"


def _untold(name: str, why: str) -> Tested:
    return Tested(name, None, None, None, None, None, None, None, None, None, why)
