"""Lesions that DICOM objects mark: a segmentation, structure set, report or presentation state.

Such an object comes by the same doors as images (`Case.receive` calls `receive` here). What of it
is kept are its regions: where they lie, what they are called without what names the patient, and
mapped UIDs; never the object. A region whose images are not here waits, and marks when they come.
Each region of an object marks once; one that marks nothing is kept with the reason. What waited too
long goes (`Marking.give_up`); the object can be sent again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import (
    Mapped,
    Session,
    contains_eager,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)

from app.db import Base, now
from app.errors import Unreadable
from app.models.cases.case import (
    Case,
    Image,
    MarksReceived,
    Receipt,
    Sender,
    Series,
    after_images,
    keyed,
    pseudonymised,
)
from app.models.cases.lesion import Lesion, Pen
from app.models.cases.uids import mapped
from app.models.ground.event import Event
from app.uploads.parcel import ParcelMarking, Refusal, RefusalCode
from ml.ground.errors import HepaticaError
from ml.images.roi import Box
from ml.marks.region import PLANE, MarkError, Place, Placed, Region, Seen
from ml.marks.region import Marking as Found

SAME_PX = 1.0
"""A box whose edges all lie within so many pixels of a lesion's is that lesion's."""

_AT_ONCE = 500
"""Images that are asked after at once."""

_WAITS = "Its images are not here yet; it marks them when they come."
_GIVEN_UP = "its images did not come within the time that marks wait. Send it again after them."


class Marking(Base):
    """A DICOM object that marks lesions in a study; its study may be here or not.

    ``waiting``: regions whose images are not all here, as JSON of `ml.marks.region.Region` under
    this installation's UIDs.
    """

    __tablename__ = "marking"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    uid: Mapped[str] = mapped_column(sa.String(64), unique=True)
    study_uid: Mapped[str] = mapped_column(sa.String(64), index=True)
    """The UID under which its case leaves (`Case.uid`), whether the case is here or not."""
    kind: Mapped[str] = mapped_column(sa.String(30))
    patient_hmac: Mapped[str | None] = mapped_column(sa.String(64))
    source_hmac: Mapped[str] = mapped_column(sa.String(64))
    content_hmac: Mapped[str] = mapped_column(sa.String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(sa.String(64))
    waiting: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON, default=list)
    sent_by: Mapped[str] = mapped_column(sa.String(100))
    created_at: Mapped[datetime] = mapped_column(default=now)

    marks: Mapped[list[Mark]] = relationship(
        back_populates="marking", order_by="Mark.number, Mark.part", cascade="all, delete-orphan"
    )

    @classmethod
    def _is_waiting(cls) -> sa.ColumnElement[bool]:
        """For a WHERE: regions of it wait."""
        return sa.cast(cls.waiting, sa.Text) != "[]"

    @staticmethod
    def of_case(session: Session, case: Case) -> list[Marking]:
        """The objects that mark, or should mark, lesions of a case, in the order they came."""
        return list(
            session.scalars(
                sa.select(Marking)
                .options(joinedload(Marking.marks).joinedload(Mark.lesion))
                .where(Marking.study_uid == case.uid)
                .order_by(Marking.created_at, Marking.id)
            ).unique()
        )

    @staticmethod
    def waiting_for(session: Session, case: Case) -> list[Marking]:
        """Those with regions that wait for images of a case, in the order they came."""
        return list(
            session.scalars(
                sa.select(Marking)
                .where(Marking.study_uid == case.uid, Marking._is_waiting())
                .order_by(Marking.created_at, Marking.id)
            )
        )

    @staticmethod
    def give_up(session: Session, days: float, actor: str) -> int:
        """Wait no longer for what did not come within so many days; of how many objects.

        An object that marked nothing goes whole; of any other its regions are kept as such that
        mark nothing. Each is an Event. Sent again, they wait anew.
        """
        before = now() - timedelta(days=days)
        found = session.scalars(
            sa.select(Marking)
            .options(selectinload(Marking.marks))
            .where(Marking.created_at < before, Marking._is_waiting())
            .order_by(Marking.created_at, Marking.id)
            .limit(_AT_ONCE)
        ).all()
        for marking in found:
            regions = [Region.of_dict(told) for told in marking.waiting]
            Event.record(
                session, actor, "marks given up", str(marking.id), regions=len(regions),
                days=days,
            )  # fmt: skip
            if any(mark.lesion_id for mark in marking.marks):
                for region in regions:
                    marking._keep(region, _GIVEN_UP)
                marking.waiting = []
            else:
                session.delete(marking)
        session.flush()
        return len(found)

    def _wait_anew(self, session: Session, regions: Sequence[Region]) -> None:
        """Sent again: the regions that were given up wait once more."""
        given_up = [mark for mark in self.marks if mark.reason == _GIVEN_UP]
        if not given_up:
            return
        numbers = {mark.number for mark in given_up}
        for mark in given_up:
            self.marks.remove(mark)
        session.flush()  # new ones may have their numbers
        self.waiting = [one.to_dict() for one in regions if one.number in numbers]
        self.created_at = now()

    def settle(self, session: Session, case: Case) -> int:
        """Mark what can be marked by now; how many lesions were marked or found.

        Args:
            case: of its study.
        """
        if self.patient_hmac and case.patient_hmac and self.patient_hmac != case.patient_hmac:
            return self._refuse_all(session, "it names another patient than the case's images.")
        regions = [Region.of_dict(told) for told in self.waiting]
        here = _images(session, regions)
        pen = Pen.of(session, case.id)
        standing = list(Lesion.standing(session, case.id))
        still, marked = [], 0
        for told, region in zip(self.waiting, regions, strict=True):
            try:
                images = _of_region(case, region, here)
                if images is None:
                    still.append(told)
                    continue
                seen = {place: _seen(image) for place, image in images.items()}
                placed = region.placed(seen.__getitem__)
            except HepaticaError as error:
                self._keep(region, str(error))
                continue
            for part, one in enumerate(placed, 1):
                marked += self._mark(pen, standing, region, part, images[one.place], one)
        self.waiting = still
        session.flush()
        return marked

    def _mark(
        self,
        pen: Pen,
        standing: list[Lesion],
        region: Region,
        part: int,
        image: Image,
        placed: Placed,
    ) -> int:
        """``standing``: lesions on the images; a new one is put there."""
        known = _at(standing, image, placed.box)
        try:
            lesion = known or pen.mark(image, placed.box, None, self.sent_by)
        except HepaticaError as error:
            self._keep(region, str(error), part)
            return 0
        if known is None:
            standing.append(lesion)
            image.series.stirred_at = now()
        mark = _row(region, part)
        mark.lesion_id, mark.known = lesion.id, known is not None
        mark.diameter_mm = placed.diameter_mm
        self.marks.append(mark)
        return 1

    def _keep(self, region: Region, reason: str, part: int = 1) -> None:
        """Note that a region marks nothing, and why."""
        mark = _row(region, part)
        mark.reason = reason[:500]
        self.marks.append(mark)

    def _refuse_all(self, session: Session, reason: str) -> int:
        for told in self.waiting:
            self._keep(Region.of_dict(told), reason)
        self.waiting = []
        session.flush()
        return 0


class Mark(Base):
    """What one region of an object came to: a lesion, or the reason why none.

    ``known``: the lesion was marked there before, by a person or another object.
    """

    __tablename__ = "mark"
    __table_args__ = (sa.UniqueConstraint("marking_id", "number", "part"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    marking_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("marking.id", ondelete="CASCADE"))
    number: Mapped[int]
    part: Mapped[int]
    label: Mapped[str] = mapped_column(sa.String(64))
    tracking_id: Mapped[str] = mapped_column(sa.String(64))
    tracking_uid: Mapped[str] = mapped_column(sa.String(64))
    form: Mapped[str] = mapped_column(sa.String(10))
    diameter_mm: Mapped[float | None]
    lesion_id: Mapped[uuid.UUID | None] = mapped_column(
        sa.ForeignKey("lesion.id", ondelete="CASCADE"), index=True
    )
    known: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str] = mapped_column(sa.String(500), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)

    marking: Mapped[Marking] = relationship(back_populates="marks")
    lesion: Mapped[Lesion | None] = relationship()

    @staticmethod
    def of_lesion(session: Session, lesion_id: uuid.UUID) -> list[Mark]:
        """The marks of a lesion, the first first."""
        return list(
            session.scalars(
                sa.select(Mark)
                .options(joinedload(Mark.marking))
                .where(Mark.lesion_id == lesion_id)
                .order_by(Mark.created_at, Mark.id)
            )
        )

    @property
    def words(self) -> str:
        """Where the mark came from: "segmentation, “Lesion 1”"."""
        name = self.label or self.tracking_id
        told = f"{self.marking.kind}, “{name}”" if name else self.marking.kind
        if self.diameter_mm is not None:
            told += f", a circle of {self.diameter_mm:.1f} mm"
        return told


def receive(session: Session, items: Sequence[ParcelMarking], sender: Sender, receipt: Receipt,
            cases: Iterable[uuid.UUID], actor: str) -> None:  # fmt: skip
    """Take in objects that mark lesions, then let all that waited for these cases mark.

    Args:
        items: the objects of an upload, whose images were taken in before.
        receipt: where it is noted what became of each.
        cases: whose images came.
    """
    for item in items:
        try:
            with session.begin_nested():
                marking, is_new = _of(session, item, sender, actor)
        except Unreadable as refusal:
            code = refusal.more.get("code", RefusalCode.UNUSABLE)
            reason = f"{item.file}: {refusal.detail}"
            receipt.refused.append(Refusal(item.file, reason, code, item.identity))
        else:
            case = _case(session, marking) if marking else None
            if marking and case:
                marking.settle(session, case)
            receipt.marks.append(_told(item, marking, case, is_new))
            if marking and is_new:
                Event.record(session, actor, "marks received", str(marking.id))
    for case in session.scalars(sa.select(Case).where(Case.id.in_(list(cases)))).all():
        for marking in Marking.waiting_for(session, case):
            marking.settle(session, case)


after_images(receive)


def _of(
    session: Session, item: ParcelMarking, sender: Sender, actor: str
) -> tuple[Marking | None, bool]:
    """The row of an object, and whether it is new; None for one that was made here.

    Raises:
        Unreadable: it marks nothing at all, belongs to no study, or its UID is another object's.
    """
    found = item.marking
    if found.ours:
        return None, False
    if not (found.sop_uid and found.study_uid):
        raise Unreadable("it has no SOP or Study Instance UID, so it belongs to no images.")
    regions = _own_uids(session, found.regions, sender.key)
    if all(one.flaw for one in regions):
        raise Unreadable(_flaws(regions))
    own_study = session.scalar(sa.select(Case.uid).where(Case.uid == found.study_uid))
    # without what earlier versions did not keep: what they took in is the same again
    told = [{word: x for word, x in one.to_dict().items() if word != PLANE} for one in regions]
    content = keyed(json.dumps(told, sort_keys=True), sender.key)
    source = keyed(item.identity.data_set, sender.key)
    syntax = item.identity.transfer_syntax_uid[:64]
    uid = mapped(found.sop_uid, sender.key)
    known = session.scalars(sa.select(Marking).where(Marking.uid == uid)).one_or_none()
    if known is not None:
        same = known.source_hmac == source or (
            known.transfer_syntax_uid != syntax and known.content_hmac == content
        )
        if not same:
            raise Unreadable(
                "its SOP Instance UID belongs to an object of other bytes that marks lesions "
                "here, which is kept. Give every object a UID of its own.",
                code=RefusalCode.TAKEN,
            )
        known._wait_anew(session, regions)
        return known, False
    marking = Marking(
        uid=uid,
        study_uid=own_study or mapped(found.study_uid, sender.key),
        kind=found.kind.value,
        patient_hmac=None if own_study else _patient(found, sender),
        source_hmac=source,
        content_hmac=content,
        transfer_syntax_uid=syntax,
        waiting=[one.to_dict() for one in regions if not one.flaw],
        sent_by=actor[:100],
    )
    session.add(marking)
    session.flush()
    for region in regions:
        if region.flaw:
            marking._keep(region, region.flaw)
    session.flush()
    return marking, True


def _own_uids(session: Session, regions: Sequence[Region], key: bytes) -> list[Region]:
    """Regions numbered through, under this installation's UIDs for their images.

    An object may have been drawn on what was fetched from here: then they are ours already.
    """
    named = {place.sop_uid for one in regions for place in one.places}
    ours = set(session.scalars(sa.select(Image.uid).where(Image.uid.in_(named))))

    def own(place: Place) -> Place:
        if place.sop_uid in ours:
            return place
        frame = place.frame
        return Place(mapped(place.sop_uid if frame == 1 else f"{place.sop_uid} frame {frame}", key))

    return [
        replace(
            one,
            number=number,
            places=tuple(own(place) for place in one.places),
            tracking_uid=mapped(one.tracking_uid, key) if one.tracking_uid else "",
        )
        for number, one in enumerate(regions, 1)
    ]


def _patient(found: Found, sender: Sender) -> str | None:
    return pseudonymised(found.patient_id, sender.key)[0] if found.patient_id else None


def _case(session: Session, marking: Marking) -> Case | None:
    return session.scalars(sa.select(Case).where(Case.uid == marking.study_uid)).one_or_none()


def _seen(image: Image) -> Seen:
    return Seen(image.size, image.spacing_mm, image.orientation, image.position)


def _images(session: Session, regions: Sequence[Region]) -> dict[str, tuple[Image, uuid.UUID]]:
    """The images of regions that are here, by their UIDs, each with the id of its case."""
    named = sorted({place.sop_uid for region in regions for place in region.places})
    found: dict[str, tuple[Image, uuid.UUID]] = {}
    for first in range(0, len(named), _AT_ONCE):
        rows = session.execute(
            sa.select(Image, Series.case_id)
            .join(Image.series)
            .options(contains_eager(Image.series))
            .where(Image.uid.in_(named[first : first + _AT_ONCE]))
        )
        found |= {str(image.uid): (image, case_id) for image, case_id in rows}
    return found


def _of_region(
    case: Case, region: Region, here: Mapping[str, tuple[Image, uuid.UUID]]
) -> dict[Place, Image] | None:
    """The images of a region by their places; None while some are not here.

    Raises:
        MarkError: it names an image of another study.
    """
    named = {place.sop_uid for place in region.places}
    if any(here[uid][1] != case.id for uid in named & here.keys()):
        raise MarkError("it names an image of another study than its own.")
    if not named or named - here.keys():
        return None
    return {place: here[place.sop_uid][0] for place in region.places}


def _at(standing: Sequence[Lesion], image: Image, box: Box) -> Lesion | None:
    """The lesion that stands at this very place."""
    for one in standing:
        edges = (
            one.x - box.x,
            one.y - box.y,
            one.x + one.width - box.x - box.width,
            one.y + one.height - box.y - box.height,
        )
        if one.image_id == image.id and all(abs(edge) <= SAME_PX for edge in edges):
            return one
    return None


def _row(region: Region, part: int) -> Mark:
    return Mark(
        number=region.number,
        part=part,
        label=region.label,
        tracking_id=region.tracking_id,
        tracking_uid=region.tracking_uid,
        form=region.form.value,
        known=False,
        reason="",
    )


def _flaws(regions: Sequence[Region]) -> str:
    told = [f"“{one.label}”: {one.flaw}" if one.label else one.flaw for one in regions]
    return " ".join(dict.fromkeys(told))[:1000] or "it marks nothing."


def _told(
    item: ParcelMarking, marking: Marking | None, case: Case | None, is_new: bool
) -> MarksReceived:
    """What became of an object, in words."""
    if marking is None:
        words = ["It was made here; nothing new is in it."]
        return MarksReceived(item.file, item.identity, True, None, 0, tuple(words))
    lesions = [one for one in marking.marks if one.lesion_id]
    words = []
    if not is_new:
        words.append("It is here already.")
    if lesions:
        words.append(f"It marks {len(lesions)} lesion{'s' if len(lesions) > 1 else ''}.")
    known = sum(one.known for one in lesions)
    if known:
        words.append(f"{known} of them {'were' if known > 1 else 'was'} marked there before.")
    if marking.waiting:
        words.append(_WAITS)
    words += [_reason(one) for one in marking.marks if one.reason]
    case_id = case.id if case else None
    return MarksReceived(item.file, item.identity, not is_new, case_id, len(lesions), tuple(words))


def _reason(mark: Mark) -> str:
    name = f"“{mark.label}”" if mark.label else f"Region {mark.number}"
    return f"{name} marks nothing: {mark.reason}"
