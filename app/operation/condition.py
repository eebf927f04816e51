"""How the installation is, in words for administrators: what is wrong and what to do, what waits,
what is well, each with its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.counting import Figures
from app.db import Database, now
from app.errors import AppError
from app.models.checkpoint import Checkpoint
from app.models.erasures.erasure import Erasure
from app.models.ground.event import Event
from app.models.ground.trail import SEALED, TrailEntry, TrailReceiver
from app.models.runs.run import WorkerSign
from app.operation import disk, waiting
from app.operation.erasing import Erasing
from app.operation.started import STARTED
from app.operation.syslog import address_of
from app.settings import VERSION, Settings
from ml.checkpoints.checkpoint import CheckpointKind

BACKUP_AFTER = timedelta(days=7)
"""From so old a last backup on it is wrong that there is no newer one."""
SEAL_AFTER = timedelta(hours=3)
"""The trail is sealed every hour while a process does jobs."""
LATE = {"jobs": timedelta(minutes=15), "notices": timedelta(hours=1), "returns": timedelta(hours=1)}
"""So long something may wait before that is wrong; runs may wait as long as others take."""
LATELY = timedelta(days=7)
"""What was given up before is not told any more."""
_NOUNS = {
    "jobs": "job",
    "runs": "run",
    "notices": "notice to a hook",
    "returns": "result to a PACS",
}


class State(StrEnum):
    """How a thing is; the most urgent first."""

    WRONG = "wrong"
    WAITS = "waits"
    WELL = "well"


@dataclass(frozen=True)
class Point:
    """One thing of an installation.

    Attributes:
        words: a sentence that says how it is.
        to_do: what an administrator does about it; "" where there is nothing to do.
        at: since when, or when last; None where no time is known.
        address: of the page that shows more; "" where there is none.
    """

    about: str
    state: State
    words: str
    to_do: str = ""
    at: datetime | None = None
    address: str = ""


@dataclass(frozen=True)
class Condition:
    """All of them, the most urgent first."""

    points: tuple[Point, ...]

    @property
    def words(self) -> str:
        """The whole in one line."""
        wrong, waits = (
            sum(one.state == state for one in self.points) for state in (State.WRONG, State.WAITS)
        )
        told = []
        if wrong:
            told.append(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong")
        if waits:
            told.append(f"{waits} {'waits' if waits == 1 else 'wait'}")
        return f"{' and '.join(told)}." if told else "All is well."


@dataclass(frozen=True)
class Looking:
    """What is looked at, and how people come here."""

    database: Database
    settings: Settings
    counted: Figures
    is_safe: bool
    """Whoever looks came over HTTPS, or from this machine."""

    def found(self, session: Session) -> Condition:
        """How everything is now."""
        order = list(State)
        points = [
            self._of_database(session),
            self._of_server(session),
            *self._of_disk(),
            self._of_backup(session),
            self._of_classifier(session),
            *self._of_queues(session),
            *self._of_given_up(session),
            self._of_deletions(session),
            *self._of_trail(session),
            self._of_requests(),
            self._of_the_way_here(),
        ]
        return Condition(tuple(sorted(points, key=lambda one: order.index(one.state))))

    def _of_database(self, session: Session) -> Point:
        kind = "SQLite" if self.database.file is not None else "PostgreSQL"
        if fault := self.database.fault(session):
            words = f"{kind}: {fault}."
            return Point("Database", State.WRONG, words, "Mend it; nothing is stored until then.")
        return Point("Database", State.WELL, f"{kind} can be read and written.")

    def _of_server(self, session: Session) -> Point:
        words = f"Version {VERSION}; it was started last at this time."
        return Point("Server", State.WELL, words, at=waiting.last(session, STARTED))

    def _of_disk(self) -> Iterator[Point]:
        free = disk.free_bytes(self.database, self.settings)
        if free is not None:  # that it is nearly full is said of the database
            place = "the database" if self.database.file is not None else "the key"
            words = f"{free / 1e9:,.1f} GB are free where {place} is kept."
            yield Point("Disk", State.WELL, words)

    def _of_backup(self, session: Session) -> Point:
        at = waiting.last(session, "backup made")
        to_do = "Make one with `python -m app backup DIR`, and let it be made every night."
        if at is None:
            words = "None was ever made. What is lost now is lost for good."
            return Point("Backup", State.WRONG, words, to_do)
        if now() - at > BACKUP_AFTER:
            words = f"The last one is older than {BACKUP_AFTER.days} days."
            return Point("Backup", State.WRONG, words, to_do, at)
        return Point("Backup", State.WELL, "The last one was made at this time.", at=at)

    def _of_classifier(self, session: Session) -> Point:
        served = [row.name for row in Checkpoint.served(session, CheckpointKind.CLASSIFIER)]
        if served:
            words = f"{' and '.join(served)} {'answers' if len(served) == 1 else 'answer'}."
            return Point("Classifier", State.WELL, words, address="/checkpoints")
        words = "None is served, so no lesion is given a score."
        to_do = "Serve one from its page."
        return Point("Classifier", State.WRONG, words, to_do, address="/checkpoints")

    def _of_queues(self, session: Session) -> Iterator[Point]:
        workers = WorkerSign.living(session)
        for name, queue in waiting.waiting(session).items():
            about, address = name.capitalize(), {"runs": "/runs", "returns": "/returns"}.get(name)
            told = _count(queue.count, _NOUNS[name])
            if not queue.count:
                yield Point(about, State.WELL, "None waits.", address=address or "")
                continue
            words = f"{told} {'waits or is' if queue.count == 1 else 'wait or are'} being done."
            state, to_do = State.WAITS, ""
            if name == "runs" and not workers:
                state, to_do = State.WRONG, "No worker lives. Start one with `make worker`."
            elif name in LATE and queue.age_s > LATE[name].total_seconds():
                state, to_do = State.WRONG, self._late(name)
            yield Point(about, state, words, to_do, queue.oldest, address or "")

    def _of_deletions(self, session: Session) -> Point:
        erasing, address = Erasing(self.database, self.settings), "/erasures"
        under_way = [Erasure.require(session, one) for one in Erasure.unfinished(session)]
        told = f"{_count(len(under_way), 'deletion')} {_is(len(under_way))} under way."
        for one in under_way:
            if why := erasing.waits_for(session, one):
                words = f"A deletion waits. {' '.join(why)}"
                return Point(
                    "Deletions", State.WRONG, words, "", one.begun_at, f"{address}/{one.id}"
                )
        if under_way:
            return Point("Deletions", State.WAITS, told, "", under_way[0].begun_at, address)
        try:
            known = {entry.erasure for entry in erasing.register.read()}
        except AppError as refusal:
            return Point("Deletions", State.WRONG, refusal.detail, "Nothing is deleted until then.")
        if lost := Erasure.ended(session) - known:
            words = (
                f"{_count(len(lost), 'deletion')} {_is(len(lost))} not in the register "
                f"{erasing.register.path}: a restored backup would bring back what they took."
            )
            to_do = (
                "Put its lines back from where the register was kept, or from the register of the "
                "folder in which the command ran, and set HEPATICA_DELETIONS_FILE to one place."
            )
            return Point("Deletions", State.WRONG, words, to_do, address=address)
        return Point("Deletions", State.WELL, "None waits.", address=address)

    def _late(self, name: str) -> str:
        if name == "jobs" and not self.settings.clerk:
            return "Web processes do no jobs here (HEPATICA_CLERK): start `python -m app clerk`."
        if name == "jobs":
            return "Look into the log for lines of hepatica.clerk."
        return "Whoever is to take it does not. The log says why, in lines of hepatica.clerk."

    def _of_given_up(self, session: Session) -> Iterator[Point]:
        for name, count in waiting.given_up(session, LATELY).items():
            if count:
                words = (
                    f"{_count(count, _NOUNS[name])} could not be sent in the last "
                    f"{LATELY.days} days and {_is(count)} tried no more."
                )
                to_do = "Try again from their page." if name == "returns" else "Tell the receiver."
                address = "/returns" if name == "returns" else ""
                yield Point(
                    f"{name.capitalize()}, given up", State.WRONG, words, to_do, None, address
                )

    def _of_trail(self, session: Session) -> Iterator[Point]:
        at = waiting.last(session, SEALED)
        number = session.scalar(sa.select(sa.func.max(TrailEntry.number))) or 0
        since = at or session.scalar(sa.select(sa.func.min(Event.at)))
        late = since is not None and now() - since > SEAL_AFTER
        words = (
            f"{number:,} events, {'never sealed' if at is None else 'sealed last at this time'}."
        )
        to_do = "It is sealed by web processes or `python -m app clerk`: see that one does jobs."
        yield (
            Point("Audit trail", State.WRONG, words, to_do, at)
            if late
            else Point("Audit trail", State.WELL, words, at=at)
        )
        if self.settings.audit_syslog:
            row = session.get(TrailReceiver, address_of(self.settings))
            unsent = number - (row.number if row else 0)
            state = State.WAITS if unsent else State.WELL
            words = f"{_count(unsent, 'event')} not with the receiver yet."
            yield Point("Audit trail, sent", state, words)

    def _of_requests(self) -> Point:
        faults = total = 0
        for (_, _, status), count in self.counted.answered.items():
            total += count
            faults += count if status == 500 else 0
        met = "none met a fault" if not faults else f"{faults:,} met a fault"
        words = f"{_count(total, 'request')} since the server began; {met}."
        if not faults:
            return Point("Requests", State.WELL, words, at=self.counted.since)
        to_do = "Look into the log for status 500; the lines of the same request say where."
        return Point("Requests", State.WRONG, words, to_do, self.counted.since)

    def _of_the_way_here(self) -> Point:
        if self.is_safe:
            words = "You came over HTTPS, or from this machine."
            return Point("The way here", State.WELL, words)
        words = "You came over plain HTTP: whoever listens in the network reads passwords and data."
        to_do = (
            "Put a proxy with HTTPS in front, as the README shows, and set HEPATICA_PUBLIC_ORIGIN."
        )
        return Point("The way here", State.WRONG, words, to_do)


def _count(number: int, noun: str) -> str:
    """Such as "1 notice to a hook", "2 notices to a hook"."""
    first, _, rest = noun.partition(" ")
    return f"{number:,} {first}{'' if number == 1 else 's'}{f' {rest}' if rest else ''}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
