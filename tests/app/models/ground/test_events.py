"""The record of who did what: complete, by its real actor, without patients."""

from __future__ import annotations

import deletions
import pytest
import sqlalchemy as sa

import answered
import studies
from app.errors import Unavailable
from app.models import Event


def events(session, kind: str) -> list[tuple[str, str]]:
    rows = session.execute(sa.select(Event.actor, Event.subject).where(Event.kind == kind))
    return [tuple(row) for row in rows]


@pytest.fixture
def unblinded(app, session):
    app.state.inference = studies.NoNetworks()
    maker = studies.make_user(session, "maker", "researcher")
    reader = studies.make_user(session, "ada")
    study = studies.make_study(session, reader)
    answered.answer(session, study, 1, answered.guessing(1))
    answered.unblind(session, study, maker)
    session.commit()
    return study


def test_whoever_takes_results_elsewhere_is_in_the_record(session, signed_in_as, unblinded):
    eve = signed_in_as("researcher", name="eve")
    taken = ["answers.csv", "codebook.csv", "images.zip", "results.json"]
    for name in taken:
        reply = eve.get(f"/reader-studies/{unblinded.id}/exports/{name}")
        assert reply.status_code == 200, reply.text
    rows = session.scalars(sa.select(Event).where(Event.kind == "results exported"))
    told = [(row.actor, row.subject, row.detail["file"]) for row in rows]
    assert sorted(told) == sorted(("eve", str(unblinded.id), name) for name in taken)


def test_nothing_is_taken_that_could_not_be_recorded(
    app, session, signed_in_as, unblinded, monkeypatch
):
    eve = signed_in_as("researcher", name="eve")
    record = Event.record

    def full(opened, actor, kind, *more, **detail):
        if kind == "results exported":
            raise Unavailable("The disk is full.")
        record(opened, actor, kind, *more, **detail)

    monkeypatch.setattr(Event, "record", staticmethod(full))
    reply = eve.get(f"/reader-studies/{unblinded.id}/exports/answers.csv")
    assert reply.status_code == 503
    assert "study_id" not in reply.text


def test_whoever_takes_a_dataset_version_elsewhere_is_in_the_record(session, signed_in_as):
    studies.make_known_lesions(session, 2)
    session.commit()
    maker, eve = signed_in_as("researcher", name="maker"), signed_in_as("researcher", name="eve")
    form = {"name": "one", "kind": "phantom"}
    assert maker.post("/datasets", data=form).status_code == 303
    [(_, version)] = events(session, "dataset version frozen")
    assert eve.get(f"/datasets/{version}/download").status_code == 200
    assert events(session, "dataset version downloaded") == [("eve", version)]


def test_what_is_refused_by_role_is_in_the_record_with_its_address(session, signed_in_as):
    ada = signed_in_as("reader", name="ada")
    assert ada.get("/users").status_code == 403
    assert ada.get("/runs").status_code == 403
    assert events(session, "refused") == [("ada", "/users"), ("ada", "/runs")]


def test_a_refusal_stands_when_its_event_cannot_be_written(app, signed_in_as, monkeypatch, caplog):
    ada = signed_in_as("reader", name="ada")

    def full(**_options):
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(app.state.database, "transaction", full)
    assert ada.get("/users").status_code == 403
    assert "Not recorded: refused by ada at /users" in caplog.text


def test_no_event_names_a_patient(session, signed_in_as, database, app):
    [lesion] = studies.make_lesion(session, 1)
    studies.review(session, lesion, "cyst", note="Mrs Secret")
    session.commit()
    maker = signed_in_as("researcher", name="maker")
    case = lesion.image.series.case
    maker.post(f"/cases/{case.id}/deletion", data={"typed": case.pseudonym})
    secrets = (studies.PATIENT_WORD, case.pseudonym, str(case.patient_hmac), "Secret")
    deletions.finish(database, app)
    rows = session.scalars(sa.select(Event)).all()
    assert {"case received", "review given", "case deleted"} <= {row.kind for row in rows}
    told = " ".join(f"{row.actor} {row.kind} {row.subject} {row.detail}" for row in rows)
    for secret in secrets:
        assert secret not in told
