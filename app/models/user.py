"""People: accounts with a role, and their sign-ins."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from datetime import datetime, timedelta
from functools import lru_cache

import sqlalchemy as sa
from pwdlib import PasswordHash
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from app.db import Base, now
from app.errors import Conflict, NotFound, TooMany, Unreadable
from app.models.event import Event

ROLES = ("reader", "researcher", "admin")
"""Each role may do what those before it may."""

DEMO_PASSWORD = "hepatica-demo"  # noqa: S105 - said aloud on the sign-in page
DEMO_ACCOUNTS = (
    ("reader", "reader", "classifies: cases, the viewer, synthetic lesions"),
    ("blind-reader", "reader", "reads the blinded demo study"),
    ("researcher", "researcher", "composes reader studies and sees their progress"),
    ("admin", "admin", "manages accounts"),
)
"""Accounts of the demo database: name, role, what it is there to show."""

TOKEN_ROLES = (*ROLES, "machine")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,59}")
_FAILURES_BEFORE_WAIT = 10
_WAIT_MINUTES = 15.0


@lru_cache
def _passwords() -> PasswordHash:
    return PasswordHash.recommended()  # argon2id


@lru_cache
def _decoy_hash() -> str:
    return _passwords().hash(secrets.token_hex(16))


def digest_of(secret: str) -> str:
    """SHA-256 of a random secret: what is stored of tokens and cookies."""
    return hashlib.sha256(secret.encode()).hexdigest()


class User(Base):
    """A person's account."""

    __tablename__ = "user"
    __table_args__ = (sa.CheckConstraint("role IN ('reader','researcher','admin')", name="role"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(sa.String(60), unique=True)
    role: Mapped[str] = mapped_column(sa.String(20))
    password_hash: Mapped[str] = mapped_column(sa.String(200))
    demo: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
    disabled_at: Mapped[datetime | None]

    @staticmethod
    def add(session: Session, name: str, role: str, password: str, demo: bool = False) -> User:
        """Make an account.

        Raises:
            Unreadable: a name, role or password that cannot be used.
            Conflict: the name is taken.
        """
        if not _NAME.fullmatch(name):
            raise Unreadable(
                f"The name {name!r} cannot be used: letters, digits and . _ @ - only, at most 60."
            )
        if role not in ROLES:
            raise Unreadable(f"There is no role {role!r}; choose one of {', '.join(ROLES)}.")
        if len(password) < 8 and not demo:
            raise Unreadable("The password is too short: at least 8 characters.")
        if User.named(session, name) is not None:
            raise Conflict(f"There is already an account named {name!r}.")
        user = User(name=name, role=role, password_hash=_passwords().hash(password), demo=demo)
        session.add(user)
        session.flush()
        Event.record(session, name, "account made", str(user.id), role=role)
        return user

    @staticmethod
    def named(session: Session, name: str) -> User | None:
        return session.execute(sa.select(User).where(User.name == name)).scalar_one_or_none()

    @staticmethod
    def everyone(session: Session) -> list[User]:
        """Every account, by name."""
        return list(session.scalars(sa.select(User).order_by(User.name)))

    @staticmethod
    def require(session: Session, name: str) -> User:
        """The account of that name; NotFound when there is none."""
        user = User.named(session, name)
        if user is None:
            raise NotFound(f"There is no account named {name!r}.")
        return user

    def set_password(self, password: str) -> None:
        """Replace the password; Unreadable when it is shorter than 8 characters."""
        if len(password) < 8:
            raise Unreadable("The password is too short: at least 8 characters.")
        self.password_hash = _passwords().hash(password)

    def may(self, role: str) -> bool:
        """Whether this person has at least ``role``."""
        return ROLES.index(self.role) >= ROLES.index(role)


class SignIn(Base):
    """One signed-in browser. Only the hash of its cookie is stored."""

    __tablename__ = "sign_in"

    cookie_hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]

    user: Mapped[User] = relationship()

    @staticmethod
    def open(session: Session, name: str, password: str, hours: float) -> str | None:
        """Check a password and return the new cookie's secret; None when it does not fit.

        The same time is spent whether or not the name exists, and too many failures for a name
        make everybody wait.

        Raises:
            TooMany: the name failed ten times within a quarter of an hour.
        """
        failures = Event.count_recent(session, name, "sign-in refused", _WAIT_MINUTES)
        if failures >= _FAILURES_BEFORE_WAIT:
            raise TooMany(
                f"Too many failed sign-ins for this name. Wait {_WAIT_MINUTES:.0f} minutes, "
                "or ask an administrator."
            )
        user = User.named(session, name)
        fits = _passwords().verify(password, user.password_hash if user else _decoy_hash())
        if user is None or not fits or user.disabled_at is not None:
            Event.record(session, name or "?", "sign-in refused")
            return None
        secret = secrets.token_urlsafe(32)
        session.execute(sa.delete(SignIn).where(SignIn.expires_at < now()))
        session.add(
            SignIn(
                cookie_hash=digest_of(secret),
                user_id=user.id,
                expires_at=now() + timedelta(hours=hours),
            )
        )
        Event.record(session, user.name, "signed in")
        return secret

    @staticmethod
    def user_of(session: Session, secret: str) -> User | None:
        """Who holds this cookie, if it is still good."""
        row = session.execute(
            sa.select(SignIn)
            .options(joinedload(SignIn.user))
            .where(SignIn.cookie_hash == digest_of(secret), SignIn.expires_at > now())
        ).scalar_one_or_none()
        return row.user if row is not None and row.user.disabled_at is None else None

    @staticmethod
    def close(session: Session, secret: str) -> None:
        session.execute(sa.delete(SignIn).where(SignIn.cookie_hash == digest_of(secret)))

    @staticmethod
    def close_all(session: Session, user: User) -> None:
        """Sign a person out everywhere."""
        session.execute(sa.delete(SignIn).where(SignIn.user_id == user.id))
