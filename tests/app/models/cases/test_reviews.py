"""Reviews: which one of a person counts is said by their chain, and by no clock."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

import studies
from app.db import Database
from app.models import Checkpoint, Conduct, LeakAudit, Lesion, Prediction, Reading, Review, User
from app.models.reader_studies.audit import Audited
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.reading import NEW_SITTING, Answer
from app.models.runs.known_lesions import KnownLesions
from app.models.worklist import Wanted, work_list
from ml.lesion import LIVER
from ml.trust.answer import Said

FORM = {"confidence": 3, "basis": "imaging"}


@pytest.fixture
def clock(monkeypatch):
    """``clock(hours)``: from now on it is so many hours later; negative: it was set back."""
    offset = [timedelta()]

    class Moved(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + offset[0]

    monkeypatch.setattr("app.db.datetime", Moved)
    # an hour later a sign-in's use is written down by a thread beside the requests, which here
    # would share the test's one connection with them
    monkeypatch.setattr("app.auth.Attendance.note", lambda *_told: None)

    def move(hours: float) -> None:
        offset[0] = timedelta(hours=hours)

    return move


def give_class(session, browser, lesion, lesion_class, name="ada"):
    """Send the form of a page that shows how things stand."""
    session.expire_all()
    by = session.scalars(sa.select(User).where(User.name == name)).one()
    current = Review.current(session, lesion.id, by.id)
    slip = {"lesion": str(lesion.id), "number": lesion.number, "person": str(by.id)}
    after = {"after": str(current.id) if current else ""}
    data = {**FORM, **slip, **after, "lesion_class": lesion_class}
    return browser.post(f"/lesions/{lesion.id}/reviews", data=data)


# -- a clock that is set back ---------------------------------------------------------------------


def test_a_clock_set_back_stops_no_review(session, signed_in_as, clock):
    [lesion] = studies.make_lesion(session, 1)
    session.commit()
    ada = signed_in_as("reader", name="ada")

    def give(lesion_class):
        return give_class(session, ada, lesion, lesion_class)

    for hours, lesion_class in ((0, "cyst"), (0.4, "metastasis"), (0, "hemangioma"), (-9, "other")):
        clock(hours)
        reply = give(lesion_class)
        assert reply.status_code == 303, (hours, reply.text)
    session.expire_all()
    given = Review.of_lesion(session, lesion.id)
    assert [row.lesion_class for row in given] == ["other", "hemangioma", "metastasis", "cyst"]
    assert [row.supersedes_id for row in given[:-1]] == [row.id for row in given[1:]]


def test_what_a_person_said_last_counts_after_a_clock_was_set_back(app, session, clock):
    [lesion] = studies.make_lesion(session, 1)
    ada = studies.make_user(session, "ada")
    clock(48)
    studies.review(session, lesion, "cyst", by=ada)
    clock(0)
    last = studies.review(session, lesion, "metastasis", by=ada)
    session.commit()
    assert Review.current(session, lesion.id, ada.id) == last
    assert [one.lesion_class for one in KnownLesions.of(session, LIVER).lesions] == ["metastasis"]
    from app.presenters import Standing, lesion_panel

    request = SimpleNamespace(app=app)
    panel = lesion_panel(session, ada, Standing.of(request, session, ada, lesion))
    assert panel.own_review.lesion_class == "metastasis"
    assert [row.superseded for row in panel.reviews] == [False, True]


def test_among_people_the_later_review_counts_whatever_the_clock_said(session, clock):
    [lesion] = studies.make_lesion(session, 1)
    clock(48)
    studies.review(session, lesion, "cyst")
    clock(0)
    studies.review(session, lesion, "hemangioma", by=studies.make_user(session, "ada"))
    assert [one.lesion_class for one in KnownLesions.of(session, LIVER).lesions] == ["hemangioma"]


def test_the_newest_prediction_is_the_last_one_made(session, clock):
    maker = studies.make_user(session, "maker", "researcher")
    [lesion] = studies.make_lesion(session, 1)
    first = Checkpoint.classifier(session)
    second = _copy(session, first, "second")
    clock(48)
    Prediction.record(session, lesion, first, Said({"cyst": 0.9, "metastasis": 0.1}), [])
    clock(0)
    Prediction.record(session, lesion, second, Said({"cyst": 0.2, "metastasis": 0.8}), [])
    session.flush()
    assert Prediction.of_lesion(session, lesion.id)[0].checkpoint.name == "second"
    found = work_list(session, maker, Wanted(), review_first=False)
    assert found.items[0].network.checkpoint == "second"


def test_the_classifier_that_was_promoted_last_scores(session, clock):
    first = Checkpoint.classifier(session)
    second = _copy(session, first, "second")
    clock(48)
    first.promote(session, "boss")
    clock(0)
    second.promote(session, "boss")
    session.flush()
    assert Checkpoint.classifier(session).name == "second"


def test_the_check_in_and_the_audit_in_force_are_the_last_ones(session, clock):
    ada = studies.make_user(session, "ada")
    clock(48)
    study = studies.make_study(session, ada, opened=False)
    maker = studies.make_user(session, "maker")
    pictures = study.pictures(session, studies.draw)
    study.audit(session, maker, pictures, Audited.of(pictures))
    clock(0)
    [enrolment] = Enrolment.of_study(session, study.id)
    again = studies.check_in(session, enrolment, study)
    fewer = study.audit(session, maker, pictures[:-1], Audited.of(pictures[:-1]))
    assert Conduct.latest(session, enrolment.id) == again
    assert LeakAudit.latest(session, study.id) == fewer


def test_a_sitting_lasts_while_the_clock_is_set_back_and_ends_after_a_pause(session, clock):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    [enrolment] = Enrolment.of_study(session, study.id)
    from app.models import Trial

    trials = iter(session.scalars(sa.select(Trial).order_by(Trial.position)).all())
    pause = NEW_SITTING.total_seconds() / 3600 + 0.1
    sittings = []
    for hours in (0, 0, -5, -5, -5 + pause, -5 + pause):
        clock(hours)
        trial = next(trials)
        answer = Answer(trial.token, trial.token, "cyst", 3)
        sittings.append(Reading.give(session, enrolment, answer)[0].session_no)
    assert sittings == [1, 1, 1, 1, 2, 2]


# -- two at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_reviews_of_one_person_at_once_are_a_chain(tmp_path, request, kind):
    url = f"sqlite:///{tmp_path}/reviews.sqlite3"
    database = Database(url if kind == "sqlite" else request.getfixturevalue("postgres"))
    database.migrate()
    with database.transaction() as session:
        ada = studies.make_user(session, "ada")
        [lesion] = studies.make_lesion(session, 1)
    barrier = threading.Barrier(6)
    faults = []

    def give(number: int) -> None:
        barrier.wait()
        try:
            with database.transaction() as session:
                mine = session.get(Lesion, lesion.id)
                studies.review(session, mine, LIVER.keys[number % 3], by=ada)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=give, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with database.reading() as session:
        given = Review.of_lesion(session, lesion.id)
        assert [row.number for row in given] == [6, 5, 4, 3, 2, 1]
        assert sum(row.supersedes_id is None for row in given) == 1
        assert Review.current(session, lesion.id, ada.id) == given[0]
    database.engine.dispose()


def _copy(session, checkpoint: Checkpoint, name: str) -> Checkpoint:
    row = Checkpoint(
        name=name,
        kind=checkpoint.kind,
        training_kind=checkpoint.training_kind,
        dataset_digest=checkpoint.dataset_digest,
        meta=checkpoint.meta,
        card=checkpoint.card,
        onnx_digest=checkpoint.onnx_digest,
        weights_digest=checkpoint.weights_digest,
    )
    session.add(row)
    session.flush()
    return row


# -- what is said of the score is true ------------------------------------------------------------


def test_no_score_is_called_covered_or_visible_where_there_is_none(session, signed_in_as):
    [lesion] = studies.make_lesion(session, 1)
    session.commit()
    assert not Prediction.of_lesion(session, lesion.id)
    ada = signed_in_as("reader", name="ada")
    page = f"/cases/{lesion.case_id}?lesion={lesion.id}"
    first = ada.get(page).text
    assert "Score covered until" not in first
    assert "No checkpoint has classified this lesion" in first
    for lesion_class in ("cyst", "metastasis"):
        assert give_class(session, ada, lesion, lesion_class).status_code == 303
    told = ada.get(page).text
    assert told.count(", no score<") == 2
    assert "score visible" not in told
    session.expire_all()
    assert [one.score_visible for one in Review.of_lesion(session, lesion.id)] == [False, False]


def test_colleagues_classes_are_covered_by_their_own_name_where_there_is_no_score(
    session, signed_in_as
):
    [lesion] = studies.make_lesion(session, 1)
    session.commit()
    ada = signed_in_as("reader", name="ada")
    assert give_class(session, ada, lesion, "cyst").status_code == 303
    bob = signed_in_as("reader", name="bob")
    page = bob.get(f"/cases/{lesion.case_id}?lesion={lesion.id}").text
    assert "Colleagues’ classes covered until you save your class." in page
    assert "Score covered until" not in page
    assert "ada: cyst" not in page
