"""What a database knows of its installation: the fingerprint of the key it was filled under."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now, serialise
from app.errors import Conflict
from app.models.ground.event import Event

KEY = "installation key"
"""Of what a fingerprint is kept."""


class Fingerprint(Base):
    """A one-way mark of a secret: it shows that the secret is the same, and tells nothing of it."""

    __tablename__ = "fingerprint"

    of: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    value: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)

    @staticmethod
    def confirm(session: Session, key: bytes) -> None:
        """Keep the fingerprint of the installation key, or compare it with the kept one.

        Raises:
            Conflict: this database was filled under another key.
        """
        serialise(session, "fingerprint")
        kept = session.get(Fingerprint, KEY)
        if kept is None:
            session.add(Fingerprint(of=KEY, value=mark(key)))
        elif not hmac.compare_digest(kept.value, mark(key)):
            raise Conflict(
                "The installation key is not the one that this database was filled under (since "
                f"{kept.created_at:%Y-%m-%d %H:%M} UTC). With another key a patient's new "
                "examinations are not found beside the old ones, so nothing was started. Restore "
                "the key that belongs to this database, or point HEPATICA_DATABASE_URL to the "
                "database of this key. If that key is lost for good: `python -m app key adopt`."
            )

    @staticmethod
    def adopt(session: Session, key: bytes, by: str) -> bool:
        """Take another key as this database's from now on; False when it is that one already."""
        serialise(session, "fingerprint")
        kept = session.get(Fingerprint, KEY)
        if kept is not None and hmac.compare_digest(kept.value, mark(key)):
            return False
        if kept is None:
            session.add(Fingerprint(of=KEY, value=mark(key)))
        else:
            kept.value, kept.created_at = mark(key), now()
        Event.record(session, by, "installation key adopted")
        return True


def mark(key: bytes) -> str:
    """The fingerprint of a key, in hex."""
    return hmac.new(key, b"hepatica: fingerprint of the key", hashlib.sha256).hexdigest()
