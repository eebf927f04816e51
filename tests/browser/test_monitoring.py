"""The page of a classifier in use, with much and with next to nothing to tell."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

import monitored
from app.db import Database, now
from app.models import Case, Lesion
from monitored import Site
from tests.browser.test_pages import overflows, serious_faults


@pytest.fixture
def used(installation):
    """300 reviewed lesions of patients in the demo's database, and gone again."""
    database = Database(installation.environment["HEPATICA_DATABASE_URL"])
    year = Site(begin=now() - timedelta(days=350), end=now())
    with database.transaction() as session:
        ids = monitored.fill(session, 300, year)
        cases = [session.get_one(Lesion, one).case_id for one in ids]
    yield
    with database.transaction() as session:
        for one in cases:
            session.delete(session.get_one(Case, one))
    database.engine.dispose()


@pytest.mark.long
@pytest.mark.parametrize("scripts", [True, False])
def test_three_hundred_reviewed_lesions_are_told_with_and_without_scripts(
    scripts, used, open_as, installation
):
    page = open_as("admin", scripts=scripts, at="/monitoring?measured=1")
    # other tests of the process may have scored some on the same installation
    told = re.search(
        r"has scored (\d+) lesions of CT in Hounsfield units", page.inner_text(".lead")
    )
    assert told is not None and int(told[1]) >= 300
    assert page.locator("section:has(#months) tbody tr").count() >= 12
    assert page.locator("svg.plot circle").count() >= 12
    assert "too few" not in page.inner_text("section:has(#local) .table >> nth=0")
    assert page.locator("section:has(#inputs) tbody tr").count() == 12
    assert not overflows(page)
    if scripts:
        for summary in page.locator("main summary").all():
            summary.click()
        assert serious_faults(page) == []


def test_the_demo_says_that_there_is_too_little_to_tell(open_as):
    page = open_as("admin", at="/monitoring?kind=phantom")
    assert "How often radiologists agree is not told" in page.inner_text(".lead")
    assert "Phantoms are simulated" in page.inner_text("main")
    assert "too few" in page.inner_text("section:has(#local)")
    assert "is not over" in page.inner_text("section:has(#inputs)")
    assert serious_faults(page) == []


def test_a_kind_and_a_checkpoint_are_chosen_in_the_address(used, open_as):
    page = open_as("admin", at="/monitoring")
    page.click(".chip:has-text('phantom')")
    assert "kind=phantom" in page.url
    page.select_option("#standard", "any")
    page.click("button:has-text('Show')")
    assert "standard=any" in page.url
    assert "kind=phantom" in page.url
    assert "given before a score was seen" in page.inner_text("section:has(#local)")
    with page.expect_download() as file:
        page.click("a:has-text('CSV')")
    assert file.value.suggested_filename == "monitoring-phantom-cnn-phantom.csv"
