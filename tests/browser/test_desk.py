"""A whole reading in a real browser, by keyboard alone: undo, pause, network away, closed, resumed.

The steps share the demo's reader study, so they are one test; results come at its end.
"""

from __future__ import annotations

import re

import pytest
from browser.test_pages import overflows, serious_faults
from browser.unblind import unblind
from browser.waits import wait_until_it_says


def position(page) -> int:
    return int(page.inner_text("[data-position]"))


def answered(page) -> dict[str, str | None]:
    return {
        name: page.evaluate(f"document.querySelector('[name={name}]:checked')?.value ?? null")
        for name in ("rating", "lesion_class")
    }


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def give(page, *keys: str) -> None:
    """A key for each question, and Enter when the desk has them all."""
    for _ in range(3):  # a browser on a busy machine now and then drops a key that it is sent
        press(page, *keys)
        if page.locator("[data-desk] input[type=radio]:checked").count() >= len(keys):
            break
    page.locator("[data-image]").first.wait_for()  # nothing is answered that was not seen
    press(page, "Enter")


def goes_on_from(page, before: int) -> bool:
    """Whether another trial is there within some seconds."""
    for _ in range(100):
        if position(page) != before:
            return True
        page.wait_for_timeout(50)
    return False


def commit(page, *keys: str) -> None:
    """Answer and wait until the next trial is there."""
    before = position(page)
    for _ in range(3):  # a browser on a busy machine now and then drops a key that it is sent
        press(page, *keys)
        if all(answered(page).values()):
            break
    for _ in range(3):  # one Enter too many only says what is missing
        press(page, "Enter")
        if goes_on_from(page, before):
            return
    says(page, "position", f"^{before + 1}$")


def says(page, name: str, pattern: str) -> None:
    """Wait until a part of the desk says something."""
    wait_until_it_says(
        page, f"[data-{name}]", re.compile(pattern), "[data-words]", "[data-saved]", "[data-cover]"
    )


def have(page, pictures: set[str], number: int) -> None:
    """Wait until so many pictures were fetched, so that the network may go away."""
    for _ in range(1200):
        if len(pictures) >= number:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{len(pictures)} of {number} pictures after 60 s")


def open_to(page, reader: str) -> None:
    """Enrol a reader on the page of a study, and open it."""
    page.check(f"[name=reader][value={reader}]")
    page.get_by_role("button", name="Enrol").click()
    page.wait_for_selector(f"text=Enrolled: {reader}")
    page.get_by_role("button", name="Open the study").click()
    page.wait_for_selector("text=The study is open")


def check_in(page) -> None:
    """Consent, reader, room and screen, once, before the first image."""
    page.wait_for_selector("[data-conduct]")
    assert serious_faults(page) == []
    assert not overflows(page)
    page.check("[name=consent]")
    page.fill("[name=years]", "12")
    page.fill("[name=subspecialty]", "abdominal")
    page.select_option("[name=room]", "dimmed")
    for end in ("dark", "bright"):
        page.focus(f"[name=ramp_{end}][value=yes]")
        page.keyboard.press("Space")
    page.focus("[data-card]")
    page.keyboard.press("ArrowRight")
    assert "1 px is" in page.inner_text("[data-card-words]")
    page.click("text=Begin")
    page.wait_for_selector("[data-desk]")


@pytest.mark.long
def test_a_study_is_read_by_keyboard_with_every_interruption(open_as, installation):
    page = open_as("blind-reader", at="/synthetics")
    assert "blinded reading to finish" in page.inner_text("main")
    page.goto(f"{installation.address}/readings")
    page.get_by_role("link", name="Start").click()
    check_in(page)
    desk = page.url
    title = page.title()
    page.goto("about:blank")  # or pictures that the first page fetched would be counted
    pictures: set[str] = set()
    page.on("requestfinished", lambda one: "/pixels/" in one.url and pictures.add(one.url))
    page.goto(desk)
    assert page.locator("nav").count() == 0
    assert not overflows(page)
    assert serious_faults(page) == []

    # answers, a change, undo, and Enter before both are given
    press(page, "5", "m", "2")
    assert answered(page) == {"rating": "2", "lesion_class": "metastasis"}
    press(page, "Backspace")
    assert answered(page) == {"rating": "5", "lesion_class": "metastasis"}
    press(page, "Backspace", "Enter")
    assert "Still missing: lesion class" in page.inner_text("[data-words]")
    assert position(page) == 1
    commit(page, "c")
    assert answered(page) == {"rating": None, "lesion_class": None}
    says(page, "saved", "^saved$")

    # pause hides the picture and takes no answer
    press(page, "p", "3")
    assert page.is_visible("[data-cover]")
    assert answered(page)["rating"] is None
    press(page, "p")
    assert page.is_hidden("[data-cover]")

    # the keys are told
    press(page, "?")
    assert "Backspace" in page.inner_text("#desk-keys")
    press(page, "Escape")

    # the network goes away: reading goes on, answers are kept, and arrive once
    have(page, pictures, 5)
    page.context.set_offline(True)
    for _ in range(3):
        commit(page, "6", "h")
    says(page, "saved", "^3 kept here, not yet sent$")
    page.context.set_offline(False)
    says(page, "saved", "^saved$")
    assert position(page) == 5

    # the browser is closed with an answer that was not sent, and opened again
    have(page, pictures, 6)
    page.context.set_offline(True)
    commit(page, "1", "c")
    context = page.context
    page.close()
    context.set_offline(False)
    page = context.new_page()
    page.goto(desk)
    says(page, "position", "^6$")
    page.wait_for_selector("[data-cover]", state="hidden")

    # a second tab answers first: the first tab is told, and goes on after it
    other = context.new_page()
    other.goto(desk)
    says(other, "cover-title", "open in another tab")
    press(other, "4")
    assert answered(other)["rating"] is None
    press(other, "Enter")  # read here instead
    says(page, "cover-title", "open in another tab")
    other.wait_for_selector("[data-cover]", state="hidden")
    commit(other, "4", "m")
    says(other, "saved", "^saved$")
    other.close()
    press(
        page, "1", "c", "Enter"
    )  # Enter takes the reading back, the answer before it was not taken
    page.wait_for_selector("[data-cover]", state="hidden")
    says(page, "position", "^7$")
    assert answered(page) == {"rating": None, "lesion_class": None}

    # another browser knows of no tab: the server keeps the first answer, and the other is told
    elsewhere = open_as("blind-reader", at=None)
    elsewhere.goto(desk)
    commit(elsewhere, "4", "m")
    says(elsewhere, "saved", "^saved$")
    elsewhere.close()
    press(page, "1", "c", "Enter")
    says(page, "cover-title", "An answer was not taken")
    assert "answered before" in page.inner_text("[data-cover-text]")
    page.wait_for_timeout(800)
    press(page, "Enter")  # set aside, and on
    page.wait_for_selector("[data-cover]", state="hidden")
    assert position(page) == 8

    # the rest, to the end
    while position(page) < 20:
        assert page.title() == title
        commit(page, "2", "h")
    press(page, "2", "h", "Enter")
    page.wait_for_selector("text=All 20 images are read")
    assert (
        page.evaluate("Object.keys(localStorage).filter(k => k.startsWith('hepatica-desk'))") == []
    )
    page.goto(f"{installation.address}/synthetics")
    assert "blinded reading" not in page.inner_text("main")

    # the researcher sees progress only, unblinds by a typed word, then sees results
    page = open_as("researcher", at="/reader-studies")
    page.get_by_role("link", name=re.compile("^Demo")).click()
    page.wait_for_selector("#typed")
    study = page.url
    assert "20 of 20" in page.inner_text("main")
    assert serious_faults(page) == []
    assert page.request.get(f"{study}/results").status == 403
    unblind(page)
    text = page.inner_text("main")
    assert "One reader, 20 images (10 real, 10 synthetic)." in text
    assert re.search(r"Reader \S+: AUC [01]\.\d\d \([01]\.\d\d to [01]\.\d\d\)", text)
    assert serious_faults(page) == []
    assert not overflows(page)
