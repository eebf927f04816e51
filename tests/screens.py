"""The pictures of the README, made from the application as it is: `make screens`.

A demo of its own is served from a folder that goes afterwards; Chromium does what a radiologist and
a reader do. The film is what the pages showed, each for as long as said here, and not the seconds
that this took.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from app import place
from app.models.people.user import DEMO_PASSWORD
from ml.phantom import SHIPPED, sample, series
from tests.browser.conftest import FLAGS, _chromium, _environment
from tests.browser.test_classify import drag, wait_for_slice
from tests.browser.test_desk import check_in

DESK = place.ROOT / "static/img/readme-desk.png"
FILM = place.ROOT / "static/img/readme-film.webp"
FILM_MS = 20_000
MOST_BYTES = {DESK: 200_000, FILM: 1_500_000}

_PATIENT = 4
_SIZE = {"width": 1280, "height": 800}
_FILM_SIZE = (960, 600)


@dataclass
class Film:
    """Pictures of a page with the time that each is shown, in ms."""

    frames: list[Image.Image] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)

    def take(self, page: Any, ms: int) -> None:
        """What the page shows now."""
        shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        self.frames.append(shown.resize(_FILM_SIZE, Image.Resampling.LANCZOS))
        self.durations.append(ms)

    def save(self, path: Path) -> None:
        """As an animated WebP; the last picture stays until the time is over."""
        rest = FILM_MS - sum(self.durations[:-1])
        assert rest > 0, f"{sum(self.durations)} ms of pictures for a film of {FILM_MS}"
        first, *others = self.frames
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=[*self.durations[:-1], rest],
            loop=0,
            quality=70,
            method=6,
            kmax=1,  # each picture by itself: nothing of the one before shows through
        )


@contextmanager
def _demo(folder: Path) -> Iterator[str]:
    """The address of a demo that is served until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app", "serve", "--demo", "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, **_environment(folder)})
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert server.poll() is None, "the demo ended"
            try:
                urllib.request.urlopen(f"{address}/health/ready", timeout=10)
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def _sign_in(browser: Any, address: str, name: str) -> Any:
    page = browser.new_context(viewport=_SIZE).new_page()
    page.goto(address)
    page.fill("[name=name]", name)
    page.fill("[name=password]", DEMO_PASSWORD)
    page.press("[name=password]", "Enter")
    page.locator("h1").wait_for()
    return page


def _classified(film: Film, page: Any, packed: Path) -> None:
    """Upload, scroll to the lesion, mark it, give a class, read the answer."""
    page.wait_for_url("**/cases")
    film.take(page, 1200)
    page.click(".upload summary")
    page.select_option("[name=contrast_phase]", "portal")
    page.set_input_files("#files", packed)
    film.take(page, 1300)
    page.click("[data-upload] button.button--primary")
    page.locator("[data-lines] a").first.wait_for()
    film.take(page, 1300)
    page.click("[data-lines] a")
    wait_for_slice(page)

    patient = series.patient(sample.SEED, index=_PATIENT, lesions=1, version=SHIPPED)
    truth = patient.slice(patient.lesions[0].key_slice)
    left, top, width, height = truth.box(1)
    rows, columns = truth.hu.shape
    while f"instance {truth.number}," not in page.inner_text("[data-hud=scanner]"):
        before = page.inner_text("[data-hud=slice]")
        film.take(page, 250)
        page.keyboard.press("ArrowDown")
        page.wait_for_function(
            "(was) => document.querySelector('[data-hud=slice]').textContent !== was", arg=before
        )
    film.take(page, 700)
    page.keyboard.press("b")
    shown = page.locator("#slice").bounding_box()
    scale = min(shown["width"] / columns, shown["height"] / rows)
    corner = (scale * (left - columns / 2), scale * (top - rows / 2))
    drag(page, corner, (corner[0] + scale * width, corner[1] + scale * height))
    page.locator("[data-review]").wait_for()
    film.take(page, 1800)
    for key in (str(1 + ["cyst", "metastasis", "hemangioma"].index(patient.lesion_class)), "4"):
        page.keyboard.press(key)
        film.take(page, 600)
    page.keyboard.press("Enter")
    page.locator("#lesion-panel .lesion__answer").first.wait_for()
    film.take(page, 2600)


def _read(film: Film, page: Any) -> None:
    """The desk, and some of its images."""
    film.take(page, 1000)
    page.get_by_role("link", name="Start").click()
    check_in(page)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=DESK)
    film.take(page, 1200)
    for number, keys in enumerate((("2", "c"), ("5", "h"), ("1", "m")), 1):
        for key in keys:
            page.keyboard.press(key)
            film.take(page, 450)
        page.keyboard.press("Enter")
        page.locator("[data-position]", has_text=str(number + 1)).wait_for()
        page.wait_for_load_state("networkidle")
        film.take(page, 600)


def main() -> None:
    """Make both pictures; a picture that is larger than it may be is an error."""
    film = Film()
    with tempfile.TemporaryDirectory() as folder, _demo(Path(folder)) as address:
        packed = Path(folder) / "hepatica-sample-phantom.zip"
        packed.write_bytes(sample.zipped(_PATIENT))
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=_chromium(), args=FLAGS)
            _classified(film, _sign_in(browser, address, "reader"), packed)
            _read(film, _sign_in(browser, address, "blind-reader"))
            browser.close()
    film.save(FILM)
    for path, most in MOST_BYTES.items():
        size = path.stat().st_size
        print(f"{path.relative_to(place.ROOT)}: {size / 1000:.0f} kB")
        assert size <= most, f"{path} has {size} bytes, {most} are the most"


if __name__ == "__main__":
    main()
