"""The audit trail verified, and as a table."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.errors import Damaged, Unreadable
from app.models.ground import trail
from app.models.ground.event import Event
from app.models.ground.installation import mark
from app.models.ground.trail import BEGUN_ANEW, EVENT, SEALED, Head, TrailEntry, chained, seal_of
from ml.ground.delimited import written
from ml.progress import Progress

MOST_FAULTS = 100
"""So many faults are told; where one attempt broke more, more of the same says nothing."""
_AT_ONCE = 1000


@dataclass
class Verification:
    """Whether the trail is what was written; iterate ``run``, then ask for the rest.

    Attributes:
        key: of the installation; None where there is none.
        kept: a head that was kept elsewhere; None: none.
        head: how far the chain is.
        faults: what is wrong, in words; at most `MOST_FAULTS`.
        sealed: the number of the last entry that a seal of this key covers; 0: none.
        other_keys: seals of another key, which cannot be checked with this one; the last of them
            is ``last_of_others``.
        begun_anew: when the chain was reckoned again, at entry ``anew_at``; no seal of before
            covers it. None: never.
    """

    key: bytes | None
    kept: Head | None = None
    head: Head = field(default_factory=Head)
    faults: list[str] = field(default_factory=list)
    sealed: int = 0
    other_keys: int = 0
    last_of_others: int = 0
    begun_anew: datetime | None = None
    anew_at: int = 0

    def run(self, session: Session) -> Iterator[Progress]:
        """Walk the chain from its beginning."""
        anew = session.execute(
            sa.select(TrailEntry.number, Event.at)
            .join(Event, Event.id == TrailEntry.event_id)
            .where(Event.kind == BEGUN_ANEW)
            .order_by(TrailEntry.number.desc())
            .limit(1)
        ).first()
        if anew is not None:
            self.anew_at, self.begun_anew = anew
        total = session.scalar(sa.select(sa.func.count()).select_from(TrailEntry)) or 0
        rows = session.execute(
            sa.select(TrailEntry.number, TrailEntry.digest, TrailEntry.event_id, *EVENT)
            .outerjoin(Event, Event.id == TrailEntry.event_id)
            .order_by(TrailEntry.number),
            execution_options={"yield_per": _AT_ONCE},
        )
        met = 0
        for done, row in enumerate(rows, 1):
            number, digest, event_id, *event = row
            self._gap(number)
            if event[0] is None:
                self._fault(f"Entry {number}: its event {event_id} was removed.")
            else:
                met += 1
                self._event(number, digest, event)
            self.head = Head(number, digest)
            if done % _AT_ONCE == 0 or done == total:
                yield Progress(done, total, "the audit trail is walked")
        self._strays(session, met)
        self._kept()

    def _fault(self, words: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(words)

    def _gap(self, number: int) -> None:
        before = self.head.number
        if number == before + 2:
            self._fault(f"Entry {before + 1} was removed.")
        elif number > before + 2:
            self._fault(f"Entries {before + 1} to {number - 1} were removed.")
        if self.kept is not None and before < self.kept.number < number:
            self._fault(f"Entry {self.kept.number}, whose digest was kept elsewhere, is not there.")

    def _event(self, number: int, digest: bytes, event: list[Any]) -> None:
        _, at, actor, kind, _, detail = event
        if chained(self.head.digest, trail.written(*event)) != digest:
            self._fault(
                f"Entry {number} ({at:%Y-%m-%d %H:%M:%S} UTC, {actor}: {kind}) is not what was "
                "written there, or what stood before it is not."
            )
        if self.kept is not None and number == self.kept.number and digest != self.kept.digest:
            self._fault(f"Entry {number} has another digest than the one that was kept elsewhere.")
        if kind == SEALED and (self.begun_anew is None or number > self.anew_at):
            self._seal(number, detail)

    def _seal(self, number: int, detail: dict[str, Any]) -> None:
        told = detail.get("head")
        if self.key is None or detail.get("key") != mark(self.key):
            self.other_keys += 1
            self.last_of_others = number
        elif told != str(self.head) or not hmac.compare_digest(
            str(detail.get("seal")), seal_of(self.key, str(told))
        ):
            self._fault(
                f"The seal at entry {number} does not fit: what stood before it when it was sealed "
                "is not what stands there now."
            )
        else:
            self.sealed = self.head.number

    def _strays(self, session: Session, met: int) -> None:
        """Events that stand in no entry were put in by another way than the application."""
        if (session.scalar(sa.select(sa.func.count()).select_from(Event)) or 0) == met:
            return
        strays = session.execute(
            sa.select(Event.id, Event.at)
            .where(~sa.exists().where(TrailEntry.event_id == Event.id))
            .order_by(Event.at)
            .limit(MOST_FAULTS)
        )
        for id, at in strays:
            self._fault(
                f"Event {id} of {at:%Y-%m-%d %H:%M:%S} UTC stands in no entry: it did not come "
                "from the application."
            )

    def _kept(self) -> None:
        if self.kept is not None and self.kept.number > self.head.number:
            self._fault(
                f"The trail ends at entry {self.head.number}; entry {self.kept.number}, whose "
                "digest was kept elsewhere, is not there: the end was removed."
            )

    @property
    def doubt(self) -> str:
        """Why a part of it cannot be vouched for here; "" where all of it can.

        Whoever writes to the database could have put another key's name into a seal, or a new
        beginning into the chain. A head that was kept elsewhere, and fits, vouches for what stands
        up to it.
        """
        told, last = [], 0
        if self.other_keys and self.key is None:
            told.append(
                f"The installation key is not here, so {self.other_keys} seals cannot be checked. "
                "Set HEPATICA_INSTALLATION_KEY_FILE as for the server."
            )
            last = self.last_of_others
        elif self.other_keys:
            told.append(
                f"{self.other_keys} seals, the last at entry {self.last_of_others:,}, are of "
                "another key than the one that is here, and could not be checked."
            )
            last = self.last_of_others
        if self.begun_anew is not None:
            told.append(
                f"The chain was reckoned again on {self.begun_anew:%Y-%m-%d %H:%M} UTC, as it is "
                "when the schema goes down and up: seals of before cover nothing any longer."
            )
            last = max(last, self.anew_at)
        if not told or (self.kept is not None and self.kept.number >= last):
            return ""
        told.append(
            "Only a head that was kept elsewhere, at that entry or later, can vouch for what "
            "stands before it: give it with --kept."
        )
        return " ".join(told)

    def refuse_faults(self) -> None:
        """Return where nothing is wrong.

        Raises:
            Damaged: something is, or nothing here can tell whether something is.
        """
        if self.faults:
            more = " or more" if len(self.faults) == MOST_FAULTS else ""
            raise Damaged(
                f"The audit trail is not what was written: {len(self.faults)}{more} faults. "
                "Compare it with a backup that was made before, and find out who can write to the "
                "database."
            )
        if self.doubt:
            raise Damaged(
                f"No fault was found in the audit trail, and that does not mean that it is what "
                f"was written. {self.doubt}"
                + (f" Its head is {self.head}" if self.head.number else "")
            )

    @property
    def words(self) -> str:
        """What was found where nothing is wrong, and how much of it a seal covers."""
        told = [f"All of the audit trail is what was written: {self.head.number:,} events."]
        if self.sealed:
            told.append(f"Sealed up to entry {self.sealed:,}.")
        elif self.head.number:
            told.append("No seal of this installation's key covers any of it yet.")
        if self.other_keys or self.begun_anew is not None:
            told.append("What no seal of this key covers, the head that was kept elsewhere does.")
        if self.head.number:
            told.append(f"Keep its head elsewhere: {self.head}")
        return " ".join(told)


@dataclass(frozen=True)
class Days:
    """Days of UTC, both included; None: as early, or as late, as there are events."""

    since: date | None
    until: date | None

    @classmethod
    def read(cls, since: str, until: str) -> Days:
        """The days that two texts tell; "" tells none.

        Raises:
            Unreadable: one of them is no day, or they end before they begin.
        """
        found = cls(_day(since), _day(until))
        if found.since and found.until and found.until < found.since:
            raise Unreadable(f"{until} is before {since}: no day lies between them.")
        return found

    def clauses(self) -> Iterator[sa.ColumnElement[bool]]:
        """What an event of them fulfils."""
        if self.since:
            yield Event.at >= datetime.combine(self.since, time(), UTC)
        if self.until:
            yield Event.at <= datetime.combine(self.until, time.max, UTC)


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unreadable(f"{text[:40]!r} is no day; write it as 2026-01-31.") from None


COLUMNS = ("number", "at", "actor", "kind", "subject", "detail", "digest")


def table(session: Session, days: Days) -> Iterator[str]:
    """The trail as CSV, a part at a time; ``at`` in UTC, ``detail`` as JSON."""
    yield written(COLUMNS, ())
    rows = session.execute(
        sa.select(TrailEntry.number, TrailEntry.digest, *EVENT[1:])
        .join(Event, Event.id == TrailEntry.event_id)
        .where(*days.clauses())
        .order_by(TrailEntry.number),
        execution_options={"yield_per": _AT_ONCE},
    )
    for part in rows.partitions():
        text = written(
            COLUMNS,
            (
                (
                    number,
                    at.isoformat(timespec="microseconds"),
                    actor,
                    kind,
                    subject,
                    json.dumps(detail, sort_keys=True, ensure_ascii=False),
                    digest.hex(),
                )
                for number, digest, at, actor, kind, subject, detail in part
            ),
        )
        yield text.partition("\n")[2]
