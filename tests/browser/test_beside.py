"""A second stack beside the first, from the toolbar to the address."""

from __future__ import annotations

import re

import pytest

from factories import make_dicom, make_hu
from tests.browser.test_upload import drop, settled

pytestmark = pytest.mark.long

SLICES = 6


def test_two_phases_side_by_side_scroll_together_in_one_window(open_as) -> None:
    page = open_as("reader")
    names = {"study": "beside", "patient_id": "beside"}
    drop(
        page,
        {
            f"{series}-{n}.dcm": make_dicom(
                make_hu(n + 20 * series), series=str(series), number=n,
                z=(10.0 if series == 2 else 5.0) * n, **names,
            )
            for series, count in ((1, SLICES), (2, SLICES // 2))
            for n in range(1, count + 1)
        },
    )  # fmt: skip
    settled(page, "9 files accepted")
    page.click("[data-lines] a:has-text('open')")
    page.wait_for_url(re.compile("/cases/[0-9a-f-]{36}"))
    page.locator("[data-hud=slice]", has_text="slice 1/6").wait_for()
    before = page.locator("#slice").bounding_box()

    page.keyboard.press("v")
    other = page.locator("[data-beside=slice]")
    other.filter(has_text="slice 1/3, z 30.0 mm").wait_for()
    assert page.inner_text("[data-beside=link]") == "linked by table position"
    after, beside = (page.locator(one).bounding_box() for one in ("#slice", "#beside-slice"))
    assert abs(after["width"] - beside["width"]) <= 2 and after["height"] == before["height"]

    # down through the first: the second goes to the same place on the table
    page.keyboard.press("End")
    page.locator("[data-hud=slice]", has_text="slice 6/6").wait_for()
    other.filter(has_text="slice 3/3, z 10.0 mm").wait_for()
    page.mouse.move(beside["x"] + 50, beside["y"] + 50)
    page.mouse.wheel(0, -120)
    page.locator("[data-hud=slice]", has_text="slice 5/6").wait_for()

    # one window for both, from either side
    page.keyboard.press("Shift+2")
    shown = page.inner_text("[data-hud=window]")
    x, y = beside["x"] + 80, beside["y"] + 80
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 20, steps=4)
    page.mouse.up()
    page.locator("[data-hud=window]").filter(has_not_text=shown).wait_for()

    # moved alone, told, and kept in the address
    page.keyboard.press("Alt+PageUp")
    page.locator("[data-beside=link]", has_text="linked by table position, −1 slice").wait_for()
    page.wait_for_url(re.compile("beside=[0-9a-f-]{36}(%2C|,)-1"))
    told = "slice 2/3, z 20.0 mm"
    other.filter(has_text=told).wait_for()
    page.reload()
    page.locator("[data-beside=link]", has_text="−1 slice").wait_for()
    other.filter(has_text=told).wait_for()

    # not linked, it stays where it is
    page.uncheck("#beside-linked")
    page.keyboard.press("Home")
    page.locator("[data-hud=slice]", has_text="slice 1/6").wait_for()
    assert other.inner_text() == told
    assert page.evaluate("document.activeElement.id") == "slice"

    page.keyboard.press("v")
    page.locator("#beside").wait_for(state="hidden")
    page.wait_for_url(lambda url: "beside" not in url)
