"""Where people land: at their work; and a refusal leads on."""

from __future__ import annotations

import answered
import studies
from app.models.enrolment import Enrolment


def test_whoever_has_something_to_read_lands_on_their_readings(app, client, session, signed_in_as):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    session.commit()
    form = {"name": "ada", "password": "correct horse"}
    assert client.post("/sessions", data=form).headers["location"] == "/"
    assert client.get("/").headers["location"] == "/readings"
    asked = client.post("/sessions", data={**form, "next": "/checkpoints"})
    assert asked.headers["location"] == "/checkpoints"
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    session.commit()
    assert client.get("/").headers["location"] == "/cases"
    assert signed_in_as("researcher").get("/").headers["location"] == "/cases"


def test_a_refusal_is_a_page_that_leads_on(app, session, signed_in_as):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    [enrolment] = Enrolment.of_study(session, study.id)
    session.commit()
    ada, researcher = signed_in_as("reader", name="ada"), signed_in_as("researcher")
    for browser, address, label, target in (
        (ada, "/synthetics", "To my readings", "/readings"),
        (researcher, f"/readings/{enrolment.token}", "To my readings", "/readings"),
        (researcher, f"/reader-studies/{study.id}/results", "To the study", str(study.id)),
    ):
        refused = browser.get(address)
        assert refused.status_code in (403, 404)
        link = refused.text.partition(f">{label}</a>")[0].rpartition('href="')[2]
        assert link.startswith("/")
        assert target in link
