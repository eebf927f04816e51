"""An installation from a wheel is whole: it serves, migrates and draws away from a working tree."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
OWN = ("app", "ml", "templates", "static", "migrations")
FILES = ("pyproject.toml", "README.md", "LICENSE", "LICENSES.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of this tree, unpacked as pip does into a folder of its own."""
    pytest.importorskip("setuptools", reason="no build backend here")
    folder = tmp_path_factory.mktemp("installation")
    for name in OWN:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder / "tree" / name)
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--target", str(folder / "site"), str(folder / "tree")],
        env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(folder / "tree")
    return folder / "site"


@pytest.fixture
def environment(site: Path, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(site),
        "HEPATICA_DATABASE_URL": f"sqlite:///{tmp_path}/hepatica.sqlite3",
        "HEPATICA_INSTALLATION_KEY_FILE": f"{tmp_path}/installation.key",
    }


@pytest.fixture
def server(tmp_path: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", str(port)],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            for _ in range(600):
                with suppress(httpx.HTTPError):
                    if client.get("/health/start").status_code == 200:
                        break
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def test_nothing_of_the_tree_is_missing_in_the_wheel(site: Path) -> None:
    for name in OWN:
        inside = site / name if name in ("app", "ml") else site / "app" / name
        for path in (ROOT / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                there = inside / path.relative_to(ROOT / name)
                assert there.exists(), f"{path.relative_to(ROOT)} is in no package"
    (info,) = site.glob("hepatica-*.dist-info")
    assert (info / "licenses" / "LICENSES.md").exists()


def test_every_package_is_named_for_the_wheel() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for name in ("app", "ml")
        for path in (ROOT / name).rglob("__init__.py")
    }
    assert set(setuptools["packages"]) == found | set(setuptools["package-dir"])


def test_a_wheel_migrates_and_serves_pages_styles_and_checkpoints(
    server: httpx.Client, tmp_path: Path, environment: dict[str, str]
) -> None:
    assert server.get("/health/ready").status_code == 200
    page = server.get("/sessions/new", follow_redirects=True)
    assert page.status_code == 200
    style = next(part for part in page.text.split('"') if part.startswith("/static/css/"))
    assert server.get(style).status_code == 200
    token = subprocess.run(
        [sys.executable, "-m", "app", "token", "add", "pacs", "--role", "machine"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    drawn = server.post(
        "/api/v1/synthetics",
        json={"lesion_class": "cyst"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert drawn.status_code == 200, drawn.text


def test_a_wheel_draws_without_the_web(
    site: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    program = (
        "from ml.checkpoints import checkpoint, synthesize; from pathlib import Path; "
        f"assert Path(checkpoint.__file__).is_relative_to({str(site)!r}), checkpoint.__file__; "
        "root = next(one for one in checkpoint.shipped() if 'diffusion' in one.name); "
        "list(synthesize.draw(root, 1, 0, Path('drawn')))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    assert len(list((tmp_path / "drawn" / "rois").iterdir())) == 1


def test_the_images_that_compose_builds_are_stages_of_the_dockerfile() -> None:
    stages = set(re.findall(r"^FROM .* AS ([\w-]+)$", (ROOT / "Dockerfile").read_text(), re.M))
    compose = (ROOT / "compose.yaml").read_text("utf-8")
    assert set(re.findall(r"^ +target: ([\w-]+)$", compose, re.M)) == {"web", "worker"} <= stages
    assert compose.count("cap_drop: [ALL]") == 2  # the database, and what web and worker share
    assert "/health/ready" in compose
