"""Dropping files in a real browser: asked once for what is missing, told by case and by reason."""

from __future__ import annotations

import base64

import pytest
import sqlalchemy as sa

from app.models import Case
from factories import make_dicom, make_hu, make_png, make_zip
from tests.browser.test_pages import overflows, serious_faults
from tests.browser.waits import wait_until_it_says

DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const { name, content } of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  return transfer;
}"""


def drop(page, files):
    """Drop {name: bytes} anywhere on the page."""
    told = [{"name": n, "content": base64.b64encode(b).decode()} for n, b in files.items()]
    transfer = page.evaluate_handle(DROP, told)
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def series(study, count=20, patient_id=""):
    """An anonymised series: {name: bytes}."""
    return {
        f"{study}-{number}.dcm": make_dicom(
            make_hu(number, side=64), study=study, number=number, z=2.0 * number,
            patient_id=patient_id,
        )
        for number in range(1, count + 1)
    }  # fmt: skip


def lines(page) -> list[str]:
    return page.locator("[data-lines] > *").all_inner_texts()


def fields(page):
    return page.locator("[data-ask-fields] input")


def send_again(page):
    page.get_by_role("button", name="Upload again").click()


def settled(page, words):
    """Wait until the summary says it."""
    wait_until_it_says(page, "[data-summary]", words, "[data-lines]")


@pytest.fixture
def page(open_as):
    return open_as("reader")


def test_twenty_files_without_a_patient_are_asked_about_once_and_not_chosen_again(page):
    drop(page, series("asked once"))
    fields(page).wait_for()
    [line] = lines(page)
    assert "20 files name no patient" in line
    assert fields(page).count() == 1
    assert serious_faults(page) == []
    assert not overflows(page)

    fields(page).fill("no such letter?")
    send_again(page)
    page.locator("[data-ask-problem]", has_text="1 to 40 letters").wait_for()
    assert fields(page).input_value() == "no such letter?"

    fields(page).fill("asked once")
    page.select_option("#ask-phase", "portal")
    send_again(page)
    settled(page, "20 files accepted")
    page.locator("[data-lines] > *", has_text="asked once").wait_for()
    [line] = lines(page)
    assert "20 files accepted" in line
    page.locator("[data-lines] a").click()
    page.wait_for_url("**/cases/*")
    assert "asked once" in page.inner_text("h1")


def test_a_zip_of_two_studies_is_asked_about_by_study_and_phase(page, database):
    """A phase for all, another for one, and one that is put right in the line of its study."""
    one, two = series("zipped one", 3), series("zipped two", 4)
    drop(page, {"both.zip": make_zip({f"a/{n}": b for n, b in one.items()} | two)})
    fields(page).nth(1).wait_for()
    assert "They are of 2 studies" in lines(page)[0]
    page.select_option("#ask-phase", "portal")
    page.locator("[data-ask-fields] select").nth(1).select_option("other")
    assert serious_faults(page) == []
    assert not overflows(page)
    fields(page).nth(0).fill("zipped one")
    send_again(page)  # the other is still held
    settled(page, "3 files accepted, 4 wait for a pseudonym")
    assert fields(page).count() == 1
    assert page.locator("#ask-phase").input_value() == "other"
    fields(page).fill("zipped two")
    send_again(page)
    settled(page, "7 files accepted")
    for name, files, phase in (("zipped one", 3, "portal"), ("zipped two", 4, "other")):
        line = page.locator("[data-lines] > *", has_text=name)
        line.wait_for()
        assert f"{files} files accepted" in line.inner_text()
        assert line.get_by_label(f"Contrast phase of {name}").input_value() == phase
    line.get_by_label("Contrast phase of zipped two").select_option("portal")
    line.get_by_text("The contrast phase is not portal").wait_for(state="detached")
    assert serious_faults(page) == []
    with database.reading() as session:
        found = sa.select(Case.pseudonym, Case.contrast_phase).where(
            Case.pseudonym.like("zipped ___")
        )
        phases = dict(session.execute(found).all())
    assert phases == {"zipped one": "portal", "zipped two": "portal"}


def test_what_was_here_already_is_named(page):
    known = series("known", 2, patient_id="known 1")
    drop(page, known)
    settled(page, "2 files accepted")
    drop(page, known | series("known", 3, patient_id="known 1"))
    settled(page, "5 files accepted, 2 of them were here already")
    [line] = lines(page)
    assert "2 of 5 were here already and stay as they are" in line


def test_a_case_is_named_at_once_and_what_is_done_in_the_work_list_stays_when_it_comes(page):
    drop(page, series("ticked", count=1, patient_id="ticked"))
    settled(page, "1 file accepted")
    held = []
    page.route(
        "**/cases*",
        lambda route: held.append(route) if route.request.method == "GET" else route.continue_(),
    )
    ticks = page.locator("#worklist input[name=case]")
    ticks.nth(1).check()
    chosen = ticks.nth(1).get_attribute("value")
    page.fill("#search", "half a na")
    drop(page, series("focus kept", count=1, patient_id="focus kept"))
    link = page.locator("[data-lines] a").last
    link.focus()
    name = page.locator("[data-lines] [data-name]").last.inner_text()
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    row = page.locator("#worklist tr", has=page.get_by_role("link", name=name, exact=True))
    row.wait_for()
    assert page.locator("#worklist input[name=case]:checked").evaluate_all(
        "(all) => all.map((one) => one.value)"
    ) == [chosen]
    assert page.inner_text("[data-chosen-count]") == "1 chosen"
    assert page.input_value("#search") == "half a na"
    page.unroute("**/cases*")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases/*")
    assert name in page.inner_text("h1")


def test_a_case_that_the_list_does_not_show_is_called_by_its_pseudonym(page, installation):
    page.goto(f"{installation.address}/cases?search=nobody+is+called+so")
    drop(page, series("hidden", count=2) | series("seen", count=1, patient_id="hidden 1"))
    fields(page).fill("hidden here")
    send_again(page)
    settled(page, "3 files accepted")
    told = " ".join(lines(page))
    assert "hidden here" in told and "Case" not in told
    assert page.get_by_label("Contrast phase of hidden here").count() == 1


def test_nothing_is_done_with_chosen_cases_before_one_is_ticked(open_as):
    page = open_as("reader", at="/cases?order=pseudonym&down=0")
    button = page.locator("[data-chosen]")
    assert button.get_attribute("aria-disabled") == "true"
    page.keyboard.press("Tab")
    button.focus()  # its reason can be heard
    described = button.get_attribute("aria-describedby")
    assert page.inner_text(f"#{described}") == "Tick cases first."
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.url.endswith("/cases?order=pseudonym&down=0")
    page.locator("#worklist input[name=case]").first.check()
    assert button.get_attribute("aria-disabled") == "false"
    button.click()
    page.locator("h1", has_text="1 chosen case").wait_for()
    page.get_by_role("link", name="Work list").click()
    page.wait_for_url("**/cases?order=pseudonym&down=0")

    plain = open_as("reader", scripts=False, at="/cases?order=pseudonym&down=0")
    plain.click("[data-chosen]")
    assert plain.inner_text("h1") == "Nothing is chosen"
    plain.get_by_role("link", name="Back to the list").click()
    assert plain.url.endswith("/cases?order=pseudonym&down=0")


def test_files_with_one_reason_share_a_line_that_lists_them(page):
    letters = {f"letter {n}.dcm": b"a letter that was given the wrong name " * 10 for n in range(7)}
    drop(page, letters | {"empty.dcm": b""})
    settled(page, "8 refused")
    shared = next(text for text in lines(page) if "7 files" in text)
    assert "The file is text" in shared
    page.locator("summary", has_text="7 files").click()
    assert "letter 3.dcm" in page.inner_text("[data-lines]")
    assert any("empty.dcm" in text and "0 bytes" in text for text in lines(page))


def test_files_that_could_not_be_sent_are_held_and_sent_again(page):
    page.context.set_offline(True)
    drop(page, series("held", 3, patient_id="held 1"))
    settled(page, "3 without an answer")
    assert "still held here" in lines(page)[0]
    page.context.set_offline(False)
    page.get_by_role("button", name="Send again").click()
    settled(page, "3 files accepted")
    assert len(lines(page)) == 1


def test_files_whose_answer_was_lost_are_not_called_not_stored(page):
    """The server has them; only its answer does not arrive, or a proxy answers in its place."""
    ends = {
        "lost": lambda route: route.abort("connectionreset"),
        "proxy": lambda route: route.fulfill(status=504, body="<h1>Gateway Timeout</h1>"),
    }
    name = ""

    def lose(route):
        if route.request.method != "POST":
            route.continue_()
            return
        assert route.fetch().ok
        ends[name](route)

    for name in ends:
        page.route("**/cases", lose)
        drop(page, series(name, 2, patient_id=f"{name} 1"))
        settled(page, "2 without an answer")
        [said] = [one for one in lines(page) if "no answer" in one]
        assert "may have been stored" in said and "othing of these files was stored" not in said
        page.unroute("**/cases")
        page.get_by_role("button", name="Send again").click()
        settled(page, "of them were here already")
        assert "All 2 were here already" in lines(page)[-1]
        page.locator("[data-clear]").click()


def test_a_pseudonym_that_is_another_patients_is_asked_for_again_with_the_phase(page):
    drop(page, series("taken", 1, patient_id="taken 1"))
    settled(page, "1 file accepted")
    taken = page.locator("[data-lines] [data-name]").inner_text()
    drop(page, series("one study", 2) | series("other study", 1))
    fields(page).nth(1).wait_for()
    fields(page).nth(0).fill(taken)
    page.locator("[data-ask-fields] select").nth(0).select_option("portal")
    fields(page).nth(1).fill("other study")
    send_again(page)
    settled(page, "2 files accepted, 2 wait for a pseudonym")
    assert f"{taken} is what a patient is called here" in page.inner_text("[data-ask-problem]")
    assert fields(page).input_value() == taken
    assert page.locator("#ask-phase").input_value() == "portal"
    assert serious_faults(page) == []
    fields(page).fill("not taken")
    send_again(page)
    settled(page, "4 files accepted")
    line = page.locator("[data-lines] > *", has_text="not taken")
    assert "2 files accepted" in line.inner_text()
    assert line.get_by_label("Contrast phase of not taken").input_value() == "portal"
    page.locator("[data-clear]").click()
    page.click(".upload summary")
    page.fill("#pseudonym", taken)  # typed before, for whatever names no patient
    drop(page, series("third study", 1))
    settled(page, "1 waits for a pseudonym")
    assert fields(page).input_value() == taken


def test_files_that_are_sent_again_keep_the_pseudonym_of_their_own_study(page, installation):
    drop(page, series("own one", 2) | series("own two", 3))
    fields(page).nth(1).wait_for()
    fields(page).nth(0).fill("own one")
    fields(page).nth(1).fill("own two")
    page.context.set_offline(True)
    send_again(page)
    settled(page, "5 without an answer")
    assert page.locator("[data-clear]").is_hidden()  # what is held stays
    page.context.set_offline(False)
    page.get_by_role("button", name="Send again").click()
    settled(page, "5 files accepted")
    page.goto(f"{installation.address}/cases")
    for name, slices in (("own one", "2"), ("own two", "3")):
        row = page.locator("#worklist tr", has=page.get_by_role("link", name=name, exact=True))
        assert slices in row.locator("td.number").all_inner_texts()


def test_pictures_that_name_no_study_are_said_to_count_as_one_patients(page):
    drop(page, {f"loose {n}.png": make_png(seed=900 + n) for n in range(3)})
    fields(page).wait_for()
    assert "all of them count as one patient's" in lines(page)[0]


def test_a_session_that_is_over_loses_no_file(page):
    cookies = page.context.cookies()
    page.context.clear_cookies()
    drop(page, series("over", 2, patient_id="over 1"))
    settled(page, "2 not sent")
    assert page.locator("[data-lines] a", has_text="sign in").count() == 1
    page.context.add_cookies(cookies)
    page.get_by_role("button", name="Send again").click()
    settled(page, "2 files accepted")


def test_without_scripts_an_upload_is_told_by_case_and_by_reason(open_as, tmp_path):
    page = open_as("reader", scripts=False)
    named = series("plain", 2, patient_id="plain 1")
    for name, content in (named | series("nameless", 3)).items():
        (tmp_path / name).write_bytes(content)
    page.click(".upload summary")
    page.set_input_files("#files", sorted(tmp_path.iterdir()))
    page.click("[data-upload] button.button--primary")
    page.wait_for_selector("#outcome")
    told = page.locator(".lines > *").all_inner_texts()
    assert len(told) == 2
    assert "3 files" in told[0]
    assert "the file names no patient" in told[0]
    assert "2 files accepted" in told[1]
    assert page.locator("#pseudonym").is_visible()


def test_files_that_are_held_here_are_not_left_behind_without_a_question(page, installation):
    """The link to a case that did arrive leads away from those that wait."""
    asked = []
    page.on("dialog", lambda one: (asked.append(one.type), one.dismiss()))
    drop(page, {**series("left behind", 2), **series("went on", 1, patient_id="went on 1")})
    settled(page, "1 file accepted, 2 wait for a pseudonym")
    page.locator("[data-lines] a", has_text="open").click()
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]
    fields(page).fill("Held")
    send_again(page)
    settled(page, "3 files accepted")
    page.locator("[data-lines] a", has_text="open").first.click()
    page.wait_for_url("**/cases/*")
    assert asked == ["beforeunload"]


def test_nothing_is_offered_to_dismiss_where_all_of_it_is_held(page):
    drop(page, series("dismissed", 2))
    settled(page, "2 wait for a pseudonym")
    assert page.locator("[data-clear]").is_hidden()
