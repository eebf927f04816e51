"""Pilots: what the ratings of an earlier study say of readers. The ratings are not kept here."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.errors import Damaged, NotFound, Unreadable
from app.models.ground.event import Event
from app.models.people.user import User
from app.models.reader_studies.stored import Json
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.task import Task
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results.answers import Answers
from ml.ground import records
from ml.ground.records import RecordError
from ml.readers import files
from ml.readers.pilots import PilotStudy, estimate
from ml.readers.reading import Reading, counted, present, ratings_by_generator
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings

MOST_RATINGS = 200_000
"""Largest pilot that is estimated while somebody waits: about two seconds."""
_LISTED = 30
_LONGEST = 120


class Pilot(Base):
    """An estimate from a file or from an unblinded study, under a name and the ratings' digest."""

    __tablename__ = "pilot"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    source: Mapped[str] = mapped_column(sa.String(200))
    ratings_digest: Mapped[str] = mapped_column(sa.String(64), index=True)
    study_id: Mapped[uuid.UUID | None] = mapped_column(
        sa.ForeignKey("reader_study.id", ondelete="SET NULL")
    )
    estimate: Mapped[Json]
    made_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    made_at: Mapped[datetime] = mapped_column(default=now, index=True)

    made_by: Mapped[User] = relationship()

    @property
    def found(self) -> PilotStudy:
        """What is said of readers.

        Raises:
            Damaged: it is stored in no form that is known here.
        """
        try:
            known: PilotStudy = records.from_json(PilotStudy, self.estimate)
            return known
        except RecordError as error:
            raise Damaged(
                f"The pilot “{self.source}” cannot be read: {error} Give its ratings again."
            ) from error

    @staticmethod
    def all(session: Session) -> list[Pilot]:
        """The newest ones."""
        return list(session.scalars(sa.select(Pilot).order_by(Pilot.made_at.desc()).limit(_LISTED)))

    @staticmethod
    def require(session: Session, pilot_id: uuid.UUID) -> Pilot:
        """The pilot.

        Raises:
            NotFound: there is none.
        """
        found = session.get(Pilot, pilot_id)
        if found is None:
            raise NotFound("There is no such pilot. Give its ratings again.")
        return found

    @staticmethod
    def keep(session: Session, by: User, estimated: Estimated) -> Pilot:
        """Store an estimate; the same ratings under the same name are one pilot."""
        found = session.scalars(
            sa.select(Pilot).where(
                Pilot.ratings_digest == estimated.digest, Pilot.source == estimated.found.source
            )
        ).first()
        if found is None:
            found = Pilot(source=estimated.found.source, ratings_digest=estimated.digest)
            session.add(found)
        found.made_by_id, found.made_at = by.id, now()
        found.study_id = estimated.study_id
        found.estimate = records.to_json(estimated.found)
        session.flush()
        Event.record(session, by.name, "pilot estimated", str(found.id), source=found.source)
        return found


class Estimated:
    """An estimate that is not stored yet: made before anything is locked."""

    def __init__(self, found: PilotStudy, digest: str, study_id: uuid.UUID | None = None) -> None:
        self.found = found
        self.digest = digest
        self.study_id = study_id

    @classmethod
    def of_file(cls, name: str, data: bytes) -> Estimated:
        """From a long CSV or an ``.imrmc`` file.

        Raises:
            ReadersError: it cannot be understood, or says nothing of readers.
            Unreadable: it is too large to be estimated here.
        """
        short = name.replace("\\", "/").rpartition("/")[2][:_LONGEST] or "pilot"
        ratings = files.parse(data, short)
        _refuse_large(ratings)
        return cls(estimate(ratings, short), hashlib.sha256(data).hexdigest())

    @classmethod
    def of_study(cls, session: Session, study: ReaderStudy) -> Estimated:
        """From a study's first presentations; readers with few images of a kind are left out.

        Of graded realism the grades of the first question are taken.

        Raises:
            Forbidden: it is not unblinded.
            ReadersError: it says nothing of readers.
            Unreadable: it is of pairs, or too large to be estimated here.
        """
        answers = Answers.of(session, Unblinded(study))
        if study.design.task.is_paired:
            raise Unreadable(
                f"{study.title} asks for one of two images, and the planner needs ratings of "
                "single ones. Plan pairs on their own page."
            )
        first = present(counted(_rated(answers))).first
        unsent = sum(one.unsent and not one.is_practice for one in answers.lines)
        if not first:
            raise ReadersError(
                f"{study.title}: nobody answered anything"
                + (
                    f" but {unsent} pictures that were never sent, which nobody can have seen."
                    if unsent
                    else "."
                )
            )
        ratings = ratings_by_generator(first)
        _refuse_large(ratings)
        told = repr([(r.reader, r.case, r.synthetic, r.rating) for r in first])
        source = f"study “{study.title[:_LONGEST]}”"
        if unsent:
            source += f" without {unsent} answers to pictures never sent"
        digest = hashlib.sha256(told.encode()).hexdigest()
        return cls(estimate(ratings, source), digest, study.id)


def _rated(answers: Answers) -> list[Reading]:
    if answers.study.design.task is Task.REALISM:
        return [one.of(0) for one in answers.grades()]
    return list(answers.readings())


def _refuse_large(ratings: Ratings) -> None:
    if ratings.scores.size > MOST_RATINGS:
        raise Unreadable(
            f"A pilot of {ratings.scores.size} ratings takes too long here; at most {MOST_RATINGS} "
            "are taken. Run `python -m ml readers plan --pilot FILE`."
        )
