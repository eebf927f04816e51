"""A loop that does what is due, one thing after the other, until it is told to stop."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid

from app.errors import Unavailable
from app.faults import code, trouble

log = logging.getLogger("hepatica.clerk")

_PAUSE_S = 5.0


class Loop:
    """What is due is found by ``act``, in a thread of a web process or in one's own."""

    kind = "loop"

    def __init__(self) -> None:
        host = socket.gethostname()[:60]
        self.name = f"{self.kind} {host}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._bell = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def act(self) -> bool:
        """Do one thing that is due; False when nothing is."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread = threading.Thread(target=self.work, name=self.kind, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is in hand; what takes longer is claimed again by another."""
        self._stopped = True
        self._bell.set()
        if self._thread is not None:
            self._thread.join(10)

    def ring(self) -> None:
        """Something was queued here: look now and not at the next turn."""
        self._bell.set()

    def work(self, *, poll_s: float = 1.0, once: bool = False) -> None:
        """Do what is due as it comes; with ``once`` return when nothing is."""
        while not self._stopped:
            self._bell.clear()
            try:
                found = self.act()
            except Exception as error:
                if not isinstance(error, Unavailable) and trouble(error) is None:
                    log.exception("The %s met an unexpected fault and goes on.", self.kind)
                elif not isinstance(error, Unavailable):  # any other is in the log
                    log.error("The database failed: %s", code(error))
                self._bell.wait(_PAUSE_S)
                continue
            if once and not found:
                return
            if not found:
                self._bell.wait(poll_s)
