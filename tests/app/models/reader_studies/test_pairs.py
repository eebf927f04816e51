"""Pairs: a real and a synthetic image side by side, from composing to the exports."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

import answered
import studies
from app.errors import Conflict, Unreadable
from app.models import Stimulus
from app.models.reader_studies.design import ANALYSIS_OF_CHOICES, DESIGNS, Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.exposure import Exposure
from app.models.reader_studies.reading import Answer, Reading
from app.models.reader_studies.stimulus import Source
from app.models.reader_studies.task import Task
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results import exports
from app.models.study_results.analysis import Content, compute
from app.models.study_results.answers import Answers
from ml.lesion import LIVER
from ml.readers import tidy
from ml.readers.choice import analyse_choices
from ml.readers.choice_results import ChoiceResult
from ml.readers.pairs import Side

JSON = {"accept": "application/json"}
PAIRS = Design(task=Task.CHOICE, lesion_class=False)


def trials(session, study, number=1):
    return answered.trials_of(session, answered.enrolment_of(session, study, number))


def synthetic_side(trial) -> Side:
    return next(side for side in Side if trial.at(side).truth == Source.SYNTHETIC)


def no_network(*_arguments):
    raise AssertionError("the network must not be asked")


# -- composing and drawing ------------------------------------------------------------------------


def test_each_pair_is_of_one_class_and_every_image_is_in_one(session):
    study = studies.make_study(session, studies.make_user(session, "ada"), design=PAIRS)
    shown = trials(session, study)
    assert (study.images, study.total, study.trials, len(shown)) == (12, 6, 6, 6)
    for trial in shown:
        assert {trial.stimulus.truth, trial.right.truth} == set(Source)
        assert trial.stimulus.lesion_class == trial.right.lesion_class
    every = [one.id for trial in shown for one in (trial.stimulus, trial.right)]
    assert sorted(every) == sorted(one.id for one in Stimulus.of_study(session, study.id))
    content = study.protocol.content
    truth = {one.sha256: one.truth for one in content.images}
    assert [(truth[a], truth[b]) for a, b in content.pairs] == [("synthetic", "real")] * 6
    assert content.design.analysis == ANALYSIS_OF_CHOICES


def test_sides_are_balanced_and_drawn_anew_for_each_reader(session):
    readers = [studies.make_user(session, f"reader{n}") for n in range(4)]
    study = studies.make_study(session, *readers, per_class=3, real=9, synthetic=9, design=PAIRS)
    by_reader = []
    for number in range(1, 5):
        sides = {
            frozenset((t.stimulus_id, t.right_id)): synthetic_side(t)
            for t in trials(session, study, number)
        }
        assert abs(Counter(sides.values())[Side.LEFT] - 4.5) == 0.5
        by_reader.append(sides)
    assert len({frozenset(sides) for sides in by_reader}) == 1  # the same two meet for everybody
    assert len({tuple(sides[pair] for pair in by_reader[0]) for sides in by_reader}) > 1


def test_practice_comes_first_and_repeats_come_with_their_sides_changed(session):
    design = replace(PAIRS, practice=2, repeats=2, repeat_distance=2)
    study = studies.make_study(
        session, studies.make_user(session, "ada"), per_class=3, design=design
    )
    shown = trials(session, study)
    assert [one.kind for one in shown[:2]] == ["practice"] * 2
    assert Counter(one.kind for one in shown) == {"practice": 2, "first": 6, "repeat": 2}
    first = {one.id: one for one in shown}
    for again in (one for one in shown if one.kind == "repeat"):
        before = first[again.repeats_id]
        assert (again.stimulus_id, again.right_id) == (before.right_id, before.stimulus_id)
    assert {synthetic_side(one) for one in shown[:2]} == set(Side)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lesion_class": True}, "only one thing is asked"),
        ({"reasons": True}, "only one thing is asked"),
        ({"tell_prevalence": True}, "nothing else to tell"),
        ({"practice": 1}, "practice pairs"),
        ({"repeats": 4}, "repeats for 6 pairs"),
    ],
)
def test_a_design_of_pairs_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(Unreadable, match=said):
        replace(PAIRS, **wrong).checked(6)


def test_pairs_need_as_many_real_as_synthetic_images(session):
    with pytest.raises(Unreadable, match="not 3 and 4"):
        studies.make_study(session, real=3, synthetic=4, design=PAIRS)


def test_both_images_of_a_pair_are_known_to_who_was_to_read_them(session):
    ada = studies.make_user(session, "ada")
    study = studies.make_study(session, ada, design=PAIRS)
    known = Exposure.of(session, ada.id)
    assert len(known.read) == len(known.synthetics) == study.total


# -- the desk -------------------------------------------------------------------------------------


@pytest.fixture
def desk(app, session, signed_in_as):
    design = replace(PAIRS, practice=2, back=True)
    return studies.desk_of_ada(app, session, signed_in_as, design)


def test_a_pair_is_read_and_practice_tells_which_was_synthetic(desk, session):
    browser, address, study = desk
    told = []
    for trial in trials(session, study):
        page = browser.get(address).text
        assert page.count("data-image=") == 2
        assert f"/pixels/{trial.token}/left" in page
        reply = browser.post(
            address, data={"trial": trial.token, "key": trial.token, "choice": "left"}, headers=JSON
        )
        assert reply.status_code == 201
        if "feedback" in reply.json():
            told.append((reply.json()["feedback"], synthetic_side(trial)))
    assert [side.value in text for text, side in told] == [True, True]
    assert "6 pairs are read" in browser.get(address).text.replace("All ", "")


def test_neither_bytes_heads_nor_addresses_tell_the_sides_apart(desk, session):
    browser, _, study = desk
    seen = {}
    for trial in trials(session, study)[:6]:
        for side in Side:
            reply = browser.get(f"/pixels/{trial.token}/{side}")
            truth = trial.at(side).truth
            heads = {one for one in reply.headers.items() if one[0] != "x-request-id"}
            seen.setdefault(truth, set()).add(
                (reply.status_code, len(reply.content), frozenset(heads))
            )
        assert browser.get(f"/pixels/{trial.token}").status_code == 404
        assert browser.get(f"/pixels/{trial.token}/above").status_code in (404, 422)
    assert len(seen["real"]) == 1
    assert seen["real"] == seen["synthetic"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "Choose the left or the right one"),
        ({"choice": "above"}, "choice"),
        ({"rating": "3"}, "not for a rating"),
        ({"choice": "left", "rating": "3"}, "not for a rating"),
        ({"choice": "left", "lesion_class": "cyst"}, "does not ask for the lesion class"),
    ],
)
def test_an_answer_that_is_none_is_refused_and_not_kept(desk, session, sent, said):
    browser, address, study = desk
    trial = trials(session, study)[0]
    reply = browser.post(address, data={"trial": trial.token, "key": "k", **sent}, headers=JSON)
    assert reply.status_code == 422
    assert said in reply.json()["detail"]
    assert Reading.count(session, trial.enrolment_id) == 0


def test_a_study_of_single_images_takes_no_side(session):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    [first, *_] = trials(session, study)
    [enrolment] = Enrolment.of_study(session, study.id)
    with pytest.raises(Unreadable, match="no left or right one"):
        Reading.give(session, enrolment, Answer(first.token, "k", "cyst", choice=Side.LEFT))


# -- results --------------------------------------------------------------------------------------


def read_by(session, *right_of_ten, design=PAIRS, per_class=4):
    """A study that each reader answers right in so many of ten pairs, then unblinded."""
    people = [studies.make_user(session, f"reader{n}") for n in range(len(right_of_ten))]
    count = 3 * per_class
    study = studies.make_study(
        session, *people, per_class=per_class + design.practice // 2, real=count, synthetic=count,
        design=design,
    )  # fmt: skip
    for number, right in enumerate(right_of_ten, 1):
        for trial in trials(session, study, number):
            side = synthetic_side(trial)
            named = side if trial.position % 10 < right else side.other
            answered.add(session, trial, lesion_class=None, rating=None, choice=named)
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    return study


def test_the_analysis_is_of_shares_and_the_export_gives_the_same(session):
    study = read_by(session, 7, 6, 5)
    answers = Answers.of(session, Unblinded(study))
    data = compute(session, answers, no_network).data
    content = Content.read(data)
    assert content.written() == data
    assert isinstance(content.result, ChoiceResult)
    assert [one.correct.count for one in content.result.readers] == [9, 8, 7]
    table = exports.require("analysis.csv").make(session, answers).decode()
    again = analyse_choices(tidy.pair_readings(table))
    assert [one.correct.count for one in again.readers] == [9, 8, 7]
    assert again.across.random.mean.value == pytest.approx(24 / 36)
    rows = exports.require("answers.csv").make(session, answers).decode().splitlines()
    assert len(rows) == 1 + 36
    assert ",which_synthetic,left," in rows[1] or ",which_synthetic,right," in rows[1]
    with pytest.raises(Conflict, match="ratings of single ones"):
        exports.require("readings.imrmc").make(session, answers)
    schema = json.loads(exports.require("results.schema.json").make(session, answers))
    assert "ChoiceResult" in schema["$defs"]


def test_the_pages_of_results_show_pairs(app, session, signed_in_as):
    study = read_by(session, 7, 6, 5, design=replace(PAIRS, practice=2))
    session.commit()
    browser = signed_in_as("researcher", name="rhea")
    page = browser.get(f"/reader-studies/{study.id}/results")
    assert page.status_code == 200
    assert "two-alternative forced choice" in page.text
    for words in ("A program", "Park et al.", "What a program could have used",
                  "Without the images that the leak audit marks"):  # fmt: skip
        assert words.lower() in page.text.lower(), words
    assert "exports/readings.imrmc" not in page.text
    images = browser.get(f"/reader-studies/{study.id}/results/images").text
    assert images.count("named the") == 36


def test_the_preset_fits_a_study_of_pairs():
    preset = DESIGNS["pairs"]
    assert preset.real == preset.synthetic
    assert preset.design.checked(100).task is Task.CHOICE
    assert LIVER.keys  # of any scheme: its numbers are in all
