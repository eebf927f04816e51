"""compose.yaml: read by Docker Compose itself, and its processes started as it says, but no engine.

Skips where there is no Docker Compose (``make setup-compose``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import forked
from app.models import WorkerSign
from app.settings import Settings
from tests.app.test_processes import free_port, is_ready, wait_until

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
SECRETS = {
    "HEPATICA_DB_PASSWORD": "a-password",
    "HEPATICA_INSTALLATION_KEY": "a key for tests, thirty-two characters or more",
}
ALL = ("--profile", "training", "--profile", "pacs")


def compose(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent.parent / 'compose/bin'}{os.pathsep}{os.environ['PATH']}"
    program = shutil.which("docker-compose", path=path)
    if program is None:
        pytest.skip("there is no Docker Compose here (make setup-compose)")
    return subprocess.run(
        [program, "--file", str(ROOT / "compose.yaml"), *words],
        env={"PATH": path, **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def services(**environment: str) -> dict[str, Any]:
    """What Compose makes of the file: every service with all that is set."""
    done = compose(*ALL, "config", "--format", "json", **SECRETS, **environment)
    assert done.stderr == "", "a variable without a default, or an attribute that is no more"
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_without_its_secrets_nothing_is_started_and_the_missing_one_is_named() -> None:
    for name in SECRETS:
        others = {key: value for key, value in SECRETS.items() if key != name}
        done = compose("config", **others)
        assert done.stdout == ""  # its status is lost in the program that stands around it
        assert f"{name} is missing a value: set it" in done.stderr


def test_compose_reads_the_file_and_every_setting_in_it_is_one() -> None:
    found = services()
    assert set(found) == {"web", "worker", "node", "database", "orthanc"}
    known = {f"HEPATICA_{name.upper()}" for name in Settings.model_fields}
    for name in ("web", "worker", "node"):
        told = found[name]["environment"]
        assert {one for one in told if one.startswith("HEPATICA_")} <= known
        assert found[name]["read_only"]
        assert found[name]["cap_drop"] == ["ALL"]
        assert found[name]["security_opt"] == ["no-new-privileges:true"]
        assert found[name]["mem_limit"]


def test_web_and_worker_run_several_times_on_ports_of_their_own() -> None:
    more = {"HEPATICA_WEB_REPLICAS": "3", "HEPATICA_WORKER_REPLICAS": "2", "HEPATICA_PORTS": "8000-8002"}  # fmt: skip  # noqa: E501
    found = services(**more)
    assert found["web"]["deploy"]["replicas"] == 3
    assert found["worker"]["deploy"]["replicas"] == 2
    [port] = found["web"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8000-8002", 8000)
    assert not any("container_name" in one for one in found.values())
    assert services()["web"]["deploy"]["replicas"] == 1


def command_of(name: str, service: dict[str, Any]) -> list[str]:
    """The words after ``python -m app``: of the service, or of its stage of the Dockerfile."""
    words = service.get("command")
    if words is None:
        stage = service["build"]["target"]
        text = (ROOT / "Dockerfile").read_text("utf-8").partition(f"AS {stage}\n")[2]
        words = json.loads(re.findall(r"^CMD (.+)$", text.partition("\nFROM ")[0], re.M)[-1])
    assert words[:3] == ["python", "-m", "app"], name
    return list(words[3:])


@contextmanager
def started(
    name: str, service: dict[str, Any], url: str, folder: Path, port: int, log: Path
) -> Iterator[forked.Forked]:
    """A process of a service, with its command and environment, on this machine's own places."""
    words = [str(port) if word == "4242" else word for word in command_of(name, service)]
    told = {
        "PATH": os.environ["PATH"],
        "HEPATICA_HOST": "127.0.0.1",
        "HEPATICA_PORT": str(port or 8000),
        **{key: value or "" for key, value in service["environment"].items()},
        "HEPATICA_DATABASE_URL": url,
        "HEPATICA_RUNS_DIR": f"{folder}/runs",
    }
    words = ["127.0.0.1" if word == "0.0.0.0" else word for word in words]
    with log.open("ab") as out:
        process = forked.app(*words, env=told, stdout=out.fileno(), stderr=out.fileno())
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def is_healthy(service: dict[str, Any], inside: int, port: int) -> bool:
    """What the service's own health check says, asked of another port."""
    kind, python, *words = service["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    program = [word.replace(str(inside), str(port)) for word in words]
    return (
        subprocess.run([sys.executable, *program], capture_output=True, timeout=60).returncode == 0
    )


@pytest.mark.timeout(280)
def test_its_processes_start_as_it_says_several_web_and_workers_on_one_postgresql(
    empty_postgres: str, tmp_path: Path
) -> None:
    found = services(HEPATICA_NODE_CALLERS="CT1", HEPATICA_WORKERS="1")
    address = found["web"]["environment"]["HEPATICA_DATABASE_URL"]
    assert address == "postgresql+psycopg://hepatica:a-password@database/hepatica"
    webs, node = [free_port(), free_port()], free_port()
    log = tmp_path / "log"

    def one(name: str, port: int = 0) -> Any:
        return started(name, found[name], empty_postgres, tmp_path, port, log)

    with one("web", webs[0]), one("web", webs[1]), one("worker"), one("worker"):
        wait_until(lambda: all(is_ready(port) for port in webs))
        assert all(is_healthy(found["web"], 8000, port) for port in webs)
        with one("node", node):
            wait_until(lambda: is_healthy(found["node"], 4242, node))
        engine = sa.create_engine(empty_postgres)
        signs = sa.select(sa.func.count()).select_from(WorkerSign)

        def workers() -> int:
            with engine.connect() as connection:
                return connection.scalar(signs) or 0

        wait_until(lambda: workers() == 2)
        engine.dispose()
    assert "Traceback" not in log.read_text()
