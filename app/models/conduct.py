"""Conduct: what stands before trial 1: consent, the screen, the room, the reader. Append-only."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, now
from app.models.append_only import append_only


@append_only
class Conduct(Base):
    """One check-in of a reader: a new screen or room is a further row, the latest is in force.

    Attributes:
        consent_version, consent_digest: the text that was agreed to (SHA-256).
        years, subspecialty: the reader's profile.
        room: a key of ``ROOMS``.
        ramp_dark, ramp_bright: whether the faint squares of the grey ramp were seen.
        mm_per_px: millimetres on the screen per CSS pixel, from the width of a card; or None.
        screen: what the browser says: device pixel ratio, sizes, colour depth, its own name.
    """

    __tablename__ = "conduct"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    enrolment_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("enrolment.id"), index=True)
    at: Mapped[datetime] = mapped_column(default=now)
    consent_version: Mapped[str] = mapped_column(sa.String(40))
    consent_digest: Mapped[str] = mapped_column(sa.String(64))
    years: Mapped[float]
    subspecialty: Mapped[str] = mapped_column(sa.String(200))
    room: Mapped[str] = mapped_column(sa.String(20))
    ramp_dark: Mapped[bool]
    ramp_bright: Mapped[bool]
    mm_per_px: Mapped[float | None]
    screen: Mapped[dict[str, Any]]
