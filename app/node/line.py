"""A connection to the node, with limits: how long a PDU and a message may take, and how large."""

from __future__ import annotations

import logging
import socket
import threading
from time import monotonic

from ml.images.ct_slice import MAX_FILE_BYTES

log = logging.getLogger("hepatica.node")

MOST_PDU_BYTES = 2**20
"""Of one PDU. We announce 64 KiB; some senders take no notice, and none needs more than this."""
PDU_S = 30.0
"""So long a PDU that has begun may take to come whole."""
MESSAGE_S = 300.0
"""So long a message (one image with its command) may take."""
_CHUNK = 2**16


MOST_ON_THE_WAY_BYTES = 2 * MAX_FILE_BYTES
"""Of all messages together that have begun and are not whole."""


class Room:
    """What all connections may hold at the same moment of messages that are not whole."""

    def __init__(self, most_bytes: int = MOST_ON_THE_WAY_BYTES) -> None:
        self._left = most_bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Room for so many bytes; False where there is none."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give_back(self, count: int) -> None:
        """So many bytes are whole, or gone."""
        with self._lock:
            self._left += count


class Line:
    """Reads a connection for pynetdicom, in the place of its own ``recv``, which waits for ever.

    Attributes:
        introduced: whether whose it is was told (A-ASSOCIATE-RQ).
    """

    def __init__(
        self,
        connection: socket.socket,
        most_bytes: int = MAX_FILE_BYTES,
        room: Room | None = None,
    ) -> None:
        self.introduced = False
        self._connection = connection
        self._most_bytes = most_bytes
        self._room = room or Room()
        self._taken = 0
        self._begun: float | None = None

    def recv(self, nr_bytes: int) -> bytearray:
        """``nr_bytes``, or fewer where the other side closed.

        Raises:
            OSError: a limit is passed (TimeoutError: of time); the connection is given up.
        """
        count = nr_bytes
        if count > MOST_PDU_BYTES:
            raise self._given_up(OSError("a PDU is larger than is taken"))
        now = monotonic()
        self._begun = now if self._begun is None else self._begun
        if self._taken + count > self._most_bytes + MOST_PDU_BYTES:
            raise self._given_up(OSError("a message is larger than is taken"))
        if not self._room.take(count):
            raise self._given_up(OSError("more is on its way at once than is taken"))
        self._taken += count
        until = min(now + PDU_S, self._begun + MESSAGE_S)
        found = bytearray()
        while len(found) < count:
            left = until - monotonic()
            if left <= 0:
                raise self._given_up(TimeoutError("a PDU or message did not come in time"))
            self._connection.settimeout(left)
            try:
                chunk = self._connection.recv(min(_CHUNK, count - len(found)))
            except TimeoutError:
                continue
            if not chunk:
                break
            found.extend(chunk)
        self._connection.settimeout(PDU_S)  # of what is sent in return
        return found

    def message_came(self) -> None:
        """A message is whole, or the connection is gone: the next one begins anew."""
        self._room.give_back(self._taken)
        self._taken, self._begun = 0, None

    def cut(self) -> None:
        """End the connection; whoever reads it finds it closed."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is gone already
            return

    @staticmethod
    def _given_up(why: OSError) -> OSError:
        log.warning("A connection was given up: %s.", why)
        return why
