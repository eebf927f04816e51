"""Jobs: work that a program asked for and does not wait for.

A job is a row. Whoever does it claims it for as long as they are heard of; killed at any moment, it
is claimed again and begun anew, and what it found is written once, by the one who holds it then.
What was sent for it (an ROI, a place) is kept until it is over, its result for a set time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, Word, in_parts, now
from app.errors import Conflict, NotFound, TooMany
from app.models.checkpoint import Checkpoint
from app.models.ground.event import Event
from app.models.jobs.holder import Holder
from app.models.jobs.naming import names_any


class JobKind(StrEnum):
    """What there is to do."""

    CLASSIFICATION = "classification"
    FETCH = "fetch"
    """Images of a configured PACS."""


class JobState(StrEnum):
    """Where a job stands; the last three are for ever."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
LOST_AFTER_S = 60.0
"""A job whose clerk was not heard of for this long may be claimed again."""
MOST_CLAIMS = 5
"""A job that was begun so often and never ended is given up: it may be what ends its clerks."""
MOST_WAITING = 100
"""Jobs of one holder that wait or run."""
MOST_LISTED = 100

_JSON = sa.JSON(none_as_null=True)


class Job(Base):
    """One piece of work: asked for by a program, claimed by a clerk, done, failed or cancelled."""

    __tablename__ = "job"
    __table_args__ = (
        sa.CheckConstraint(
            "state IN ('queued','running','done','failed','cancelled')", name="state"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    kind: Mapped[JobKind] = mapped_column(Word(JobKind, 20))
    state: Mapped[JobState] = mapped_column(Word(JobState, 12), default=JobState.QUEUED, index=True)
    owner_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("user.id"), index=True)
    token_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("api_token.id"), index=True)
    asked_by: Mapped[str] = mapped_column(sa.String(140))
    checkpoint_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("checkpoint.id"))
    asked: Mapped[dict[str, Any] | None] = mapped_column(_JSON)
    """What is to be done; nothing once it is over."""
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int]
    result: Mapped[dict[str, Any] | None] = mapped_column(_JSON)
    error: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    cancel_at: Mapped[datetime | None]
    clerk: Mapped[str | None] = mapped_column(sa.String(100))
    heard_at: Mapped[datetime | None]
    claims: Mapped[int] = mapped_column(default=0)

    checkpoint: Mapped[Checkpoint | None] = relationship()

    # -- finding -------------------------------------------------------------------------------

    @staticmethod
    def of(session: Session, holder: Holder, state: JobState | None = None) -> list[Job]:
        """The holder's jobs, an administrator's everybody's, the newest first; at most 100."""
        query = sa.select(Job).where(_belongs_to(holder))
        if state is not None:
            query = query.where(Job.state == state)
        return list(
            session.scalars(query.order_by(Job.created_at.desc(), Job.id).limit(MOST_LISTED))
        )

    @staticmethod
    def require(
        session: Session,
        job_id: uuid.UUID,
        holder: Holder,
        *,
        kind: JobKind | None = None,
        to_change: bool = False,
    ) -> Job:
        """The job of that id, locked for the transaction when it is ``to_change``.

        Args:
            kind: which it must be.

        Raises:
            NotFound: there is none, or it is somebody else's; nobody learns which.
        """
        query = sa.select(Job).where(Job.id == job_id, _belongs_to(holder))
        if kind is not None:
            query = query.where(Job.kind == kind)
        job = session.scalars(query.with_for_update() if to_change else query).one_or_none()
        if job is None:
            raise NotFound(
                "There is no such job, or it is not yours. Jobs are kept for a set time after "
                "their end."
            )
        return job

    @property
    def is_over(self) -> bool:
        """Whether it was done, failed or cancelled."""
        return self.state in OVER

    @property
    def address(self) -> str:
        """Where it is asked after."""
        return f"/api/v1/jobs/{self.id}"

    @property
    def cases(self) -> set[uuid.UUID]:
        """What its result is of."""
        result = self.result or {}
        told = (one.get("case") for one in (result, *result.get("lesions", ())))
        return {uuid.UUID(case) for case in told if case}

    # -- verbs of whoever asks -----------------------------------------------------------------

    @staticmethod
    def queue(
        session: Session,
        holder: Holder,
        kind: JobKind,
        asked: dict[str, Any],
        *,
        total: int,
        checkpoint: Checkpoint | None = None,
    ) -> Job:
        """Ask for work.

        Args:
            asked: what is to be done, as JSON; never a name or a number of a patient.
            total: how many parts it has.
            checkpoint: the network that is to do it, whichever is served by then.

        Raises:
            TooMany: the holder has too many jobs waiting.
        """
        waiting = sa.select(sa.func.count()).where(
            _own(holder), Job.state.in_((JobState.QUEUED, JobState.RUNNING))
        )
        if session.scalars(waiting).one() >= MOST_WAITING:
            raise TooMany(
                f"{MOST_WAITING} of your jobs wait or run. Nothing was queued; ask again when some "
                "are over.",
                retry_after_s=10,
            )
        job = Job(
            kind=kind,
            owner_id=holder.person,
            token_id=holder.token,
            asked_by=holder.name[:140],
            checkpoint_id=checkpoint.id if checkpoint else None,
            asked=asked,
            total=total,
        )
        session.add(job)
        session.flush()
        return job

    @staticmethod
    def waiting_for(session: Session, holder: Holder, kind: JobKind, same: str) -> Job | None:
        """A job of the holder that is not over and was asked for with this digest of the wish."""
        open_states = (JobState.QUEUED, JobState.RUNNING)
        query = sa.select(Job).where(_own(holder), Job.kind == kind, Job.state.in_(open_states))
        found = (job for job in session.scalars(query) if job.cancel_at is None)
        return next((job for job in found if (job.asked or {}).get("same") == same), None)

    def cancel(self, session: Session, holder: Holder) -> None:
        """Stop it: at once while it waits, at its clerk's next step when it runs.

        Raises:
            Conflict: it is over.
        """
        if self.is_over:
            raise Conflict(f"The job is {self.state} already; there is nothing to cancel.")
        self.cancel_at = self.cancel_at or now()
        if self.state == JobState.QUEUED:
            self._end(session, JobState.CANCELLED, holder.name)
        else:
            Event.record(session, holder.name, "job cancelled", str(self.id))

    # -- verbs of a clerk ----------------------------------------------------------------------

    @staticmethod
    def is_due(
        session: Session,
        kinds: Collection[JobKind] = tuple(JobKind),
        *which: sa.ColumnElement[bool],
    ) -> bool:
        """Whether one of these kinds, of which these hold, waits or was lost; looks only."""
        return session.scalar(sa.select(Job.id).where(_due(kinds), *which).limit(1)) is not None

    @staticmethod
    def claim(
        session: Session,
        clerk: str,
        kinds: Collection[JobKind] = tuple(JobKind),
        *which: sa.ColumnElement[bool],
    ) -> Job | None:
        """Take the oldest job of these kinds, of which these hold, that waits or was lost.

        None when there is none.

        Several clerks never take the same: PostgreSQL locks the row and skips locked ones, and on
        SQLite the transaction that writes is alone. One that was asked to end, or was begun too
        often, is ended here.
        """
        while True:
            job = session.scalars(
                sa.select(Job)
                .where(_due(kinds), *which)
                .order_by(Job.created_at, Job.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if job is None:
                return None
            if job.cancel_at is not None:
                job._end(session, JobState.CANCELLED, clerk)
            elif job.claims >= MOST_CLAIMS:
                job.error = (
                    f"It was begun {job.claims} times and never ended: whatever did it ended "
                    "first. Ask for fewer lesions at a time, and tell the administrator."
                )
                job._end(session, JobState.FAILED, clerk)
            else:
                break
            session.flush()
        job.state, job.clerk = JobState.RUNNING, clerk
        job.heard_at = job.started_at = now()
        job.claims += 1
        job.done = 0
        session.flush()
        return job

    @staticmethod
    def of_clerk(session: Session, job_id: uuid.UUID, clerk: str, claim: int) -> Job:
        """The job, to be changed by its clerk.

        Raises:
            Conflict: it was claimed again since, or is no longer running.
        """
        query = sa.select(Job).where(Job.id == job_id).with_for_update()
        job = session.scalars(query).one_or_none()
        if job is None or (job.state, job.clerk, job.claims) != (JobState.RUNNING, clerk, claim):
            raise Conflict("The job is no longer this clerk's.")
        return job

    def progressed(self, session: Session, done: int) -> bool:
        """Note how much is done; False, and ended, when it was asked to end."""
        if self.cancel_at is not None:
            self._end(session, JobState.CANCELLED, self.clerk or "?")
            return False
        self.done, self.heard_at = done, now()
        return True

    def finish(self, session: Session, result: dict[str, Any]) -> None:
        """Keep what it found."""
        self.result, self.done = result, self.total
        self._end(session, JobState.DONE, self.clerk or "?")

    def hand_on(self, kind: JobKind, asked: dict[str, Any], total: int) -> None:
        """Go on as a job of another kind, from its beginning, by whichever clerk does those."""
        self.kind, self.asked, self.total, self.done = kind, asked, total, 0
        self.state, self.claims, self.clerk, self.heard_at = JobState.QUEUED, 0, None, None

    def fail(self, session: Session, error: str) -> None:
        """Say why it could not be done."""
        self.error = error
        self._end(session, JobState.FAILED, self.clerk or "?")

    def _end(self, session: Session, state: JobState, by: str) -> None:
        self.state, self.ended_at, self.asked = state, now(), None
        if (
            state != JobState.DONE
        ):  # what goes well is as frequent as calls are, and its row says so
            Event.record(session, by, f"job {state}", str(self.id))

    @staticmethod
    def forget_naming(session: Session, names: Collection[str], by: str) -> int:
        """Take out of wishes and results where one of these ids or UIDs stands; of how many jobs.

        What was found of others stays. A job that is not over fails, which its holder is told.
        """
        found = []
        told = sa.select(Job.id, Job.asked, Job.result)
        for job_id, *kept in session.execute(told).yield_per(100):
            if any(names_any(json.dumps(one), names) for one in kept):
                found.append(job_id)
        for some in in_parts(found):
            query = sa.select(Job).where(Job.id.in_(some)).with_for_update()
            for job in session.scalars(query).all():
                job._forget(session, names, by)
        return len(found)

    def _forget(self, session: Session, names: Collection[str], by: str) -> None:
        if not self.is_over:
            self.error = "What it asked for was deleted meanwhile. Ask again for what is left."
            self._end(session, JobState.FAILED, by)
            return
        self.asked = None
        left = self.result and _without(self.result, names)
        if names_any(json.dumps(left), names):
            left, self.error = None, "What it found was deleted with the data that it is of."
        self.result = left

    @staticmethod
    def forget(session: Session, days: float) -> int:
        """Delete what has been over for so many days; how many."""
        old = Job.state.in_(OVER) & (Job.ended_at < now() - timedelta(days=days))
        return len(session.scalars(sa.delete(Job).where(old).returning(Job.id)).all())


def _without(result: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """A result whose lesions that are named are refused instead, and counted so."""
    gone = NotFound("It was deleted with the data that it is of.")
    refusal = {"status": gone.status, "title": gone.title, "detail": str(gone)}
    lesions = [
        refusal if names_any(json.dumps(one), names) else one for one in result.get("lesions", ())
    ]
    classified = sum(one["status"] == 200 for one in lesions)
    counts = {"classified": classified, "refused": len(lesions) - classified}
    told = {name: count for name, count in counts.items() if name in result}
    return {**result, **told, **({"lesions": lesions} if lesions else {})}


def _own(holder: Holder) -> sa.ColumnElement[bool]:
    if holder.person is not None:
        return Job.owner_id == holder.person
    return sa.and_(Job.owner_id.is_(None), Job.token_id == holder.token)


def _belongs_to(holder: Holder) -> sa.ColumnElement[bool]:
    return sa.true() if holder.admin else _own(holder)


def _due(kinds: Collection[JobKind]) -> sa.ColumnElement[bool]:
    lost = now() - timedelta(seconds=LOST_AFTER_S)
    return sa.and_(
        Job.kind.in_(list(kinds)),
        sa.or_(
            Job.state == JobState.QUEUED,
            sa.and_(Job.state == JobState.RUNNING, Job.heard_at < lost),
        ),
    )
