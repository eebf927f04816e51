"""What answers on the server's port while it cannot serve yet: a long migration, a demo.

``/health/start`` says since when it has been doing what, so that whoever starts it waits instead of
starting it again; ``/health/live`` says that it lives, and people are told to wait.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6

from app.settings import VERSION

_RETRY_S = 5


class Start:
    """A start on its way; `doing` is what it does now, as words after "it"."""

    def __init__(self) -> None:
        self.doing = "begins"
        self.since = datetime.now(UTC)

    def does(self, doing: str) -> None:
        """It does something else from now on."""
        self.doing, self.since = doing, datetime.now(UTC)

    @contextmanager
    def told(self, host: str, port: int, root_path: str) -> Iterator[None]:
        """Answer for the server that is to listen there; not at all where it could not either."""
        try:
            server = _Server(host, port, self, root_path)
        except OSError:  # the server will say why
            yield
            return
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, start: Start, root_path: str) -> None:
        self.address_family = AF_INET6 if ":" in host else AF_INET
        self.start, self.root_path = start, root_path
        super().__init__((host, port), _Answers)


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
