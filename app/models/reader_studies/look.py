"""Looks: which pictures an account was shown, once each. Append-only.

A blinded reading is worth nothing where the reader has met the picture before, so a look is in the
database before the picture leaves (`app.witness`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, Word, in_parts, now
from app.models.ground.append_only import append_only

_AT_ONCE = 1000


class Shown(StrEnum):
    """What was shown."""

    IMAGE = "image"
    """A slice in the viewer, with every lesion on it, those that are marked later too."""
    LESION = "lesion"
    """The ROI of a lesion."""
    SYNTHETIC = "synthetic"
    """Synthetic ROIs of one checkpoint, ``count`` seeds from ``seed`` on."""
    VERSION = "dataset version"
    """The ROIs of a data set with their classes, as a file or in a run's report."""
    SCORE = "score"
    """A network's score of a place on an image, told to the person's own program."""
    STUDY = "reader study"
    """The images of an unblinded study, with their truth."""


@dataclass(frozen=True)
class Seen:
    """A look that is to be kept: who was shown what."""

    user_id: uuid.UUID
    of: Shown
    subject_id: uuid.UUID
    seed: int = 0
    count: int = 0


@append_only
class Look(Base):
    """One person was shown one thing; only the first time is kept.

    ``subject_id`` is an id of the kind that ``of`` says. It is no reference: a look outlives what
    was looked at.
    """

    __tablename__ = "look"
    __table_args__ = (sa.UniqueConstraint("user_id", "of", "subject_id", "seed", "count"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    of: Mapped[Shown] = mapped_column(Word(Shown, 20))
    subject_id: Mapped[uuid.UUID]
    seed: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    count: Mapped[int] = mapped_column(default=0)
    at: Mapped[datetime] = mapped_column(default=now, index=True)

    @staticmethod
    def keep(session: Session, looks: Iterable[Seen]) -> None:
        """Write looks down; one that is known stays as it is."""
        rows = [
            {
                "id": uuid.uuid4(),
                "user_id": one.user_id,
                "of": one.of,
                "subject_id": one.subject_id,
                "seed": one.seed,
                "count": one.count,
                "at": now(),
            }
            for one in looks
        ]
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        for some in in_parts(rows, _AT_ONCE):
            session.execute(dialect.insert(Look).values(some).on_conflict_do_nothing())

    @staticmethod
    def knows_synthetics(session: Session, user_id: uuid.UUID) -> bool:
        """Whether a person was shown synthetic lesions, or a study with its truth."""
        told = sa.select(Look.id).where(
            Look.user_id == user_id, Look.of.in_([Shown.SYNTHETIC, Shown.STUDY])
        )
        return session.scalar(told.limit(1)) is not None

    @staticmethod
    def knows_score(session: Session, user_id: uuid.UUID, image_id: uuid.UUID) -> bool:
        """Whether a person's program was told a score of some place on an image."""
        told = sa.select(Look.id).where(
            Look.user_id == user_id, Look.of == Shown.SCORE, Look.subject_id == image_id
        )
        return session.scalar(told.limit(1)) is not None

    @staticmethod
    def since(session: Session) -> datetime | None:
        """When the first look of all was kept: what was shown before nobody knows."""
        return session.scalar(sa.select(sa.func.min(Look.at)))
