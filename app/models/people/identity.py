"""Who a person is elsewhere: an account that signs in at the hospital's identity provider.

The provider says at every sign-in what the person may do here; what it takes away is gone from then
on, and somebody for whom it names no role gets none. It never gets hold of an account that was made
here: those are joined by an administrator.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.errors import Conflict
from app.models.ground.event import Event
from app.models.people.second_factor import SecondFactor
from app.models.people.user import LONGEST_NAME, User

BY = "identity provider"
"""The actor of what the provider's word changes."""
_UNFIT = re.compile(r"[^A-Za-z0-9._@-]+")


@dataclass(frozen=True)
class Person:
    """What a provider says of somebody.

    Attributes:
        issuer, subject: who they are there, for good.
        name: what they are called there; the account is called so.
        role: the highest of the roles that their groups give here; None: none.
    """

    issuer: str
    subject: str
    name: str
    role: str | None


class Identity(Base):
    """An account is a person of a provider.

    Attributes:
        suspended_at: since when the provider names no role, for which the account is disabled;
            None: it names one, or an administrator here has disabled the account.
    """

    __tablename__ = "identity"
    __table_args__ = (
        sa.UniqueConstraint(
            "issuer", "subject", info={"taken": "Somebody is signing in as that person already."}
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"), unique=True)
    issuer: Mapped[str] = mapped_column(sa.String(300))
    subject: Mapped[str] = mapped_column(sa.String(255))
    created_at: Mapped[datetime] = mapped_column(default=now)
    suspended_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()

    @staticmethod
    def of(session: Session, issuer: str, subject: str) -> Identity | None:
        """The one of a person of a provider, whose name ends in a slash or not."""
        bare = issuer.rstrip("/")
        return session.scalars(
            sa.select(Identity)
            .where(Identity.issuer.in_((bare, f"{bare}/")), Identity.subject == subject)
            .order_by(Identity.created_at)
        ).first()

    @staticmethod
    def admit(session: Session, person: Person, may_change: Callable[[User], bool]) -> User | str:
        """The account of a person who signs in, made or changed as the provider says.

        A refusal is told and not raised: what it takes away must be committed.

        Args:
            may_change: whether an account may get another role now.

        Returns:
            The account, or why this person is not let in.
        """
        found = Identity.of(session, person.issuer, person.subject)
        if person.role is None:
            if found is not None:
                found._suspend(session)
            return (
                "The identity provider knows you, but none of your groups may use this "
                "installation. Ask an administrator to add you to one."
            )
        if found is None:
            made = _made(session, person, person.role)
            if isinstance(made, User):
                session.add(Identity(user_id=made.id, issuer=person.issuer, subject=person.subject))
            return made
        return found._admitted(session, person.role, may_change)

    def _admitted(
        self, session: Session, role: str, may_change: Callable[[User], bool]
    ) -> User | str:
        user = self.user
        if user.disabled_at is not None:
            if self.suspended_at is None:
                return "Your account is disabled here. Ask an administrator."
            user.enable(session, BY)
        self.suspended_at = None
        if role != user.role and may_change(user):
            try:
                user.set_role(session, role, BY)
            except Conflict as error:
                return str(error)
        return user

    def _suspend(self, session: Session) -> None:
        """Take away what the provider does not give any longer: sign-ins, tokens, the account."""
        user = self.user
        user.sign_out(session)
        if user.disabled_at is not None:
            return
        try:
            user.disable(session, BY)
        except Conflict:  # the only administrator: another one is made at the command line
            Event.record(session, BY, "only administrator kept", str(user.id))
        else:
            self.suspended_at = now()

    @staticmethod
    def join(session: Session, user: User, issuer: str, subject: str, by: str) -> None:
        """Let an account sign in at the provider as that person, and by its password no longer.

        One that signs in there as somebody else is that person from now on: a provider may make an
        account anew, or another one take its place.

        Raises:
            Conflict: there is no such person, the account is that one already, or somebody else is.
        """
        if not subject.strip() or subject != subject.strip():
            raise Conflict(
                'The subject is empty, or has spaces around it. It is the claim "sub" of the '
                "person there; nothing was changed."
            )
        other = Identity.of(session, issuer, subject)
        if other is not None:
            who = "signs in as" if other.user_id == user.id else "is"
            raise Conflict(f"{other.user.name} {who} that person of the identity provider already.")
        before = session.scalars(sa.select(Identity).where(Identity.user_id == user.id)).first()
        if before is not None:
            before.issuer, before.subject, before.suspended_at = issuer, subject, None
        else:
            session.add(Identity(user_id=user.id, issuer=issuer, subject=subject))
        user.password_hash = ""
        SecondFactor.remove(session, user, by)
        user.sign_out(session)
        Event.record(session, by, "account joined to the identity provider", str(user.id))


def _made(session: Session, person: Person, role: str) -> User | str:
    name = _UNFIT.sub("-", person.name).strip("-._@")[:LONGEST_NAME]
    if not name:
        return (
            "The identity provider tells no name for you that can be used here. Its administrator "
            "can choose another claim (HEPATICA_OIDC_NAME_CLAIM)."
        )
    if (other := User.alike(session, name)) is not None:
        elsewhere = session.scalar(sa.select(sa.exists().where(Identity.user_id == other.id)))
        told = "is another person's at the identity provider" if elsewhere else "was made here"
        return (
            f"There is already an account named {other.name} that {told}. If it is yours, an "
            f"administrator can join it to you: python -m app user join {other.name} "
            f"{person.subject}"
        )
    return User.add_without_password(session, name, role, by=BY)
