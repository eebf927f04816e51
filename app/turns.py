"""Turns: the writers of one process wait in a line, the first come first.

SQLite lets one write at a time, and its own busy wait is a lottery: who has waited longest asks
least often. In this line a writer waits for those before it and for nobody else.
"""

from __future__ import annotations

import threading
from collections import deque
from contextvars import ContextVar
from time import monotonic

from app.errors import NotNow

STUCK_AFTER_S = 3.0
LONGEST_WHEN_STUCK = 8
"""So many may wait behind a turn that does not end. The others are refused, or they would keep all
threads from the people who only read."""

_LOOK_EVERY_S = 0.5

_mine: ContextVar[Turn | None] = ContextVar("turn", default=None)


class Nested(RuntimeError):
    """A writer asked for a second turn while it has one: it would wait for itself."""


class Turn:
    """A place in the line, then the right to write until it is released."""

    def __init__(self, line: Turns) -> None:
        self.line = line
        self.granted = threading.Event()
        self.since = 0.0

    def release(self) -> None:
        """Let the next one write; a second time it does nothing."""
        self.line.end(self)


class Turns:
    """The line in front of one database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writing: Turn | None = None
        self._waiting: deque[Turn] = deque()

    def take(self, patience_s: float) -> Turn:
        """Wait for one's turn, at most ``patience_s``.

        Raises:
            NotNow: it did not come in time, or the line does not move and is long.
            Nested: this very writer has the turn already.
        """
        mine = _mine.get()
        if mine is not None and mine.line is self and mine is self._writing:
            raise Nested(
                "A writing transaction was begun within another one of the same request or thread: "
                "it would wait for itself."
            )
        turn = Turn(self)
        with self._lock:
            if self._writing is None:
                self._grant(turn)
            elif self._is_stuck() and len(self._waiting) >= LONGEST_WHEN_STUCK:
                raise busy()
            else:
                self._waiting.append(turn)
        until = monotonic() + patience_s
        while not turn.granted.wait(max(0.0, min(_LOOK_EVERY_S, until - monotonic()))):
            with self._lock:
                if turn.granted.is_set():
                    break
                if monotonic() >= until or self._is_too_far_back(turn):
                    self._waiting.remove(turn)
                    raise busy()
        _mine.set(turn)
        return turn

    def end(self, turn: Turn) -> None:
        """Give a turn back and grant the next."""
        with self._lock:
            if turn is not self._writing:
                return
            self._writing = None
            if self._waiting:
                self._grant(self._waiting.popleft())

    def _grant(self, turn: Turn) -> None:
        self._writing, turn.since = turn, monotonic()
        turn.granted.set()

    def _is_stuck(self) -> bool:
        return self._writing is not None and monotonic() - self._writing.since >= STUCK_AFTER_S

    def _is_too_far_back(self, turn: Turn) -> bool:
        return self._is_stuck() and self._waiting.index(turn) >= LONGEST_WHEN_STUCK


def busy() -> NotNow:
    """What a writer is told who waited in vain."""
    return NotNow(
        "Somebody else is writing to the database, and it takes longer than usual. Nothing of "
        "yours was stored; try again in a few seconds."
    )
