"""Lesions: findings marked by a box on an image. A lesion owns its ROI."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from app.db import Base, in_parts, now, serialise
from app.errors import Conflict, Forbidden, NotFound
from app.models.cases.case import Case, Image, Series, being_deleted, refuse_leaving
from app.models.ground.event import Event
from app.models.people.user import User
from ml.images import roi
from ml.images.greys import Chosen
from ml.images.roi import Box, Roi

_REPLACED = "lesion replaced"


class Shape(StrEnum):
    """How a lesion was marked, and is drawn; its ROI is that of the box around it."""

    BOX = "box"
    CIRCLE = "circle"


@dataclass(frozen=True)
class Reach:
    """How far a person may change a lesion: move its box, withdraw it; ``why`` not further."""

    move: bool
    withdraw: bool
    why: str


class Lesion(Base):
    """A finding marked by a box on an Image. Withdrawn ones stay, with who and when.

    ``number``: one lesion of a case that stands has it; a box that took the place of another has
    the same, so a finding is called the same however often its box was moved.

    ``reviewed``: somebody gave a class; a Review is never taken back, so neither is this.
    """

    __tablename__ = "lesion"
    __table_args__ = (
        sa.Index(
            "uq_lesion_standing_number",
            "case_id",
            "number",
            unique=True,
            sqlite_where=sa.text("withdrawn_at IS NULL"),
            postgresql_where=sa.text("withdrawn_at IS NULL"),
        ),
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
    shape: Mapped[Shape] = mapped_column(sa.String(10), default=Shape.BOX, server_default="box")
    marked_by_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("user.id"))
    """None where a DICOM object marked it (`app.models.cases.marking`)."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("user.id"))
    reviewed: Mapped[bool] = mapped_column(default=False)

    image: Mapped[Image] = relationship()
    marked_by: Mapped[User | None] = relationship(foreign_keys=[marked_by_id])
    withdrawn_by: Mapped[User | None] = relationship(foreign_keys=[withdrawn_by_id])

    @staticmethod
    def require(session: Session, lesion_id: uuid.UUID, *, hold: bool = False) -> Lesion:
        """A lesion that stands, with its image, series and case.

        Args:
            hold: keep it as it is until the transaction ends, so that what is written about it
                and its withdrawal cannot cross.

        Raises:
            NotFound: there is none, or it was withdrawn; who withdrew it and what took its place
                is said, and in ``more`` under ``withdrawn``.
        """
        if hold:
            Lesion._hold_case(session, lesion_id)
        query = (
            sa.select(Lesion)
            .options(
                joinedload(Lesion.image).joinedload(Image.series).joinedload(Series.case),
                joinedload(Lesion.marked_by),
            )
            .where(Lesion.id == lesion_id, Lesion.withdrawn_at.is_(None))
        )
        if hold:
            query = query.with_for_update(of=Lesion)
        lesion = session.execute(query).scalar_one_or_none()
        if lesion is None:
            gone = session.get(Lesion, lesion_id)
            if gone is None:
                raise NotFound("There is no such lesion.")
            raise gone._gone(session)
        return lesion

    @staticmethod
    def _hold_case(session: Session, lesion_id: uuid.UUID) -> None:
        """The case first, as who marks does: else two could wait for each other."""
        of = sa.select(Lesion.case_id).where(Lesion.id == lesion_id).scalar_subquery()
        session.execute(sa.select(Case.id).where(Case.id == of).with_for_update())

    @staticmethod
    def held(session: Session, lesion_id: uuid.UUID) -> Lesion:
        """A lesion, withdrawn or not, that stays as it is until the transaction ends.

        Raises:
            NotFound: there is none.
            Conflict: its case is being deleted, and would take along what is changed now.
        """
        Lesion._hold_case(session, lesion_id)
        lesion = session.get(Lesion, lesion_id, with_for_update=True)
        if lesion is None:
            raise NotFound("There is no such lesion.")
        refuse_leaving(session, lesion.case_id)
        return lesion

    @staticmethod
    def refuse_gone(session: Session, lesions: Collection[uuid.UUID], otherwise: str) -> None:
        """Nothing where no deletion has these lesions, and none begins until the transaction ends.

        What was cut from them in an earlier transaction can be stored in this one: a deletion that
        begins afterwards finds it.

        Args:
            otherwise: what was not done, and what to do, as sentences.

        Raises:
            Conflict: some of them are being deleted, or were.
        """
        serialise(session, "erasure")
        leaving, here = being_deleted(session), 0
        for some in in_parts(sorted(lesions)):
            cases = session.scalars(sa.select(Lesion.case_id).where(Lesion.id.in_(some)))
            here += sum(case not in leaving for case in cases)
        if gone := len(lesions) - here:
            what = "1 of the lesions is" if gone == 1 else f"{gone} of the lesions are"
            raise Conflict(f"{what} being deleted with all of their case, or were. {otherwise}")

    @staticmethod
    def withdrawn(session: Session, case_id: uuid.UUID, lesion_id: uuid.UUID) -> Lesion | None:
        """The lesion of that case under this id, if it was withdrawn."""
        lesion = session.get(Lesion, lesion_id)
        if lesion is None or lesion.case_id != case_id or lesion.withdrawn_at is None:
            return None
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

    def at_its_place(self, session: Session) -> list[Lesion]:
        """Other lesions of the case, withdrawn ones too, that show what this one shows."""
        others = (
            sa.select(Lesion)
            .options(joinedload(Lesion.image))
            .where(Lesion.case_id == self.case_id, Lesion.id != self.id)
        )
        return [
            one
            for one in session.scalars(others)
            if self.lies_at(one.image, one.box) or one.lies_at(self.image, self.box)
        ]

    def lies_at(self, image: Image, box: Box | None) -> bool:
        """Whether a box on an image (None: all of it) shows what this lesion's box shows.

        They lie over each other, on one slice, on slices next to each other, or on slices of one
        series that are no further apart than half of the lesion's width.
        """
        mine = self.image
        if image.series_id != mine.series_id or (box is not None and not self.box.meets(box)):
            return False
        if image.id == mine.id:
            return True
        number, other = mine.instance_number, image.instance_number
        if number is not None and other is not None and abs(number - other) <= 1:
            return True
        width, here, there = self.diameter_mm, mine.position_mm, image.position_mm
        if width is None or here is None or there is None:
            return False
        return abs(here - there) <= width / 2

    @staticmethod
    def standing(session: Session, case_id: uuid.UUID) -> Sequence[Lesion]:
        """The same without whoever marked them, and without their images."""
        return session.scalars(
            sa.select(Lesion)
            .where(Lesion.case_id == case_id, Lesion.withdrawn_at.is_(None))
            .order_by(Lesion.number)
        ).all()

    @staticmethod
    def key_image(session: Session, case_id: uuid.UUID) -> Image:
        """The slice that stands for a case: that of its first lesion, else the middle of its
        longest series.

        Raises:
            NotFound: the case has no image.
        """
        marked = (
            sa.select(Image)
            .join(Lesion, Lesion.image_id == Image.id)
            .where(Lesion.case_id == case_id, Lesion.withdrawn_at.is_(None))
            .order_by(Lesion.number)
            .limit(1)
        )
        found = session.scalars(marked).one_or_none()
        if found is not None:
            return found
        number = sa.func.count()
        longest = session.execute(
            sa.select(Image.series_id, number)
            .join(Series, Series.id == Image.series_id)
            .where(Series.case_id == case_id)
            .group_by(Image.series_id)
            .order_by(number.desc(), Image.series_id)
            .limit(1)
        ).one_or_none()
        if longest is None:
            raise NotFound("The case has no image.")
        middle = (
            sa.select(Image)
            .where(Image.series_id == longest[0])
            .order_by(Image.position_mm, Image.instance_number, Image.created_at, Image.id)
            .offset(longest[1] // 2)
            .limit(1)
        )
        return session.scalars(middle).one()

    @staticmethod
    def mark(
        session: Session,
        image: Image,
        box: Box,
        marker: User | None,
        *,
        lesion_id: uuid.UUID | None = None,
        replaces: uuid.UUID | None = None,
        shape: Shape = Shape.BOX,
        actor: str = "",
    ) -> Lesion:
        """Mark a lesion on an image.

        Args:
            shape: how it was drawn; of a circle ``box`` is the one around it.
            marker: None where a DICOM object marks it.
            actor: who does it, for the record; by default the marker.
            lesion_id: the id that it gets. The same box sent again under the same id, because the
                answer to the first was lost, is the same lesion.
            replaces: the lesion that this box takes the place of; it is withdrawn in the same
                transaction, and its number is that of the new one.

        Raises:
            RoiError: the box gives no ROI on this image (checked before anything is stored).
            Conflict: the id is that of another lesion, or of one that was withdrawn; or the case is
                being deleted.
            NotFound, Forbidden: ``replaces`` names no lesion that stands, or one that ``marker``
                may not move.
        """
        roi.check(box, image.size, image.spacing_mm)
        pen = Pen.of(session, image.series.case_id)
        known = session.get(Lesion, lesion_id) if lesion_id is not None else None
        if known is not None:
            return known._sent_again(session, image, box, marker)
        same = Lesion._same(session, image, box, marker) if lesion_id is None else None
        if same is not None:
            return same
        old = None if replaces is None else Lesion.require(session, replaces, hold=True)
        if old is not None and marker is not None:
            old._refuse_move(session, image, marker)
        told_by = actor or (marker.name if marker else "nobody")
        number = None
        if old is not None and marker is not None:
            number = old.number
            old._leave(session, marker)
            session.flush()  # two that stand never have one number
        lesion = pen.mark(image, box, marker, told_by, lesion_id, number=number)
        lesion.shape = shape
        session.flush()
        if old is not None and marker is not None:
            Event.record(session, marker.name, _REPLACED, str(old.id), by=str(lesion.id))
            measure = Base.metadata.tables["measure"]  # its module imports this one
            goes_on = sa.update(measure).where(measure.c.lesion_id == old.id)
            session.execute(goes_on.values(lesion_id=lesion.id))
        return lesion

    @staticmethod
    def _same(session: Session, image: Image, box: Box, marker: User | None) -> Lesion | None:
        """The lesion that a form without an id marked already, such as by a double click."""
        return session.scalars(
            sa.select(Lesion).where(
                Lesion.image_id == image.id,
                Lesion.marked_by_id.is_not_distinct_from(marker.id if marker else None),
                Lesion.withdrawn_at.is_(None),
                (Lesion.x == box.x) & (Lesion.y == box.y),
                (Lesion.width == box.width) & (Lesion.height == box.height),
            )
        ).first()

    @property
    def box(self) -> Box:
        """The marked rectangle, in pixels of the image."""
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
        grey_range: Chosen | None = None,
    ) -> Roi:
        """The ROI that a network with this window, or range of grey values, sees."""
        return roi.make(self.image.slice(session), self.box, window_hu, grey_range=grey_range)

    def reach_of(self, session: Session, user: User) -> Reach:
        """How far ``user`` may change this lesion.

        A colleague's class was given for this box, so the person who marked it can neither move
        nor withdraw it from then on; an administrator can still withdraw it. That a colleague
        has given a class may be known (the work list says "reviewed"); which, this never tells.
        """
        review = Base.metadata.tables["review"]  # its module imports this one
        reviewers = set(
            session.scalars(sa.select(review.c.by_id).where(review.c.lesion_id == self.id))
        )
        admin = user.may("admin")
        # what an object marked, no person did: whoever reads may put it right
        if self.marked_by_id not in (user.id, None) and not admin:
            return Reach(
                False,
                False,
                f"Only the person who marked lesion {self.number}, or an administrator, can move "
                "or withdraw it.",
            )
        if reviewers - {user.id} and not admin:
            return Reach(
                False,
                False,
                f"A colleague has given a class for lesion {self.number}, so the person who "
                "marked it can no longer move or withdraw it. An administrator can withdraw it."
                if self.marked_by_id is not None
                else f"A colleague has given a class for lesion {self.number}, so it is neither "
                "moved nor withdrawn any more. An administrator can withdraw it.",
            )
        if reviewers:
            return Reach(
                False,
                True,
                f"A class was given for the box of lesion {self.number}, so it is not moved any "
                "more. Withdraw the lesion and mark it anew to change the box.",
            )
        return Reach(True, True, "")

    def withdraw(self, session: Session, actor: User) -> None:
        """Take the lesion back; its reviews and predictions stay in the record.

        Raises:
            Conflict: it was withdrawn before.
            Forbidden: it is not theirs to withdraw.
        """
        if self.withdrawn_at is not None:
            raise Conflict(self._gone(session).detail)
        reach = self.reach_of(session, actor)
        if not reach.withdraw:
            raise Forbidden(f"{reach.why} Nothing was changed.")
        self._leave(session, actor)

    def restore(self, session: Session, actor: User) -> None:
        """Take its withdrawal back: it stands again, with what was said of it.

        Raises:
            Conflict: it stands, or another box took its place.
            Forbidden: somebody else withdrew it.
        """
        if self.withdrawn_at is None:
            raise Conflict(f"Lesion {self.number} is not withdrawn. Nothing was changed.")
        if self.withdrawn_by_id != actor.id and not actor.may("admin"):
            raise Forbidden(
                f"{self.farewell(session)} Only the person who withdrew it, or an administrator, "
                "can bring it back. Nothing was changed."
            )
        if self.replacement(session) is not None:
            raise Conflict(f"{self.farewell(session)} Nothing was changed.")
        self.withdrawn_at = self.withdrawn_by_id = None
        Event.record(session, actor.name, "lesion withdrawal taken back", str(self.id))

    def replacement(self, session: Session) -> Lesion | None:
        """The lesion whose box took this one's place, if it was replaced."""
        told = session.scalars(
            sa.select(Event.detail).where(Event.kind == _REPLACED, Event.subject == str(self.id))
        ).first()
        return None if told is None else session.get(Lesion, uuid.UUID(told["by"]))

    def _leave(self, session: Session, actor: User) -> None:
        self.withdrawn_at = now()
        self.withdrawn_by_id = actor.id
        Event.record(session, actor.name, "lesion withdrawn", str(self.id))

    def farewell(self, session: Session) -> str:
        """Who withdrew this lesion and when, and what took its place."""
        at = f" at {self.withdrawn_at:%Y-%m-%d %H:%M} UTC" if self.withdrawn_at else ""
        if self.withdrawn_by is None:  # nobody did: a deletion was begun
            return f"Lesion {self.number} was withdrawn{at}, since its case is being deleted."
        by = self.withdrawn_by.name
        new = self.replacement(session)
        if new is None:
            return f"Lesion {self.number} was withdrawn by {by}{at}."
        if new.number == self.number:
            return f"The box of lesion {self.number} was moved by {by}{at}."
        return f"Lesion {self.number} was replaced by lesion {new.number} ({by}{at})."

    def _gone(self, session: Session) -> NotFound:
        new = self.replacement(session)
        return NotFound(
            self.farewell(session),
            withdrawn={"number": self.number, "replaced_by": str(new.id) if new else None},
        )

    def _sent_again(self, session: Session, image: Image, box: Box, marker: User | None) -> Lesion:
        whose = marker.id if marker else None
        same = self.image_id == image.id and self.box == box and self.marked_by_id == whose
        if not same:
            raise Conflict("Another lesion has this id. Draw the box again.")
        if self.withdrawn_at is not None:
            raise Conflict(f"{self.farewell(session)} It was not marked again.")
        return self

    def _refuse_move(self, session: Session, image: Image, marker: User) -> None:
        if self.image_id != image.id:
            raise Conflict(
                f"Lesion {self.number} is on another slice; a box takes the place of one on its "
                "own slice only. Nothing was changed."
            )
        reach = self.reach_of(session, marker)
        if not reach.move:
            raise Forbidden(f"{reach.why} Nothing was changed.")


@dataclass
class Pen:
    """Numbers the lesions of a case, of which one transaction at a time marks some."""

    session: Session
    case_id: uuid.UUID
    _highest: int

    @classmethod
    def of(cls, session: Session, case_id: uuid.UUID) -> Pen:
        """For a case; two that mark at once get two numbers.

        Raises:
            Conflict: the case is being deleted, and would take along what is marked now.
        """
        session.execute(sa.select(Case.id).where(Case.id == case_id).with_for_update())
        refuse_leaving(session, case_id)
        highest = sa.select(sa.func.max(Lesion.number)).where(Lesion.case_id == case_id)
        return cls(session, case_id, session.execute(highest).scalar_one() or 0)

    def mark(
        self,
        image: Image,
        box: Box,
        marker: User | None,
        actor: str,
        lesion_id: uuid.UUID | None = None,
        *,
        number: int | None = None,
    ) -> Lesion:
        """A new lesion, written with the session's next flush.

        Args:
            number: that of the lesion whose place it takes; by default the next one.

        Raises:
            BoxError: the box gives no ROI on this image.
        """
        roi.check(box, image.size, image.spacing_mm)
        if number is None:
            self._highest += 1
        lesion = Lesion(
            id=lesion_id or uuid.uuid4(),
            case_id=self.case_id,
            image=image,
            image_id=image.id,
            number=number or self._highest,
            x=box.x,
            y=box.y,
            width=box.width,
            height=box.height,
            marked_by_id=marker.id if marker else None,
        )
        self.session.add(lesion)
        Event.record(self.session, actor, "lesion marked", str(lesion.id))
        return lesion
