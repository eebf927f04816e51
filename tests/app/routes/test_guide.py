"""Help on every page, the guide and its sample, and the tour of the demo."""

from __future__ import annotations

import html
import io
import re
import zipfile

import pytest

import answered
import studies
from app import place
from app.models.reader_studies.design import DEBRIEFING, Design
from app.responses import _templates
from ml.lesion import LIVER
from tests.browser.guide import Step, steps_of

HELP = (
    _templates().get_template("guide/_help.html").make_module({"template": "error.html"}).explained
)
OPEN_TO_UNAWARE = re.compile(r"(readings/|users/account|sessions/|error)")
"""Pages that say nothing of synthetic images to whoever is not to know of them yet."""


def test_every_page_is_explained_in_ten_lines() -> None:
    folder = place.ROOT / "templates"
    pages = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.html")
        if "{% extends 'base.html' %}" in path.read_text("utf-8")
    }
    assert set(HELP) == pages
    for page, lines in HELP.items():
        assert 1 <= len(lines) <= 10, page
        if OPEN_TO_UNAWARE.match(page):
            assert "synthetic" not in " ".join(lines), page


def test_a_page_carries_its_own_lines_and_a_refusal_those_of_refusals(signed_in_as) -> None:
    reader = signed_in_as("reader")
    for address, page in (("/cases", "cases/index.html"), ("/nowhere", "error.html")):
        shown = html.unescape(reader.get(address).text)
        assert all(line in shown for line in HELP[page])
        assert '<a href="/guide">' in shown


def test_the_guide_and_its_names_stay_from_who_is_to_read_unaware(
    app, client, session, signed_in_as
) -> None:
    unaware = Design(
        unaware=True, class_confidence=True, debriefing=DEBRIEFING, debriefing_confirmed=True
    )
    studies.make_study(session, studies.make_user(session, "ada"), design=unaware)
    session.commit()
    ada = signed_in_as("reader", name="ada")
    for address in ("/guide", "/guide/expert-reader", "/guide/sample.zip"):
        assert ada.get(address).status_code == 403
        assert client.get(address).headers["location"].startswith("/sessions/new")
    app.state.demo = True
    ada.cookies.set("hepatica_tour", "mark")
    for address in ("/readings", "/account"):
        shown = ada.get(address).text
        assert 'id="keys"' in shown
        assert "/guide" not in shown
        assert "synthetic" not in shown.lower()


def test_the_sample_is_a_phantom_that_goes_in_whole(signed_in_as) -> None:
    reader = signed_in_as("reader")
    reply = reader.get("/guide/sample.zip")
    assert reply.headers["content-type"] == "application/zip"
    assert "phantom" in reply.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert b"simulated CT of nobody" in archive.comment
        names = archive.namelist()
    assert reader.get("/guide/sample.zip").content == reply.content
    taken = reader.post(
        "/cases",
        headers={"accept": "application/json"},
        data={"contrast_phase": "portal"},
        files={"files": ("sample.zip", reply.content, "application/zip")},
    ).json()
    assert (len(taken["accepted"]), taken["refused"], taken["passed_over"]) == (len(names), [], [])
    [address] = {one["case_id"] for one in taken["accepted"]}
    assert "badge--phantom" in reader.get(f"/cases/{address}").text


def test_the_tour_is_begun_left_found_again_and_ended(app, client, signed_in_as) -> None:
    reader = signed_in_as("reader")
    strip = 'aria-label="Tour"'
    assert reader.post("/guide/tour", data={"step": "mark"}).status_code == 404  # no demo
    app.state.demo = True
    assert strip not in reader.get("/cases").text  # nobody asked for it
    assert "Begin the tour" in reader.get("/guide").text
    assert reader.post("/guide/tour").headers["location"] == "/cases"
    assert "Tour, 1 of 4: upload" in reader.get("/cases").text
    assert reader.post("/guide/tour", data={"step": "mark"}).headers["location"] == "/cases"
    assert reader.post("/guide/tour", data={"step": "read"}).headers["location"] == "/readings"
    assert "sign in as <strong>blind-reader" in reader.get("/readings").text
    reader.post("/guide/tour", data={"step": "review"})
    reader.post("/guide/tour", data={"step": "leave"})
    assert strip not in reader.get("/cases").text
    assert "Go on with step 3: review" in reader.get("/guide").text
    reader.post("/guide/tour", data={"step": "finish"})
    assert "Begin the tour" in reader.get("/guide").text
    reader.cookies.set("hepatica_tour", "nowhere")
    assert reader.get("/cases").status_code == 200
    assert reader.post("/guide/tour", data={"step": "nowhere"}).status_code == 422
    client.cookies.set("hepatica_tour", "read")  # between two sign-ins it goes on
    assert "Tour, 4 of 4: read" in client.get("/sessions/new").text


def test_marking_is_led_to_ones_own_newest_case(app, session, signed_in_as) -> None:
    [lesion] = studies.make_lesion(session, 1)
    session.commit()
    app.state.demo = True
    maker = signed_in_as("researcher", name="maker")
    led = maker.post("/guide/tour", data={"step": "mark"}).headers["location"]
    assert led == f"/cases/{lesion.image.series.case_id}"


def _names(step: Step, shown: str) -> None:
    text = re.sub(r"<[^>]+>", " ", html.unescape(shown))
    absent = [name for name in step.names if not re.search(rf"\b{re.escape(name)}\b", text)]
    assert not absent, f"step {step.key} names {absent}, which its page has not"


def test_the_researchers_steps_lead_where_they_say(session, signed_in_as) -> None:
    """What is named in bold is on the page where the step is done, when it is done."""
    done = studies.make_study(session, studies.make_user(session, "ada"))
    draft = studies.compose(
        session, studies.make_user(session, "maker"), title="Draft", scheme=LIVER, real=6,
        synthetic=6, seed=8, design=Design(), draw=studies.draw,
    )  # fmt: skip
    session.commit()
    researcher = signed_in_as("researcher", name="maker")
    steps = steps_of(researcher.get("/guide/researcher").text)
    assert [step.key for step in steps][:2] == ["size", "compose"]
    for step in steps:
        if step.place == "results":
            answered.answer(session, done, 1, answered.guessing(1))
            answered.unblind(session, done, studies.make_user(session, "maker"))
            session.commit()
        address = {
            "draft": f"/reader-studies/{draft.id}",
            "audit": f"/reader-studies/{draft.id}/audit",
            "open": f"/reader-studies/{done.id}",
            "results": f"/reader-studies/{done.id}/results",
        }.get(step.place, step.place)
        shown = researcher.get(address)
        assert shown.status_code == 200, address
        assert all(researcher.get(link).status_code == 200 for link in step.links)
        _names(step, shown.text)
        if step.key == "freeze":
            researcher.post("/datasets", data={"name": "walked", "kind": "phantom"})


@pytest.mark.parametrize("door", ["radiologist", "expert-reader", "researcher"])
def test_every_link_of_the_guide_leads_somewhere(door, signed_in_as) -> None:
    researcher = signed_in_as("researcher")
    assert "Guide" in researcher.get("/guide").text
    for step in steps_of(researcher.get(f"/guide/{door}").text):
        assert all(researcher.get(link).status_code == 200 for link in step.links), step.key
    assert researcher.get("/guide/nobody").status_code == 404
