"""A connection to the node, with limits: how long a PDU and a message may take, and how large."""

from __future__ import annotations

import socket
from time import monotonic

from ml.images.ct_slice import MAX_FILE_BYTES

MOST_PDU_BYTES = 2**20
"""Of one PDU. We announce 64 KiB; some senders take no notice, and none needs more than this."""
PDU_S = 30.0
"""So long a PDU that has begun may take to come whole."""
MESSAGE_S = 300.0
"""So long a message (one image with its command) may take."""
_CHUNK = 2**16


class Line:
    """Reads a connection for pynetdicom, in the place of its own ``recv``, which waits for ever."""

    def __init__(self, connection: socket.socket, most_bytes: int = MAX_FILE_BYTES) -> None:
        self._connection = connection
        self._most_bytes = most_bytes
        self._taken = 0
        self._begun: float | None = None

    def recv(self, nr_bytes: int) -> bytearray:
        """``nr_bytes``, or fewer where the other side closed.

        Raises:
            OSError: a limit is passed (TimeoutError: of time); the connection is given up.
        """
        count = nr_bytes
        if count > MOST_PDU_BYTES:
            raise OSError("a PDU is larger than is taken")
        now = monotonic()
        self._begun = now if self._begun is None else self._begun
        self._taken += count
        if self._taken > self._most_bytes + MOST_PDU_BYTES:
            raise OSError("a message is larger than is taken")
        until = min(now + PDU_S, self._begun + MESSAGE_S)
        found = bytearray()
        while len(found) < count:
            left = until - monotonic()
            if left <= 0:
                raise TimeoutError("a PDU or message did not come in time")
            self._connection.settimeout(left)
            chunk = self._connection.recv(min(_CHUNK, count - len(found)))
            if not chunk:
                break
            found.extend(chunk)
        self._connection.settimeout(PDU_S)  # of what is sent in return
        return found

    def message_came(self) -> None:
        """A message is whole: the next one begins anew."""
        self._taken, self._begun = 0, None
