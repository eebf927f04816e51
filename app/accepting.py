"""How processes that share a socket take connections from it: one at a time.

uvloop takes all that wait as soon as it looks, so of several processes the first one that looks
would have all connections of a moment, and with them all requests that follow over them. Here a
process takes one, and looks again once it has done what else there is: what waits goes to whichever
has less to do.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvloop

log = logging.getLogger("hepatica")

_PAUSE_S = 1.0
"""So long nobody is let in where the system has no room for another connection."""
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class OneByOne(uvloop.Loop):
    """An event loop whose servers take their connections one at a time."""

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: None = None,
        port: None = None,
        *,
        sock: socket.socket,
        backlog: int = 100,
        **others: Any,
    ) -> Accepting:
        """A server at a socket that is listening."""
        return Accepting(self, protocol_factory, sock)


class Accepting:
    """Takes connections from a socket until it is closed: as much of a server as uvicorn asks."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.Protocol],
        listening: socket.socket,
    ) -> None:
        self._loop = loop
        self._protocol_factory = protocol_factory
        self._listening = listening
        self._begun: set[asyncio.Task[Any]] = set()
        self._is_open = True
        listening.setblocking(False)
        loop.add_reader(listening.fileno(), self._accept)

    def close(self) -> None:
        """Take no more."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Nothing: what was taken is its protocol's."""

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            log.error("No room for another connection (%s).", errno.errorcode[error.errno or 0])
            self._loop.remove_reader(self._listening.fileno())
            self._loop.call_later(_PAUSE_S, self._go_on)
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(
            self._loop.connect_accepted_socket(self._protocol_factory, connection)
        )
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    def _go_on(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listening.fileno(), self._accept)
