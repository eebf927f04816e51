"""A real Chromium against a real server with demo content, both started once for these tests."""

from __future__ import annotations

import os
import shutil
import socket
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from wire import TwoLesions

import forked
import once
import studies
from app.cookies import SESSION
from app.db import Database
from app.inference import Inference
from app.models import Case, SignIn, User
from app.models.people.user import DEMO_PASSWORD

UNUSED = (
    # two pages of its own that a window of Chromium loads for its address bar: half of what a
    # fresh browser of a test costs
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup",
    # Playwright's own list, which this one replaces
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding",
    "ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints",
    "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch",
)  # fmt: skip
FLAGS = [
    f"--disable-features={','.join(UNUSED)}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--process-per-site",  # of one server: no process more for each page
]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker("browser")


@dataclass
class Installation:
    """A running Hepatica of our own."""

    address: str
    environment: dict[str, str]
    pacs_port: int
    """Where its PACS would be; a test may put one there."""


def _chromium() -> str | None:
    # the shell is Chromium without its windows: the same pages for half the processor's time
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def _demo(folder: Path) -> None:
    """The demo's database and key."""
    assert forked.app("demo", env=_environment(folder)).wait(280) == 0


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HEPATICA_DATABASE_URL": f"sqlite:///{folder}/hepatica.sqlite3",
        "HEPATICA_INSTALLATION_KEY_FILE": f"{folder}/installation.key",
        "HEPATICA_DELETIONS_FILE": f"{folder}/deletions.jsonl",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def installation(tmp_path_factory) -> Iterator[Installation]:
    """Demo content in a database of our own, served on a free port of loopback."""
    if _chromium() is None:
        pytest.skip("no Chromium on this machine: `make setup-browser` installs it")
    folder = tmp_path_factory.mktemp("installation")
    shutil.copytree(once.folder(tmp_path_factory, "demo", _demo), folder, dirs_exist_ok=True)
    port, pacs_port = _free_port(), _free_port()
    pacs = f'[{{"name": "main", "url": "http://127.0.0.1:{pacs_port}/dicom-web"}}]'
    environment = {**_environment(folder), "HEPATICA_PACS": pacs}
    with (folder / "server.log").open("w") as log:
        server = forked.app(
            "serve", "--port", str(port), env=environment, stdout=log.fileno(), stderr=log.fileno()
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert server.poll() is None, (folder / "server.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/health/ready", timeout=10)
                break
            except OSError:
                time.sleep(0.1)
        yield Installation(address, environment, pacs_port)
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def page(open_as):
    """A page of the reader's that shows nothing yet."""
    return open_as("reader", at=None)


@pytest.fixture
def case(page, installation):
    """A case with two lesions, as that page sees it."""
    with closing(TwoLesions(page, installation)) as made:
        yield made


@pytest.fixture
def database(installation) -> Iterator[Database]:
    """What is arranged past the pages."""
    database = Database(installation.environment["HEPATICA_DATABASE_URL"])
    yield database
    database.engine.dispose()


@pytest.fixture
def newcomer(database) -> Iterator[str]:
    """The name of an account that has done nothing yet; what it uploads goes at the end."""
    name = f"newcomer-{uuid.uuid4().hex[:6]}"
    with database.transaction() as session:
        User.add(session, name, "reader", DEMO_PASSWORD, demo=True)
    yield name
    with database.transaction() as session:
        user = User.require(session, name)
        for case in session.scalars(sa.select(Case).where(Case.uploaded_by_id == user.id)):
            studies.remove(session, case)


@pytest.fixture(scope="session")
def inference() -> Inference:
    """The networks, loaded once for whatever is arranged past the pages."""
    return Inference(threads=1)


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    path = _chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: `make setup-browser` installs it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_as(chromium, installation):
    """``open_as("reader")``: a page of a fresh browser with that demo person signed in.

    It shows the start page, ``at`` another address, or nothing yet where ``at`` is None. Nobody is
    signed in where no name is given; ``touch`` gives it a screen to be touched.
    A script error or a refused resource on any page fails the test.
    """
    contexts, faults = [], []
    database = Database(installation.environment["HEPATICA_DATABASE_URL"])

    def open_page(
        name: str | None,
        width: int = 1280,
        height: int = 800,
        scripts: bool = True,
        at: str | None = "/",
        touch: bool = False,
    ):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            java_script_enabled=scripts,
            has_touch=touch,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: (
                faults.append(message.text)
                if message.type == "error" and "Content Security Policy" in message.text
                else None
            ),
        )
        # past the form, which has a test of its own: a page less for each of the tests
        if name is not None:
            with database.transaction() as session:
                secret = SignIn.begin(session, User.require(session, name), 1.0)
            context.add_cookies([{"name": SESSION, "value": secret, "url": installation.address}])
        if at is not None:
            page.goto(installation.address + at)
        return page

    yield open_page
    for context in contexts:
        context.close()
    database.engine.dispose()
    assert faults == []
