"""The main job in a real browser on real images: upload, scroll, mark, review, score."""

from __future__ import annotations

import pytest

SIMULATED = "trained on simulated CT, no evidence about this patient"


def upload(page, files, phase="portal", pseudonym=""):
    if not page.locator("#files").is_visible():
        page.click(".upload summary")
    page.select_option("[name=contrast_phase]", phase)
    page.fill("[name=pseudonym]", pseudonym)
    page.set_input_files("#files", [str(file) for file in files])
    page.click("[data-upload] button.button--primary")


def open_uploaded(page):
    page.locator("[data-lines] a").first.wait_for()
    page.wait_for_load_state("networkidle")
    href = page.locator("[data-lines] a").first.get_attribute("href")
    page.goto(page.url.split("/cases")[0] + href)
    wait_for_slice(page)


def wait_for_slice(page):
    page.locator("[data-hud=slice]").wait_for()
    page.wait_for_function(
        "() => /\\d+\\/\\d+/.test(document.querySelector('[data-hud=slice]').textContent)"
    )


def slice_shown(page) -> str:
    return page.inner_text("[data-hud=slice]")


def drag(page, start, end):
    box = page.locator("#slice").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + start[0], y + start[1])
    page.mouse.down()
    page.mouse.move(x + (start[0] + end[0]) / 2, y + (start[1] + end[1]) / 2)
    page.mouse.move(x + end[0], y + end[1])
    page.mouse.up()


def mark_and_review(page):
    """Box by B and a drag, own class by keys; returns the panel's text before and after."""
    page.focus("#slice")
    page.keyboard.press("b")
    drag(page, (-60, -40), (0, 20))
    page.locator("[data-review]").wait_for()
    before = page.inner_text("#lesion-panel")
    assert page.locator("#lesion-panel .scores").count() == 0
    page.keyboard.press("2")
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    page.locator("#lesion-panel .lesion__answer").wait_for()  # one line of it, and all behind it
    assert not page.locator("#lesion-panel .scores").first.is_visible()
    page.locator("#lesion-panel .lesion__answer").click()
    page.locator("#lesion-panel .scores").first.wait_for()
    return before, page.inner_text("#lesion-panel")


@pytest.mark.parametrize(
    ("folder", "slices"), [("ct_liver_j2k", 20), ("ct_liver_series", 20), ("ct_liver_3slice", 3)]
)
def test_a_real_series_opens_scrolls_and_classifies(folder, slices, open_as, test_data):
    page = open_as("reader")
    files = sorted(path for path in (test_data / "dicom" / folder).rglob("*") if path.is_file())
    upload(page, files, pseudonym=f"real {slices}")
    open_uploaded(page)
    assert slice_shown(page).endswith(f"/{slices}")
    page.focus("#slice")
    before = slice_shown(page)
    page.keyboard.press("ArrowDown")
    page.wait_for_function(
        "(was) => document.querySelector('[data-hud=slice]').textContent !== was", arg=before
    )
    window = page.inner_text("[data-hud=window]")
    drag(page, (0, 0), (40, 30))  # window and level
    assert page.inner_text("[data-hud=window]") != window
    page.keyboard.press("Shift+3")
    assert "1800" in page.inner_text("[data-hud=window]")
    page.hover("#slice")
    assert "HU" in page.inner_text("[data-hud=value]")
    covered, scored = mark_and_review(page)
    assert "covered" in covered
    assert SIMULATED in scored
    assert "phantom-cnn" in scored


def test_a_picture_is_uploaded_marked_and_classified_as_uncalibrated(open_as, test_data):
    page = open_as("reader")
    picture = sorted((test_data / "ct_liver_lesions_jpg").rglob("*.jpg"))[0]
    upload(page, [picture])
    page.locator(".line--refused").wait_for()
    assert "pseudonym" in page.inner_text(".line--refused")  # what to do is said
    page.locator(".line--refused [data-dismiss]").click()
    upload(page, [picture], pseudonym="picture 1")
    open_uploaded(page)
    page.hover("#slice")
    assert page.locator("[data-hud=uncalibrated]").is_visible()
    assert "HU" not in page.inner_text("[data-hud=value]")
    _, scored = mark_and_review(page)
    assert SIMULATED in scored
    assert "no Hounsfield units" in scored


def test_in_a_batch_of_good_and_bad_files_each_line_says_what_became_of_it(
    open_as, test_data, tmp_path
):
    page = open_as("reader")
    (tmp_path / "notes.dcm").write_text("a letter that was given the wrong name, " * 10)
    good = next(p for p in (test_data / "dicom" / "ct_liver_3slice").rglob("*") if p.is_file())
    ultrasound = next((test_data / "dicom" / "transfer_syntaxes").glob("US*"))
    upload(page, [good, tmp_path / "notes.dcm", ultrasound], pseudonym="mixed")
    page.locator(".line--refused >> nth=1").wait_for()
    lines = page.locator("[data-lines] .line").all_inner_texts()
    assert sum("refused" in line for line in lines) == 2
    assert sum("accepted" in line for line in lines) == 1


def test_the_value_under_the_cursor_is_the_hu_of_that_pixel(open_as, installation):
    page = open_as("reader", at="/cases")
    page.click("table a:has-text('PHANTOM') >> nth=0")
    wait_for_slice(page)
    box = page.locator("#slice").bounding_box()
    for fraction in (0.4, 0.5, 0.62):
        page.mouse.move(box["x"] + fraction * box["width"], box["y"] + 0.5 * box["height"])
        place, value = page.inner_text("[data-hud=place]"), page.inner_text("[data-hud=value]")
        x, y = (int(part) for part in place.replace("x", "").replace("y", "").split())
        shown = page.evaluate(
            """async ([x, y]) => {
              const data = JSON.parse(document.getElementById('case-data').textContent);
              const number = document.getElementById('scrub').valueAsNumber;
              const image = data.series[0].images[number - 1];
              const reply = await fetch(`/images/${image.id}/pixels`);
              return new Int16Array(await reply.arrayBuffer())[y * image.columns + x];
            }""",
            [x, y],
        )
        assert int(value.replace("HU", "").replace("−", "-").strip()) == shown


def test_a_lesion_is_marked_by_keyboard_alone(open_as, installation):
    page = open_as("reader", at="/cases?filter=reviewed")
    page.click("table a[href^='/cases/'] >> nth=0")
    page.wait_for_url("**/cases/*-*")
    wait_for_slice(page)
    before = page.locator("[data-lesion-count]").inner_text()
    page.focus("#slice")
    for key in ("b", "ArrowRight", "ArrowDown", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_function(
        "(was) => document.querySelector('[data-lesion-count]').textContent !== was", arg=before
    )
