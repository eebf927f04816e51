"""Reviews: a radiologist's classification of a lesion. Superseded, never overwritten."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, aliased, joinedload, mapped_column, relationship

from app.db import Base, Word, now
from app.errors import Unreadable
from app.models.cases.lesion import Lesion
from app.models.ground.append_only import append_only
from app.models.ground.event import Event
from app.models.ground.numbered import next_number
from app.models.people.user import User
from ml.lesion import LesionScheme

OTHER = "other"
CANNOT_TELL = "cannot_tell"
WORDS: Mapping[str, str] = {OTHER: "other", CANNOT_TELL: "cannot tell"}
"""What may be answered besides a scheme's classes → words for people."""


class Basis(StrEnum):
    """What a class rests on."""

    PATHOLOGY = "pathology"
    FOLLOW_UP = "follow_up"
    IMAGING = "imaging"


BASES: Mapping[str, str] = {
    Basis.PATHOLOGY: "pathology",
    Basis.FOLLOW_UP: "follow-up",
    Basis.IMAGING: "imaging only",
}
"""What a class rests on → words for people."""


_TWICE = (
    "You gave a class for this lesion a moment ago, perhaps in another tab; that one counts. Open "
    "the lesion again to give another."
)


@append_only
class Review(Base):
    """One person's class for one lesion; the others of that person stay.

    A person's reviews of a lesion are a chain, each superseding the one before; what counts is its
    end. ``number`` counts the reviews of a lesion, whoever gave them.
    """

    __tablename__ = "review"
    __table_args__ = (
        sa.UniqueConstraint("lesion_id", "number", info={"taken": _TWICE}),
        sa.UniqueConstraint("supersedes_id", info={"taken": _TWICE}),
        sa.Index(
            "uq_review_first",
            "lesion_id",
            "by_id",
            unique=True,
            sqlite_where=sa.text("supersedes_id IS NULL"),
            postgresql_where=sa.text("supersedes_id IS NULL"),
            info={"taken": _TWICE},
        ),
        sa.Index("ix_review_own", "by_id", "created_at"),
        sa.Index("ix_review_given", "created_at"),
        sa.CheckConstraint("confidence BETWEEN 1 AND 5", name="confidence"),
        sa.CheckConstraint("basis IN ('pathology','follow_up','imaging')", name="basis"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    lesion_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("lesion.id", ondelete="CASCADE"), index=True
    )
    by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    supersedes_id: Mapped[uuid.UUID | None] = mapped_column(
        sa.ForeignKey("review.id", ondelete="CASCADE")
    )
    number: Mapped[int] = mapped_column(default=next_number("lesion_id"))
    lesion_class: Mapped[str] = mapped_column(sa.String(40))
    confidence: Mapped[int]
    basis: Mapped[Basis] = mapped_column(Word(Basis, 20))
    note: Mapped[str] = mapped_column(sa.Text, default="")
    score_visible: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=now)

    by: Mapped[User] = relationship()

    @staticmethod
    def give(
        session: Session,
        lesion: Lesion,
        reviewer: User,
        scheme: LesionScheme,
        *,
        lesion_class: str,
        confidence: int,
        basis: str,
        note: str,
        score_visible: bool,
    ) -> Review:
        """Record a classification; an earlier one of the same person is superseded.

        Raises:
            Unreadable: a class, confidence or basis that there is not.
        """
        if lesion_class not in (*scheme.keys, OTHER, CANNOT_TELL):
            raise Unreadable(
                f"Choose a class: {', '.join(scheme.keys)}, other, or cannot tell."
            ).about("lesion_class")
        if not 1 <= confidence <= 5:
            raise Unreadable("Choose a confidence from 1 (guessing) to 5 (certain).").about(
                "confidence"
            )
        if basis not in BASES:
            raise Unreadable(f"Choose a basis: {', '.join(BASES.values())}.").about("basis")
        if len(note) > 2000:
            raise Unreadable("The note is longer than 2000 characters. Shorten it.").about("note")
        session.execute(  # of two at once the second supersedes the first
            sa.select(Lesion.id).where(Lesion.id == lesion.id).with_for_update()
        )
        earlier = Review.current(session, lesion.id, reviewer.id)
        review = Review(
            lesion_id=lesion.id,
            by_id=reviewer.id,
            supersedes_id=earlier.id if earlier else None,
            lesion_class=lesion_class,
            confidence=confidence,
            basis=Basis(basis),
            note=note.strip(),
            score_visible=score_visible,
        )
        session.add(review)
        lesion.reviewed = True
        session.flush()
        Event.record(session, reviewer.name, "review given", str(lesion.id))
        return review

    @staticmethod
    def of_lesion(session: Session, lesion_id: uuid.UUID) -> list[Review]:
        """Every review of a lesion: those that stand, then the others, each the newest first."""
        return list(
            session.scalars(
                sa.select(Review)
                .options(joinedload(Review.by))
                .where(Review.lesion_id == lesion_id)
                .order_by(sa.case((Review.stands(), 0), else_=1), Review.number.desc())
            )
        )

    @staticmethod
    def current(session: Session, lesion_id: uuid.UUID, by_id: uuid.UUID) -> Review | None:
        """A person's review of a lesion that counts: the end of their chain."""
        return session.execute(
            sa.select(Review).where(
                Review.lesion_id == lesion_id, Review.by_id == by_id, Review.stands()
            )
        ).scalar_one_or_none()

    @staticmethod
    def stands() -> sa.ColumnElement[bool]:
        """For a WHERE: only reviews that none has superseded."""
        later = aliased(Review)
        return ~sa.exists().where(later.supersedes_id == Review.id)

    @staticmethod
    def precedence() -> tuple[sa.ColumnElement[int], sa.ColumnElement[int]]:
        """For an ORDER BY: of the reviews of a lesion that which says its class first.

        Pathology before all else, then the newest.
        """
        return sa.case((Review.basis == Basis.PATHOLOGY, 0), else_=1), Review.number.desc()


def superseded(reviews: Sequence[Review]) -> set[uuid.UUID]:
    """Ids of the reviews that a later one has taken the place of."""
    return {review.supersedes_id for review in reviews if review.supersedes_id is not None}
