"""A real Chromium against a real server with demo content, both started once for these tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.models.people.user import DEMO_PASSWORD

ROOT = Path(__file__).resolve().parents[2]
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


def _chromium() -> str | None:
    # the first has no windows to draw around the pages: a quarter of the cost
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def _demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's database and key, made once for all processes of a run."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, ready = shared / "demo", shared / "demo.ready"
    with (shared / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second process waits until the first has made it
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            subprocess.run(
                [sys.executable, "-m", "app", "demo"],
                cwd=ROOT, env=_environment(folder), check=True, timeout=280,
            )  # fmt: skip
            ready.touch()
    return folder


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HEPATICA_DATABASE_URL": f"sqlite:///{folder}/hepatica.sqlite3",
        "HEPATICA_INSTALLATION_KEY_FILE": f"{folder}/installation.key",
    }


@pytest.fixture(scope="session")
def installation(tmp_path_factory) -> Iterator[Installation]:
    """Demo content in a database of our own, served on a free port of loopback."""
    if _chromium() is None:
        pytest.skip("no Chromium on this machine: `make setup-browser` installs it")
    folder = tmp_path_factory.mktemp("installation")
    shutil.copytree(_demo(tmp_path_factory), folder, dirs_exist_ok=True)
    environment = _environment(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/health/ready", timeout=2)
                break
            except OSError:
                time.sleep(0.1)
        yield Installation(address, environment)
    finally:
        server.terminate()
        server.wait(20)


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

    A script error or a refused resource on any page fails the test.
    """
    contexts, faults = [], []

    def open_page(name: str, width: int = 1280, height: int = 800, scripts: bool = True):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, java_script_enabled=scripts
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
        signed_in = context.request.post(
            f"{installation.address}/sessions",
            form={"name": name, "password": DEMO_PASSWORD},
            headers={"origin": installation.address},
            max_redirects=0,
        )
        assert signed_in.status == 303, signed_in.text()
        page.goto(installation.address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
