"""A class is stored for the lesion it was given for, once, whatever the network does."""

from __future__ import annotations

import pytest
from wire import TwoLesions, Wire

PANELS = r"/lesions/[0-9a-f-]{36}$"
REVIEWS = r"/lesions/[0-9a-f-]{36}/reviews$"
WITHDRAWALS = r"/lesions/[0-9a-f-]{36}/withdrawal$"
BY = pytest.mark.parametrize("by", ["keys", "mouse"])


def sign_out(page) -> list:
    cookies = page.context.cookies()
    page.context.clear_cookies()
    return cookies


@pytest.mark.long
@pytest.mark.parametrize(
    ("way", "first", "second", "by"),
    [
        ("hold", 1, 2, "keys"),
        ("hold", 2, 1, "mouse"),
        ("fail", 1, 2, "mouse"),
        ("signed out", 2, 1, "keys"),
        ("502", 1, 2, "keys"),
        ("another answer", 2, 1, "mouse"),
    ],
)
def test_nothing_is_stored_while_the_panel_is_not_that_of_the_chosen_lesion(
    way, first, second, by, case, page
):
    case.open(first)
    wire = Wire(page, PANELS, "GET", way if way in ("hold", "fail") else "pass")
    if way == "502":
        page.route("**/lesions/*", lambda route: route.fulfill(status=502, body="<h1>proxy</h1>"))
    if way == "another answer":
        page.route("**/lesions/*", lambda route: route.fulfill(status=200, body="<b>Log in</b>"))
    cookies = sign_out(page) if way == "signed out" else []
    case.go_to(second, by)
    assert page.locator("[data-review], [data-withdrawal]").count() == 0
    case.give(2, 3, by)
    case.give(1, 4, by)
    if way == "hold":
        wire.wait_for_one()
        assert page.locator("#lesion-panel").inner_text().startswith(f"Lesion {second}")
        wire.release()
    else:
        page.locator("#lesion-panel [data-again]").wait_for()
        assert f"Lesion {second} could not be loaded" in page.inner_text("#lesion-panel")
        assert case.reviews() == []
        page.unroute_all()
        page.context.add_cookies(cookies)
        page.keyboard.press("t") if by == "keys" else page.click("#lesion-panel [data-again]")
    case.wait_for_panel(second)
    assert page.locator(":checked[type=radio]").count() == 0
    assert case.reviews() == []
    case.give(1, 4, by)
    case.wait_for_told(f"Saved for lesion {second}: cyst, confidence 4.")
    assert case.reviews() == [(second, "cyst", 4)]


# keys in the very moment in which the panel arrives, before anybody can have seen it
AT_ARRIVAL = """(keys) => new MutationObserver((_, observer) => {
  if (!document.querySelector('[data-panel]')) return;
  observer.disconnect();
  for (const key of keys) {
    const code = /\\d/.test(key) ? `Digit${key}` : key;
    const told = new KeyboardEvent('keydown', { key, code, bubbles: true, cancelable: true });
    document.getElementById('slice').dispatchEvent(told);
  }
}).observe(document.getElementById('lesion-panel'), { childList: true })"""


def test_keys_typed_in_one_go_are_not_taken_in_part_when_the_panel_arrives_among_them(case, page):
    case.open(1)
    wire = Wire(page, PANELS, "GET", "hold")
    case.go_to(2, "keys")
    wire.wait_for_one()
    page.keyboard.press("2")
    page.evaluate(AT_ARRIVAL, ["4", "3", "Enter"])  # not class 4 with confidence 3
    wire.release()
    case.wait_for_told("Not taken")
    case.wait_for_panel(2)
    assert page.locator(":checked[type=radio]").count() == 0
    assert case.reviews() == []
    case.give(2, 4, "keys")
    case.wait_for_told("Saved for lesion 2: metastasis, confidence 4.")
    assert case.reviews() == [(2, "metastasis", 4)]


def test_enter_does_not_save_what_was_restored_before_anybody_can_have_seen_it(case, page):
    case.open(1)
    page.keyboard.press("2")
    page.keyboard.press("5")
    case.go_to(2, "keys")
    case.wait_for_panel(2)
    page.evaluate("document.getElementById('lesion-panel').replaceChildren()")
    page.evaluate(AT_ARRIVAL, ["Enter"])
    case.go_to(1, "keys")
    case.wait_for_panel(1)
    case.wait_for_told("Not taken")
    assert case.reviews() == []
    case.wait_until_it_listens()
    page.keyboard.press("Enter")
    case.wait_for_told("Saved for lesion 1: metastasis, confidence 5.")


@BY
def test_panels_that_arrive_out_of_order_change_nothing(by, case, page):
    case.open(1)
    wire = Wire(page, PANELS, "GET", "hold")
    case.go_to(2, by)
    wire.wait_for_one()
    late, wire.held = wire.held, []
    wire.way = "pass"
    case.go_to(1, by)
    case.wait_for_panel(1)
    for route in late:
        route.continue_()
    page.wait_for_timeout(300)
    assert page.locator("[data-panel][data-number='1']").count() == 1
    case.give(3, 2, by)
    case.wait_for_told("Saved for lesion 1: hemangioma, confidence 2.")
    assert case.reviews() == [(1, "hemangioma", 2)]


@pytest.mark.parametrize(("first", "second", "by"), [(1, 2, "keys"), (2, 1, "mouse")])
def test_a_class_on_its_way_is_stored_for_its_lesion_while_another_is_reviewed(
    first, second, by, case, page
):
    case.open(first)
    wire = Wire(page, REVIEWS, "POST", "hold")
    case.give(1, 5, by)
    wire.wait_for_one()
    assert "Saving cyst, confidence 5" in page.inner_text("#lesion-panel")
    case.give(2, 2, by)  # the form takes nothing any more
    assert page.locator("[name=lesion_class]:checked").get_attribute("value") == "cyst"
    assert page.locator("[name=confidence]:checked").get_attribute("value") == "5"
    page.keyboard.press("Enter")
    assert wire.seen == 1
    late, wire.held = wire.held, []
    wire.way = "pass"
    case.go_to(second, by)
    case.wait_for_panel(second)
    case.give(3, 1, by)
    case.wait_for_told(f"Saved for lesion {second}: hemangioma, confidence 1.")
    case.go_to(first, by)
    case.wait_for_panel(first)
    case.give(2, 2, by)  # still on its way
    case.go_to(second, by)
    case.wait_for_panel(second)
    for route in late:
        route.continue_()
    case.wait_for_told(f"Saved for lesion {first}: cyst, confidence 5.")
    assert page.locator(f"[data-panel][data-number='{second}']").count() == 1
    assert sorted(case.reviews()) == sorted([(second, "hemangioma", 1), (first, "cyst", 5)])


@pytest.mark.parametrize(
    ("way", "by"),
    [
        ("fail", "keys"),
        ("lose", "mouse"),
        ("signed out", "keys"),
        ("502", "mouse"),
    ],
)
def test_a_class_that_did_not_arrive_is_kept_and_stored_once_when_tried_again(way, by, case, page):
    case.open(1)
    wire = Wire(page, REVIEWS, "POST", way if way in ("fail", "lose") else "pass")
    if way == "502":
        page.route("**/reviews", lambda route: route.fulfill(status=502, body="<h1>proxy</h1>"))
    cookies = sign_out(page) if way == "signed out" else []
    case.give(1, 4, by)
    told = case.unsent()
    assert "Lesion 1, cyst, confidence 4, " in told
    if way == "signed out":
        assert "is not saved" in told
        assert "Sign in again, and it is tried again" in told
        assert page.locator("#unsent [data-sign-in]").get_attribute("target") == "_blank"
    else:
        assert "may not be saved" in told
    if way in ("fail", "lose"):
        assert "not known whether this was stored" in told
    page.context.add_cookies(cookies)
    case.go_to(2, by)  # it is not forgotten meanwhile, and not given to the next lesion
    case.wait_for_panel(2)
    assert page.locator("#unsent .flash").count() == 1
    assert page.locator("[data-unsaved]:visible").count() == 1
    page.unroute_all()
    page.keyboard.press("t") if by == "keys" else page.click("#unsent [data-again]")
    case.wait_for_told("Saved for lesion 1: cyst, confidence 4.")
    page.locator("#unsent .flash").wait_for(state="detached")
    assert page.locator("[data-unsaved]:visible").count() == 0
    assert page.locator("[data-panel][data-number='2']").count() == 1
    assert case.reviews() == [(1, "cyst", 4)]
    assert wire.seen <= 1


def test_a_double_enter_and_a_double_click_store_once(case, page):
    case.open(1)
    page.keyboard.press("1")
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    case.wait_for_told("Saved for lesion 1")
    case.go_to(2, "keys")
    case.wait_for_panel(2)
    page.click("[name=lesion_class][data-key='2']")
    page.click("[name=confidence][data-key='2']")
    page.dblclick("[data-save]")
    case.wait_for_told("Saved for lesion 2")
    assert case.reviews() == [(1, "cyst", 4), (2, "metastasis", 2)]


@BY
def test_a_lesion_withdrawn_in_another_tab_takes_no_class_and_says_so(by, case, page):
    case.open(1)
    case.withdraw(case.lesions[0])
    case.give(1, 4, by)
    page.locator("#panel-notes .flash").wait_for()
    told = page.inner_text("#panel-notes")
    assert "Lesion 1 was withdrawn by reader" in told
    assert "cyst, confidence 4) was not saved" in told
    assert page.locator("[data-review]").count() == 0
    case.give(2, 2, by)
    assert case.reviews() == []
    assert page.locator("#lesion-list [data-lesion]").count() == 1


def test_a_class_given_in_another_tab_is_not_replaced_by_a_page_that_lags_behind(case, page):
    case.open(1)
    other = page.context.new_page()
    there = TwoLesions.__new__(TwoLesions)
    there.__dict__ |= case.__dict__ | {"page": other}
    there.open(1)
    there.give(2, 5, "keys")
    there.wait_for_told("Saved for lesion 1")
    case.give(1, 1, "keys")
    assert "in another window" in case.unsent()
    assert case.reviews() == [(1, "metastasis", 5)]
    page.click("#unsent [data-go]")
    page.locator("#lesion-panel .lesion__own").wait_for()
    assert page.locator("#lesion-panel [data-draft]").is_visible()  # what was chosen is not lost


def test_somebody_else_who_signs_in_in_this_browser_gives_no_class_with_this_page(
    case, page, installation
):
    case.open(1)
    page.keyboard.press("1")
    sign_out(page)
    other = page.context.new_page()
    other.goto(f"{installation.address}/sessions/new")
    other.fill("[name=name]", "researcher")
    other.fill("[name=password]", "hepatica-demo")
    other.press("[name=password]", "Enter")
    other.wait_for_url("**/cases")
    page.locator("#lesion-panel", has_text="Somebody else is signed in").wait_for()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    assert page.locator("[data-review]").count() == 0
    assert page.evaluate("Object.keys(sessionStorage).filter((k) => /draft/.test(k))") == []
    assert case.reviews() == []


@pytest.mark.long
@pytest.mark.parametrize("way", ["hold", "fail", "lose", "signed out"])
def test_a_withdrawal_that_fails_is_said_and_done_once(way, case, page):
    case.open(1)
    wire = Wire(page, WITHDRAWALS, "POST", way if way != "signed out" else "pass")
    cookies = sign_out(page) if way == "signed out" else []
    page.click("summary:has-text('Withdraw this lesion')")
    page.click("[data-withdrawal] button")
    if way == "hold":
        wire.wait_for_one()
        case.go_to(2, "keys")
        case.wait_for_panel(2)
        wire.release()
    else:
        told = case.unsent()
        assert "Lesion 1 is not withdrawn" in told or "Lesion 1 may not be withdrawn" in told
        assert case.standing() == ([2] if way == "lose" else [1, 2])
        page.context.add_cookies(cookies)
        page.unroute_all()
        page.keyboard.press("t")
    case.wait_for_told("Lesion 1 was withdrawn")
    assert case.standing() == [2]
    assert page.locator("#lesion-list [data-lesion]").count() == 1
    if way == "hold":
        assert page.locator("[data-panel][data-number='2']").count() == 1
