"""Measures that are kept with a lesion: a length, or the values within a region of a slice."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from app.db import Base, Word, now
from app.errors import Conflict, Forbidden, NotFound
from app.models.cases.case import Image
from app.models.cases.lesion import Lesion
from app.models.ground.event import Event
from app.models.people.user import User
from ml.images import ruler
from ml.images.ruler import Kind, Length, Points, RulerError, Values

MOST = 100
"""Most measures of one lesion that stand."""
_DECIMALS = 2
"""Of a point's coordinates, in pixels of the slice."""


class Measure(Base):
    """What one person measured and keeps with a lesion. Withdrawn ones stay, with who and when.

    It lies on any slice of the lesion's case. When the box of the lesion is moved, it goes on with
    the lesion that takes its place.

    Attributes:
        points: [[x, y], …] in pixels of the slice, as ``ruler.Kind`` says.
        px, mm: of a length; mm None without pixel spacing.
        n, mean, sd, low, high, mm2: of a region, as ``ruler.Values``.
    """

    __tablename__ = "measure"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('length','rectangle','disc','outline')", name="kind"),
        sa.CheckConstraint(
            "(kind = 'length') = (px IS NOT NULL) AND (kind = 'length') = (n IS NULL)",
            name="length_or_values",
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    lesion_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("lesion.id", ondelete="CASCADE"), index=True
    )
    image_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("image.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[Kind] = mapped_column(Word(Kind, 20))
    points: Mapped[list[list[float]]] = mapped_column(sa.JSON())
    px: Mapped[float | None]
    mm: Mapped[float | None]
    n: Mapped[int | None]
    mean: Mapped[float | None]
    sd: Mapped[float | None]
    low: Mapped[int | None]
    high: Mapped[int | None]
    mm2: Mapped[float | None]
    by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("user.id"))

    image: Mapped[Image] = relationship()
    by: Mapped[User] = relationship(foreign_keys=[by_id])

    @staticmethod
    def keep(
        session: Session,
        lesion: Lesion,
        image: Image,
        kind: Kind,
        points: Points,
        by: User,
        *,
        measure_id: uuid.UUID,
    ) -> Measure:
        """Keep what was drawn; its values are taken from the stored pixels, not from who asks.

        Args:
            lesion: held, so that its withdrawal and this cannot cross.
            measure_id: the id that it gets. The same sent again under it, because the answer to
                the first was lost, is the same measure.

        Raises:
            RulerError: points that measure nothing on this slice.
            NotFound: the slice is of another case.
            Conflict: the id is another measure's, or the lesion has as many as it may.
        """
        points = [(round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in points]
        known = session.get(Measure, measure_id)
        if known is not None:
            return known._sent_again(lesion, image, kind, points, by)
        if image.series.case_id != lesion.case_id:
            raise NotFound(f"Lesion {lesion.number} is of another case. Nothing was kept.")
        ruler.check(kind, points, image.size)
        if len(Measure.of_lesions(session, [lesion.id])[lesion.id]) >= MOST:
            raise Conflict(
                f"Lesion {lesion.number} has {MOST} measures, which is the most. Nothing was kept; "
                "delete one of them first."
            )
        measure = Measure(
            id=measure_id,
            lesion_id=lesion.id,
            image=image,
            kind=kind,
            points=[list(point) for point in points],
            by_id=by.id,
        )
        measure._take(session, points)
        session.add(measure)
        session.flush()
        Event.record(session, by.name, "measure kept", str(measure.id), lesion=str(lesion.id))
        return measure

    def _take(self, session: Session, points: Points) -> None:
        """Measure on the stored pixels."""
        spacing = self.image.spacing_mm
        if self.kind == Kind.LENGTH:
            found = ruler.length(points, spacing)
            self.px, self.mm = found.px, found.mm
            return
        within = ruler.values(self.kind, points, self.image.pixels(session), spacing)
        self.n, self.mean, self.sd = within.n, within.mean, within.sd
        self.low, self.high, self.mm2 = within.low, within.high, within.mm2

    def _sent_again(
        self, lesion: Lesion, image: Image, kind: Kind, points: Points, by: User
    ) -> Measure:
        same = (
            (self.lesion_id, self.image_id, self.kind, self.by_id)
            == (lesion.id, image.id, kind, by.id)
            and [tuple(point) for point in self.points] == [*points]
        )  # fmt: skip
        if not same:
            raise Conflict("This id is another measure's. Nothing was kept; measure it again.")
        if self.withdrawn_at is not None:
            raise Conflict("This measure was kept and deleted since. Measure it again to keep it.")
        return self

    @staticmethod
    def held(session: Session, measure_id: uuid.UUID) -> Measure:
        """A measure, withdrawn or not, that stays as it is until the transaction ends.

        Raises:
            NotFound: there is none.
        """
        of = session.scalar(sa.select(Measure.lesion_id).where(Measure.id == measure_id))
        if of is None:
            raise NotFound("There is no such measure.")
        Lesion.held(session, of)  # the lesion first, as who moves its box does
        return session.get_one(Measure, measure_id, with_for_update=True, populate_existing=True)

    @staticmethod
    def of_lesions(
        session: Session, lesions: Sequence[uuid.UUID]
    ) -> defaultdict[uuid.UUID, list[Measure]]:
        """Those of each of these lesions that stand, in the order they were kept, in one query."""
        found: defaultdict[uuid.UUID, list[Measure]] = defaultdict(list)
        for one in session.scalars(
            sa.select(Measure)
            .options(joinedload(Measure.by), joinedload(Measure.image))
            .where(Measure.lesion_id.in_(lesions), Measure.withdrawn_at.is_(None))
            .order_by(Measure.created_at, Measure.id)
        ):
            found[one.lesion_id].append(one)
        return found

    def may_be_withdrawn_by(self, user: User) -> bool:
        """Whether it is theirs to delete."""
        return self.by_id == user.id or user.may("admin")

    def withdraw(self, session: Session, actor: User) -> None:
        """Delete it from the lesion; the row stays in the record.

        Raises:
            Forbidden: it is not theirs.
        """
        self._refuse_other(actor, "delete")
        if self.withdrawn_at is None:  # sent again: it is gone already
            self.withdrawn_at, self.withdrawn_by_id = now(), actor.id
            Event.record(session, actor.name, "measure deleted", str(self.id))

    def restore(self, session: Session, actor: User) -> None:
        """Bring it back.

        Raises:
            Forbidden: it is not theirs.
        """
        self._refuse_other(actor, "bring back")
        if self.withdrawn_at is not None:
            self.withdrawn_at = self.withdrawn_by_id = None
            Event.record(session, actor.name, "measure brought back", str(self.id))

    def _refuse_other(self, actor: User, act: str) -> None:
        if not self.may_be_withdrawn_by(actor):
            raise Forbidden(
                f"Only the person who kept this measure, or an administrator, can {act} it. "
                "Nothing was changed."
            )

    @property
    def says(self) -> tuple[str, ...]:
        """What it says, in lines, as the viewer writes them beside it."""
        if self.px is not None:
            return Length(self.px, self.mm).says()
        if self.n is None or self.mean is None or self.low is None or self.high is None:
            raise RulerError("The measure has neither a length nor values.")  # refused by a check
        found = Values(self.n, self.mean, self.sd, self.low, self.high, self.mm2)
        return found.says(calibrated=self.image.calibrated)
