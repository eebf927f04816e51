"""An upload of a series against decoding alone, and how long another person waits to write then."""

from __future__ import annotations

import json
import re
import statistics
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from bench.requests import PASSWORD, Browser, demo
from bench.running import cpu_s
from factories import make_dicom, make_hu, make_zip
from ml.images import archive, dicom

SLICES = 200
SIDE_PX = 512
ROUNDS = 5
AIM = 1.5
WAIT_AIM_S = 2.0


def section() -> Iterator[str]:
    """Medians of rounds, in each of them both sides one after the other."""
    with demo("reader") as browser:
        port = urllib.parse.urlsplit(browser.address).port or 0
        writer = _Writer(port)
        rounds = []
        for turn in range(ROUNDS):
            series = _series(turn)
            browser.reconnect()
            spent = time.process_time()
            alone = _seconds(lambda series=series: _decode(series))
            alone_cpu = time.process_time() - spent
            with writer:
                whole = _seconds(lambda series=series: browser.upload(series, "a.zip"))
            again = _series(ROUNDS + turn)
            browser.reconnect()
            spent = cpu_s(browser.server)
            browser.upload(again, "a.zip")
            cpu = (cpu_s(browser.server) - spent) / alone_cpu
            rounds.append((alone, whole, whole / alone, cpu))
    alone, whole, ratio, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
    yield f"a zip of {SLICES} slices of {SIDE_PX} × {SIDE_PX}, {len(series) / 1e6:.0f} MB; medians"
    yield f"unpacked and decoded in one thread: {alone:.2f} s"
    told = f"{whole:.2f} s; ratio {ratio:.2f} (aim {AIM})"
    yield f"sent, decoded, compressed, stored, answered: {told}"
    yield f"its CPU in all processes of the server, by that of decoding alone: {cpu:.2f}"
    waits = sorted(writer.waits_s)
    yield (
        f"another person's writes meanwhile: {len(waits)}, median "
        f"{1000 * statistics.median(waits):.0f} ms, longest {waits[-1]:.2f} s (aim {WAIT_AIM_S})"
    )


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _series(turn: int) -> bytes:
    """A series of its own: pixels that are here already would not be stored again."""
    study = f"study {turn}"
    return make_zip(
        {
            f"{n}.dcm": make_dicom(
                make_hu(SLICES * turn + n, SIDE_PX),
                study=study,
                number=n + 1,
                z=1.0 * n,
                patient_id=study,
            )
            for n in range(SLICES)
        }
    )


def _decode(series: bytes) -> None:
    for member in archive.unpack(series, "a.zip", max_files=SLICES, max_bytes=10**9):
        for _ in dicom.each(member.content or b"", member.name):
            pass


class _Writer:
    """A person who takes a lesion back and brings it back again, over and over, within a block."""

    def __init__(self, port: int) -> None:
        self.waits_s: list[float] = []
        self._browser = Browser(port)
        self._browser.send("POST", "/sessions", {"name": "researcher", "password": PASSWORD})
        page = self._browser.send("GET", "/cases").decode()
        case = re.findall(r'href="/cases/([0-9a-f-]{36})"', page)[0]
        image = self._told(case)["series"][0]["images"][0]["id"]
        box: dict[str, object] = {"x": 20, "y": 20, "width": 30, "height": 30}
        self._browser.send("POST", f"/images/{image}/lesions", box)
        told = self._told(case)
        lesion = told["lesions"][-1]
        self._lesion = f"/lesions/{lesion['id']}"
        self._slip: dict[str, object] = {
            "lesion": lesion["id"],
            "number": lesion["number"],
            "person": told["person"]["id"],
        }

    def _told(self, case: str) -> Any:
        shown = self._browser.send("GET", f"/cases/{case}").decode()
        data = re.search(r'<script type="application/json" id="case-data">(.*?)</script>', shown)
        assert data is not None
        return json.loads(data[1])

    def __enter__(self) -> None:
        self._browser.reconnect()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._over.wait(0.05):
            for act in ("withdrawal", "restoration"):
                path = f"{self._lesion}/{act}"
                self.waits_s.append(
                    _seconds(lambda path=path: self._browser.send("POST", path, self._slip))
                )
