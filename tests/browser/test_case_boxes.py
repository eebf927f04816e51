"""A drawn box becomes one lesion, on the slice it was drawn on, whatever the network does."""

from __future__ import annotations

import json

import pytest
from wire import Wire

from app.models.people.user import DEMO_PASSWORD

pytestmark = pytest.mark.long

MARKS = r"/images/[0-9a-f-]{36}/lesions$"
PIXELS = r"/images/[0-9a-f-]{36}/pixels$"


def test_what_is_typed_while_a_box_is_being_marked_is_for_no_other_lesion(case, page):
    case.open(1)
    wire = Wire(page, MARKS, "POST", "hold")
    case.draw()
    wire.wait_for_one()
    assert page.locator("[data-review]").count() == 0
    case.give(2, 3, "keys")
    page.wait_for_timeout(200)
    assert case.reviews() == []
    wire.release()
    case.wait_for_panel(3)
    assert page.locator(":checked[type=radio]").count() == 0
    case.give(1, 4, "keys")
    case.wait_for_told("Saved for lesion 3: cyst, confidence 4.")
    assert case.reviews() == [(3, "cyst", 4)]


def test_a_box_that_is_marked_late_takes_no_keys_from_the_lesion_chosen_meanwhile(case, page):
    case.open(1)
    wire = Wire(page, MARKS, "POST", "hold")
    case.draw()
    wire.wait_for_one()
    case.go_to(2, "mouse")
    case.wait_for_panel(2)
    page.keyboard.press("2")
    wire.release()
    case.wait_for_told("Lesion 3 marked on slice 1.")
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    case.wait_for_told("Saved for lesion 2: metastasis, confidence 5.")
    assert case.reviews() == [(2, "metastasis", 5)]
    assert case.slices_of() == {1: 1, 2: 3, 3: 1}
    assert page.locator("#lesion-list [data-lesion]").count() == 3


@pytest.mark.parametrize(
    ("way", "by"), [("fail", "mouse"), ("lose", "keys"), ("lose", "mouse"), ("signed out", "keys")]
)
def test_a_box_that_did_not_arrive_is_kept_and_marked_once_when_tried_again(way, by, case, page):
    case.open(1)
    Wire(page, MARKS, "POST", way if way != "signed out" else "pass")
    if way == "signed out":
        page.context.clear_cookies()
    case.draw()
    told = case.unsent()
    assert "The box on slice 1 may not be marked" in told or way == "signed out"
    if way == "signed out":
        assert "The box on slice 1 is not marked" in told
        assert "Sign in again, and it is tried again" in told
    assert case.standing() == ([1, 2, 3] if way == "lose" else [1, 2])
    page.focus("#slice")
    page.keyboard.press("End")  # looking elsewhere loses nothing
    page.unroute_all()
    if way == "signed out":  # in place: the box goes on by itself
        page.click("#unsent [data-sign-in]")
        page.locator("dialog[open] [name=password]").fill(DEMO_PASSWORD)
        page.keyboard.press("Enter")
    else:
        page.keyboard.press("t") if by == "keys" else page.click("#unsent [data-again]")
    case.wait_for_told("Lesion 3 marked on slice 1.")
    case.wait_for_panel(3)
    page.locator("#unsent .flash").wait_for(state="detached")
    assert case.standing() == [1, 2, 3]
    assert case.slices_of()[3] == 1
    assert page.evaluate("Object.keys(sessionStorage).filter((k) => /draft/.test(k))") == []


def test_a_box_outlives_a_reload_and_can_be_discarded(case, page):
    case.open(1)
    wire = Wire(page, MARKS, "POST", "fail")
    case.draw()
    case.unsent()
    page.reload()
    assert "The box on slice 1 may not be marked" in case.unsent()
    wire.way = "pass"
    page.click("#unsent [data-again]")
    case.wait_for_told("Lesion 3 marked on slice 1.")
    wire.way = "fail"
    case.draw(0.15, 0.3)
    case.unsent()
    page.click("#unsent [data-drop]")
    page.locator("#unsent .flash").wait_for(state="detached")
    page.reload()
    page.locator("[data-panel]").wait_for()
    assert page.locator("#unsent .flash").count() == 0
    assert case.standing() == [1, 2, 3]


def test_a_box_that_the_server_refuses_is_said_and_leaves_nothing(case, page):
    case.open(1)
    page.route("**/images/*/lesions", lambda route: route.fulfill(
        status=422, content_type="application/problem+json",
        body='{"title": "x", "status": 422, "detail": "The box is too small."}',
    ))  # fmt: skip
    case.draw()
    page.locator("#panel-notes .flash").wait_for()
    assert "The box on slice 1 was not marked. The box is too small." in page.inner_text(
        "#panel-notes"
    )
    assert page.locator("#unsent .flash").count() == 0
    assert case.standing() == [1, 2]


@pytest.mark.parametrize("way", ["pass", "lose"])
def test_a_moved_box_stays_its_lesion_and_takes_along_what_was_filled_in(way, case, page):
    case.open(1)
    Wire(page, MARKS, "POST", way)
    page.keyboard.press("3")  # filled in, not saved
    x, y, _ = case.corner_of(1)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y + 20)
    page.mouse.move(x + 40, y + 40)
    page.mouse.up()
    if way == "lose":
        assert "The new box of lesion 1 on slice 1 may not be marked" in case.unsent()
        page.unroute_all()
        page.keyboard.press("t")
    case.wait_for_told("The box of lesion 1 is moved.")
    case.wait_for_panel(1)
    assert case.standing() == [1, 2]
    assert page.locator("[name=lesion_class][value=hemangioma]").is_checked()
    case.wait_until_it_listens()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    case.wait_for_told("Saved for lesion 1: hemangioma, confidence 4.")
    assert case.reviews() == [(1, "hemangioma", 4)]
    page.keyboard.press("Delete")  # a class was given for it: not by one key
    case.wait_for_told("Lesion 1 was not deleted")
    page.keyboard.press("Control+z")
    case.wait_for_told("Nothing was taken back: lesion 1 has a class of yours.")
    assert case.standing() == [1, 2]


def test_a_circle_is_deleted_brought_back_and_taken_back_by_keys(case, page):
    case.open(1)
    case.draw(tool="c")
    case.wait_for_told("Lesion 3 marked on slice 1.")
    case.wait_for_panel(3)
    page.keyboard.press("Delete")
    case.wait_for_told("Lesion 3 was withdrawn. Ctrl and Z brings it back.")
    assert case.standing() == [1, 2]
    page.keyboard.press("Control+z")
    case.wait_for_told("Lesion 3 is back.")
    case.wait_for_panel(3)
    assert case.standing() == [1, 2, 3]
    page.reload()
    page.locator("[data-hud=slice]", has_text="slice 1/").wait_for()
    told = json.loads(page.text_content("#case-data"))
    shapes = [one["shape"] for one in told["lesions"]]
    assert shapes == ["box", "box", "circle"]
    page.keyboard.press("Control+z")  # what was done before the page was left stays
    assert case.standing() == [1, 2, 3]


# -- slices ---------------------------------------------------------------------------------------


@pytest.fixture
def without_slices(case, page):
    """The page at lesion 1, with the pixels of every slice but the first failing."""
    wire = Wire(page, rf"/images/(?!{case.images[0]})[0-9a-f-]+/pixels$", "GET", "fail")
    case.open(1)
    return wire


def shown_in_corner(page) -> str:
    return page.inner_text("[data-hud=slice]")


def test_a_slice_that_failed_is_named_takes_no_box_and_comes_when_tried_again(
    without_slices, case, page
):
    page.focus("#slice")
    page.keyboard.press("ArrowDown")
    page.locator("#slice-fault").wait_for()
    told = page.inner_text("#slice-fault")
    assert "Slice 2 could not be loaded" in told
    assert "What you see, dimmed, is slice 1." in told
    assert shown_in_corner(page) == "slice 2/4 not loaded"
    assert page.get_attribute("#scrub", "aria-valuetext") == "slice 2 of 4"
    page.click("#slice-fault [data-do=again]")  # fails again, and still says so
    page.keyboard.press("b")
    case.draw(0.2, 0.4)
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert case.standing() == [1, 2]
    without_slices.way = "pass"
    page.focus("#slice")
    page.keyboard.press("t")
    case.wait_for_slice(2)
    assert not page.locator("#slice-fault").is_visible()


def test_a_slice_that_failed_comes_by_itself_when_the_network_is_back(without_slices, case, page):
    page.focus("#slice")
    page.keyboard.press("ArrowDown")
    page.locator("#slice-fault").wait_for()
    page.context.set_offline(True)
    without_slices.way = "pass"
    page.context.set_offline(False)
    case.wait_for_slice(2)


def test_a_slice_after_the_session_is_over_says_where_to_sign_in(without_slices, case, page):
    cookies = page.context.cookies()
    page.context.clear_cookies()
    without_slices.way = "pass"
    page.focus("#slice")
    page.keyboard.press("ArrowDown")
    page.locator("#slice-fault [data-sign-in]").wait_for()
    told = page.inner_text("#slice-fault")
    assert "Slice 2 could not be loaded: you are signed out." in told
    assert "Sign in again, and it is tried again." in told
    page.context.add_cookies(cookies)
    page.click("#slice-fault [data-do=again]")
    case.wait_for_slice(2)


def test_the_corner_names_the_slice_that_is_in_the_picture_while_another_is_on_its_way(
    without_slices, case, page
):
    without_slices.way = "hold"
    page.focus("#slice")
    page.keyboard.press("ArrowDown")
    without_slices.wait_for_one()
    assert shown_in_corner(page) == "slice 1/4, loading 2 …"
    case.draw(0.2, 0.4)
    page.wait_for_timeout(200)
    assert case.standing() == [1, 2]
    without_slices.release()
    case.wait_for_slice(2)


def test_a_slice_that_hangs_does_not_hold_up_the_others(without_slices, case, page):
    page.focus("#slice")
    without_slices.way = "hold"
    page.keyboard.press("ArrowDown")
    without_slices.wait_for_one()
    without_slices.way = "pass"
    page.keyboard.press("End")
    case.wait_for_slice(4)
