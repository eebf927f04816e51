"""The desk: what a reader's page knows of their reading, and nothing more."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models.blob import Blob
from app.models.enrolment import Enrolment
from app.models.protocol import Choices
from app.models.reader_study import ReaderStudy
from app.models.reading import Reading
from app.models.stimulus import Stimulus
from app.models.trial import BlindTrial, Trial
from app.models.user import User

AHEAD = 5
"""How many trials beyond the current one a desk may fetch, so that the next appears at once."""

_PACE_FROM = 3
_PACE_OVER = 10


@dataclass(frozen=True)
class Desk:
    """One reader's place in one study.

    Attributes:
        state: waiting (not opened yet), reading, finished, or closed (unblinded before the end).
        upcoming: the current trial and those that may be fetched ahead.
        minutes_left: from the pace of the last answers; None before there are three.
    """

    token: str
    title: str
    state: str
    answered: int
    total: int
    choices: Choices
    upcoming: tuple[BlindTrial, ...]
    minutes_left: int | None

    @classmethod
    def of(cls, session: Session, enrolment: Enrolment) -> Desk:
        """The desk behind an enrolment."""
        study = ReaderStudy.require(session, enrolment.study_id)
        answered = Reading.count(session, enrolment.id)
        total, choices = study.total, study.choices
        state = _state(study, enrolment)
        upcoming: tuple[BlindTrial, ...] = ()
        if state == "reading":
            rows = session.execute(
                sa.select(Trial.token, Trial.position)
                .where(Trial.enrolment_id == enrolment.id, Trial.position > answered)
                .order_by(Trial.position)
                .limit(1 + AHEAD)
            )
            upcoming = tuple(BlindTrial(token, place, total, choices) for token, place in rows)
        left = _minutes_left(session, enrolment, total - answered) if upcoming else None
        return cls(enrolment.token, study.title, state, answered, total, choices, upcoming, left)

    @property
    def trial(self) -> BlindTrial | None:
        """The trial to answer now."""
        return self.upcoming[0] if self.upcoming else None

    def to_dict(self) -> dict[str, Any]:
        """What the desk's script is told."""
        return {
            "state": self.state,
            "answered": self.answered,
            "total": self.total,
            "minutes_left": self.minutes_left,
            "upcoming": [{"token": one.token, "position": one.position} for one in self.upcoming],
        }


@dataclass(frozen=True)
class Place:
    """One line of a reader's own list."""

    token: str
    title: str
    state: str
    answered: int
    total: int
    enrolled_at: datetime


def places(session: Session, user: User) -> list[Place]:
    """The studies that ``user`` is enrolled in, the newest first."""
    rows = session.execute(
        sa.select(Enrolment, ReaderStudy)
        .join(ReaderStudy, ReaderStudy.id == Enrolment.study_id)
        .where(Enrolment.reader_id == user.id)
        .order_by(Enrolment.created_at.desc())
    )
    return [
        Place(
            enrolment.token,
            study.title,
            _state(study, enrolment),
            Reading.count(session, enrolment.id),
            study.total,
            enrolment.created_at,
        )
        for enrolment, study in rows
    ]


def trial_pixels(session: Session, token: str, user: User) -> bytes:
    """The picture of a trial, for its own reader, from the current trial to ``AHEAD`` beyond it.

    Raises:
        NotFound: no such trial, another reader's, or not one to be seen now; nobody learns which.
            A token that is not the reader's own is an Event.
    """
    row = session.execute(
        sa.select(Enrolment, Trial.position, Stimulus.pixels_digest)
        .join(Trial, Trial.enrolment_id == Enrolment.id)
        .join(Stimulus, Stimulus.id == Trial.stimulus_id)
        .where(Trial.token == token)
    ).one_or_none()
    gone = "There is no such picture."
    if row is None or row[0].reader_id != user.id:
        raise NotFound(gone, event="picture refused")
    enrolment, position, digest = row
    study = ReaderStudy.require(session, enrolment.study_id)
    answered = Reading.count(session, enrolment.id)
    if _state(study, enrolment) != "reading" or not answered < position <= answered + 1 + AHEAD:
        raise NotFound(gone)
    return Blob.read(session, digest)


def _state(study: ReaderStudy, enrolment: Enrolment) -> str:
    if enrolment.finished_at is not None:
        return "finished"
    return {"draft": "waiting", "open": "reading", "unblinded": "closed"}[study.state]


def _minutes_left(session: Session, enrolment: Enrolment, remaining: int) -> int | None:
    pace = list(
        session.scalars(
            sa.select(Reading.active_ms)
            .join(Trial, Trial.id == Reading.trial_id)
            .where(Reading.enrolment_id == enrolment.id)
            .order_by(Trial.position.desc())
            .limit(_PACE_OVER)
        )
    )
    if len(pace) < _PACE_FROM:
        return None
    return max(1, round(statistics.median(pace) * remaining / 60_000))
