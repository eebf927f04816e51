"""Graded realism: from the questions in the protocol to the exports."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

import answered
import studies
from app.errors import Conflict, Unreadable
from app.models.reader_studies import graded
from app.models.reader_studies.design import ANALYSIS_OF_GRADES, DESIGNS, Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.reading import Answer, Reading
from app.models.reader_studies.rehearsal import Asked
from app.models.reader_studies.stimulus import Source
from app.models.reader_studies.task import Task
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_plans.pilot import Estimated
from app.models.study_results import exports
from app.models.study_results.analysis import Content, compute
from app.models.study_results.answers import Answers
from ml.readers import files, tidy
from ml.readers.grade_rehearsal import GradeRehearsal
from ml.readers.grade_results import GradeResult
from ml.readers.grading import analyse_grades

JSON = {"accept": "application/json"}
GRADED = Design(task=Task.REALISM, graded=graded.QUESTIONS[:2], lesion_class=False)


def trials(session, study, number=1):
    return answered.trials_of(session, answered.enrolment_of(session, study, number))


def no_network(*_arguments):
    raise AssertionError("the network must not be asked")


# -- questions ------------------------------------------------------------------------------------


def test_questions_are_typed_a_line_each_and_read_back():
    assert graded.typed(graded.said(graded.QUESTIONS)) == graded.QUESTIONS
    [one] = graded.typed(" How real? | no|hardly |partly|mostly| fully \n\n")
    assert (one.text, one.anchors) == ("How real?", ("no", "hardly", "partly", "mostly", "fully"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1 to 4 graded questions"),
        ("A? | 1 | 2 | 3 | 4 | 5\n" * 5, "1 to 4 graded questions"),
        ("A? | 1 | 2 | 3 | 4", "it has 4"),
        ("A? | 1 | 2 | 3 | 4 | ", "needs its text and 5 anchors"),
        ("A? | 1 | 2 | 3 | 4 | 4", "two of its anchors are the same"),
        ("A? | 1 | 2 | 3 | 4 | 5\nA? | 5 | 4 | 3 | 2 | 1", "the same text"),
        (f"{'A' * 201} | 1 | 2 | 3 | 4 | 5", "at most 200 characters"),
    ],
)
def test_a_line_that_is_no_question_is_refused(text, said):
    with pytest.raises(Unreadable, match=said):
        graded.typed(text)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"graded": ()}, "1 to 4 graded questions"),
        ({"lesion_class": True}, "grades are all that is asked"),
        ({"reasons": True}, "grades are all that is asked"),
        ({"least_ratings": 6}, "There are 5 grades"),
        ({"task": Task.ORIGIN}, "graded realism only"),
    ],
)
def test_a_design_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(Unreadable, match=said):
        replace(GRADED, **wrong).checked(12)


def test_the_wording_is_frozen_with_the_protocol_and_the_preset_fits(session):
    study = studies.make_study(session, design=GRADED)
    content = study.protocol.content
    assert content.design.graded == GRADED.graded
    assert [row.text for row in content.questions.rows] == [one.text for one in GRADED.graded]
    assert [one.hotkey for one in content.questions.rows[1].grades] == list("QWERT")
    assert content.questions.ratings == ()
    assert content.design.analysis == ANALYSIS_OF_GRADES
    assert DESIGNS["realism"].design.checked(200).task is Task.REALISM


# -- the desk -------------------------------------------------------------------------------------


@pytest.fixture
def desk(app, session, signed_in_as):
    design = replace(GRADED, practice=2, back=True)
    return studies.desk_of_ada(app, session, signed_in_as, design)


def test_every_question_is_graded_and_practice_tells_what_the_image_was(desk, session):
    browser, address, study = desk
    told = []
    for place, trial in enumerate(trials(session, study)[:3]):
        page = browser.get(address).text
        assert page.count('name="grade_1"') == page.count('name="grade_2"') == 5
        assert 'name="rating"' not in page
        assert 'name="grade_3"' not in page
        body = {"trial": trial.token, "key": trial.token, "grade_1": "4", "grade_2": "2"}
        reply = browser.post(address, data=body, headers=JSON)
        assert reply.status_code == (201)
        if place < 2:
            told.append((reply.json()["feedback"], trial.stimulus.truth))
    assert all(text == f"It was {truth}." for text, truth in told)
    earlier = browser.get(f"{address}?position=3", headers=JSON).json()
    assert (earlier["grade_1"], earlier["grade_2"]) == (4, 2)
    assert "truth" not in earlier
    changed = {**body, "key": "again", "grade_2": "5", "revises": "true"}
    assert browser.post(address, data=changed, headers=JSON).status_code == 201
    assert Reading.latest(session, trial.id).grades == [4, 5]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "Give every question a grade"),
        ({"grade_1": "3"}, "Give every question a grade"),
        ({"grade_2": "3"}, "Give every question a grade"),
        ({"grade_1": "3", "grade_2": "6"}, "Give every question a grade"),
        ({"grade_1": "3", "grade_2": "3", "grade_3": "3"}, "Give every question a grade"),
        ({"grade_1": "3", "grade_2": "3", "rating": "3"}, "asks for grades"),
        ({"grade_1": "3", "grade_2": "3", "choice": "left"}, "no left or right one"),
        ({"grade_1": "3", "grade_2": "3", "lesion_class": "cyst"}, "not ask for the lesion class"),
    ],
)
def test_an_answer_that_is_none_is_refused_and_not_kept(desk, session, sent, said):
    browser, address, study = desk
    trial = trials(session, study)[0]
    reply = browser.post(address, data={"trial": trial.token, "key": "k", **sent}, headers=JSON)
    assert reply.status_code == 422
    assert said in reply.json()["detail"]
    assert Reading.count(session, trial.enrolment_id) == 0


def test_a_study_of_ratings_takes_no_grade_and_a_key_stands_for_one_answer(session):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    [first, *_] = trials(session, study)
    [enrolment] = Enrolment.of_study(session, study.id)
    with pytest.raises(Unreadable, match="does not ask for grades"):
        Reading.give(session, enrolment, Answer(first.token, "k", "cyst", 3, grades=[3]))


def test_one_key_is_one_answer(desk, session):
    _, _, study = desk
    [first, *_] = trials(session, study)
    [enrolment] = Enrolment.of_study(session, study.id)
    _, new = Reading.give(session, enrolment, Answer(first.token, "k", grades=[3, 4]))
    _, again = Reading.give(session, enrolment, Answer(first.token, "k", grades=(3, 4)))
    assert (new, again) == (True, False)
    with pytest.raises(Conflict, match="Another answer"):
        Reading.give(session, enrolment, Answer(first.token, "k", grades=[3, 5]))


# -- results --------------------------------------------------------------------------------------


def read_study(session, shift=0.8):
    """A study that three readers grade, the synthetic images lower by ``shift``, then unblinded."""
    people = [studies.make_user(session, f"reader{n}") for n in range(3)]
    design = replace(GRADED, repeats=2, repeat_distance=4)
    study = studies.make_study(
        session, *people, per_class=4, real=12, synthetic=12, design=design
    )  # fmt: skip
    for number in range(1, 4):
        rng = np.random.default_rng(number)
        for trial in trials(session, study, number):
            low = shift * (trial.stimulus.truth == Source.SYNTHETIC)
            seen = np.searchsorted([-1.2, -0.4, 0.4, 1.2], rng.normal(-low, 1, 2)) + 1
            answered.add(
                session, trial, lesion_class=None, rating=None, grades=[int(x) for x in seen]
            )
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    return study


def test_the_analysis_is_of_each_question_and_the_export_gives_the_same(session):
    study = read_study(session)
    answers = Answers.of(session, Unblinded(study))
    data = compute(session, answers, no_network).data
    content = Content.read(data)
    assert content.written() == data
    result = content.result
    assert isinstance(result, GradeResult)
    assert [len(one.readers) for one in result.questions] == [3, 3]
    assert result.primary.planned.readers == 3
    assert all(not one.blocks for one in content.curves)  # nothing is right or wrong
    schema = json.loads(exports.require("results.schema.json").make(session, answers))
    assert "GradeResult" in schema["$defs"]
    jsonschema.validate(json.loads(data), schema)
    table = exports.require("analysis.csv").make(session, answers).decode()
    again = analyse_grades(tidy.graded_readings(table), study.design.graded)
    for mine, kept in zip(again.questions, result.questions, strict=True):
        assert mine.across.random.mean.value == kept.across.random.mean.value
        assert [one.own.n for one in mine.readers] == [2, 2, 2]
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {row["correct"] for row in rows} == {""}
    assert {row["grade_3"] for row in rows} == {""}
    assert "1 clearly artificial" in result.methods
    assert "not which images are synthetic" in result.methods


def test_every_other_file_of_a_graded_study(session):
    study = read_study(session)
    answers = Answers.of(session, Unblinded(study))
    book = exports.require("codebook.csv").make(session, answers).decode()
    assert "1 = clearly artificial (“How realistic is the image as a whole?”)" in book
    rows = list(
        csv.DictReader(io.StringIO(exports.require("answers.csv").make(session, answers).decode()))
    )
    assert len(rows) == 3 * 26 * 2
    assert {row["question"] for row in rows} == {"grade_1", "grade_2"}
    packed = exports.require("grades-imrmc.zip").make(session, answers)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        ratings = files.parse(archive.read("grade_2.imrmc"))
        assert "texture and margin" in archive.read("README.txt").decode()
    assert ratings.scores.size >= 3 * 24
    for name in ("readings.imrmc", "mrmcaov.csv"):
        assert name in exports.lacking(answers)
        with pytest.raises(Conflict, match="grades of realism"):
            exports.require(name).make(session, answers)
    assert "grades-imrmc.zip" not in exports.named(Task.ORIGIN, unaware=False)


def test_a_graded_study_can_be_a_pilot_and_be_rehearsed(session):
    study = read_study(session)
    assert len(Estimated.of_study(session, study).found.cuts) == 4
    ready = Asked(studies=2).rehearsal(study)
    assert isinstance(ready, GradeRehearsal)
    assert ready.design.images == 24


def test_the_pages_of_results_show_grades(app, session, signed_in_as):
    study = read_study(session)
    session.commit()
    browser = signed_in_as("researcher", name="rhea")
    page = browser.get(f"/reader-studies/{study.id}/results")
    assert page.status_code == 200
    assert "Question 2: How realistic are texture and margin" in page.text
    assert "exports/readings.imrmc" not in page.text
    assert "Not to be had: readings.imrmc" in page.text
    verdicts = browser.get(f"/reader-studies/{study.id}/exports/verdicts.csv").text
    rows = list(csv.DictReader(io.StringIO(verdicts)))
    assert [row["of"] for row in rows] == ["R1", "R2", "R3", "readers"] * 2
    images = browser.get(f"/reader-studies/{study.id}/results/images").text
    assert "Grades 1 to 5" in images
    assert "not whether it is synthetic" in browser.get(f"/reader-studies/{study.id}").text
    for page in ("rehearsal", "rehearsal?run=1&studies=1"):
        assert browser.get(f"/reader-studies/{study.id}/{page}").status_code == 200
    planned = browser.get("/reader-studies/planner?points=5&readers=3&cases=40")
    assert "cut into 5 ratings" in planned.text
