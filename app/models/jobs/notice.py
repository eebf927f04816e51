"""Notices: that a job is over, to be told to an address which an administrator configured.

A row for each, made with the job; it is due when the job is over, and tried until the receiver took
it or it is given up. Killed between the receiver's answer and its being written down, a notice is
sent once more, under the same id.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, Word, now
from app.models.ground.event import Event
from app.models.jobs.job import OVER, Job

Found = TypeVar("Found")

WAITS_S = (5.0, 30.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0)
"""Seconds between one try and the next; after the last one it is given up, within a day."""
LEASE_S = 120.0
"""So long nobody else tries a notice that is being sent; longer than one try may take."""


class NoticeState(StrEnum):
    """Where a notice stands."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given up"


class Notice(Base):
    """That a job is over, for one configured receiver."""

    __tablename__ = "job_notice"
    __table_args__ = (sa.CheckConstraint("state IN ('waiting','sent','given up')", name="state"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    job_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("job.id", ondelete="CASCADE"), index=True
    )
    hook: Mapped[str] = mapped_column(sa.String(60))
    state: Mapped[NoticeState] = mapped_column(
        Word(NoticeState, 10), default=NoticeState.WAITING, index=True
    )
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(sa.Text)

    job: Mapped[Job] = relationship()

    @staticmethod
    def order(session: Session, job: Job, hook: str) -> None:
        """Have the end of a job told to the hook of that name."""
        session.add(Notice(job_id=job.id, hook=hook))
        session.flush()

    @staticmethod
    def of(session: Session, job_id: uuid.UUID) -> Notice | None:
        """That of a job, where one was asked for."""
        return session.scalars(sa.select(Notice).where(Notice.job_id == job_id)).first()

    @staticmethod
    def is_due(session: Session) -> bool:
        """Whether one is; looks only."""
        return session.scalar(_due(sa.select(Notice.id)).limit(1)) is not None

    @staticmethod
    def claim(session: Session) -> Notice | None:
        """Take the one that has been due longest, for so long that no other clerk takes it."""
        notice = session.scalars(
            _due(sa.select(Notice))
            .order_by(Notice.due_at, Notice.id)
            .limit(1)
            .with_for_update(skip_locked=True, of=Notice)
        ).one_or_none()
        if notice is not None:
            notice.tries += 1
            notice.due_at = now() + timedelta(seconds=LEASE_S)
            session.flush()
        return notice

    @property
    def is_over(self) -> bool:
        """Whether it was sent or given up."""
        return self.state != NoticeState.WAITING

    def sent(self) -> None:
        """The receiver took it."""
        self.state, self.ended_at, self.error = NoticeState.SENT, now(), None

    def failed(self, session: Session, by: str, why: str) -> None:
        """It was not taken: tried again later, or given up with an Event."""
        self.error = why
        if self.tries <= len(WAITS_S):
            self.due_at = now() + timedelta(seconds=WAITS_S[self.tries - 1])
            return
        self.give_up(session, by, why)

    def give_up(self, session: Session, by: str, why: str) -> None:
        """It will not be tried again."""
        self.state, self.ended_at, self.error = NoticeState.GIVEN_UP, now(), why
        Event.record(
            session, by, "notice given up", str(self.job_id), hook=self.hook, tries=self.tries
        )


def _due(query: sa.Select[Found]) -> sa.Select[Found]:
    return query.join(Job, Job.id == Notice.job_id).where(
        Notice.state == NoticeState.WAITING, Notice.due_at <= now(), Job.state.in_(OVER)
    )
