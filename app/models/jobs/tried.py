"""What is tried until it succeeds or is given up, by one clerk at a time."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Word, now

WAITS_S = (5.0, 30.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0)
"""Seconds between one try and the next; after the last one it is given up, within a day."""


class TriedState(StrEnum):
    """Where it stands."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given up"


STATES = "state IN ('waiting','sent','given up')"


class Tried:
    """Tries of a row: when the next is due, how many there were, why the last one failed.

    A clerk claims it for a while by setting when it is due again; killed, it leaves it so.
    """

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    state: Mapped[TriedState] = mapped_column(
        Word(TriedState, 10), default=TriedState.WAITING, index=True
    )
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(sa.Text)

    @property
    def is_over(self) -> bool:
        """Whether it was sent or given up."""
        return self.state != TriedState.WAITING

    def claim_for(self, lease_s: float) -> None:
        """One more try, and nobody else's for so long."""
        self.tries += 1
        self.due_at = now() + timedelta(seconds=lease_s)

    def succeeded(self) -> None:
        """It was done."""
        self.state, self.ended_at, self.error = TriedState.SENT, now(), None

    def failed(self, why: str) -> None:
        """It was not: tried again later, or given up after the last try."""
        self.error = why
        if self.tries <= len(WAITS_S):
            self.due_at = now() + timedelta(seconds=WAITS_S[self.tries - 1])
        else:
            self.give_up(why)

    def give_up(self, why: str) -> None:
        """It will not be tried again by itself."""
        self.state, self.ended_at, self.error = TriedState.GIVEN_UP, now(), why
