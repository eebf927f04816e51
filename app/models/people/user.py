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

from app.db import Base, now, serialise
from app.errors import Conflict, NotFound, Unreadable
from app.models.ground.event import Event
from app.roles import ROLES

DEMO_PASSWORD = "hepatica-demo"  # noqa: S105 - said aloud on the sign-in page
DEMO_ACCOUNTS = (
    ("reader", "reader", "classifies: cases, the viewer, synthetic lesions"),
    ("blind-reader", "reader", "reads the blinded demo study"),
    ("researcher", "researcher", "composes reader studies and sees their progress"),
    ("admin", "admin", "manages accounts"),
)
"""Accounts of the demo database: name, role, what it is there to show."""

_SHORTEST, _LONGEST = 8, 1000
LONGEST_NAME = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,59}")


@lru_cache
def _passwords() -> PasswordHash:
    return PasswordHash.recommended()  # argon2id


@lru_cache
def _decoy_hash() -> str:
    return _passwords().hash(secrets.token_hex(16))


def fits(password: str, stored: str | None) -> bool:
    """Whether a password is the stored one; takes as long where there is no account."""
    return _passwords().verify(password, stored or _decoy_hash()) and bool(stored)


def hashed(password: str) -> str:
    """A new password as it is stored. It takes a while: before a session that writes is used.

    Raises:
        Unreadable: shorter than 8 characters, or longer than 1000.
    """
    if len(password) < _SHORTEST:
        raise Unreadable(f"The password is too short: at least {_SHORTEST} characters.").about(
            "password", "new"
        )
    if len(password) > _LONGEST:
        raise Unreadable(f"The password is too long: at most {_LONGEST} characters.").about(
            "password", "new"
        )
    return _passwords().hash(password)


def digest_of(secret: str) -> str:
    """SHA-256 of a random secret: what is stored of tokens and cookies."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _refuse_unfit(name: str, role: str) -> None:
    """Return where an account may be called so and have that role.

    Raises:
        Unreadable: it may not.
    """
    if not _NAME.fullmatch(name):
        raise Unreadable(
            f"The name {name!r} cannot be used: letters, digits and . _ @ - only, at most "
            f"{LONGEST_NAME}."
        ).about("name")
    if role not in ROLES:
        raise Unreadable(f"There is no role {role!r}; choose one of {', '.join(ROLES)}.").about(
            "role"
        )


class User(Base):
    """A person's account; ``password_hash`` is "" where they sign in at an identity provider."""

    __tablename__ = "user"
    __table_args__ = (
        sa.CheckConstraint("role IN ('reader','researcher','admin')", name="role"),
        sa.UniqueConstraint("name", info={"taken": "There is already an account of this name."}),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(sa.String(60))
    role: Mapped[str] = mapped_column(sa.String(20))
    password_hash: Mapped[str] = mapped_column(sa.String(200))
    demo: Mapped[bool] = mapped_column(default=False)
    password_temporary: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Somebody else chose the password: the person must choose another before all else."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    disabled_at: Mapped[datetime | None]

    @staticmethod
    def add(
        session: Session,
        name: str,
        role: str,
        password: str,
        demo: bool = False,
        *,
        temporary: bool = False,
        by: str = "installation",
    ) -> User:
        """Make an account.

        Args:
            temporary: the person must choose another password when they have signed in.
            by: who makes it.

        Raises:
            Unreadable: a name, role or password that cannot be used.
            Conflict: the name is taken.
        """
        _refuse_unfit(name, role)
        password_hash = hashed(password)  # before the database is asked, so that nobody waits
        made = User._made(session, name, role, password_hash, demo, by)
        made.password_temporary = temporary
        return made

    @staticmethod
    def add_without_password(session: Session, name: str, role: str, *, by: str) -> User:
        """Make an account that nobody signs in to by a password; refusals as `add`."""
        _refuse_unfit(name, role)
        return User._made(session, name, role, "", False, by)

    @staticmethod
    def _made(
        session: Session, name: str, role: str, password_hash: str, demo: bool, by: str
    ) -> User:
        if (other := User.alike(session, name)) is not None:
            raise Conflict(
                f"There is already an account named {other.name!r}."
                + ("" if other.name == name else " Capitals alone would not tell the two apart.")
            ).about("name")
        user = User(name=name, role=role, password_hash=password_hash, demo=demo)
        session.add(user)
        session.flush()
        Event.record(session, by, "account made", str(user.id), name=name, role=role)
        return user

    @staticmethod
    def named(session: Session, name: str) -> User | None:
        """The account of that name, a disabled one too; None when there is none."""
        return session.execute(sa.select(User).where(User.name == name)).scalar_one_or_none()

    @staticmethod
    def alike(session: Session, name: str) -> User | None:
        """The account of that name whatever its capitals, an equal one first; None: there is
        none."""
        same = sa.func.lower(User.name) == name.lower()  # names are of ASCII
        found = list(session.scalars(sa.select(User).where(same).order_by(User.name)))
        return next((one for one in found if one.name == name), found[0] if found else None)

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

    @staticmethod
    def of_id(session: Session, user_id: uuid.UUID) -> User:
        """The account; NotFound when there is none."""
        user = session.get(User, user_id)
        if user is None:
            raise NotFound("There is no such account.")
        return user

    def set_password(
        self,
        session: Session,
        password_hash: str,
        by: str,
        *,
        keep: str = "",
        temporary: bool = False,
    ) -> None:
        """Replace the password and end this person's sign-ins.

        Args:
            password_hash: from `hashed`.
            by: who does it.
            keep: the cookie of the browser in which it is done by the person.
            temporary: the person must choose another one when they have signed in.

        Raises:
            Conflict: the person signs in at the identity provider.
        """
        if not self.password_hash:
            raise Conflict(
                f"{self.name} signs in at the identity provider and has no password here."
            )
        self.password_hash = password_hash
        self.password_temporary = temporary
        self.sign_out(session, keep=keep)
        kind = "password reset" if temporary else "password changed"
        Event.record(session, by, kind, str(self.id), name=self.name)

    def set_role(self, session: Session, role: str, by: str) -> None:
        """Let the person do more, or less, from the next request on.

        Raises:
            Unreadable: there is no such role.
            Conflict: it would leave no administrator.
        """
        if role not in ROLES:
            raise Unreadable(f"There is no role {role[:20]!r}; choose one of {', '.join(ROLES)}.")
        if role != "admin":
            self._refuse_if_last_admin(session)
        if role == self.role:  # pressed twice
            return
        was, self.role = self.role, role
        Event.record(session, by, "role changed", str(self.id), name=self.name, was=was, now=role)

    def disable(self, session: Session, by: str) -> None:
        """Take the right to sign in away, here and by token; what the person did stays.

        Raises:
            Conflict: it would leave no administrator.
        """
        self._refuse_if_last_admin(session)
        if self.disabled_at is not None:
            # it stays so, whatever the identity provider may say later
            identity = Base.metadata.tables["identity"]
            own = identity.c.user_id == self.id
            session.execute(sa.update(identity).where(own).values(suspended_at=None))
            return
        self.disabled_at = now()
        self.sign_out(session)
        Event.record(session, by, "account disabled", str(self.id), name=self.name)

    def enable(self, session: Session, by: str) -> None:
        """Give the right to sign in back."""
        if self.disabled_at is None:
            return
        self.disabled_at = None
        Event.record(session, by, "account enabled", str(self.id), name=self.name)

    def sign_out(self, session: Session, *, keep: str = "") -> None:
        """End this person's sign-ins, but for the browser with the cookie ``keep``."""
        sign_in = Base.metadata.tables["sign_in"]  # by its table: sign-ins are a later noun
        session.execute(
            sa.delete(sign_in).where(
                sign_in.c.user_id == self.id, sign_in.c.cookie_hash != digest_of(keep)
            )
        )

    def _refuse_if_last_admin(self, session: Session) -> None:
        serialise(session, "administrators")  # two who demote each other: one is refused
        session.refresh(self)
        others = sa.select(sa.func.count()).where(
            User.role == "admin", User.disabled_at.is_(None), User.id != self.id
        )
        if self.role == "admin" and self.disabled_at is None and not session.scalar(others):
            raise Conflict(
                f"{self.name} is the only administrator who can sign in. Make another account an "
                "administrator first."
            )

    def may(self, role: str) -> bool:
        """Whether this person has at least ``role``."""
        return ROLES.index(self.role) >= ROLES.index(role)
