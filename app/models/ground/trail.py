"""The audit trail as a chain: whoever changes or removes an event breaks it.

An entry is written with each event, in the transaction of the event, whoever writes it. Its digest
covers the event and the digest before it, so that none can be changed, removed, put in or put
elsewhere without the entries after it telling. Whoever can write to the database could reckon the
rest of the chain anew; therefore the installation seals it from time to time with a digest under
its key, which is not in the database. What follows the last seal, and the end of the chain, are
safe only where a head of it is kept elsewhere. `app.operation.trail` verifies it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, in_parts, now, serialise
from app.errors import Unreadable
from app.models.ground.append_only import append_only
from app.models.ground.event import Event
from app.models.ground.installation import mark

BEGINNING = b"\0" * 32
"""The digest before the first entry."""
SEALED = "trail sealed"
"""The kind of event that a seal is."""
BEGUN_ANEW = "trail begun anew"
"""The kind of event with which the schema's way down and up reckoned the chain again."""
_WRITTEN = "events of this transaction"


@append_only
class TrailEntry(Base):
    """One place of the chain.

    Attributes:
        event_id: the event that stands here.
        number: of the place, from 1, without gaps.
        digest: SHA-256 over the digest before and the event (`chained`).
    """

    __tablename__ = "trail_entry"

    event_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("event.id"), primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)
    digest: Mapped[bytes]


class TrailReceiver(Base):
    """How far another machine has the trail, to which it is sent.

    Attributes:
        address: of the receiver.
        number: of the last entry that it has.
        held_by: who is sending; nobody else does until ``held_until``.
    """

    __tablename__ = "trail_receiver"

    address: Mapped[str] = mapped_column(sa.String(300), primary_key=True)
    number: Mapped[int] = mapped_column(default=0)
    held_by: Mapped[str] = mapped_column(sa.String(100), default="")
    held_until: Mapped[datetime] = mapped_column(default=now)

    @staticmethod
    def hold(session: Session, address: str, by: str, seconds: float) -> int | None:
        """Take the sending over; the number of the last entry that it has.

        None where somebody else sends, or nothing is to be sent.
        """
        serialise(session, "trail receiver")
        row = session.get(TrailReceiver, address)
        if row is None:
            row = TrailReceiver(address=address, number=0, held_by="", held_until=now())
            session.add(row)
        if row.held_by not in ("", by) and row.held_until > now():
            return None
        if row.number >= head(session).number:
            return None
        row.held_by, row.held_until = by, now() + timedelta(seconds=seconds)
        return row.number

    @staticmethod
    def took(session: Session, address: str, by: str, number: int) -> None:
        """It has everything up to this entry, and anybody may send what comes next."""
        serialise(session, "trail receiver")
        row = session.get_one(TrailReceiver, address)
        row.number = max(row.number, number)
        if row.held_by == by:
            row.held_by = ""


@dataclass(frozen=True)
class Head:
    """How far the chain is; written as ``NUMBER:HEX``."""

    number: int = 0
    digest: bytes = BEGINNING

    def __str__(self) -> str:
        return f"{self.number}:{self.digest.hex()}"

    @classmethod
    def read(cls, text: str) -> Head:
        """The head that a text tells.

        Raises:
            Unreadable: it tells none.
        """
        number, _, digest = text.strip().partition(":")
        try:
            found = cls(int(number), bytes.fromhex(digest))
        except ValueError:
            found = cls()
        if found.number < 1 or len(found.digest) != len(BEGINNING):
            raise Unreadable(
                f"{text[:80]!r} is no head of an audit trail: those are NUMBER:DIGEST as `python "
                "-m app audit verify` prints them."
            )
        return found


def written(
    id: uuid.UUID, at: datetime, actor: str, kind: str, subject: str, detail: dict[str, Any]
) -> bytes:
    """An event as the chain takes it: JSON, the same on every database."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    return json.dumps(
        [str(id), moment, actor, kind, subject, detail], sort_keys=True, separators=(",", ":")
    ).encode()


def chained(before: bytes, event: bytes) -> bytes:
    """The digest of an entry: SHA-256 of the digest before and the event."""
    return hashlib.sha256(before + event).digest()


EVENT = (Event.id, Event.at, Event.actor, Event.kind, Event.subject, Event.detail)
"""What an entry covers, in the order of `written`."""


@sa.event.listens_for(Event, "after_insert")
def _remember(_mapper: Any, _connection: sa.Connection, event: Event) -> None:
    session = sa.inspect(event).session
    if session is not None:
        session.info.setdefault(_WRITTEN, []).append(event.id)


@sa.event.listens_for(Session, "before_commit")
def _enter(session: Session) -> None:
    """Give the events of a transaction their places, as the last thing before it ends.

    Whoever comes here waits for nothing else any longer: two transactions wait for each other no
    longer than a commit takes.
    """
    if session.in_nested_transaction():
        return
    session.flush()
    ids: list[uuid.UUID] = session.info.pop(_WRITTEN, [])
    if not ids:
        return
    serialise(session, "audit trail")
    place = head(session)
    for some in in_parts(ids):
        # as they are in the database; those of an undone part of the transaction are not
        found = {
            row.id: row for row in session.execute(sa.select(*EVENT).where(Event.id.in_(some)))
        }
        entries = []
        for one in some:
            if one in found:
                digest = chained(place.digest, written(*found[one]))
                place = Head(place.number + 1, digest)
                entries.append({"number": place.number, "event_id": one, "digest": digest})
        if entries:
            session.execute(sa.insert(TrailEntry), entries)


def head(session: Session) -> Head:
    """The last entry."""
    last = session.execute(
        sa.select(TrailEntry.number, TrailEntry.digest).order_by(TrailEntry.number.desc()).limit(1)
    ).first()
    return Head(*last) if last else Head()


def seal(session: Session, key: bytes, by: str) -> bool:
    """Seal the chain as it is; False where nothing came after the last seal.

    Args:
        key: of the installation.
    """
    serialise(session, "audit trail")
    place = head(session)
    last = session.scalar(
        sa.select(Event.kind)
        .join(TrailEntry, TrailEntry.event_id == Event.id)
        .where(TrailEntry.number == place.number)
    )
    if last is None or last == SEALED:
        return False
    Event.record(
        session,
        by,
        SEALED,
        head=str(place),
        key=mark(key),
        seal=seal_of(key, str(place)),
    )
    return True


def seal_of(key: bytes, told: str) -> str:
    """What seals a head that is written so, under a key; hex."""
    return hmac.new(key, f"hepatica: audit trail {told}".encode(), hashlib.sha256).hexdigest()
