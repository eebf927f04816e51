"""The line to a PACS: sockets that keep to three deadlines.

A PACS that sends a byte each second is never silent, so a limit on silence alone would wait for it
for ever: every reading and writing here ends when the time for the whole request does.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import httpcore

from app.pacs.configured import PacsSettings
from app.pacs.faults import PacsDown, PacsSlow, Untrusted
from ml.ground.errors import reason

Done = TypeVar("Done")


class Clock:
    """How long the request under way may still take."""

    def __init__(self, pacs: PacsSettings) -> None:
        self.pacs = pacs
        self._end = 0.0

    def start(self) -> None:
        """A request begins."""
        self._end = monotonic() + self.pacs.total_s

    def left(self, most_s: float) -> float:
        """Seconds that one step may take, ``most_s`` at most.

        Raises:
            PacsSlow: no time is left.
        """
        left = self._end - monotonic()
        if left <= 0:
            raise self.over()
        return min(left, most_s)

    def over(self) -> PacsSlow:
        """What to say when a step took too long: of silence, or of the whole."""
        if monotonic() >= self._end:
            return PacsSlow(
                f"{self.pacs.shown} did not end its answer within {self.pacs.total_s:g} seconds. "
                "Try again later, or ask the administrator to raise total_s of its entry."
            )
        return PacsSlow(
            f"{self.pacs.shown} was silent for {self.pacs.read_s:g} seconds. Try again later, or "
            "ask the administrator to raise read_s of its entry."
        )


class Line(httpcore.NetworkBackend):
    """Connects to one PACS."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection, made in time.

        Raises:
            PacsDown: nothing answers there.
        """
        pacs = self._clock.pacs
        try:
            found = socket.create_connection((host, port), self._clock.left(pacs.connect_s))
        except TimeoutError:
            raise PacsDown(
                f"{pacs.shown} could not be reached within {pacs.connect_s:g} seconds. Is it "
                "switched on, and does the network let this server through?"
            ) from None
        except OSError as error:
            raise PacsDown(f"{pacs.shown} cannot be reached: {reason(error)}.") from None
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Stream(found, self._clock)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """No PACS is reached so."""
        raise NotImplementedError


class _Stream(httpcore.NetworkStream):
    def __init__(self, line: socket.socket, clock: Clock) -> None:
        self._socket = line
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._timed(partial(self._socket.recv, max_bytes), httpcore.ReadError)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        while rest:
            rest = rest[self._timed(partial(self._socket.send, rest), httpcore.WriteError) :]

    def _timed(self, step: Callable[[], Done], broken: type[Exception]) -> Done:
        self._socket.settimeout(self._clock.left(self._clock.pacs.read_s))
        try:
            return step()
        except TimeoutError:
            raise self._clock.over() from None
        except OSError as error:
            raise broken from error

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        pacs = self._clock.pacs
        self._socket.settimeout(self._clock.left(pacs.connect_s))
        try:
            safe = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise Untrusted(
                f"The certificate of {pacs.shown[:1].lower()}{pacs.shown[1:]} is not trusted "
                f"({error.verify_message}). Nothing was sent. Name its authority's certificates in "
                "ca_bundle of its entry; the check cannot be turned off."
            ) from None
        except TimeoutError:
            self.close()
            raise self._clock.over() from None
        except (ssl.SSLError, OSError):
            self.close()
            raise PacsDown(
                f"{pacs.shown} does not speak TLS as this server does. Is its address one of "
                "https, and its TLS 1.2 or newer?"
            ) from None
        return _Stream(safe, self._clock)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._is_readable()
        return {"ssl_object": self._socket if isinstance(self._socket, ssl.SSLSocket) else None,
                "socket": self._socket}.get(info)  # fmt: skip

    def _is_readable(self) -> bool:
        """Whether something came without being asked for: the other side has ended the line."""
        if self._socket.fileno() < 0:
            return True
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(0))
