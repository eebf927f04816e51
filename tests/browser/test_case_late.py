"""Answers that come late change what they are of, and nothing that a person does meanwhile."""

from __future__ import annotations

import pytest
from browser.test_viewer_measures import drag, told
from wire import Wire

MARKS = r"/images/[^/]+/lesions$"


def corner(page) -> str:
    return page.inner_text("[data-hud=slice]")


def kept_on_its_way(page) -> Wire:
    """A distance, and the request that keeps it with the chosen lesion, which is held."""
    wire = Wire(page, r"/lesions/[^/]+/measures$", "POST", "hold")
    page.keyboard.press("d")
    drag(page, (0.3, 0.3), (0.4, 0.3))
    told(page, "mm")
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    wire.wait_for_one()
    return wire


def test_a_measure_that_is_kept_late_takes_no_key_from_the_note(case, page):
    case.open(1)
    wire = kept_on_its_way(page)
    page.focus("[name=note]")
    page.keyboard.type("seg ")
    wire.release()
    case.wait_for_told("Kept with lesion 1")
    page.locator("[data-kept] summary").wait_for()
    page.keyboard.type("42 b")
    assert page.input_value("[name=note]") == "seg 42 b"
    assert page.locator(":checked[type=radio]").count() == 0
    assert page.locator("[data-do=box][aria-pressed=true]").count() == 0


def test_a_measure_on_its_way_to_its_lesion_is_not_deleted_from_the_page_alone(case, page):
    case.open(1)
    wire = kept_on_its_way(page)
    page.keyboard.press("Delete")
    case.wait_for_told("Not deleted yet")
    page.keyboard.press("Control+z")
    case.wait_for_told("Not taken back yet")
    wire.release()
    case.wait_for_told("Kept with lesion 1")
    page.keyboard.press("Delete")
    case.wait_for_told("was deleted from lesion 1")


def test_a_lesion_that_comes_back_late_leaves_the_reader_where_they_are(case, page):
    case.open(2)
    page.keyboard.press("Delete")
    case.wait_for_told("Lesion 2 was withdrawn")
    wire = Wire(page, r"/lesions/[^/]+/restoration$", "POST", "hold")
    page.keyboard.press("Control+z")
    wire.wait_for_one()
    case.go_to(1, "keys")
    case.wait_for_panel(1)
    case.wait_for_slice(1)
    page.keyboard.press("1")
    wire.release()
    case.wait_for_told("Lesion 2 is back, on slice 3.")
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    case.wait_for_told("Saved for lesion 1: cyst, confidence 4.")
    assert case.reviews() == [(1, "cyst", 4)]
    assert corner(page) == "slice 1/4"


def test_what_was_done_last_is_taken_back_first_whenever_its_answer_came(case, page):
    case.open(1)
    wire = Wire(page, MARKS, "POST", "hold")
    case.draw()
    wire.wait_for_one()
    page.keyboard.press("d")
    drag(page, (0.3, 0.8), (0.4, 0.8))
    told(page, "mm")
    wire.release()
    case.wait_for_told("Lesion 3 marked on slice 1.")
    page.keyboard.press("Control+z")
    told(page, "Taken back")
    assert case.standing() == [1, 2, 3]
    page.keyboard.press("Control+z")
    case.wait_for_told("Lesion 3 was taken back.")
    assert case.standing() == [1, 2]


@pytest.mark.parametrize("way", ["fail", "refuse"])
def test_what_came_to_nothing_does_not_stand_in_the_way_of_taking_back(way, case, page):
    case.open(1)
    page.keyboard.press("d")
    drag(page, (0.3, 0.8), (0.4, 0.8))
    told(page, "mm")
    if way == "fail":
        Wire(page, MARKS, "POST", "fail")
    else:
        page.route("**/images/*/lesions", lambda route: route.fulfill(
            status=422, content_type="application/problem+json",
            body='{"title": "x", "status": 422, "detail": "The box is too small."}',
        ))  # fmt: skip
    case.draw()
    if way == "fail":
        page.locator("#unsent .flash").wait_for()
        page.keyboard.press("Control+z")
        case.wait_for_told("Not taken back yet")
        page.click("text=Discard the box")
    else:
        page.locator("#panel-notes .flash").wait_for()
    page.keyboard.press("Control+z")
    told(page, "Taken back")


def test_back_after_a_box_was_moved_shows_its_lesion(case, page):
    case.open(2)
    x, y, zoom = case.corner_of(2)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 3 * zoom, y + 3 * zoom, steps=3)
    page.mouse.up()
    case.wait_for_told("The box of lesion 2 is moved.")
    page.go_back()
    case.wait_for_panel(2)
    case.wait_for_slice(3)
    assert page.locator("#lesion-list [aria-current]").inner_text().startswith("Lesion 2")


def test_the_window_of_a_link_is_shown_and_is_no_habit_until_it_is_chosen(case, page):
    case.open(1)
    own = page.inner_text("[data-hud=window]")
    place = page.url.split("?")[0]
    page.goto(f"{place}?window=350,-9999")
    page.locator("[data-hud=window]", has_text="W 350 L −2048").wait_for()
    page.wait_for_timeout(600)  # a window is kept once it rests
    page.goto(place)
    page.locator("[data-hud=window]", has_text=own).wait_for()
    page.goto(f"{place}?window=350,40,sigmoid")
    page.locator("[data-hud=window]", has_text="W 350 L 40").wait_for()
    drag(page, (0.5, 0.5), (0.6, 0.5))
    page.wait_for_timeout(600)
    assert "sigmoid" in page.url
    assert page.inner_text("[data-hud=window]") != "W 350 L 40"


def test_hidden_marks_are_said_and_a_tool_brings_them_back(case, page):
    case.open(1)
    assert not page.is_visible("[data-hud=unmarked]")
    page.keyboard.press("h")
    assert page.inner_text("[data-hud=unmarked]") == "marks hidden"
    page.keyboard.press("d")
    assert not page.is_visible("[data-hud=unmarked]")


def test_the_way_back_leads_to_the_work_list_as_it_was(case, page):
    page.goto(f"{case.address}/cases?order=lesions")
    page.locator(f"a[href*='{case.id}']").first.click()
    page.locator("[data-hud=slice]", has_text="slice 1/").wait_for()
    page.click("[data-to-list]")
    page.wait_for_url("**/cases?order=lesions")
