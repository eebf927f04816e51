"""The desk: what a reader's page knows of their reading, and nothing more."""

from __future__ import annotations

import statistics
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models.ground.blob import Blob
from app.models.people.user import User
from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.debriefing import Debriefing
from app.models.reader_studies.design import DISPLAY_PX, Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.questions import Choices
from app.models.reader_studies.reading import Reading
from app.models.reader_studies.stimulus import Source, Stimulus
from app.models.reader_studies.study import ReaderStudy, StudyState
from app.models.reader_studies.task import Part
from app.models.reader_studies.trial import BlindTrial, Trial, TrialKind
from ml.readers.pairs import Side

AHEAD = 5
"""How many trials beyond the current one a desk may fetch, so that the next appears at once."""


class DeskState(StrEnum):
    """Where a reader stands in a study.

    Waiting: it is not opened yet. Conduct: before the check-in. Debriefing: between the parts of an
    unaware study. Closed: unblinded before the end.
    """

    WAITING = "waiting"
    CONDUCT = "conduct"
    READING = "reading"
    DEBRIEFING = "debriefing"
    FINISHED = "finished"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"


_PACE_FROM = 3
_PACE_OVER = 10


@dataclass(frozen=True)
class Earlier:
    """A trial that the reader answered before, with the answer that counts."""

    trial: BlindTrial
    rating: int | None
    lesion_class: str | None
    class_confidence: int | None
    reasons: tuple[str, ...]
    choice: Side | None
    grades: tuple[int, ...] = ()
    revision: int = 1
    """Which of its answers that is."""

    @classmethod
    def of(
        cls,
        session: Session,
        enrolment: Enrolment,
        position: int,
        total: int,
        choices: Choices,
        before: int = 0,
    ) -> Earlier:
        """The trial at an answered ``position`` of a reader's part, from 1 to ``total``.

        ``before`` trials of another part come first.
        """
        row = session.scalars(
            sa.select(Trial).where(
                Trial.enrolment_id == enrolment.id, Trial.position == before + position
            )
        ).one()
        reading = Reading.latest(session, row.id)
        assert reading is not None  # only answered positions come here
        return cls(
            BlindTrial(row.token, position, total, choices),
            reading.rating,
            reading.lesion_class,
            reading.class_confidence,
            tuple(reading.reasons),
            reading.choice,
            tuple(reading.grades or ()),
            reading.revision,
        )

    def to_dict(self) -> dict[str, object]:
        """The JSON form for the desk's script: the token, the position and the answer, no truth."""
        return {
            "token": self.trial.token,
            "position": self.trial.position,
            "rating": self.rating,
            "lesion_class": self.lesion_class,
            "class_confidence": self.class_confidence,
            "reasons": list(self.reasons),
            "choice": self.choice,
            **{
                row.name: grade
                for row, grade in zip(self.trial.choices.rows, self.grades, strict=True)
            },
        }


@dataclass(frozen=True)
class Feedback:
    """What a practice image was. There is none for any other trial.

    ``named`` is the class that the reader gave; None where it is not asked for. Of a pair
    ``source`` is the side of the synthetic image and ``called`` the side that the reader named.
    ``called`` is None where it was not asked what the image is.
    """

    source: str
    display: str
    called: str | None
    named: str | None

    @classmethod
    def of(cls, session: Session, reading: Reading) -> Feedback | None:
        """Feedback on an answer to a practice trial; None for any other."""
        trial = reading.trial
        if trial.kind != TrialKind.PRACTICE or not trial.stimulus.practice:
            return None
        stimulus = trial.stimulus
        scheme = ReaderStudy.require(session, stimulus.study_id).scheme
        if reading.choice is not None:
            side = next(one for one in Side if trial.at(one).truth == Source.SYNTHETIC)
            return cls(side, scheme.display(stimulus.lesion_class), reading.choice, None)
        if reading.grades is not None:
            return cls(stimulus.truth, scheme.display(stimulus.lesion_class), None, None)
        return cls(
            stimulus.truth,
            scheme.display(stimulus.lesion_class),
            "synthetic" if reading.called_synthetic else "real",
            None if reading.lesion_class is None else scheme.display(reading.lesion_class),
        )

    @property
    def words(self) -> str:
        """One sentence."""
        if self.called is None:
            return f"It was {self.source}."
        called = "as you said" if self.called == self.source else f"you said {self.called}"
        if self.source in set(Side):
            return f"The {self.source} one was synthetic ({called})."
        if self.named is None:
            return f"It was {self.source} ({called})."
        named = "as you said" if self.named == self.display else f"you said {self.named}"
        return f"It was {self.source} ({called}) and shows {self.display} ({named})."


@dataclass(frozen=True)
class Desk:
    """One reader's place in one study.

    Of an unaware study it knows one part at a time: positions and totals are those of the part, and
    before the debriefing nothing tells that there is another.

    Attributes:
        upcoming: the current trial and those that may be fetched ahead.
        untold: the reader is to be told now what the study is about: the first part is read, or
            they left or the study was closed before its end. Who saw no image took no part.
        minutes_left: from the pace of the last answers; None before there are three.
        design: how the study is read, by the frozen protocol.
        practice: how many of the trials are practice; they come first.
        digest: the hash of the protocol in force; "" before the opening.
        image_px: side of the image in CSS pixels.
        screen: device pixel ratio and size of the screen that was calibrated.
        shown: an earlier trial with its answer, when the reader went back.
    """

    token: str
    title: str
    state: DeskState
    answered: int
    total: int
    choices: Choices
    upcoming: tuple[BlindTrial, ...]
    minutes_left: int | None
    design: Design
    practice: int
    digest: str
    image_px: int = DISPLAY_PX
    screen: tuple[float, float, float] | None = None
    shown: Earlier | None = None
    part: Part = Part.WHOLE
    untold: bool = False
    unblinded: bool = False

    @classmethod
    def of(cls, session: Session, enrolment: Enrolment, back_to: int | None = None) -> Desk:
        """The desk behind an enrolment; ``back_to`` an earlier position where that is allowed.

        Raises:
            NotFound: no such earlier trial, or the protocol does not let readers go back.
        """
        study = ReaderStudy.require(session, enrolment.study_id)
        stand = _Stand.of(session, study, enrolment)
        answered, total, before = stand.answered, stand.total, stand.before
        choices, design = study.choices_of(stand.part), study.design
        conduct = Conduct.latest(session, enrolment.id)
        state = _state(study, enrolment, conduct is not None, stand)
        upcoming: tuple[BlindTrial, ...] = ()
        if state is DeskState.READING:
            rows = session.execute(
                sa.select(Trial.token, Trial.position)
                .where(
                    Trial.enrolment_id == enrolment.id,
                    Trial.position > before + answered,
                    Trial.position <= before + total,
                )
                .order_by(Trial.position)
                .limit(1 + AHEAD)
            )
            upcoming = tuple(
                BlindTrial(token, place - before, total, choices) for token, place in rows
            )
        left = _minutes_left(session, enrolment, total - answered) if upcoming else None
        practice = study.practice_total
        shown = None
        if back_to is not None:
            if not (design.back and upcoming and practice < back_to <= answered):
                raise NotFound("There is no earlier trial that can be changed.")
            shown = Earlier.of(session, enrolment, back_to, total, choices, before)
        protocol = study.protocol
        return cls(
            enrolment.token, study.title, state, answered, total, choices, upcoming, left,
            design=design,
            practice=practice,
            digest=protocol.digest if protocol else "",
            image_px=conduct.image_px(design) if conduct else DISPLAY_PX,
            screen=_screen(conduct, design),
            shown=shown,
            part=stand.part,
            untold=stand.untold and conduct is not None and state in _OVER,
            unblinded=study.state is StudyState.UNBLINDED,
        )  # fmt: skip

    @property
    def trial(self) -> BlindTrial | None:
        """The trial on the desk: the one to answer now, or an earlier one gone back to."""
        if self.shown is not None:
            return self.shown.trial
        return self.upcoming[0] if self.upcoming else None

    @property
    def is_practice(self) -> bool:
        """Whether the trial on the desk is practice."""
        return self.trial is not None and self.trial.position <= self.practice

    def rules(self) -> dict[str, object]:
        """What the desk's script must know of the protocol, the same on every trial."""
        return {
            "practice": self.practice,
            "break_every": self.design.break_every,
            "back": self.design.back,
            "window": self.design.window,
            "zoom": self.design.zoom,
            "image_px": self.image_px,
            "screen": self.screen,
            "sides": [one.key for one in self.choices.sides],
            "thing": self.design.task.thing,
        }

    def to_dict(self) -> dict[str, object]:
        """What the desk's script is told."""
        return {
            "state": self.state,
            "answered": self.answered,
            "total": self.total,
            "minutes_left": self.minutes_left,
            "upcoming": [{"token": one.token, "position": one.position} for one in self.upcoming],
        }


@dataclass(frozen=True)
class Enrolled:
    """One line of a reader's own list; ``untold`` as of a `Desk`."""

    token: str
    title: str
    state: DeskState
    answered: int
    total: int
    enrolled_at: datetime
    checked_in: bool
    untold: bool


def places(session: Session, user: User) -> list[Enrolled]:
    """The studies that ``user`` is enrolled in, the newest first."""
    rows = session.execute(
        sa.select(Enrolment, ReaderStudy)
        .join(ReaderStudy, ReaderStudy.id == Enrolment.study_id)
        .where(Enrolment.reader_id == user.id)
        .order_by(Enrolment.created_at.desc())
    )
    return [
        Enrolled(
            enrolment.token,
            study.title,
            state,
            stand.answered,
            stand.total,
            enrolment.created_at,
            checked_in,
            stand.untold and checked_in and state in _OVER,
        )
        for enrolment, study in rows
        for checked_in in [Conduct.latest(session, enrolment.id) is not None]
        for stand in [_Stand.of(session, study, enrolment)]
        for state in [_state(study, enrolment, checked_in, stand)]
    ]


def has_to_read(session: Session, user: User) -> bool:
    """Whether a study waits for this person to check in or to read on."""
    return any(
        place.state in (DeskState.CONDUCT, DeskState.READING, DeskState.DEBRIEFING)
        for place in places(session, user)
    )


def trial_pixels(
    session: Session, token: str, user: User, side: Side | None = None
) -> tuple[uuid.UUID, bytes]:
    """A trial and its picture, for its own reader, from the current trial to ``AHEAD`` beyond it.

    Args:
        side: which of a pair; None where a trial shows one picture.

    Raises:
        NotFound: no such trial, another reader's, not one to be seen now, or nothing on that side;
            nobody learns which. A token that is not the reader's own is an Event.
    """
    shown = Trial.right_id if side is Side.RIGHT else Trial.stimulus_id
    is_fitting = Trial.right_id.is_(None) if side is None else Trial.right_id.is_not(None)
    row = session.execute(
        sa.select(Enrolment, Trial.position, Stimulus.pixels_digest, Trial.id)
        .join(Trial, Trial.enrolment_id == Enrolment.id)
        .join(Stimulus, Stimulus.id == shown)
        .where(Trial.token == token, is_fitting)
    ).one_or_none()
    gone = "There is no such picture."
    if row is None or row[0].reader_id != user.id:
        raise NotFound(gone, event="picture refused")
    enrolment, position, digest, trial_id = row
    study = ReaderStudy.require(session, enrolment.study_id)
    stand = _Stand.of(session, study, enrolment)
    checked_in = Conduct.latest(session, enrolment.id) is not None
    first = study.practice_total if study.design.back else stand.answered
    place = position - stand.before
    if _state(study, enrolment, checked_in, stand) is not DeskState.READING or not min(
        first, stand.answered
    ) < place <= min(stand.answered + 1 + AHEAD, stand.total):
        raise NotFound(gone)
    return trial_id, Blob.read(session, digest)


_OVER = (DeskState.DEBRIEFING, DeskState.WITHDRAWN, DeskState.CLOSED)


@dataclass(frozen=True)
class _Stand:
    """How far a reader is in the part that they read: of its ``total`` trials.

    ``before`` trials of another part come first; ``untold``: the study has more to tell them.
    """

    part: Part
    before: int
    answered: int
    total: int
    untold: bool

    @classmethod
    def of(cls, session: Session, study: ReaderStudy, enrolment: Enrolment) -> _Stand:
        answered = Reading.count(session, enrolment.id)
        if not study.unaware:
            return cls(Part.WHOLE, 0, answered, study.trials, untold=False)
        untold = Debriefing.of(session, enrolment.id) is None
        part = Part.UNAWARE if untold else Part.TOLD
        before, total = study.before(part), study.parts[part]
        return cls(part, before, max(0, min(answered - before, total)), total, untold)


def _state(study: ReaderStudy, enrolment: Enrolment, checked_in: bool, stand: _Stand) -> DeskState:
    if enrolment.withdrawal is not None:
        return DeskState.WITHDRAWN
    if enrolment.finished_at is not None:
        return DeskState.FINISHED
    if study.state is StudyState.DRAFT:
        return DeskState.WAITING
    if study.state is StudyState.UNBLINDED:
        return DeskState.CLOSED
    if not checked_in:
        return DeskState.CONDUCT
    between = stand.part is Part.UNAWARE and stand.answered >= stand.total
    return DeskState.DEBRIEFING if between else DeskState.READING


def _screen(conduct: Conduct | None, design: Design) -> tuple[float, float, float] | None:
    """The calibrated screen, where the size on it matters and the browser told of it."""
    if conduct is None or design.size_mm is None:
        return None
    said = conduct.screen
    if not {"dpr", "screen_width", "screen_height"} <= said.keys():
        return None
    return float(said["dpr"]), float(said["screen_width"]), float(said["screen_height"])


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
