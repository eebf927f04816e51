"""Debriefings: what unaware readers noticed unasked, and that they were told. Append-only."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now
from app.errors import Conflict, Unreadable
from app.models.ground.append_only import append_only
from app.models.reader_studies.enrolment import Enrolment

MOST_REMARK = 4000
"""Most characters of what a reader noticed."""


@append_only
class Remark(Base):
    """What struck a reader about the images, asked before they are told; "" for nothing."""

    __tablename__ = "remark"

    enrolment_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("enrolment.id"), primary_key=True)
    text: Mapped[str] = mapped_column(sa.Text)
    at: Mapped[datetime] = mapped_column(default=now)

    @staticmethod
    def of(session: Session, enrolment_id: uuid.UUID) -> Remark | None:
        """The remark of a reader, if they were asked."""
        return session.get(Remark, enrolment_id)

    @staticmethod
    def give(session: Session, enrolment: Enrolment, text: str) -> Remark:
        """Keep it, once.

        Raises:
            Conflict: it was given before.
            Unreadable: it is too long.
        """
        if len(text) > MOST_REMARK:
            raise Unreadable(f"Say it in at most {MOST_REMARK} characters.")
        if Remark.of(session, enrolment.id) is not None:
            raise Conflict("This was answered before; that answer counts.")
        row = Remark(enrolment_id=enrolment.id, text=text.strip())
        session.add(row)
        session.flush()
        return row


@append_only
class Debriefing(Base):
    """A reader was told what the study is about: when, and by which text (SHA-256)."""

    __tablename__ = "debriefing"

    enrolment_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("enrolment.id"), primary_key=True)
    text_digest: Mapped[str] = mapped_column(sa.String(64))
    at: Mapped[datetime] = mapped_column(default=now)

    @staticmethod
    def of(session: Session, enrolment_id: uuid.UUID) -> Debriefing | None:
        """When a reader was told; None before that."""
        return session.get(Debriefing, enrolment_id)

    @staticmethod
    def tell(session: Session, enrolment: Enrolment, text: str) -> Debriefing:
        """Write down that a reader has read ``text``; a second time changes nothing."""
        earlier = Debriefing.of(session, enrolment.id)
        if earlier is not None:
            return earlier
        row = Debriefing(
            enrolment_id=enrolment.id, text_digest=hashlib.sha256(text.encode()).hexdigest()
        )
        session.add(row)
        session.flush()
        return row
