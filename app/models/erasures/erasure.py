"""The act of erasing: begun by somebody, gone on with until nothing is left, kept as a certificate.

The row names cases by their ids, which are random: a backup of before is cleared again by them.
What it tells of the patient is numbers.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, Word, in_parts, now, serialise
from app.errors import Conflict, Forbidden, NotFound, Unreadable
from app.models.cases.case import Case
from app.models.cases.lesion import Lesion
from app.models.erasures.extent import Extent, Ids, hindrances, pictures_of
from app.models.ground.event import Event
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from ml.ground import records

MOST_LISTED = 200


class ErasureKind(StrEnum):
    """Why it was done."""

    PATIENT = "patient"
    """Somebody asked for all that there is of one."""
    CASES = "cases"
    """Somebody asked for these, whatever else there is of their patients."""
    OLD_CASES = "old cases"
    """HEPATICA_KEEP_CASES_DAYS had passed."""
    OLD_PICTURES = "old pictures"
    """HEPATICA_KEEP_PICTURES_DAYS had passed since a study was unblinded."""


class Erasure(Base):
    """Cases, or the pictures of finished studies, that are erased together.

    ``waiting`` are digests of pixels whose rows are gone and whose bytes are to follow; nothing
    once it has ended. ``reference`` is what whoever asked for it calls the matter.
    """

    __tablename__ = "erasure"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('patient','cases','old cases','old pictures')", name="kind"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    kind: Mapped[ErasureKind] = mapped_column(Word(ErasureKind, 20))
    asked_by: Mapped[str] = mapped_column(sa.String(100))
    reference: Mapped[str] = mapped_column(sa.String(100), default="")
    begun_at: Mapped[datetime] = mapped_column(default=now, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    cases: Mapped[list[str]]
    studies: Mapped[list[str]] = mapped_column(default=list)
    waiting: Mapped[list[str]] = mapped_column(default=list)
    extent_json: Mapped[dict[str, Any]] = mapped_column("extent")

    @staticmethod
    def all(session: Session) -> list[Erasure]:
        """The newest first; at most 200."""
        query = sa.select(Erasure).order_by(Erasure.begun_at.desc(), Erasure.id)
        return list(session.scalars(query.limit(MOST_LISTED)))

    @staticmethod
    def require(session: Session, erasure_id: uuid.UUID) -> Erasure:
        """The erasure; NotFound when there is none."""
        found = session.get(Erasure, erasure_id)
        if found is None:
            raise NotFound("There is no such deletion.")
        return found

    @staticmethod
    def ended(session: Session) -> set[uuid.UUID]:
        """All that have ended."""
        return set(session.scalars(sa.select(Erasure.id).where(Erasure.ended_at.is_not(None))))

    @staticmethod
    def unfinished(session: Session) -> list[uuid.UUID]:
        """Those that were begun and have not ended, the oldest first."""
        query = sa.select(Erasure.id).where(Erasure.ended_at.is_(None))
        return list(session.scalars(query.order_by(Erasure.begun_at, Erasure.id)))

    @staticmethod
    def of_case(session: Session, case_id: uuid.UUID) -> Erasure | None:
        """The one that a case is going with, if any."""
        under_way = session.scalars(sa.select(Erasure).where(Erasure.ended_at.is_(None)))
        return next((one for one in under_way if str(case_id) in one.cases), None)

    @property
    def state(self) -> str:
        """How far it is, in words."""
        if self.ended_at is None:
            return "it has not ended"
        return f"it ended {self.ended_at:%Y-%m-%d %H:%M} UTC"

    @property
    def extent(self) -> Extent:
        """What it took with it."""
        return records.from_json(Extent, self.extent_json, "extent")

    @property
    def case_ids(self) -> list[uuid.UUID]:
        """The cases."""
        return [uuid.UUID(one) for one in self.cases]

    @property
    def study_ids(self) -> list[uuid.UUID]:
        """The studies whose pictures go, all of them."""
        return [uuid.UUID(one) for one in self.studies]

    @staticmethod
    def begin(
        session: Session,
        kind: ErasureKind,
        by: str,
        extent: Extent,
        *,
        cases: Ids = (),
        studies: Ids = (),
        reference: str = "",
    ) -> Erasure:
        """Say that they are to go; their lesions are withdrawn at once, so that nothing new is made
        of them.

        Args:
            extent: of these, as it was counted before anybody had to wait for this; counted again
                before the first of it goes.

        Raises:
            Conflict: something stands in the way, or they are going already.
            Unreadable: a reference that is too long or has control characters.
        """
        serialise(session, "erasure")
        if why := hindrances(session, cases, studies):
            raise Conflict(f"{' '.join(why)} Nothing was deleted.")
        reference = reference.strip()
        if len(reference) > 100:
            raise Unreadable(
                "The reference may have 100 characters at most. Nothing was deleted."
            ).about("reference")
        if any(Erasure.of_case(session, one) for one in cases):
            raise Conflict("This is being deleted already.")
        erasure = Erasure(
            kind=kind,
            asked_by=by[:100],
            reference=reference,
            cases=[str(one) for one in cases],
            studies=[str(one) for one in studies],
            waiting=[],
            extent_json=records.to_json(extent),
        )
        session.add(erasure)
        session.flush()
        for some in in_parts(sorted(cases)):
            # whoever writes about one of them has done so by now, or sees that it is leaving
            held = sa.select(Case.id).where(Case.id.in_(some)).order_by(Case.id)
            session.execute(held.with_for_update())
            standing = sa.and_(Lesion.case_id.in_(some), Lesion.withdrawn_at.is_(None))
            session.execute(sa.update(Lesion).where(standing).values(withdrawn_at=now()))
        Event.record(
            session, by, "deletion begun", str(erasure.id), why=kind.value, cases=len(cases)
        )
        return erasure

    @staticmethod
    def again(
        session: Session,
        erasure_id: uuid.UUID,
        kind: ErasureKind,
        by: str,
        cases: Ids,
        studies: Ids,
    ) -> Erasure | None:
        """One that was done before, and has to be done again to a database of before.

        None where there is nothing of it.
        """
        here = [
            one
            for some in in_parts(cases)
            for one in session.scalars(sa.select(Case.id).where(Case.id.in_(some)))
        ]
        known = session.get(Erasure, erasure_id)
        if known is not None and known.ended_at is None:
            return known
        if known is not None or not (here or pictures_of(session, (), studies)):
            return None
        erasure = Erasure(
            id=erasure_id,
            kind=kind,
            asked_by=by[:100],
            cases=[str(one) for one in here],
            studies=[str(one) for one in studies],
            waiting=[],
            extent_json=records.to_json(Extent.of(session, here, studies)),
        )
        session.add(erasure)
        session.flush()
        Event.record(
            session, by, "deletion begun again", str(erasure_id), why=kind.value, cases=len(here)
        )
        return erasure

    @staticmethod
    def refuse(session: Session, user: User, cases: Sequence[Case], extent: Extent) -> None:
        """Nothing where ``user`` may delete all that there is of a patient.

        Raises:
            Forbidden: a blinded reading of theirs could be about a case, or it is not theirs.
            Conflict: something was made of it that is for an administrator to take from.
        """
        for case in cases:
            Enrolment.refuse_case(session, user, case.id)
        if user.may("admin"):
            return
        if any(case.uploaded_by_id != user.id for case in cases):
            raise Forbidden(
                "All that there is of a patient is deleted by the person who uploaded all of the "
                "cases, or by an administrator.",
                event="deletion of a patient refused",
            )
        if extent.touches_others:
            raise Conflict(
                "A frozen data set or a reader study has something of this patient, so only an "
                "administrator can delete all that there is. Nothing was deleted."
            )

    def end(self, session: Session, by: str) -> None:
        """Nothing of it is left."""
        self.ended_at, self.waiting = now(), []
        Event.record(session, by, "deletion ended", str(self.id), cases=len(self.cases))
