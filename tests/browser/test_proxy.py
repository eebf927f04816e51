"""Below a path of a host, through a real nginx as the README configures it: nothing leads out."""

from __future__ import annotations

import json
import re
import shutil
import socket
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from nginx import PREFIX, Nginx, free_port, missing
from sqlalchemy.orm import Session
from whole import routes

import answered
import once
from app.db import Database
from app.models import ApiToken, DatasetVersion, ReaderStudy, Run, User
from app.models.people.user import DEMO_PASSWORD
from app.models.reader_studies.wish import Wish
from factories import make_png
from ml.lesion import LIVER
from ml.phantom import sample
from serving import Served
from tests.browser.conftest import _demo
from tests.browser.test_classify import mark_and_review, wait_for_slice
from tests.browser.test_desk import check_in, commit, says
from tests.browser.test_ways import sign_in

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing() or "nginx is here"),
    pytest.mark.long,
]

AS_JSON = {"Accept": "application/json"}
MOST_OF_ONE = 2
"""So many pages of one kind are looked at: of cases, lesions, images."""


class Page(HTMLParser):
    """What of a page leads somewhere: every attribute that is an address, whatever it is called."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.follows: list[str] = []
        self.addresses: list[tuple[str, str]] = []
        self._is_json = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self._is_json = told.get("type") == "application/json"
        for name, value in told.items():
            if value.startswith("/") and name != "value":
                self.addresses.append((f"{tag} {name}", value))
            if value.startswith(("{", "[")) and name.startswith("data-"):
                self.addresses += [(f"{tag} {name}", one) for one in _paths(json.loads(value))]
        if tag == "meta" and (found := re.search(r"url=(.*)", told.get("content", ""))):
            self.addresses.append(("meta content", found[1]))
        is_get = tag == "form" and told.get("method", "get") == "get"
        for name in ("href", "src", "data-load", "data-refresh-url", *["action"][:is_get]):
            if told.get(name):
                self.follows.append(told[name])

    def handle_data(self, data: str) -> None:
        if self._is_json and data.strip():
            self.addresses += [("JSON", one) for one in _paths(json.loads(data))]
        self._is_json = False


def _paths(value: Any) -> Iterator[str]:
    """The paths in some JSON."""
    if isinstance(value, str) and re.match(r"/[a-z]", value):
        yield value
    if isinstance(value, dict):
        value = list(value.values())
    for one in value if isinstance(value, list) else ():
        yield from _paths(one)


class Behind:
    """The demo below ``/hepatica/`` of a host, and browsers without scripts that go through it."""

    def __init__(self, nginx: Nginx, served: Served, database_url: str) -> None:
        self.nginx, self.served = nginx, served
        self.address = nginx.origin + PREFIX
        self._url = database_url

    @cached_property
    def token(self) -> str:
        """Of a program."""
        with self._transaction() as session:
            return ApiToken.add(session, "program", "machine")

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        database = Database(self._url)
        with database.transaction() as session:
            yield session
        database.engine.dispose()

    def end_the_study_and_a_run(self) -> uuid.UUID:
        """What the demo only begins, and a draft, and two runs of which one is done: the study."""
        with self._transaction() as session:
            [study] = session.scalars(sa.select(ReaderStudy))
            researcher = User.require(session, "researcher")
            answered.unblind(session, study, researcher)
            [version] = session.scalars(sa.select(DatasetVersion))
            wish = Wish(title="A draft", scheme=LIVER, real=3, synthetic=3, seed=3)
            ReaderStudy.compose(session, researcher, wish)
            Run.queue(session, researcher, version, "quick", 2)
            run = Run.queue(session, researcher, version, "quick", 1)
            run.finish(session, b"{}", b"<p>the report</p>")
            return study.id

    @contextmanager
    def browser(self, role: str) -> Iterator[httpx.Client]:
        """One in which somebody of the demo is signed in; nobody for ""."""
        with httpx.Client(
            base_url=self.nginx.origin, verify=self.nginx.trust, timeout=60,
            headers={"Origin": self.nginx.origin},
        ) as client:  # fmt: skip
            if role:
                form = {"name": role, "password": DEMO_PASSWORD, "next": "/cases"}
                answer = client.post(f"{PREFIX}/sessions", data=form)
                assert answer.status_code == 303, answer.text
            yield client


@pytest.fixture(scope="module")
def behind(tmp_path_factory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("behind")
    shutil.copytree(once.folder(tmp_path_factory, "demo", _demo), folder, dirs_exist_ok=True)
    port = free_port()
    url = f"sqlite:///{folder}/hepatica.sqlite3"
    served = Served(
        url, folder, HEPATICA_ROOT_PATH=PREFIX,
        HEPATICA_PUBLIC_ORIGIN=f"https://localhost:{port}",
    )  # fmt: skip
    nginx = Nginx(folder / "nginx", served.port, port)
    try:
        served.wait()
        yield Behind(nginx.wait(), served, url)
    finally:
        nginx.close()
        served.close()


def kind_of(address: str) -> str:
    """What an address has in common with those of its kind: no id, no number, no value."""
    parts = urlsplit(address)
    path = re.sub(r"/[0-9a-f-]{32,36}|/[\w-]{20,}|/\d+", "/*", parts.path)
    return path + "?" + "&".join(sorted({one.partition("=")[0] for one in parts.query.split("&")}))


@dataclass
class Crawl:
    """All that was looked at, by whoever: paths within the prefix, what leads out of it, and files
    by their kind."""

    origin: str
    paths: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)

    def go(self, client: httpx.Client, *more: str) -> None:
        """Follow whatever can be looked at, from the start and ``more``."""
        queue = deque(f"{self.origin}{PREFIX}{one}" for one in ("/", *more))
        seen, kinds = set(queue), Counter[str]()
        while queue:
            answer = client.get(queue.popleft())
            address = str(answer.url)
            self.paths.add(urlsplit(address).path.removeprefix(PREFIX))
            assert answer.status_code < 500, (address, answer.text)
            for one in self._look(answer):
                to = urldefrag(urljoin(address, one)).url
                if not to.startswith(self.origin) or to in seen:
                    continue
                seen.add(to)
                kinds[kind_of(to)] += 1
                is_file = "." in urlsplit(to).path.rpartition("/")[2]  # the same for whoever asks
                if kinds[kind_of(to)] > MOST_OF_ONE or (is_file and kind_of(to) in self.files):
                    continue
                self.files |= {kind_of(to)} if is_file else set()
                queue.append(to)

    def _look(self, answer: httpx.Response) -> list[str]:
        """Where an answer leads; what leads out of the prefix is noted."""
        address = str(answer.url)
        follows = [answer.headers[name] for name in ("location",) if name in answer.headers]
        led = [("header", one) for one in follows]
        for cookie in answer.headers.get_list("set-cookie"):
            if f"Path={PREFIX}/;" not in cookie + ";":
                self.faults.append(f"{address}: cookie {cookie}")
        kind = answer.headers.get("content-type", "")
        if kind.startswith("text/html"):
            page = Page(answer.text)
            led += page.addresses
            follows += page.follows
        elif kind.startswith("text/css"):
            follows += re.findall(r'url\("?([^")#]+)"?\)', answer.text)
        elif "json" in kind and "/openapi.json" not in address:  # its paths are within `servers`
            led += [("JSON", one) for one in _paths(answer.json())]
        for where, one in led:
            to = urlsplit(urljoin(address, one))
            is_here = f"{to.scheme}://{to.netloc}" == self.origin
            if not (is_here and (to.path + "/").startswith(PREFIX + "/")):
                self.faults.append(f"{address}: {where} {one}")
        return follows


ELSEWHERE = re.compile(
    r"/(api|dicomweb|health|metrics|launch|sessions/oidc|fetches|returns|patterns)(/.*)?"
)
"""Of programs, of probes, and of what the demo has none of; the second test asks some."""
UNSEEN = {
    "/readings/{token}/debriefing",  # of a study whose readers were not told of synthetic images
    "/cases/{case_id}/beside", "/lesions/{lesion_id}", "/pixels/{token}", "/pixels/{token}/{side}",
    "/sessions/state", "/synthetics/{checkpoint}/sheet",
}  # fmt: skip
"""Beside that, what only scripts ask for; the third test watches what they do."""


def test_programs_are_told_addresses_that_lead_here(behind):
    with behind.browser("admin") as client:
        described = client.get(f"{PREFIX}/openapi.json").json()
        assert described["servers"] == [{"url": PREFIX}]
        packed = {"files": ("phantom.zip", sample.zipped(1), "application/zip")}
        taken = client.post(
            f"{PREFIX}/cases", data={"contrast_phase": "portal"}, files=packed, headers=AS_JSON
        ).json()
        [case] = {one["case_url"] for one in taken["accepted"]}
        assert case.startswith(f"{PREFIX}/cases/")
        assert client.get(case).status_code == 200
        stays = client.post(
            f"{PREFIX}/guide/tour", data={"step": "leave"}, headers={"X-Stays": "1"}
        )
        assert stays.json()["address"] == f"{PREFIX}/guide"
        assert client.get(f"{PREFIX}/cases/").headers["location"] == f"{PREFIX}/cases"

        held = client.get(f"{PREFIX}/dicomweb/studies").json()
        [retrieved, *_] = [one["00081190"]["Value"][0] for one in held]
        assert retrieved.startswith(f"{behind.address}/dicomweb/studies/")
        [slice_, *_] = client.get(f"{retrieved}/metadata").json()
        pixels = slice_["7FE00010"]["BulkDataURI"]
        assert pixels.startswith(f"{behind.address}/dicomweb/studies/")
        assert client.get(pixels).status_code == 200
    with behind.browser("blind-reader") as client:
        refused = client.get(f"{PREFIX}/synthetics", headers=AS_JSON)
        assert refused.status_code == 403
        assert refused.json()["next"]["url"] == f"{PREFIX}/readings"
    with behind.browser("") as client:
        client.headers["Authorization"] = f"Bearer {behind.token}"
        client.headers["Prefer"] = "respond-async"
        image = {"image": ("slice.png", make_png(64))}
        queued = client.post(f"{PREFIX}/api/v1/classifications", files=image)
        assert queued.status_code == 202, queued.text
        assert queued.headers["location"].startswith(f"{PREFIX}/api/v1/jobs/")
        assert client.get(queued.headers["location"]).status_code == 200


def test_a_case_is_reviewed_and_a_trial_is_read_behind_it(behind, chromium):
    """The scripts ask for nothing outside either; the certificate is the test's own."""
    context = chromium.new_context(ignore_https_errors=True)
    faults = []
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.on(
        "request",
        lambda one: (
            one.url.startswith((f"{behind.address}/", "blob:", "data:"))
            or one.url == behind.address
            or faults.append(one.url)
        ),
    )
    page.goto(f"{behind.address}/")
    sign_in(page, "reader")
    page.locator("#worklist tbody a").first.click()
    wait_for_slice(page)
    mark_and_review(page)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sessions/new")

    page.focus("[name=name]")
    page.keyboard.type("blind-reader")
    page.keyboard.press("Tab")
    page.keyboard.type(DEMO_PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/readings")
    page.get_by_role("link", name="Start").click()
    check_in(page)
    commit(page, "5", "c")
    says(page, "saved", "^saved$")
    assert page.url.startswith(f"{behind.address}/readings/")
    context.close()
    assert faults == []


def test_nginx_tells_who_comes_and_how_and_nobody_can_say_otherwise(behind):
    with behind.browser("reader") as client:
        page = client.get(
            f"{PREFIX}/cases", headers={"X-Forwarded-Proto": "http", "X-Forwarded-For": "192.0.2.9"}
        )
        assert page.headers["strict-transport-security"]
        assert all(one.startswith("__Secure-") for one in client.cookies)
        assert (
            client.get(f"http://localhost:{behind.nginx.plain_port}{PREFIX}/cases")
            .headers["location"]
            .startswith("https://localhost")
        )
        # another installation on this host, or whatever else is there, is sent no cookie of ours
        assert "cookie" not in client.build_request("GET", "/other").headers
        strange = client.get(f"{PREFIX}/cases", headers={"Host": "elsewhere.example.org"})
        assert strange.status_code == 400
    # probes reach the server itself, without a prefix
    assert behind.served.get("/health/ready")[0] == 200


def test_an_upload_that_is_refused_is_not_waited_for(behind):
    """nginx hands it on as it comes, so that a stranger's is refused before its body is here."""
    head = (
        f"POST {PREFIX}/cases HTTP/1.1\r\nHost: localhost:{behind.nginx.port}\r\n"
        f"Origin: {behind.nginx.origin}\r\nContent-Length: 200000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    with (
        socket.create_connection(("127.0.0.1", behind.nginx.port), 30) as plain,
        behind.nginx.trust.wrap_socket(plain, server_hostname="localhost") as wire,
    ):
        wire.sendall(head.encode())
        assert wire.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_no_page_leads_out_of_the_prefix(behind):
    crawl = Crawl(behind.nginx.origin)
    with behind.browser("") as nobody:
        crawl.go(nobody, "/sessions/code")
    for role in ("reader", "blind-reader"):
        with behind.browser(role) as client:
            crawl.go(client)
    with behind.browser("researcher") as client:
        form = {"name": "frozen", "kind": "phantom"}
        assert client.post(f"{PREFIX}/datasets", data=form).status_code == 303
        study = behind.end_the_study_and_a_run()
        form = {"go": "keep", "title": "Begun"}
        begun = client.post(f"{PREFIX}/reader-studies/sketches", data=form, headers=AS_JSON)
        assert client.get(begun.json()["address"]).status_code == 200
        # whether its audit gives an image away, and leads there, hangs on the installation's key
        crawl.go(client, f"/reader-studies/{study}/audit/pictures")
    with behind.browser("admin") as client:
        crawl.go(client, "/checkpoints/phantom-cnn/promotion")
    with behind.browser("blind-reader") as client:
        crawl.go(client)
    assert crawl.faults == []

    every = {one.partition(" ")[2] for one in routes().values() if one.startswith("GET ")}
    patterns = {one: re.compile(re.sub(r"\{[^}]*\}", "[^/]+", one)) for one in every}
    left = {
        route for route, pattern in patterns.items()
        if not any(pattern.fullmatch(path) for path in crawl.paths)
    }  # fmt: skip
    unseen = {one for one in left if not ELSEWHERE.fullmatch(one)}
    assert unseen <= UNSEEN
