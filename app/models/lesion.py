"""Lesions: findings marked by a box on an image. A lesion owns its ROI."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from app.db import Base, now
from app.errors import Conflict, NotFound
from app.models.case import Case, Image, Series
from app.models.event import Event
from app.models.user import User
from ml import roi
from ml.roi import Box, Roi


class Lesion(Base):
    """A finding marked by a box on an Image. Withdrawn ones stay, with who and when.

    ``reviewed``: somebody gave a class; a Review is never taken back, so neither is this.
    """

    __tablename__ = "lesion"
    __table_args__ = (
        sa.UniqueConstraint("case_id", "number"),
        # what the work list counts on every visit: each by its own index, without the table
        sa.Index(
            "ix_lesion_standing",
            "case_id",
            "withdrawn_at",
            sqlite_where=sa.text("withdrawn_at IS NULL"),
            postgresql_where=sa.text("withdrawn_at IS NULL"),
        ),
        sa.Index(
            "ix_lesion_unreviewed",
            "case_id",
            "withdrawn_at",
            "reviewed",
            sqlite_where=sa.text("withdrawn_at IS NULL AND reviewed IS 0"),
            postgresql_where=sa.text("withdrawn_at IS NULL AND reviewed IS false"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    case_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("case.id", ondelete="CASCADE"))
    image_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("image.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int]
    x: Mapped[float]
    y: Mapped[float]
    width: Mapped[float]
    height: Mapped[float]
    marked_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("user.id"))
    reviewed: Mapped[bool] = mapped_column(default=False)

    image: Mapped[Image] = relationship()
    marked_by: Mapped[User] = relationship(foreign_keys=[marked_by_id])

    @staticmethod
    def require(session: Session, lesion_id: uuid.UUID) -> Lesion:
        """A lesion that has not been withdrawn, with its image, series and case."""
        lesion = session.execute(
            sa.select(Lesion)
            .options(
                joinedload(Lesion.image).joinedload(Image.series).joinedload(Series.case),
                joinedload(Lesion.marked_by),
            )
            .where(Lesion.id == lesion_id, Lesion.withdrawn_at.is_(None))
        ).scalar_one_or_none()
        if lesion is None:
            raise NotFound("There is no such lesion, or it was withdrawn.")
        return lesion

    @staticmethod
    def of_case(session: Session, case_id: uuid.UUID) -> list[Lesion]:
        """The lesions of a case that have not been withdrawn, in the order they were marked."""
        return list(
            session.scalars(
                sa.select(Lesion)
                .options(joinedload(Lesion.image), joinedload(Lesion.marked_by))
                .where(Lesion.case_id == case_id, Lesion.withdrawn_at.is_(None))
                .order_by(Lesion.number)
            )
        )

    @staticmethod
    def mark(session: Session, image: Image, box: Box, marker: User) -> Lesion:
        """Mark a lesion on an image.

        Raises:
            RoiError: the box gives no ROI on this image (checked before anything is stored).
        """
        roi.make(image.slice(session), box, roi.DEFAULT_WINDOW_HU)
        session.execute(  # two markers at once get two numbers
            sa.select(Case.id).where(Case.id == image.series.case_id).with_for_update()
        )
        highest = session.execute(
            sa.select(sa.func.max(Lesion.number)).where(Lesion.case_id == image.series.case_id)
        ).scalar_one()
        lesion = Lesion(
            case_id=image.series.case_id,
            image=image,
            number=(highest or 0) + 1,
            x=box.x,
            y=box.y,
            width=box.width,
            height=box.height,
            marked_by_id=marker.id,
        )
        session.add(lesion)
        session.flush()
        Event.record(session, marker.name, "lesion marked", str(lesion.id))
        return lesion

    @property
    def box(self) -> Box:
        return Box(self.x, self.y, self.width, self.height)

    @property
    def diameter_px(self) -> float:
        """The longer side of the box in pixels of the slice."""
        return max(self.width, self.height)

    @property
    def diameter_mm(self) -> float | None:
        """The longer side of the box in mm; None without pixel spacing."""
        spacing = self.image.spacing_mm
        if spacing is None:
            return None
        return max(self.width * spacing[1], self.height * spacing[0])

    def roi(
        self,
        session: Session,
        window_hu: tuple[float, float],
        grey_range: tuple[float, float] | None = None,
    ) -> Roi:
        """The ROI that a network with this window, or range of grey values, sees."""
        return roi.make(self.image.slice(session), self.box, window_hu, grey_range=grey_range)

    def withdraw(self, session: Session, actor: User) -> None:
        """Take the lesion back; its reviews and predictions stay in the record.

        Raises:
            Conflict: it was withdrawn before.
        """
        if self.withdrawn_at is not None:
            raise Conflict("This lesion was withdrawn before.")
        self.withdrawn_at = now()
        self.withdrawn_by_id = actor.id
        Event.record(session, actor.name, "lesion withdrawn", str(self.id))
