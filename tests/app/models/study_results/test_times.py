"""Times are the server's as well as the browser's, and implausible ones are marked."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

import answered
import studies
from app.db import now
from app.models import Delivery, Reading
from app.models.reader_studies.design import Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.trial import TrialKind
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results import exports
from app.models.study_results.analysis import Content, compute
from app.models.study_results.answers import Answers
from app.models.study_results.methods import Conducted
from app.models.study_results.times import Mark, marked_by_reader
from ml.readers import tidy
from ml.readers.analysis import analyse
from ml.readers.results import Unsent

JSON = {"accept": "application/json"}


def sound(position: int) -> dict[str, object]:
    """An honest answer: 9 s after the one before, four of them in view."""
    return {"rating": 1 + position % 6, "active_ms": 4000, "hidden_ms": 0}


ODD = {
    2: ({"active_ms": 260}, Mark.FAST),  # as 0.26 s were found
    3: ({"hidden_ms": 6 * 24 * 3_600_000}, Mark.LONG),  # longer than there has been a study
    4: ({"waited_ms": -3_600_000}, Mark.CLOCK),
    5: ({"waited_ms": 2000, "active_ms": 900_000}, Mark.LONG),
}


@pytest.fixture
def read(session):
    """A study whose first reader answered every trial, some with times that cannot be."""
    ada = studies.make_user(session, "ada")
    study = studies.make_study(session, ada)
    begun = now() + timedelta(seconds=1)
    [enrolment] = Enrolment.of_study(session, study.id)
    trials = answered.trials_of(session, enrolment)
    for trial in trials[:-1]:  # the last picture never left the server
        Delivery.keep(session, {trial.id: begun + timedelta(seconds=9 * trial.position - 6)})
    odd = {position: given for position, (given, _) in ODD.items()}
    answered.answer(
        session,
        study,
        1,
        lambda _, place: {**sound(place), **odd.get(place, {}), "sent": place < len(trials)},
        begun,
    )
    answered.unblind(session, study, study.owner)
    return Answers.of(session, Unblinded(study))


def rows_of(session, answers, name: str) -> list[dict[str, str]]:
    made = exports.require(name).make(session, answers)
    return list(csv.DictReader(made.decode().splitlines()))


def test_each_implausible_time_is_marked_with_why_and_no_other(session, read):
    rows = rows_of(session, read, "analysis.csv")
    assert len(rows) == 12
    wanted = {position: mark.value for position, (_, mark) in ODD.items()} | {12: "unsent"}
    assert {int(row["position"]): row["time_marks"] for row in rows if row["time_marks"]} == wanted


def test_no_time_in_an_export_is_before_the_study_or_before_its_picture_was_sent(session, read):
    opened = read.study.protocols[0].frozen_at
    rows = rows_of(session, read, "analysis.csv")
    for row in rows:
        sent, shown, given, received = (
            datetime.fromisoformat(row[name]) if row[name] else None
            for name in ("sent_at_utc", "shown_at_utc", "answered_at_utc", "received_at_utc")
        )
        start = opened.replace(microsecond=1000 * (opened.microsecond // 1000))
        assert start <= (sent or shown) <= shown <= given <= received
    late = rows[4]
    waited = datetime.fromisoformat(late["received_at_utc"]) - datetime.fromisoformat(
        late["answered_at_utc"]
    )
    assert (waited, late["waited_ms"]) == (timedelta(seconds=2), "2000")


def test_marked_answers_are_counted_and_left_out_of_a_second_area(session, read):
    [ada] = marked_by_reader(session, read)
    assert (ada.reader, ada.answers, ada.marked) == ("R1", 12, 5)
    assert ada.counts == {Mark.FAST: 1, Mark.LONG: 2, Mark.UNSENT: 1, Mark.CLOCK: 1}
    assert (ada.area.n, ada.without.n) == (11, 7)  # what was never sent is in neither


def test_an_answer_to_a_picture_never_sent_is_in_no_figure_and_said_to_be(session, read):
    content = Content.read(compute(session, read, lambda *_: []).data)
    assert content.result.unsent == Unsent({"R1": 1}, 12, True)
    assert content.result.readers[0].n == 11 and content.curves[0].blocks[-1].last == 11
    assert content.result.counts.unanswered_left_out == 0
    assert "1 of 12 answers came to pictures" in content.result.methods
    # what was never sent is in no figure, and so not in the analysis
    marked = sum(content.times[0].counts.values()) - 1
    assert f"a rule set beforehand: {marked}. They are in" in content.result.methods
    assert content.times == tuple(marked_by_reader(session, read))
    table = exports.require("analysis.csv").make(session, read).decode()
    assert analyse(tidy.readings(table)).readers[0].n == 11
    assert exports.require("mrmcaov.csv").make(session, read).count(b"R1") == 11


def test_a_script_that_answers_as_it_fetches_is_fast_whatever_it_says(session):
    """By the server's clock: half a second is less than half of the least time of 1.2 s."""
    ada = studies.make_user(session, "ada")
    study = studies.make_study(session, ada, design=Design(least_ms=1200))
    [enrolment] = Enrolment.of_study(session, study.id)
    begun = now() + timedelta(seconds=5)
    for trial in answered.trials_of(session, enrolment):
        Delivery.keep(session, {trial.id: begun})
        at = begun + timedelta(seconds=4 + 0.5 * trial.position)
        answered.add(session, trial, answered_at=at, active_ms=3500)
    answered.unblind(session, study, study.owner)
    [found] = marked_by_reader(session, Answers.of(session, Unblinded(study)))
    assert (found.marked, found.counts[Mark.FAST]) == (11, 11)


def test_the_server_keeps_when_a_picture_was_first_sent_and_how_long_its_answer_waited(
    app, session, signed_in_as
):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    [enrolment] = Enrolment.of_study(session, study.id)
    session.commit()
    ada = signed_in_as("reader", name="ada")
    address = f"/readings/{enrolment.token}"
    first = ada.get(address, headers=JSON).json()["upcoming"][0]["token"]
    before = now()
    for _ in range(2):
        assert ada.get(f"/pixels/{first}").status_code == 200
    [delivery] = session.scalars(sa.select(Delivery)).all()
    assert before <= delivery.at <= now()
    body = {"trial": first, "key": "k", "lesion_class": "cyst", "rating": "3"}
    more = {"waited_ms": "1234", "hidden_ms": str(2**40)}
    assert ada.post(address, data={**body, **more}, headers=JSON).status_code == 201
    reading = session.scalars(sa.select(Reading)).one()
    assert (reading.waited_ms, reading.hidden_ms) == (1234, 2**31 - 1)
    stranger = signed_in_as("reader", name="bea")
    assert stranger.get(f"/pixels/{first}").status_code == 404
    assert len(session.scalars(sa.select(Delivery)).all()) == 1


def test_an_earlier_protocol_fixed_no_least_time_and_kept_no_sendings(session):
    ada = studies.make_user(session, "ada")
    study = studies.make_study(session, ada, design=Design(least_ms=0))
    begun = now() + timedelta(seconds=1)
    answered.answer(session, study, 1, lambda _, place: {**sound(place), "active_ms": 50}, begun)
    answered.unblind(session, study, study.owner)
    studies.tamper(session, "protocol")
    content = dict(study.protocols[0].content_json)
    content["design"] = {k: v for k, v in content["design"].items() if k != "least_ms"}
    session.execute(sa.text("UPDATE protocol SET content = :text"), {"text": json.dumps(content)})
    session.expire_all()
    assert marked_by_reader(session, Answers.of(session, Unblinded(study))) == []


def test_an_answer_that_is_changed_at_once_is_fast_as_well(session):
    """And one that is changed later, after others, is not."""
    ada = studies.make_user(session, "ada")
    study = studies.make_study(session, ada, design=Design(least_ms=1200, back=True))
    [enrolment] = Enrolment.of_study(session, study.id)
    begun = now() + timedelta(seconds=5)
    trials = answered.trials_of(session, enrolment)
    for trial in trials:
        sent = begun + timedelta(seconds=9 * trial.position)
        Delivery.keep(session, {trial.id: sent})
        at = sent + timedelta(seconds=5)
        answered.add(session, trial, answered_at=at, active_ms=4000, sent=False)
    early, late = trials[2], trials[3]
    for trial, after in ((early, 0.4), (late, 40.0)):
        sent = begun + timedelta(seconds=9 * trial.position)
        change = {"answered_at": sent + timedelta(seconds=after), "revision": 2}
        answered.add(session, trial, active_ms=4000, rating=6, sent=False, **change)
    answered.unblind(session, study, study.owner)
    [found] = marked_by_reader(session, Answers.of(session, Unblinded(study)))
    assert (found.marked, found.counts[Mark.FAST]) == (1, 1)


def test_a_hidden_repeat_whose_first_showing_was_never_sent_is_said_to_count(session):
    study = studies.make_study(
        session, studies.make_user(session, "ada"), design=Design(repeats=3, repeat_distance=2)
    )
    [enrolment] = Enrolment.of_study(session, study.id)
    trials = answered.trials_of(session, enrolment)
    again = next(one for one in trials if one.kind == TrialKind.REPEAT)
    first = next(one for one in trials if one.stimulus_id == again.stimulus_id)
    answered.answer(
        session, study, 1, lambda _, place: {**sound(place), "sent": place != first.position}
    )
    answered.unblind(session, study, study.owner)
    answers = Answers.of(session, Unblinded(study))
    content = Content.read(compute(session, answers, lambda *_: []).data)
    assert (content.result.counts.repeats, content.result.counts.late) == (2, 1)
    told = "1 answer was given at a second showing whose first has no answer that counts"
    assert told in " ".join(content.result.warnings)
    said = " ".join(Conducted(session, answers).reading())
    assert "only, but for 1 of which the first showing has no answer that counts." in said
