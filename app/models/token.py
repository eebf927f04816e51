"""API tokens: how programs sign in. Only the hash of a token is stored."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now
from app.errors import NotFound, Unreadable
from app.models.event import Event
from app.models.user import TOKEN_ROLES, digest_of

_PREFIX = "hep_"


class ApiToken(Base):
    """A program's right to call the API under a name of its own."""

    __tablename__ = "api_token"
    __table_args__ = (
        sa.CheckConstraint("role IN ('reader','researcher','admin','machine')", name="role"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(sa.String(60), index=True)
    role: Mapped[str] = mapped_column(sa.String(20))
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]

    @staticmethod
    def add(session: Session, name: str, role: str) -> str:
        """Make a token and return it: it is shown this once and never again.

        Raises:
            Unreadable: an empty name or an unknown role.
        """
        if not name or len(name) > 60:
            raise Unreadable("A token needs a name of at most 60 characters.")
        if role not in TOKEN_ROLES:
            raise Unreadable(f"There is no role {role!r}; choose one of {', '.join(TOKEN_ROLES)}.")
        secret = _PREFIX + secrets.token_urlsafe(32)
        token = ApiToken(name=name, role=role, token_hash=digest_of(secret))
        session.add(token)
        session.flush()
        Event.record(session, name, "token made", str(token.id), role=role)
        return secret

    @staticmethod
    def holder(session: Session, secret: str) -> ApiToken | None:
        """The token behind a secret, if it has not been revoked."""
        return session.execute(
            sa.select(ApiToken).where(
                ApiToken.token_hash == digest_of(secret), ApiToken.revoked_at.is_(None)
            )
        ).scalar_one_or_none()

    @staticmethod
    def revoke(session: Session, name: str) -> int:
        """Revoke every token of that name; NotFound when there is none. Returns how many."""
        tokens = list(
            session.scalars(
                sa.select(ApiToken).where(ApiToken.name == name, ApiToken.revoked_at.is_(None))
            )
        )
        if not tokens:
            raise NotFound(f"There is no token named {name!r} that is not revoked already.")
        for token in tokens:
            token.revoked_at = now()
            Event.record(session, name, "token revoked", str(token.id))
        return len(tokens)
