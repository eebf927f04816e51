"""Refused sign-ins, counted so that guessing is slow and nobody can lock anybody out.

Counted are tries of a name from one source, and of any name from one source, within a window. A
browser that has signed in to the account before carries a device cookie and is counted apart, so
no stranger's tries reach its owner (OWASP, "Slow Down Online Guessing Attacks with Device
Cookies"). A try is counted before the password is looked at and taken off again when it was right:
tries that run at the same time cannot get past the limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.cookies import tag
from app.db import Base, now, serialise
from app.errors import TooMany
from app.models.ground.event import Event
from app.models.people.user import User

WINDOW = timedelta(minutes=15)
TRIES_OF_A_NAME = 10
"""Refused tries of one name from one source or device within a window."""
TRIES_OF_A_SOURCE = 100
"""Refused tries of any names from one source within a window."""
TRIES_OF_A_PEER = 1000
"""Refused tries of everybody behind a proxy that the settings do not name."""

_NAMES_BEFORE_SPRAYING = 5
_NAMES_EVERYWHERE = 30
"""More names than people mistype at the same time in a hospital, wherever the tries come from."""
_EVENTS_IN_A_WINDOW = 200
ALARM_DAYS = 7
_MOST_ALARMS = 1000
_EVERY_NAME = ""
_EVERYWHERE = "everywhere"


@dataclass(frozen=True)
class Origin:
    """Where a try comes from.

    ``source`` is whom the tries are counted against: an address, or an address as a proxy tells it
    that nobody named. ``peer`` is who is connected. ``device`` is the browser, where it has signed
    in to this account before, else empty.
    """

    source: str
    peer: str
    device: str = ""
    second: bool = False
    """It is a code of the second step, by somebody who has the password: a place of its own."""

    @property
    def place(self) -> str:
        """Where tries of the device are counted."""
        return f"second step {self.device}" if self.second else self.device

    @property
    def where(self) -> str:
        """It in a sentence."""
        if self.second:
            return "with this password"
        return "from this browser" if self.device else "from here"


SPRAYED = "passwords tried on many names"
STOPPED = "sign-ins stopped for a while"
"""Kinds of the events that an administrator should know of."""
FROM_MANY = "many places"


class Tally(Base):
    """Tries of one name from one place within a window. Names and places are keyed hashes."""

    __tablename__ = "sign_in_tally"

    account: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    place: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    since: Mapped[datetime] = mapped_column(default=now, index=True)
    tries: Mapped[int] = mapped_column(default=0)
    told: Mapped[int] = mapped_column(default=0)

    @staticmethod
    def refuse(session: Session, key: bytes, name: str, origin: Origin) -> None:
        """Refuse a try that is one too many; only reads.

        Raises:
            TooMany: with the time after which the next one is looked at.
        """
        for account, place, most in _counted(key, name, origin):
            row = session.get(Tally, (account, place))
            if row is not None and not row.over:
                row._refuse_above(most, origin)

    @staticmethod
    def claim(session: Session, key: bytes, name: str, origin: Origin) -> None:
        """Count a try before its password is looked at; TooMany as ``refuse``."""
        _alone(session, origin)
        for account, place, most in _counted(key, name, origin):
            row = _row(session, account, place)
            row._refuse_above(most, origin)
            row.tries += 1

    @staticmethod
    def forgive(session: Session, key: bytes, name: str, origin: Origin) -> None:
        """The password was right: the name begins anew, and the source gets its try back."""
        _alone(session, origin)
        for account, place, _ in _counted(key, name, origin):
            row = session.get(Tally, (account, place), with_for_update=True)
            if row is None:
                continue
            row.tries = 0 if account else max(0, row.tries - 1)
            if account:
                row.told = 0

    @staticmethod
    def tell(session: Session, key: bytes, user: User | None, name: str, origin: Origin) -> None:
        """Record a refused try as an Event: once per account and place, once per spraying.

        Names that nobody has are recorded as "?": a password is easily typed into that field.
        """
        _alone(session, origin)
        (account, place, most), *others = _counted(key, name, origin)
        own = _row(session, account, place)
        source = _row(session, *others[0][:2]) if others else own
        actor = user.name if user else "?"
        refused = "second step refused" if origin.second else "sign-in refused"
        if others and _sprayed_everywhere(session):
            everywhere = _row(session, _EVERYWHERE, _EVERYWHERE)
            if everywhere.told == 0:
                everywhere.told = 1
                Event.record(session, "?", SPRAYED, FROM_MANY)
        if others and _sprayed(session, place):
            if source.told < 2 and _may_tell(session):
                source.told = 2
                Event.record(session, "?", SPRAYED, origin.source)
        elif own.told == 0:
            own.told = 1
            if (user or source.told == 0) and _may_tell(session):
                source.told = max(source.told, 0 if user else 1)
                Event.record(session, actor, refused, origin.source)
        elif user and own.told == 1 and own.tries >= most and _may_tell(session):
            own.told = 2
            Event.record(session, actor, STOPPED, origin.source, tries=most)

    @staticmethod
    def unlock(session: Session, key: bytes, user: User, by: str) -> None:
        """Let a person try again at once, from everywhere."""
        account = tag(key, "name", user.name)
        session.execute(sa.delete(Tally).where(Tally.account.in_([account, _EVERY_NAME])))
        Event.record(session, by, "account unlocked", str(user.id))

    @property
    def over(self) -> bool:
        """Whether the window has ended."""
        return now() - self.since > WINDOW

    def _refuse_above(self, most: int, origin: Origin) -> None:
        if self.tries < most:
            return
        wait_s = (self.since + WINDOW - now()).total_seconds()
        whom = "of this name " if self.account else ""
        raise TooMany(
            f"Too many refused sign-ins {whom}{origin.where}. Wait "
            f"{max(1, round(wait_s / 60))} minutes, or ask an administrator to unlock the account.",
            retry_after_s=wait_s,
        )


@dataclass(frozen=True)
class Alarm:
    """Something about sign-ins that an administrator should know of.

    Attributes:
        kind: `SPRAYED` or `STOPPED`.
        times: how often within `ALARM_DAYS`.
        last_at, last_from: of the newest, and the account that it was about ("?": many).
    """

    kind: str
    times: int
    last_at: datetime
    last_from: str
    account: str

    @staticmethod
    def recent(session: Session) -> list[Alarm]:
        """Those of the last days, by kind and account, the newest first; at most 20."""
        since = now() - timedelta(days=ALARM_DAYS)
        query = (
            sa.select(Event)
            .where(Event.kind.in_((SPRAYED, STOPPED)), Event.at > since)
            .order_by(Event.at.desc(), Event.id)
            .limit(_MOST_ALARMS)
        )
        found: dict[tuple[str, str], Alarm] = {}
        for event in session.scalars(query):
            known = found.get((event.kind, event.actor))
            if known is None:
                known = Alarm(event.kind, 0, event.at, event.subject, event.actor)
            found[event.kind, event.actor] = replace(known, times=known.times + 1)
        return list(found.values())[:20]


def _counted(key: bytes, name: str, origin: Origin) -> list[tuple[str, str, int]]:
    """(account, place, most tries) of every row that a try counts in, the name's own first."""
    account = tag(key, "name", name)
    if origin.device or origin.second:
        return [(account, tag(key, "device", origin.place), TRIES_OF_A_NAME)]
    place = tag(key, "source", origin.source)
    counted = [(account, place, TRIES_OF_A_NAME), (_EVERY_NAME, place, TRIES_OF_A_SOURCE)]
    if origin.peer != origin.source:
        counted.append((_EVERY_NAME, tag(key, "peer", origin.peer), TRIES_OF_A_PEER))
    return counted


def _alone(session: Session, origin: Origin) -> None:
    """Let tries that count in the same rows pass one after the other."""
    serialise(session, f"sign-in {origin.place or origin.peer}")


def _row(session: Session, account: str, place: str) -> Tally:
    """The row of this window, made where there is none; nobody sweeps it away meanwhile."""
    row = session.get(Tally, (account, place), with_for_update=True)
    if row is None:
        row = Tally(account=account, place=place, since=now(), tries=0, told=0)
        session.add(row)
        session.flush()
    elif row.over:
        row.since, row.tries, row.told = now(), 0, 0
    return row


def _sprayed(session: Session, place: str) -> bool:
    """Whether more names were tried from one place than people mistype."""
    names = sa.select(sa.func.count()).where(
        Tally.place == place, Tally.account != _EVERY_NAME, Tally.since > now() - WINDOW
    )
    return (session.scalar(names) or 0) > _NAMES_BEFORE_SPRAYING


def _sprayed_everywhere(session: Session) -> bool:
    """Whether more names were tried than people mistype, from places that each tried few."""
    recent = (
        Tally.account.not_in((_EVERY_NAME, _EVERYWHERE)),
        Tally.tries > 0,
        Tally.since > now() - WINDOW,
    )
    sprayers = (
        sa.select(Tally.place)
        .where(*recent)
        .group_by(Tally.place)
        .having(sa.func.count() > _NAMES_BEFORE_SPRAYING)
    )
    names = sa.select(Tally.account).where(*recent, Tally.place.not_in(sprayers)).distinct()
    few = names.limit(_NAMES_EVERYWHERE + 1).subquery()
    found = session.scalar(sa.select(sa.func.count()).select_from(few))
    return (found or 0) > _NAMES_EVERYWHERE


def _may_tell(session: Session) -> bool:
    """Whether the audit trail takes one more: strangers cannot fill it from many addresses."""
    serialise(session, "sign-in everywhere")
    _sweep(session)
    row = _row(session, _EVERYWHERE, _EVERYWHERE)
    row.tries += 1
    if row.tries == _EVENTS_IN_A_WINDOW:
        Event.record(session, "?", "more sign-ins refused than are recorded")
    return row.tries < _EVENTS_IN_A_WINDOW


def _sweep(session: Session) -> None:
    """Remove rows of windows long over, but none that someone holds."""
    old = sa.select(Tally.account, Tally.place).where(Tally.since < now() - 2 * WINDOW)
    for account, place in session.execute(old.limit(1000).with_for_update(skip_locked=True)).all():
        session.execute(sa.delete(Tally).where(Tally.account == account, Tally.place == place))
