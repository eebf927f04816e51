"""The path of a radiologist in Firefox, which hospitals use as well as Chromium."""

from __future__ import annotations

import pytest

from app.models.people.user import DEMO_PASSWORD
from ml.phantom import sample
from tests.browser import marionette
from tests.browser.marionette import ESCAPE, Firefox

pytestmark = pytest.mark.long

IS_ANOTHER = """
  const textContent = document.querySelector('[data-hud=slice]')?.textContent ?? '';
  return textContent !== arguments[0] && !textContent.includes('loading');
"""
SLICE = "return document.querySelector('[data-hud=slice]').textContent"


@pytest.mark.skipif(
    marionette.firefox() is None, reason="no Firefox: `make setup-browser` installs it"
)
def test_upload_mark_class_and_answer_in_firefox(installation, newcomer, tmp_path):
    packed = tmp_path / "sample.zip"
    packed.write_bytes(sample.zipped(1))
    profile = tmp_path / "profile"
    profile.mkdir()
    with Firefox.started(profile) as browser:
        browser.go(f"{installation.address}/sessions/new")
        browser.type("[name=name]", newcomer)
        browser.type("[name=password]", DEMO_PASSWORD)
        browser.click("main form button")
        browser.wait("return location.pathname === '/cases'")
        browser.press("?")
        browser.find("#keys[open]")
        browser.press(ESCAPE)
        browser.wait("return !document.querySelector('#keys').open")

        browser.click(".upload summary")
        browser.type("[name=contrast_phase]", "portal")
        browser.type("#files", str(packed))
        browser.click("[data-upload] button.button--primary")
        browser.click("[data-lines] a")
        browser.wait(IS_ANOTHER, "")
        first = browser.tell(SLICE)
        browser.press(marionette.DOWN)
        browser.wait(IS_ANOTHER, first)
        browser.press("b")
        browser.drag("#slice", (-60, -40), (0, 20))
        browser.find("[data-review]")
        assert not browser.tell("return document.querySelector('#lesion-panel .lesion__answer')")
        browser.press("2", "4", marionette.ENTER)
        browser.find("#lesion-panel .lesion__answer")
        assert "metastasis" in browser.tell(
            "return document.getElementById('lesion-panel').innerText"
        )
        assert browser.tell("return document.querySelector('[data-lesion-count]').innerText") == "1"
