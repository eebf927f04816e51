"""The picture has the screen, the bar beside it the slices, and the address what is seen."""

from __future__ import annotations

import re
from contextlib import closing

from wire import TwoLesions, Wire

from factories import make_dicom, make_hu

SHARE_OF_THE_SCREEN = 0.7


def wait_for_slice(page, number: int) -> None:
    page.locator("[data-hud=slice]", has_text=re.compile(rf"^slice {number}/")).wait_for()


def test_the_picture_has_the_screen_the_bar_the_slices_and_the_address_what_is_seen(case, page):
    case.open(1)
    frame = page.locator("#slice").bounding_box()
    assert frame["width"] * frame["height"] >= SHARE_OF_THE_SCREEN * 1280 * 800
    assert page.locator(".masthead").count() == 0

    ticks = [one.bounding_box() for one in page.locator(".scrub__tick").all()]
    assert len(ticks) == 2  # lesions on slices 1 and 3 of 4
    bar = page.locator("#scrub").bounding_box()
    x = bar["x"] + bar["width"] / 2
    page.mouse.move(x, ticks[0]["y"] + 1)
    page.mouse.down()
    page.mouse.move(x, ticks[1]["y"] + 1, steps=3)
    wait_for_slice(page, 3)
    page.mouse.move(x, bar["y"] + bar["height"] - 2, steps=3)
    page.mouse.up()
    wait_for_slice(page, 4)
    page.keyboard.press("ArrowUp")  # the keys belong to the picture again
    wait_for_slice(page, 3)

    page.keyboard.press("Shift+3")
    page.wait_for_url(re.compile("window=1800%2C400"))
    page.evaluate("localStorage.clear()")  # what the address says, not what the person is used to
    page.reload()
    page.locator("[data-hud=window]", has_text="W 1800 L 400").wait_for()
    wait_for_slice(page, 3)


def test_a_case_deleted_under_the_viewer_is_said_and_what_is_seen_is_marked_as_old(case, page):
    wire = Wire(page, rf"/images/(?!{case.images[0]})[^/]+/pixels$", "GET", "fail")
    case.open(1)
    case.close()  # deleted, while somebody looks at it
    wire.way = "pass"
    page.focus("#slice")
    page.keyboard.press("ArrowDown")
    page.locator("#slice-fault", has_text="There is no such image").wait_for()
    assert "What you see, dimmed, is slice 1." in page.inner_text("#slice-fault")
    assert page.inner_text("[data-hud=slice]") == "slice 2/4 not loaded"


def test_windows_of_the_file_and_a_second_series_leave_the_picture_its_room(page, installation):
    """The longest row of tools that there is; what the file calls its series, and how fast."""

    def portal(word: str) -> list[bytes]:
        return [
            make_dicom(
                make_hu(n), study=word, series="2", number=n + 10, z=5.0 * n, patient_id=word,
                SeriesDescription="Sylvia Secret portal venous 5.0 B30f", CineRate="30",
                WindowCenter=[50, 300, -500], WindowWidth=[350, 1500, 1400],
            )
            for n in range(40)
        ]  # fmt: skip

    with closing(TwoLesions(page, installation, more=portal)) as case:
        case.open(1)
        assert page.locator("[data-preset]").count() == 4 + 3
        tools = [one.bounding_box() for one in page.locator(".viewer__tools button").all()]
        assert max(one["y"] for one in tools) < min(one["y"] + one["height"] for one in tools)
        assert page.locator(".viewer__tools [data-do=beside]").is_visible()
        frame = page.locator("#slice").bounding_box()
        assert frame["width"] * frame["height"] >= SHARE_OF_THE_SCREEN * 1280 * 800

        page.focus("#slice")
        page.keyboard.press("n")
        page.locator("[data-hud=scanner]", has_text="… portal venous 5.0 B30f, instance").wait_for()
        assert "Secret" not in page.content()
        page.keyboard.press("Home")
        page.keyboard.down(".")
        page.locator("[data-hud=film]", has_text="30 slices a second, as the file asks").wait_for()
        page.keyboard.up(".")
        assert page.locator("[data-hud=film]").inner_text() == ""


def test_a_portrait_monitor_shows_picture_tools_and_panel_without_scrolling(open_as, installation):
    page = open_as("reader", 1080, 1920, at=None)
    with closing(TwoLesions(page, installation)) as case:
        case.open(1)
        frame = page.locator("#slice").bounding_box()
        assert frame["width"] * frame["height"] >= 0.55 * 1080 * 1920
        assert page.evaluate("document.documentElement.scrollHeight") == 1920
        save = page.locator("[data-save]").bounding_box()
        assert save["y"] + save["height"] <= 1920
        assert page.locator("[data-do=box]").bounding_box()["y"] < frame["y"]
        # twice the text: as a small window
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        page.wait_for_function("() => document.documentElement.scrollHeight > 1920")
        assert page.locator("[data-do=box]").bounding_box()["y"] > frame["y"]
