"""A server of our own for a benchmark: started on loopback, stopped by its process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(arguments: list[str], port: int, path: str, **environment: str) -> Iterator[str]:
    """Run ``python arguments`` until the block ends; yields its address once ``path`` answers."""
    with process_of(arguments, port, path, **environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def process_of(
    arguments: list[str],
    port: int,
    path: str,
    *,
    python: str | Path = sys.executable,
    **environment: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """As ``running``, but yields the process; ``python`` may be one of another environment, or
    another program."""
    process = subprocess.Popen(
        [str(python), *arguments],
        start_new_session=True,
        cwd=ROOT,
        env=environment_with(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}")
            try:
                urllib.request.urlopen(address + path, timeout=2)
                break
            except OSError:
                if time.monotonic() > until:
                    raise RuntimeError(f"{path} did not answer in {PATIENCE_S:g} s") from None
                time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:  # what others leave behind when they end
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def environment_with(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment with some settings of its own."""
    return {**os.environ, **settings}


def environment_for(folder: Path) -> dict[str, str]:
    """Settings of an installation in a folder of its own."""
    return {
        "HEPATICA_DATABASE_URL": f"sqlite:///{folder}/bench.sqlite3",
        "HEPATICA_INSTALLATION_KEY_FILE": f"{folder}/installation.key",
    }


def children_of(pid: int) -> list[int]:
    """The processes that a process has begun itself (Linux)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def with_children(pid: int) -> list[int]:
    """A process and all that came of it (Linux)."""
    found = [pid]
    for one in found:
        with suppress(OSError):  # it ended meanwhile
            found += children_of(one)
    return found


def cpu_s(pid: int) -> float:
    """Seconds of processors that a process and all that came of it have used, ended ones as well
    (Linux)."""
    ticks = 0
    for one in with_children(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
