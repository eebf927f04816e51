"""The auditor: sends the audit trail to a receiver of syslog, in its order, each event at least
once.

How far the receiver is stands in the database, so that nothing is left out by a stop, a crash or a
receiver that is down; what may not have come is sent again, and its number says that it is the
same.
"""

from __future__ import annotations

import logging
from time import monotonic

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import Database
from app.jobs.loop import Loop
from app.models.ground.event import Event
from app.models.ground.trail import EVENT, TrailEntry, TrailReceiver
from app.operation.audit_message import Told, line
from app.operation.syslog import Receiver

log = logging.getLogger("hepatica.clerk")

AT_ONCE = 200
_HELD_S = 120.0
_PAUSES_S = (1.0, 5.0, 15.0, 60.0)
"""After the first, second, … try in a row that failed."""


class Auditor(Loop):
    """Sends what the receiver does not have yet, until it is told to stop."""

    kind = "auditor"

    def __init__(self, database: Database, receiver: Receiver) -> None:
        super().__init__()
        self._database = database
        self._receiver = receiver
        self._failed = 0
        self._not_before = 0.0

    def act(self) -> bool:
        """Send some; False when there is nothing to send, or not yet again."""
        if monotonic() < self._not_before or not self._is_behind():
            return False
        address = self._receiver.address
        with self._database.transaction() as session:
            number = TrailReceiver.hold(session, address, self.name, _HELD_S)
        if number is None:
            return False
        with self._database.reading() as session:
            told = _after(session, number)
        why = self._receiver.send([line(one) for one in told])
        with self._database.transaction() as session:
            last = number if why else told[-1].number
            TrailReceiver.took(session, address, self.name, last)
        self._note(why)
        return not why

    def _is_behind(self) -> bool:
        with self._database.reading() as session:
            has = sa.select(TrailReceiver.number).where(
                TrailReceiver.address == self._receiver.address
            )
            last = session.scalar(sa.select(sa.func.max(TrailEntry.number))) or 0
            return last > (session.scalar(has) or 0)

    def _note(self, why: str) -> None:
        if why:
            pause_s = _PAUSES_S[min(self._failed, len(_PAUSES_S) - 1)]
            self._not_before = monotonic() + pause_s
            log.warning(
                "The audit trail could not be sent to %s: %s. Nothing is lost; it is tried again.",
                self._receiver.address,
                why,
            )
        self._failed = self._failed + 1 if why else 0


def _after(session: Session, number: int) -> list[Told]:
    rows = session.execute(
        sa.select(TrailEntry.number, TrailEntry.digest, *EVENT[1:])
        .join(Event, Event.id == TrailEntry.event_id)
        .where(TrailEntry.number > number)
        .order_by(TrailEntry.number)
        .limit(AT_ONCE)
    )
    return [Told(*row) for row in rows]
