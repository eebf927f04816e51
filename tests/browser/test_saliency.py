"""The map of what moves the score in a browser: off until its key, chosen anew, gone by its key."""

from __future__ import annotations

from contextlib import closing

import pytest
from browser.test_pages import overflows, serious_faults
from browser.waits import wait_until_it_says
from wire import TwoLesions

MAP = "[data-saliency]"


@pytest.fixture
def case(page, installation):
    with closing(TwoLesions(page, installation, lesions=0)) as made:
        # whose Grad-CAM is not empty
        made.lesions = [made.mark(made.images[0], 44, 40)]
        yield made


def _review(case, page) -> None:
    case.open(1)
    page.focus("#slice")
    case.wait_until_it_listens()
    page.keyboard.type("14")
    page.keyboard.press("Enter")
    case.wait_for_told("Saved for lesion 1")


def _pictures(page) -> list[str]:
    """The addresses of the two pictures of the map, once they are here."""
    page.wait_for_function(
        f"() => [...document.querySelectorAll('{MAP} img')]"
        ".filter((one) => one.complete && one.naturalWidth === 64).length === 2"
    )
    return page.eval_on_selector_all(
        f"{MAP} img", "all => all.filter((one) => one.naturalWidth === 64).map((one) => one.src)"
    )


def test_a_key_turns_the_map_on_and_off_and_it_is_off_by_default(case, page) -> None:
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/saliency" in one.url else None)
    case.open(1)
    page.focus("#slice")
    page.keyboard.press("m")  # there is no score yet: one's own class comes first
    wait_until_it_says(page, "#viewer-says", "No score is shown here")
    _review(case, page)
    assert page.locator(f"{MAP}[open]").count() == 0 and asked == []

    page.focus("#slice")
    for is_open in (True, False):  # the line of the answer has a key of its own
        page.keyboard.press("a")
        assert page.locator("[data-answer][open]").count() == is_open
    page.keyboard.press("m")
    wait_until_it_says(page, MAP, "Maps of networks with random weights")
    wait_until_it_says(page, MAP, "not why the class was named")
    assert len(_pictures(page)) == 2
    assert serious_faults(page) == [] and not overflows(page)
    assert page.locator(f"{MAP} summary").first.evaluate(
        "one => one.getBoundingClientRect().bottom <= innerHeight"
    )
    page.keyboard.press("m")
    page.locator(f"{MAP}:not([open])").wait_for()
    pieces = [one for one in asked if "saliency?" in one]
    page.keyboard.press("m")
    page.locator(f"{MAP}[open] img").first.wait_for()
    assert [one for one in asked if "saliency?" in one] == pieces  # it is there still


def test_another_class_and_another_way_come_in_its_place_and_the_keyboard_stays(case, page) -> None:
    _review(case, page)
    page.focus("#slice")
    page.keyboard.press("m")
    chips = page.locator(f"{MAP} .chip")
    chips.first.wait_for()
    before = _pictures(page)
    page.locator(f"{MAP} .chip", has_text="hemangioma").focus()
    page.keyboard.press("Enter")
    chosen = page.locator(f"{MAP} .chip[aria-current]", has_text="hemangioma")
    chosen.wait_for()
    assert chosen.evaluate("one => one === document.activeElement")
    page.locator(f"{MAP} .chip", has_text="gradient").click()
    page.locator(f"{MAP} .chip[aria-current]", has_text="gradient").wait_for()
    wait_until_it_says(page, MAP, "speaks against hemangioma")
    assert page.locator(f"{MAP} .chip[aria-current]").all_inner_texts() == [
        "hemangioma", "gradient × input",
    ]  # fmt: skip
    assert set(_pictures(page)) != set(before)
    assert "/cases/" in page.url  # the links changed the piece, not the page


def test_the_key_is_in_the_list_of_keys(case, page) -> None:
    case.open(1)
    page.focus("#slice")
    page.keyboard.press("?")
    row = page.locator("#keys-list .keys__row", has_text="Map of what moves the score")
    assert row.locator("kbd").all_inner_texts() == ["M"]


def test_a_refusal_is_said_in_the_place_of_the_map(case, page) -> None:
    _review(case, page)
    words = "a map would be of another one."
    page.route("**/saliency?*", lambda route: route.fulfill(
        status=422, content_type="application/problem+json",
        body=f'{{"title": "Unreadable", "detail": "{words}"}}'))  # fmt: skip
    page.focus("#slice")
    page.keyboard.press("m")
    wait_until_it_says(page, MAP, words)


def test_without_scripts_the_map_is_a_link_to_a_page(case, page, open_as) -> None:
    _review(case, page)
    plain = open_as("reader", scripts=False, at=None)
    plain.goto(f"{case.address}/cases/{case.id}?lesion={case.lesions[0]}")
    plain.click(".lesion__answer")
    plain.click(f"{MAP} summary")
    plain.click(f"{MAP} a")
    plain.locator("h1", has_text="Lesion 1: what moves the").wait_for()
    assert plain.locator(".saliency img").count() == 2
    plain.click("a.chip:has-text('gradient')")
    plain.locator("a.chip[aria-current]:has-text('gradient')").wait_for()
