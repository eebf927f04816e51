"""Runs: one execution of the experiment on a dataset version, by a worker."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, Word, now, serialise
from app.errors import Conflict, NotFound, Unreadable
from app.models.ground.blob import Blob
from app.models.ground.event import Event
from app.models.people.ownership import Owned
from app.models.people.user import User
from app.models.runs.dataset import DatasetVersion
from ml import config
from ml.progress import Progress, remaining_s

EXPERIMENTS = {
    "quick": "a few minutes on two cores: shows that everything works, proves nothing",
    "compact": "narrow networks, fewer sizes, every arm",
    "paper": "the paper's widths and sizes; wants a GPU",
}
"""Presets of the experiment: name → what to expect."""


class RunState(StrEnum):
    """Where a run stands; the last three are for ever."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_OVER = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)

LOST_AFTER_S = 60.0
"""A run whose worker was not heard of for this long may be claimed again."""

MOST_SEEDS = 20
_LOG_LINES = 200


_PARTS = re.compile(r"<style>([^<]*)</style>.*?<body>(.*)</body></html>\s*", re.DOTALL)
_NO_PART_OF_A_PAGE = re.compile(
    r"<(script|style|link|meta|base|form|iframe|object|embed)\b|<[^>]* (style|on\w+)=",
    re.IGNORECASE,
)

_PICTURE = re.compile(rb"<img\b[^>]*\bsrc=[\"']data:image/[^>]*>")
_SAID = re.compile(rb'<p data-erased="">.*?</p>')
_NO_PICTURE = b'<span class="soft">picture deleted with the data of a patient</span>'


@dataclass(frozen=True)
class ReportInside:
    """A run's report as part of a page, which has its own colours.

    Attributes:
        style: for a style element: its rules hold under the class ``run-report`` alone.
        body: HTML of headings, texts, tables, charts and pictures.
    """

    style: str
    body: str

    @classmethod
    def of(cls, report: bytes) -> ReportInside | None:
        """None where it cannot be part of a page: an earlier version wrote it, or something else.

        Nothing that loads, sends or runs anything, and no style at an element, goes into a page.
        """
        found = _PARTS.search(report.decode("utf-8", "replace"))
        if found is None or _NO_PART_OF_A_PAGE.search(found[2]):
            return None
        return cls(f".run-report {{{found[1]}}}", found[2])

    @property
    def source(self) -> str:
        """The style as a source of a content security policy (CSP Level 3, section 2.3.1)."""
        digest = hashlib.sha256(self.style.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"


class Run(Owned, Base):
    """An experiment: queued by a researcher, claimed by a worker, done, failed or cancelled."""

    noun = "run"
    __tablename__ = "run"
    __table_args__ = (
        sa.CheckConstraint(
            "state IN ('queued','running','done','failed','cancelled')", name="state"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    dataset_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("dataset_version.id"))
    preset: Mapped[str] = mapped_column(sa.String(20))
    seeds: Mapped[int]
    state: Mapped[RunState] = mapped_column(Word(RunState, 12), default=RunState.QUEUED, index=True)
    queued_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    worker: Mapped[str | None] = mapped_column(sa.String(100))
    claims: Mapped[int] = mapped_column(default=0)
    heard_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    cancel_at: Mapped[datetime | None]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    text: Mapped[str] = mapped_column(sa.Text, default="")
    error: Mapped[str | None] = mapped_column(sa.Text)
    results_digest: Mapped[str | None] = mapped_column(sa.ForeignKey("blob.digest"))
    report_digest: Mapped[str | None] = mapped_column(sa.ForeignKey("blob.digest"))

    dataset: Mapped[DatasetVersion] = relationship()
    queued_by: Mapped[User] = relationship(foreign_keys=[queued_by_id])
    log: Mapped[list[RunLine]] = relationship(
        order_by="RunLine.number", back_populates="run", viewonly=True
    )

    # -- finding -------------------------------------------------------------------------------

    @staticmethod
    def all(session: Session) -> list[Run]:
        """Every run, the newest first."""
        return list(session.scalars(sa.select(Run).order_by(Run.created_at.desc())))

    @staticmethod
    def require(session: Session, run_id: uuid.UUID, *, to_change: bool = False) -> Run:
        """The run, locked for the transaction when it is ``to_change``; else NotFound."""
        query = sa.select(Run).where(Run.id == run_id)
        run = session.scalars(query.with_for_update() if to_change else query).one_or_none()
        if run is None:
            raise NotFound("There is no such run.")
        return run

    @staticmethod
    def alive(session: Session, among: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Those that wait or are at work."""
        query = sa.select(Run.id).where(
            Run.id.in_(list(among)), Run.state.in_((RunState.QUEUED, RunState.RUNNING))
        )
        return set(session.scalars(query))

    # -- questions -----------------------------------------------------------------------------

    @property
    def short_name(self) -> str:
        """What the names of its checkpoints begin with."""
        return f"run-{self.id.hex[:8]}"

    @property
    def command(self) -> str:
        """What does the same without the web, on the downloaded dataset version."""
        return config.command(self.preset, self.seeds)

    @property
    def is_over(self) -> bool:
        """Whether it was done, failed or cancelled."""
        return self.state in _OVER

    @property
    def is_lost(self) -> bool:
        """Running, but its worker has not been heard of for a while."""
        heard = self.heard_at or self.created_at
        return self.state == RunState.RUNNING and now() - heard > timedelta(seconds=LOST_AFTER_S)

    @property
    def remaining_s(self) -> float | None:
        """Seconds left by the pace of the lines kept since it was claimed; None when unknown."""
        if self.state != RunState.RUNNING or self.started_at is None:
            return None
        since = [line for line in self.log if line.at >= self.started_at]
        if not since:
            return None
        before = since[0].done
        elapsed = (now() - since[0].at).total_seconds()
        return remaining_s(self.done - before, self.total - before, elapsed)

    def tail(self, session: Session, lines: int = 30) -> list[RunLine]:
        """The last lines of the log, the oldest first."""
        query = sa.select(RunLine).where(RunLine.run_id == self.id)
        found = session.scalars(query.order_by(RunLine.number.desc()).limit(lines))
        return list(reversed(list(found)))

    def results(self, session: Session) -> bytes:
        """The bytes of ``results.json``.

        Raises:
            NotFound: it is not done.
            Damaged: they are not what was stored.
        """
        return self._blob(session, self.results_digest)

    def report(self, session: Session) -> bytes:
        """The bytes of ``report.html``; raises as ``results``."""
        return self._blob(session, self.report_digest)

    def erase_pictures(self, session: Session) -> None:
        """Take the pictures out of its report, and say in it that ROIs of its data set are gone.

        All of them: a report of any version shows ROIs of the data set beside drawn ones, and those
        were learned from them. Figures and charts stay.
        """
        if self.report_digest is None:
            return
        words = html.escape(self.dataset.erased_words).encode()
        report = _PICTURE.sub(_NO_PICTURE, _SAID.sub(b"", self.report(session)))
        head, body, rest = report.partition(b"<body>")
        before = self.report_digest
        said = b'<p data-erased="">' + words + b"</p>"
        self.report_digest = Blob.store(session, head + body + said + rest, "text/html")
        session.flush()
        others = sa.select(Run.id).where(Run.report_digest == before)
        if session.scalar(others.limit(1)) is None:
            session.execute(sa.delete(Blob).where(Blob.digest == before))

    def _blob(self, session: Session, digest: str | None) -> bytes:
        if digest is None:
            raise NotFound("This run has no results: it did not end, or it failed.")
        return Blob.read(session, digest)

    # -- verbs of a researcher -----------------------------------------------------------------

    @staticmethod
    def queue(session: Session, by: User, dataset: DatasetVersion, preset: str, seeds: int) -> Run:
        """Ask for a run; a worker takes it. Asked for twice while it waits, it is one run.

        Raises:
            Unreadable: an unknown preset, or seeds out of range.
            Conflict: ROIs were erased from the version, or are being.
        """
        if preset not in EXPERIMENTS:
            raise Unreadable(f"Choose a preset: {', '.join(EXPERIMENTS)}.").about("preset")
        if not 1 <= seeds <= MOST_SEEDS:
            raise Unreadable(f"Choose from 1 to {MOST_SEEDS} seeds, not {seeds}.").about("seeds")
        dataset.refuse_erased()
        dataset.refuse_leaving(session)
        serialise(session, "queue")
        waiting = session.scalars(
            sa.select(Run).where(
                Run.dataset_id == dataset.id,
                Run.preset == preset,
                Run.seeds == seeds,
                Run.queued_by_id == by.id,
                Run.state == RunState.QUEUED,
                Run.cancel_at.is_(None),
            )
        ).first()
        if waiting is not None:  # it would compute the same numbers once more
            return waiting
        run = Run(
            dataset_id=dataset.id,
            preset=preset,
            seeds=seeds,
            queued_by_id=by.id,
            owner_id=by.id,
        )
        session.add(run)
        session.flush()
        Event.record(session, by.name, "run queued", str(run.id), preset=preset, seeds=seeds)
        return run

    def cancel(self, session: Session, by: User) -> None:
        """Stop it: at once when queued, at its worker's next step when running.

        Raises:
            Forbidden: it is somebody else's.
            Conflict: it is over.
        """
        self.refuse_stranger(by)
        if self.is_over:
            raise Conflict(f"The run is {self.state} already; there is nothing to cancel.")
        self.cancel_at = self.cancel_at or now()
        if self.state == RunState.QUEUED or self.is_lost:
            self.state, self.ended_at = RunState.CANCELLED, now()
        Event.record(session, by.name, "run cancelled", str(self.id))

    # -- verbs of a worker ---------------------------------------------------------------------

    @staticmethod
    def claim(session: Session, worker: str) -> Run | None:
        """Take the oldest run that waits or was lost; None when there is none.

        Several workers never take the same: PostgreSQL locks the row and skips locked ones, and
        on SQLite the transaction that writes is alone.
        """
        lost = now() - timedelta(seconds=LOST_AFTER_S)
        run = session.scalars(
            sa.select(Run)
            .where(
                sa.or_(
                    Run.state == RunState.QUEUED,
                    sa.and_(Run.state == RunState.RUNNING, Run.heard_at < lost),
                )
            )
            .order_by(Run.created_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if run is None:
            return None
        run.state, run.worker, run.heard_at = RunState.RUNNING, worker, now()
        run.started_at = now()
        run.claims += 1
        Event.record(session, worker, "run claimed", str(run.id), claim=run.claims)
        session.flush()
        return run

    @staticmethod
    def of_worker(session: Session, run_id: uuid.UUID, worker: str) -> Run:
        """The run, to be changed by its worker.

        Raises:
            Conflict: it was taken by another worker, or is no longer running.
        """
        run = Run.require(session, run_id, to_change=True)
        if run.state != RunState.RUNNING or run.worker != worker:
            raise Conflict("The run is no longer this worker's.")
        return run

    def save(self, session: Session, progress: Progress) -> None:
        """Note how far it is; what says nothing new since the claim gets no line of the log."""
        self.done, self.total, self.text = progress.done, progress.total, progress.text
        self.heard_at = now()
        kept = sa.select(RunLine).where(RunLine.run_id == self.id)
        last = session.scalars(kept.order_by(RunLine.number.desc()).limit(1)).one_or_none()
        if last is not None and last.says(progress) and last.at >= (self.started_at or last.at):
            return
        number = 1 if last is None else last.number + 1
        session.add(
            RunLine(
                run_id=self.id,
                number=number,
                done=progress.done,
                total=progress.total,
                text=progress.text,
                figures=dict(progress.figures or {}),
            )
        )
        session.execute(
            sa.delete(RunLine).where(
                RunLine.run_id == self.id, RunLine.number <= number - _LOG_LINES
            )
        )

    def finish(self, session: Session, results: bytes, report: bytes) -> None:
        """Keep what it found; its folder is no longer needed."""
        self.results_digest = Blob.store(session, results, "application/json")
        self.report_digest = Blob.store(session, report, "text/html")
        self._end(session, RunState.DONE, None)

    def fail(self, session: Session, error: str) -> None:
        """Say why it could not be done."""
        self._end(session, RunState.FAILED, error)

    def end_cancelled(self, session: Session) -> None:
        """Note that its worker has stopped as it was asked to."""
        self._end(session, RunState.CANCELLED, None)

    def _end(self, session: Session, state: RunState, error: str | None) -> None:
        self.state, self.error, self.ended_at = state, error, now()
        Event.record(session, self.worker or "?", f"run {state}", str(self.id))


class RunLine(Base):
    """One line of a run's log; the newest ones are kept."""

    __tablename__ = "run_line"

    run_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(default=now)
    done: Mapped[int]
    total: Mapped[int]
    text: Mapped[str] = mapped_column(sa.Text)
    figures: Mapped[dict[str, float]]

    run: Mapped[Run] = relationship(back_populates="log")

    def says(self, progress: Progress) -> bool:
        """Whether it tells just that."""
        told = (progress.done, progress.total, progress.text, dict(progress.figures or {}))
        return (self.done, self.total, self.text, self.figures) == told


class WorkerSign(Base):
    """A sign of life of a worker, so that a page can say whether anyone will take a run."""

    __tablename__ = "worker_sign"

    worker: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    heard_at: Mapped[datetime]

    @staticmethod
    def give(session: Session, worker: str, run_id: uuid.UUID | None) -> None:
        """Say that this worker lives; the run that it holds, if any, is heard of as well.

        A run that it claimed and let go is not: it must be found lost, and be claimed again.
        """
        sign = session.get(WorkerSign, worker)
        if sign is None:
            session.add(WorkerSign(worker=worker, heard_at=now()))
        else:
            sign.heard_at = now()
        if run_id is not None:
            held = sa.and_(Run.id == run_id, Run.worker == worker, Run.state == RunState.RUNNING)
            session.execute(sa.update(Run).where(held).values(heard_at=now()))

    @staticmethod
    def living(session: Session) -> int:
        """How many workers were heard of a moment ago."""
        since = now() - timedelta(seconds=LOST_AFTER_S)
        query = sa.select(sa.func.count()).select_from(WorkerSign)
        return session.execute(query.where(WorkerSign.heard_at >= since)).scalar_one()
