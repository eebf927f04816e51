"""Leak audits: could real and synthetic be told apart without reading the images?"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.errors import Damaged
from app.models.ground.append_only import append_only
from app.models.ground.numbered import next_number
from app.models.people.user import User
from app.models.reader_studies.stimulus import Picture, Source
from ml.leak_audit.audit import (
    Encoded,
    Images,
    LeakAuditError,
    NotAudited,
    Record,
    audit,
    from_json,
)

NOT_POSSIBLE = "not possible"
"""The verdict where there are too few images to audit."""


@dataclass(frozen=True)
class Audited:
    """An audit's record and which bytes it is of; made before the write lock is held."""

    images_digest: str
    record: Record

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Audited:
        """Audit the encoded pictures of a study, without its practice."""
        shown = sorted((one for one in pictures if not one.practice), key=lambda one: one.png)
        groups: tuple[list[Encoded], list[Encoded]] = ([], [])
        for place, one in enumerate(shown, 1):  # no name that says more than the bytes
            groups[one.truth != Source.REAL].append(Encoded(one.png, f"image {place}"))
        try:
            return cls(digest_of(pictures), audit(*groups))
        except LeakAuditError as refusal:
            counted = Images(*(len(group) for group in groups))
            return cls(digest_of(pictures), NotAudited(NOT_POSSIBLE, str(refusal), counted))


def details_of(record: dict[str, Any]) -> Record:
    """A stored record with its types.

    Raises:
        Damaged: it is none.
    """
    try:
        return from_json(record)
    except LeakAuditError as error:
        raise Damaged(f"{error} Restore the database from a backup.") from error


def digest_of(pictures: Sequence[Picture]) -> str:
    """SHA-256 over the pictures with their truth, in an order of their own."""
    lines = sorted(
        f"{hashlib.sha256(one.png).hexdigest()} {one.truth} {one.practice}" for one in pictures
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@append_only
class LeakAudit(Base):
    """One audit of the very bytes that readers would get; ``images_digest`` says of which.

    ``record`` is the JSON of ``details``, as a protocol freezes it.
    """

    __tablename__ = "leak_audit"
    __table_args__ = (sa.UniqueConstraint("study_id", "number"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("reader_study.id"), index=True)
    number: Mapped[int] = mapped_column(default=next_number("study_id"))
    images_digest: Mapped[str] = mapped_column(sa.String(64))
    verdict: Mapped[str] = mapped_column(sa.String(20))
    record: Mapped[dict[str, Any]]
    by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    at: Mapped[datetime] = mapped_column(default=now)

    by: Mapped[User] = relationship()

    @staticmethod
    def latest(session: Session, study_id: uuid.UUID) -> LeakAudit | None:
        """The newest audit of a study."""
        return session.scalars(
            sa.select(LeakAudit)
            .where(LeakAudit.study_id == study_id)
            .order_by(LeakAudit.number.desc())
            .limit(1)
        ).one_or_none()

    @staticmethod
    def of(
        session: Session,
        study_id: uuid.UUID,
        pictures: Sequence[Picture],
        by: User,
        audited: Audited | None = None,
    ) -> LeakAudit:
        """The audit of exactly these pictures: the kept one, else ``audited``, else made now."""
        digest = digest_of(pictures)
        kept = session.scalars(
            sa.select(LeakAudit).where(
                LeakAudit.study_id == study_id, LeakAudit.images_digest == digest
            )
        ).first()
        if kept is not None:
            return kept
        if audited is None or audited.images_digest != digest:
            audited = Audited.of(pictures)
        row = LeakAudit(
            study_id=study_id,
            images_digest=digest,
            verdict=str(audited.record.verdict),
            record=audited.record.to_json(),
            by_id=by.id,
        )
        session.add(row)
        session.flush()
        return row

    @property
    def details(self) -> Record:
        """What was found.

        Raises:
            Damaged: what is stored is no record of an audit.
        """
        return details_of(self.record)

    @property
    def blocks(self) -> bool:
        """A study with these images must not open."""
        return self.verdict == "red"
