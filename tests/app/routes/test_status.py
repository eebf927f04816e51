"""The status in words: what is wrong and what to do, what waits, what is well, each with a time."""

from __future__ import annotations

import html
import re
import uuid
from datetime import timedelta

import pytest

from app.db import now
from app.models import Checkpoint, Event
from app.models.erasures.erasure import Erasure, ErasureKind
from app.models.ground.trail import SEALED
from app.models.jobs.job import Job, JobKind
from app.models.jobs.notice import Notice
from app.operation.register import Register

BACKUP = "backup made"


@pytest.fixture
def shown(signed_in_as, session, checkpoints):
    """``shown()``: what about → (state, all words of its line); "" → the line above."""
    for each in checkpoints:
        Checkpoint.register(session, each, "tests")
    session.commit()
    admin = signed_in_as("admin", name="root")

    def look(**headers: str) -> dict[str, tuple[str, str]]:
        reply = admin.get("/status", headers=headers)
        assert reply.status_code == 200
        found = {"": ("", _words(re.findall(r'page-head__text">(.*?)</p>', reply.text)[0]))}
        for row in re.findall(r"<tr>\s*<td.*?</tr>", reply.text, re.S):
            state, about = (
                _words(re.findall(rf"<{tag}\b.*?</{tag}>", row, re.S)[0]) for tag in ("td", "th")
            )
            found[about] = (state, _words(row))
        return found

    return look


def _words(text: str) -> str:
    return html.unescape(" ".join(re.sub("<[^>]*>", " ", text).split()))


def happened(session, kind: str, ago: timedelta = timedelta()) -> None:
    event = Event(at=now() - ago, actor="root", kind=kind, subject="", detail={})
    session.add(event)
    session.commit()


@pytest.mark.parametrize("role", ["reader", "researcher"])
def test_nobody_but_administrators_sees_it(role, signed_in_as):
    browser = signed_in_as(role)
    assert browser.get("/status").status_code == 403
    assert 'href="/status"' not in browser.get("/cases").text


def test_what_is_wrong_stands_first_with_what_to_do(shown, session):
    found = shown()
    assert list(found)[1] == "Backup"
    state, words = found["Backup"]
    assert state == "wrong" and "python -m app backup DIR" in words
    assert found[""] == ("", "2 things are wrong.")  # and plain HTTP
    happened(session, BACKUP, timedelta(days=8))
    state, words = shown()["Backup"]
    assert state == "wrong" and f"{now() - timedelta(days=8):%Y-%m-%d}" in words
    for kind in (BACKUP, SEALED):
        happened(session, kind)
    found = shown(host="localhost")
    assert found["Backup"][0] == "well" and f"{now():%Y-%m-%d}" in found["Backup"][1]
    assert found[""] == ("", "All is well.")
    assert {state for about, (state, _) in found.items() if about} == {"well"}


def test_a_deletion_that_the_register_does_not_hold_is_wrong(shown, session, app):
    done = Erasure(
        kind=ErasureKind.PATIENT, asked_by="root", cases=[str(uuid.uuid4())],
        extent_json={}, ended_at=now(),
    )  # fmt: skip
    session.add(done)
    session.commit()
    state, words = shown()["Deletions"]
    register = app.state.settings.deletions_file
    assert state == "wrong" and f"1 deletion is not in the register {register}" in words
    assert "HEPATICA_DELETIONS_FILE" in words
    Register(register).note(done)
    assert shown()["Deletions"][0] == "well"


def test_whoever_comes_over_plain_http_from_elsewhere_is_told(shown):
    assert shown(host="hepatica.example.org")["The way here"][0] == "wrong"
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert shown(host=host)["The way here"][0] == "well"


def test_what_waits_is_wrong_once_nobody_takes_it(shown, session):
    job = Job(kind=JobKind.CLASSIFICATION, asked_by="x", asked={}, total=1)
    session.add(job)
    session.commit()
    assert shown()["Jobs"][0] == "waits"
    assert "1 job waits or is being done" in shown()["Jobs"][1]
    job.created_at = now() - timedelta(minutes=16)
    session.commit()
    state, words = shown()["Jobs"]
    assert state == "wrong" and "python -m app clerk" in words  # HEPATICA_CLERK is off here

    notice = Notice(job_id=job.id, hook="ris")
    session.add(notice)
    notice.give_up("refused")
    session.commit()
    assert shown()["Notices, given up"][0] == "wrong"
    notice.ended_at = now() - timedelta(days=8)
    session.commit()
    assert "Notices, given up" not in shown()


def test_the_trail_is_sealed_or_somebody_hears_of_it(shown, session):
    assert shown()["Audit trail"][0] == "well"  # there has been no hour yet in which to seal it
    happened(session, "case opened", timedelta(hours=4))
    assert shown()["Audit trail"][0] == "wrong"
    happened(session, SEALED)
    assert shown()["Audit trail"][0] == "well"


def test_a_fault_is_told_since_the_process_began(shown, app):
    assert shown()["Requests"][0] == "well"
    app.state.requests.note("GET", "/cases", 500, 0.1)
    state, words = shown()["Requests"]
    assert state == "wrong" and "1 met a fault" in words and "status 500" in words
