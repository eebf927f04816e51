"""What answers on the server's port while it cannot serve yet: a long migration, a demo.

``/health/start`` says since when it has been doing what, so that whoever starts it waits instead of
starting it again; ``/health/live`` says that it lives, and people are told to wait.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from typing import Any

from app.errors import AppError
from app.settings import VERSION

log = logging.getLogger("hepatica")

_RETRY_S = 5
_TAKEN_S = 10.0
"""So long a port may be taken: a server that was killed leaves it as soon as its processes end."""
_WAITING = 2048
"""Connections that wait at most until a process takes them."""


def listen(host: str, port: int) -> socket.socket:
    """The socket that connections come to, from the start on and whichever process takes them.

    Raises:
        AppError: another program has the port, or this one may not have it.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    until, told = monotonic() + _TAKEN_S, False
    while True:
        try:
            listening.bind((host, port))
            listening.listen(_WAITING)
            return listening
        except OSError as error:
            if error.errno == errno.EADDRINUSE and monotonic() < until:
                if not told:
                    log.warning("Port %d is taken; it is waited for %g s.", port, _TAKEN_S)
                    told = True
                sleep(0.1)
                continue
            listening.close()
            raise AppError(
                f"Nothing can listen at {host}, port {port} ({error.strerror}). Choose another "
                "port with --port or HEPATICA_PORT, or end what has it."
            ) from error


class Start:
    """A start on its way; `doing` is what it does now, as words after "it"."""

    def __init__(self) -> None:
        self.doing = "begins"
        self.since = datetime.now(UTC)

    def does(self, doing: str) -> None:
        """It does something else from now on."""
        self.doing, self.since = doing, datetime.now(UTC)

    @contextmanager
    def told(self, listening: socket.socket, root_path: str) -> Iterator[None]:
        """Answer for the server that will; who comes at the end of the block waits for it."""
        server = _Server(listening, self, root_path)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # none may be left when processes are forked

    def __init__(self, listening: socket.socket, start: Start, root_path: str) -> None:
        self.start, self.root_path = start, root_path
        super().__init__(listening.getsockname()[:2], _Answers, bind_and_activate=False)
        self.socket.close()
        self.socket = listening.dup()
        self._asking: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """As its own, and known until it is over."""
        self._asking.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """As its own."""
        self._asking.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """End every connection, and wait for its thread: who has not asked by now is cut off."""
        for one in self._asking.copy():
            with suppress(OSError):
                one.shutdown(socket.SHUT_RD)
        super().server_close()


class _Answers(BaseHTTPRequestHandler):
    """Closes each connection: none may still be here when the server takes the port."""

    server: _Server
    timeout = 5

    def do_GET(self) -> None:
        """How far the start is; 503 for whatever but `live`."""
        start = self.server.start
        path = self.path.partition("?")[0].removeprefix(self.server.root_path)
        if path == "/health/live":
            self._say(200, {"status": "live", "version": VERSION})
        elif path in ("/health/start", "/health/ready"):
            since = start.since.isoformat(timespec="seconds")
            self._say(503, {"status": "starting", "doing": start.doing, "since": since})
        else:
            at = start.since.strftime("%H:%M UTC")
            self._say(503, f"Hepatica is starting; since {at} it {start.doing}. Try again soon.\n")

    do_HEAD = do_POST = do_GET

    def _say(self, status: int, told: dict[str, str] | str) -> None:
        is_words = isinstance(told, str)
        body = (told if is_words else json.dumps(told)).encode()  # type: ignore[union-attr]
        self.send_response_only(status)
        kind = "text/plain; charset=utf-8" if is_words else "application/json"
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.send_header("connection", "close")
        if status == 503:
            self.send_header("retry-after", str(_RETRY_S))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: what it would say holds the address."""
