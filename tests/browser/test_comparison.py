"""Comparing a lesion with others by one key, and looking at what a checkpoint got wrong."""

from __future__ import annotations

import uuid
from contextlib import closing

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from wire import TwoLesions

import kept_lesions
from app.db import Database
from app.models import Checkpoint, Lesion, Prediction

NAME = "browser-kept"


@pytest.fixture
def other(page, installation):
    """Two lesions of another patient."""
    with closing(TwoLesions(page, installation)) as made:
        yield made


@pytest.fixture
def kept(installation, inference, case, tmp_path):
    """A checkpoint that keeps its lesions and has classified those of the case; it is not served,
    so that what other tests see stays as it is."""
    database = Database(installation.environment["HEPATICA_DATABASE_URL"])
    folder = kept_lesions.saved(tmp_path / NAME, kept_lesions.lesions(), name=NAME)
    with database.transaction() as session:
        row = Checkpoint.register(session, folder, "tests", serve=False)
        for one in case.lesions:
            inference.classify(session, Lesion.require(session, uuid.UUID(one)), row)
    yield row
    with database.transaction() as session:
        session.execute(sa.delete(Prediction).where(Prediction.checkpoint_id == row.id))
        session.delete(session.get(Checkpoint, row.id))
    database.engine.dispose()


def review(made: TwoLesions, lesion: int) -> None:
    made.open(lesion)
    made.give(1, 4, "keys")
    made.wait_for_told(f"Saved for lesion {lesion}")


def panel_of(page, name: str):
    return page.locator(f"[data-compare]:has([data-loaded]) >> nth={0 if name == NAME else 1}")


def test_one_key_sets_a_lesion_beside_others_and_the_next_takes_them_away(kept, case, other, page):
    review(other, 1)
    review(other, 2)
    case.open(1)
    page.keyboard.press("l")  # covered until the own class is given: there is nothing to open
    assert page.locator("[data-compare]").count() == 0
    review(case, 1)
    page.focus("#slice")
    page.keyboard.press("l")
    beside = panel_of(page, NAME)
    beside.locator(".strip").first.wait_for()
    assert beside.get_attribute("open") is not None
    text = beside.inner_text()
    assert "Nearest reviewed lesions" in text and "reader, imaging only, confidence 4" in text
    assert "simulated, so known by construction" in text
    assert beside.locator("h4").count() == 3
    pictures = beside.locator("img.roi")
    for place in range(pictures.count()):
        pictures.nth(place).scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-compare][open] img')]"
        ".every((one) => one.complete && one.naturalWidth === 64)"
    )
    sizes = {
        (box["width"], box["height"]) for box in (one.bounding_box() for one in pictures.all())
    }
    assert len(sizes) == 1  # side by side at one size
    assert beside.locator(".strip").count() == 4
    found = Axe().run(page, context="[data-compare][open]")
    assert found.violations_count == 0, found.generate_report()
    page.keyboard.press("l")
    assert beside.get_attribute("open") is None


def test_without_a_script_it_is_a_page_of_its_own(kept, case, page, open_as, installation):
    review(case, 1)
    plain = open_as("reader", scripts=False, at=f"/cases/{case.id}?lesion={case.lesions[0]}")
    plain.locator(".lesion__answer").first.click()
    plain.locator("[data-compare] > summary").first.click()
    plain.get_by_role("link", name="Compare", exact=True).first.click()
    plain.wait_for_url("**/comparison?checkpoint=*")
    assert plain.locator("h2").first.inner_text() == "Nearest reviewed lesions"
    assert plain.locator(".beside img.roi").count() > 1


def test_what_a_checkpoint_got_wrong_has_its_pictures_on_a_page_of_its_own(
    kept, page, installation
):
    page.goto(f"{installation.address}/checkpoints/{NAME}")
    page.get_by_role("link", name="Look at them").click()
    page.wait_for_url(f"**/checkpoints/{NAME}/mistakes")
    pictures = page.locator(".mistakes img.roi")
    assert pictures.count() == 4
    page.wait_for_function(
        "() => [...document.querySelectorAll('.mistakes img')]"
        ".every((one) => one.complete && one.naturalWidth === 64)"
    )
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
