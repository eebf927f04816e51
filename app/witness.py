"""The witness: what a person is shown is written down before the picture leaves.

Unlike the use of a sign-in, which the next use tells again, a look that is lost lets somebody read
blind what they know. So the request waits until its look is committed. It waits for the first look
at a picture only, and with it go all that came meanwhile, in one transaction. Where the database
cannot be written within `PATIENCE_S`, the picture is shown all the same, because a full disk must
not blind the clinic: the look is kept in memory, tried again with every later one and at the end of
the process, and the log says so.

The same way it writes into the audit trail whose data somebody opened: once an hour for a person
or program and a case.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from app.db import Database, now
from app.models.ground.event import Event
from app.models.reader_studies.delivery import Delivery
from app.models.reader_studies.look import Look, Seen

log = logging.getLogger("hepatica")

PATIENCE_S = 2.0
"""So long a picture waits for its look to be written."""
_MOST_KNOWN = 200_000

OPENED = "case opened"
"""The kind of event that says whose data somebody was shown."""
SEARCHED = "studies searched"
"""The kind of event that says that somebody was given a list of studies by DICOMweb."""


@dataclass(frozen=True)
class Access:
    """Somebody was given patients' data; ``hour`` is when, and makes it one event an hour.

    Args:
        actor: a person's name, or a program's.
        kind: `OPENED` or `SEARCHED`.
        subject: the id of the case; "" of a list.
    """

    actor: str
    kind: str
    subject: str
    hour: datetime

    @classmethod
    def of(cls, actor: str, kind: str, subject: object = "") -> Access:
        """One of this hour."""
        return cls(actor, kind, str(subject), now().replace(minute=0, second=0, microsecond=0))


Known = Seen | Access | uuid.UUID


class Witness:
    """Writes looks and deliveries of one process, one transaction for all that wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._looks: set[Seen] = set()
        self._accesses: set[Access] = set()
        self._sent: dict[uuid.UUID, datetime] = {}
        self._known: set[Known] = set()
        self._written = threading.Event()
        self._is_due = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="witness")

    def saw(self, *looks: Seen) -> None:
        """Keep these looks; returns when they are in the database, or after `PATIENCE_S`."""
        with self._lock:
            new = set(looks) - self._known
            self._looks |= new
            written = self._due() if new else None
        self._wait(written)

    def opened(self, actor: str, *cases: uuid.UUID) -> None:
        """Somebody is given the data of these cases; returns as `saw` does."""
        self._accessed(Access.of(actor, OPENED, one) for one in cases)

    def searched(self, actor: str) -> None:
        """Somebody is given a list of studies; returns as `saw` does."""
        self._accessed([Access.of(actor, SEARCHED)])

    def _accessed(self, accesses: Iterable[Access]) -> None:
        with self._lock:
            new = set(accesses) - self._known
            self._accesses |= new
            written = self._due() if new else None
        self._wait(written)

    def sent(self, trial_id: uuid.UUID) -> None:
        """The picture of a trial goes out now; returns as `saw` does."""
        with self._lock:
            is_new = trial_id not in self._known
            if is_new:
                self._sent.setdefault(trial_id, now())
            written = self._due() if is_new else None
        self._wait(written)

    def close(self) -> None:
        """Write what is left."""
        self._thread.shutdown(wait=True)
        if self._looks or self._sent or self._accesses:
            self._write()

    def _due(self) -> threading.Event:
        if not self._is_due:
            self._is_due = True
            self._thread.submit(self._write)
        return self._written

    def _wait(self, written: threading.Event | None) -> None:
        if written is not None and not written.wait(PATIENCE_S):
            log.warning("A picture was shown before its look could be written down.")

    def _write(self) -> None:
        with self._lock:
            looks, self._looks = self._looks, set()
            sent, self._sent = self._sent, {}
            accesses, self._accesses = self._accesses, set()
            written, self._written = self._written, threading.Event()
            self._is_due = False
        try:
            with self._database.transaction() as session:
                Look.keep(session, looks)
                Delivery.keep(session, sent)
                for one in sorted(accesses, key=lambda access: (access.actor, access.subject)):
                    Event.record(session, one.actor, one.kind, one.subject)
        except Exception as error:
            log.error(
                "%d looks were not written down yet (%s); they are tried again with the next.",
                len(looks) + len(sent) + len(accesses),
                type(error).__name__,
            )
            with self._lock:
                self._looks |= looks
                self._accesses |= accesses
                self._sent = {**self._sent, **sent}  # the first moment counts
        else:
            self._learn([*looks, *sent, *accesses])
        written.set()

    def _learn(self, written: Iterable[Known]) -> None:
        with self._lock:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            self._known.update(written)
