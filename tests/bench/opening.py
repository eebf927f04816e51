"""The first picture of a case, from the click on it in the work list, in a Chromium that nobody
watches: a debugger that hears of every request takes a third of the time for itself. So it is let
go before the click, and asks for the page's own measure once the picture is there."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from bench.requests import PASSWORD
from bench.running import free_port, process_of

ROUNDS, FIRST = 30, 4
"""Of them the first few fill the caches."""
AIM_MS = 150
_CLICK = """
(path) => { setTimeout(() => document.querySelector(`a[href="${path}"]`).click(), 700); }
"""
_SHOWN_AFTER_S = 2.0
_MEASURE = """
() => {
  const [page] = performance.getEntriesByType("navigation");
  const [slice] = performance.getEntriesByName("slice-open");
  return [location.pathname, slice.startTime + slice.duration, page.responseEnd];
}
"""


def first_picture(driver: Any, chromium: str, address: str, cases: Sequence[str]) -> Iterator[str]:
    """Medians over the clicks.

    Args:
        driver: Playwright's.
        chromium: path of the program.
        cases: their paths, as the work list links to them.
    """
    shown, own = [], []
    with _browser(driver, chromium) as watched:
        with watched() as page:
            sign_in(page, address)
        for number in range(FIRST + ROUNDS):
            path = cases[number % len(cases)]
            with watched() as page:
                page.goto(f"{address}/cases")
                page.evaluate(_CLICK, path)
            time.sleep(_SHOWN_AFTER_S)
            with watched() as page:
                at, first_ms, came_ms = page.evaluate(_MEASURE)
            if at != path:
                raise RuntimeError(f"the click on {path} led to {at}")
            if number >= FIRST:
                shown.append(first_ms)
                own.append(first_ms - came_ms)
    yield (
        f"first picture of a case, from the click on it: median {statistics.median(shown):.0f} ms "
        f"of {ROUNDS}, quarters {', '.join(f'{one:.0f}' for one in statistics.quantiles(shown))} "
        f"(aim {AIM_MS}); of it after the page had come: median {statistics.median(own):.0f} ms"
    )


def sign_in(page: Any, address: str) -> None:
    """As the demo's reader, to the work list."""
    page.goto(f"{address}/sessions/new")
    page.fill("[name=name]", "reader")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/cases")


@contextmanager
def _browser(driver: Any, path: str) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """What gives its page to a debugger while a block lasts."""
    port = free_port()

    @contextmanager
    def watched() -> Iterator[Any]:
        debugger = driver.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
        yield debugger.contexts[0].pages[0]
        debugger.close()

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        flags = [
            "--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--window-size=1280,900",
            f"--remote-debugging-port={port}", f"--user-data-dir={folder}", "about:blank",
        ]  # fmt: skip
        with process_of(flags, port, "/json/version", python=path):
            yield watched
