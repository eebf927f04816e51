"""Notices: that a job is over, to be told to an address which an administrator configured.

A row for each, made with the job; it is due when the job is over, and tried until the receiver took
it or it is given up. Killed between the receiver's answer and its being written down, a notice is
sent once more, under the same id.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.models.ground.event import Event
from app.models.jobs.job import OVER, Job
from app.models.jobs.tried import STATES, Tried, TriedState

Found = TypeVar("Found")

LEASE_S = 120.0
"""So long nobody else tries a notice that is being sent; longer than one try may take."""


class Notice(Tried, Base):
    """That a job is over, for one configured receiver."""

    __tablename__ = "job_notice"
    __table_args__ = (sa.CheckConstraint(STATES, name="state"),)

    job_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("job.id", ondelete="CASCADE"), index=True
    )
    hook: Mapped[str] = mapped_column(sa.String(60))

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
    def of_all(session: Session, job_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Notice]:
        """Those of some jobs, by the job."""
        found = session.scalars(sa.select(Notice).where(Notice.job_id.in_(job_ids)))
        return {one.job_id: one for one in found}

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
            notice.claim_for(LEASE_S)
            session.flush()
        return notice

    def told(self, session: Session, by: str, why: str) -> None:
        """What became of a try: ``why`` it failed, or "" where the receiver took it."""
        if not why:
            self.succeeded()
            return
        self.failed(why)
        if self.state == TriedState.GIVEN_UP:
            Event.record(
                session, by, "notice given up", str(self.job_id), hook=self.hook, tries=self.tries
            )


def _due(query: sa.Select[Found]) -> sa.Select[Found]:
    return query.join(Job, Job.id == Notice.job_id).where(
        Notice.state == TriedState.WAITING, Notice.due_at <= now(), Job.state.in_(OVER)
    )
