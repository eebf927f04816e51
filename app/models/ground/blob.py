"""Content-addressed bytes: HU pixels, stimuli, weights, reports."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, in_parts, now
from app.errors import Damaged, Gone

log = logging.getLogger("hepatica")


class Blob(Base):
    """Bytes under the SHA-256 of their content; stored once, never changed.

    Where a row that stays names bytes that had to go, ``erase`` takes the bytes alone.
    """

    __tablename__ = "blob"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    media_type: Mapped[str] = mapped_column(sa.String(100))
    size: Mapped[int]
    data: Mapped[bytes] = mapped_column(sa.LargeBinary, deferred=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    erased_at: Mapped[datetime | None]
    """When its bytes were erased for good (`app.models.erasures`); its name stays."""

    @staticmethod
    def digest_of(data: bytes) -> str:
        """The name under which ``data`` is kept: its SHA-256 in hex."""
        return hashlib.sha256(data).hexdigest()

    @staticmethod
    def store(session: Session, data: bytes, media_type: str) -> str:
        """Keep ``data`` and return its digest; the same bytes are kept once."""
        digest = Blob.digest_of(data)
        Blob.store_all(session, {digest: data}, media_type)
        return digest

    @staticmethod
    def store_all(session: Session, found: Mapping[str, bytes], media_type: str) -> None:
        """Keep bytes by their digests (`digest_of`)."""
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        rows = [
            {
                "digest": digest,
                "media_type": media_type,
                "size": len(data),
                "data": data,
                "created_at": now(),
            }
            for digest, data in found.items()
        ]
        if rows:
            statement = dialect.insert(Blob.__table__).on_conflict_do_nothing()
            session.connection().execute(statement, rows)

    @staticmethod
    def read(session: Session, digest: str) -> bytes:
        """The bytes under ``digest``.

        Raises:
            Damaged: they are not the bytes that were stored, or they are gone.
            Gone: they were erased for good.
        """
        row = session.execute(
            sa.select(Blob.data, Blob.media_type, Blob.erased_at).where(Blob.digest == digest)
        ).one_or_none()
        if row is not None and row.erased_at is not None:
            raise Gone(
                f"This was deleted for good on {row.erased_at:%Y-%m-%d}, with the data of a "
                "patient. What was measured with it stays."
            )
        data: bytes = row.data if row is not None else b""
        if row is not None and Blob.digest_of(data) == digest:
            return data
        what = "is gone" if row is None else "is damaged"
        log.error("The stored object %s %s.", digest, what)
        raise Damaged(
            f"A stored object of this page {what}: {_named(row.media_type if row else '')} with "
            f"the SHA-256 {digest[:16]}… It is not shown, since it would not be what was stored. "
            "An administrator must restore the database from a backup (`python -m app verify` "
            "names all that are damaged)."
        )

    @staticmethod
    def erase(session: Session, digests: Collection[str]) -> int:
        """Take the bytes away for good, where something that stays has their name; how many.

        The database allows this one change of a stored object (migration 0031).
        """
        done = 0
        for some in in_parts(sorted(digests)):
            standing = sa.and_(Blob.digest.in_(some), Blob.erased_at.is_(None))
            erased = sa.update(Blob).where(standing).values(data=b"", erased_at=now())
            done += len(session.scalars(erased.returning(Blob.digest)).all())
        return done

    @staticmethod
    def erased(session: Session, digests: Collection[str]) -> set[str]:
        """Those of them whose bytes were erased."""
        return {
            digest
            for some in in_parts(sorted(digests))
            for digest in session.scalars(
                sa.select(Blob.digest).where(Blob.digest.in_(some), Blob.erased_at.is_not(None))
            )
        }


def _named(media_type: str) -> str:
    kind = media_type.partition("/")[0]
    if kind == "image" or "pixels" in media_type:
        return "an image"
    return "weights of a network" if media_type.endswith(("onnx", "safetensors")) else "a file"
