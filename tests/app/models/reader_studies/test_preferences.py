"""Preferences: two generators side by side, without a real image, from composing to the exports."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace

import jsonschema
import pytest

import answered
import studies
from app.errors import Unreadable
from app.models import Stimulus
from app.models.reader_studies.design import ANALYSIS_OF_PREFERENCES, DESIGNS, Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.rehearsal import Asked
from app.models.reader_studies.task import Task
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results import exports
from app.models.study_results.analysis import Content, compute
from app.models.study_results.answers import Answers
from ml.lesion import LIVER
from ml.readers import tidy
from ml.readers.pairs import Side
from ml.readers.preference import analyse_preferences
from ml.readers.preference_results import PreferenceResult

JSON = {"accept": "application/json"}
PREFERENCES = Design(task=Task.PREFERENCE, lesion_class=False)
WORDS = (studies.SOURCE_WORD, "otherone")


def trials(session, study, number=1):
    return answered.trials_of(session, answered.enrolment_of(session, study, number))


def generator(stimulus) -> str:
    return stimulus.checkpoint.generator


def no_network(*_arguments):
    raise AssertionError("the network must not be asked")


def make(session, *readers, pairs=6, words=WORDS, design=PREFERENCES):
    """A study of preferences, open; there is not one lesion in the database."""
    researcher = studies.make_user(session, "maker", "researcher")
    names = [row.name for word in words for row in studies.make_generators(session, word=word)]
    study = studies.compose(
        session, researcher, title="Side by side", scheme=LIVER, real=0, synthetic=pairs, seed=7,
        design=design, draw=studies.draw, generators=names,
    )  # fmt: skip
    for reader in readers:
        studies.check_in(session, study.enrol(session, reader, researcher), study)
    study.open(session, researcher, study.pictures(session, studies.draw))
    return study


def test_a_study_is_composed_without_a_real_image_and_every_pair_is_a_contest(session):
    study = make(session, studies.make_user(session, "ada"))
    assert (study.images, study.total, study.trials) == (12, 6, 6)
    assert not study.plan.images.real
    shown = trials(session, study)
    for trial in shown:
        assert trial.stimulus.lesion_class == trial.right.lesion_class
        assert generator(trial.stimulus) != generator(trial.right)
    every = [one.id for trial in shown for one in (trial.stimulus, trial.right)]
    assert sorted(every) == sorted(one.id for one in Stimulus.of_study(session, study.id))
    content = study.protocol.content
    assert content.design.analysis == ANALYSIS_OF_PREFERENCES
    assert "no real image" in content.audit["text"]
    first = min(generator(shown[0].stimulus), generator(shown[0].right))
    assert Counter(generator(one.stimulus) == first for one in shown) == {True: 3, False: 3}
    assert DESIGNS["preference"].design.checked(100).task is Task.PREFERENCE


def test_every_two_of_three_generators_take_turns(session):
    study = make(
        session, studies.make_user(session, "ada"), pairs=9, words=(*WORDS, "thirdone")
    )  # fmt: skip
    met = Counter(
        frozenset((generator(one.stimulus), generator(one.right))) for one in trials(session, study)
    )
    assert sorted(met.values()) == [3, 3, 3]


def test_one_generator_alone_and_real_images_are_refused(session):
    with pytest.raises(Unreadable, match="between two generators, and only"):
        make(session, words=WORDS[:1])
    with pytest.raises(Unreadable, match="No real image is shown"):
        studies.compose(
            session, studies.make_user(session, "maker", "researcher"), title="T", scheme=LIVER,
            real=3, synthetic=3, design=PREFERENCES,
        )  # fmt: skip
    with pytest.raises(Unreadable, match="practice has nothing to tell"):
        replace(PREFERENCES, practice=2).checked(6)


def test_the_desk_asks_which_looks_more_real_and_says_nothing_of_generators(
    app, session, signed_in_as
):
    app.state.inference = studies.NoNetworks()
    study = make(session, studies.make_user(session, "ada"))
    session.commit()
    [enrolment] = Enrolment.of_study(session, study.id)
    browser, address = signed_in_as("reader", name="ada"), f"/readings/{enrolment.token}"
    assert "all of them: no real image is shown" in browser.get(f"{address}/conduct").text
    for trial in trials(session, study):
        page = browser.get(address).text
        assert "Which looks more like a real lesion?" in page
        assert not any(word in page for word in WORDS)
        body = {"trial": trial.token, "key": trial.token, "choice": "left"}
        reply = browser.post(address, data=body, headers=JSON)
        assert reply.status_code == 201
        assert "feedback" not in reply.json()


def read_study(session, *wins_of_ten, words=WORDS, pairs=12):
    """Readers who prefer the first generator in so many of ten pairs, then unblinded."""
    people = [studies.make_user(session, f"reader{n}") for n in range(len(wins_of_ten))]
    study = make(session, *people, words=words, pairs=pairs)
    for number, wins in enumerate(wins_of_ten, 1):
        for trial in trials(session, study, number):
            first = min(Side, key=lambda side, one=trial: generator(one.at(side)))
            named = first if trial.position % 10 < wins else first.other
            answered.add(session, trial, lesion_class=None, rating=None, choice=named)
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    return study


def test_the_analysis_is_of_contests_and_the_export_gives_the_same(session):
    study = read_study(session, 8, 7, 6)
    answers = Answers.of(session, Unblinded(study))
    data = compute(session, answers, no_network).data
    content = Content.read(data)
    assert content.written() == data
    result = content.result
    assert isinstance(result, PreferenceResult)
    [contest] = result.contests
    assert contest.pairs == 12
    assert [one.preferred.count for one in contest.readers] == [10, 9, 8]
    assert content.program is None
    assert all(not one.blocks for one in content.curves)
    assert "no real image was in it" in result.methods
    assert "0 real" not in result.methods
    schema = json.loads(exports.require("results.schema.json").make(session, answers))
    jsonschema.validate(json.loads(data), schema)
    table = exports.require("analysis.csv").make(session, answers).decode()
    again = analyse_preferences(tidy.pair_readings(table))
    assert [one.preferred.count for one in again.contests[0].readers] == [10, 9, 8]
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {row["correct"] for row in rows} == {""}
    assert {row["other_generator"] for row in rows} == {contest.second}
    told = exports.require("answers.csv").make(session, answers).decode()
    assert told.count(",which_more_real,") == 36
    assert "readings.imrmc" in exports.lacking(answers)


def test_the_pages_show_generators_and_say_that_nothing_is_real(app, session, signed_in_as):
    study = read_study(session, 8, 7, 6, words=(*WORDS, "thirdone"), pairs=18)
    session.commit()
    browser = signed_in_as("researcher", name="rhea")
    address = f"/reader-studies/{study.id}"
    page = browser.get(f"{address}/results")
    assert page.status_code == 200
    assert "No real image in this study" in page.text
    assert "All generators on one scale" in page.text or "No common scale" in page.text
    assert "otherone" in browser.get(f"{address}/results/images").text
    assert "no real image in this study" in browser.get(address).text
    assert "no real image" in browser.get(f"{address}/audit").text.lower()
    ready = Asked(studies=1).rehearsal(study)
    assert ready.design.pairs == 6
    for name in exports.EXPORTS:
        assert browser.get(f"{address}/exports/{name}").status_code in (200, 409)


def test_the_wizard_leads_to_a_study_without_a_real_image(app, session, signed_in_as):
    app.state.inference = studies.NoNetworks()
    names = [row.name for word in WORDS for row in studies.make_generators(session, word=word)]
    session.commit()
    browser = signed_in_as("researcher")

    def go(address: str, **typed) -> str:
        reply = browser.post(address, data={"go": "next", **typed}, follow_redirects=False)
        assert reply.status_code == 303, reply.text
        return reply.headers["location"]

    images = go("/reader-studies/sketches", title="Two of them", preset="preference")
    page = browser.get(images).text
    assert "no real image in this study" in page
    assert 'name="real"' not in page
    reading = go(images, synthetic="6", generators=names)
    page = browser.get(reading).text
    assert "which of the two looks more like a real lesion" in page
    assert 'name="practice"' not in page
    conduct = go(reading, repeats="0")
    page = browser.get(conduct).text
    assert "Both were drawn by a program" in page
    assert "prefer the image of the first generator by name" in page
    check = go(conduct)
    assert "none in this study" in browser.get(check).text
    study = go(check.replace("/check", "/composition"))
    page = browser.get(study).text
    assert "Two of them" in page
    assert "no ties, and no real image is in this study" in page
