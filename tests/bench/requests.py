"""What a person waits for: the first pixels of a slice, the next trial of the desk."""

from __future__ import annotations

import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.running import ROOT, environment_for, environment_with, free_port, process_of

PASSWORD = "hepatica-demo"


_CHECK_IN = {
    "consent": "yes",
    "consent_version": "1",
    "years": "10",
    "subspecialty": "abdominal",
    "room": "dark",
    "ramp_dark": "yes",
    "ramp_bright": "yes",
    "card_px": "320",
}


class Browser:
    """One connection, one cookie, writes from our own origin."""

    def __init__(self, port: int, server: int = 0) -> None:
        self.server = server
        """Its process."""
        self.address = f"http://127.0.0.1:{port}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Origin": self.address, "Accept": "application/json"}

    def send(self, method: str, path: str, form: dict[str, object] | None = None) -> bytes:
        headers = dict(self._headers)
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, body, headers)
        reply = self._connection.getresponse()
        return self._answered(method, path, reply)

    def reconnect(self) -> None:
        """Begin a new connection: the server has closed one that asked nothing for a while."""
        self._connection.close()

    def upload(self, data: bytes, name: str) -> bytes:
        """Send one file as a browser does."""
        body = (
            f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        ).encode()
        headers = {**self._headers, "Content-Type": "multipart/form-data; boundary=x"}
        self._connection.request("POST", "/cases", body + data + b"\r\n--x--\r\n", headers)
        return self._answered("POST", "/cases", self._connection.getresponse())

    def _answered(self, method: str, path: str, reply: http.client.HTTPResponse) -> bytes:
        data = reply.read()
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status} {data[:200]!r}")
        cookie = reply.getheader("set-cookie")
        if cookie and "hepatica_session" in cookie:
            self._headers["Cookie"] = cookie.split(";")[0]
        return data


@contextmanager
def demo(name: str) -> Iterator[Browser]:
    """A server with demo content of its own, and a person signed in there."""
    with tempfile.TemporaryDirectory() as folder:
        settings = environment_for(Path(folder))
        command = [sys.executable, "-m", "app", "demo"]
        quiet = subprocess.DEVNULL
        environment = environment_with(settings)
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=quiet, stderr=quiet)
        port = free_port()
        serve = ["-m", "app", "serve", "--port", str(port)]
        with process_of(serve, port, "/health/ready", **settings) as server:
            browser = Browser(port, server.pid)
            browser.send("POST", "/sessions", {"name": name, "password": PASSWORD})
            yield browser


def _median_ms(act: Callable[[int], object], times: int) -> tuple[float, float]:
    """(median, 95th percentile) of one act in ms, the first two left out."""
    taken = []
    for number in range(times):
        begun = time.perf_counter()
        act(number)
        taken.append(1000 * (time.perf_counter() - begun))
    kept = sorted(taken[2:])
    return statistics.median(kept), kept[int(0.95 * (len(kept) - 1))]


def slice_open() -> Iterator[str]:
    """From the request to the last byte of a 512 × 512 slice, against a static file."""
    with demo("reader") as browser:
        cases = re.findall(rb'href="/cases/([0-9a-f-]{36})"', browser.send("GET", "/cases"))
        images: list[str] = []
        for case in dict.fromkeys(cases):
            page = browser.send("GET", f"/cases/{case.decode()}").decode()
            data = re.search(r'<script type="application/json" id="case-data">(.*?)</script>', page)
            assert data is not None
            series = json.loads(data[1])["series"]
            images += [image["id"] for one in series for image in one["images"]]
        ours, worst = _median_ms(
            lambda n: browser.send("GET", f"/images/{images[n % len(images)]}/pixels"),
            len(images),
        )
        floor, _ = _median_ms(lambda n: browser.send("GET", "/static/css/base.css"), 40)
    what = f"pixels of a 512 × 512 slice, {len(images)} slices"
    yield f"{what}: median {ours:.1f} ms, 95 % {worst:.1f} ms (aim 150)"
    yield f"a small static file: median {floor:.1f} ms; ratio {ours / floor:.1f}"


def next_trial() -> Iterator[str]:
    """An answer, its commit, and the pixels of the next trial."""
    with demo("blind-reader") as browser:
        listed = browser.send("GET", "/readings").decode()
        token = re.findall(r"/readings/([\w-]{16,})", listed)[0]
        path = f"/readings/{token}"
        browser.send("POST", f"{path}/conduct", _CHECK_IN)
        state = {"desk": json.loads(browser.send("GET", path))}

        def answer(number: int) -> None:
            trial = state["desk"]["upcoming"][0]
            form = {
                "trial": trial["token"],
                "lesion_class": "cyst",
                "rating": 1 + number % 6,
                "key": uuid.uuid4().hex,
                "active_ms": 2000,
            }
            state["desk"] = json.loads(browser.send("POST", path, form))
            for following in state["desk"]["upcoming"][:1]:
                browser.send("GET", f"/pixels/{following['token']}")

        ours, worst = _median_ms(answer, state["desk"]["total"])
        floor, _ = _median_ms(lambda n: browser.send("GET", "/health/live"), 40)
    what = "answer stored and next trial's pixels here"
    yield f"{what}: median {ours:.1f} ms, 95 % {worst:.1f} ms (aim 50)"
    yield f"an empty answer: median {floor:.1f} ms; ratio {ours / floor:.1f}"
