"""Preferences between generators: shares by hand, sides, Bradley and Terry, words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.ground import records
from ml.readers.choice import analyse_choices
from ml.readers.hypothesis import Claim, Hypothesis, Measure, Missing, Multiplicity, Whose, choices
from ml.readers.pairs import PairReading, Side
from ml.readers.preference import analyse_preferences, favouring
from ml.readers.preference_results import PreferenceResult
from ml.readers.reading import Protocol
from ml.readers.results import Refused
from ml.statistics import bradley_terry
from ml.statistics.proportion import ReadersError

LEFT, RIGHT = Side
QUICK = Protocol(resamples=200)


def read(reader, firsts, generators=("a", "b"), *, start=0, sides=None):
    """Pairs of two generators; the first one is preferred or not."""
    found = []
    for k, first in enumerate(firsts):
        asked = LEFT if k % 2 else RIGHT
        answer = sides[k] if sides else asked if first else asked.other
        found.append(
            PairReading(
                reader, f"pair {start + k}", asked, answer, *generators, position=start + k + 1,
                lesion_class="cyst",
            )
        )  # fmt: skip
    return found


def preferring(*of_each, n=40, generators=("a", "b"), start=0):
    """Readers who prefer the first generator in so many of n pairs, spread over the pairs."""
    return [
        one
        for number, wins in enumerate(of_each, 1)
        for one in read(
            f"R{number}", [(7 * k + 3 * number) % n < wins for k in range(n)], generators,
            start=start,
        )
    ]  # fmt: skip


def test_a_second_showing_that_counts_since_the_first_has_no_answer_is_said():
    rows = preferring(26, 20, 22)
    again = replace(rows[0], is_repeat=True, position=99)
    found = analyse_preferences([replace(rows[0], answer=None), *rows[1:], again], QUICK)
    assert (found.preferences.readings, found.preferences.late) == (120, 1)
    told = "1 answer was given at a second showing"
    assert told in found.methods and any(told in one for one in found.warnings)


def test_two_generators_are_a_forced_choice_between_them():
    rows = preferring(26, 30, 28, 22)
    found = analyse_preferences(rows, QUICK)
    [contest] = found.contests
    same = analyse_choices(rows, QUICK)
    assert (contest.first, contest.second, contest.pairs) == ("a", "b", 40)
    assert [one.preferred.count for one in contest.readers] == [26, 30, 28, 22]
    assert contest.across.random == same.across.random
    assert contest.readers[0].verdict == same.readers[0].verdict
    assert found.scale is None
    assert "a preferred to b in 65 %" in found.summary
    assert any("No real image" in text for text in found.warnings)
    assert "No real image was shown" in found.methods
    assert "score intervals with Satterthwaite's degrees of freedom" in found.methods
    assert records.from_json(PreferenceResult, records.to_json(found)) == found


def test_which_generator_is_called_first_changes_nothing_but_the_direction():
    rows = preferring(30, 28, 33)
    turned = [
        replace(one, asked=one.asked.other, generator=one.other, other=one.generator)
        for one in rows
    ]
    assert analyse_preferences(turned, QUICK) == analyse_preferences(rows, QUICK)
    against = favouring(rows, "b")
    assert sum(one.named_first for one in against) == 120 - 91


def test_whoever_always_names_one_side_gets_no_verdict_and_takes_it_from_all():
    rows = [*preferring(20, 22), *read("R3", [True] * 40, sides=[LEFT] * 40)]
    found = analyse_preferences(rows, QUICK)
    lazy = found.contests[0].readers[2]
    assert lazy.verdict.different_from_chance is None
    assert found.contests[0].across.verdict is None
    assert any("R3 named the left one in 100 %" in text for text in found.warnings)


def test_the_model_of_bradley_and_terry_gives_the_published_strengths():
    """American League East 1987, Agresti, Categorical Data Analysis, section 10.6."""
    wins = [
        [0, 7, 9, 7, 7, 9, 11], [6, 0, 7, 5, 11, 9, 9], [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10], [6, 2, 6, 7, 0, 7, 12], [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]  # fmt: skip
    found = bradley_terry.strengths(wins)
    assert found - found[-1] == pytest.approx(
        [1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0.0], abs=0.001
    )
    assert bradley_terry.strengths([[0, 30], [10, 0]]) == pytest.approx(
        [np.log(3) / 2, -np.log(3) / 2]
    )
    assert np.isnan(bradley_terry.strengths([[0, 3], [0, 0]])).all()
    with pytest.raises(ReadersError, match="square"):
        bradley_terry.strengths([[1.0]])


def three(a_b=26, a_c=32, b_c=25):
    """Three generators, each two of them in 40 pairs of four readers."""
    return [
        *preferring(*[a_b] * 4, generators=("a", "b")),
        *preferring(*[a_c] * 4, generators=("a", "c"), start=40),
        *preferring(*[b_c] * 4, generators=("b", "c"), start=80),
    ]


def test_three_generators_stand_on_one_scale_with_intervals():
    found = analyse_preferences(three(), QUICK)
    assert [(one.first, one.second) for one in found.contests] == [
        ("a", "b"), ("a", "c"), ("b", "c"),
    ]  # fmt: skip
    wins = np.array([[0, 104, 128], [56, 0, 100], [32, 60, 0]])
    expected = bradley_terry.strengths(wins)
    for one, value in zip(found.scale.strengths, expected, strict=True):
        assert one.strength.value == pytest.approx(value)
        assert one.strength.low < value < one.strength.high
    assert [(one.preferred, one.shown) for one in found.scale.strengths] == [
        (232, 320), (156, 320), (92, 320),
    ]  # fmt: skip
    assert isinstance(analyse_preferences(three(40, 40), QUICK).scale, Refused)


def test_the_primary_hypothesis_is_of_one_generator_against_the_others():
    rules = replace(
        QUICK, hypothesis=Hypothesis(Claim.DIFFERENT, Whose.LIKE_THESE, "b"),
        multiplicity=Multiplicity.HOLM, missing=Missing.WORST,
    )  # fmt: skip
    found = analyse_preferences(three(), rules)
    assert found.primary.planned.value == pytest.approx(156 / 320)
    assert "image of b" in found.primary.hypothesis
    assert len(found.secondary) == 3 * (4 * 2 + 2)
    lacking = [replace(one, answer=None) if one.position == 7 else one for one in three()]
    told = analyse_preferences(lacking, rules).primary.sensitivity
    assert {"missing answers taken as for it", "missing answers taken as against it"} <= {
        one.analysis for one in told
    }
    two = analyse_preferences(preferring(36, 35, 34, 37), replace(rules, hypothesis=Hypothesis()))
    assert two.primary.planned.holds is False
    assert len(two.secondary) == 4 * 2 + 1


def test_hypotheses_of_preferences_name_a_generator():
    assert {one.generator for one in choices(("a", "b"), Measure.PREFERENCE)} == {""}
    assert {one.generator for one in choices(("c", "a", "b"), Measure.PREFERENCE)} == {
        "", "b", "c",
    }  # fmt: skip


@pytest.mark.parametrize("other", [None, "a"])
def test_a_pair_that_is_no_contest_is_refused(other):
    with pytest.raises(ReadersError, match="between two generators"):
        analyse_preferences([PairReading("R1", "p", LEFT, LEFT, "a", other)])


def test_nothing_read_says_so():
    assert analyse_preferences([]).summary.startswith("No pair has been read")
