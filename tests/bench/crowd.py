"""Fifty readers at once, ten thousand scores, a large upload, a start: what a server stands."""

from __future__ import annotations

import http.client
import json
import random
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import studies
from app.cookies import SESSION
from app.db import Database
from app.main import READERS_AFTER_S
from app.models.people.sign_in import SignIn
from app.models.people.token import ApiToken
from app.models.reader_studies.enrolment import Enrolment
from bench.load import ask_once, multipart_post, rate
from bench.running import cpu_s, environment_for, free_port, process_of, with_children
from bench.serving import png_rois
from factories import make_dicom, make_hu

READERS = 50
ANSWERS = 12
"""Of each reader."""
PAUSE_S = (1.0, 3.0)
"""So long a reader looks at an image."""
SCORES = 10_000
SLICES = 200
STARTS = 5


@dataclass
class _Reader:
    """One browser at the desk: an answer, then the pixels of the next trial."""

    port: int
    token: str
    cookie: str
    seed: int
    saved_ms: list[float] = field(default_factory=list)
    shown_ms: list[float] = field(default_factory=list)
    fault: str = ""

    def read(self) -> None:
        """Answer until there is nothing more; a fault ends it and is kept."""
        chance = random.Random(self.seed)
        try:
            desk = json.loads(self._asked("GET", f"/readings/{self.token}"))
            while desk["state"] == "reading":
                time.sleep(chance.uniform(*PAUSE_S))
                answer = {
                    "trial": desk["upcoming"][0]["token"], "key": uuid.uuid4().hex,
                    "rating": chance.randint(1, 6), "lesion_class": "cyst", "active_ms": 1500,
                }  # fmt: skip
                begun = time.perf_counter()
                told = self._asked("POST", f"/readings/{self.token}", urlencode(answer).encode())
                self.saved_ms.append(1000 * (time.perf_counter() - begun))
                desk = json.loads(told)
                if desk["state"] == "reading":
                    begun = time.perf_counter()
                    self._asked("GET", f"/pixels/{desk['upcoming'][0]['token']}")
                    self.shown_ms.append(1000 * (time.perf_counter() - begun))
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"

    def __post_init__(self) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def _asked(self, method: str, path: str, body: bytes = b"") -> bytes:
        headers = {
            "Accept": "application/json", "Origin": f"http://127.0.0.1:{self.port}",
            "Cookie": f"{SESSION}={self.cookie}",
            "Content-Type": "application/x-www-form-urlencoded",
        }  # fmt: skip
        self._line.request(method, path, body, headers)
        reply = self._line.getresponse()
        data = reply.read()
        if reply.status >= 400:
            raise RuntimeError(f"{method}: {reply.status} {data[:200]!r}")
        return data


def readers() -> Iterator[str]:
    """Fifty readers who answer every one to three seconds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = environment_for(Path(folder))
        database = Database(settings["HEPATICA_DATABASE_URL"])
        database.migrate()
        with database.transaction() as session:
            people = [studies.make_user(session, f"reader{n}") for n in range(READERS)]
            study = studies.make_study(
                session, *people, per_class=ANSWERS // 6, real=ANSWERS // 2, synthetic=ANSWERS // 2
            )
            cookies = [SignIn.begin(session, one, 1.0) for one in people]
            tokens = [one.token for one in Enrolment.of_study(session, study.id)]
        database.engine.dispose()
        port = free_port()
        serve = ["-m", "app", "serve", "--port", str(port)]
        with process_of(serve, port, "/health/ready", **settings) as server:
            spent = cpu_s(server.pid)
            crowd = [
                _Reader(port, token, cookie, n)
                for n, (token, cookie) in enumerate(zip(tokens, cookies, strict=True))
            ]
            threads = [threading.Thread(target=one.read) for one in crowd]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            spent = cpu_s(server.pid) - spent
    faults = [one.fault for one in crowd if one.fault]
    if faults:
        raise RuntimeError(f"{len(faults)} readers did not come to the end: {faults[0]}")
    what = f"{READERS} readers, an answer of each every {PAUSE_S[0]:g} to {PAUSE_S[1]:g} s"
    for name, aim in (("saved", 50), ("shown", 100)):
        times = sorted(ms for one in crowd for ms in getattr(one, f"{name}_ms"))
        p95 = times[int(0.95 * (len(times) - 1))]
        word = "answer saved" if name == "saved" else "next trial's picture"
        yield (
            f"{word}: median {statistics.median(times):.1f} ms, 95 % {p95:.1f} ms (aim {aim}); "
            f"{len(times)} of {what}"
        )
    asked = sum(1 + len(one.saved_ms) + len(one.shown_ms) for one in crowd)
    yield f"the server's CPU: {1000 * spent / asked:.1f} ms each of {asked} requests"


@contextmanager
def _served() -> Iterator[tuple[subprocess.Popen[bytes], int, str, str]]:
    """A server; its process, port, a program's token and a person's cookie."""
    with tempfile.TemporaryDirectory() as folder:
        settings = environment_for(Path(folder))
        token, cookie = _let_in(settings)
        port = free_port()
        serve = ["-m", "app", "serve", "--port", str(port)]
        with process_of(serve, port, "/health/ready", **settings) as process:
            yield process, port, token, cookie


def _let_in(settings: dict[str, str]) -> tuple[str, str]:
    """A new database with a program and a person: token and cookie."""
    database = Database(settings["HEPATICA_DATABASE_URL"])
    database.migrate()
    with database.transaction() as session:
        token = ApiToken.add(session, "bench", "machine")
        cookie = SignIn.begin(session, studies.make_user(session, "ada"), 1.0)
    database.engine.dispose()
    return token, cookie


def _resident_mb(pid: int) -> float:
    """Memory of a process and of all that it started, in MB."""
    total = 0.0
    for one in with_children(pid):
        with suppress(OSError, StopIteration):  # it ended meanwhile
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
            found = next(line for line in text.splitlines() if line.startswith("Pss:"))
            total += int(found.split()[1]) / 1000
    return total


def _scored(port: int, requests: list[bytes]) -> int:
    """How many ROIs were scored in four seconds."""
    seconds = 4.0
    return round(rate(port, requests, 8, seconds)[0] * seconds)


def memory() -> Iterator[str]:
    """Memory while ten thousand ROIs are scored, and around an upload of 200 slices."""
    with _served() as (process, port, token, cookie):
        pngs = png_rois()
        requests = [
            multipart_post("/api/v1/classifications", f"127.0.0.1:{port}", token, "roi.png", one)
            for one in pngs
        ]
        _scored(port, requests)
        time.sleep(READERS_AFTER_S)  # what reads files is loaded, and was not counted as growth
        first = done = _scored(port, requests)
        after_first = _resident_mb(process.pid)
        while done < SCORES:
            done += _scored(port, requests)
        at_end = _resident_mb(process.pid)
        yield (
            f"memory after {first:,} scores {after_first:.0f} MB, after {done:,} "
            f"{at_end:.0f} MB; ratio {at_end / after_first:.2f}"
        )
        body, kind = _upload()
        most = [at_end]
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                most.append(_resident_mb(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        begun = time.perf_counter()
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        headers = {
            "Content-Type": kind, "Cookie": f"{SESSION}={cookie}", "Accept": "application/json",
            "Origin": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        line.request("POST", "/cases", body, headers)
        reply = line.getresponse()
        told = reply.read()
        took = time.perf_counter() - begun
        over.set()
        watcher.join()
        if reply.status >= 400:
            raise RuntimeError(f"the upload: {reply.status} {told[:300]!r}")
        time.sleep(10)
        left = _resident_mb(process.pid)
    yield (
        f"an upload of {SLICES} slices of 512 × 512 ({len(body) / 1e6:.0f} MB) in {took:.1f} s: "
        f"{at_end:.0f} MB before, {max(most):.0f} MB at most, {left:.0f} MB 10 s after it"
    )


def _upload() -> tuple[bytes, str]:
    parts = []
    for n in range(1, SLICES + 1):
        file = make_dicom(make_hu(n, side=512), number=n, z=2.0 * n)
        parts.append(
            b'--bench\r\nContent-Disposition: form-data; name="files"; filename="%d.dcm"\r\n'
            b"Content-Type: application/dicom\r\n\r\n%s\r\n" % (n, file)
        )
    phase = b'--bench\r\nContent-Disposition: form-data; name="contrast_phase"\r\n\r\nportal\r\n'
    return b"".join([*parts, phase, b"--bench--\r\n"]), "multipart/form-data; boundary=bench"


def cold_start() -> Iterator[str]:
    """From the command to the first score, with a database that is there; one and two processes."""
    for workers in (1, 2):
        ready, scored = [], []
        for _ in range(STARTS):
            with tempfile.TemporaryDirectory() as folder:
                settings = environment_for(Path(folder))
                token, _ = _let_in(settings)
                port = free_port()
                body = multipart_post(
                    "/api/v1/classifications", f"127.0.0.1:{port}", token, "roi.png", png_rois()[0]
                )
                serve = ["-m", "app", "serve", "--port", str(port), "--workers", str(workers)]
                begun = time.perf_counter()
                with process_of(serve, port, "/health/ready", **settings):
                    ready.append(time.perf_counter() - begun)
                    ask_once(port, body)
                    scored.append(time.perf_counter() - begun)
        yield (
            f"{workers} web process(es): ready after {statistics.median(ready):.1f} s (aim 5), "
            f"first score after {statistics.median(scored):.1f} s (aim 3); medians of {STARTS}"
        )
