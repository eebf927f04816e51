"""Several web processes of one server: replaced when one is killed, gone when the server is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app.place import ROOT
from serving import environment

pytestmark = pytest.mark.timeout(280)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    told = environment(f"sqlite:///{tmp_path}/h.sqlite3", tmp_path)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(port), "--workers", "2"],
            cwd=ROOT, env=told, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: is_ready(port))
        yield process, port
    finally:
        process.terminate()
        process.wait(60)


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that in two minutes")


def of_session(session: int) -> set[int]:
    """Processes of a session that live, the first one left out."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, belongs = stat.read_text().rpartition(") ")[2].split()[:4]
        except OSError:
            continue
        if int(belongs) == session and state != "Z":
            found.add(int(stat.parent.name))
    return found - {session}


def listening(session: int, port: int) -> set[int]:
    """Those of them that hold the socket on which the server listens."""
    wanted = f"{port:04X}"
    inodes = {
        f"socket:[{words[9]}]"
        for words in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if words[1].endswith(f":{wanted}") and words[3] == "0A"
    }

    def holds(pid: int) -> bool:
        try:
            return any(str(one.readlink()) in inodes for one in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            return False

    return {pid for pid in of_session(session) if holds(pid)}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_killed_web_process_is_replaced_and_all_are_gone_once_the_server_is(server):
    process, port = server
    before = listening(process.pid, port)
    assert len(before) == 2
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(listening(process.pid, port) - {killed}) == 2)
    assert is_ready(port)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    wait_until(lambda: not of_session(process.pid))
    with socket.socket() as next_one:
        next_one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        next_one.bind(("127.0.0.1", port))
        next_one.listen()
