"""Lengths and values measured on a slice, the mouse's habits, and the film."""

from __future__ import annotations

import re
from contextlib import closing

import numpy as np
import pytest
from browser.test_pages import serious_faults
from wire import TwoLesions, Wire


@pytest.fixture
def case(page, installation):
    with closing(TwoLesions(page, installation)) as made:
        made.open(1)
        yield made


def told(page, words: str) -> str:
    page.locator("#viewer-says", has_text=words).wait_for(state="attached")
    return page.inner_text("#viewer-says")


def drag(page, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
    """From one place of the canvas to another, as shares of its sides."""
    frame = page.locator("#slice").bounding_box()
    places = [
        (frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]) for x, y in (start, end)
    ]
    page.mouse.move(*places[0])
    page.mouse.down(button=button)
    page.mouse.move(*places[1], steps=4)
    page.mouse.up(button=button)


def pixels(page) -> np.ndarray:
    """The slice on the screen, as the server sends it."""
    query = page.evaluate("new URLSearchParams(location.search).get('image')")
    image = query or page.evaluate(
        "JSON.parse(document.getElementById('case-data').textContent).lesions[0].image_id"
    )
    body = page.context.request.get(f"{page.url.split('/cases')[0]}/images/{image}/pixels").body()
    return np.frombuffer(body, np.int16)


def test_a_region_says_the_values_of_the_slice_and_is_taken_back(case, page):
    for _ in range(3):
        page.keyboard.press("-")  # so that the box can go around the whole slice
    page.keyboard.press("g")
    drag(page, (0.01, 0.01), (0.99, 0.99))
    values = pixels(page)
    said = told(page, "HU").replace("−", "-")
    mean, sd, low, high, n = re.match(
        r"(-?[\d.]+) ± ([\d.]+) HU, (-?\d+) to (-?\d+), .*?(\d+) px$", said
    ).groups()
    assert (float(mean), float(sd)) == (
        round(float(values.mean()), 1),
        round(float(values.std(ddof=1)), 1),
    )
    assert (int(low), int(high), int(n)) == (values.min(), values.max(), values.size)
    page.keyboard.press("Delete")
    told(page, "Deleted:")
    page.keyboard.press("Control+z")
    told(page, "Taken back")
    assert (
        page.locator("#lesion-list [data-lesion]").count() == 2
    )  # no lesion was marked or deleted


def test_the_mouse_is_as_the_person_is_used_to_here_and_on_the_next_page(case, page):
    window = page.inner_text("[data-hud=window]")
    zoom = page.inner_text("[data-hud=zoom]")
    drag(page, (0.5, 0.5), (0.5, 0.3), "right")
    assert page.inner_text("[data-hud=zoom]") != zoom
    assert page.inner_text("[data-hud=window]") == window
    page.keyboard.press("?")
    page.select_option("#mouse", "pacs")
    page.keyboard.press("Escape")
    page.reload()
    page.locator("[data-hud=window]", has_text="W").wait_for()
    drag(page, (0.5, 0.5), (0.6, 0.5), "right")
    changed = page.inner_text("[data-hud=window]")
    assert changed != window
    slice_now = page.inner_text("[data-hud=slice]")
    drag(page, (0.5, 0.5), (0.5, 0.6))
    page.locator("[data-hud=slice]").filter(has_not_text=slice_now).wait_for()
    assert page.inner_text("[data-hud=window]") == changed
    page.wait_for_timeout(600)  # the window is kept once it rests
    page.reload()
    page.locator("[data-hud=window]", has_text=changed).wait_for()


def test_the_film_plays_while_its_key_is_held(case, page):
    page.keyboard.press("Home")
    page.locator("[data-hud=slice]", has_text="slice 1/").wait_for()
    page.keyboard.down(".")
    page.locator("[data-hud=slice]", has_text=re.compile(r"slice ([3-9]|\d\d)/")).wait_for()
    page.keyboard.up(".")
    resting = page.inner_text("[data-hud=slice]")
    page.wait_for_timeout(400)
    assert page.inner_text("[data-hud=slice]") == resting


def test_a_measure_is_kept_with_a_lesion_by_key_and_button_and_taken_back(case, page):
    """One story: a lost connection, a reload, another lesion, deletion and its way back."""
    wire = Wire(page, r"/lesions/[^/]+/measures$", "POST", "fail")
    page.keyboard.press("e")
    drag(page, (0.5, 0.5), (0.56, 0.5))
    says = told(page, "HU").split(", ")[0]
    page.keyboard.press("k")
    page.locator("#unsent", has_text=f"The measure {says}").wait_for()
    wire.way = "pass"
    page.keyboard.press("t")
    page.locator("#panel-says", has_text=f"Kept with lesion 1: {says}").wait_for()
    assert page.locator("#unsent > *").count() == 0

    page.reload()
    case.wait_for_panel(1)
    page.click("[data-kept] > summary")
    entry = page.locator("[data-kept] li")
    assert entry.inner_text().startswith(says)
    assert serious_faults(page) == []
    page.keyboard.press("End")
    case.wait_for_slice(4)
    entry.locator("a").click()
    case.wait_for_slice(1)

    entry.locator("button").click()
    page.locator("#panel-says", has_text="was deleted from lesion 1").wait_for()
    assert page.locator("[data-kept]").count() == 0
    page.keyboard.press("Control+z")
    page.locator("#panel-says", has_text="is back with lesion 1").wait_for()

    case.go_to(2, "keys")
    case.wait_for_panel(2)
    page.keyboard.press("d")
    drag(page, (0.3, 0.7), (0.4, 0.7))
    told(page, "mm")
    page.keyboard.press("Escape")
    page.click("text=Keep with lesion 2")
    page.locator("#panel-says", has_text="Kept with lesion 2").wait_for()
    page.keyboard.press("Delete")  # it is chosen still: the kept one
    page.locator("#panel-says", has_text="was deleted from lesion 2").wait_for()
    page.keyboard.press("Control+z")
    page.locator("#panel-says", has_text="is back with lesion 2").wait_for()
    page.keyboard.press("Control+z")
    page.locator("#panel-says", has_text="Taken back: the measure is no longer kept").wait_for()
    page.keyboard.press("Control+z")
    told(page, "Taken back")
    assert page.locator("[data-kept]").count() == 0
