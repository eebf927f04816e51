"""What waits and what was given up, and when something was last: for `/metrics` and the status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import now
from app.models.ground.event import Event
from app.models.jobs.job import Job, JobState
from app.models.jobs.notice import Notice
from app.models.jobs.returned_object import ReturnedObject
from app.models.jobs.tried import TriedState
from app.models.runs.run import Run, RunState

QUEUES = (
    ("jobs", Job.created_at, Job.state.in_((JobState.QUEUED, JobState.RUNNING))),
    ("runs", Run.created_at, Run.state.in_((RunState.QUEUED, RunState.RUNNING))),
    ("notices", Notice.due_at, Notice.state == TriedState.WAITING),
    ("returns", ReturnedObject.created_at, ReturnedObject.state == TriedState.WAITING),
)  # fmt: skip
"""What each is called, since when a row waits, and which rows do."""
_TRIED = (("notices", Notice), ("returns", ReturnedObject))


@dataclass(frozen=True)
class Waiting:
    """A queue: how many wait or are being done, and since when the oldest (None: none does)."""

    count: int
    oldest: datetime | None

    @property
    def age_s(self) -> float:
        """How long the oldest has been there or, of notices, due; 0: none."""
        return 0.0 if self.oldest is None else max(0.0, (now() - self.oldest).total_seconds())


def waiting(session: Session) -> dict[str, Waiting]:
    """Each of `QUEUES` by its name."""
    found = {}
    for name, since, waits in QUEUES:
        query = sa.select(sa.func.count(), sa.func.min(since)).where(waits)
        found[name] = Waiting(*session.execute(query).one())
    return found


def given_up(session: Session, within: timedelta | None = None) -> dict[str, int]:
    """How many could not be sent and are tried no more: of all time, or of late."""
    found = {}
    for name, table in _TRIED:
        query = sa.select(sa.func.count()).where(table.state == TriedState.GIVEN_UP)
        if within is not None:
            query = query.where(table.ended_at >= now() - within)
        found[name] = session.scalar(query) or 0
    return found


def last(session: Session, kind: str) -> datetime | None:
    """When an event of this kind was written last; None: never."""
    return session.scalar(sa.select(sa.func.max(Event.at)).where(Event.kind == kind))
