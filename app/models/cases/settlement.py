"""Series that are complete: quiet for a set time, with marks, and classified by themselves.

Whatever comes to a series stirs it (`Series.stirred_at`): an image, a mark of a DICOM object. Once
nothing has come for the set time it is settled: a row for each state of it, and never a second one
of the same state. An image or mark that comes later is another state, and a further row.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from app.db import Base, now
from app.models.cases.case import Case, Image, Series
from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.models.ground.event import Event


class Settlement(Base):
    """What became of one state of a series: how many images and marks, by which checkpoint.

    ``notes``: why a lesion has no score, or an answer is not sent back, as sentences.
    """

    __tablename__ = "settlement"
    __table_args__ = (sa.UniqueConstraint("series_id", "state"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    series_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("series.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(sa.String(64))
    images: Mapped[int]
    lesions: Mapped[int]
    scored: Mapped[int]
    checkpoint_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("checkpoint.id"))
    notes: Mapped[list[str]]
    at: Mapped[datetime] = mapped_column(default=now)

    series: Mapped[Series] = relationship()
    checkpoint: Mapped[Checkpoint | None] = relationship()

    @staticmethod
    def quiet(session: Session, quiet_s: float) -> uuid.UUID | None:
        """A series to which nothing has come for so long, and which was not settled since."""
        return session.scalar(
            sa.select(Series.id)
            .where(Series.stirred_at <= now() - timedelta(seconds=quiet_s))
            .order_by(Series.stirred_at)
            .limit(1)
        )

    @staticmethod
    def claim(session: Session, series_id: uuid.UUID, quiet_s: float) -> Series | None:
        """The series, calmed; None where somebody else did it, or something came meanwhile."""
        done = session.connection().execute(
            sa.update(Series.__table__)  # type: ignore[arg-type]
            .where(Series.id == series_id)
            .where(Series.stirred_at <= now() - timedelta(seconds=quiet_s))
            .values(stirred_at=None)
        )
        return session.get(Series, series_id) if done.rowcount else None

    @staticmethod
    def marked(session: Session, series: Series) -> list[Lesion]:
        """The lesions of a series that DICOM objects marked and that stand.

        What a person marked was scored when they did, unless it must not be.
        """
        return list(
            session.scalars(
                sa.select(Lesion)
                .join(Image, Image.id == Lesion.image_id)
                .options(joinedload(Lesion.image))
                .where(
                    Image.series_id == series.id,
                    Lesion.marked_by_id.is_(None),
                    Lesion.withdrawn_at.is_(None),
                )
                .order_by(Lesion.number)
            )
        )

    @staticmethod
    def is_new(session: Session, series: Series, lesions: Sequence[Lesion]) -> bool:
        """Whether this state of the series has no row yet."""
        state = Settlement._state(session, series, lesions)[0]
        found = sa.select(Settlement.id).where(
            Settlement.series_id == series.id, Settlement.state == state
        )
        return session.scalar(found) is None

    @staticmethod
    def record(
        session: Session,
        series: Series,
        lesions: Sequence[Lesion],
        scored: int,
        checkpoint: Checkpoint | None,
        notes: Sequence[str],
        by: str,
    ) -> Settlement:
        """Note what became of this state."""
        state, images = Settlement._state(session, series, lesions)
        row = Settlement(
            series_id=series.id,
            state=state,
            images=images,
            lesions=len(lesions),
            scored=scored,
            checkpoint=checkpoint,
            notes=list(notes),
        )
        session.add(row)
        session.flush()
        Event.record(
            session, by, "series settled", str(series.id), images=images, lesions=row.lesions,
            scored=row.scored,
        )  # fmt: skip
        return row

    @staticmethod
    def of_case(session: Session, case: Case) -> list[Settlement]:
        """Those of a case's series, the oldest first."""
        return list(
            session.scalars(
                sa.select(Settlement)
                .join(Series, Series.id == Settlement.series_id)
                .options(joinedload(Settlement.checkpoint))
                .where(Series.case_id == case.id)
                .order_by(Settlement.at, Settlement.id)
            )
        )

    @staticmethod
    def _state(session: Session, series: Series, lesions: Sequence[Lesion]) -> tuple[str, int]:
        """(digest of which images and marks there are, how many images)"""
        images = sorted(
            map(str, session.scalars(sa.select(Image.id).where(Image.series_id == series.id)))
        )
        told = " ".join([*images, "|", *sorted(str(one.id) for one in lesions)])
        return hashlib.sha256(told.encode()).hexdigest(), len(images)
