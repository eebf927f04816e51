"""The primary hypothesis of a forced choice, tested as it was planned, then otherwise.

One test decides. The sensitivity analyses beside it treat missing answers in another way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ml.readers import choice_shares
from ml.readers.choice_results import ChoiceAmended, ChoicePrimary, ChoiceTested
from ml.readers.hypothesis import Claim, Hypothesis, Measure, Missing, Whose
from ml.readers.pairs import PairReading, PairsShown, present_pairs
from ml.readers.reading import Protocol
from ml.readers.results import Refused
from ml.statistics import mrmc

RIGHT = "missing answers taken as right"
WRONG = "missing answers taken as wrong"
_WITH_UNSENT = "with the answers to pairs that were never sent"
_UNMARKED = "without the images that the leak audit marks"


def primary(
    readings: Sequence[PairReading],
    rules: Protocol,
    marked: Collection[str] | None = None,
    given: Sequence[PairReading] | None = None,
) -> ChoicePrimary | None:
    """The hypothesis by the plan, with its sensitivity analyses; None where none was named.

    Args:
        readings: every trial of the study, also those without an answer.
        rules: what was fixed before reading.
        marked: pairs with an image that a leak audit marks, by case; None where it does not tell.
        given: the same with answers to pairs that were never sent; None where there is none.
    """
    hypothesis, missing = rules.hypothesis, rules.missing
    if hypothesis is None:
        return None
    plan = missing or Missing.ALL
    shown = present_pairs(readings)
    rows: dict[str, ChoiceTested] = {
        Missing.ALL: _test(shown, hypothesis, rules, Missing.ALL.value)
    }
    if shown.unanswered:
        answered = rows[Missing.ALL]
        rows |= {
            Missing.COMPLETE: _test(
                _complete(readings, shown), hypothesis, rules, Missing.COMPLETE.value
            ),
            RIGHT: _filled_in(readings, answered, hypothesis, rules, RIGHT, right=True),
            WRONG: _filled_in(readings, answered, hypothesis, rules, WRONG, right=False),
        }
        if hypothesis.claim is Claim.GENERATORS:
            rows |= _drawn_apart(readings, answered, hypothesis, rules)
    if plan in rows or not shown.unanswered:
        planned = rows.pop(plan, None) or rows.pop(Missing.ALL)
    else:
        filled = [one for way, one in rows.items() if way not in (Missing.ALL, Missing.COMPLETE)]
        planned = _worst(filled, hypothesis.claim)
    beside = tuple(rows.values())
    if given is not None:
        beside += (_test(present_pairs(given), hypothesis, rules, _WITH_UNSENT),)
    base = _complete(readings, shown) if plan is Missing.COMPLETE else shown
    if marked is None:
        told = "the leak audit does not tell which images it marks"
        beside += (ChoiceTested(_UNMARKED, 0, *(None,) * 7, told),)
    elif marked:
        left = replace(base, first=tuple(r for r in base.first if r.case not in marked))
        beside += (_test(left, hypothesis, rules, f"{_UNMARKED} ({len(marked)} pairs)"),)
    return ChoicePrimary(
        hypothesis.statement(rules.margin, Measure.SHARE),
        plan,
        replace(planned, analysis=f"as planned: {plan}"),
        beside,
    )


def amended(
    readings: Sequence[PairReading], rules: Protocol, version: int, later: Protocol
) -> ChoiceAmended | None:
    """What would be said by rules that were amended after the first answer; None if nothing else.

    Args:
        rules: the primary ones.
        version: of the protocol that amended them.
        later: the amended ones.
    """
    same = (rules.margin, rules.hypothesis, rules.missing)
    if same == (later.margin, later.hypothesis, later.missing):
        return None
    return ChoiceAmended(version, later.margin, primary(readings, later))


def _test(shown: PairsShown, hypothesis: Hypothesis, rules: Protocol, name: str) -> ChoiceTested:
    if hypothesis.generator:
        first = tuple(r for r in shown.first if r.generator == hypothesis.generator)
        shown = replace(shown, first=first)
    untold = ChoiceTested(
        name, len(shown.readers), None, None, None, None, None, None, None, "no answer is left"
    )
    if not shown.first:
        return untold
    generators = hypothesis.claim is Claim.GENERATORS
    out = (
        choice_shares.left_out_of_generators(shown)
        if generators
        else choice_shares.usable(shown)[1]
    )
    untold = replace(untold, readers=len(shown.readers) - len(out))
    tested = _judged(shown, hypothesis, rules, untold, out)
    if not out or (tested.value is None and tested.p is None):
        return tested
    who = (
        choice_shares.without_of_generators(out)
        if generators
        else f"{', '.join(out)}, who read {choice_shares.TOO_FEW}"
    )
    return replace(tested, note="; ".join(filter(None, (tested.note, f"without {who}"))))


def _judged(
    shown: PairsShown,
    hypothesis: Hypothesis,
    rules: Protocol,
    untold: ChoiceTested,
    out: Collection[str],
) -> ChoiceTested:
    """The test alone; its note says why there is no verdict."""
    lazy = [
        name
        for name in shown.readers
        if name not in out and choice_shares.unused(shown.of(name), rules)
    ]
    note = f"no verdict is given for {', '.join(lazy)}" if lazy else None
    if hypothesis.claim is Claim.GENERATORS:
        compared = choice_shares.between(shown, rules, whose=hypothesis.whose)
        if compared is None or isinstance(compared, Refused):
            return replace(untold, note=compared.refused if compared else "one generator alone")
        gap = compared.differences[0] if len(compared.differences) == 1 else None
        p = compared.p if compared.p is not None else gap.p if gap else None
        return replace(
            untold,
            value=gap.value if gap else None,
            low=gap.low if gap else None,
            high=gap.high if gap else None,
            p=p,
            holds=None if p is None or lazy else p < 0.05,
            note=note,
        )
    found = choice_shares.mean(shown, rules, hypothesis.whose)
    if isinstance(found, Refused):
        return replace(untold, note=found.refused)
    wide, narrow = found
    if wide.se <= mrmc.NO_SPREAD and hypothesis.whose is Whose.LIKE_THESE:
        note = note or choice_shares.NO_SPREAD
    equivalent = 0.5 - rules.margin <= narrow.low and narrow.high <= 0.5 + rules.margin
    if equivalent and hypothesis.claim is Claim.EQUIVALENT:
        note = note or choice_shares.vacuous_mean(shown, rules)
    different = not wide.low <= 0.5 <= wide.high
    holds = equivalent if hypothesis.claim is Claim.EQUIVALENT else different
    return replace(
        untold,
        value=wide.value,
        low=wide.low,
        high=wide.high,
        low90=narrow.low,
        high90=narrow.high,
        holds=None if note else holds,
        note=note,
    )


def _worst(ways: Sequence[ChoiceTested], claim: Claim) -> ChoiceTested:
    """Every way: a difference holds only where it holds each time, and in one direction."""
    if any(one.holds is None for one in ways):
        why = next((one.note for one in ways if one.note), None)
        return replace(ways[0], holds=None, note=why)
    if all(one.holds for one in ways) and claim is not Claim.EQUIVALENT:
        middle = 0.0 if claim is Claim.GENERATORS else 0.5
        if len({(one.value or 0) > middle for one in ways}) > 1:
            return replace(ways[0], holds=False, note="it holds in opposite directions")
    return next((one for one in ways if not one.holds), ways[-1])


def _drawn_apart(
    readings: Sequence[PairReading], given: ChoiceTested, hypothesis: Hypothesis, rules: Protocol
) -> Mapping[str, ChoiceTested]:
    """With missing answers of one generator taken one way and of the others the other way, which
    is what draws them furthest together or apart."""
    found = {}
    for name in sorted({r.generator for r in readings}):
        for right, words in ((True, "right, others as wrong"), (False, "wrong, others as right")):
            way = f"missing answers to {name} taken as {words}"
            found[way] = _filled_in(
                readings, given, hypothesis, rules, way, right=not right, but=name
            )
    return found


def _complete(readings: Sequence[PairReading], shown: PairsShown) -> PairsShown:
    """Of readers who answered every pair that they were to read, a hidden repeat of it or not."""
    asked = {(r.reader, r.case) for r in readings if not r.is_practice}
    lacking = {reader for reader, _ in asked - {(r.reader, r.case) for r in shown.first}}
    return replace(shown, first=tuple(r for r in shown.first if r.reader not in lacking))


def _filled_in(
    readings: Sequence[PairReading],
    given: ChoiceTested,
    hypothesis: Hypothesis,
    rules: Protocol,
    name: str,
    *,
    right: bool,
    but: str | None = None,
) -> ChoiceTested:
    """With missing answers taken one way; no verdict where the given ones allow none.

    What is filled in must not stand for a use of both sides that the readers did not make.
    """
    found = _test(_filled(readings, right=right, but=but), hypothesis, rules, name)
    return found if given.holds is not None else replace(found, holds=None, note=given.note)


def _filled(readings: Sequence[PairReading], *, right: bool, but: str | None = None) -> PairsShown:
    """The answers with those that are missing, of readers who began.

    Args:
        but: the generator of which they are taken the other way.
    """
    began = {r.reader for r in readings if r.answer is not None and not r.is_practice}
    return present_pairs(
        replace(r, answer=r.asked if right is not (r.generator == but) else r.asked.other)
        if r.answer is None and not r.is_repeat and r.reader in began
        else r
        for r in readings
    )
