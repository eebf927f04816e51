"""Owners: whose a reader study or a run is, and who may change or end it.

Everybody with the role may look. Changing and ending is for the owner, and for an administrator,
who can also hand it over, so that it does not die when its owner leaves.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, declared_attr, mapped_column, relationship

from app.errors import Conflict, Forbidden
from app.models.ground.event import Event
from app.models.people.user import User


class Owned:
    """A thing with an owner, at first the person who made it."""

    noun: ClassVar[str]
    """What it is called in a sentence."""

    id: Mapped[uuid.UUID]
    owner_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"), index=True)

    @declared_attr
    def owner(self) -> Mapped[User]:
        """The person who may change and end it, beside administrators."""
        return relationship(foreign_keys=[self.owner_id])  # type: ignore[list-item]

    def may_be_changed_by(self, user: User) -> bool:
        """Whether ``user`` owns it or is an administrator."""
        return user.id == self.owner_id or user.may("admin")

    def refuse_stranger(self, user: User) -> None:
        """Nothing for the owner and for administrators.

        Raises:
            Forbidden: it belongs to somebody else.
        """
        if not self.may_be_changed_by(user):
            raise Forbidden(
                f"This {self.noun} belongs to {self.owner.name}: only they or an administrator can "
                "change or end it. An administrator can also hand it over to you."
            )

    def hand_over(self, session: Session, to: User, by: User) -> None:
        """Make somebody else the owner; who made it stays in the record.

        Raises:
            Forbidden: ``by`` is no administrator.
            Conflict: ``to`` owns it already, cannot sign in, or is a reader.
        """
        if not by.may("admin"):
            raise Forbidden(f"Only an administrator can hand a {self.noun} over.")
        if to.id == self.owner_id:
            raise Conflict(f"The {self.noun} belongs to {to.name} already.")
        if to.disabled_at is not None or not to.may("researcher"):
            why = "is disabled" if to.disabled_at is not None else "is a reader's"
            raise Conflict(
                f"The account {to.name} {why}, so it cannot own a {self.noun}. Choose a researcher "
                "or an administrator."
            )
        was = self.owner.name
        self.owner_id = to.id
        session.flush()
        session.expire(self, ["owner"])
        Event.record(
            session, by.name, f"{self.noun} handed over", str(self.id), was=was, now=to.name
        )
