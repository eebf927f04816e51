"""The edge of the server: what a connection may cost before the application sees a request.

The parser of the server bounds neither a request's head nor the time for it, and a client that
reads nothing keeps its answer in memory. So a head is limited in bytes, headers and seconds; a
client that takes nothing of its answer is cut off; and where too many are connected, the one that
has been idle longest makes room.
"""

from __future__ import annotations

import asyncio
import resource
from asyncio.events import TimerHandle

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MOST_HEAD_BYTES = 32_768
"""Largest head of a request: its first line and its headers."""
MOST_HEADERS = 100
HEAD_S = 15.0
"""Seconds within which a head must be here, from the connection or its first byte on."""
DRAIN_S = 60.0
"""Seconds for which the rest of a body is still taken when its request was refused."""
KEEP_ALIVE_S = 20
"""Seconds that a connection may wait for its next request."""
STALLED_S = 30.0
"""Seconds after which a client that takes nothing of its answer is cut off."""
MOST_CONNECTIONS = 1000
"""Connections of one process; fewer where the system allows it few open files."""


def most_connections() -> int:
    """How many connections this process takes: half of its open files at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft // 2)


_UNDONE = "nothing was changed. Send it again."
"""No address acts on a body before it has come whole."""


class _Refused(Exception):
    """Ends the parsing of a head."""


class Edge(HttpToolsProtocol):
    """One connection, within bounds."""

    _refused = 400
    _head_begun = False
    _message_begun = False
    _head_size = 0  # of what was parsed
    _unparsed = 0  # bytes of a head or trailer in further pieces
    _idle_since = 0.0
    _head_timer: TimerHandle | None = None
    _stall_timer: TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come: 503 where no room is left, nor an idle client to cut off for it."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if self._is_room():
            self._await_head()
        else:
            self._refuse(503, "Too many connections. Try again in a moment.", retry_after_s=5)

    def connection_lost(self, exc: Exception | None) -> None:
        """A client has gone, and its timers with it."""
        self._head_is_here()
        self._watch_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes from a client: parsed, or answered 400 (no HTTP) or 431 (too large a head)."""
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        if self._message_begun:
            self._unparsed += len(data)
        try:
            self.parser.feed_data(data)
            if self._unparsed > MOST_HEAD_BYTES:
                self._refused = 431
                raise httptools.HttpParserError("head or trailer too large")
        except httptools.HttpParserUpgrade:
            pass  # answered as an ordinary request: nothing here upgrades
        except httptools.HttpParserError:
            if self._refused == 431:
                self._refuse(431, "The head of the request is too large.")
            elif self._is_in_body:
                self._refuse(400, f"The body of the request is not sound HTTP; {_UNDONE}")
            else:
                self._refuse(400, "Invalid HTTP request.")
        if self.is_idle and self._head_timer is None and not self.transport.is_closing():
            self._await_head()  # bytes came, and no request of them

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more: 400 where a head or a body has not come whole.

        Returns:
            True where it still has an answer to come, for which it may listen.
        """
        if self._is_in_body:
            self._refuse(400, f"The connection was closed before the body had come; {_UNDONE}")
        elif not self.is_idle:
            self.cycle.keep_alive = False
            return True
        elif self._head_begun:
            self._refuse(400, "The connection was closed before the head had come.")
        return False

    def on_message_begin(self) -> None:
        """A request begins: from now on its head has ``HEAD_S`` seconds."""
        super().on_message_begin()
        self._head_begun = self._message_begun = True
        self._head_size = self._unparsed = 0
        self._await_head()

    def on_url(self, url: bytes) -> None:
        """A piece of its address, which counts towards its head."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; 431 beyond ``MOST_HEADERS`` of them, or ``MOST_HEAD_BYTES`` in all."""
        self._count(len(name) + len(value))
        if len(self.headers) >= MOST_HEADERS:
            self._too_large()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here, and its request goes to the application."""
        self._head_is_here()
        self._unparsed = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._unparsed = 0  # what follows the last piece of a body is a trailer
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._message_begun = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered: the connection is idle until its next request."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came within ``KEEP_ALIVE_S``: close once all is sent."""
        self._close()

    def pause_writing(self) -> None:
        """The client is slow to take its answer: after ``STALLED_S`` of nothing it is cut off."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has caught up; the answer goes on."""
        if not self.transport.is_closing():
            self._watch_no_more()
        super().resume_writing()

    @property
    def _is_in_body(self) -> bool:
        return not self.is_idle and bool(self.cycle.more_body)

    def _is_room(self) -> bool:
        """Make room for a new connection; False when all others are being answered."""
        if len(self.connections) <= most_connections():
            return True
        others = (one for one in self.connections if isinstance(one, Edge) and one is not self)
        idle = [one for one in others if one._is_waiting()]
        if not idle:
            return False
        min(idle, key=lambda one: one._idle_since).transport.abort()
        return True

    def _is_waiting(self) -> bool:
        """Whether it neither owes an answer nor is still sending one."""
        sent = self.transport.get_write_buffer_size() == 0
        return self.is_idle and sent and not self.transport.is_closing()

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MOST_HEAD_BYTES:
            self._too_large()

    def _too_large(self) -> None:
        self._refused = 431
        raise _Refused

    def _await_head(self) -> None:
        if self._head_timer is None:
            # an upload that was refused may send what it has, so that its sender hears of it
            wait_s = HEAD_S if self._head_begun or not self._message_begun else DRAIN_S
            self._head_timer = self.loop.call_later(wait_s, self._head_is_late)

    def _head_is_here(self) -> None:
        self._head_begun = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing() or not self.is_idle:
            return
        if self._head_begun:
            self._refuse(408, "The head of the request did not come in time.")
        else:
            self._close()

    def _refuse(self, status: int, words: str, retry_after_s: int | None = None) -> None:
        self._head_is_here()
        if not self.is_idle:  # no second voice in an answer that is being given
            if not self.cycle.more_body:
                self.cycle.keep_alive = False
                return
            silent = self.cycle.response_started or self.pipeline
            self.cycle.disconnected = True  # whoever reads the body hears that no more will come
            self.cycle.message_event.set()
            if silent:
                self.cycle.keep_alive = False
                self._close()
                return
        body = words.encode("ascii")
        head = [
            STATUS_LINE[status],
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(body),
            b"connection: close\r\n",
        ]
        if retry_after_s is not None:
            head.append(b"retry-after: %d\r\n" % retry_after_s)
        self.transport.write(b"".join([*head, b"\r\n", body]))
        self._close()

    def _close(self) -> None:
        """Close once all is sent; a client that takes nothing of it is cut off."""
        if not self.transport.is_closing():
            self.transport.close()
            self._watch(self.transport.get_write_buffer_size() + 1)

    def _watch(self, before: int) -> None:
        self._watch_no_more()

        def look() -> None:
            waiting = self.transport.get_write_buffer_size()
            if waiting >= before:
                self.transport.abort()
            else:
                self._watch(waiting)

        self._stall_timer = self.loop.call_later(STALLED_S, look)

    def _watch_no_more(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
