"""Objects that are sent back to the PACS which a case came from: the outbox, a row for each.

A row tells what the object says by the rows that it is made of, and never the patient: it is made
when it is sent, under a UID that follows from those rows. So a second sending is the same object,
and a PACS keeps one. Nothing that was sent is deleted or replaced there.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now, serialise
from app.models.cases.case import Case
from app.models.ground.event import Event
from app.models.jobs.tried import STATES, Tried, TriedState

MOST_LISTED = 200


class ReturnedObject(Tried, Base):
    """One object for one configured PACS: waiting, sent and found there, or given up."""

    __tablename__ = "returned_object"
    __table_args__ = (
        sa.CheckConstraint(STATES, name="state"),
        sa.CheckConstraint("kind IN ('sr','pr','sc')", name="kind"),
        sa.CheckConstraint("said_by IN ('network','radiologist')", name="said_by"),
        sa.UniqueConstraint("pacs", "sop_uid"),
    )

    case_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("case.id", ondelete="CASCADE"), index=True
    )
    pacs: Mapped[str] = mapped_column(sa.String(40))
    kind: Mapped[str] = mapped_column(sa.String(2))
    said_by: Mapped[str] = mapped_column(sa.String(12))
    number: Mapped[int]
    """Within its series, from 1."""
    rows: Mapped[list[str]]
    """Ids of the predictions or reviews that it is made of."""
    sop_uid: Mapped[str] = mapped_column(sa.String(64))
    ordered_by: Mapped[str] = mapped_column(sa.String(140))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)

    case: Mapped[Case] = relationship()

    @staticmethod
    def order(session: Session, wanted: Sequence[ReturnedObject], by: str) -> list[ReturnedObject]:
        """Have objects sent, new rows for what is not ordered yet; what is there is what it was.

        One that was given up is tried again from the start.
        """
        serialise(session, "results returned")
        found = []
        for one in wanted:
            known = session.scalars(
                sa.select(ReturnedObject).where(
                    ReturnedObject.pacs == one.pacs, ReturnedObject.sop_uid == one.sop_uid
                )
            ).one_or_none()
            if known is None:
                session.add(one)
                session.flush()
                Event.record(
                    session, by, "return ordered", str(one.case_id), what=one.kind, pacs=one.pacs
                )
            elif known.state == TriedState.GIVEN_UP:
                known.again(session, by)
            found.append(known or one)
        return found

    def again(self, session: Session, by: str) -> None:
        """Try one that was given up from the start."""
        self.state, self.tries, self.due_at, self.ended_at = TriedState.WAITING, 0, now(), None
        Event.record(session, by, "return ordered again", str(self.case_id), what=self.kind)

    @staticmethod
    def of_case(session: Session, case_id: uuid.UUID) -> list[ReturnedObject]:
        """What was ordered for a case, in its order."""
        query = sa.select(ReturnedObject).where(ReturnedObject.case_id == case_id)
        return list(session.scalars(query.order_by(ReturnedObject.created_at, ReturnedObject.id)))

    def sent_before(self, session: Session) -> Sequence[ReturnedObject]:
        """What is of the same kind, case and PACS, was ordered before this one and is there; the
        newest first."""
        query = sa.select(ReturnedObject).where(
            ReturnedObject.case_id == self.case_id,
            ReturnedObject.pacs == self.pacs,
            ReturnedObject.kind == self.kind,
            ReturnedObject.said_by == self.said_by,
            ReturnedObject.state == TriedState.SENT,
            ReturnedObject.created_at < self.created_at,
        )
        return session.scalars(query.order_by(ReturnedObject.created_at.desc())).all()

    @staticmethod
    def drop_unsent(session: Session, case_id: uuid.UUID, by: str) -> int:
        """Before its case is deleted: what waits is not sent, which the record says; how many."""
        waits = [one for one in ReturnedObject.of_case(session, case_id) if not one.is_over]
        for one in waits:
            Event.record(session, by, "return dropped", str(case_id), what=one.kind, pacs=one.pacs)
            session.delete(one)
        return len(waits)

    @staticmethod
    def listed(session: Session, state: TriedState) -> list[ReturnedObject]:
        """The newest in a state, of all cases."""
        query = sa.select(ReturnedObject).where(ReturnedObject.state == state)
        newest = query.order_by(ReturnedObject.created_at.desc(), ReturnedObject.id)
        return list(session.scalars(newest.limit(MOST_LISTED)))

    @staticmethod
    def is_due(session: Session, which: sa.ColumnElement[bool]) -> bool:
        """Whether one is of which that holds; looks only."""
        due = sa.select(ReturnedObject.id).where(*_due(), which)
        return session.scalar(due.limit(1)) is not None

    @staticmethod
    def claim(
        session: Session, lease_s: float, which: sa.ColumnElement[bool]
    ) -> ReturnedObject | None:
        """Take the one that has been due longest, for so long that no other clerk takes it.

        Args:
            which: what holds for it.
        """
        one = session.scalars(
            sa.select(ReturnedObject)
            .where(*_due(), which)
            .order_by(ReturnedObject.due_at, ReturnedObject.created_at, ReturnedObject.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if one is not None:
            one.claim_for(lease_s)
            session.flush()
        return one

    def told(self, session: Session, by: str, why: str, *, hopeless: bool = False) -> None:
        """What became of a try: ``why`` it failed, or "" where the PACS holds it now.

        Args:
            hopeless: no further try can succeed.
        """
        if not why:
            self.succeeded()
            Event.record(
                session, by, "result returned", str(self.case_id), what=self.kind, pacs=self.pacs
            )
            return
        if hopeless:
            self.give_up(why)
        else:
            self.failed(why)
        if self.state == TriedState.GIVEN_UP:
            Event.record(
                session, by, "return given up", str(self.case_id), what=self.kind, pacs=self.pacs,
                tries=self.tries,
            )  # fmt: skip


def _due() -> tuple[sa.ColumnElement[bool], ...]:
    return ReturnedObject.state == TriedState.WAITING, ReturnedObject.due_at <= now()
