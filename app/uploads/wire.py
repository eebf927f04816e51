"""Messages between a process that reads files and whoever asks it: JSON, and bytes beside it.

No pickles: whoever takes over the process that reads a hostile file can send what they like, so
what comes from it is judged before it is believed.

Exception
 ├ Ended             the other side is gone
 ├ Silent            nothing came in time
 └ UnusableMessage   what came is no message of ours
"""

from __future__ import annotations

import json
import socket
import struct
from time import monotonic
from typing import Any

from ml.images.ct_slice import MAX_SIDE_PX

MOST_TOLD = 2**27
"""Largest JSON of a message: the contours of an object that marks lesions can be many."""
MOST_DATA = 2 * MAX_SIDE_PX**2 + 2**20
"""Most bytes beside it in an answer: one slice."""
SENDING_S = 60.0
"""So long a message may take to be sent."""

ORDER = struct.Struct("!cQ")
"""What is asked of the process that forks: `START`, with a socket and a pipe, or `KILL`; and the
number of the process that it is about."""
START, KILL = b"S", b"K"
STATUS = struct.Struct("!i")
"""How a process ended: minus a signal, or its exit code."""

_SIZES = struct.Struct("!IQ")


class Ended(Exception):
    """The other side is gone."""


class Silent(Exception):
    """Nothing came in time."""


class UnusableMessage(Exception):
    """What came is no message of ours."""


class Line:
    """One end of a connected socket.

    Args:
        most_data: most bytes that may come beside the JSON of a message.
        waits: whether there is a limit to how long is waited; it needs `poll`, which a process that
            may have no more files cannot call.
    """

    def __init__(
        self, connection: socket.socket, most_data: int = MOST_DATA, *, waits: bool = True
    ) -> None:
        self._connection = connection
        self._most_data = most_data
        self._waits = waits
        self.heard = False
        """Whether anything came."""

    def send(self, kind: str, told: object = None, data: bytes | memoryview = b"") -> None:
        """Send a message; Ended where nobody takes it."""
        words = json.dumps([kind, told]).encode()
        try:
            if self._waits:
                self._connection.settimeout(SENDING_S)
            self._connection.sendall(_SIZES.pack(len(words), len(data)) + words)
            if data:
                self._connection.sendall(data)
        except OSError as error:
            raise Ended from error

    def receive(self, within_s: float | None = None) -> tuple[str, Any, bytes]:
        """The next message: its kind, what it tells, and the bytes beside it.

        Args:
            within_s: so long it is waited for, all of it; None: without end.

        Raises:
            Ended, Silent, UnusableMessage
        """
        until = None if within_s is None else monotonic() + within_s
        told, size = _SIZES.unpack(self._whole(_SIZES.size, until))
        if told > MOST_TOLD or size > self._most_data:
            raise UnusableMessage(f"{told} and {size} bytes are more than a message has")
        words, data = self._whole(told, until), self._whole(size, until)
        try:
            kind, what = json.loads(words)
        except (ValueError, TypeError, RecursionError) as error:
            raise UnusableMessage("it is no pair of JSON") from error
        if not isinstance(kind, str):
            raise UnusableMessage("it has no kind")
        self.heard = True
        return kind, what, bytes(data)

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def _whole(self, size: int, until: float | None) -> bytearray:
        found = bytearray(size)
        view, at = memoryview(found), 0
        while at < size:
            try:
                if until is not None:
                    self._connection.settimeout(max(0.001, until - monotonic()))
                count = self._connection.recv_into(view[at:])
            except TimeoutError as error:
                raise Silent from error
            except OSError as error:
                raise Ended from error
            if not count:
                raise Ended
            at += count
        return found
