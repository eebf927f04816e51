"""The primary hypothesis and the others: one decides, the rest is told beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.readers import tidy
from ml.readers.analysis import analyse
from ml.readers.hypothesis import Claim, Hypothesis, Missing, Multiplicity, Whose, choices
from ml.readers.primary import ALL_RIGHT, ALL_WRONG, ONCE, UNMARKED, WITH_UNSENT
from ml.readers.reading import Protocol, Reading
from ml.readers.secondary import difference_p, equivalence_p
from ml.statistics.proportion import ReadersError
from tests.golden.pins import readings

PLAIN = Protocol(resamples=0, classes=())


def rules(claim=Claim.DIFFERENT, whose=Whose.LIKE_THESE, generator="", **more) -> Protocol:
    return replace(PLAIN, hypothesis=Hypothesis(claim, whose, generator), **more)


def skilled(readers: int = 4, images: int = 60, skill: float = 2.0) -> list[Reading]:
    """Readers who tell real from synthetic; no two images of one patient."""
    rng = np.random.default_rng(3)
    cuts = [-1.2, -0.5, 0.0, 0.5, 1.2]
    return [
        Reading(
            f"R{j}", f"c{k:02d}", k % 2 == 0,
            1 + int(np.searchsorted(cuts, rng.normal(skill * (k % 2 == 0) - skill / 2))),
            position=k,
        )
        for j in range(readers)
        for k in range(images)
    ]  # fmt: skip


def without(found: list[Reading], keeps) -> list[Reading]:
    return [one if keeps(one) else replace(one, rating=None) for one in found]


def test_who_is_left_out_between_generators_is_named_and_counts_in_no_number():
    rows = [
        replace(one, generator=f"g{int(one.case[1:]) % 4 // 2}" if one.synthetic else None)
        for one in skilled(5)
    ]
    left = without(rows, lambda one: one.reader != "R4" or one.generator != "g1")
    found = analyse(left, rules(Claim.GENERATORS)).primary.planned
    alone = analyse([one for one in left if one.reader != "R4"], rules(Claim.GENERATORS))
    wanted = alone.primary.planned
    assert (found.readers, found.images) == (wanted.readers, wanted.images) == (4, 60)
    assert (found.value, found.p) == (wanted.value, wanted.p)
    assert "without R4, who read fewer than 5 images of a generator" in (found.note or "")
    assert wanted.note is None


# -- refusals -------------------------------------------------------------------------------------


def test_where_no_hypothesis_is_named_none_is_tested():
    found = analyse(skilled(), PLAIN)
    assert (found.primary, found.secondary, found.amended) == (None, (), ())
    assert "No primary hypothesis was named" in found.methods


def test_readers_at_large_need_three_readers():
    [planned] = [analyse(skilled(2), rules()).primary.planned]
    assert planned.holds is None and "at least 3" in planned.note


def test_a_hypothesis_of_another_generator_has_no_answer_to_go_by():
    planned = analyse(readings(), rules(generator="nobody")).primary.planned
    assert planned.holds is None


def test_the_paragraph_claims_no_conduct_that_readings_do_not_tell():
    told = analyse(skilled(), rules()).methods
    for claim in ("blinded", "random order", "hidden"):
        assert claim not in told


def test_no_key_is_another_hypothesis():
    every = choices(("a", "b"))
    assert len({one.key for one in every}) == len(every) == 14
    assert [Hypothesis.of(one.key) for one in every] == list(every)
    with pytest.raises(ReadersError):
        Hypothesis.of("equivalent to chance | all readers")


# -- the primary one ------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", list(Whose))
def test_readers_who_tell_differ_from_chance_and_are_not_equivalent(whose):
    found = skilled()
    assert analyse(found, rules(whose=whose)).primary.planned.holds is True
    other = analyse(found, rules(Claim.EQUIVALENT, whose)).primary
    assert other.planned.holds is False
    assert f"mean AUC of {whose}" in other.hypothesis


def test_generators_are_compared_by_their_difference():
    found = analyse(readings(), rules(Claim.GENERATORS))
    gap = found.between_generators.random.differences[0]
    planned = found.primary.planned
    assert (planned.value, planned.p) == (gap.value, pytest.approx(gap.p))
    assert planned.holds is (gap.p < 0.05)
    assert not any("dcgan" in one.hypothesis for one in found.secondary)


def test_one_generator_is_tested_on_its_own_images():
    planned = analyse(readings(), rules(generator="dcgan")).primary.planned
    assert planned.images == 36  # 24 real ones, and 12 of the 24 synthetic ones


# -- missing answers ------------------------------------------------------------------------------


def test_by_the_worst_case_a_difference_must_survive_both_ways():
    few = without(skilled(), lambda one: one.reader != "R0" or one.position < 56)
    assert analyse(few, rules(missing=Missing.WORST)).primary.planned.holds is True
    many = without(skilled(), lambda one: one.position < 20 or one.reader == "R3")
    found = analyse(many, rules(missing=Missing.WORST)).primary
    assert found.planned.holds is False
    rows = {one.analysis: one for one in found.sensitivity}
    assert rows[ALL_RIGHT].value > 0.5 > rows[ALL_WRONG].value
    assert analyse(many, rules(missing=Missing.ALL)).primary.planned.holds is True


@pytest.mark.parametrize("whose", list(Whose))
def test_answers_that_are_filled_in_are_no_use_of_the_scale(whose):
    lazy = [replace(one, rating=3) for one in skilled(3)]
    lazy = without(lazy, lambda one: one.position % 7)
    found = analyse(lazy, rules(Claim.EQUIVALENT, whose, missing=Missing.WORST)).primary
    assert found.planned.holds is None and "did not use the scale" in found.planned.note
    assert all(one.holds is None for one in found.sensitivity)


def test_who_is_left_out_of_the_answers_as_given_is_among_those_that_are_filled_in():
    few = without(skilled(4), lambda one: one.reader != "R3" or one.position < 6)
    found = analyse(few, rules(missing=Missing.WORST)).primary
    rows = {one.analysis: one for one in found.sensitivity}
    assert "without R3" in rows[Missing.ALL].note and rows[Missing.ALL].readers == 3
    for name in (ALL_RIGHT, ALL_WRONG):
        assert rows[name].readers == 4 and "without" not in (rows[name].note or "")


def test_who_never_began_is_not_filled_in():
    found = without(skilled(4), lambda one: one.reader != "R3")
    planned = analyse(found, rules(missing=Missing.WORST)).primary.planned
    assert (planned.readers, planned.holds) == (3, True)


def test_complete_readers_are_those_who_answered_every_image():
    found = without(skilled(), lambda one: one.reader != "R1" or one.position)
    planned = analyse(found, rules(missing=Missing.COMPLETE)).primary.planned
    assert (planned.readers, planned.images) == (3, 60)
    told = analyse(found, rules(missing=Missing.COMPLETE))
    assert any("which has a plan for them" in one for one in told.warnings)


# -- sensitivity ----------------------------------------------------------------------------------


def test_marked_images_and_repeated_patients_are_left_out_beside_the_plan():
    every = readings()
    marked = {"c0", "c1", "c2"}
    found = analyse(every, rules(), marked=marked).primary
    rows = {one.analysis.split(" (")[0]: one for one in found.sensitivity}
    assert rows[UNMARKED].images == 45
    patients = {one.patient for one in every if one.patient}
    assert rows[ONCE].images == 24 + len(patients)
    assert found.planned.images == 48
    untold = analyse(every, rules()).primary
    assert any("does not tell which" in (one.note or "") for one in untold.sensitivity)


def test_answers_to_pictures_never_sent_are_in_no_verdict_but_beside():
    found = [replace(one, unsent=one.reader == "R3") for one in skilled()]
    told = analyse(found, rules(missing=Missing.WORST))
    assert (told.counts.readers, told.counts.unanswered_left_out) == (3, 0)
    assert told.unsent.readers == {"R3": 60} and told.warnings[0] == told.unsent.sentence
    assert told.primary.planned.readers == 3  # who saw nothing did not begin
    assert {one.analysis: one.readers for one in told.primary.sensitivity}[WITH_UNSENT] == 4
    honest = analyse([one for one in found if one.reader != "R3"], rules(missing=Missing.WORST))
    assert told.readers == honest.readers and honest.unsent is None
    before = analyse(found, rules(unsent_rule_in_protocol=False))
    assert "a rule that was not part of the protocol" in before.warnings[0]


# -- secondary ones and amended rules -------------------------------------------------------------


def test_a_p_value_says_at_five_percent_what_its_interval_says():
    assert difference_p(0.6, 0.5, 0.7) == pytest.approx(0.05)
    assert difference_p(0.4, 0.3, 0.5) == pytest.approx(0.05)
    assert difference_p(1.0, 0.8, 1.0) < 0.05
    assert equivalence_p(0.5, 0.42, 0.6, 0.1) == pytest.approx(0.05)
    assert equivalence_p(0.55, 0.45, 0.66, 0.1) > 0.05
    assert equivalence_p(0.9, 0.85, 0.95, 0.1) > 0.5


def test_secondary_hypotheses_are_adjusted_together():
    found = analyse(skilled(), rules(Claim.EQUIVALENT, multiplicity=Multiplicity.HOLM)).secondary
    assert len(found) == 2 * 4 + 1
    assert all(one.adjusted >= one.p for one in found if one.p is not None)
    assert found[0].holds is True and found[1].holds is False


def test_a_reader_whose_interval_alone_shows_a_difference_has_no_verdict_of_it_after_holm():
    found = skilled(skill=0.6)
    alone = analyse(found, rules(Claim.EQUIVALENT, multiplicity=Multiplicity.NONE)).readers[0]
    assert alone.verdict.different_from_chance is True and alone.verdict.adjusted is None
    told = analyse(found, rules(Claim.EQUIVALENT, multiplicity=Multiplicity.HOLM))
    verdict = told.readers[0].verdict
    assert verdict.different_from_chance is False
    assert verdict.adjusted.different == told.secondary[0].adjusted > 0.05 > told.secondary[0].p
    assert verdict.auc == alone.verdict.auc
    assert "R0: AUC 0.70" in told.summary and "not after Holm over 9 hypotheses" in told.summary
    row = tidy.verdicts(told).splitlines()[1].split(",")
    named = dict(zip(tidy.verdicts(told).splitlines()[0].split(","), row, strict=True))
    assert named["different"] == "0" and float(named["different_p"]) > 0.05
    # the primary hypothesis is no part of the family
    assert told.across.verdict.adjusted.equivalent is None
    later = {2: rules(Claim.EQUIVALENT, multiplicity=Multiplicity.HOLM, margin=0.3)}
    beside = analyse(found, rules(Claim.EQUIVALENT, multiplicity=Multiplicity.HOLM), later)
    assert beside.amended[0].equivalent == {
        one.reader: one.verdict.equivalent_to_chance for one in analyse(found, later[2]).readers
    }


def test_without_a_rule_secondary_hypotheses_are_said_to_be_exploratory():
    plain = analyse(skilled(), rules(Claim.EQUIVALENT, multiplicity=Multiplicity.NONE))
    assert {(one.adjusted, one.holds) for one in plain.secondary} == {(None, None)}
    assert "exploratory" in plain.methods


def test_amended_rules_stand_beside_and_change_nothing():
    every = skilled(skill=0.3)
    plan = rules(Claim.EQUIVALENT, margin=0.05)
    later = {2: replace(plan, margin=0.3), 3: plan}
    found = analyse(every, plan, later)
    assert found.primary == analyse(every, plan).primary
    [beside] = found.amended
    assert (beside.version, beside.margin) == (2, 0.3)
    assert found.primary.planned.holds is False and beside.planned.holds is True
    assert set(beside.equivalent) == {"R0", "R1", "R2", "R3"}


@pytest.mark.parametrize("whose", list(Whose))
@pytest.mark.parametrize("claim", [Claim.EQUIVALENT, Claim.DIFFERENT])
def test_a_reader_who_did_not_use_the_scale_takes_the_decision(claim: Claim, whose: Whose) -> None:
    rows = [replace(r, rating=1) if r.reader == "R1" else r for r in skilled()]
    planned = analyse(rows, rules(claim, whose)).primary.planned
    assert planned.holds is None and "reader R1 did not use the scale" in planned.note
    assert analyse(skilled(), rules(claim, whose)).primary.planned.holds is not None
