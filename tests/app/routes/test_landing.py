"""Where people land: at their work; and a refusal leads on."""

from __future__ import annotations

import answered
import studies
from app.models.reader_studies.enrolment import Enrolment


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


def test_synthetics_look_closed_while_they_are_and_the_way_leads_to_what_closes_them(
    client, session, signed_in_as
):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    session.commit()
    ada = signed_in_as("reader", name="ada")
    for address in ("/cases", "/no-such-page"):
        head = ada.get(address).text.partition("</header>")[0]
        assert 'href="/synthetics"' not in head
        closed = head.partition("Synthetics<")[0].rpartition("<a ")[2]
        assert closed.startswith('class="is-closed" href="/readings"')
    for role in ("reader", "researcher"):
        head = signed_in_as(role).get("/checkpoints").text.partition("</header>")[0]
        assert 'href="/synthetics"' in head and "is-closed" not in head
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    session.commit()
    assert 'href="/synthetics"' in ada.get("/cases").text


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


def test_a_cut_address_is_not_found_and_says_no_grammar(signed_in_as, client, token):
    for address in ("/cases/zz", "/reader-studies/1f/results", "/runs/x/report"):
        page = signed_in_as("researcher").get(address)
        assert page.status_code == 404 and "There is nothing at this address." in page.text
        assert "UUID" not in page.text
    told = client.get("/api/v1/jobs/zz", headers={"authorization": f"Bearer {token}"})
    assert told.status_code == 422 and "UUID" in told.text


def test_a_script_that_stays_is_told_the_way_on_or_the_reason(session, signed_in_as):
    """Who sends a form by a script sees no redirect, and no page in place of the form."""
    study = studies.make_study(session, studies.make_user(session, "ada"))
    session.commit()
    browser, stays = signed_in_as("researcher", name="maker"), {"X-Stays": "1"}
    where = f"/reader-studies/{study.id}"
    for path, form, why in (
        (f"{where}/enrolments", {}, "Choose at least one reader to enrol."),
        ("/account/password", {"old": "wrong", "new": "n"}, ""),
        ("/reader-studies/planner/pilots", {}, "Send the files"),
    ):
        refused = browser.post(path, data=form, headers=stays)
        assert refused.status_code >= 400, path
        assert refused.headers["content-type"] == "application/problem+json", path
        assert refused.json()["status"] == refused.status_code
        assert why in refused.json()["detail"]
        page = browser.post(path, data=form)
        assert page.status_code == refused.status_code
        assert page.headers["content-type"].startswith("text/html")
    begun = browser.post("/reader-studies/sketches", data={"title": "One"}, headers=stays)
    assert begun.status_code == 200
    assert browser.get(begun.json()["address"]).status_code == 200
    address = begun.json()["address"].rpartition("/")[0]
    gone = browser.post(f"{address}/deletion", headers=stays)
    assert gone.json() == {"address": "/reader-studies"}
    assert "is deleted" in browser.get("/reader-studies").text


def test_a_refused_form_leads_back_to_its_own_page_and_to_no_other_site(session, signed_in_as):
    browser = signed_in_as("researcher")
    path = "/reader-studies/planner/pilots"
    for referer, back in (
        ("http://testserver/reader-studies/planner?claim=area", True),
        ("http://elsewhere/reader-studies/planner", False),
        ("http://testserver//elsewhere/x", False),
        ("", False),
    ):
        refused = browser.post(path, headers={"referer": referer} if referer else {})
        assert ("Back to the form" in refused.text) is back, referer
        assert "elsewhere" not in refused.text
