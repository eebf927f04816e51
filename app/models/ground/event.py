"""The audit trail: who did what to which thing, when. Append-only."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now
from app.models.ground.append_only import append_only


@append_only
class Event(Base):
    """One thing that happened: who did it, what, to which thing.

    ``actor`` is who did it and never whom it was done to: an account's name, ``command line: NAME``
    with the name that the operating system knows, a worker, or ``installation``. ``subject`` is
    the id of the thing, or the address that was refused. ``detail`` never holds patient data or a
    secret.
    """

    __tablename__ = "event"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    actor: Mapped[str] = mapped_column(sa.String(100), index=True)
    kind: Mapped[str] = mapped_column(sa.String(60), index=True)
    subject: Mapped[str] = mapped_column(sa.String(200), default="")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)

    @staticmethod
    def record(session: Session, actor: str, kind: str, subject: str = "", **detail: Any) -> None:
        """Write one event in the session's own transaction."""
        session.add(
            Event(actor=actor[:100], kind=kind, subject=subject[:200], detail=detail, at=now())
        )

    @staticmethod
    def happened(session: Session, actor: str, kind: str, before: datetime) -> bool:
        """Whether an actor caused an event of a kind before a moment."""
        found = sa.select(Event.id).where(
            Event.actor == actor[:100], Event.kind == kind, Event.at < before
        )
        return session.scalar(found.limit(1)) is not None
