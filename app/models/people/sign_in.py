"""Signed-in browsers. Only the hash of a cookie is stored."""

from __future__ import annotations

import re
import secrets
import uuid
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import (
    Mapped,
    Session,
    joinedload,
    mapped_column,
    query_expression,
    relationship,
    with_expression,
)

from app.db import Base, now
from app.models.ground.event import Event
from app.models.people.user import User, digest_of

MOST_BROWSERS = 20
"""Browsers in which one person can be signed in at a time; the oldest sign-in gives way."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_NOTED_EVERY = timedelta(minutes=1)


class SignIn(Base):
    """One signed-in browser: it ends at a fixed time, and sooner when it is not used."""

    __tablename__ = "sign_in"

    cookie_hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(default=now)

    user: Mapped[User] = relationship()
    unaware: Mapped[bool | None] = query_expression()
    """What ``behind`` was given as ``unaware``; it is no column."""

    @staticmethod
    def begin(session: Session, user: User, hours: float, *, replaces: str = "") -> str:
        """Sign a person in and return the new cookie's secret.

        Args:
            replaces: the cookie that the browser held before: it is good no longer.
        """
        session.execute(sa.delete(SignIn).where(SignIn.expires_at < now()))
        if _SECRET.fullmatch(replaces):
            session.execute(sa.delete(SignIn).where(SignIn.cookie_hash == digest_of(replaces)))
        older = (
            sa.select(SignIn.cookie_hash)
            .where(SignIn.user_id == user.id)
            .order_by(SignIn.created_at.desc(), SignIn.cookie_hash)
            .offset(MOST_BROWSERS - 1)
        )
        gone = list(session.scalars(older))
        if gone:
            session.execute(sa.delete(SignIn).where(SignIn.cookie_hash.in_(gone)))
        secret = secrets.token_urlsafe(32)
        moment = now()
        session.add(
            SignIn(
                cookie_hash=digest_of(secret),
                user_id=user.id,
                created_at=moment,
                seen_at=moment,
                expires_at=moment + timedelta(hours=hours),
            )
        )
        Event.record(session, user.name, "signed in")
        return secret

    @staticmethod
    def behind(
        session: Session,
        secret: str,
        idle_hours: float,
        unaware: sa.ColumnElement[bool] | None = None,
    ) -> SignIn | None:
        """The sign-in of a cookie while it is good: not over, not idle, account not disabled.

        Args:
            unaware: of the person, asked in the same query because every page asks it.
        """
        if not _SECRET.fullmatch(secret):
            return None
        moment = now()
        row = session.execute(
            sa.select(SignIn)
            .options(
                joinedload(SignIn.user),
                with_expression(SignIn.unaware, sa.null() if unaware is None else unaware),
            )
            .where(
                SignIn.cookie_hash == digest_of(secret),
                SignIn.expires_at > moment,
                SignIn.seen_at > moment - timedelta(hours=idle_hours),
            )
        ).scalar_one_or_none()
        return row if row is not None and row.user.disabled_at is None else None

    @property
    def unnoted(self) -> bool:
        """Whether this use is worth writing down: at most once a minute."""
        return now() - self.seen_at > _NOTED_EVERY

    @staticmethod
    def note(session: Session, cookie_hashes: list[str]) -> None:
        """Write down that these sign-ins are in use."""
        session.execute(
            sa.update(SignIn).where(SignIn.cookie_hash.in_(cookie_hashes)).values(seen_at=now())
        )

    @staticmethod
    def close(session: Session, secret: str) -> None:
        """Sign the browser with this cookie out; nothing where it is not signed in."""
        if not _SECRET.fullmatch(secret):
            return
        row = session.get(SignIn, digest_of(secret))
        if row is not None:
            Event.record(session, row.user.name, "signed out")
            session.delete(row)

    @staticmethod
    def close_all(session: Session, user: User) -> None:
        """Sign a person out everywhere."""
        session.execute(sa.delete(SignIn).where(SignIn.user_id == user.id))
