"""The case page in the hands of somebody in a hurry: drafts, keys after clicks, large text."""

from __future__ import annotations

from contextlib import closing

import pytest
from wire import TwoLesions, Wire

DRAFTS = "Object.keys(sessionStorage).filter((key) => key.includes('draft')).length"


def checked(page, name: str) -> str | None:
    found = page.locator(f"[name={name}]:checked")
    return found.get_attribute("value") if found.count() else None


# -- drafts ---------------------------------------------------------------------------------------


def test_what_was_filled_in_is_there_when_the_lesion_is_chosen_again_and_after_a_reload(case, page):
    case.open(1)
    page.keyboard.press("2")
    page.fill("[name=note]", "rim enhancement")
    page.select_option("[name=basis]", "follow_up")
    for way in ("away and back", "reload"):
        if way == "reload":
            page.reload()
        else:
            page.focus("#slice")
            case.go_to(2, "keys")
            case.wait_for_panel(2)
            assert checked(page, "lesion_class") is None
            assert page.input_value("[name=note]") == ""
            case.go_to(1, "keys")
        case.wait_for_panel(1)
        assert checked(page, "lesion_class") == "metastasis"
        assert page.input_value("[name=note]") == "rim enhancement"
        assert page.input_value("[name=basis]") == "follow_up"
        assert page.locator("#lesion-panel [data-draft]", has_text="Not saved yet").is_visible()
        assert page.locator("#lesion-list [data-unsaved]:visible").count() == 1
    page.focus("#slice")
    case.wait_until_it_listens()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    case.wait_for_told("Saved for lesion 1: metastasis, confidence 4.")
    assert page.evaluate(DRAFTS) == 0
    assert case.reviews() == [(1, "metastasis", 4)]


def test_a_draft_can_be_discarded(case, page):
    case.open(1)
    page.keyboard.press("2")
    page.click("[data-discard]")
    assert checked(page, "lesion_class") is None
    assert not page.locator("#lesion-panel [data-draft]").is_visible()
    assert page.evaluate(DRAFTS) == 0


def test_a_draft_that_was_stored_although_no_answer_came_is_not_offered_again(case, page):
    case.open(1)
    Wire(page, r"/reviews$", "POST", "lose")
    case.give(1, 4, "keys")
    case.unsent()
    page.reload()
    page.locator("#lesion-panel .lesion__own").wait_for()
    assert page.locator("#lesion-list [data-unsaved]:visible").count() == 0
    assert page.evaluate(DRAFTS) == 0
    assert case.reviews() == [(1, "cyst", 4)]


def test_signing_out_leaves_no_draft_in_the_browser(case, page):
    case.open(1)
    page.keyboard.press("2")
    assert page.evaluate(DRAFTS) == 1
    page.click("button:has-text('Sign out')")
    page.wait_for_url("**/sessions/new")
    assert page.evaluate(DRAFTS) == 0


def test_a_draft_does_not_outlive_the_sign_in_of_somebody_else(case, page, installation):
    case.open(1)
    page.keyboard.press("2")
    page.context.clear_cookies()  # the session ended without a sign-out
    page.goto(f"{installation.address}/sessions/new")
    assert page.evaluate(DRAFTS) == 1
    page.fill("[name=name]", "researcher")
    page.fill("[name=password]", "hepatica-demo")
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/cases")
    assert page.evaluate(DRAFTS) == 0


def test_a_draft_survives_the_end_of_the_session_for_the_same_person(case, page, installation):
    case.open(1)
    page.keyboard.press("3")
    page.context.clear_cookies()
    page.reload()
    page.fill("[name=name]", "reader")
    page.fill("[name=password]", "hepatica-demo")
    page.press("[name=password]", "Enter")
    case.wait_for_panel(1)
    assert checked(page, "lesion_class") == "hemangioma"


def test_closing_the_tab_on_a_draft_asks_first_and_a_link_within_it_does_not(case, page):
    asked = []

    def answer(dialog):
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    other = page.context.new_page()
    case.open(1)
    page.click("[name=lesion_class][data-key='2']")
    page.click("a:has-text('Cases') >> nth=0")
    page.wait_for_url("**/cases")
    assert asked == []
    case.open(2)
    assert page.locator("[data-unsaved]:visible").count() == 1
    page.click("[name=lesion_class][data-key='1']")
    page.close(run_before_unload=True)
    while not asked:
        other.wait_for_timeout(20)
    assert asked == ["beforeunload"]


def test_a_draft_in_another_case_is_told_of_and_can_be_opened_or_forgotten(
    case, page, installation
):
    case.open(1)
    page.keyboard.press("2")
    with closing(TwoLesions(page, installation)) as second:
        second.open(1)
        told = page.locator("#elsewhere .flash")
        assert "A lesion of another case is filled in and not saved." in told.inner_text()
        told.locator("[data-there]").click()
        case.wait_for_panel(1)
        assert checked(page, "lesion_class") == "metastasis"
        assert page.locator("#elsewhere .flash").count() == 0
        second.open(1)
        page.click("#elsewhere [data-forget]")
        assert page.evaluate(DRAFTS) == 0


# -- keys after clicks ----------------------------------------------------------------------------


def test_another_class_opened_by_mouse_is_given_by_keys(case, page):
    case.open(1)
    case.give(1, 4, "keys")
    case.wait_for_told("Saved for lesion 1: cyst")
    page.click("summary:has-text('Give another class')")
    for key in ("2", "5", "Enter"):
        page.keyboard.press(key)
    case.wait_for_told("Saved for lesion 1: metastasis, confidence 5.")
    assert case.reviews() == [(1, "cyst", 4), (1, "metastasis", 5)]


@pytest.mark.parametrize(
    "first", ["#lesion-list [data-lesion] >> nth=0", "#scrub", "[data-do=smooth]"]
)
def test_enter_saves_and_does_not_press_what_was_clicked_before(first, case, page):
    case.open(1)
    page.click(first)
    case.wait_for_panel(1)
    case.give(1, 4, "keys")
    case.wait_for_told("Saved for lesion 1: cyst, confidence 4.")
    assert case.reviews() == [(1, "cyst", 4)]


def test_enter_saves_where_the_list_was_walked_by_keys(case, page):
    case.open(1)
    page.locator("#lesion-list [data-lesion] >> nth=1").focus()
    page.keyboard.press("Enter")
    case.wait_for_panel(2)
    case.give(1, 4, "keys")
    case.wait_for_told("Saved for lesion 2: cyst, confidence 4.")


def test_arrows_after_a_click_on_a_class_scroll_the_slices_and_leave_the_class(case, page):
    case.open(1)
    page.click("[name=lesion_class][data-key='2']")
    page.click("[name=confidence][data-key='2']")
    page.keyboard.press("ArrowDown")
    case.wait_for_slice(2)
    assert checked(page, "lesion_class") == "metastasis"
    assert checked(page, "confidence") == "2"


def test_a_class_without_a_confidence_is_not_saved_and_the_page_says_what_is_missing(case, page):
    case.open(1)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    case.wait_for_told("choose a confidence")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    case.wait_for_told("Saved for lesion 1: cyst, confidence 3.")
    assert case.reviews() == [(1, "cyst", 3)]


# -- what the list and the address say ------------------------------------------------------------


def test_list_live_region_and_panel_name_the_own_class_first(case, page):
    case.open(1)
    case.give(4, 2, "keys")
    case.wait_for_told("Saved for lesion 1: other, confidence 2.")
    row = page.locator("#lesion-list [data-lesion] >> nth=0")
    assert [text.split(":")[0] for text in row.locator(".claim").all_inner_texts()] == [
        "other (yours)",
        "network",
    ]
    case.go_to(2, "keys")
    case.wait_for_panel(2)
    case.go_to(1, "keys")
    case.wait_for_panel(1)
    assert page.inner_text("#viewer-says").startswith("Lesion 1: other (yours), network: ")


def test_a_link_to_a_withdrawn_lesion_says_so_and_opens_no_other(case, page):
    case.withdraw(case.lesions[0])
    page.goto(f"{case.address}/cases/{case.id}?lesion={case.lesions[0]}")
    page.locator("text=Lesion 1 was withdrawn by reader").wait_for()
    assert page.locator("[data-review]").count() == 0


# -- room -----------------------------------------------------------------------------------------

OUTSIDE = """() => [...document.querySelectorAll('main *')].filter((one) => {
  if (one.closest('.visually-hidden, dialog, template, .viewer__canvas')) return false;
  const r = one.getBoundingClientRect();
  return r.width > 0 && (r.right > innerWidth + 1 || r.left < -1);
}).map((one) => one.outerHTML.slice(0, 80))"""
CUT = """() => [...document.querySelectorAll('.lesion *, .lesions *, .case__head *')].filter((
  one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0
  && getComputedStyle(one).overflowX !== 'visible' && !one.closest('.visually-hidden')
).map((one) => one.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize(("width", "height", "text"), [(640, 400, "100%"), (1280, 800, "200%")])
def test_at_200_percent_nothing_is_cut_off_and_the_picture_keeps_half_the_height(
    width, height, text, case, page
):
    case.open(1)
    case.give(1, 4, "keys")
    case.wait_for_told("Saved")
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", text)
    stage = page.locator(".viewer__stage").bounding_box()
    assert stage["height"] >= height / 2
    assert stage["y"] + height / 2 <= height  # so much of it is in sight without scrolling
    page.locator(".lesion__answer").first.click()
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(CUT) == []
    for score in page.locator(".scores__row dd.number").all():
        box = score.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_what_failed_is_said_where_it_can_be_read(case, page):
    case.open(1)
    page.route("**/lesions/*", lambda route: route.abort())
    case.go_to(2, "keys")
    page.locator("#lesion-panel [data-again]").wait_for()
    assert "Lesion 2 could not be loaded" in page.inner_text("#lesion-panel")
    assert page.evaluate(OUTSIDE) == []


def test_the_save_button_covers_no_choice_at_1280_by_800(case, page):
    case.open(1)
    case.give(1, 4, "keys")
    case.wait_for_told("Saved")
    page.click("summary:has-text('Give another class')")
    save = page.locator("[data-save]").bounding_box()
    for choice in page.locator(".radio-keys__option").all():
        box = choice.bounding_box()
        assert box["y"] + box["height"] <= save["y"] or box["y"] >= save["y"] + save["height"]


# -- scripts --------------------------------------------------------------------------------------


def test_every_script_is_loaded_once(case, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    case.open(1)
    scripts = [url.split("/")[-1] for url in asked if url.split("?")[0].endswith(".js")]
    assert "dialogs.js" in scripts
    assert len(scripts) == len(set(scripts))


def test_an_element_that_took_the_place_of_a_polled_one_is_polled_once(case, page):
    case.open(1)
    fragment = '<p id="{}" data-refresh-ms="150" data-refresh-url="/polled">polled</p>'
    held = []
    page.route("**/polled", lambda route: route.fulfill(body=fragment.format("later")))
    page.evaluate(
        """async ([html, address]) => {
          const { watch } = await import(address);
          const box = document.createElement('div');
          box.innerHTML = html;
          document.body.append(box);
          watch(box);
          window.watchAgain = () => watch(box);
        }""",
        [fragment.format("first"), page.get_attribute("link[href$='fragment.js']", "href")],
    )
    page.locator("#later").wait_for()
    # from now on no answer comes: what is polled once asks once and waits
    page.route("**/polled", lambda route: held.append(route))
    for _ in range(5):
        page.evaluate("window.watchAgain()")
    page.wait_for_timeout(600)
    assert len(held) == 1


def test_a_page_whose_scripts_did_not_all_come_says_so_and_works_as_one_without(case, page):
    page.route("**/hotkeys.js", lambda route: route.fulfill(status=404, body=""))
    page.goto(f"{case.address}/cases/{case.id}?lesion={case.lesions[1]}")
    page.locator("text=A part of this page did not arrive").wait_for()
    assert page.locator("button:has-text('Mark (pixels)')").is_visible()
    page.check("[name=lesion_class][value=cyst]", force=True)
    page.check("[name=confidence][value='4']", force=True)
    page.click("[data-save]")
    page.locator("text=Saved for lesion 2: cyst, confidence 4.").wait_for()
    assert case.reviews() == [(2, "cyst", 4)]


# -- without scripts ------------------------------------------------------------------------------


def test_without_scripts_a_lesion_is_marked_reviewed_and_withdrawn_and_a_case_corrected(
    case, installation, open_as
):
    plain = open_as("reader", scripts=False)
    plain.goto(f"{case.address}/cases/{case.id}?lesion={case.lesions[1]}")
    plain.check("[name=lesion_class][value=cyst]", force=True)
    plain.check("[name=confidence][value='4']", force=True)
    plain.click("[data-save]")
    plain.locator("text=Saved for lesion 2: cyst, confidence 4.").wait_for()
    assert case.reviews() == [(2, "cyst", 4)]
    for name, value in {"x": 30, "y": 30, "width": 30, "height": 30}.items():
        plain.fill(f"[name={name}]", str(value))
    plain.click("button:has-text('Mark (pixels)')")
    plain.locator("[data-panel][data-number='3']").wait_for()
    assert case.standing() == [1, 2, 3]
    plain.click("summary:has-text('Withdraw this lesion')")
    plain.click("[data-withdrawal] button")
    plain.locator("text=Lesion 3 was withdrawn.").wait_for()
    assert case.standing() == [1, 2]
    plain.click("summary:has-text('About this case')")
    plain.select_option("#about [name=contrast_phase]", "other")
    plain.click("button:has-text('Correct the phase')")
    plain.locator("text=corrected from portal to other").first.wait_for()
    plain.click("summary:has-text('About this case')")
    plain.fill("#about [name=pseudonym]", f"Room {case.id[:8]}")
    plain.click("button:has-text('Change the pseudonym')")
    plain.locator("h1", has_text=f"Room {case.id[:8]}").wait_for()
