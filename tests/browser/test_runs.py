"""A run in a real browser: queued, taken by a real worker, watched, its report read."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error

import forked
from app.db import Database
from app.models import DatasetVersion, User
from app.models.runs.dataset import _zipped
from tests.browser.test_pages import NARROW, SIZES, overflows, serious_faults
from tests.browser.test_print import GOOD, on_paper
from tests.ml.discs import WORK, data_set

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]


@pytest.fixture
def version(installation, tmp_path):
    """Discs and rings as a frozen dataset version of the installation."""
    data_set(tmp_path / "discs")
    database = Database(installation.environment["HEPATICA_DATABASE_URL"])
    with database.transaction() as session:
        researcher = User.require(session, "researcher")
        frozen = DatasetVersion.freeze(session, researcher, _zipped(tmp_path / "discs"))
        return str(frozen.id)


LOOK = """() => {
  const box = document.querySelector("#run-progress");
  const bar = box?.querySelector("progress");
  return [box?.dataset.state ?? null, bar?.getAttribute("value") ?? null];
}"""


def seen_while(page, state: str) -> set[str]:
    """What the bar showed from now until the run is in ``state``, the page never left."""
    shown = set()
    for _ in range(4000):
        try:
            now, value = page.evaluate(LOOK)  # at one moment: the bar goes when the run is done
        except Error:  # and the page comes anew
            page.wait_for_load_state()
            continue
        if now == state:
            return shown
        if value is not None:
            shown.add(value)
        page.wait_for_timeout(100)
    raise AssertionError(f"the run did not come to {state}: {page.inner_text('main')}")


def test_a_run_is_queued_watched_and_its_report_read(open_as, installation, version, tmp_path):
    page = open_as("researcher", at="/runs")
    assert "No worker is running" in page.inner_text("main")
    page.select_option("[name=dataset]", version)
    page.click("text=Queue the run")
    page.wait_for_url("**/runs/*-*")
    assert "make worker" in page.inner_text("#run-progress")
    with (tmp_path / "worker.log").open("wb") as log:
        environment = {**installation.environment, "HEPATICA_RUNS_DIR": str(tmp_path / "runs")}
        worker = forked.program(WORK, env=environment, stdout=log.fileno(), stderr=log.fileno())
    try:
        assert seen_while(page, "running") == set()
        assert page.locator("text=No worker is running").count() == 0
        assert len(seen_while(page, "done")) > 2  # it moved by itself
    finally:
        worker.terminate()
        worker.wait(30)
    report = page.locator(".run-report")
    report.locator("text=Every choice").first.wait_for()  # all of it has come
    colours = report.locator("h2").first.evaluate(
        "(head) => [getComputedStyle(head).color, getComputedStyle(document.body).color]"
    )
    assert colours[0] == colours[1]  # the report's are the page's
    assert page.locator("a[href^='/checkpoints/run-']").count() >= 2
    assert on_paper(page) == GOOD  # the report with it
    assert "Every choice" in page.inner_text("main")
    page.emulate_media(media="screen")
    for width, height in [*SIZES, tuple(NARROW.values())]:
        page.set_viewport_size({"width": width, "height": height})
        for path in (page.url, f"{installation.address}/runs", f"{installation.address}/datasets"):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            assert not overflows(page), path
            assert serious_faults(page) == [], path
