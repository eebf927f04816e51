"""A case is deleted on its own page, then all that there is of its patient; both have papers."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

import studies
from app.models import Case, User
from tests.browser.test_pages import NARROW, overflows

pytestmark = pytest.mark.long


@pytest.fixture
def two_cases(database, newcomer):
    """Two cases of one patient of theirs: their ids and the pseudonym."""
    with database.transaction() as session:
        lesions = [studies.make_lesion(session, 4711, study=one)[0] for one in ("first", "later")]
        cases = [session.get(Case, lesion.case_id) for lesion in lesions]
        for case in cases:
            case.uploaded_by_id = User.require(session, newcomer).id
        assert cases[0].pseudonym == cases[1].pseudonym
        return [str(case.id) for case in cases], cases[0].pseudonym


def test_a_case_goes_by_its_page_then_its_patient_and_each_leaves_a_certificate(
    open_as, installation, newcomer, two_cases
):
    (first, second), name = two_cases
    page = open_as(newcomer, at=f"/cases/{first}")
    page.get_by_text("About this case", exact=True).click()
    page.get_by_text("Delete this case …").click()
    page.fill("[name=typed]", name[:-1])
    page.keyboard.press("Enter")
    page.get_by_text("The case was not deleted: type its pseudonym").wait_for()
    page.fill("[name=typed]", name)
    page.keyboard.press("Enter")
    page.wait_for_url("**/erasures/*")
    page.get_by_role("heading", name="Certificate of deletion").wait_for()
    told = page.locator("main").inner_text()
    assert "a person asked for the case" in told
    assert "1 other case of the same patients" in told and name not in told
    assert Axe().run(page).response["violations"] == []
    wide = page.viewport_size
    page.set_viewport_size(NARROW)
    assert not overflows(page)
    page.set_viewport_size(wide)
    page.get_by_role("link", name="Work list").click()
    assert page.locator("tbody th", has_text=name).count() == 1

    page.goto(f"{installation.address}/cases/{second}")
    page.get_by_text("About this case", exact=True).click()
    page.get_by_role("link", name="Delete all that there is of this patient").click()
    page.get_by_role("heading", name=f"Delete all that there is of {name}").wait_for()
    assert "Nothing is deleted yet" in page.locator("main").inner_text()
    assert Axe().run(page).response["violations"] == []
    page.fill("[name=reference]", "request 12")
    page.fill("[name=typed]", name)
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_role("heading", name="Certificate of deletion").wait_for()
    told = page.locator("main").inner_text()
    assert "request 12" in told and "other case" not in told
    gone = page.goto(f"{installation.address}/cases/{second}")
    assert gone.status == 404

    plain = open_as("admin", at="/erasures", scripts=False)
    rows = plain.locator("tbody tr").all_inner_texts()
    assert [one.split("\t")[1] for one in rows[:2]] == ["patient", "cases"]
    assert all(newcomer in one and "ended" in one for one in rows[:2])
    plain.fill("[name=pseudonym]", name)
    plain.get_by_role("button", name="Show what would go").click()
    assert "No case has this pseudonym" in plain.locator("main").inner_text()
