"""A PACS or RIS calls an address, and the person is at the image."""

from __future__ import annotations

import threading

from bad_pacs import bad_pacs, holding

from app.models.people.user import DEMO_PASSWORD
from factories import make_dicom, make_hu
from stow import parsed
from tests.browser.test_pages import overflows, serious_faults

FILES = [make_dicom(make_hu(n), number=n, z=3.0 * n, study="launched") for n in range(1, 5)]


def test_a_study_is_opened_from_a_pacs_by_its_address(chromium, installation):
    third = parsed(FILES[2])
    address = f"/launch?study={third.StudyInstanceUID}&instance={third.SOPInstanceUID}"
    gives = holding(FILES)

    seen = threading.Event()

    def slowly(asked):
        if asked.path.endswith(third.SOPInstanceUID):
            seen.wait(60)
        return gives(asked)

    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    with bad_pacs(slowly, port=installation.pacs_port) as pacs:
        page.goto(installation.address + address)
        page.fill("[name=name]", "reader")
        page.fill("[name=password]", DEMO_PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Fetch from the PACS main?").wait_for()
        assert pacs.asked == [], "a GET asks no PACS"
        assert serious_faults(page) == [] and not overflows(page)
        page.keyboard.press("Enter")  # the button has the focus
        page.locator("#fetch-progress[data-state=running] progress[max='4']").wait_for()
        assert "/fetches/" in page.url and third.StudyInstanceUID not in page.url
        assert serious_faults(page) == [] and not overflows(page)
        seen.set()
        page.wait_for_url("**/cases/*?image=*")
    page.wait_for_function(  # the third file lies third from the feet, and is read from the head on
        "() => document.querySelector('[data-hud=slice]').textContent.startsWith('slice 2/4')"
    )
    page.goto(installation.address + address)  # the PACS is gone; the study is here
    page.wait_for_url("**/cases/*?image=*")
    context.close()
    assert faults == []
