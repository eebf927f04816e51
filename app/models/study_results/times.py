"""Times of answers: the browser's word beside the server's clock, and which are implausible.

The rule is fixed with the protocol (``least_ms`` of its design; 0: answers are never too fast).
The server knows when a picture was first sent (`Delivery`) and when its answer came; a browser
says how long it showed the picture, was hidden or idle, and how long the answer waited for the
network. Answers to pictures that were never sent are in no figure; what is marked otherwise stays
in every one, and a second analysis leaves it out.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.delivery import Delivery
from app.models.reader_studies.reading import Reading
from app.models.reader_studies.task import Part
from app.models.study_results.answers import Answers, Line
from ml.readers.grades import POINTS
from ml.statistics import forced_choice, roc
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError

TOLERANCE = timedelta(seconds=5)
"""So much more than the server's clock allows may a browser say: clocks and networks waver."""
_NO_WAIT = timedelta(0)


class Mark(StrEnum):
    """Why the times of an answer are implausible."""

    FAST = "fast"
    LONG = "long"
    UNSENT = "unsent"
    CLOCK = "clock"

    @property
    def words(self) -> str:
        """What it means."""
        return MARKS[self]


MARKS = {
    Mark.FAST: "in view for less than the least time of the protocol, by the browser; or, by the "
    "server, less than half of it between the picture's sending (of a first answer: or the answer "
    "before) and this one",
    Mark.LONG: "the browser says a longer time than there was since the picture was sent, the "
    "reader checked in, or the study was opened",
    Mark.UNSENT: "answered without its picture ever having been sent to the reader",
    Mark.CLOCK: "a clock was set back: received before it was sent, or before the answer before "
    "it, or it waited for less than no time in the browser",
}
"""Mark → what it means, as the codebook tells it."""


@dataclass(frozen=True)
class Times:
    """When a trial was shown and answered.

    Attributes:
        sent: when the picture was first sent, by the server; None where that was not kept.
        shown: when the browser began to show it, by its own word; never before it was sent, nor
            before the study.
        answered: when the reader answered: received, less the wait in the browser.
        received: when the server stored the answer.
        marks: what is implausible about them.
    """

    sent: datetime | None
    shown: datetime
    answered: datetime
    received: datetime
    marks: tuple[Mark, ...]


class Clock:
    """What the server knows of the times of a study."""

    def __init__(self, session: Session, answers: Answers) -> None:
        first = answers.study.protocols[0]
        self._opened = first.frozen_at
        self._least = timedelta(milliseconds=answers.study.design.least_ms)
        self._sent = Delivery.of_study(session, answers.study.id)
        self._came = {
            one.id: rows[0].at
            for one in answers.enrolments
            for rows in [Conduct.of_enrolment(session, one.id)]
            if rows
        }
        self._before = _answers_before(answers.lines)

    def of(self, line: Line, reading: Reading) -> Times:
        """The times of one answer to a trial."""
        sent = self._sent.get(line.trial.id)
        begun = max(self._opened, sent or self._opened, self._came_at(line))
        received = reading.answered_at
        waited = timedelta(milliseconds=reading.waited_ms or 0)
        answered = received - max(waited, _NO_WAIT)
        spent = timedelta(milliseconds=reading.active_ms + reading.hidden_ms + reading.idle_ms)
        return Times(
            sent=sent,
            shown=min(max(answered - spent, begun), max(received, begun)),
            answered=min(max(answered, begun), max(received, begun)),
            received=received,
            marks=tuple(self._marks(line, reading, begun, answered, waited, spent)),
        )

    def _came_at(self, line: Line) -> datetime:
        return self._came.get(line.trial.enrolment_id, self._opened)

    def _marks(
        self,
        line: Line,
        reading: Reading,
        begun: datetime,
        answered: datetime,
        waited: timedelta,
        spent: timedelta,
    ) -> list[Mark]:
        found = []
        sent = self._sent.get(line.trial.id)
        before = self._before.get(line.trial.id)
        is_first = reading.revision == 1
        # whoever goes back may have answered others meanwhile
        since = max(sent, before) if sent and before and is_first else sent
        if timedelta(milliseconds=reading.active_ms) < self._least or (
            self._least and since is not None and answered - since < self._least / 2
        ):
            found.append(Mark.FAST)
        if answered - spent < begun - TOLERANCE:
            found.append(Mark.LONG)
        if line.unsent:
            found.append(Mark.UNSENT)
        earliest = max(begun, before or begun) if is_first else begun
        if waited < _NO_WAIT or reading.answered_at < earliest:
            found.append(Mark.CLOCK)
        return found


def _answers_before(lines: Sequence[Line]) -> dict[uuid.UUID, datetime]:
    """Trial → when the same reader had answered the one before it; lines are in their order."""
    found: dict[uuid.UUID, datetime] = {}
    last: dict[str, datetime] = {}
    for line in lines:
        if line.reading is None:
            continue
        if line.reader in last:
            found[line.trial.id] = last[line.reader]
        first = (*line.earlier, line.reading)[0]
        last[line.reader] = first.answered_at - max(
            timedelta(milliseconds=first.waited_ms or 0), _NO_WAIT
        )
    return found


@dataclass(frozen=True)
class ReaderTimes:
    """How many answers of a reader are marked, and their area with and without them.

    ``counts``, by `Mark`, are of every part. ``area`` and ``without`` are of first presentations
    that were rated or chosen and whose pictures were sent, as `ml.statistics.roc.auc_interval` has
    them, without clusters, for comparison with each other.
    """

    reader: str
    answers: int
    marked: int
    counts: Mapping[str, int]
    area: Figure
    without: Figure


def marked_by_reader(session: Session, answers: Answers) -> list[ReaderTimes]:
    """The readers of an unblinded study of whom an answer is marked."""
    clock = Clock(session, answers)
    found = []
    for reader in dict.fromkeys(line.reader for line in answers.lines):
        mine = [
            (line, clock.of(line, line.reading).marks)
            for line in answers.lines
            if line.reader == reader and line.reading is not None and not line.is_practice
        ]
        if not any(marks for _, marks in mine):
            continue
        first = [
            (line, marks)
            for line, marks in mine
            if not line.is_repeat and not line.unsent and line.trial.part is not Part.UNAWARE
        ]
        found.append(
            ReaderTimes(
                reader,
                len(mine),
                sum(bool(marks) for _, marks in mine),
                {mark.value: sum(mark in marks for _, marks in mine) for mark in Mark},
                _area([line for line, _ in first]),
                _area([line for line, marks in first if not marks]),
            )
        )
    return found


def _rating(reading: Reading) -> int:
    """Higher for synthetic: the rating, or how far the first question's grade is below the top."""
    return POINTS - reading.grades[0] if reading.grades else reading.rating or 0


def _area(lines: Sequence[Line]) -> Figure:
    if not lines:
        return Figure.undefined(0, "none", "no answer is left")
    truth = [line.stimulus.truth == "synthetic" for line in lines]
    ratings = [_rating(line.reading) for line in lines if line.reading]
    try:
        if any(line.is_preference for line in lines):
            return Figure.undefined(len(lines), "none", "nothing is right or wrong here")
        if any(line.asked for line in lines):  # of pairs, the share named right
            return forced_choice.share(
                [bool(line.correct) for line in lines], [line.case for line in lines], resamples=0
            )
        return roc.auc_interval(truth, ratings)
    except ReadersError as error:
        return Figure.undefined(len(lines), "none", str(error))
