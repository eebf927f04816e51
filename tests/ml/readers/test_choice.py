"""The analysis of forced choice: golden shares, lazy readers, patients, words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy

from ml.ground import records
from ml.readers.choice import analyse_choices
from ml.readers.choice_rehearsal import (
    ChoiceDesign,
    ChoiceRehearsal,
    of_share,
    plan_choices,
    simulate_choices,
)
from ml.readers.choice_results import ChoiceResult
from ml.readers.hypothesis import Claim, Hypothesis, Missing, Multiplicity, Whose
from ml.readers.pairs import PairReading, Side
from ml.readers.reading import Protocol
from ml.statistics.proportion import ReadersError

LEFT, RIGHT = Side
QUICK = Protocol(resamples=200)


def plan(hypothesis: Hypothesis, missing: Missing = Missing.WORST) -> Protocol:
    return replace(QUICK, hypothesis=hypothesis, missing=missing)


def read(reader, rights, *, patients=None, sides=None, **more) -> list[PairReading]:
    """Pairs that are right or wrong, the synthetic image on the left of every other one."""
    found = []
    for k, right in enumerate(rights):
        asked = LEFT if k % 2 else RIGHT
        named = asked if right else (RIGHT if asked is LEFT else LEFT)
        found.append(
            PairReading(
                reader, f"pair {k}", asked, sides[k] if sides else named, f"g{k % 2}",
                position=k + 1, patient=f"{patients[k]}" if patients else None,
                lesion_class="cyst", **more,
            )
        )  # fmt: skip
    return found


def shares(*of_each, n=40):
    """Readers with so many of n pairs right, spread over the pairs."""
    return [
        one
        for number, right in enumerate(of_each, 1)
        for one in read(f"R{number}", [(7 * k + 3 * number) % n < right for k in range(n)])
    ]


def generators(*readers, patients=12, pairs=24):
    """Readers of pairs of two generators, two of a patient each: (name, last pair read)."""
    of_patient = [f"P{(k // 2) % patients}" for k in range(pairs)]
    found = []
    for number, (name, last) in enumerate(readers):
        rights = [(5 * k + number) % 7 < 4 for k in range(pairs)]
        found += read(name, rights, patients=of_patient)[:last]
    return found


def test_who_read_pairs_of_one_patient_alone_takes_nothing_from_the_others():
    rows = generators(("R1", 24), ("R2", 24), ("R3", 24), ("R4", 2))
    found = analyse_choices(rows, QUICK)
    assert found.across.left_out == ("R4",)
    assert json.dumps(records.to_json(found), allow_nan=False)
    alone = analyse_choices([one for one in rows if one.reader != "R4"], QUICK)
    assert found.across.random == alone.across.random
    nobody = analyse_choices(generators(("R1", 2), ("R2", 2), ("R3", 2)), QUICK)
    assert "no reader read two pairs of two patients" in nobody.across.random.refused


def test_the_comparison_of_generators_names_whom_it_leaves_out_and_counts_the_others():
    rules = plan(Hypothesis(Claim.GENERATORS), Missing.ALL)
    rows = generators(("R1", 24), ("R2", 24), ("R3", 24), ("R4", 2))
    found = analyse_choices(rows, rules)
    alone = analyse_choices([one for one in rows if one.reader != "R4"], rules)
    told, wanted = found.primary.planned, alone.primary.planned
    assert (told.readers, told.value, told.p) == (3, wanted.value, wanted.p)
    assert told.note is not None and "without R4, who read fewer than two pairs" in told.note
    assert found.between_generators.differences == alone.between_generators.differences
    assert "Without R4" in found.between_generators.warnings[-1]


def test_each_reader_and_readers_at_large_are_those_of_closed_forms():
    found = analyse_choices(shares(26, 30, 28, 22), QUICK)
    first = found.readers[0]
    known = scipy.stats.binomtest(26, 40)
    ends = known.proportion_ci(0.95, "exact")
    assert (first.primary.low, first.primary.high) == pytest.approx((ends.low, ends.high))
    assert first.verdict.p == pytest.approx(known.pvalue)
    assert first.d_prime.value == pytest.approx(np.sqrt(2) * scipy.stats.norm.ppf(0.65))
    # Obuchowski–Rockette of one treatment, by hand, as a score interval: an end is as many standard
    # errors from the mean as the error would be there; readers and pairs have degrees of freedom
    y = np.array([[(7 * k + 3 * j) % 40 < r for k in range(40)]
                  for j, r in enumerate((26, 30, 28, 22), 1)], float)  # fmt: skip
    cov = np.cov(y) / 40
    shared = max((cov.sum() - np.trace(cov)) / 12, 0.0)
    ms_r = y.mean(axis=1).var(ddof=1)
    total = ms_r + 4 * shared
    df = total**2 / (ms_r**2 / 3 + (4 * shared) ** 2 / 39)
    mean = found.across.random.mean
    assert (mean.value, mean.df) == pytest.approx((y.mean(), df))
    for end in (mean.low, mean.high):
        error = np.sqrt(total / 4 * end * (1 - end) / (mean.value * (1 - mean.value)))
        assert abs(end - mean.value) == pytest.approx(scipy.stats.t.ppf(0.975, df) * error)
    assert found.across.d_prime.value == pytest.approx(np.sqrt(2) * scipy.stats.norm.ppf(y.mean()))


def test_whoever_always_names_one_side_gets_no_verdict_alone_or_with_others():
    lazy = [one for n in range(1, 4) for one in read(f"R{n}", [True] * 40, sides=[LEFT] * 40)]
    found = analyse_choices(lazy, QUICK)
    for one in found.readers:
        assert one.correct.value == 0.5
        assert (one.verdict.different_from_chance, one.verdict.equivalent_to_chance) == (None, None)
        assert "left one was named in 40 of 40 pairs" in one.verdict.reason
    assert found.across.verdict is None
    mixed = analyse_choices(
        [*shares(20, 21, 19), *read("R4", [True] * 40, sides=[LEFT] * 39 + [RIGHT])], QUICK
    )
    assert mixed.readers[0].verdict.different_from_chance is False
    assert mixed.across.verdict is None
    assert "R4" in mixed.across.no_verdict


def test_perfect_readers_are_told_apart_from_chance_without_a_width_that_nobody_has():
    found = analyse_choices(shares(40, 40, 40), QUICK)
    assert all(one.verdict.different_from_chance for one in found.readers)
    assert found.readers[0].primary.low == pytest.approx(0.025 ** (1 / 40))
    mean = found.across.random.mean
    assert mean.value == 1.0
    assert mean.low < 0.95
    assert found.across.verdict is None
    assert "do not vary" in found.across.no_verdict


def test_few_pairs_or_readers_carry_no_verdict():
    few = analyse_choices(shares(5, 6, 4, n=9), QUICK)
    assert "9 pairs were read" in few.readers[0].verdict.reason
    two = analyse_choices(shares(20, 22), QUICK)
    assert two.across.verdict is None
    assert "at least 3 are needed" in two.across.no_verdict
    assert analyse_choices([]).summary == "No pair has been read yet, so nothing can be said."


def test_pairs_of_one_patient_widen_intervals_and_take_tests_away():
    rights = [k % 8 < 5 for k in range(40)]
    apart = analyse_choices(read("R1", rights), QUICK).readers[0]
    together = analyse_choices(read("R1", rights, patients=[k // 8 for k in range(40)]), QUICK)
    one = together.readers[0]
    assert one.primary.low < apart.primary.low
    assert (one.verdict.p, one.verdict.power) == (None, None)
    assert together.choices.patients == 5
    assert "Real images came from 5 patients" in together.methods


def test_the_primary_hypothesis_follows_the_plan_for_missing_answers():
    readings = shares(30, 31, 32)
    lacking = [replace(one, answer=None) if one.reader == "R3" and one.position > 15 else one
               for one in readings]  # fmt: skip
    different = Hypothesis(Claim.DIFFERENT, Whose.LIKE_THESE)
    whole = analyse_choices(readings, plan(different), marked=()).primary
    assert (whole.planned.holds, whole.sensitivity) == (True, ())
    assert "share of pairs named right by readers like these" in whole.hypothesis
    found = analyse_choices(lacking, plan(different), marked=())
    assert found.primary.planned.holds is False
    assert [one.analysis for one in found.primary.sensitivity] == [
        "all readers", "complete readers", "missing answers taken as right",
        "missing answers taken as wrong",
    ]  # fmt: skip
    complete = found.primary.sensitivity[1]
    assert (complete.holds, complete.readers) == (None, 2)
    later = replace(plan(Hypothesis(Claim.EQUIVALENT)), margin=0.30)
    [told] = analyse_choices(readings, plan(different), {2: later}).amended
    assert (told.version, told.margin) == (2, 0.30)
    assert analyse_choices(readings, plan(different), {2: plan(different)}).amended == ()
    of_one = Hypothesis(Claim.DIFFERENT, Whose.THESE, "g1")
    assert analyse_choices(readings, plan(of_one)).primary.planned.value == pytest.approx(
        np.mean([one.named_first for one in readings if one.generator == "g1"])
    )


def test_the_verdicts_of_pairs_go_by_holm_where_the_protocol_names_it():
    found = shares(28, 28, 26)  # of 40: exact p 0.017, 0.017 and 0.081
    rules = replace(plan(Hypothesis()), multiplicity=Multiplicity.NONE)
    alone = analyse_choices(found, rules)
    assert [one.verdict.different_from_chance for one in alone.readers] == [True, True, False]
    assert alone.secondary[0].p == alone.readers[0].verdict.p
    told = analyse_choices(found, replace(rules, multiplicity=Multiplicity.HOLM))
    assert [one.verdict.different_from_chance for one in told.readers] == [False, False, False]
    assert len(told.secondary) == 8 and "not after Holm over 8 hypotheses" in told.summary
    assert "adjusted together after Holm" in told.methods and "exploratory" in alone.methods


def test_pairs_that_were_never_sent_and_those_with_marked_images_are_told_beside():
    found = shares(26, 30, 28, 27)
    found = [replace(one, unsent=one.reader == "R4") for one in found]
    told = analyse_choices(found, plan(Hypothesis()), marked={"pair 1", "pair 2"})
    assert told.choices.readers == 3 and told.unsent.readers == {"R4": 40}
    rows = {one.analysis.split(" (")[0]: one for one in told.primary.sensitivity}
    assert rows["with the answers to pairs that were never sent"].readers == 4
    assert rows["without the images that the leak audit marks"].value != told.primary.planned.value
    untold = analyse_choices(found, plan(Hypothesis())).primary
    assert "does not tell" in untold.sensitivity[-1].note


def test_who_left_a_hidden_repeat_out_answered_every_pair():
    found = shares(26, 30, 28)
    again = replace(found[0], is_repeat=True, position=99, answer=None)
    rules = plan(Hypothesis(Claim.DIFFERENT, Whose.LIKE_THESE), Missing.COMPLETE)
    assert analyse_choices([*found, again], rules).primary.planned.readers == 3


def test_a_second_showing_that_counts_since_the_first_has_no_answer_is_said():
    rows = shares(26, 30, 28)
    again = replace(rows[0], is_repeat=True, position=99)
    found = analyse_choices([replace(rows[0], answer=None), *rows[1:], again], QUICK)
    assert (found.choices.readings, found.choices.repeats, found.choices.late) == (120, 0, 1)
    told = "1 answer was given at a second showing"
    assert told in found.methods and any(told in one for one in found.warnings)


def test_repeats_tell_image_from_side():
    first = read("R1", [True] * 12)
    again = [
        PairReading("R1", one.case, RIGHT if one.asked is LEFT else LEFT, one.answer, one.generator,
                    position=20 + k, is_repeat=True, lesion_class="cyst")
        for k, one in enumerate(first[:4])
    ]  # fmt: skip
    own = analyse_choices([*first, *again], QUICK).readers[0].own
    assert (own.n, own.same_side.value, own.same_image.value) == (4, 1.0, 0.0)


def test_a_result_comes_back_as_it_was_and_contradictions_are_refused():
    found = analyse_choices(shares(26, 30, 28), QUICK)
    assert records.from_json(ChoiceResult, records.to_json(found)) == found
    other = PairReading("R9", "pair 0", LEFT, LEFT, "another")
    with pytest.raises(ReadersError, match="shows other images"):
        analyse_choices([*shares(26), other])


def test_simulated_readers_reach_the_share_that_was_asked():
    model = of_share(0.7)
    assert model.accuracy() == pytest.approx(0.7)
    design = ChoiceDesign(4, 400, correct=model)
    readings = simulate_choices(design, np.random.default_rng(3))
    assert np.mean([one.named_first for one in readings]) == pytest.approx(0.7, abs=0.05)
    assert sum(one.asked is LEFT for one in readings if one.reader == "simulated 1") == 200
    rehearsal = ChoiceRehearsal(ChoiceDesign(3, 30), studies=3)
    assert [one.done for one in rehearsal.run()] == [1, 2, 3]
    assert rehearsal.outcome().to_json()["design"]["pairs"] == 30


def test_a_plan_grows_with_readers_and_pairs_and_says_what_it_assumes():
    small, large = plan_choices(3, 40, 0.65, studies=60), plan_choices(8, 200, 0.65, studies=60)
    assert small.difference < large.difference
    assert small.equivalence < large.equivalence
    assert plan_choices(2, 40, 0.65, studies=1).difference is None
    assert "reader variance of 0.011" in small.assumptions[0]
    with pytest.raises(ReadersError, match="share lies between 0 and 1"):
        plan_choices(3, 40, 1.0)


# -- who presses one key --------------------------------------------------------------------------


def pressing(reader: str, lefts: int, of: int, read: int | None = None) -> list[PairReading]:
    """``lefts`` of ``of`` pairs were named left; after ``read`` pairs the reader stopped."""
    found = []
    for k in range(of):
        asked = LEFT if k % 2 else RIGHT
        answer = LEFT if k < lefts // 2 or k >= of - (lefts - lefts // 2) else RIGHT
        if read is not None and k >= read:
            answer = None
        found.append(PairReading(reader, f"pair {k}", asked, answer, "dcgan", position=k + 1))
    return found


@pytest.mark.parametrize("missing", list(Missing))
def test_answers_that_are_filled_in_are_no_use_of_both_sides(missing: Missing) -> None:
    """26 of 40 pairs were named left by each of three readers, and none right."""
    readings = [r for name in "abc" for r in pressing(name, 40, 40, read=26)]
    rules = replace(plan(Hypothesis(Claim.EQUIVALENT, Whose.LIKE_THESE), missing), margin=0.30)
    found = analyse_choices(readings, rules)
    assert found.primary is not None
    for one in (found.primary.planned, *found.primary.sensitivity):
        assert one.holds is None


def test_answers_that_cannot_leave_the_margin_show_nothing() -> None:
    """36 of 40 on one side are 16 to 24 right, whatever was seen."""
    readings = [r for name in "abc" for r in pressing(name, 36, 40)]
    for whose in (Whose.LIKE_THESE, Whose.THESE):
        rules = replace(
            QUICK, margin=0.20, hypothesis=Hypothesis(Claim.EQUIVALENT, whose),
            missing=Missing.ALL, scale_rule=replace(QUICK.scale_rule, least_off=0.05),
        )  # fmt: skip
        found = analyse_choices(readings, rules)
        assert found.primary is not None and not found.primary.planned.holds
        for one in found.readers:
            assert one.verdict.equivalent_to_chance is False
            assert "could not have come further than 0.10" in (one.verdict.reason or "")
        assert found.across.verdict is None or not found.across.verdict.equivalent_to_chance


def test_one_reader_who_cannot_leave_the_margin_is_enough() -> None:
    bound = [
        replace(one, generator=f"g{number % 2}", lesion_class="cyst")
        for number, one in enumerate(pressing("R4", 36, 40))
    ]
    told = equivalent([*shares(18, 22, 21), *bound], 0.13)
    assert told.readers[3].verdict.reason is None  # 40 pairs alone do not lie within
    assert told.across.verdict is not None and not told.across.verdict.equivalent_to_chance
    assert "share of R4 could not have come further than 0.10" in (told.across.verdict.reason or "")


def test_who_is_left_out_does_not_lift_what_the_others_could_have_reached() -> None:
    left_out = [one for number in range(6) for one in pressing(f"out {number}", 1, 1)]
    told = equivalent([*(one for name in "abc" for one in pressing(name, 36, 40)), *left_out], 0.25)
    assert len(told.across.left_out) == 6


def equivalent(readings: list[PairReading], margin: float) -> ChoiceResult:
    """Analysed with a primary hypothesis of equivalence, which must not be shown of these."""
    rules = replace(
        plan(Hypothesis(Claim.EQUIVALENT, Whose.THESE), Missing.ALL),
        margin=margin,
        scale_rule=replace(QUICK.scale_rule, least_off=0.05),
    )
    found = analyse_choices(readings, rules)
    assert found.primary is not None
    planned = found.primary.planned
    assert (planned.low90 or 0) > 0.5 - margin and (planned.high90 or 1) < 0.5 + margin
    assert not planned.holds
    assert "could not have come further than 0.10" in (planned.note or "")
    return found


def test_who_never_began_is_not_filled_in() -> None:
    rng = np.random.default_rng(3)
    began = [r for name in "abc" for r in read(name, rng.random(40) < 0.5)]
    never = [replace(r, reader="d", answer=None) for r in began if r.reader == "a"]
    rules = plan(Hypothesis(Claim.EQUIVALENT, Whose.LIKE_THESE))
    found = analyse_choices([*began, *never], rules)
    assert found.primary is not None
    told = (found.primary.planned, *found.primary.sensitivity)
    assert {one.readers for one in told if one.value is not None} == {3}
