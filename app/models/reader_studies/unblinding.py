"""Unblinding: the dated act after which truth may be shown. It closes the study."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, now
from app.models.ground.append_only import append_only
from app.models.people.user import User

WORD = "UNBLIND"
"""What must be typed."""
SHARED_WORD = "SHOW SHARED IMAGES"
"""What must be typed as well, where images of the study are in others that are still read."""


@append_only
class Unblinding(Base):
    """Who unblinded a reader study, when and why. One per study; it is never taken back."""

    __tablename__ = "unblinding"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("reader_study.id"), unique=True)
    by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    at: Mapped[datetime] = mapped_column(default=now)
    reason: Mapped[str] = mapped_column(sa.Text)

    by: Mapped[User] = relationship()
