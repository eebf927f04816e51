"""A study of graded realism in a real browser: from the wizard to the results, by keyboard."""

from __future__ import annotations

import re

import pytest
from browser.test_desk import check_in, give, open_to, overflows, press, says, serious_faults
from browser.test_wizard import leave
from browser.unblind import unblind

pytestmark = pytest.mark.long


def compose(page, installation) -> str:
    """A study of six images with two for practice; its address."""
    page.goto(f"{installation.address}/reader-studies/new")
    page.fill("[name=title]", "How natural")
    page.check("[name=preset][value=realism]")
    leave(page, "Images")
    page.fill("[name=real]", "3")
    page.fill("[name=synthetic]", "3")
    for name in ("exclude_own", "exclude_read", "exclude_seen"):  # by the tests before this one
        page.uncheck(f"[name={name}][type=checkbox]")
    leave(page, "Reading")
    typed = page.input_value("[name=graded]")
    page.fill("[name=graded]", "How natural? | no | yes")
    for name, value in (("practice", "2"), ("repeats", "0"), ("break_every", "0")):
        page.fill(f"[name={name}]", value)
    with page.expect_navigation(url="**/reading"):  # its keeping is refused so, too
        page.get_by_role("button", name="Next").click()
    page.wait_for_selector("text=it has 2")
    page.fill("[name=graded]", typed)
    assert serious_faults(page) == []
    leave(page, "Conduct and analysis")
    assert "grade what you see" in page.input_value("[name=instructions]")
    leave(page, "Check")
    assert serious_faults(page) == []
    page.get_by_role("button", name="Compose").click()
    page.wait_for_selector("text=Composed from 6 images")
    return page.url


def test_images_are_graded_by_keyboard_in_every_question(open_as, installation):
    researcher = open_as("researcher", at=None)
    study = compose(researcher, installation)
    open_to(researcher, "reader")

    page = open_as("reader", at="/readings")
    page.get_by_role("row", name=re.compile("How natural")).get_by_role("link").click()
    check_in(page)
    assert page.locator("fieldset.desk__row--grades").count() == 3
    assert not overflows(page)
    assert serious_faults(page) == []
    press(page, "4", "Enter")
    says(page, "words", "^Still missing: question 2 and question 3$")
    press(page, "e", "a")
    says(page, "words", "rather natural; 3, in between; 1, clearly artificial")
    press(page, "Backspace", "d", "Enter")
    says(page, "cover-text", r"^It was (real|synthetic)\.")
    press(page, "Enter")
    give(page, "1", "q", "a")
    says(page, "cover-text", r"^It was (real|synthetic)\.")
    press(page, "Enter")
    says(page, "block", "^Image$")
    for place in range(1, 6):
        give(page, "5", "t", "g")
        says(page, "position", f"^{place + 1}$")
    give(page, "5", "t", "g")
    page.wait_for_selector("text=All 6 images are read")

    researcher.goto(study)
    unblind(researcher)
    assert "graded 6 images (3 real, 3 synthetic)" in researcher.inner_text("main")
    assert serious_faults(researcher) == []
    assert not overflows(researcher)
    researcher.goto(f"{study}/results/images")
    assert serious_faults(researcher) == []
