"""Cases, their series and images: what stays of an upload.

Kept are int16 HU (or grey values) and allow-listed tags; never the original file, a name, a date, a
PatientID or a UID. PatientID and UIDs become HMACs under the installation's key, so that a
patient's examinations belong together here and nowhere else, and what comes again is known.

Every case, series and image has a UID of its own (``uid``), under which it may leave: what is
rebuilt from kept pixels is not the object that was sent (`app.models.cases.uids`). Where an
administrator allowed it, the way back to the sender is kept, sealed (`app.models.cases.way_back`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
import zlib
from base64 import b32encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from app.db import Base, Word, in_parts, now, serialise
from app.errors import Conflict, NotFound, Unreadable
from app.models.cases.dates import all_moved, days_of
from app.models.cases.entry import STRICT, Entry
from app.models.cases.uids import kept, mapped
from app.models.cases.way_back import Examination, SourceObject
from app.models.ground.blob import Blob
from app.models.ground.event import Event
from app.models.people.user import User
from app.uploads.parcel import (
    PackedSlice,
    Parcel,
    ParcelFile,
    ParcelMarking,
    Refusal,
    RefusalCode,
)
from ml.images import description, voi
from ml.images.burned_in import SUSPECTED
from ml.images.ct_slice import CTSlice, ImageKind
from ml.images.dicom import Identity
from ml.images.frame import BURNED_IN
from ml.images.orientation import Edges, coordinate, edges, middle_mm
from ml.images.stack import Placement, Stack, mixture, stacks
from ml.images.voi import Window

PHASES = ("portal", "other", "unknown")
"""Contrast phases that an uploader can state; the networks know the portal phase only."""

MOST_LETTERS = 40
"""Of a pseudonym."""
PSEUDONYM = re.compile(rf"[\w .:+-]{{1,{MOST_LETTERS}}}")
_PLACEHOLDER = re.compile(
    r"(deident(ified)?|anon(ym(ous|i[sz]ed)?)?|pseudonym(i[sz]ed)?|unknown|none|null|nil|na|no|"
    r"not|available|removed|deleted|redacted|masked|hidden|blank|empty|default|dummy|undefined|"
    r"unspecified|test|patient|subject|id|name)*|0+|x+|123(4(56?)?)?|(?P<digit>\d)(?P=digit){5,}"
)
"""PatientIDs that anonymisers and workstations write for everybody."""
_ACQUIRED = "Acquired"
"""Under this tag lies a keyed digest of the moment of acquisition, which itself is not kept."""
_BY_PSEUDONYM = "pseudonym:"
_ISSUER = "Issuer"
"""Under this tag lies a keyed digest of who gave out the PatientID."""
_PIXELS = "application/vnd.hepatica.pixels+zlib"
PHANTOM_UID = "PhantomUID"
"""Under this tag lies the SOP Instance UID of a phantom: it names the simulated patient, who has no
privacy to lose."""
PICTURE = "picture."
"""How what stands for the SOP Instance UID of a picture begins; its content's digest follows."""
PICTURES = "pictures"
"""Stands for the Series Instance UID of what has none."""

Pixels = npt.NDArray[np.int16] | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Address:
    """The UIDs under which an image can be asked for: this installation's own."""

    study_uid: str
    series_uid: str
    sop_uid: str


@dataclass(frozen=True)
class Accepted:
    """A file that was taken in.

    Attributes:
        known: all of it was here already, and nothing was changed.
        address: of its first frame.
        identity: which object it is; None for pictures.
        contrast_phase: of its case, with what there is to say of it among the warnings.
    """

    file: str
    case_id: uuid.UUID
    warnings: tuple[str, ...]
    known: bool
    address: Address
    identity: Identity | None
    contrast_phase: str
    phase_warning: str | None

    def to_dict(self, root: str) -> dict[str, object]:
        """The JSON form: ``file``, ``case_id``, ``case_url`` below ``root``, ``warnings``,
        ``known``, ``contrast_phase``, ``phase_warning``."""
        return {
            "file": self.file,
            "case_id": str(self.case_id),
            "case_url": f"{root}/cases/{self.case_id}",
            "warnings": list(self.warnings),
            "known": self.known,
            "contrast_phase": self.contrast_phase,
            "phase_warning": self.phase_warning,
        }


@dataclass(frozen=True)
class MarksReceived:
    """An object that marks lesions and was taken in.

    Attributes:
        known: it was here already, or was made here; nothing was changed.
        case_id: whose images it marks; None while none of its study is here.
        lesions: how many it marks by now.
        words: what became of it, as sentences.
    """

    file: str
    identity: Identity
    known: bool
    case_id: uuid.UUID | None
    lesions: int
    words: tuple[str, ...]

    def to_dict(self, root: str) -> dict[str, object]:
        """The JSON form: ``file``, ``case_id``, ``case_url`` below ``root``, ``lesions``,
        ``words``, ``known``."""
        return {
            "file": self.file,
            "case_id": str(self.case_id) if self.case_id else None,
            "case_url": f"{root}/cases/{self.case_id}" if self.case_id else None,
            "lesions": self.lesions,
            "words": list(self.words),
            "known": self.known,
        }


@dataclass
class Receipt:
    """What became of each file of an upload."""

    accepted: list[Accepted] = field(default_factory=list)
    marks: list[MarksReceived] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    @property
    def took(self) -> bool:
        """Whether anything was taken in."""
        return bool(self.accepted or self.marks)

    def to_dict(self, root: str) -> dict[str, object]:
        """The JSON form: ``accepted``, ``marks``, ``refused`` (file, reason, code),
        ``passed_over``; addresses in it are below ``root``."""
        return {
            "accepted": [item.to_dict(root) for item in self.accepted],
            "marks": [item.to_dict(root) for item in self.marks],
            "refused": [
                {"file": item.file, "reason": item.reason, "code": item.code}
                for item in self.refused
            ],
            "passed_over": self.passed_over,
        }


@dataclass(frozen=True)
class Sender:
    """Who uploads, and what they say of the whole upload.

    ``user`` is None where a program does that acts for nobody.
    """

    user: User | None
    contrast_phase: str
    pseudonym: str
    key: bytes
    entry: Entry


_Act = Callable[[Session, Sequence[ParcelMarking], Sender, Receipt, Iterable[uuid.UUID], str], None]
_afterwards: list[_Act] = []


def after_images(act: _Act) -> None:
    """Let ``act`` follow whenever the images of a parcel were stored, in the same transaction.

    For what knows cases and is not known to them: marks that wait for images.
    """
    _afterwards.append(act)


def warning_of(contrast_phase: str) -> str | None:
    """What to say of a phase that is not the one which the networks were trained on."""
    if contrast_phase == "portal":
        return None
    stated = "not known" if contrast_phase == "unknown" else "not portal"
    return (
        f"The contrast phase is {stated}. The networks were trained on portal-phase images; "
        "scores on other phases carry no evidence."
    )


class ReviewState(StrEnum):
    """How far a case is."""

    NO_LESION = "no_lesion"
    AWAITING = "awaiting"
    """With a lesion that nobody has given a class."""
    REVIEWED = "reviewed"


class Case(Base):
    """One pseudonymous patient examination.

    ``slice_count``, ``lesion_count`` (those that stand) and ``review_state`` are kept by triggers
    of the database (migration 0028), so that the work list need not count; a session that wrote
    images, lesions or reviews reads them anew.
    """

    __tablename__ = "case"
    __table_args__ = (
        sa.CheckConstraint("contrast_phase IN ('portal','other','unknown')", name="contrast_phase"),
        # along each of these the work list is walked (`app.models.worklist`)
        sa.Index("ix_case_uploaded", "created_at", "id"),
        sa.Index("ix_case_alphabet", sa.text("lower(pseudonym)"), "created_at", "id"),
        sa.Index("ix_case_contrast_phase", "contrast_phase", "created_at", "id"),
        sa.Index("ix_case_slice_count", "slice_count", "created_at", "id"),
        sa.Index("ix_case_lesion_count", "lesion_count", "created_at", "id"),
        sa.Index("ix_case_review_state", "review_state", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_uid: Mapped[str | None] = mapped_column(sa.String(64), unique=True)
    """The sender's, as a keyed digest (`uids.kept`); None for pictures."""
    uid: Mapped[str | None] = mapped_column(sa.String(64), unique=True)
    patient_hmac: Mapped[str | None] = mapped_column(sa.String(64), index=True)
    pseudonym: Mapped[str] = mapped_column(sa.String(MOST_LETTERS), index=True)
    contrast_phase: Mapped[str] = mapped_column(sa.String(10))
    phantom: Mapped[bool] = mapped_column(default=False)
    uploaded_by_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    slice_count: Mapped[int] = mapped_column(server_default="0")
    lesion_count: Mapped[int] = mapped_column(server_default="0")
    review_state: Mapped[ReviewState] = mapped_column(
        Word(ReviewState, 20), server_default=ReviewState.NO_LESION.value
    )
    study_date: Mapped[str | None] = mapped_column(sa.String(8))
    """YYYYMMDD, moved by the patient's days; None where the door keeps no dates."""
    link: Mapped[bytes | None] = mapped_column(sa.LargeBinary, deferred=True)
    """Patient and study, sealed; None where the door did not allow results to be returned."""

    series: Mapped[list[Series]] = relationship(
        back_populates="case", order_by="Series.created_at", cascade="all, delete-orphan"
    )

    @staticmethod
    def require(session: Session, case_id: uuid.UUID) -> Case:
        """The case with its series and images; NotFound when there is none."""
        case = session.execute(
            sa.select(Case)
            .options(selectinload(Case.series).selectinload(Series.images))
            .where(Case.id == case_id)
        ).scalar_one_or_none()
        if case is None:
            raise NotFound("There is no such case.")
        return case

    @property
    def patient(self) -> str:
        """What stands for the patient wherever patients must be kept apart."""
        return self.patient_hmac or f"{_BY_PSEUDONYM}{self.pseudonym}"

    @staticmethod
    def whose() -> sa.ColumnElement[str]:
        """``patient`` for a SELECT."""
        return sa.func.coalesce(Case.patient_hmac, sa.literal(_BY_PSEUDONYM) + Case.pseudonym)

    @staticmethod
    def is_of_another(session: Session, pseudonym: str, patient_hmac: str | None) -> bool:
        """Whether a case of that pseudonym is known by another PatientID, or by none: two patients
        under one pseudonym could be taken for one."""
        known = sa.select(Case.patient_hmac).where(Case.pseudonym == pseudonym).distinct()
        return any(hmac != patient_hmac for hmac in session.scalars(known))

    @staticmethod
    def others_of_patient(
        session: Session, case: Case, closed: sa.ColumnElement[bool] | None, most: int
    ) -> tuple[list[Case], int]:
        """The newest other cases of the same patient with series and images; how many are closed.

        Args:
            closed: which cases somebody may not see, for a WHERE; None for none.
        """
        same: tuple[sa.ColumnElement[bool], ...] = (
            Case.patient_hmac.is_not_distinct_from(case.patient_hmac),
            Case.id != case.id,
        )
        if case.patient_hmac is None:
            same = (*same, Case.pseudonym == case.pseudonym)
        hidden = 0
        if closed is not None:
            hidden = session.scalar(sa.select(sa.func.count(Case.id)).where(*same, closed)) or 0
            same = (*same, sa.not_(closed))
        found = session.scalars(
            sa.select(Case)
            .options(selectinload(Case.series).selectinload(Series.images))
            .where(*same)
            .order_by(Case.created_at.desc(), Case.id)
            .limit(most)
        )
        return list(found), hidden

    @property
    def phase_warning(self) -> str | None:
        """What to say when the phase is not the one that the networks were trained on."""
        return warning_of(self.contrast_phase)

    @staticmethod
    def receive(
        session: Session,
        parcel: Parcel,
        uploader: User | None,
        *,
        contrast_phase: str,
        pseudonym: str,
        key: bytes,
        actor: str = "",
        entry: Entry = STRICT,
    ) -> Receipt:
        """Store every usable slice: a study becomes a Case, a series a Series, a frame an Image.

        An object that is here already is left as it is and reported so; one of other bytes under
        the same SOP Instance UID is refused.

        Args:
            uploader: whose the case is; None where a program sends that acts for nobody.
            actor: who does it, for the record; by default the uploader.
            entry: by which door, and what is allowed there.

        Raises:
            Unreadable: an unknown contrast phase, or a pseudonym that cannot be one.
        """
        if contrast_phase not in PHASES:
            raise Unreadable(f"Choose the contrast phase: {', '.join(PHASES)}.")
        pseudonym = pseudonym.strip()
        if pseudonym and not PSEUDONYM.fullmatch(pseudonym):
            raise Unreadable(
                f"The pseudonym may have 1 to {MOST_LETTERS} letters, digits, spaces and "
                ". : + - _ ."
            )
        receipt = Receipt(refused=list(parcel.refused), passed_over=list(parcel.passed_over))
        told_by = actor or (uploader.name if uploader else "nobody")
        sender = Sender(uploader, contrast_phase, pseudonym, key, entry)
        serialise(session, "case received")
        intake = _Intake.of(session, parcel, sender)
        touched: dict[uuid.UUID, int] = {}
        for item in parcel.files:
            try:
                accepted, series = intake.take(item)
            except Unreadable as refusal:
                code = refusal.more.get("code", RefusalCode.UNUSABLE)
                reason = f"{item.file}: {refusal.detail}"
                receipt.refused.append(Refusal(item.file, reason, code, item.identity))
            else:
                touched[series.id] = len(receipt.accepted)
                receipt.accepted.append(accepted)
        intake.write()
        for series_id, last in touched.items():
            remarks = session.get_one(Series, series_id).remarks
            told = receipt.accepted[last]
            receipt.accepted[last] = replace(told, warnings=(*told.warnings, *remarks))
        cases = {item.case_id for item in receipt.accepted}
        for act in _afterwards:
            act(session, parcel.markings, sender, receipt, cases, told_by)
        for case_id in cases:
            Event.record(session, told_by, "case received", str(case_id))
        return receipt

    def leave(self, session: Session, actor: str) -> set[str]:
        """Delete all rows of the case; the digests of its pixels, which `drop_pixels` takes."""
        digests = {image.pixels_digest for series in self.series for image in series.images}
        Event.record(session, actor, "case deleted", str(self.id))
        marking = Base.metadata.tables["marking"]  # its module imports this one
        session.execute(sa.delete(marking).where(marking.c.study_uid == self.uid))
        session.delete(self)
        session.flush()
        return digests


def being_deleted(session: Session) -> set[uuid.UUID]:
    """The cases whose deletion was begun and has not ended."""
    erasure = Base.metadata.tables["erasure"]  # its module imports this one
    going = session.scalars(sa.select(erasure.c.cases).where(erasure.c.ended_at.is_(None)))
    return {uuid.UUID(one) for cases in going for one in cases}


def refuse_leaving(session: Session, case_id: uuid.UUID) -> None:
    """Nothing where a case, which this transaction holds, is not being deleted.

    Raises:
        Conflict: it is.
    """
    if case_id in being_deleted(session):
        raise Conflict(
            "This case is being deleted, with all that is added to it. Nothing was changed."
        )


def drop_pixels(session: Session, digests: Collection[str]) -> None:
    """Delete pixels that no image has any more; another case may hold the very same ones."""
    for some in in_parts(sorted(digests)):
        still_used = sa.exists().where(Image.pixels_digest == Blob.digest)
        session.execute(sa.delete(Blob).where(Blob.digest.in_(some), ~still_used))


@dataclass(frozen=True)
class ImageStack:
    """Images of a series that belong together, in reading order (`ml.images.stack.Stack`)."""

    images: tuple[Image, ...]
    apart: str
    remarks: tuple[str, ...]


class Series(Base):
    """The images of one DICOM series, or the pictures of a case; read as one or more stacks."""

    __tablename__ = "series"
    __table_args__ = (sa.UniqueConstraint("case_id", "series_uid"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    case_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("case.id", ondelete="CASCADE"), index=True
    )
    series_uid: Mapped[str] = mapped_column(sa.String(64))
    """The sender's, as a keyed digest; ``PICTURES`` for what has none."""
    uid: Mapped[str | None] = mapped_column(sa.String(64), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    stirred_at: Mapped[datetime | None] = mapped_column(index=True)
    """When an image or a mark came last; None once it was settled
    (`app.models.cases.settlement`)."""

    case: Mapped[Case] = relationship(back_populates="series")
    images: Mapped[list[Image]] = relationship(
        back_populates="series",
        order_by="Image.created_at, Image.id",
        cascade="all, delete-orphan",
    )

    @property
    def stacks(self) -> list[ImageStack]:
        """What belongs together, each in reading order."""
        return [
            ImageStack(
                tuple(self.images[index] for index in found.order), found.apart, found.remarks
            )
            for found in self._found
        ]

    @property
    def _found(self) -> list[Stack]:
        return stacks([image.placement for image in self.images])

    @property
    def remarks(self) -> list[str]:
        """What the user should know of the series as a whole: mixtures, doubtful order, gaps."""
        found = self._found
        told = [mixture(found), *(remark for stack in found for remark in stack.remarks)]
        return [text for text in dict.fromkeys(told) if text]


class Image(Base):
    """One decoded CT slice (SOP instance, frame)."""

    __tablename__ = "image"
    __table_args__ = (sa.UniqueConstraint("series_id", "sop_uid", "frame"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    series_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("series.id", ondelete="CASCADE"), index=True
    )
    sop_uid: Mapped[str] = mapped_column(sa.String(80), index=True)
    """The sender's, as a keyed digest; of pictures their content's."""
    frame: Mapped[int]
    uid: Mapped[str | None] = mapped_column(sa.String(64), index=True)
    transfer_syntax_uid: Mapped[str | None] = mapped_column(sa.String(64))
    """How the object was encoded that it came in; None for pictures, and before it was kept."""
    source_hmac: Mapped[str | None] = mapped_column(sa.String(64))
    """HMAC of the object's bytes: it tells the same bytes from others, and nothing else."""
    instance_number: Mapped[int | None]
    position_mm: Mapped[float | None]
    orientation: Mapped[list[float] | None]
    position: Mapped[list[float] | None]
    rows: Mapped[int]
    columns: Mapped[int]
    dtype: Mapped[str] = mapped_column(sa.String(10))
    calibrated: Mapped[bool]
    phantom: Mapped[bool]
    row_spacing_mm: Mapped[float | None]
    column_spacing_mm: Mapped[float | None]
    tags: Mapped[dict[str, Any]]
    warnings: Mapped[list[str]]
    pixels_digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    link: Mapped[bytes | None] = mapped_column(sa.LargeBinary, deferred=True)
    """The object that it came from, sealed; None where the case has none."""

    series: Mapped[Series] = relationship(back_populates="images")

    @staticmethod
    def require(session: Session, image_id: uuid.UUID) -> Image:
        """The image; NotFound when there is none."""
        image = session.get(Image, image_id)
        if image is None:
            raise NotFound("There is no such image.")
        return image

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)"""
        return self.rows, self.columns

    @property
    def placement(self) -> Placement:
        """What decides to which stack the image belongs, and where in it."""
        return Placement(
            sop_uid=self.sop_uid,
            frame=self.frame,
            instance_number=self.instance_number,
            orientation=self.orientation,
            position_mm=self.position_mm,
            size=self.size,
            spacing_mm=self.spacing_mm,
            calibrated=self.calibrated,
            acquired=str(self.tags.get(_ACQUIRED, "")),
            tags=self.tags,
        )

    @property
    def edges(self) -> Edges | None:
        """What lies beyond each edge of the picture; None where the file does not tell."""
        return None if self.orientation is None else edges(self.orientation)

    @property
    def place(self) -> tuple[str, float] | None:
        """Where the slice lies: axis and mm (`orientation.coordinate`), where the file tells."""
        if self.orientation is None or self.position is None:
            return None
        return coordinate(self.orientation, self.position)

    @property
    def middle(self) -> float | None:
        """Where the middle of the slice lies on the axis of its place, in mm."""
        if self.place is None or self.orientation is None or self.position is None:
            return None
        axis, corner = self.place
        if self.spacing_mm is None:
            return corner
        found = middle_mm(self.orientation, self.position, self.size, self.spacing_mm)
        return found["xyz".index(axis)]

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Distance between rows and between columns in mm, where the file stated it."""
        if self.row_spacing_mm is None or self.column_spacing_mm is None:
            return None
        return self.row_spacing_mm, self.column_spacing_mm

    def _is_of(self, session: Session, item: PackedSlice, source: _Source | None) -> bool:
        """Whether it came in the same object: of the same bytes, or of the same content.

        By content are compared pictures, images from before bytes were known, and an object that
        comes again in another encoding, as archives convert what they send.
        """
        if source is None or self.source_hmac is None:
            return self._shows(session, item)
        if self.source_hmac == source.hmac:
            return True
        return self.transfer_syntax_uid != source.syntax and self._shows(session, item)

    def _shows(self, session: Session, item: PackedSlice) -> bool:
        """Whether this is the image that ``item`` is: the same pixels at the same place."""
        same_place = (
            self.size == (item.rows, item.columns)
            and self.dtype == item.dtype
            and self.spacing_mm == item.spacing_mm
            and self.position_mm == item.position_mm
        )
        if not same_place:
            return False
        if self.pixels_digest == item.digest:
            return True
        # the same pixels may have been compressed otherwise by an earlier version of zlib
        raw = zlib.decompress(self.stored_pixels(session))
        return hashlib.sha256(raw).hexdigest() == item.sha256

    def _complete(self, item: PackedSlice, source: _Source | None, key: bytes) -> None:
        """Take over what an earlier version of the software did not keep."""
        if self.source_hmac is None and source is not None:
            self.source_hmac, self.transfer_syntax_uid = source.hmac, source.syntax
        if self.orientation is None and item.orientation is not None:
            self.orientation = list(item.orientation)
            self.position = list(item.position) if item.position else None
            self.tags = {**_tags_of(item, key), **self.tags}
        told = (*voi.TAGS, voi.TABLE)
        windows = {word: item.tags[word] for word in told if word in item.tags}
        if windows and not self.windows:
            self.tags = {**self.tags, **windows}
        of_series = (description.DESCRIPTION, description.PER_SECOND)
        new = {word: item.tags[word] for word in of_series if word in item.tags}
        if new.keys() - self.tags.keys():
            self.tags = {**new, **self.tags}

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows of the file, in its order; none of one that was taken in before they were
        kept."""
        return Window.of_tags(self.tags)

    @property
    def table(self) -> voi.Table | None:
        """The table by which the file is to be shown; None where it names windows, or nothing."""
        return voi.Table.of_tags(self.tags)

    def stored_pixels(self, session: Session) -> bytes:
        """The pixels as they lie in the database: little-endian, zlib-compressed."""
        return Blob.read(session, self.pixels_digest)

    def pixels(self, session: Session) -> Pixels:
        """The pixels as an array (rows, columns): HU, or grey values where uncalibrated."""
        size = self.rows * self.columns * np.dtype(self.dtype).itemsize
        # as zlib does, in half its time
        raw = imagecodecs.deflate_decode(self.stored_pixels(session), raw=False, out=size)
        array = np.frombuffer(raw, np.dtype(self.dtype).newbyteorder("<"))
        pixels: Pixels = array.astype(self.dtype).reshape(self.rows, self.columns)
        return pixels

    def slice(self, session: Session) -> CTSlice:
        """The image in the form that ``ml`` works on."""
        return CTSlice(
            pixels=self.pixels(session),
            calibrated=self.calibrated,
            spacing_mm=self.spacing_mm,
            study_uid="",
            series_uid="",
            sop_uid=str(self.tags.get(PHANTOM_UID, self.sop_uid)),
            frame=self.frame,
            patient_id="",
            orientation=tuple(self.orientation) if self.orientation else None,
            instance_number=self.instance_number,
            slice_thickness_mm=None,
            phantom=self.phantom,
            tags=dict(self.tags),
            warnings=tuple(self.warnings),
        )


IMAGE_KIND = sa.case(
    (Image.phantom, ImageKind.PHANTOM.value),
    (Image.calibrated, ImageKind.CALIBRATED.value),
    else_=ImageKind.UNCALIBRATED.value,
)
"""For a SELECT or WHERE over images: of which kind each is."""


def pseudonymised(patient_id: str, key: bytes) -> tuple[str, str]:
    """(HMAC-SHA256 of a PatientID in hex, a short name for people made from it)."""
    digest = hmac.new(key, patient_id.strip().encode(), hashlib.sha256)
    return digest.hexdigest(), "P-" + b32encode(digest.digest()).decode()[:8]


@dataclass(frozen=True)
class _Source:
    """The object that a file is, told from others by its bytes."""

    hmac: str
    syntax: str


_AT_ONCE = 100
"""Images that wait at most before they are written, and UIDs that are asked after at once."""


@dataclass
class _Intake:
    """A parcel as it is taken in; the database is asked once a parcel where that is enough.

    Nobody else takes images in meanwhile (`serialise`). A file goes in whole or not at all: all of
    it is judged before anything of it is changed. Its images wait to be written many at a time.

    Attributes:
        here: SOP UIDs, as they are kept, of those of the parcel that are here.
    """

    session: Session
    sender: Sender
    here: set[str]
    _images: list[Image] = field(default_factory=list)
    _pixels: dict[str, bytes] = field(default_factory=dict)
    _cases: dict[tuple[str | None, ...], Case] = field(default_factory=dict)
    _series: dict[tuple[uuid.UUID, str], Series] = field(default_factory=dict)
    _own: dict[str, bool] = field(default_factory=dict)
    _issuers: dict[str, dict[uuid.UUID, str | None]] = field(default_factory=dict)
    _linked: set[uuid.UUID] = field(default_factory=set)
    _leaving: set[uuid.UUID] = field(default_factory=set)

    @classmethod
    def of(cls, session: Session, parcel: Parcel, sender: Sender) -> _Intake:
        """For the files of a parcel."""
        wanted = sorted({_known_by(item.slices[0], sender.key)[1] for item in parcel.files})
        here: set[str] = set()
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            here |= set(session.scalars(sa.select(Image.sop_uid).where(Image.sop_uid.in_(some))))
        return cls(session, sender, here, _leaving=being_deleted(session))

    def write(self) -> None:
        """Write what waits."""
        Blob.store_all(self.session, self._pixels, _PIXELS)
        self.session.add_all(self._images)
        self.session.flush()
        self._images, self._pixels = [], {}

    def take(self, item: ParcelFile) -> tuple[Accepted, Series]:
        """Take in a file.

        Raises:
            Unreadable: it is refused; nothing was changed.
        """
        first, sender, key = item.slices[0], self.sender, self.sender.key
        warnings = [text for one in item.slices for text in one.warnings]
        if sender.entry.refuses_burned_in:
            _refuse_burned_in(warnings)
        self._refuse_own(first)
        patient_hmac, name = _patient_of(first, sender, warnings)
        case = self._case(first, patient_hmac, name, warnings)
        if case is None:
            self._refuse_namesake(patient_hmac, name)
        series = self._series_of(case, first.series_uid) if case else None
        if first.sop_uid and first.study_uid:
            self._refuse_taken(series, kept(first.sop_uid, key))
        source = None
        if item.identity is not None:
            digest = keyed(item.identity.data_set, key)
            source = _Source(digest, item.identity.transfer_syntax_uid[:64])
        there = [self._image(series, one, source) for one in item.slices]
        # from here on nothing is refused
        if case is None:
            case = self._new_case(first, patient_hmac, name)
        if series is None:
            series = self._new_series(case, first.series_uid)
        dates = _dates_of(item.identity, case, sender, warnings)
        if case.study_date is None:
            case.study_date = dates.get("StudyDate")
        images = []
        for one, image in zip(item.slices, there, strict=True):
            if image is not None:
                image._complete(one, source, key)
            images.append(image or self._new_image(series, one, source, dates))
        if sender.entry.returns_results and item.identity is not None:
            self._keep_way_back(case, images, item.identity, warnings)
        if patient_hmac in self._issuers:
            issuer = images[0].tags.get(_ISSUER)
            self._issuers[patient_hmac].setdefault(case.id, issuer)
        if len(self._images) >= _AT_ONCE:
            self.write()
        known = sum(image is not None for image in there)
        if case.phase_warning:
            warnings.append(case.phase_warning)
        if 0 < known < len(item.slices):
            warnings.insert(0, f"{known} of its {len(item.slices)} frames are here already.")
        told = tuple(dict.fromkeys(warnings))
        address = Address(case.uid or "", series.uid or "", images[0].uid or "")
        is_known = known == len(item.slices)
        accepted = Accepted(
            item.file, case.id, told, is_known, address, item.identity,
            case.contrast_phase, case.phase_warning,
        )  # fmt: skip
        return accepted, series

    # -- judging -------------------------------------------------------------------------------

    def _refuse_own(self, item: PackedSlice) -> None:
        """Refuse what was rebuilt here and comes back: it would be a patient of its own."""
        uid = item.study_uid
        if uid and uid not in self._own:
            found = self.session.scalar(sa.select(Case.id).where(Case.uid == uid))
            self._own[uid] = found is not None
        if uid and self._own[uid]:
            raise Unreadable(
                "this object was rebuilt here, from an image that is here. Nothing new is in it; "
                "it was not stored.",
                code=RefusalCode.OWN,
            )

    def _case(
        self, item: PackedSlice, patient_hmac: str | None, name: str, warnings: list[str]
    ) -> Case | None:
        """The case that a slice belongs to; None where there is none.

        Raises:
            Unreadable: its study is another patient's, or is being deleted.
        """
        sender = self.sender
        if patient_hmac and item.issuer and self._is_issued_twice(patient_hmac, item):
            warnings.append(
                "The same PatientID is here already from another issuer (IssuerOfPatientID). Both "
                "count as one patient; where they are two, give each a PatientID of its own."
            )
        found = self._known_case(item, patient_hmac, name)
        if found is None:
            return None
        if found.id in self._leaving:
            raise Unreadable(
                "its examination is being deleted, and would take it along. Send it again once "
                "the deletion has ended.",
                code=RefusalCode.LEAVING,
            )
        if item.study_uid and patient_hmac != found.patient_hmac:
            raise Unreadable(
                "its study is here already under another patient. Check the PatientID at the "
                "source.",
                code=RefusalCode.OTHER_PATIENT,
            )
        if item.study_uid and item.phantom != found.phantom:
            here, this = ("phantoms", "a patient") if found.phantom else ("a patient", "phantoms")
            raise Unreadable(
                f"its study is here already, of {here}, and this image is of {this}. Give one of "
                "them a Study Instance UID of its own.",
                code=RefusalCode.OTHER_PATIENT,
            )
        if found.contrast_phase != sender.contrast_phase:
            warnings.append(
                f"The case is here already with the contrast phase {found.contrast_phase}, which "
                f"stays; {sender.contrast_phase} was not taken over."
            )
        if sender.pseudonym and found.pseudonym != sender.pseudonym:
            warnings.append(
                f"The pseudonym {sender.pseudonym} was not used: the case is called "
                f"{found.pseudonym}."
            )
        return found

    def _refuse_namesake(self, patient_hmac: str | None, name: str) -> None:
        """Unreadable where the name is another patient's."""
        if not Case.is_of_another(self.session, name, patient_hmac):
            return
        code = RefusalCode.OTHER_PATIENT
        if patient_hmac is None:
            code = RefusalCode.PSEUDONYM
            why = (
                f"{name} is what a patient is called here whose files have a PatientID. This one "
                "has none, so it cannot be known whether it is theirs. Give it another pseudonym, "
                "or send it with the PatientID."
            )
        else:
            why = (
                f"its patient would be called {name}, and another case has that pseudonym, of "
                "another PatientID or of none. Correct the pseudonym on the page of that case, "
                "then send this again."
            )
        raise Unreadable(why, code=code)

    def _known_case(self, item: PackedSlice, patient_hmac: str | None, name: str) -> Case | None:
        by = self._case_key(item, patient_hmac, name)
        if by not in self._cases:
            query = sa.select(Case)
            if item.study_uid:
                query = query.where(Case.study_uid == by[0])
            else:  # pictures have no study: those of one pseudonym and uploader belong together
                whose = self.sender.user.id if self.sender.user else None
                query = (
                    query.where(
                        Case.study_uid.is_(None),
                        Case.pseudonym == name,
                        Case.patient_hmac.is_not_distinct_from(patient_hmac),
                        Case.uploaded_by_id.is_not_distinct_from(whose),
                        Case.contrast_phase == self.sender.contrast_phase,
                    )
                    .order_by(Case.created_at.desc(), Case.id)
                    .limit(1)
                )
            found = self.session.execute(query).scalar_one_or_none()
            if found is None:
                return None
            self._cases[by] = found
        return self._cases[by]

    def _case_key(
        self, item: PackedSlice, patient_hmac: str | None, name: str
    ) -> tuple[str | None, ...]:
        if item.study_uid:
            return (kept(item.study_uid, self.sender.key),)
        return None, patient_hmac, name

    def _is_issued_twice(self, patient_hmac: str, item: PackedSlice) -> bool:
        """Whether a case of the same PatientID is here whose images another issuer gave it."""
        if patient_hmac not in self._issuers:
            self.write()
            self._issuers[patient_hmac] = _issuers_of(self.session, patient_hmac)
        issuer = _digest(item.issuer, self.sender.key)
        known = self._issuers[patient_hmac].values()
        return any(one not in (None, issuer) for one in known)

    def _series_of(self, case: Case, series_uid: str) -> Series | None:
        """``series_uid`` is the sender's, "" where there is none; None where it is not here."""
        by = case.id, kept(series_uid, self.sender.key) if series_uid else PICTURES
        if by not in self._series:
            found = self.session.execute(
                sa.select(Series).where(Series.case_id == by[0], Series.series_uid == by[1])
            ).scalar_one_or_none()
            if found is None:
                return None
            self._series[by] = found
        return self._series[by]

    def _refuse_taken(self, series: Series | None, sop_uid: str) -> None:
        """Refuse an object whose SOP Instance UID is in another series already."""
        if sop_uid not in self.here:
            return
        self.write()
        elsewhere = sa.select(Image.id).where(Image.sop_uid == sop_uid)
        if series is not None:
            elsewhere = elsewhere.where(Image.series_id != series.id)
        if self.session.scalar(elsewhere.limit(1)) is not None:
            raise Unreadable(
                "its SOP Instance UID belongs to an image of another series, which is kept. Give "
                "every image a UID of its own (an anonymiser may have given all the same one).",
                code=RefusalCode.TAKEN,
            )

    def _image(
        self, series: Series | None, item: PackedSlice, source: _Source | None
    ) -> Image | None:
        """The image of a slice; None where it is not here.

        Raises:
            Unreadable: its SOP Instance UID belongs to another image of the series.
        """
        _, sop_uid = _known_by(item, self.sender.key)
        if series is None or sop_uid not in self.here:
            return None
        self.write()
        found = self.session.scalars(
            sa.select(Image).where(
                Image.series_id == series.id, Image.sop_uid == sop_uid, Image.frame == item.frame
            )
        ).one_or_none()
        if found is None or found._is_of(self.session, item, source):
            return found
        if found._shows(self.session, item):
            raise Unreadable(
                "its SOP Instance UID belongs to an image of this series with the same pixels and "
                "another header, which is kept. To replace it, delete the case and send it again.",
                code=RefusalCode.TAKEN,
            )
        raise Unreadable(
            "its SOP Instance UID belongs to another image of this series, which is kept. Give "
            "every image a UID of its own (an anonymiser may have given all the same one).",
            code=RefusalCode.TAKEN,
        )

    # -- storing -------------------------------------------------------------------------------

    def _new_case(self, item: PackedSlice, patient_hmac: str | None, name: str) -> Case:
        case_id, sender = uuid.uuid4(), self.sender
        case = Case(
            study_uid=kept(item.study_uid, sender.key) if item.study_uid else None,
            patient_hmac=patient_hmac,
            pseudonym=name,
            contrast_phase=sender.contrast_phase,
            phantom=item.phantom,
            uploaded_by_id=sender.user.id if sender.user else None,
            id=case_id,
            uid=uid_of_case(item.study_uid, case_id, sender.key),
        )
        self.session.add(case)
        self.session.flush()
        self._cases[self._case_key(item, patient_hmac, name)] = case
        if case.uid is not None:
            self._own[case.uid] = True
        return case

    def _new_series(self, case: Case, series_uid: str) -> Series:
        key = self.sender.key
        known_by = kept(series_uid, key) if series_uid else PICTURES
        uid = uid_of_series(series_uid or PICTURES, case, key)
        series = Series(case_id=case.id, series_uid=known_by, uid=uid)
        self.session.add(series)
        self.session.flush()
        self._series[case.id, known_by] = series
        return series

    def _new_image(
        self, series: Series, item: PackedSlice, source: _Source | None, dates: dict[str, str]
    ) -> Image:
        """``dates``: of its object, moved."""
        key = self.sender.key
        original, sop_uid = _known_by(item, key)
        image = Image(
            id=uuid.uuid4(),
            created_at=now(),
            series_id=series.id,
            sop_uid=sop_uid,
            frame=item.frame,
            transfer_syntax_uid=source.syntax if source else None,
            source_hmac=source.hmac if source else None,
            instance_number=item.instance_number,
            position_mm=item.position_mm,
            orientation=list(item.orientation) if item.orientation else None,
            position=list(item.position) if item.position else None,
            rows=item.rows,
            columns=item.columns,
            dtype=item.dtype,
            calibrated=item.calibrated,
            phantom=item.phantom,
            row_spacing_mm=item.spacing_mm[0] if item.spacing_mm else None,
            column_spacing_mm=item.spacing_mm[1] if item.spacing_mm else None,
            tags={**_tags_of(item, key), **dates},
            warnings=list(item.warnings),
            pixels_digest=item.digest,
            uid=uid_of_image(original, item.frame, series, key),
        )
        series.stirred_at = image.created_at
        self._images.append(image)
        self._pixels[item.digest] = item.pixels
        self.here.add(sop_uid)
        return image

    def _keep_way_back(
        self, case: Case, images: list[Image], identity: Identity, warnings: list[str]
    ) -> None:
        """Seal whose the object is, so that a result can be sent back; what is kept stays."""
        unread = [word for word in identity.origin.unread if word != "FrameOfReferenceUID"]
        if unread:
            warnings.append(
                f"{', '.join(unread)} cannot be read in the character set of the file, so results "
                "that go back to the sender lack it."
            )
        session, key = self.session, self.sender.key
        if case.id not in self._linked:
            self._linked.add(case.id)
            if session.scalar(sa.select(Case.link).where(Case.id == case.id)) is None:
                case.link = Examination.of(identity, self.sender.entry).sealed(case.id, key)
        for image in images:
            known = sa.inspect(image).persistent and session.scalar(
                sa.select(Image.link).where(Image.id == image.id)
            )
            if not known:
                found = SourceObject.of(identity, image.frame, len(images))
                image.link = found.sealed(case.id, image.id, key)


def _known_by(item: PackedSlice, key: bytes) -> tuple[str, str]:
    """What stands for the SOP Instance UID of a slice: as it came, and as it is kept."""
    original = item.sop_uid or f"{PICTURE}{item.sha256[:48]}"
    return original, kept(original, key) if item.sop_uid else original


def _issuers_of(session: Session, patient_hmac: str) -> dict[uuid.UUID, str | None]:
    """Of the first image of each case of a patient, which issuer gave the PatientID."""
    found = {}
    for case_id in session.scalars(sa.select(Case.id).where(Case.patient_hmac == patient_hmac)):
        tags = session.scalar(
            sa.select(Image.tags)
            .join(Series, Image.series_id == Series.id)
            .where(Series.case_id == case_id)
            .order_by(Image.created_at, Image.id)
            .limit(1)
        )
        if tags:
            found[case_id] = tags.get(_ISSUER)
    return found


def _refuse_burned_in(warnings: list[str]) -> None:
    if BURNED_IN in warnings or SUSPECTED in warnings:
        raise Unreadable(
            "text is drawn into its pixels, or its header says so (BurnedInAnnotation), and this "
            "installation takes no such images by this door. Send the image without it.",
            code=RefusalCode.BURNED_IN,
        )


def _dates_of(
    identity: Identity | None, case: Case, sender: Sender, warnings: list[str]
) -> dict[str, str]:
    """The dates of an object, moved; none where its door keeps none."""
    if identity is None or not sender.entry.shifts_dates:
        return {}
    found, lost = all_moved(identity.origin.dates, days_of(case.patient, sender.key))
    if lost:
        warnings.append(
            f"{', '.join(lost)}: no whole date of the calendar, or too far back; it was left out."
        )
    return found


def keyed(text: str, key: bytes) -> str:
    """HMAC-SHA256 of a text under the installation's key, in hex."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _digest(text: str, key: bytes) -> str:
    return keyed(text, key)[:16]


def _patient_of(item: PackedSlice, sender: Sender, warnings: list[str]) -> tuple[str | None, str]:
    """(HMAC of the PatientID, or None without one; what the case is called)."""
    patient_id = item.patient_id.strip()
    placeholder = bool(_PLACEHOLDER.fullmatch(re.sub(r"[\W_]+", "", patient_id).lower()))
    if patient_id and not (placeholder and sender.pseudonym):
        if placeholder:
            warnings.append(
                "The PatientID looks like a placeholder of an anonymiser. All examinations that "
                "carry it count as one patient; give each patient a pseudonym to tell them apart."
            )
        patient_hmac, name = pseudonymised(patient_id, sender.key)
        if item.phantom:  # a phantom has no privacy to lose, and its name says what it is
            name = patient_id[:MOST_LETTERS]
        elif sender.pseudonym:
            warnings.append(
                f"The pseudonym {sender.pseudonym} was not used: the file names a patient, who is "
                f"called {name}."
            )
        return patient_hmac, name
    if sender.pseudonym:
        return None, sender.pseudonym
    raise Unreadable(
        "the file names no patient. Type a pseudonym for it and upload it again.",
        code=RefusalCode.NO_PATIENT,
    )


def _tags_of(item: PackedSlice, key: bytes) -> dict[str, str]:
    """What is kept of a slice's tags, with digests of what is not kept."""
    tags = of_place(item.tags, key)
    if item.acquired:
        tags[_ACQUIRED] = _digest(item.acquired, key)
    if item.issuer:
        tags[_ISSUER] = _digest(item.issuer, key)
    if item.phantom and item.sop_uid:
        tags[PHANTOM_UID] = item.sop_uid
    return tags


def of_place(tags: Mapping[str, str], key: bytes) -> dict[str, str]:
    """Tags with the frame of reference mapped, as it may leave."""
    found = dict(tags)
    if of := found.get("FrameOfReferenceUID"):
        found["FrameOfReferenceUID"] = mapped(of, key)
    return found


# -- UIDs under which they leave ---------------------------------------------------------------


def uid_of_case(study_uid: str, case_id: uuid.UUID, key: bytes) -> str:
    """Its study's, mapped; pictures have no study, and so the case's own.

    Args:
        study_uid: the sender's; "" where there is none.
    """
    return mapped(study_uid or f"case {case_id}", key)


def uid_of_series(series_uid: str, case: Case, key: bytes) -> str:
    """Its DICOM series', mapped; of pictures their case's.

    Args:
        series_uid: the sender's, or ``PICTURES``.
    """
    known = case.study_uid and series_uid != PICTURES
    return mapped(series_uid if known else f"{series_uid} of {case.uid}", key)


def uid_of_image(sop_uid: str, frame: int, series: Series, key: bytes) -> str:
    """Its SOP instance's, mapped; further frames of one have UIDs of their own.

    What has no UID that is its own everywhere (pictures, files without a study) is told apart by
    its series.

    Args:
        sop_uid: the sender's; of pictures their content's.
    """
    own = sop_uid
    if series.series_uid == PICTURES or series.case.study_uid is None:
        own = f"{own} of {series.uid}"
    return mapped(own if frame == 1 else f"{own} frame {frame}", key)
