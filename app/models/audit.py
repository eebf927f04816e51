"""Leak audits: could real and synthetic be told apart without reading the images?"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, now
from app.models.append_only import append_only
from app.models.user import User


@append_only
class LeakAudit(Base):
    """One audit of the very bytes that readers would get; ``images_digest`` says of which."""

    __tablename__ = "leak_audit"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("reader_study.id"), index=True)
    images_digest: Mapped[str] = mapped_column(sa.String(64))
    verdict: Mapped[str] = mapped_column(sa.String(20))
    record: Mapped[dict[str, Any]]
    by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    at: Mapped[datetime] = mapped_column(default=now)

    by: Mapped[User] = relationship()
