"""Signed-in browsers. Only the hash of a cookie is stored."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

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
from app.models.people.second_factor import SecondFactor, demanded_of
from app.models.people.user import User, digest_of

MOST_BROWSERS = 20
"""Browsers in which one person can be signed in at a time; the oldest sign-in gives way."""


class Owed(StrEnum):
    """What a person must do here before all else."""

    PASSWORD = "password"  # noqa: S105 - no password: the name of a step
    """Choose another than the one that an administrator gave them."""
    SECOND_STEP = "second step"
    """Set up an authenticator app, which the installation demands of their role."""


@dataclass(frozen=True)
class From:
    """Where a sign-in comes from: the address, and what the browser calls itself in a word."""

    address: str = ""
    browser: str = ""


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
    address: Mapped[str] = mapped_column(sa.String(100), default="", server_default="")
    """Where it was begun, as an address."""
    browser: Mapped[str] = mapped_column(sa.String(60), default="", server_default="")

    user: Mapped[User] = relationship()
    unaware: Mapped[bool | None] = query_expression()
    """What ``behind`` was given as ``unaware``; it is no column."""
    blind: Mapped[bool | None] = query_expression()
    """The same of ``blind``."""
    has_second_step: Mapped[bool | None] = query_expression()
    """Whether the account has an authenticator app, where ``behind`` found it; no column either."""

    @staticmethod
    def begin(
        session: Session, user: User, hours: float, *, replaces: str = "", at: From = From()
    ) -> str:
        """Sign a person in and return the new cookie's secret.

        Args:
            at: where they are.
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
                address=at.address[:100],
                browser=at.browser[:60],
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
        blind: sa.ColumnElement[bool] | None = None,
    ) -> SignIn | None:
        """The sign-in of a cookie while it is good: not over, not idle, account not disabled.

        Args:
            unaware: of the person, asked in the same query because every page asks it.
            blind: the same. Both are made once, as the query is made once for them.
        """
        if not _SECRET.fullmatch(secret):
            return None
        moment = now()
        found = {
            "cookie_hash": digest_of(secret),
            "moment": moment,
            "idle_since": moment - timedelta(hours=idle_hours),
        }
        row = session.execute(_good(unaware, blind), found).scalar_one_or_none()
        return row if row is not None and row.user.disabled_at is None else None

    def owes(self, demanding: Collection[str]) -> Owed | None:
        """What the person must do before all else; None: nothing.

        Args:
            demanding: the roles that must have an authenticator app.
        """
        if self.user.password_temporary and self.user.password_hash:
            return Owed.PASSWORD
        if demanded_of(self.user, demanding) and not self.has_second_step:
            return Owed.SECOND_STEP
        return None

    @staticmethod
    def of(session: Session, user: User, idle_hours: float) -> list[SignIn]:
        """A person's sign-ins that are good, the last used first."""
        moment = now()
        return list(
            session.scalars(
                sa.select(SignIn)
                .where(
                    SignIn.user_id == user.id,
                    SignIn.expires_at > moment,
                    SignIn.seen_at > moment - timedelta(hours=idle_hours),
                )
                .order_by(SignIn.seen_at.desc(), SignIn.cookie_hash)
            )
        )

    @staticmethod
    def last_seen(session: Session) -> dict[uuid.UUID, datetime]:
        """When each person who is signed in was last seen."""
        query = sa.select(SignIn.user_id, sa.func.max(SignIn.seen_at)).group_by(SignIn.user_id)
        return dict(session.execute(query).all())

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
    def close_all(session: Session, user: User, by: str, *, keep: str = "") -> None:
        """Sign a person out everywhere, but for the browser with the cookie ``keep``."""
        user.sign_out(session, keep=keep)
        Event.record(session, by, "sign-ins ended", str(user.id), name=user.name)


@lru_cache(8)
def _good(
    unaware: sa.ColumnElement[bool] | None, blind: sa.ColumnElement[bool] | None
) -> sa.Select[SignIn]:
    """The question of `SignIn.behind`: every request asks it, and making it costs most of that."""
    return (
        sa.select(SignIn)
        .options(
            joinedload(SignIn.user),
            with_expression(SignIn.unaware, sa.null() if unaware is None else unaware),
            with_expression(SignIn.blind, sa.null() if blind is None else blind),
            with_expression(SignIn.has_second_step, SecondFactor.confirmed(SignIn.user_id)),
        )
        .where(
            SignIn.cookie_hash == sa.bindparam("cookie_hash"),
            SignIn.expires_at > sa.bindparam("moment"),
            SignIn.seen_at > sa.bindparam("idle_since"),
        )
    )
