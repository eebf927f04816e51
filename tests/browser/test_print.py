"""Pages on paper: dark on white, nothing to press, no column lost."""

from __future__ import annotations

import secrets
import shutil

import pytest

import answered
import studies
from app.db import Database
from app.models import User
from app.models.people.user import DEMO_PASSWORD
from app.models.reader_studies.audit import Audited
from app.models.reader_studies.design import Design
from ml.experiment import report
from ml.lesion import LIVER

A4_PX = 703
"""Width between the margins, in CSS pixels."""
LOOK = """() => {
  const shown = (e) => e.checkVisibility() && e.getClientRects().length > 0;
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const words = [...document.querySelectorAll("body *")].filter((e) => shown(e)
    && !e.closest(".visually-hidden, svg")
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  const pale = words.filter((e) => 1.05 / (light(getComputedStyle(e).color) + 0.05) < 4.5);
  const pressed = [...document.querySelectorAll("button, .button, nav, iframe, .masthead")]
    .filter(shown);
  const cut = [...document.querySelectorAll(".table-wrap, .scroll")].filter((e) => shown(e)
    && (e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1));
  const alone = [...document.querySelectorAll("h2, h3")].filter((e) => shown(e)
    && getComputedStyle(e).breakAfter !== "avoid");
  return Object.fromEntries(Object.entries({ pale, pressed, cut, alone })
    .map(([name, list]) => [name, list.map((e) => e.outerHTML.slice(0, 120))]));
}"""


def on_paper(page, colours="dark"):
    """What is wrong with a page when it is printed."""
    page.set_viewport_size({"width": A4_PX, "height": 1000})
    page.emulate_media(media="print", color_scheme=colours)
    return page.evaluate(LOOK)


GOOD = {"pale": [], "pressed": [], "cut": [], "alone": []}


@pytest.fixture(scope="module")
def made(installation, inference):
    """Two studies: one that three readers have read, unblinded, and one that is open."""
    database = Database(installation.environment["HEPATICA_DATABASE_URL"])
    found = {}
    design = Design(repeats=4, repeat_distance=3, exclude_read=False)
    with database.transaction() as session:
        researcher = User.require(session, "researcher")
        again = secrets.token_hex(2)  # a process that comes back to these tests makes them anew
        readers = [
            User.add(session, f"paper-{n}-{again}", "reader", DEMO_PASSWORD) for n in range(3)
        ]
        for name, ended in (("printed", True), ("printed open", False)):
            study = studies.compose(
                session, researcher, title=name, scheme=LIVER, real=6, synthetic=6,
                design=design, draw=inference.draw,
            )  # fmt: skip
            pictures = study.pictures(session, inference.draw)
            study.audit(session, researcher, pictures, Audited.of(pictures))
            for reader in readers:
                studies.check_in(session, study.enrol(session, reader, researcher), study)
            study.open(session, researcher, pictures)
            if ended:
                for number in (1, 2, 3):
                    reading = answered.guessing(number, 0.5, LIVER.keys)
                    answered.answer(session, study, number, reading)
                answered.unblind(session, study, researcher)
            found[name] = f"/reader-studies/{study.id}"
    return found


@pytest.mark.long
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pages_are_dark_on_white_with_nothing_to_press_and_no_column_cut(
    theme, open_as, installation, made
):
    page = open_as("researcher")
    if theme == "light":
        page.click("[data-theme-toggle]")
    study = made["printed"]
    page.goto(f"{installation.address}{study}/results")
    page.wait_for_selector("h1:has-text('Results')", timeout=60_000)
    for address in (
        study, f"{study}/audit", f"{study}/results", f"{study}/results/images",
        made["printed open"], "/checkpoints/phantom-cnn", "/checkpoints",
        "/reader-studies/planner", "/cases", "/runs",
    ):  # fmt: skip
        page.goto(installation.address + address)
        page.wait_for_selector("h1")
        assert on_paper(page) == GOOD, address
        page.emulate_media(media="screen")


def test_an_open_study_prints_its_protocol_and_no_form(open_as, installation, made):
    page = open_as("researcher", at=made["printed open"])
    assert on_paper(page) == GOOD
    shown = page.inner_text("main")
    assert "I take part as a reader of my own will" in shown  # the texts that readers see
    for hidden in ("Why now", "Unblind and close", "Withdraw", "Amend the protocol"):
        assert hidden not in shown


def test_a_report_keeps_every_column_on_paper(chromium, finished_run, tmp_path):
    run = shutil.copytree(finished_run / "run", tmp_path / "run")
    for _ in report.write(run):
        pass
    page = chromium.new_page()
    page.goto((run / "report.html").as_uri())
    for colours in ("dark", "light"):
        assert on_paper(page, colours) == GOOD
    for word in ("sens. macro", "McNemar p per seed"):
        box = page.locator("th", has_text=word).first.bounding_box()
        assert box["x"] + box["width"] <= A4_PX
    page.close()
