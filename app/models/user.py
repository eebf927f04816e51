"""People: accounts with a role."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from datetime import datetime
from functools import lru_cache

import sqlalchemy as sa
from pwdlib import PasswordHash
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now
from app.errors import Conflict, NotFound, Unreadable
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


@lru_cache
def _passwords() -> PasswordHash:
    return PasswordHash.recommended()  # argon2id


@lru_cache
def _decoy_hash() -> str:
    return _passwords().hash(secrets.token_hex(16))


def fits(password: str, stored: str | None) -> bool:
    """Whether a password is the stored one; takes as long where there is no account."""
    return _passwords().verify(password, stored or _decoy_hash()) and stored is not None


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
