"""Protocols: what a reader study asks, of which images, in which order; frozen when it opens."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.models.append_only import append_only
from app.models.user import User
from ml.lesion import LesionScheme

RATINGS = (
    "certainly real",
    "probably real",
    "unsure, rather real",
    "unsure, rather synthetic",
    "probably synthetic",
    "certainly synthetic",
)
"""The answer scale: rating 1 … 6."""

CALLED_SYNTHETIC = 4
"""From this rating on a reader calls an image synthetic."""

DISPLAY_PX = 512
"""Side of an ROI on the desk, in CSS pixels; enlarged smoothly."""


@dataclass(frozen=True)
class Choice:
    """One possible answer and the key that gives it."""

    key: str
    display: str
    hotkey: str


@dataclass(frozen=True)
class Choices:
    """What a reader may answer; the same on every trial."""

    classes: tuple[Choice, ...]
    ratings: tuple[Choice, ...]
    pause_key: str

    @staticmethod
    def of(scheme: LesionScheme) -> Choices:
        """The classes of a scheme by letter, and the scale by number."""
        letters = scheme.hotkeys()
        classes = tuple(
            Choice(item.key, item.display, letters[item.key].upper()) for item in scheme.classes
        )
        ratings = tuple(
            Choice(str(number), words, str(number)) for number, words in enumerate(RATINGS, 1)
        )
        taken = {item.hotkey for item in classes}
        return Choices(classes, ratings, next(key for key in "PZXWQ" if key not in taken))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 over the JSON of a protocol: sorted keys, no spaces."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@append_only
class Protocol(Base):
    """One version of a study's protocol. The first is the opening; later ones are amendments.

    ``content`` holds the truth of every image and is not shown before Unblinding; its digest is.
    """

    __tablename__ = "protocol"
    __table_args__ = (sa.UniqueConstraint("study_id", "version"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("reader_study.id"))
    version: Mapped[int]
    content: Mapped[dict[str, Any]]
    digest: Mapped[str] = mapped_column(sa.String(64))
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    frozen_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    frozen_at: Mapped[datetime] = mapped_column(default=now)

    frozen_by: Mapped[User] = relationship()

    @staticmethod
    def freeze(
        session: Session, study_id: uuid.UUID, content: dict[str, Any], by: User, reason: str = ""
    ) -> Protocol:
        """Write the next version."""
        versions = Protocol.of_study(session, study_id)
        protocol = Protocol(
            study_id=study_id,
            version=len(versions) + 1,
            content=content,
            digest=digest_of(content),
            reason=reason,
            frozen_by_id=by.id,
        )
        session.add(protocol)
        session.flush()
        return protocol

    @staticmethod
    def of_study(session: Session, study_id: uuid.UUID) -> Sequence[Protocol]:
        """Every version, the first first."""
        return session.scalars(
            sa.select(Protocol).where(Protocol.study_id == study_id).order_by(Protocol.version)
        ).all()

    @property
    def holds(self) -> bool:
        """Whether the content is still the one that was frozen."""
        return digest_of(self.content) == self.digest
