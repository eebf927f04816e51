"""What is claimed of several readers at once: by the plan, by the interval, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy

from ml.readers import primary, secondary
from ml.readers.analysis import analyse
from ml.readers.choice import analyse_choices
from ml.readers.hypothesis import Claim, Hypothesis, Missing, Multiplicity, Whose
from ml.readers.pairs import PairReading, Side
from ml.readers.reading import Protocol, Reading, present

SIDES = (Side.LEFT, Side.RIGHT)
LIKE_THESE = Hypothesis(Claim.EQUIVALENT, Whose.LIKE_THESE)


def pairs(right, seed=0, missing=0.0) -> list[PairReading]:
    """Pairs of one generator; ``right``: of each reader, which pairs they named right."""
    rng, rows = np.random.default_rng(seed), []
    for j, named in enumerate(right):
        asked = [SIDES[k % 2] for k in range(len(named))]
        rng.shuffle(asked)
        for k, (side, is_right) in enumerate(zip(asked, named, strict=True)):
            answer = side if is_right else side.other
            given = None if rng.random() < missing else answer
            rows.append(PairReading(f"R{j + 1}", f"p{k:03d}", side, given, "dcgan", position=k))
    return rows


def rated(j, case, rating, generator=None, position=1, **more) -> Reading:
    return Reading(
        f"R{j}", case, generator is not None, rating, generator, position=position, **more
    )


def test_an_answer_changed_in_a_later_sitting_is_still_the_first_one():
    rows = []
    for k in range(8):
        fake = k % 2 == 0
        first = rated(1, f"i{k}", 6 if fake else 1, "dcgan" if fake else None, k + 1)
        rows.append(replace(first, session=2) if k < 4 else first)  # gone back to after a pause
        again = replace(first, rating=7 - first.rating, position=k + 9, is_repeat=True)
        rows.append(again)
    shown = present(rows, 6)
    assert [one.position for one in shown.first] == list(range(1, 9))
    assert [(a.position, b.position) for a, b in shown.repeats] == [(k, k + 8) for k in range(1, 9)]
    [reader] = analyse(rows, Protocol(resamples=0)).readers
    assert reader.accuracy.value == 1.0


def test_where_positions_begin_anew_in_each_sitting_both_tell_the_order():
    rows = [rated(1, f"i{k}", 3, None, 1 + k % 3, session=1 + k // 3) for k in range(6)]
    assert [one.case for one in present(reversed(rows), 6).first] == [f"i{k}" for k in range(6)]


@pytest.mark.parametrize("df", [2.0, 7.5, None])
def test_a_p_is_by_the_distribution_that_its_interval_is_of(df):
    known = scipy.stats.norm if df is None else scipy.stats.t(df)
    mean, se = 0.65, 0.02
    half95, half90 = known.ppf(0.975) * se, known.ppf(0.95) * se
    p = secondary.difference_p(mean, mean - half95, mean + half95, df)
    assert p == pytest.approx(2 * known.sf(0.15 / se))
    p = secondary.equivalence_p(mean, mean - half90, mean + half90, 0.2, df)
    assert p == pytest.approx(known.sf(0.05 / se))


def test_three_readers_are_adjusted_by_their_two_degrees_of_freedom():
    rng, rows = np.random.default_rng(3), []
    for j, shift in enumerate((0.55, 0.6, 0.5)):
        for k in range(120):
            x = rng.normal(shift if k < 60 else 0)
            rating = int(np.digitize(x, [-1.2, -0.5, 0.2, 0.8, 1.5])) + 1
            rows.append(rated(j, f"c{k:03d}", rating, "dcgan" if k < 60 else None, k))
    rules = Protocol(hypothesis=LIKE_THESE, multiplicity=Multiplicity.HOLM, resamples=0)
    found = analyse(rows, rules)
    mean = found.across.random.mean
    [told] = [
        one for one in found.secondary
        if "readers like these" in one.hypothesis and "differ" in one.hypothesis
    ]  # fmt: skip
    exact = 2 * scipy.stats.t.sf(abs(mean.value - 0.5) / mean.se, mean.df)
    assert mean.df == pytest.approx(2.0)
    assert told.p == pytest.approx(exact, rel=1e-6)


def test_of_other_readers_of_pairs_no_equivalence_is_claimed_that_is_not_shown_of_these():
    rng = np.random.default_rng(2)
    right = [rng.permutation([True] * k + [False] * (30 - k)) for k in (15, 16, 14)]
    rows = pairs(right)
    told = {
        whose: analyse_choices(rows, Protocol(hypothesis=replace(LIKE_THESE, whose=whose)))
        for whose in Whose
    }
    these, others = (told[whose].primary.planned for whose in (Whose.THESE, Whose.LIKE_THESE))
    assert these.holds is False and others.holds is False
    assert others.low90 <= these.low90 and others.high90 >= these.high90
    assert told[Whose.LIKE_THESE].across.verdict.equivalent_to_chance is False


@pytest.mark.parametrize("seed", range(3))
def test_the_primary_claim_is_said_as_planned_wherever_it_is_said(seed):
    rng = np.random.default_rng(seed)
    rules = Protocol(
        hypothesis=LIKE_THESE, missing=Missing.WORST, multiplicity=Multiplicity.HOLM, resamples=0
    )
    found = analyse_choices(pairs(rng.random((5, 120)) < 0.5, seed, missing=0.15), rules)
    assert found.primary.planned.holds is False
    assert found.across.verdict.equivalent_to_chance is False
    assert "shown" not in found.summary.replace("not shown", "").split("Readers like these")[1]
    rows = []
    for j in range(5):
        for k in range(200):
            rating = None if rng.random() < 0.15 else int(rng.integers(1, 7))
            rows.append(rated(j, f"c{k:03d}", rating, "dcgan" if k < 100 else None, k))
    of_ratings = analyse(rows, rules)
    assert of_ratings.primary.planned.holds is False
    assert of_ratings.across.verdict.equivalent_to_chance is False
    assert of_ratings.across.verdict.reason


def test_patients_of_several_images_widen_what_is_said_of_one_reader():
    rows = []
    for patient in range(6):
        for k in range(10):
            right = patient < 4
            rows.append(
                rated(1, f"r{patient}{k}", 1 + k % 6, None, 10 * patient + k,
                      patient=f"P{patient}", lesion_class="cyst",
                      answered_class="cyst" if right else "metastasis")
            )  # fmt: skip
    for k in range(60):
        named = "cyst" if k % 10 != 9 else "metastasis"
        rows.append(
            rated(1, f"s{k}", 1 + (k + 3) % 6, "dcgan", 100 + k, lesion_class="cyst",
                  answered_class=named)
        )  # fmt: skip
    rules = Protocol(classes=("cyst", "metastasis"))
    [reader] = analyse(rows, rules).readers
    gap = reader.lesion_class.real_minus_synthetic
    assert gap.low < 0 < gap.high  # two of six patients, not 20 of 60 images
    assert reader.verdict.power is None and reader.accuracy.majority.p is None
    alone = [replace(one, patient=None) for one in rows]
    [reader] = analyse(alone, rules).readers
    assert reader.lesion_class.real_minus_synthetic.high < 0
    assert reader.verdict.power is not None and reader.accuracy.majority.p is not None


def drawn_by_two(seed) -> list[Reading]:
    """Four readers; a fifth of the answers to two generators is missing."""
    rng, rows = np.random.default_rng(seed), []
    for j in range(4):
        for k in range(40):
            rows.append(rated(j, f"r{k}", int(np.clip(round(rng.normal(3, 1.3)), 1, 6)), None, k))
        for name, middle in (("acgan", 3.1), ("dcgan", 4.0)):
            for k in range(40):
                rating = int(np.clip(round(rng.normal(middle, 1.3)), 1, 6))
                given = None if rng.random() < 0.2 else rating
                rows.append(rated(j, f"{name}{k}", given, name, 100 + k))
    return rows


def test_the_worst_case_of_two_generators_draws_them_together():
    rules = Protocol(
        hypothesis=Hypothesis(Claim.GENERATORS, Whose.LIKE_THESE), missing=Missing.WORST,
        resamples=0,
    )  # fmt: skip
    rows = drawn_by_two(1)
    against = [
        one if one.rating is not None else replace(one, rating=6 if one.generator == "acgan" else 1)
        for one in rows
    ]
    worst = primary.test(present(against, 6), rules.hypothesis, rules, "worst")
    assert worst.holds is False
    told = analyse(rows, rules).primary
    assert told.planned.holds is False
    assert told.planned.value == pytest.approx(worst.value)
    assert "missing answers to acgan taken as right, others as wrong" in {
        one.analysis for one in told.sensitivity
    }


def test_the_same_of_pairs():
    rng, rows = np.random.default_rng(2), []
    for j in range(4):
        for name, share in (("acgan", 0.55), ("dcgan", 0.8)):
            for k in range(40):
                side = SIDES[k % 2]
                answer = side if rng.random() < share else side.other
                given = None if rng.random() < 0.2 else answer
                rows.append(
                    PairReading(f"R{j}", f"{name}{k}", side, given, name, position=len(rows))
                )
    hypothesis = Hypothesis(Claim.GENERATORS, Whose.LIKE_THESE)
    found = analyse_choices(rows, Protocol(hypothesis=hypothesis, missing=Missing.WORST)).primary
    ways = {one.analysis: one for one in found.sensitivity}
    gaps = [one.value for name, one in ways.items() if "missing answers" in name]
    assert len(gaps) == 6
    assert abs(ways["missing answers to acgan taken as right, others as wrong"].value) == min(
        map(abs, gaps)
    )
    assert found.planned.holds is False
