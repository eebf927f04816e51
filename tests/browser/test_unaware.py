"""An unaware study in a real browser: from the wizard over both parts to the results."""

from __future__ import annotations

import re

import pytest
from browser.test_desk import check_in, give, open_to, overflows, says, serious_faults
from browser.test_wizard import leave
from browser.unblind import unblind

from app.db import Database
from app.models import User
from app.models.people.user import DEMO_PASSWORD

pytestmark = pytest.mark.long


def compose(page, installation) -> str:
    """A study of eight images, all of them in both parts; its address."""
    page.goto(f"{installation.address}/reader-studies/new")
    page.fill("[name=title]", "Naming liver lesions")
    page.check("[name=preset][value=unaware]")
    leave(page, "Images")
    page.fill("[name=synthetic]", "4")
    page.fill("[name=real]", "4")
    leave(page, "Reading")
    assert page.locator("[name=practice]").count() == 0
    page.fill("[name=break_every]", "0")
    leave(page, "Conduct and analysis")
    assert "drawn by a program" in page.input_value("[name=debriefing]")
    assert "Synthetics" in page.inner_text("nav")  # only its readers are not to know
    page.check("[name=debriefing_confirmed][type=checkbox]")
    assert serious_faults(page) == []
    leave(page, "Check")
    assert "lesion class, unaware" in page.inner_text("main")
    page.get_by_role("button", name="Compose").click()
    page.wait_for_selector("text=Composed from 8 images")
    return page.url


def test_readers_name_lesions_are_told_and_then_say_real_or_synthetic(open_as, installation):
    database = Database(installation.environment["HEPATICA_DATABASE_URL"])
    with database.transaction() as session:
        User.add(session, "nell", "reader", DEMO_PASSWORD)
    database.engine.dispose()
    researcher = open_as("researcher", at=None)
    study = compose(researcher, installation)
    open_to(researcher, "nell")

    page = open_as("nell")
    seen = []
    page.on("response", lambda one: seen.append(one.url))
    assert page.url.endswith("/readings")  # nothing else is open to her
    page.get_by_role("row", name=re.compile("Naming liver lesions")).get_by_role("link").click()
    check_in(page)
    assert page.locator("[name=rating]").count() == 0
    assert serious_faults(page) == []
    assert not overflows(page)
    for place in range(1, 9):
        says(page, "position", f"^{place}$")
        give(page, "c", "a")
    page.wait_for_url("**/debriefing")
    whole = page.content().lower() + " ".join(seen).lower()
    assert not re.search("synth|drawn by|real or", whole)
    assert serious_faults(page) == []
    page.fill("[name=text]", "Some edges looked alike.")
    page.get_by_role("button", name="Store and go on").click()
    page.wait_for_selector("text=drawn by a program")
    assert serious_faults(page) == []
    page.check("[name=read]")
    page.get_by_role("button", name="Go on to the second part").click()
    page.wait_for_selector("[name=rating]")
    assert page.locator("[name=lesion_class]").count() == 0
    for place in range(1, 9):
        says(page, "position", f"^{place}$")
        give(page, str(1 + place % 6))
    page.wait_for_selector("text=All 8 images are read")

    researcher.goto(study)
    assert "debriefed" in researcher.inner_text("main")
    unblind(researcher)
    told = researcher.inner_text("main")
    assert "First part, unaware" in told
    assert "Some edges looked alike." in told
    for place in (f"{study}/results", f"{study}/results/images",
                  f"{installation.address}/reader-studies/planner/unaware"):  # fmt: skip
        researcher.goto(place)
        assert serious_faults(researcher) == []
        assert not overflows(researcher)
