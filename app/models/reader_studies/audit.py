"""Leak audits: could real and synthetic be told apart without reading the images?"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.errors import Damaged
from app.models.ground.append_only import append_only
from app.models.ground.blob import Blob
from app.models.ground.numbered import next_number
from app.models.people.user import User
from app.models.reader_studies.look import Seen, Shown
from app.models.reader_studies.stimulus import Picture, Source
from ml.leak_audit.audit import audit
from ml.leak_audit.record import VERSION, Colour, Images, NotAudited, Record, from_json
from ml.leak_audit.rendering import Encoded, LeakAuditError

NOT_POSSIBLE = "not possible"
"""The verdict where there are too few images to audit."""

NO_REAL = "There is no real image in this study, so nothing to be told from real ones."


@dataclass(frozen=True)
class Audited:
    """An audit's record and which bytes it is of; made before the write lock is held."""

    images_digest: str
    record: Record

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Audited:
        """Audit the encoded pictures of a study and of its practice, each named by its digest."""
        groups: tuple[list[Encoded], list[Encoded]] = ([], [])
        for one in sorted(pictures, key=lambda one: one.png):
            name = Blob.digest_of(one.png)  # no name that says more than the bytes
            groups[one.truth != Source.REAL].append(Encoded(one.png, name, one.practice))
        if pictures and not groups[0]:
            counted = Images(0, len(pictures), 0)
            return cls(
                digest_of(pictures), NotAudited(NOT_POSSIBLE, NO_REAL, counted, version=VERSION)
            )
        try:
            return cls(digest_of(pictures), audit(*groups))
        except LeakAuditError as refusal:
            real, synthetic = (sum(not one.practice for one in group) for group in groups)
            counted = Images(real, synthetic, len(pictures) - real - synthetic)
            none = NotAudited(NOT_POSSIBLE, str(refusal), counted, version=VERSION)
            return cls(digest_of(pictures), none)


def details_of(record: Mapping[str, object]) -> Record:
    """A stored record with its types.

    Raises:
        Damaged: it is none.
    """
    try:
        return from_json(record)
    except LeakAuditError as error:
        raise Damaged(f"{error} Restore the database from a backup.") from error


@dataclass(frozen=True)
class GivenAway:
    """An image that the audit tells from the others, and how.

    ``png`` is None where it is not among the pictures as they are now; ``kind`` then says so.
    """

    digest: str
    png: bytes | None
    kind: str
    colour: Colour
    features: tuple[str, ...]

    @property
    def picture(self) -> str | None:
        """The picture as a page can show it without asking for it."""
        if self.png is None:
            return None
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def given_away(record: Record, pictures: Sequence[Picture], most: int) -> list[GivenAway]:
    """The images that an audit names, red ones first, ``most`` of them at most.

    Args:
        pictures: of the study, rendered now.
    """
    by_digest = {Blob.digest_of(one.png): one for one in pictures}
    told = sorted(record.coloured().items(), key=lambda pair: (pair[1] is not Colour.RED, pair[0]))
    found = []
    for digest, colour in told[:most]:
        one = by_digest.get(digest)
        kind = "not among the images now"
        if one is not None:
            kind = f"{one.truth}, practice" if one.practice else str(one.truth)
        png = one.png if one is not None else None
        found.append(GivenAway(digest, png, kind, colour, record.telling(digest)))
    return found


def looks_at(
    pictures: Sequence[Picture], shown: Sequence[GivenAway], user_id: uuid.UUID
) -> list[Seen]:
    """What somebody has seen who was shown these, to be written down before they are."""
    digests = {one.digest for one in shown}
    looks = []
    for one in pictures:
        if Blob.digest_of(one.png) not in digests:
            continue
        if one.lesion_id is not None:
            looks.append(Seen(user_id, Shown.LESION, one.lesion_id))
        elif one.checkpoint_id is not None and one.seed is not None:
            looks.append(Seen(user_id, Shown.SYNTHETIC, one.checkpoint_id, one.seed, 1))
    return looks


def coloured(record: Mapping[str, object] | None) -> dict[str, Colour]:
    """SHA-256 of each image that an amber or red feature gives away → the worst colour.

    Images are told from the others by a mark of their own, or because they lie beyond every image
    of the other kind. Records before version 2, and those of too few images, name none.

    Args:
        record: as a protocol freezes it; None where there was no audit.

    Raises:
        Damaged: it is no record of an audit.
    """
    return details_of(record).coloured() if record else {}


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
        """The audit of exactly these pictures: the kept one, else ``audited``, else made now.

        One that an earlier version of the audit made does not count: it looked at less.
        """
        digest = digest_of(pictures)
        kept = session.scalars(
            sa.select(LeakAudit)
            .where(LeakAudit.study_id == study_id, LeakAudit.images_digest == digest)
            .order_by(LeakAudit.number.desc())
        ).first()
        if kept is not None and kept.details.version == VERSION:
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
