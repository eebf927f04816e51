"""Answers kept under an Idempotency-Key, so that a call which is sent again is not done again.

After draft-ietf-httpapi-idempotency-key-header: the same key with the same request gives the stored
answer, with another request it is refused, and while the first is under way the second is told to
wait. A key belongs to the person or token that sent it. Only what was done is kept: after a refusal
the key is free.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, in_parts, now
from app.errors import Conflict, Unreadable
from app.models.jobs.naming import names_any

LEASE_S = 120.0
"""So long the first call may take before a second under its key takes over: it was killed."""


@dataclass(frozen=True)
class Answer:
    """What was answered: status, headers that matter, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class KeptAnswer(Base):
    """One key of one holder: under way (no status yet), or with its answer."""

    __tablename__ = "kept_answer"
    __table_args__ = (sa.UniqueConstraint("scope", "key"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    scope: Mapped[str] = mapped_column(sa.String(80))
    key: Mapped[str] = mapped_column(sa.String(255))
    digest: Mapped[str] = mapped_column(sa.String(64))
    claim: Mapped[uuid.UUID]
    heard_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    status: Mapped[int | None]
    headers: Mapped[list[str] | None] = mapped_column(sa.JSON(none_as_null=True))
    body: Mapped[bytes | None] = mapped_column(sa.LargeBinary)

    @staticmethod
    def begin(
        session: Session, scope: str, key: str, digest: str, claim: uuid.UUID, hours: float
    ) -> Answer | None:
        """Take a key for a request, or get the answer that is kept under it.

        Args:
            key, digest: of the key that was sent and of the request, as HMACs: either may be made
                of what names a patient.
            claim: of this call, by which it is finished or let go.
            hours: how long an answer is kept.

        Raises:
            Unreadable: the key was used for another request.
            Conflict: the first request with it is still under way.
        """
        too_old = now() - timedelta(hours=hours)
        session.execute(
            sa.delete(KeptAnswer).where(
                KeptAnswer.scope == scope, KeptAnswer.key == key, KeptAnswer.created_at < too_old
            )
        )
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        row = {
            "id": uuid.uuid4(), "scope": scope, "key": key, "digest": digest, "claim": claim,
            "heard_at": now(), "created_at": now(),
        }  # fmt: skip
        session.execute(dialect.insert(KeptAnswer).values(row).on_conflict_do_nothing())
        query = sa.select(KeptAnswer).where(KeptAnswer.scope == scope, KeptAnswer.key == key)
        kept = session.scalars(
            query.with_for_update().execution_options(populate_existing=True)
        ).one_or_none()
        if kept is None:  # let go between the two statements
            raise _under_way()
        if kept.digest != digest:
            raise Unreadable(
                "This Idempotency-Key was used for another request. Nothing was done; use a new "
                "key for what differs in anything."
            )
        if kept.status is not None:
            pairs = iter(kept.headers or [])
            return Answer(kept.status, dict(zip(pairs, pairs, strict=True)), kept.body or b"")
        if kept.claim != claim:
            if now() - kept.heard_at < timedelta(seconds=LEASE_S):
                raise _under_way()
            kept.claim, kept.heard_at = claim, now()
        return None

    @staticmethod
    def finish(session: Session, claim: uuid.UUID, answer: Answer) -> None:
        """Keep the answer of a call, in the transaction of what it did.

        Raises:
            Conflict: another call has taken the key over.
        """
        pairs = [text for pair in answer.headers.items() for text in pair]
        done = session.execute(
            sa.update(KeptAnswer)
            .where(KeptAnswer.claim == claim, KeptAnswer.status.is_(None))
            .values(status=answer.status, headers=pairs, body=answer.body)
            .returning(KeptAnswer.id)
        ).all()
        if not done:
            raise Conflict(
                "This call took so long that another with its Idempotency-Key was begun. Nothing "
                "was done by this one; ask again.",
                retry_after_s=2,
            )

    @staticmethod
    def let_go(session: Session, claim: uuid.UUID) -> None:
        """Free the key of a call that did nothing."""
        session.execute(
            sa.delete(KeptAnswer).where(KeptAnswer.claim == claim, KeptAnswer.status.is_(None))
        )

    @staticmethod
    def forget_naming(session: Session, names: Collection[str]) -> int:
        """Delete those in whose body or headers one of these ids or UIDs stands; how many."""
        gone = []
        told = sa.select(KeptAnswer.id, KeptAnswer.body, KeptAnswer.headers)
        for answer_id, body, headers in session.execute(told).yield_per(100):
            held = "\n".join(((body or b"").decode("utf-8", "replace"), *(headers or [])))
            if names_any(held, names):
                gone.append(answer_id)
        for some in in_parts(gone):
            session.execute(sa.delete(KeptAnswer).where(KeptAnswer.id.in_(some)))
        return len(gone)

    @staticmethod
    def forget(session: Session, hours: float) -> int:
        """Delete what was kept longer than so many hours; how many."""
        old = KeptAnswer.created_at < now() - timedelta(hours=hours)
        return len(session.scalars(sa.delete(KeptAnswer).where(old).returning(KeptAnswer.id)).all())


def _under_way() -> Conflict:
    return Conflict(
        "The first request with this Idempotency-Key is still under way. Ask again in a moment.",
        retry_after_s=2,
    )
