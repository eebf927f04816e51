"""Graded realism: areas by hand, lazy readers, generators, missing answers, repeats, words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.ground import records
from ml.readers.analysis import analyse
from ml.readers.grade_rehearsal import GradeDesign, GradeRehearsal, of_area, simulate_grades
from ml.readers.grade_results import GradeResult
from ml.readers.grades import GradedQuestion, GradedReading
from ml.readers.grading import analyse_grades
from ml.readers.hypothesis import Claim, Hypothesis, Missing, Multiplicity
from ml.readers.reading import Protocol, Reading
from ml.statistics import area
from ml.statistics.proportion import ReadersError
from ml.statistics.scale_use import ScaleRule

ANCHORS = ("no", "hardly", "in part", "mostly", "fully")
WHOLE, TEXTURE = GradedQuestion("As a whole?", ANCHORS), GradedQuestion("Texture?", ANCHORS)
QUICK = Protocol(resamples=100)


def graded(reader, real, synthetic, *, generators=("g",), questions=1, **more):
    """A reader with these grades of real and of synthetic images, alike in all questions."""
    both = [(grade, None) for grade in real]
    both += [(grade, generators[k % len(generators)]) for k, grade in enumerate(synthetic)]
    return [
        GradedReading(
            reader, f"i{k}", made is not None, (grade,) * questions, made, position=k + 1, **more
        )
        for k, (grade, made) in enumerate(both)
    ]


def spread(seed, shift=0.0, n=20):
    """Grades (n,) of real and of synthetic images, the latter lower by ``shift``."""
    rng = np.random.default_rng(seed)
    cuts = (-1.2, -0.4, 0.4, 1.2)
    return [list(np.searchsorted(cuts, rng.normal(-at, 1, n)) + 1) for at in (0.0, shift)]


def test_an_area_is_the_chance_that_a_real_image_gets_the_higher_grade():
    real, fake = [5, 5, 4, 4, 3, 3, 2, 5], [4, 3, 3, 2, 2, 1, 1, 5]
    pairs = [(a > b) + 0.5 * (a == b) for a in real for b in fake]
    found = analyse_grades(graded("R1", real, fake), [WHOLE], QUICK)
    one = found.questions[0].readers[0]
    assert one.auc.value == pytest.approx(sum(pairs) / 64)
    assert [row.counts for row in one.distributions] == [(0, 1, 2, 2, 3), (2, 2, 2, 1, 1)]
    assert [row.median for row in one.distributions] == [4.0, 2.5]
    assert (one.real, one.synthetic, found.grades.readings) == (8, 8, 16)


def test_a_second_showing_that_counts_since_the_first_has_no_answer_is_said():
    rows = graded("R1", *spread(1))
    again = replace(rows[0], is_repeat=True, position=99)
    found = analyse_grades([replace(rows[0], grades=None), *rows[1:], again], [WHOLE], QUICK)
    assert (found.grades.readings, found.grades.late) == (40, 1)
    told = "1 answer was given at a second showing"
    assert told in found.methods and any(told in one for one in found.warnings)


def test_two_questions_of_one_text_are_refused():
    other = GradedQuestion(WHOLE.text, ("none", "little", "some", "much", "all"))
    with pytest.raises(ReadersError, match="“As a whole\\?” is asked twice"):
        analyse_grades(graded("R1", *spread(1), questions=2), [WHOLE, other], QUICK)


def test_each_question_is_judged_as_ratings_on_that_scale_are():
    rows = [one for j in range(4) for one in graded(f"R{j}", *spread(j, 0.6))]
    plain = [
        Reading(one.reader, one.case, one.synthetic, 6 - one.grades[0], one.generator)
        for one in rows
    ]
    found, as_ratings = analyse_grades(rows, [WHOLE], QUICK), analyse(plain, QUICK)
    question = found.questions[0]
    assert question.across.random == as_ratings.across.random
    assert question.across.verdict == as_ratings.across.verdict
    assert [one.verdict for one in question.readers] == [one.verdict for one in as_ratings.readers]
    assert question.alpha == as_ratings.agreement.alpha_rating
    value = area.auc([one.synthetic for one in rows[:40]], [6 - one.grades[0] for one in rows[:40]])
    assert question.readers[0].auc.value == pytest.approx(value)


def test_one_grade_for_everything_carries_no_verdict_alone_or_with_others():
    lazy = [one for j in range(3) for one in graded(f"R{j}", [4] * 20, [4] * 20)]
    found = analyse_grades(lazy, [WHOLE], QUICK).questions[0]
    for one in found.readers:
        assert (one.verdict.different_from_chance, one.verdict.equivalent_to_chance) == (None, None)
        assert "40 of 40 answers are 4, 1 grade in use" in one.verdict.reason
    assert found.across.verdict is None
    assert "3 grades in use" in found.across.no_verdict
    mixed = [*lazy[:40], *(one for j in range(3, 6) for one in graded(f"R{j}", *spread(j)))]
    assert (
        "R0 did not use the scale" in analyse_grades(mixed, [WHOLE]).questions[0].across.no_verdict
    )


def test_four_images_of_a_kind_have_no_interval():
    found = analyse_grades(graded("R1", [5, 4, 3, 2], [4, 3, 2, 1]), [WHOLE], QUICK)
    one = found.questions[0].readers[0]
    assert one.auc.low is None
    assert one.verdict.equivalent_to_chance is None


def test_questions_that_are_not_told_apart_are_said():
    rows = graded("R1", *spread(1), questions=2)
    found = analyse_grades(rows, [WHOLE, TEXTURE], QUICK)
    assert found.readers[0].all_alike == 1.0
    assert any("one grade in all 2 questions" in text for text in found.warnings)


def test_generators_are_compared_and_every_question_is_in_one_family():
    rows = [
        one
        for j in range(4)
        for one in graded(f"R{j}", *spread(j, 0.5, 24), generators=("a", "b"), questions=2)
    ]
    rules = replace(QUICK, hypothesis=Hypothesis(Claim.GENERATORS), multiplicity=Multiplicity.HOLM)
    found = analyse_grades(rows, [WHOLE, TEXTURE], rules)
    first = found.questions[0].between_generators
    assert [row.treatment for row in first.random.treatments] == ["a", "b"]
    assert found.primary.planned.p == first.random.p
    assert "first question's grades" in found.primary.hypothesis
    # readers 4 × 2, readers like these 2, for each question; generators of the second alone
    assert len(found.secondary) == 2 * (8 + 2) + 1
    assert found.secondary[-1].hypothesis.startswith("Texture? a and b")


def test_a_question_that_reads_as_another_with_a_reader_keeps_its_own_adjusted_p():
    rows = [one for j in range(4) for one in graded(f"R{j}", *spread(j, 0.9, 24), questions=2)]
    rules = replace(QUICK, hypothesis=Hypothesis(Claim.DIFFERENT), multiplicity=Multiplicity.HOLM)
    odd = replace(TEXTURE, text=f"{WHOLE.text}R0")
    found, apart = (analyse_grades(rows, [WHOLE, one], rules) for one in (odd, TEXTURE))
    for question, same in zip(found.questions, apart.questions, strict=True):
        assert [one.verdict for one in question.readers] == [one.verdict for one in same.readers]
        assert question.across.verdict == same.across.verdict


def test_missing_answers_are_filled_within_the_scale():
    rows = [one for j in range(3) for one in graded(f"R{j}", *spread(j, 0.8))]
    lacking = [replace(one, grades=None) if one.case == "i30" else one for one in rows]
    rules = replace(QUICK, hypothesis=Hypothesis(Claim.DIFFERENT), missing=Missing.WORST)
    found = analyse_grades(lacking, [WHOLE], rules)
    filled = [replace(one, grades=(5,)) if one.grades is None else one for one in lacking]
    worst = analyse_grades(filled, [WHOLE], QUICK).questions[0].across.random.mean
    rows_of = {row.analysis: row for row in found.primary.sensitivity}
    assert rows_of["missing answers taken as certainly wrong"].value == pytest.approx(worst.value)
    assert found.grades.unanswered_left_out == 3


def test_grades_of_pictures_that_were_never_sent_count_in_nothing():
    rows = [one for j in range(3) for one in graded(f"R{j}", *spread(j, 0.8))]
    told = [replace(one, unsent=one.reader == "R0" and one.position > 30) for one in rows]
    rules = replace(QUICK, hypothesis=Hypothesis())
    found = analyse_grades(told, [WHOLE], rules)
    assert (found.grades.readings, found.questions[0].readers[0].n) == (110, 30)
    assert found.unsent.readers == {"R0": 10}
    assert found.grades.unanswered_left_out == 0
    assert found.warnings[0] == found.unsent.sentence
    assert analyse_grades(rows, [WHOLE], rules).unsent is None


def test_repeats_are_compared_with_the_first_grade_and_are_in_nothing_else():
    rows = graded("R1", *spread(2))
    again = [replace(one, position=100 + k, is_repeat=True) for k, one in enumerate(rows[:10])]
    again[0] = replace(again[0], grades=(1 + again[0].grades[0] % 5,))
    found = analyse_grades([*rows, *again], [WHOLE], QUICK)
    one = found.questions[0].readers[0]
    assert (one.n, one.own.n) == (40, 10)
    assert one.own.same_grade.value == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("grades", "said"), [((6,), "grades go from 1 to 5"), ((3, 3), "gave 2 grades")]
)
def test_grades_that_cannot_be_are_refused(grades, said):
    with pytest.raises(ReadersError, match=said):
        analyse_grades([GradedReading("R1", "i1", False, grades)], [WHOLE])


def test_a_scale_with_a_middle_calls_nothing_synthetic():
    with pytest.raises(ReadersError, match="the middle one"):
        analyse([Reading("R1", "i1", True, 3)], Protocol(scale=5))


def test_the_result_is_read_back_and_told_in_words():
    rows = [one for j in range(3) for one in graded(f"R{j}", *spread(j, 1.5))]
    rules = replace(QUICK, hypothesis=Hypothesis(), scale_rule=ScaleRule(0.1, 3))
    found = analyse_grades(rows, [WHOLE], rules)
    assert records.from_json(GradeResult, records.to_json(found)) == found
    assert "real ones graded higher" in found.summary
    assert "1 no, 5 fully" in found.methods
    assert analyse_grades([], [WHOLE]).summary.startswith("No image has been graded")


def test_simulated_grades_hold_the_true_area():
    design = GradeDesign(3, 60, grades=of_area(0.7))
    readings, own = simulate_grades(design, np.random.default_rng(1))
    assert len(readings) == 180
    assert {one.grades[0] for one in readings} == {1, 2, 3, 4, 5}
    assert all(0.5 < one < 0.9 for one in own)
    tried = GradeRehearsal(design, 10, seed=1)
    assert [step.done for step in tried.run()][-1] == 10
    found = tried.outcome()
    assert found.verdicts.across.n == 10
    assert found.verdicts.across.different >= 0.8
    assert 0.6 < found.true_area < 0.7
