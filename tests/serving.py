"""The application in processes of its own, and another program that holds the database's lock."""

from __future__ import annotations

import http.client
import io
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from unittest.mock import patch
from urllib.parse import urlencode

import forked
from app.__main__ import main
from app.settings import settings


def environment(database_url: str, folder: Path, **more: str) -> dict[str, str]:
    """What a process of this installation is started with."""
    return {
        **os.environ,
        "HEPATICA_DATABASE_URL": database_url,
        "HEPATICA_INSTALLATION_KEY_FILE": f"{folder}/installation.key",
        "HEPATICA_RUNS_DIR": f"{folder}/runs",
        "HEPATICA_DELETIONS_FILE": f"{folder}/deletions.jsonl",
        "HEPATICA_WORKERS": "1",
        "OMP_NUM_THREADS": "1",
        **more,
    }


def command(
    database_url: str, folder: Path, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """``python -m app …`` to its end."""
    with ExitStack() as opened:
        given, out, complaints = (opened.enter_context(TemporaryFile()) for _ in range(3))
        given.write(stdin.encode())
        given.seek(0)
        process = forked.app(
            *arguments, env=environment(database_url, folder),
            stdin=given.fileno(), stdout=out.fileno(), stderr=complaints.fileno(),
        )  # fmt: skip
        status = process.wait(120)
        told = [_text(one) for one in (out, complaints)]
    return subprocess.CompletedProcess(list(arguments), status, *told)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def command_here(
    database_url: str, folder: Path, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """What ``command`` gives, without the seconds that a process takes to import everything."""
    out, complaints = io.StringIO(), io.StringIO()
    told = logging.StreamHandler(complaints)  # as a process without any handler does
    told.setLevel(logging.WARNING)
    logging.getLogger().addHandler(told)
    settings.cache_clear()
    try:
        with (
            patch.dict(os.environ, environment(database_url, folder)),
            patch.object(sys, "stdin", io.StringIO(stdin)),
            redirect_stdout(out),
            redirect_stderr(complaints),
        ):
            status = main(list(arguments))
    finally:
        settings.cache_clear()
        logging.getLogger().removeHandler(told)
    return subprocess.CompletedProcess(
        list(arguments), status, out.getvalue(), complaints.getvalue()
    )


class Served:
    """``python -m app serve`` on a free port."""

    def __init__(self, database_url: str, folder: Path, name: str = "server", **more: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log_path = folder / f"{name}.log"
        with self.log_path.open("ab") as log:
            self.process = forked.app(
                "serve", "--port", str(self.port), env=environment(database_url, folder, **more),
                stdout=log.fileno(), stderr=log.fileno(),
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait(self) -> Served:
        """Until it has started; raises when it ended instead."""
        for _ in range(1200):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended by itself:\n{self.log}")
            try:
                if self.get("/health/start")[0] == 200:
                    return self
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start:\n{self.log}")

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and body of an answer; JSON is parsed."""
        reply = self._ask("GET", path, None, headers)
        return reply.status, _body(reply)

    def post(self, path: str, form: dict[str, str], cookie: str = "") -> tuple[int, Any]:
        """Status and body of the answer to a browser's form."""
        headers = {"Origin": f"http://127.0.0.1:{self.port}", "Cookie": cookie}
        reply = self._ask("POST", path, urlencode(form), headers)
        return reply.status, _body(reply)

    def sign_in(self, name: str, password: str) -> str:
        """The cookies of a browser that signed in."""
        headers = {"Origin": f"http://127.0.0.1:{self.port}"}
        form = urlencode({"name": name, "password": password})
        reply = self._ask("POST", "/sessions", form, headers)
        assert reply.status == 303, reply.read()
        cookies = reply.headers.get_all("set-cookie")
        return "; ".join(one.partition(";")[0] for one in cookies)

    def _ask(
        self, method: str, path: str, body: str | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if body is not None:
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


def _body(reply: http.client.HTTPResponse) -> Any:
    text = reply.read().decode()
    return json.loads(text) if "json" in reply.headers.get("content-type", "") else text


_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA busy_timeout=10000")
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


@contextmanager
def lock_held(path: Path) -> Iterator[None]:
    """Another process holds the write lock of a SQLite file."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.stdin.close()
        holder.wait(20)
        holder.stdout.close()
