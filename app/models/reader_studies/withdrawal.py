"""Withdrawals: a reader leaves a study before its end. Dated, with the reason; answers are kept."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, now
from app.models.ground.append_only import append_only
from app.models.people.user import User


@append_only
class Withdrawal(Base):
    """Who took a reader out of a study, when and why. One per enrolment; never taken back."""

    __tablename__ = "withdrawal"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    enrolment_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("enrolment.id"), unique=True)
    by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    at: Mapped[datetime] = mapped_column(default=now)
    reason: Mapped[str] = mapped_column(sa.Text)

    by: Mapped[User] = relationship()
