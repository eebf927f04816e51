"""The desk when things go wrong: nothing that was answered is lost, and nothing untrue is said."""

from __future__ import annotations

import itertools
import json

import pytest
import sqlalchemy as sa

import answered
import studies
from app.db import Database
from app.models import ReaderStudy, Reading, Trial, User
from app.models.people.user import DEMO_PASSWORD
from app.models.reader_studies.design import Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.reading import Answer
from ml.lesion import LIVER
from tests.browser.test_desk import commit, give, have, position, press, says
from tests.browser.test_pages import serious_faults

pytestmark = pytest.mark.long

_NUMBERS = itertools.count(1)
FULL = """() => {
  let size = 1 << 20, filled = 0;
  while (size > 0) {
    try { localStorage.setItem(`filler ${filled}`, "x".repeat(size)); filled += 1; }
    catch { size = size >> 1; }
  }
}"""


class Desk:
    """A study of eight images and its one reader, with the page where they read it."""

    def __init__(self, installation, inference, open_as):
        self.database = Database(installation.environment["HEPATICA_DATABASE_URL"])
        self.name = f"faulty-{next(_NUMBERS)}"
        with self.database.transaction() as session:
            researcher = User.require(session, "researcher")
            reader = User.add(session, self.name, "reader", DEMO_PASSWORD)
            design = Design(break_every=5)
            study = studies.compose(
                session, researcher, title=self.name, scheme=LIVER, real=4, synthetic=4,
                design=design, seed=7,  # the same images each time, which are audited once
            )  # fmt: skip
            study.open(session, researcher, study.pictures(session, inference.draw))
            enrolment = study.enrol(session, reader, researcher)
            studies.check_in(session, enrolment, study)
            self.study_id, self.enrolment_id = study.id, enrolment.id
            self.address = f"{installation.address}/readings/{enrolment.token}"
        self.page = open_as(self.name, at=None)
        self.pictures = set()
        self.page.on(
            "requestfinished", lambda one: "/pixels/" in one.url and self.pictures.add(one.url)
        )
        self.page.goto(self.address)
        have(self.page, self.pictures, 6)

    def stored(self) -> list[int]:
        """The ratings that the server has, in their order."""
        with self.database.reading() as session:
            rows = session.scalars(
                sa.select(Reading.rating)
                .join(Trial, Trial.id == Reading.trial_id)
                .where(Reading.enrolment_id == self.enrolment_id)
                .order_by(Trial.position)
            )
            return list(rows)

    def answer_elsewhere(self, rating: int) -> None:
        """Another browser answers the next trial."""
        with self.database.transaction() as session:
            enrolment = session.get(Enrolment, self.enrolment_id)
            place = Reading.count(session, enrolment.id) + 1
            token = session.scalar(
                sa.select(Trial.token).where(
                    Trial.enrolment_id == enrolment.id, Trial.position == place
                )
            )
            Reading.give(session, enrolment, Answer(token, f"elsewhere {place}", "cyst", rating))

    def kept(self, prefix="hepatica-desk") -> list[dict]:
        """What this browser keeps."""
        found = self.page.evaluate(
            "(p) => Object.keys(localStorage).filter((k) => k.startsWith(p)).sort()"
            ".map((k) => localStorage.getItem(k))",
            prefix,
        )
        return [json.loads(text) for text in found]

    def ratings(self, prefix="hepatica-desk") -> list[int]:
        return [int(one["rating"]) for one in self.kept(prefix)]

    def mute(self, page=None):
        """From now on nothing is taken, although pages come."""
        (page or self.page).route(
            "**/readings/*",
            lambda route: route.abort() if route.request.method == "POST" else route.continue_(),
        )

    def unmute(self, page=None):
        (page or self.page).unroute("**/readings/*")
        (page or self.page).evaluate("window.dispatchEvent(new Event('online'))")

    def offline(self, is_off=True):
        self.page.context.set_offline(is_off)


@pytest.fixture
def desk(installation, inference, open_as):
    return Desk(installation, inference, open_as)


def test_paused_without_the_network_it_says_how_many_answers_are_not_sent(desk):
    page = desk.page
    press(page, "p")
    assert "Every answer so far is stored" in page.inner_text("[data-cover-text]")
    press(page, "p")
    desk.offline()
    commit(page, "2", "c")
    commit(page, "5", "m")
    says(page, "saved", "2 kept here")
    press(page, "p")
    told = page.inner_text("[data-cover-text]")
    assert "2 answers are kept in this browser and not sent yet" in told
    assert "stored" not in told
    assert serious_faults(page) == []
    desk.offline(False)
    says(page, "cover-text", "Every answer so far is stored")  # as soon as it is true
    assert desk.stored() == [2, 5]


def test_leaving_without_the_network_stays_on_a_page_of_ours(desk):
    page = desk.page
    desk.offline()
    commit(page, "2", "c")
    press(page, "p")
    page.click("[data-leave]")
    says(page, "cover-text", "The server cannot be reached, so this page stays")
    assert "1 answer is kept in this browser" in page.inner_text("[data-cover-text]")
    assert page.url == desk.address
    desk.offline(False)
    says(page, "saved", "^saved$")
    page.click("[data-leave]")
    page.wait_for_url("**/readings")


def test_my_readings_names_what_this_browser_keeps(desk):
    page = desk.page
    desk.mute()
    commit(page, "2", "c")
    says(page, "saved", "1 kept here")
    press(page, "p")
    page.click("[data-leave]")
    page.wait_for_url("**/readings")
    says(page, "kept", "1 answer is kept in this browser and not sent yet")
    page.unroute("**/readings/*")
    page.get_by_role("link", name="Start").click()
    says(page, "position", "^2$")
    assert desk.stored() == [2]


def test_a_refused_answer_stops_the_desk_and_takes_no_later_one_with_it(desk):
    page = desk.page
    desk.offline()
    for rating in ("1", "2", "3"):
        commit(page, rating, "c")
    press(page, "4")  # begun, not committed
    desk.answer_elsewhere(6)  # the first of them
    desk.offline(False)
    says(page, "cover-title", "An answer was not taken")
    told = page.inner_text("[data-cover-text]")
    assert "answered before" in told
    assert "rating 1, cyst" in told
    assert "2 later answers" in told
    assert serious_faults(page) == []
    assert desk.ratings() == [1, 2, 3]
    assert desk.stored() == [6]
    press(page, "5", "m", "p")  # nothing goes on by itself
    assert page.is_visible("[data-cover]")

    page.wait_for_timeout(800)
    press(page, "Enter")
    says(page, "position", "^4$")
    page.wait_for_selector("[data-cover]", state="hidden")
    assert desk.stored() == [6, 2, 3]
    assert desk.ratings() == []
    assert desk.ratings("hepatica-aside") == [1]  # never deleted
    assert page.locator("[name=rating]:checked").get_attribute("value") == "4"


def test_an_enter_that_was_meant_for_an_image_sets_nothing_aside(desk):
    page = desk.page
    desk.offline()
    commit(page, "1", "c")
    press(page, "p")
    page.click("[data-leave]")  # and the link keeps the focus
    desk.answer_elsewhere(6)
    desk.offline(False)
    says(page, "cover-title", "An answer was not taken")
    assert "answered before" in page.inner_text("[data-cover-text]")  # paused or not
    press(page, "Enter")
    assert desk.ratings() == [1]
    page.wait_for_timeout(800)
    press(page, "Enter")
    page.wait_for_selector("[data-cover]", state="hidden")  # no longer paused either
    says(page, "position", "^2$")
    assert desk.ratings("hepatica-aside") == [1]


def test_a_study_that_was_closed_deletes_nothing_either(desk):
    page = desk.page
    desk.offline()
    for rating in ("1", "2"):
        commit(page, rating, "c")
    with desk.database.transaction() as session:
        study = ReaderStudy.require(session, desk.study_id)
        answered.unblind(session, study, User.require(session, "researcher"))
    desk.offline(False)
    says(page, "cover-text", "The study is closed")
    assert desk.ratings() == [1, 2]
    page.wait_for_timeout(800)
    press(page, "Enter")
    says(page, "cover-text", "rating 2, cyst")
    page.wait_for_timeout(800)
    press(page, "Enter")
    page.wait_for_selector("text=The study is closed")
    says(page, "kept", "2 answers that were not taken are kept in this browser")
    assert sorted(desk.ratings("hepatica-aside")) == [1, 2]


def test_a_network_that_answers_in_the_servers_place_takes_no_answer(desk):
    page = desk.page
    page.route("**/readings/*", lambda route: route.fulfill(
        status=200, content_type="text/html", body="<p>Welcome to the hotel. Accept our terms.</p>"
    ))  # fmt: skip
    commit(page, "2", "c")
    says(page, "saved", "1 kept here, not yet sent")
    page.unroute("**/readings/*")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    says(page, "saved", "^saved$")
    assert desk.stored() == [2]


def test_a_session_that_is_over_keeps_the_answers_until_one_signs_in_again(desk):
    page = desk.page
    page.context.clear_cookies()
    commit(page, "2", "c")
    commit(page, "3", "m")
    says(page, "saved", "2 kept here, not yet sent: sign in again")
    shown = page.locator("[data-image]").get_attribute("src")
    page.keyboard.press("4")
    page.click("[data-saved] a")
    dialog = page.locator("dialog[open]")
    dialog.get_by_text(f"it goes on as {desk.name}").wait_for()
    says(page, "cover-title", "Signing in")  # the picture is covered, and the time counts as idle
    dialog.locator("[name=password]").fill("a wrong one")
    page.keyboard.press("Enter")
    dialog.get_by_text("do not fit together").wait_for()
    dialog.locator("[name=password]").fill(DEMO_PASSWORD)
    page.keyboard.press("Enter")
    says(page, "saved", "^saved$")
    assert page.locator("dialog[open]").count() == 0
    assert page.locator("[data-cover]").is_hidden()
    assert page.locator("[data-image]").get_attribute("src") == shown
    assert page.locator("input[name=rating][value='4']").is_checked(), "the trial as it was begun"
    assert desk.stored() == [2, 3]


def test_somebody_else_signing_in_here_deletes_nothing(desk):
    page = desk.page
    desk.mute()
    commit(page, "2", "c")
    says(page, "saved", "1 kept here")
    page.context.clear_cookies()
    origin = desk.address.partition("/readings")[0]
    form = {"name": "admin", "password": DEMO_PASSWORD}
    headers = {"origin": origin}
    assert page.context.request.post(f"{origin}/sessions", form=form, headers=headers).ok
    desk.unmute()
    says(page, "saved", "1 kept here, not yet sent: somebody else is signed in")
    assert desk.ratings() == [2]
    assert desk.stored() == []
    # the refusal is not of this answer: nothing offers to set it aside, and Enter does not either
    commit(page, "3", "m")
    says(page, "saved", "2 kept here, not yet sent: somebody else is signed in")
    assert page.locator("[data-cover]").is_hidden()
    assert desk.ratings("hepatica-aside") == []

    form["name"] = desk.name
    assert page.context.request.post(f"{origin}/sessions", form=form, headers=headers).ok
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    says(page, "saved", "^saved$")
    assert desk.stored() == [2, 3]


def test_a_full_storage_is_said_and_the_page_itself_keeps_the_answer(desk):
    page = desk.page
    page.evaluate(FULL)
    desk.offline()
    commit(page, "2", "c")
    commit(page, "6", "h")
    says(page, "saved", "no room for 2: keep this page open")
    press(page, "p")
    assert "keep the page open until the server is back" in page.inner_text("[data-cover-text]")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]
    desk.offline(False)
    says(page, "saved", "^saved$")
    assert desk.stored() == [2, 6]


def test_a_network_that_comes_and_goes_leaves_the_keys_and_the_time_of_the_image(desk):
    page = desk.page
    press(page, "5", "m")
    page.wait_for_timeout(300)
    with page.expect_response(desk.address):
        page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_timeout(300)
    assert page.locator("[name=rating]:checked").get_attribute("value") == "5"
    commit(page)
    says(page, "saved", "^saved$")
    with desk.database.reading() as session:
        reading = session.scalar(
            sa.select(Reading).where(Reading.enrolment_id == desk.enrolment_id)
        )
        assert (reading.rating, reading.lesion_class) == (5, "metastasis")
        assert reading.active_ms >= 600


def test_a_page_that_is_loaded_again_goes_on_with_the_keys_that_were_given(desk):
    page = desk.page
    press(page, "5", "m")
    page.wait_for_timeout(300)
    page.reload()
    page.wait_for_selector("[name=rating]:checked")
    assert page.locator("[name=rating]:checked").get_attribute("value") == "5"
    commit(page)
    says(page, "saved", "^saved$")
    with desk.database.reading() as session:
        reading = session.scalar(
            sa.select(Reading).where(Reading.enrolment_id == desk.enrolment_id)
        )
        assert (reading.rating, reading.lesion_class) == (5, "metastasis")
        assert reading.active_ms >= 300  # the time before counts


def test_answers_of_an_earlier_version_are_sent(desk):
    page = desk.page
    token = page.evaluate("document.querySelector('[name=trial]').value")
    desk.offline()
    older = [{"trial": token, "key": "older", "rating": "2", "lesion_class": "cyst", "reasons": []}]
    page.evaluate(
        "([name, text]) => localStorage.setItem(name, text)",
        [f"hepatica-desk:{desk.address.rpartition('/')[2]}", json.dumps(older)],
    )
    desk.offline(False)
    page.reload()
    says(page, "position", "^2$")
    assert desk.stored() == [2]
    assert desk.ratings() == []


ALL = "The server has an answer to every image"


def read_all_but_the_last(desk) -> None:
    for _ in range(7):
        desk.answer_elsewhere(2)
    desk.page.goto(desk.address)
    says(desk.page, "position", "^8$")


def test_a_last_answer_whose_reply_was_lost_is_sent_by_the_last_page(desk):
    """The server has it; it is sent again under its key, and counts once."""
    page = desk.page
    read_all_but_the_last(desk)

    def lose_the_reply(route):
        if route.request.method != "POST":
            route.continue_()
            return
        route.fetch()
        route.abort("connectionreset")

    page.route("**/readings/*", lose_the_reply)
    give(page, "3", "m")
    says(page, "saved", "1 kept here")
    assert desk.stored() == [2] * 7 + [3]
    page.unroute("**/readings/*")
    page.goto(desk.address)
    page.get_by_text(ALL).wait_for()
    page.wait_for_selector("[data-kept]", state="hidden")
    assert desk.ratings() == []
    assert desk.ratings("hepatica-aside") == []
    assert desk.stored() == [2] * 7 + [3]


def test_the_last_page_says_what_stands_in_the_way_and_my_readings_lead_to_it(desk):
    page = desk.page
    read_all_but_the_last(desk)
    desk.mute()
    give(page, "3", "m")
    says(page, "saved", "1 kept here")
    desk.answer_elsewhere(6)
    page.goto(desk.address.rsplit("/", 1)[0])
    says(page, "kept", "1 answer is kept in this browser and not sent yet; open the reading here")
    page.get_by_role("link", name="open the reading here to send it").click()
    says(page, "kept", "1 answer is kept in this browser and not sent yet: the server cannot")
    assert not page.get_by_text(ALL).is_visible()
    assert serious_faults(page) == []
    desk.unmute()  # another one stands there: this one is set aside, and kept
    says(page, "kept", "^1 answer that was not taken is kept in this browser$")
    assert page.get_by_text(ALL).is_visible()
    assert desk.ratings() == []
    assert desk.ratings("hepatica-aside") == [3]
    assert desk.stored() == [2] * 7 + [6]


def test_two_tabs_keep_the_answers_of_both(desk):
    page = desk.page
    desk.mute()
    commit(page, "2", "c")
    other = page.context.new_page()
    desk.mute(other)
    other.goto(desk.address)
    says(other, "cover-title", "open in another tab")
    press(other, "Enter")
    says(other, "cover-title", "Sending answers")
    assert desk.ratings() == [2]
    desk.unmute()
    desk.unmute(other)
    says(other, "position", "^2$")
    commit(other, "4", "m")
    says(other, "saved", "^saved$")
    assert desk.stored() == [2, 4]
    assert position(other) == 3
