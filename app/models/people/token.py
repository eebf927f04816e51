"""API tokens: how programs sign in. Only the hash of a token is stored."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from app.db import Base, now
from app.errors import Conflict, NotFound, Unreadable
from app.models.ground.event import Event
from app.models.people.user import User, digest_of
from app.roles import ROLES, TOKEN_ROLES

_PREFIX = "hep_"
_MOST_DAYS = 3650
_NOTED_EVERY = timedelta(hours=1)


class ApiToken(Base):
    """A program's right to call the API under a name of its own.

    One with an ``owner`` acts for that person: it may no more than they may, sees no more than they
    may see, and ends with their account. Only a machine's may be without.
    """

    __tablename__ = "api_token"
    __table_args__ = (
        sa.CheckConstraint("role IN ('reader','researcher','admin','machine')", name="role"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(sa.String(60), index=True)
    role: Mapped[str] = mapped_column(sa.String(20))
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    owner_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("user.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    owner: Mapped[User | None] = relationship()

    @staticmethod
    def add(
        session: Session,
        name: str,
        role: str,
        *,
        owner: User | None = None,
        days: float | None = None,
        by: str = "installation",
    ) -> str:
        """Make a token and return it: it is shown this once and never again.

        Args:
            owner: the person for whom it acts; only a machine's token may be without.
            days: how long it is good; None: until it is revoked.
            by: who makes it.

        Raises:
            Unreadable: an empty name, an unknown role, no owner, or a time that cannot be.
            Conflict: the owner is disabled, or may less than the role.
        """
        if not name or len(name) > 60:
            raise Unreadable("A token needs a name of at most 60 characters.")
        if role not in TOKEN_ROLES:
            raise Unreadable(f"There is no role {role!r}; choose one of {', '.join(TOKEN_ROLES)}.")
        if days is not None and not 0 < days <= _MOST_DAYS:
            raise Unreadable(f"A token can be good for up to {_MOST_DAYS} days, not {days:g}.")
        if owner is None and role != "machine":
            raise Unreadable(
                f"A token of the role {role} acts for a person: name whose it is (--owner NAME). "
                "Only a token of the role machine may belong to nobody."
            )
        if owner is not None:
            _refuse_owner(owner, role)
        secret = _PREFIX + secrets.token_urlsafe(32)
        token = ApiToken(
            name=name,
            role=role,
            token_hash=digest_of(secret),
            owner_id=owner.id if owner else None,
            expires_at=None if days is None else now() + timedelta(days=days),
        )
        session.add(token)
        session.flush()
        Event.record(
            session, by, "token made", str(token.id),
            name=name, role=role, owner=owner.name if owner else None, days=days,
        )  # fmt: skip
        return secret

    @staticmethod
    def all(session: Session) -> list[ApiToken]:
        """Every token, by name, the newest first; those that are good no longer as well."""
        query = sa.select(ApiToken).options(joinedload(ApiToken.owner))
        return list(session.scalars(query.order_by(ApiToken.name, ApiToken.created_at.desc())))

    @staticmethod
    def of(session: Session, owner: User) -> list[ApiToken]:
        """A person's tokens, the newest first."""
        query = sa.select(ApiToken).where(ApiToken.owner_id == owner.id)
        query = query.options(joinedload(ApiToken.owner))
        return list(session.scalars(query.order_by(ApiToken.created_at.desc(), ApiToken.id)))

    @staticmethod
    def require(session: Session, token_id: uuid.UUID, asker: User) -> ApiToken:
        """A token that somebody may revoke: one's own, an administrator any.

        Raises:
            NotFound: there is none, or it is somebody else's; nobody learns which.
        """
        token = session.get(ApiToken, token_id)
        if token is None or not (asker.may("admin") or token.owner_id == asker.id):
            raise NotFound("There is no such token, or it is not yours.")
        return token

    def end(self, session: Session, by: str) -> None:
        """Revoke this one; nothing where it is revoked already."""
        if self.revoked_at is None:
            self.revoked_at = now()
            Event.record(session, by, "token revoked", str(self.id), name=self.name)

    @staticmethod
    def holder(session: Session, secret: str) -> ApiToken | None:
        """The token behind a secret, if it is good."""
        token = session.execute(
            sa.select(ApiToken)
            .options(joinedload(ApiToken.owner))
            .where(ApiToken.token_hash == digest_of(secret))
        ).scalar_one_or_none()
        return token if token is not None and token.state == "good" else None

    @property
    def state(self) -> str:
        """good, revoked, expired, owner disabled, or no owner (made before tokens had one)."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now():
            return "expired"
        if self.owner is None:
            return "good" if self.role == "machine" else "no owner"
        return "good" if self.owner.disabled_at is None else "owner disabled"

    @property
    def reach(self) -> str:
        """The role that it has now: its own, or its owner's where that is less."""
        if self.owner is None or self.role == "machine":
            return self.role
        return min(self.role, self.owner.role, key=ROLES.index)

    @property
    def unnoted(self) -> bool:
        """Whether its use is worth writing down: at most once an hour."""
        return self.last_used_at is None or now() - self.last_used_at > _NOTED_EVERY

    @staticmethod
    def note_use(session: Session, token_id: uuid.UUID) -> None:
        """Write down that it is in use."""
        session.execute(
            sa.update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=now())
        )

    @staticmethod
    def revoke(session: Session, name: str, *, by: str = "installation") -> int:
        """Revoke every token of that name; NotFound when there is none. Returns how many."""
        tokens = list(
            session.scalars(
                sa.select(ApiToken).where(ApiToken.name == name, ApiToken.revoked_at.is_(None))
            )
        )
        if not tokens:
            raise NotFound(f"There is no token named {name!r} that is not revoked already.")
        for token in tokens:
            token.end(session, by)
        return len(tokens)


def _refuse_owner(owner: User, role: str) -> None:
    if owner.disabled_at is not None:
        raise Conflict(f"The account {owner.name} is disabled; it can own no token.")
    if role in ROLES and not owner.may(role):
        raise Conflict(
            f"{owner.name} is {owner.role}; a token of theirs cannot have the role {role}."
        )
