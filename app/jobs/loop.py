"""A loop that does what is due, one thing after the other, until it is told to stop."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import sqlalchemy as sa

from app.db import Database
from app.errors import AppError, Conflict, Unavailable
from app.faults import code, described, trouble
from app.models.jobs.job import Job, JobKind
from ml.ground.errors import HepaticaError

log = logging.getLogger("hepatica.clerk")

_PAUSE_S = 5.0


class Loop(ABC):
    """What is due is found by ``act``, in a thread of a web process or in one's own."""

    kind = "loop"

    def __init__(self) -> None:
        host = socket.gethostname()[:60]
        self.name = f"{self.kind} {host}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._bell = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    @abstractmethod
    def act(self) -> bool:
        """Do one thing that is due; False when nothing is."""

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread = threading.Thread(target=self.work, name=self.kind, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is in hand; what takes longer is claimed again by another."""
        self.tell_to_stop()
        if self._thread is not None:
            self._thread.join(10)

    def tell_to_stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        self._bell.set()

    def ring(self) -> None:
        """Something was queued here: look now and not at the next turn."""
        self._bell.set()

    def work(self, *, poll_s: float = 1.0, once: bool = False) -> None:
        """Do what is due as it comes; with ``once`` return when nothing is."""
        while not self._stopped:
            self._bell.clear()
            try:
                found = self.act()
            except Exception as error:
                if not isinstance(error, Unavailable) and trouble(error) is None:
                    told = described(error)
                    log.error("The %s met an unexpected fault and goes on: %s", self.kind, told)
                elif not isinstance(error, Unavailable):  # any other is in the log
                    log.error("The database failed: %s", code(error))
                self._bell.wait(_PAUSE_S)
                continue
            if once and not found:
                return
            if not found:
                self._bell.wait(poll_s)


def shares_by_pacs(
    named: sa.SQLColumnExpression[str], names: Sequence[str]
) -> list[sa.ColumnElement[bool]]:
    """What holds for the rows of each configured PACS, so that each has a loop of its own.

    The first has as well what names no PACS, or one that is not configured any more.

    Args:
        named: the name of a row's PACS.
        names: of those that are configured; none: one share holds all.
    """
    if not names:
        return [sa.true()]
    first = sa.or_(named == names[0], named.is_(None), named.not_in(names))
    return [first, *(named == name for name in names[1:])]


class Beside:
    """Loops that go on beside each other, so that none waits for what another one waits for."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = tuple(loops)

    def act(self) -> bool:
        """Let each do one thing that is due; False when nothing is."""
        found = [loop.act() for loop in self._loops]
        return any(found)

    def start(self) -> None:
        """Begin, each in a thread of its own."""
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """End each after what it has in hand."""
        for loop in self._loops:
            loop.tell_to_stop()
        for loop in self._loops:
            loop.stop()

    def ring(self) -> None:
        """Something was queued here: look now."""
        for loop in self._loops:
            loop.ring()

    def work_off(self) -> None:
        """Do what is due, and return when nothing is."""
        for loop in self._loops:
            loop.work(once=True)


class Elsewhere:
    """Loops that go on in another process, which hears of what was queued here.

    Args:
        bell: what is rung there.
    """

    def __init__(self, bell: Callable[[], None]) -> None:
        self._bell = bell

    def start(self) -> None:
        """Nothing: they were begun there."""

    def stop(self) -> None:
        """Nothing: they go on."""

    def ring(self) -> None:
        """Something was queued here: look now."""
        self._bell()


class JobLoop(Loop):
    """A loop that does jobs of some kinds, each claimed before it is begun."""

    does: ClassVar[tuple[JobKind, ...]] = ()
    which: tuple[sa.ColumnElement[bool], ...] = ()
    """What holds for the jobs that this one does; nothing: it does all of its kinds."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    @abstractmethod
    def do(self, job_id: uuid.UUID, claim: int) -> None:
        """Do a job that was claimed here, and end it.

        Raises:
            Conflict: somebody else has it now, or it was cancelled.
        """

    def do_job(self) -> bool:
        """Do the job that has been due longest; False when none is."""
        with self._database.reading() as session:
            if not Job.is_due(session, self.does, *self.which):
                return False
        with self._database.transaction() as session:
            job = Job.claim(session, self.name, self.does, *self.which)
            if job is None:
                return True
            job_id, claim = job.id, job.claims
        try:
            self.do(job_id, claim)
        except Conflict:
            return True
        except (AppError, HepaticaError) as error:
            if isinstance(error, Unavailable):
                raise  # it is claimed again when this loop was not heard of for a while
            self._fail(job_id, claim, str(error))
        except Exception as error:
            if trouble(error) is not None:
                raise
            log.error("Job %s ended with an unexpected fault: %s", job_id, described(error))
            told = f"An unexpected fault ended the job ({type(error).__name__}). The log has more."
            self._fail(job_id, claim, told)
        return True

    def _fail(self, job_id: uuid.UUID, claim: int, error: str) -> None:
        try:
            with self._database.transaction() as session:
                Job.of_clerk(session, job_id, self.name, claim).fail(session, error)
        except Conflict:
            return
