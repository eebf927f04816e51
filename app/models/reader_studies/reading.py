"""Readings: one reader's answer to one Trial, with confidence and time. Append-only."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column, relationship

from app.db import Base, Word, now
from app.errors import Conflict, NotFound, Unreadable
from app.models.ground.append_only import append_only
from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.debriefing import Debriefing
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.questions import CALLED_SYNTHETIC, CONFIDENCES, RATINGS, REASONS
from app.models.reader_studies.study import ReaderStudy, StudyState
from app.models.reader_studies.task import Part, Task
from app.models.reader_studies.trial import Trial, TrialKind
from ml.readers.grades import POINTS
from ml.readers.pairs import Side

_MOST_MS = 2**31 - 1
"""Longer times are stored as this, some 25 days: implausible, but no reason to lose an answer."""
NEW_SITTING = timedelta(minutes=30)
"""After so long without an answer a new sitting begins."""

_VIEW_NUMBERS = ("px", "dpr", "window_changes", "brightness", "contrast", "zoom_changes", "zoom")


@dataclass(frozen=True)
class Answer:
    """What a desk sends: the trial by its token, the answers, and where the time went.

    What the study does not ask for is None: ``rating`` and ``lesion_class`` are of one image,
    ``choice`` of a pair, ``grades`` of graded realism: one for each question, in their order.

    ``key`` is made by the client for this answer and sent again when it is sent again.
    Times in ms: looking (``active_ms``), page hidden, and no key for long or paused (``idle_ms``).
    ``changes`` counts how often an answer was replaced before it was committed. ``view`` is what
    the desk says of the picture: its side in CSS pixels, brightness, contrast and zoom at the end,
    and how often each was changed. ``revises``: the reader went back to change an answer.
    ``waited_ms``: how long the answer waited in the browser until it was sent; below 0 where its
    clock was set back.
    """

    trial: str
    key: str
    lesion_class: str | None = None
    rating: int | None = None
    active_ms: int = 0
    hidden_ms: int = 0
    idle_ms: int = 0
    changes: int = 0
    class_confidence: int | None = None
    reasons: Sequence[str] = ()
    view: Mapping[str, object] = field(default_factory=dict)
    revises: bool = False
    waited_ms: int | None = None
    choice: Side | None = None
    grades: Sequence[int] | None = None


@append_only
class Reading(Base):
    """An answer as it was committed; the same key twice is one Reading.

    One per trial and ``revision``: where the protocol lets readers go back, a changed answer is
    the next revision. The latest counts (``Reading.counting()``), the earlier ones stay.
    What was not asked for is None: ``rating`` and ``lesion_class`` of a pair, ``choice`` of a
    single image, ``grades`` where there are no graded questions. ``protocol_version`` is the one in
    force when it was given; None in rows from before that was written down. ``session_no`` numbers
    the sittings of a reader, ``view`` is what they did to the picture.
    """

    __tablename__ = "reading"
    __table_args__ = (
        sa.UniqueConstraint("enrolment_id", "idempotency_key"),
        sa.UniqueConstraint("trial_id", "revision"),
        sa.CheckConstraint("rating BETWEEN 1 AND 6", name="rating"),
        sa.CheckConstraint("class_confidence BETWEEN 1 AND 5", name="class_confidence"),
        sa.CheckConstraint("choice IN ('left','right')", name="choice"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    trial_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("trial.id"))
    enrolment_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("enrolment.id"))
    idempotency_key: Mapped[str] = mapped_column(sa.String(64))
    lesion_class: Mapped[str | None] = mapped_column(sa.String(40))
    rating: Mapped[int | None]
    choice: Mapped[Side | None] = mapped_column(Word(Side, 5))
    grades: Mapped[list[int] | None]
    class_confidence: Mapped[int | None]
    reasons: Mapped[list[str]] = mapped_column(default=list)
    session_no: Mapped[int] = mapped_column(default=1)
    revision: Mapped[int] = mapped_column(default=1)
    view: Mapped[dict[str, float]] = mapped_column(default=dict)
    active_ms: Mapped[int]
    hidden_ms: Mapped[int]
    idle_ms: Mapped[int]
    changes: Mapped[int]
    protocol_version: Mapped[int | None]
    waited_ms: Mapped[int | None] = mapped_column(sa.BigInteger)
    answered_at: Mapped[datetime] = mapped_column(default=now)

    trial: Mapped[Trial] = relationship()

    @staticmethod
    def give(session: Session, enrolment: Enrolment, answer: Answer) -> tuple[Reading, bool]:
        """Store an answer; returns the Reading and whether it is new.

        Raises:
            Conflict: the key was used for another answer, the trial was answered before and
                may not be changed, it is not the next one, the reader has not checked in or was
                withdrawn, or the study is closed.
            NotFound: no such trial in this reading.
            Unreadable: an answer that there is not.
        """
        session.execute(  # two tabs at once: one stores, the other then sees it
            sa.select(Enrolment.id).where(Enrolment.id == enrolment.id).with_for_update()
        )
        trial = session.scalars(
            sa.select(Trial).where(Trial.token == answer.trial, Trial.enrolment_id == enrolment.id)
        ).one_or_none()
        if trial is None:
            raise NotFound("There is no such trial in this reading.", event="trial refused")
        earlier = session.scalars(
            sa.select(Reading).where(
                Reading.enrolment_id == enrolment.id, Reading.idempotency_key == answer.key
            )
        ).one_or_none()
        if earlier is not None:
            if earlier._says(trial, answer):
                return earlier, False
            raise Conflict("Another answer was sent with this key before; that one counts.")
        study = ReaderStudy.require(session, enrolment.study_id)
        session.expire(study, ["protocols"])  # an amendment is in before, or comes after
        if study.state is not StudyState.OPEN:
            raise Conflict("The study is closed: it was unblinded. No answer can be added.")
        design = study.design
        session.refresh(enrolment, ["finished_at", "withdrawal"])
        if enrolment.withdrawal is not None:
            raise Conflict("You were withdrawn from this study; no answer can be added.")
        if Conduct.latest(session, enrolment.id) is None:
            raise Conflict(
                f"Check in first at /readings/{enrolment.token}/conduct: consent, screen and room."
            )
        answered = Reading.count(session, enrolment.id)
        revision = 1
        if trial.part is Part.TOLD and Debriefing.of(session, enrolment.id) is None:
            raise Conflict(f"Go on at /readings/{enrolment.token} first; more follows there.")
        if trial.position <= answered:
            may_change = (
                design.back
                and trial.kind != TrialKind.PRACTICE
                and enrolment.finished_at is None
                and (trial.part is not Part.UNAWARE or answered < study.before(Part.TOLD))
            )
            if not may_change or not answer.revises:
                raise Conflict(
                    f"Trial {trial.position} was answered before, perhaps in another tab; "
                    "that answer counts."
                )
            revision = (
                1
                + session.scalars(
                    sa.select(sa.func.max(Reading.revision)).where(Reading.trial_id == trial.id)
                ).one()
            )
        elif trial.position != answered + 1:
            raise Conflict(f"Trial {answered + 1} comes first.")
        _check(answer, study, trial.part)
        reading = Reading(
            trial=trial,
            enrolment_id=enrolment.id,
            idempotency_key=answer.key,
            lesion_class=answer.lesion_class,
            rating=answer.rating,
            choice=answer.choice,
            grades=None if answer.grades is None else list(answer.grades),
            class_confidence=answer.class_confidence,
            reasons=list(answer.reasons),
            session_no=_sitting(session, enrolment.id),
            revision=revision,
            view=_view(answer.view),
            active_ms=min(answer.active_ms, _MOST_MS),
            hidden_ms=min(answer.hidden_ms, _MOST_MS),
            idle_ms=min(answer.idle_ms, _MOST_MS),
            changes=answer.changes,
            waited_ms=answer.waited_ms,
            protocol_version=study.protocols[-1].version,
        )
        session.add(reading)
        if revision == 1 and trial.position == study.trials:
            enrolment.finished_at = now()
        session.flush()
        return reading, True

    def _says(self, trial: Trial, answer: Answer) -> bool:
        mine = (self.trial_id, self.lesion_class, self.rating, self.class_confidence, self.choice)
        said = (
            trial.id, answer.lesion_class, answer.rating, answer.class_confidence, answer.choice,
        )  # fmt: skip
        grades = None if answer.grades is None else list(answer.grades)
        return mine == said and self.reasons == list(answer.reasons) and self.grades == grades

    @property
    def called_synthetic(self) -> bool:
        """Whether the rating says so: ``CALLED_SYNTHETIC`` or more."""
        return self.rating is not None and self.rating >= CALLED_SYNTHETIC

    @staticmethod
    def counting() -> sa.ColumnElement[bool]:
        """For a WHERE: only the latest revision of each answer."""
        later = aliased(Reading)
        return ~sa.exists().where(
            later.trial_id == Reading.trial_id, later.revision > Reading.revision
        )

    @staticmethod
    def latest(session: Session, trial_id: uuid.UUID) -> Reading | None:
        """The answer to a trial that counts."""
        return session.scalars(
            sa.select(Reading)
            .where(Reading.trial_id == trial_id)
            .order_by(Reading.revision.desc())
            .limit(1)
        ).one_or_none()

    @staticmethod
    def count(session: Session, enrolment_id: uuid.UUID) -> int:
        """How many trials of an enrolment are answered."""
        return session.scalars(
            sa.select(sa.func.count()).where(
                Reading.enrolment_id == enrolment_id, Reading.revision == 1
            )
        ).one()

    @staticmethod
    def counts(session: Session, study_id: uuid.UUID) -> dict[uuid.UUID, int]:
        """Enrolment → how many of its trials are answered."""
        rows = session.execute(
            sa.select(Reading.enrolment_id, sa.func.count())
            .join(Enrolment, Enrolment.id == Reading.enrolment_id)
            .where(Enrolment.study_id == study_id, Reading.revision == 1)
            .group_by(Reading.enrolment_id)
        )
        return dict(rows.all())


def _check(answer: Answer, study: ReaderStudy, part: Part) -> None:
    if not (1 <= len(answer.key) <= 64 and answer.key.isascii() and answer.key.isprintable()):
        raise Unreadable("The answer needs a key of 1 to 64 characters.")
    asked = study.choices_of(part)
    _check_grades(answer, len(asked.rows))
    _check_question(answer, study.design.task, rated=part is not Part.UNAWARE)
    if not asked.classes:
        if answer.lesion_class is not None:
            raise Unreadable("This study does not ask for the lesion class.")
    elif answer.lesion_class not in study.scheme.keys:
        raise Unreadable(f"Choose a class: {', '.join(study.scheme.keys)}.")
    if asked.confidences:
        if answer.class_confidence not in range(1, len(CONFIDENCES) + 1):
            raise Unreadable("Say how sure you are of the class: 1 (a guess) to 5 (certain).")
    elif answer.class_confidence is not None:
        raise Unreadable("This study does not ask how sure you are of the class.")
    if answer.reasons and not asked.reasons:
        raise Unreadable("This study does not ask for reasons.")
    if answer.reasons and (answer.rating or 0) < CALLED_SYNTHETIC:
        raise Unreadable("Reasons are for images that you call synthetic (4 to 6).")
    if list(answer.reasons) != [key for key in REASONS if key in set(answer.reasons)]:
        raise Unreadable(f"Choose reasons among {', '.join(REASONS)}, each once, in this order.")
    times = (answer.active_ms, answer.hidden_ms, answer.idle_ms)
    times_can_be = all(0 <= value < 2**53 for value in times)
    if not times_can_be or abs(answer.waited_ms or 0) >= 2**53 or not 0 <= answer.changes <= 10_000:
        raise Unreadable("The times of the answer are not possible.")


def _check_question(answer: Answer, task: Task, *, rated: bool) -> None:
    """What is asked in any study of the task."""
    if task.is_paired:
        if answer.rating is not None:
            raise Unreadable("This study asks for one of two images, not for a rating.")
        if answer.choice is None:
            raise Unreadable("Choose the left or the right one.")
        return
    if answer.choice is not None:
        raise Unreadable("This study shows one image at a time; there is no left or right one.")
    if task is Task.REALISM:
        if answer.rating is not None:
            raise Unreadable("This study asks for grades, not whether an image is synthetic.")
        return
    if not rated:
        if answer.rating is not None:
            raise Unreadable("This study does not ask for a rating here.")
        return
    if answer.rating is None or not 1 <= answer.rating <= len(RATINGS):
        raise Unreadable("Choose a rating from 1 (certainly real) to 6 (certainly synthetic).")


def _check_grades(answer: Answer, questions: int) -> None:
    """A grade for each graded question, and none where there is none."""
    if not questions:
        if answer.grades is not None:
            raise Unreadable("This study does not ask for grades.")
        return
    given = list(answer.grades or ())
    if len(given) != questions or not all(1 <= grade <= POINTS for grade in given):
        raise Unreadable(f"Give every question a grade from 1 to {POINTS}.")


def _sitting(session: Session, enrolment_id: uuid.UUID) -> int:
    """The number of the sitting that an answer given now belongs to."""
    moment = now()
    last = session.execute(
        sa.select(Reading.session_no, Reading.answered_at)
        .where(Reading.enrolment_id == enrolment_id)
        .order_by(
            Reading.session_no.desc(),
            # what was answered by a clock that was set back since says nothing of a pause
            sa.case((Reading.answered_at <= moment, 0), else_=1),
            Reading.answered_at.desc(),
        )
        .limit(1)
    ).one_or_none()
    if last is None:
        return 1
    number, at = last
    return number + 1 if moment - at > NEW_SITTING else number


def _view(said: Mapping[str, object]) -> dict[str, float]:
    """The numbers among what a desk says of the picture; anything else is left out."""
    found = {}
    for name in _VIEW_NUMBERS:
        value = said.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6:
            found[name] = round(float(value), 4)
    return found
