"""The second step of a sign-in: codes of an authenticator app (TOTP, RFC 6238).

Of accounts that were made here alone: whoever signs in at an identity provider is asked there. The
secret is sealed under the installation's key; a code counts once; and ten recovery codes, of which
only keyed hashes are stored, stand in for a lost phone.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.cookies import tag
from app.db import Base, now
from app.errors import Conflict, Unreadable
from app.models.ground.event import Event
from app.models.ground.sealing import Seal
from app.models.people.user import User

STEP_S = 30
"""Seconds that a code is good (RFC 6238, section 5.2)."""
WINDOW = 1
"""Codes before and after the present one that count too, for clocks that differ."""
DIGITS = 6
RECOVERY_CODES = 10
ISSUER = "Hepatica"
"""What an authenticator app shows above the code."""

_SEAL = Seal(
    info=b"hepatica: second step of a sign-in",
    bound=b"hepatica second factor 1",
    damaged=(
        "The secret of this account's authenticator app cannot be opened: it was sealed under "
        "another installation key, or changed in the database. An administrator can reset the "
        "second step of the account: python -m app user totp-reset NAME."
    ),
)
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that look alike
_GROUPS, _OF = 2, 5  # 50 random bits


@dataclass(frozen=True)
class Enrolment:
    """What an app is given: the secret in base32, and it in an address for a QR code."""

    secret: str
    uri: str


class SecondFactor(Base):
    """The authenticator app of one account.

    Attributes:
        sealed: its secret.
        confirmed_at: since when it is asked for; None: not yet, no code of it was typed.
        last_step: the time step (of 30 s since 1970) of the last code that was taken; that one and
            older ones are not taken again.
    """

    __tablename__ = "second_factor"

    user_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"), primary_key=True)
    sealed: Mapped[bytes]
    made_at: Mapped[datetime] = mapped_column(default=now)
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(sa.BigInteger, default=0)

    # -- finding -------------------------------------------------------------------------------

    @staticmethod
    def of(session: Session, user: User) -> SecondFactor | None:
        """The account's, confirmed or not."""
        return session.get(SecondFactor, user.id, populate_existing=True)

    @staticmethod
    def asked_of(session: Session, user: User) -> SecondFactor | None:
        """The one that is asked for when the account signs in; None where none is."""
        found = SecondFactor.of(session, user) if user.password_hash else None
        return found if found is not None and found.confirmed_at is not None else None

    @staticmethod
    def confirmed(user_id: sa.SQLColumnExpression[uuid.UUID]) -> sa.ColumnElement[bool]:
        """Whether the account of that column has a confirmed one."""
        return (
            sa.exists()
            .where(SecondFactor.user_id == user_id, SecondFactor.confirmed_at.is_not(None))
            .correlate_except(SecondFactor)
        )

    @staticmethod
    def everybodys(session: Session) -> set[uuid.UUID]:
        """The accounts that have a confirmed one."""
        query = sa.select(SecondFactor.user_id).where(SecondFactor.confirmed_at.is_not(None))
        return set(session.scalars(query))

    # -- setting up ----------------------------------------------------------------------------

    @staticmethod
    def begin(session: Session, user: User, key: bytes) -> SecondFactor:
        """Make a secret for an authenticator app; it counts once a code of it was typed.

        Args:
            key: of the installation.

        Raises:
            Conflict: the account has one already, or signs in at the identity provider.
        """
        import pyotp

        if not user.password_hash:
            raise Conflict(
                f"{user.name} signs in at the identity provider, which asks for a second step "
                "where it wants one."
            )
        found = SecondFactor.of(session, user)
        if found is not None and found.confirmed_at is not None:
            raise Conflict(
                f"{user.name} has an authenticator app already. Remove it first, or have an "
                "administrator reset it."
            )
        if found is None:
            found = SecondFactor(user_id=user.id, last_step=0)
            session.add(found)
        secret = pyotp.random_base32()  # 160 bits, as RFC 4226 asks for (section 4, R6)
        found.sealed = _SEAL.sealed({"secret": secret}, str(user.id), key)
        found.made_at = now()
        session.flush()
        return found

    def enrolment(self, user: User, key: bytes) -> Enrolment:
        """What the app is to be given; Damaged where it does not open."""
        import pyotp

        secret = self._secret(key)
        totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S)
        return Enrolment(secret, totp.provisioning_uri(name=user.name, issuer_name=ISSUER))

    def confirm(self, session: Session, user: User, code: str, key: bytes) -> list[str]:
        """Ask for it from now on, since the app shows the right code; the recovery codes.

        Raises:
            Unreadable: another code.
            Conflict: it was confirmed before.
        """
        if self.confirmed_at is not None:
            raise Conflict("The authenticator app is confirmed already.")
        if not self._takes_code(session, code, key):
            raise Unreadable(_OTHER)
        self.confirmed_at = now()
        Event.record(session, user.name, "second step set up", str(user.id))
        return RecoveryCode.renew(session, user, key)

    # -- asking --------------------------------------------------------------------------------

    def takes(self, session: Session, user: User, code: str, key: bytes) -> bool:
        """Whether a code is good now: the app's, or a recovery code; it is good no longer then."""
        bare = re.sub(r"[\s-]", "", code).upper()
        if re.fullmatch(rf"[0-9]{{{DIGITS}}}", bare):
            return self._takes_code(session, bare, key)
        return RecoveryCode.take(session, user, bare, key)

    def _takes_code(self, session: Session, code: str, key: bytes) -> bool:
        import pyotp

        bare = re.sub(r"[\s-]", "", code)
        totp = pyotp.TOTP(self._secret(key), digits=DIGITS, interval=STEP_S)
        present = int(now().timestamp()) // STEP_S
        steps = range(present - WINDOW, present + WINDOW + 1)
        # all are compared, so that the time does not tell which was near
        fitting = [
            step for step in steps if pyotp.utils.strings_equal(bare, totp.generate_otp(step))
        ]
        return any(self._use(session, step) for step in fitting)

    def _use(self, session: Session, step: int) -> bool:
        """Whether the code of a step was not used before; it is from now on."""
        used = session.execute(
            sa.update(SecondFactor)
            .where(SecondFactor.user_id == self.user_id, SecondFactor.last_step < step)
            .values(last_step=step)
        )
        return bool(used.rowcount)  # type: ignore[attr-defined]

    def _secret(self, key: bytes) -> str:
        return str(_SEAL.opened(self.sealed, str(self.user_id), key)["secret"])

    # -- ending --------------------------------------------------------------------------------

    @staticmethod
    def remove(session: Session, user: User, by: str) -> bool:
        """Ask for it no longer; whether there was one. Its recovery codes go with it."""
        found = SecondFactor.of(session, user)
        if found is None:
            return False
        session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
        session.delete(found)
        kind = "second step removed" if by == user.name else "second step reset"
        Event.record(session, by, kind, str(user.id), name=user.name)
        return True


class RecoveryCode(Base):
    """A code that stands in once for an authenticator app; a keyed hash of it."""

    __tablename__ = "recovery_code"

    user_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"), primary_key=True)
    code_hash: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    used_at: Mapped[datetime | None]

    @staticmethod
    def renew(session: Session, user: User, key: bytes) -> list[str]:
        """New ones in place of all before: to be shown this once."""
        session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
        codes = ["".join(secrets.choice(_LETTERS) for _ in range(_GROUPS * _OF))
                 for _ in range(RECOVERY_CODES)]  # fmt: skip
        session.add_all(
            RecoveryCode(user_id=user.id, code_hash=_hash(user, one, key)) for one in codes
        )
        Event.record(session, user.name, "recovery codes made", str(user.id), codes=len(codes))
        return [f"{one[:_OF]}-{one[_OF:]}" for one in codes]

    @staticmethod
    def take(session: Session, user: User, bare: str, key: bytes) -> bool:
        """Whether it is one that was not used yet; it is from now on."""
        used = session.execute(
            sa.update(RecoveryCode)
            .where(
                RecoveryCode.user_id == user.id,
                RecoveryCode.code_hash == _hash(user, bare, key),
                RecoveryCode.used_at.is_(None),
            )
            .values(used_at=now())
        )
        if not used.rowcount:  # type: ignore[attr-defined]
            return False
        left = RecoveryCode.left(session, user)
        Event.record(session, user.name, "recovery code used", str(user.id), left=left)
        return True

    @staticmethod
    def left(session: Session, user: User) -> int:
        """How many were not used."""
        unused = sa.select(sa.func.count()).where(
            RecoveryCode.user_id == user.id, RecoveryCode.used_at.is_(None)
        )
        return session.scalars(unused).one()


def demanded_of(user: User, roles: Collection[str]) -> bool:
    """Whether an account must have an app: by its role, unless it signs in elsewhere."""
    return bool(user.password_hash) and user.role in roles


_OTHER = (
    "This code is another one. Type the six digits that the app shows now; if they are never "
    "right, compare the clock of the phone."
)


def _hash(user: User, bare: str, key: bytes) -> str:
    return tag(key, "recovery code", str(user.id), bare)
