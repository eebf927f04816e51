"""What a reader waits for in the viewer, in a real Chromium: the first picture of a case, the
frames while 500 slices are scrolled from the cache, the memory after 20 changes of the case."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.opening import first_picture, sign_in
from bench.requests import demo
from factories import make_dicom, make_hu, make_zip

SIDE_PX = 512
SLICES = 500
LARGE_PX = 4096
MANY = 2000
AT_A_TIME = 100
"""Slices in one upload."""
CHANGES = 20
STEPS = 490
FRAME_AIM_MS = 33

_SCROLL = """
async ([steps, by]) => {
  const canvas = document.getElementById("slice");
  const frames = [];
  let last = 0;
  for (let n = 0; n <= steps; n += 1) {
    const now = await new Promise(requestAnimationFrame);
    if (n > 0) frames.push(now - last);
    last = now;
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: by * 100, cancelable: true }));
  }
  return frames;
}
"""
"""One notch of the wheel each frame; the times between frames in ms."""

_OPENED = """
performance.getEntriesByName("slice-open").map(
  ({ startTime, duration, detail }) => [startTime + duration, duration, detail.cached])
"""
"""Of each slice that came to the screen: [when, after how long, whether from the cache], ms."""


def section() -> Iterator[str]:
    """The viewer's figures, against their aims."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        yield "no Chromium on this machine: `make setup-browser` installs it"
        return
    with demo("reader") as served, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        sign_in(page, served.address)
        cases = _cases(page)
        case = _uploaded(page, served.address, "many", SLICES, SIDE_PX)
        yield from _scrolled(page, f"{served.address}/cases/{case}")
        yield from first_picture(driver, path, served.address, cases)
        yield from _remembered(browser, page, [served.address + one for one in cases])
        case = _uploaded(page, served.address, "large", 3, LARGE_PX)
        yield from _large(page, f"{served.address}/cases/{case}")
        case = _uploaded(page, served.address, "very many", MANY, 64)
        yield from _many(page, f"{served.address}/cases/{case}")
        browser.close()


def _cases(page: Any) -> list[str]:
    links = page.locator("table a[href^='/cases/']")
    found: list[str] = links.evaluate_all("all => all.map((one) => one.getAttribute('href'))")
    return list(dict.fromkeys(found))


def _uploaded(page: Any, address: str, word: str, slices: int, side: int) -> str:
    """The id of a new case of so many square slices, each with noise of its own."""
    case = ""
    for first in range(0, slices, AT_A_TIME):
        files = {
            f"{n}.dcm": make_dicom(
                make_hu(n, side), study=word, number=n + 1, z=1.0 * n, patient_id=word
            )
            for n in range(first, min(slices, first + AT_A_TIME))
        }
        reply = page.request.post(
            f"{address}/cases",
            headers={"origin": address, "accept": "application/json"},
            multipart={
                "contrast_phase": "portal",
                "files": {
                    "name": "a.zip",
                    "mimeType": "application/zip",
                    "buffer": make_zip(files),
                },
            },
            timeout=600_000,
        )
        if not reply.ok:
            raise RuntimeError(f"upload: {reply.status} {reply.text()[:300]}")
        case = str(json.loads(reply.text())["accepted"][0]["case_id"])
    return case


def _at(page: Any, slice_number: int, total: int) -> None:
    """Until that slice is on the screen."""
    words = f"slice {slice_number}/{total}"
    page.locator("[data-hud=slice]").get_by_text(words, exact=True).wait_for(timeout=300_000)


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


def _first(page: Any) -> list[float]:
    """The first slice that came to the screen, as in ``_OPENED``; told a task after its frame."""
    while not (found := page.evaluate(_OPENED)):
        page.wait_for_timeout(10)
    first: list[float] = found[0]
    return first


def _scrolled(page: Any, address: str) -> Iterator[str]:
    page.goto(address)
    _at(page, 1, SLICES)
    page.focus("#slice")
    for number in range(2, SLICES + 1):  # each once, so that all are in the cache
        page.keyboard.press("ArrowDown")
        if number % 10 == 0:
            _at(page, number, SLICES)
    _at(page, SLICES, SLICES)
    idle = page.evaluate(_SCROLL, [120, 0])
    page.evaluate("performance.clearMeasures('slice-open')")
    frames = page.evaluate(_SCROLL, [STEPS, -1])
    _at(page, SLICES - STEPS - 1, SLICES)
    opened = page.evaluate(_OPENED)
    cached = sum(one[2] for one in opened)
    yield (
        f"{STEPS} of {SLICES} slices of {SIDE_PX} × {SIDE_PX}, one a frame: frame median "
        f"{statistics.median(frames):.1f} ms, 95 % {_p95(frames):.1f} ms (aim {FRAME_AIM_MS}), "
        f"longest {max(frames):.0f} ms; {cached} of {len(opened)} shown from the cache"
    )
    rest, slowest = statistics.median(idle), _p95(idle)
    yield f"the same page at rest: frame median {rest:.1f} ms, 95 % {slowest:.1f} ms"
    late = [one[1] for one in opened]
    yield (
        f"from the wheel to the slice on the screen: median {statistics.median(late):.1f} ms, "
        f"95 % {_p95(late):.1f} ms"
    )


def _remembered(browser: Any, page: Any, addresses: list[str]) -> Iterator[str]:
    taken = []
    for number in range(CHANGES + 1):
        page.goto(addresses[number % len(addresses)])
        page.locator("[data-hud=slice]", has_text="slice").wait_for()
        page.focus("#slice")
        page.keyboard.press("End")
        if number in (0, CHANGES // 2, CHANGES):
            page.request.get(addresses[0])
            taken.append(_renderer_mb(browser))
    told = ", ".join(f"{value:.0f}" for value in taken)
    yield (
        f"memory of the page's process after 1, {CHANGES // 2} and {CHANGES} changes of the "
        f"case: {told} MB"
    )


def _large(page: Any, address: str) -> Iterator[str]:
    page.goto(address)
    _at(page, 1, 3)
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    _at(page, 3, 3)
    first = _first(page)[0]
    page.evaluate("performance.clearMeasures('slice-open')")
    for number in (2, 1, 2, 3, 2, 1):
        page.keyboard.press("ArrowUp" if number < 3 else "ArrowDown")
        page.wait_for_timeout(500)
    shown = [one[1] for one in page.evaluate(_OPENED)]
    yield (
        f"slices of {LARGE_PX} × {LARGE_PX}: first picture after {first:.0f} ms, from the key to "
        f"the slice on the screen, from the cache: longest {max(shown):.0f} ms"
    )


def _many(page: Any, address: str) -> Iterator[str]:
    page.goto(address)
    _at(page, 1, MANY)
    opened = _first(page)[0]
    page.focus("#slice")
    page.keyboard.press("End")
    _at(page, MANY, MANY)
    frames = page.evaluate(_SCROLL, [STEPS, -1])
    yield (
        f"{MANY} slices: first picture after {opened:.0f} ms; frames while {STEPS} are scrolled "
        f"that come from the server: 95 % {_p95(frames):.1f} ms"
    )


def _renderer_mb(browser: Any) -> float:
    """Resident memory of the largest renderer in MB."""
    session = browser.new_browser_cdp_session()
    told = session.send("SystemInfo.getProcessInfo")["processInfo"]
    pages = [one["id"] for one in told if one["type"] == "renderer"]
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return max(
        int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]) * page_bytes / 2**20
        for pid in pages
    )
