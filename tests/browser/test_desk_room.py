"""The room of the desk: every image is seen whole, at the size that is stored, or none is read."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import sqlalchemy as sa
from browser.test_pages import overflows, serious_faults

import studies
from app.models import Reading, Trial, User
from app.models.people.user import DEMO_PASSWORD
from app.models.reader_studies.conduct import desk_px
from app.models.reader_studies.design import DEBRIEFING, Design
from app.models.reader_studies.graded import QUESTIONS, Graded
from app.models.reader_studies.task import Task
from ml.lesion import LIVER
from tests.browser.test_desk import says

pytestmark = pytest.mark.long

_NUMBERS = itertools.count(1)
LEAST = 256
FOUR = (*QUESTIONS, Graded("How sharp is it?", ("not at all", "little", "so so", "rather", "very")))
CLASS_TOO = Design(class_confidence=True)
WITH_REASONS = replace(CLASS_TOO, reasons=True)
KINDS = {
    "ratings": Design(lesion_class=False),
    "ratings and class": Design(),
    "ratings, class and confidence": CLASS_TOO,
    "ratings, class, confidence and reasons": WITH_REASONS,
    "pairs": Design(task=Task.CHOICE, lesion_class=False),
    "preferences": Design(task=Task.PREFERENCE, lesion_class=False),
    **{
        f"{number} graded questions": Design(
            task=Task.REALISM, lesion_class=False, graded=FOUR[:number]
        )
        for number in (1, 2, 3, 4)
    },
    "unaware": replace(
        WITH_REASONS, unaware=True, debriefing=DEBRIEFING, debriefing_confirmed=True
    ),
}
SIZES = [
    *itertools.product(
        (1024, 1280, 1440, 1920), (600, 650, 700, 720, 721, 730, 760, 800, 900, 1080)
    ),
    *itertools.product((400, 768), (600, 800, 1024)),
]
MEASURE = """() => {
  const box = (one) => {
    const { left, top, right, bottom } = one.getBoundingClientRect();
    return [left, top, right, bottom];
  };
  return {
    images: [...document.querySelectorAll("[data-image]")].map(box),
    stage: box(document.querySelector("[data-stage]")),
    commit: box(document.querySelector(".desk__commit")),
    main: box(document.querySelector("[data-desk]")),
    answers: box(document.querySelector("[data-answers]")),
    page: document.documentElement.scrollHeight,
    width: document.documentElement.scrollWidth,
  };
}"""


class Room:
    """A study with its one reader, and the page where they read it."""

    def __init__(self, installation, database, open_as, design, card_px="320"):
        self.database = database
        name = f"roomy-{next(_NUMBERS)}"
        with database.transaction() as session:
            researcher = User.require(session, "researcher")
            reader = User.add(session, name, "reader", DEMO_PASSWORD)
            if design.task is Task.PREFERENCE:
                generators = [
                    one
                    for word in ("one", "other")
                    for one in studies.make_generators(session, word=f"{name}-{word}")
                ]
            else:
                generators = []
            study = studies.compose(
                session, researcher, title=name, scheme=LIVER, seed=7,
                generators=tuple(one.name for one in generators),
                real=4 if design.task.shows_real else 0, synthetic=4, design=replace(
                    design, exclude_own=False, exclude_read=False, exclude_seen=False
                ), draw=studies.draw,
            )  # fmt: skip
            study.open(session, researcher, study.pictures(session, studies.draw))
            for one in generators:  # they have no network, and other tests compose studies here
                one.served_since = None
            enrolment = study.enrol(session, reader, researcher)
            studies.check_in(session, enrolment, study, card_px)
            self.enrolment_id = enrolment.id
            self.address = f"{installation.address}/readings/{enrolment.token}"
        self.page = open_as(name, at=None)

    def open(self):
        self.page.goto(self.address)
        self.page.wait_for_selector("[data-image][data-decoded]")

    def at(self, width, height):
        """What is where in a window of that size."""
        self.page.set_viewport_size({"width": width, "height": height})
        return self.page.evaluate(MEASURE)

    def views(self):
        with self.database.reading() as session:
            rows = session.scalars(
                sa.select(Reading)
                .join(Trial, Trial.id == Reading.trial_id)
                .where(Reading.enrolment_id == self.enrolment_id)
                .order_by(Trial.position)
            )
            return [one.view for one in rows]


@pytest.fixture
def room(installation, database, open_as):
    return lambda *what: Room(installation, database, open_as, *what)


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_is_seen_whole_in_every_window(room, kind):
    desk = room(KINDS[kind])
    desk.open()
    for width, height in SIZES:
        found = desk.at(width, height)
        side = seen_whole(found, width, height)
        assert side >= LEAST or (width == 400 and len(found["images"]) == 2)
        if width >= 1024:
            assert found["page"] <= height or side == LEAST  # only then the page scrolls
    assert serious_faults(desk.page) == []
    desk.page.evaluate("document.documentElement.style.fontSize = '200%'")
    for width, height in ((1280, 800), (1920, 1080), (400, 1024)):
        seen_whole(desk.at(width, height), width, height)


def seen_whole(found, width, height):
    """The side of the images, which are as large as fits and lie within the window."""
    left, top, right, bottom = found["stage"]
    assert left >= 0 and top >= 0 and right <= width and bottom <= height
    assert found["width"] <= width
    assert found["commit"][0] >= 0 and found["commit"][2] <= width
    for one in found["images"]:
        assert left <= one[0] and top <= one[1] and one[2] <= right and one[3] <= bottom
        assert one[2] - one[0] == one[3] - one[1]
    sides = {one[2] - one[0] for one in found["images"]}
    beside = len(found["images"])
    between = found["images"][-1][0] - found["images"][0][2] if beside == 2 else 0
    room_for = min(512, bottom - top - 16, (right - left - 16 - between) / beside)
    assert len(sides) == 1
    assert room_for - 1 < min(sides) <= room_for
    return min(sides)


def test_what_is_stored_is_the_size_that_was_seen(room):
    desk = room(replace(WITH_REASONS, lesion_class=True))
    desk.open()
    seen = []
    for place, size in enumerate([(1280, 721), (1280, 640), (1440, 1080)], 1):
        says(desk.page, "position", f"^{place}$")
        found = desk.at(*size)
        seen.append(round(found["images"][0][2] - found["images"][0][0]))
        for key in ("5", "c", "a"):
            desk.page.keyboard.press(key)
        desk.page.locator("[data-image][data-decoded]").wait_for()
        desk.page.keyboard.press("Enter")
    says(desk.page, "position", "^4$")
    says(desk.page, "saved", "^saved$")
    assert seen[2] == 512 > seen[0] > seen[1]
    assert [one["px"] for one in desk.views()] == seen


def test_an_answer_does_not_move_the_image(room):
    """Whatever the words below say: it would be a sign, and a size that changes."""
    desk = room(KINDS["4 graded questions"])
    desk.open()
    for size in ((1280, 720), (1024, 700), (400, 800)):
        before = desk.at(*size)["images"]
        desk.page.keyboard.press("Enter")
        says(desk.page, "words", "Still missing: question 1 and")
        assert desk.page.evaluate(MEASURE)["images"] == before
        for key in ("5", "t", "g", "b"):
            desk.page.keyboard.press(key)
        assert desk.page.evaluate(MEASURE)["images"] == before
        for _ in range(4):
            desk.page.keyboard.press("Backspace")


def test_pairs_are_as_large_as_fits_and_grow_with_the_window(room):
    desk = room(KINDS["pairs"])
    desk.open()
    sides = []
    for height in range(560, 800, 7):
        found = desk.at(1280, height)
        first, second = found["images"]
        assert first[2] - first[0] == second[2] - second[0]
        assert first[1] == second[1] and first[2] < second[0]  # the left one stays on the left
        sides.append(first[2] - first[0])
    steps = [after - before for before, after in itertools.pairwise(sides)]
    assert all(0 <= step <= 8 for step in steps)
    assert desk.at(1280, 720)["images"][0][2] - desk.at(1280, 720)["images"][0][0] == 512
    narrow = desk.at(400, 800)["images"]
    assert narrow[0][2] < narrow[1][0]
    says(desk.page, "desk", "Shown small: make the window wider")


@pytest.mark.parametrize("kind", ["ratings, class, confidence and reasons", "pairs"])
def test_a_promised_size_without_room_is_said_and_takes_no_answer(room, kind):
    design = replace(KINDS[kind], size_mm=120.0)
    desk = room(design, "325")  # 1 px is 0.263 mm
    page = desk.page
    answers = ("1",) if design.task.is_paired else ("5", "c", "a")
    page.set_viewport_size({"width": 1280, "height": 800})
    desk.open()
    found = page.evaluate(MEASURE)
    assert [round(one[2] - one[0]) for one in found["images"]] == [456] * len(found["images"])
    assert page.is_hidden("[data-cover]")
    page.keyboard.press(answers[0])
    page.set_viewport_size({"width": 1280, "height": 600})
    says(page, "cover-title", "^This window is too small$")
    assert "120 mm wide" in page.inner_text("[data-cover-text]")
    assert "F11" in page.inner_text("[data-cover-text]")
    assert serious_faults(page) == []
    checked = "[data-answers] input[type=radio]:checked"
    for key in (*answers[1:], "2", "Enter", "Backspace"):
        page.keyboard.press(key)
    page.evaluate("document.querySelector('.desk__commit').click()")
    assert page.locator(checked).count() == 1
    assert page.inner_text("[data-position]") == "1"
    assert desk.views() == []
    # by mouse neither
    page.evaluate("[...document.querySelectorAll('[data-answers] input[type=radio]')][1].click()")
    assert page.locator(checked).count() == 1
    assert page.evaluate(f"document.querySelector('{checked}').value") in ("5", "left")
    # paused and back: it still waits
    page.reload()
    says(page, "cover-title", "^This window is too small$")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_selector("[data-cover]", state="hidden")
    page.locator(checked).first.wait_for(state="attached")  # what was given before is there again
    for key in answers[1:]:
        page.keyboard.press(key)
    page.locator("[data-image][data-decoded]").first.wait_for()
    page.keyboard.press("Enter")
    says(page, "position", "^2$")
    says(page, "saved", "^saved$")
    assert [one["px"] for one in desk.views()] == [456]
    page.set_viewport_size({"width": 900, "height": 800})
    if design.task.is_paired:
        says(page, "cover-title", "^This window is too small$")


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_in_knows_what_the_desk_takes_of_the_window(room, kind):
    """What it refuses has no room on the whole screen; what it takes has."""
    desk = room(KINDS[kind])
    desk.open()
    width, height = 1280, 1000
    found = desk.at(width, height)
    left, top, right, bottom = found["stage"]
    across, down = desk_px(KINDS[kind])
    between = found["images"][-1][0] - found["images"][0][2]
    assert across == width - (right - left) + 16 + max(0, between)
    more = height - (bottom - top - 16) - down
    assert 0 <= more < (20 * len(KINDS[kind].graded) or 1)  # a long question takes more


def test_the_check_in_says_what_has_no_room_in_this_window(room):
    desk = room(replace(WITH_REASONS, size_mm=120.0))
    page = desk.page
    page.set_viewport_size({"width": 1280, "height": 600})
    page.goto(f"{desk.address}/conduct")
    page.fill("[data-card]", "325")  # 1 px is 0.263 mm
    says(page, "room-words", "In this window there is room for")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_selector("[data-room-words]", state="hidden")
    assert not overflows(page)
