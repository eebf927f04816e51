"""The whole path of a radiologist, by keyboard, by mouse, and by touch alone: sign in, upload,
mark, give a class, read the answer, go on. Each way is one story, of an account of its own.

By keyboard it is the guide that is walked: its keys are pressed in the order in which it names
them, and what it names in bold is looked for. Names and passwords are typed in every way.
"""

from __future__ import annotations

import re

import pytest

from app.models import User
from app.models.people.user import DEMO_PASSWORD
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.wish import Wish
from ml.lesion import LIVER
from tests.browser.guide import Step, steps_of
from tests.browser.test_classify import drag, slice_shown, wait_for_slice
from tests.browser.test_desk import check_in, commit
from tests.browser.test_pages import serious_faults
from tests.browser.waits import type_all_of, wait_until_it_says


@pytest.fixture
def sample(open_as, newcomer, installation, tmp_path):
    """The sample of the guide, on the person's own disk."""
    page = open_as(newcomer, at=None)
    path = tmp_path / "hepatica-sample-phantom.zip"
    path.write_bytes(page.request.get(f"{installation.address}/guide/sample.zip").body())
    return path


def sign_in(page, name: str) -> None:
    """The form has the focus: a name, a password, and Enter."""
    page.locator("[name=name]:focus").wait_for()
    type_all_of(page, name)
    page.keyboard.press("Tab")
    page.locator("[name=password]:focus").wait_for()
    type_all_of(page, DEMO_PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases")


def tab_to(page, selector: str, most: int = 150) -> None:
    """Press Tab until the first of what fits has the focus."""
    target = page.locator(selector).first
    target.wait_for()
    for _ in range(most):
        if target.evaluate("(one) => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{most} times Tab, and {selector} never had the focus")


def hand_over(page, file) -> None:
    """Whatever dialog of the system asks for files from now on is given this one."""
    page.on("filechooser", lambda chooser: chooser.set_files(file))


def wait_for_files(page) -> None:
    page.wait_for_function("() => document.getElementById('files').files.length > 0")


def wait_for_another(page, shown: str) -> None:
    """Until another slice than ``shown`` is there, and not only on its way."""
    page.wait_for_function(
        """(was) => {
          const { textContent } = document.querySelector('[data-hud=slice]');
          return textContent !== was && !textContent.includes('loading');
        }""",
        arg=shown,
    )


def marked(page) -> int:
    return int(page.inner_text("[data-lesion-count]"))


def has_answer(page) -> bool:
    return page.locator("#lesion-panel .lesion__answer").count() > 0


def has_on_screen(page, name: str) -> bool:
    """Whether a control or a text of that name can be seen."""
    words = re.compile(rf"\b{re.escape(name)}\b", re.I)
    controls = [
        page.get_by_role(role, name=words) for role in ("button", "link", "radio", "combobox")
    ]
    found = [*controls, page.get_by_label(words), page.get_by_text(words)]
    return any(one.is_visible() for locator in found for one in locator.all())


def see(page, step: Step) -> None:
    """What the step names is there."""
    for name in step.names:
        assert has_on_screen(page, name), f"{step.key}: {name} is not to be seen"


def walk(page, step: Step) -> None:
    """See what the step names, then press its keys in their order."""
    see(page, step)
    for key in step.keys:
        page.keyboard.press(key)


@pytest.mark.long
def test_the_guide_is_walked_by_keyboard_alone(open_as, newcomer, sample, installation):
    page = open_as(None, at="/sessions/new")
    hand_over(page, sample)
    sign_in(page, newcomer)
    tab_to(page, "footer a[href='/guide']")
    page.keyboard.press("Enter")
    tab_to(page, "a[href='/guide/radiologist']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/guide/radiologist")
    steps = {step.key: step for step in steps_of(page.content())}
    assert list(steps) == [
        "upload", "open", "scroll", "measure", "mark", "review", "answer", "next",
    ]  # fmt: skip

    tab_to(page, ".guide a[href='/cases']")
    page.keyboard.press("Enter")
    tab_to(page, ".upload summary")
    page.keyboard.press("Enter")
    walk(page, steps["upload"])
    tab_to(page, "[name=contrast_phase]")
    page.keyboard.type("por")
    tab_to(page, "#files")
    page.keyboard.press("Space")
    wait_for_files(page)
    tab_to(page, "[data-upload] button.button--primary")
    page.keyboard.press("Enter")
    walk(page, steps["open"])
    tab_to(page, "[data-lines] a")
    assert serious_faults(page) == []
    page.keyboard.press("Enter")
    wait_for_slice(page)

    # `?` tells the keys, and gives the focus back
    page.keyboard.press("?")
    page.locator("#keys[open]").wait_for()
    assert serious_faults(page) == []
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "slice"

    first = slice_shown(page)
    page.keyboard.press("ArrowDown")
    wait_for_another(page, first)
    walk(page, steps["scroll"])
    assert "W 400 L 40" not in page.inner_text("[data-hud=window]")  # R has reset it
    walk(page, steps["measure"])
    walk(page, steps["mark"])
    page.locator("text=marked on slice").wait_for()  # the panel moves no more
    page.locator("[data-review]").wait_for()
    assert marked(page) == 1
    assert not has_answer(page)
    walk(page, steps["review"])
    page.locator("#lesion-panel .lesion__answer").first.wait_for()
    walk(page, steps["answer"])
    assert "metastasis" in page.inner_text("#lesion-panel")
    assert serious_faults(page) == []

    # a second one, and back to the first
    for key in steps["mark"].keys:
        page.keyboard.press(key)
    wait_until_it_says(page, "[data-lesion-count]", "2")
    wait_until_it_says(page, "#lesion-title", "Lesion 2")
    walk(page, steps["next"])
    wait_until_it_says(page, "#lesion-title", "Lesion 1")
    tab_to(page, ".case__head [data-to-list]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases")
    assert "metastasis" in page.locator("tbody tr", has_text="PHANTOM-20261128").inner_text()


@pytest.mark.long
def test_the_path_by_mouse_alone(open_as, newcomer, sample):
    page = open_as(None, at="/sessions/new")
    hand_over(page, sample)
    sign_in(page, newcomer)
    page.click(".upload summary")
    page.select_option("[name=contrast_phase]", "portal")  # a list of the system's own
    page.click("#files")
    wait_for_files(page)
    page.click("[data-upload] button.button--primary")
    page.click("[data-lines] a")
    wait_for_slice(page)
    first = slice_shown(page)
    page.hover("#slice")
    page.mouse.wheel(0, 120)
    wait_for_another(page, first)
    page.click("[data-do=box]")
    drag(page, (-70, -50), (10, 30))
    page.locator("text=marked on slice").wait_for()  # the panel moves no more
    page.locator("[data-review]").wait_for()
    assert not has_answer(page)
    page.click(".review .radio-keys__option:has-text('cyst')")
    page.click(".review .radio-keys__option:has([name=confidence][value='4'])")
    page.click("[data-save]")
    page.locator("#lesion-panel .lesion__answer").first.wait_for()
    page.click("[data-panel] details summary >> nth=0")
    assert serious_faults(page) == []
    page.click("[data-dialog=keys] >> nth=0")
    page.locator("#keys[open]").wait_for()
    page.click("#keys [aria-label=Close]")
    page.locator("#keys").wait_for(state="hidden")
    page.click(".case__head [data-to-list]")
    page.wait_for_url("**/cases")
    page.click(".chip:has-text('Without my class')")
    assert page.locator("tbody tr", has_text="PHANTOM-20261128").count() == 0


def tap_the_bar(page, part: float) -> None:
    """The bar of slices, at a part of its length."""
    box = page.locator("#scrub").bounding_box()
    page.tap("#scrub", position={"x": box["width"] / 2, "y": part * box["height"]})


Place = tuple[float, float]
"""Pixels to the right of the picture's middle, and down from it."""


def swipe(page, *ways: tuple[Place, Place]) -> None:
    """Fingers over the picture, each from one place to another."""
    box = page.locator("#slice").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    device = page.context.new_cdp_session(page)

    def touch(kind: str, *places: Place) -> None:
        points = [{"x": x + right, "y": y + down} for right, down in places]
        device.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", *(start for start, _ in ways))
    for part in (0.25, 0.5, 0.75, 1.0):
        places = [(a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])) for a, b in ways]
        touch("touchMove", *places)
    touch("touchEnd")


def tap_until(page, selector: str, then: str) -> None:
    """Chromium drops a tap that comes right after a swipe; one taps again, as with any screen."""
    for _ in range(20):
        if page.locator(selector).first.is_visible():  # else what it does is on its way
            page.tap(selector)
        page.wait_for_timeout(200)
        if page.locator(then).count():
            return
    raise AssertionError(f"{selector} was tapped, and no {then} came")


@pytest.mark.long
def test_the_path_by_touch(open_as, newcomer, sample):
    page = open_as(None, at="/sessions/new", width=1180, height=820, touch=True)
    hand_over(page, sample)
    sign_in(page, newcomer)
    page.tap(".upload summary")
    page.select_option("[name=contrast_phase]", "portal")
    page.tap("#files")
    wait_for_files(page)
    page.tap("[data-upload] button.button--primary")
    page.tap("[data-lines] a")
    wait_for_slice(page)
    first = slice_shown(page)
    tap_the_bar(page, 0.25)
    wait_for_another(page, first)
    window, zoom = page.inner_text("[data-hud=window]"), page.inner_text("[data-hud=zoom]")
    swipe(page, ((0, 0), (60, 20)))
    assert page.inner_text("[data-hud=window]") != window
    assert page.inner_text("[data-hud=zoom]") == zoom
    window = page.inner_text("[data-hud=window]")
    swipe(page, ((-40, 0), (-120, 0)), ((40, 0), (120, 0)))
    assert int(page.inner_text("[data-hud=zoom]").split()[0]) > 2 * int(zoom.split()[0])
    assert page.inner_text("[data-hud=window]") == window
    tap_until(page, "[data-do=reset]", f"[data-hud=zoom]:text-is('{zoom}')")
    tap_until(page, "[data-do=box]", "[data-do=box][aria-pressed=true]")
    swipe(page, ((-70, -50), (10, 30)))
    page.locator("text=marked on slice").wait_for()  # the panel moves no more
    page.locator("[data-review]").wait_for()
    assert not has_answer(page)
    hemangioma = "[name=lesion_class][value=hemangioma]:checked"
    tap_until(page, ".review .radio-keys__option:has-text('hemangioma')", hemangioma)
    page.tap(".review .radio-keys__option:has([name=confidence][value='3'])")
    page.tap("[data-save]")
    page.locator("#lesion-panel .lesion__answer").first.wait_for()
    assert "hemangioma" in page.inner_text("#lesion-panel")
    tap_until(page, "[data-do=length]", "[data-do=length][aria-pressed=true]")
    swipe(page, ((-60, 0), (0, 0)))
    tap_until(page, "text=Keep with lesion 1", "[data-kept]")
    tap_the_bar(page, 0.75)
    page.tap("[data-do=circle]")
    swipe(page, ((60, 60), (90, 60)))
    wait_until_it_says(page, "#lesion-title", "Lesion 2")
    page.tap("[data-do=previous]")
    wait_until_it_says(page, "#lesion-title", "Lesion 1")
    page.tap(".case__head [data-to-list]")
    page.wait_for_url("**/cases")


@pytest.mark.long
def test_the_expert_readers_guide_is_walked_at_the_desk(
    open_as, newcomer, installation, database, inference
):
    with database.transaction() as session:
        researcher = User.require(session, "researcher")
        wish = Wish(title="Walked by the guide", scheme=LIVER, real=3, synthetic=3, seed=3)
        study = ReaderStudy.compose(session, researcher, wish)
        study.open(session, researcher, study.pictures(session, inference.draw))
        study.enrol(session, User.require(session, newcomer), researcher)
    page = open_as(newcomer, at="/guide/expert-reader")
    steps = {step.key: step for step in steps_of(page.content())}
    assert list(steps) == ["readings", "conduct", "answer", "saved", "pause", "keys"]
    page.click(".guide a[href='/readings']")
    walk(page, steps["readings"])
    page.get_by_role("link", name="Start").click()
    page.wait_for_selector("[data-conduct]")
    walk(page, steps["conduct"])
    check_in(page)
    desk = page.url
    see(page, steps["answer"])
    *keys, last = steps["answer"].keys
    assert last == "Enter"
    commit(page, *keys)
    assert page.inner_text("[data-position]") == "2"
    wait_until_it_says(page, "[data-saved]", re.compile("^saved$"))
    *away, back = steps["pause"].keys
    for key in away:
        page.keyboard.press(key)
    assert page.is_visible("[data-cover]")
    assert serious_faults(page) == []
    page.keyboard.press(back)
    assert page.is_hidden("[data-cover]")
    listing, close = steps["keys"].keys
    page.keyboard.press(listing)
    page.locator("#desk-keys[open]").wait_for()
    assert serious_faults(page) == []
    page.keyboard.press(close)
    page.goto(f"{installation.address}/readings")
    page.get_by_role("link", name="Continue").click()
    assert page.url == desk
    assert page.inner_text("[data-position]") == "2"
