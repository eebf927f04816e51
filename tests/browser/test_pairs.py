"""A study of pairs in a real browser: from the wizard to the results, by keyboard on the desk."""

from __future__ import annotations

import re

import pytest
from browser.test_desk import check_in, give, have, open_to, overflows, press, says, serious_faults
from browser.test_wizard import leave
from browser.unblind import unblind

pytestmark = pytest.mark.long


def compose(page, installation) -> str:
    """A study of six pairs with two for practice; its address."""
    page.goto(f"{installation.address}/reader-studies/new")
    page.fill("[name=title]", "Side by side")
    page.check("[name=preset][value=pairs]")
    leave(page, "Images")
    assert page.locator("[name=real]").count() == 0
    page.fill("[name=synthetic]", "6")
    page.uncheck("[name=exclude_own][type=checkbox]")
    page.uncheck("[name=exclude_read][type=checkbox]")
    page.uncheck("[name=exclude_seen][type=checkbox]")  # by the tests before this one
    leave(page, "Reading")
    assert "which of the two is synthetic" in page.inner_text("main")
    for name, value in (("practice", "2"), ("repeats", "0"), ("break_every", "0")):
        page.fill(f"[name={name}]", value)
    leave(page, "Conduct and analysis")
    assert "two images of a liver lesion side by side" in page.input_value("[name=instructions]")
    leave(page, "Check")
    assert serious_faults(page) == []
    page.get_by_role("button", name="Compose").click()
    page.wait_for_selector("text=Composed from 12 images")
    return page.url


def test_pairs_are_read_by_keyboard_and_shown_both_or_not_at_all(open_as, installation):
    researcher = open_as("researcher", at=None)
    study = compose(researcher, installation)
    open_to(researcher, "reader")

    page = open_as("reader", at="/readings")
    page.get_by_role("row", name=re.compile("Side by side")).get_by_role("link").click()
    check_in(page)
    assert page.locator("[data-image]").count() == 2
    assert not overflows(page)
    assert serious_faults(page) == []
    for _ in range(2):  # practice, with what it was
        give(page, "1")
        says(page, "cover-text", r"^The (left|right) one was synthetic")
        press(page, "Enter")
    says(page, "block", "^Pair$")
    says(page, "position", "^1$")
    press(page, "2")
    assert page.evaluate("document.querySelector('[name=choice]:checked').value") == "right"
    assert "the right one" in page.inner_text("[data-words]")

    # one picture of the next pair cannot be had: neither is shown, and then both are
    desk = page.url
    page.route(re.compile(r"/pixels/.*/right"), lambda route: route.abort())
    page.goto("about:blank")
    page.goto(desk)
    page.wait_for_selector("[data-cover]:not([hidden])")
    assert page.locator("[data-image]:visible").count() == 0 or page.is_visible("[data-cover]")
    page.unroute(re.compile(r"/pixels/.*/right"))
    pictures: set[str] = set()
    page.on("requestfinished", lambda one: "/pixels/" in one.url and pictures.add(one.url))
    page.goto("about:blank")
    page.goto(desk)
    page.wait_for_selector("[data-image][data-decoded]")
    have(page, pictures, 4)
    for place in range(1, 6):
        give(page, "1")
        says(page, "position", f"^{place + 1}$")
        boxes = [one.bounding_box() for one in page.locator("[data-image]").all()]
        assert boxes[0]["y"] == boxes[1]["y"]
        assert boxes[0]["width"] == boxes[1]["width"]
        assert boxes[0]["x"] < boxes[1]["x"]
    give(page, "1")
    page.wait_for_selector("text=All 6 pairs are read")

    researcher.goto(study)
    unblind(researcher)
    assert "6 pairs of a real and a synthetic image" in researcher.inner_text("main")
    assert serious_faults(researcher) == []
    assert not overflows(researcher)
    researcher.goto(f"{study}/results/images")
    assert serious_faults(researcher) == []
    researcher.goto(f"{installation.address}/reader-studies/planner/pairs?readers=3&pairs=40")
    assert "Difference shown" in researcher.inner_text("main")
    assert serious_faults(researcher) == []
