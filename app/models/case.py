"""Cases, their series and images: what stays of an upload.

Kept are int16 HU (or grey values), allow-listed tags and UIDs; never the original file, a name, a
date or a PatientID. A PatientID becomes an HMAC under the installation's key, so that a patient's
examinations belong together here and nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
import zlib
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from app.db import Base, now, serialise
from app.errors import NotFound, Unreadable
from app.models.blob import Blob
from app.models.event import Event
from app.models.parcel import Parcel, Refusal
from app.models.user import User
from ml.image import CTSlice

PHASES = ("portal", "other", "unknown")
"""Contrast phases that an uploader can state; the networks know the portal phase only."""

PSEUDONYM = re.compile(r"[\w .:+-]{1,40}")
_PIXELS = "application/vnd.hepatica.pixels+zlib"

Pixels = npt.NDArray[np.int16] | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass
class Receipt:
    """What became of each file of an upload."""

    accepted: list[dict[str, Any]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


class Case(Base):
    """One pseudonymous patient examination."""

    __tablename__ = "case"
    __table_args__ = (
        sa.CheckConstraint("contrast_phase IN ('portal','other','unknown')", name="contrast_phase"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_uid: Mapped[str | None] = mapped_column(sa.String(64), unique=True)
    patient_hmac: Mapped[str | None] = mapped_column(sa.String(64), index=True)
    pseudonym: Mapped[str] = mapped_column(sa.String(40), index=True)
    contrast_phase: Mapped[str] = mapped_column(sa.String(10))
    phantom: Mapped[bool] = mapped_column(default=False)
    uploaded_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)

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
        return self.patient_hmac or f"pseudonym:{self.pseudonym}"

    @property
    def phase_warning(self) -> str | None:
        """What to say when the phase is not the one that the networks were trained on."""
        if self.contrast_phase == "portal":
            return None
        stated = "not known" if self.contrast_phase == "unknown" else "not portal"
        return (
            f"The contrast phase is {stated}. The networks were trained on portal-phase images; "
            "scores on other phases carry no evidence."
        )

    @staticmethod
    def receive(
        session: Session,
        parcel: Parcel,
        uploader: User,
        *,
        contrast_phase: str,
        pseudonym: str,
        key: bytes,
    ) -> Receipt:
        """Store every usable slice: a study becomes a Case, a series a Series, a frame an Image.

        An image that is here already is left as it is and reported so.

        Raises:
            Unreadable: an unknown contrast phase, or a pseudonym that cannot be one.
        """
        if contrast_phase not in PHASES:
            raise Unreadable(f"Choose the contrast phase: {', '.join(PHASES)}.")
        pseudonym = pseudonym.strip()
        if pseudonym and not PSEUDONYM.fullmatch(pseudonym):
            raise Unreadable(
                "The pseudonym may have 1 to 40 letters, digits, spaces and . : + - _ ."
            )
        receipt = Receipt(refused=list(parcel.refused))
        serialise(session, "case received")
        for item in parcel.files:
            try:
                _receive_file(
                    session,
                    item.file,
                    item.slices,
                    uploader,
                    contrast_phase,
                    pseudonym,
                    key,
                    receipt,
                )
            except Unreadable as refusal:
                receipt.refused.append(Refusal(item.file, f"{item.file}: {refusal.detail}"))
        for case_id in {entry["case_id"] for entry in receipt.accepted}:
            Event.record(session, uploader.name, "case received", case_id)
        return receipt

    def remove(self, session: Session, actor: str) -> None:
        """Delete the case with its images and pixels; the caller has checked what depends on it."""
        digests = {image.pixels_digest for series in self.series for image in series.images}
        Event.record(session, actor, "case deleted", str(self.id))
        session.delete(self)
        session.flush()
        # another case may hold the very same pixels
        still_used = sa.exists().where(Image.pixels_digest == Blob.digest)
        session.execute(sa.delete(Blob).where(Blob.digest.in_(digests), ~still_used))


class Series(Base):
    """The images of one DICOM series, ordered along the slice normal; or the pictures of a case."""

    __tablename__ = "series"
    __table_args__ = (sa.UniqueConstraint("case_id", "series_uid"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    case_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("case.id", ondelete="CASCADE"), index=True
    )
    series_uid: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)

    case: Mapped[Case] = relationship(back_populates="series")
    images: Mapped[list[Image]] = relationship(
        back_populates="series",
        order_by="Image.position_mm, Image.instance_number, Image.frame, Image.created_at",
        cascade="all, delete-orphan",
    )


class Image(Base):
    """One decoded CT slice (SOP instance, frame)."""

    __tablename__ = "image"
    __table_args__ = (sa.UniqueConstraint("series_id", "sop_uid", "frame"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    series_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("series.id", ondelete="CASCADE"), index=True
    )
    sop_uid: Mapped[str] = mapped_column(sa.String(80))
    frame: Mapped[int]
    instance_number: Mapped[int | None]
    position_mm: Mapped[float | None]
    rows: Mapped[int]
    columns: Mapped[int]
    dtype: Mapped[str] = mapped_column(sa.String(10))
    calibrated: Mapped[bool]
    phantom: Mapped[bool]
    row_spacing_mm: Mapped[float | None]
    column_spacing_mm: Mapped[float | None]
    tags: Mapped[dict[str, Any]]
    warnings: Mapped[list[str]]
    pixels_digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"))
    created_at: Mapped[datetime] = mapped_column(default=now)

    series: Mapped[Series] = relationship(back_populates="images")

    @staticmethod
    def require(session: Session, image_id: uuid.UUID) -> Image:
        image = session.get(Image, image_id)
        if image is None:
            raise NotFound("There is no such image.")
        return image

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Distance between rows and between columns in mm, where the file stated it."""
        if self.row_spacing_mm is None or self.column_spacing_mm is None:
            return None
        return self.row_spacing_mm, self.column_spacing_mm

    def stored_pixels(self, session: Session) -> bytes:
        """The pixels as they lie in the database: little-endian, zlib-compressed."""
        return Blob.read(session, self.pixels_digest)

    def pixels(self, session: Session) -> Pixels:
        """The pixels as an array (rows, columns): HU, or grey values where uncalibrated."""
        raw = zlib.decompress(self.stored_pixels(session))
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
            sop_uid=self.sop_uid,
            frame=self.frame,
            patient_id="",
            position_mm=self.position_mm,
            instance_number=self.instance_number,
            slice_thickness_mm=None,
            phantom=self.phantom,
            tags=dict(self.tags),
            warnings=tuple(self.warnings),
        )


def pseudonymised(patient_id: str, key: bytes) -> tuple[str, str]:
    """(HMAC-SHA256 of a PatientID in hex, a short name for people made from it)."""
    digest = hmac.new(key, patient_id.strip().encode(), hashlib.sha256)
    return digest.hexdigest(), "P-" + b32encode(digest.digest()).decode()[:8]


def _receive_file(
    session: Session,
    file: str,
    slices: Sequence[CTSlice],
    uploader: User,
    contrast_phase: str,
    pseudonym: str,
    key: bytes,
    receipt: Receipt,
) -> None:
    case = _case_for(session, slices[0], uploader, contrast_phase, pseudonym, key)
    series = _series_for(session, case, slices[0].series_uid or "pictures")
    warnings = list(dict.fromkeys(text for item in slices for text in item.warnings))
    if case.phase_warning:
        warnings.append(case.phase_warning)
    known = 0
    for item in slices:
        known += not _add_image(session, series, item)
    if known == len(slices):
        warnings.insert(0, "This image is here already; nothing was changed.")
    receipt.accepted.append(
        {
            "file": file,
            "case_id": str(case.id),
            "case_url": f"/cases/{case.id}",
            "warnings": warnings,
        }
    )


def _case_for(
    session: Session,
    item: CTSlice,
    uploader: User,
    contrast_phase: str,
    pseudonym: str,
    key: bytes,
) -> Case:
    patient_hmac: str | None = None
    if item.patient_id.strip():
        patient_hmac, name = pseudonymised(item.patient_id, key)
        if item.phantom:  # a phantom has no privacy to lose, and its name says what it is
            name = item.patient_id.strip()[:40]
    elif pseudonym:
        name = pseudonym
    else:
        raise Unreadable("the file names no patient. Type a pseudonym for it and upload it again.")
    if item.study_uid:
        found = session.execute(
            sa.select(Case).where(Case.study_uid == item.study_uid)
        ).scalar_one_or_none()
    else:  # pictures have no study: those under one pseudonym and one uploader belong together
        found = session.execute(
            sa.select(Case)
            .where(
                Case.study_uid.is_(None),
                Case.pseudonym == name,
                Case.uploaded_by_id == uploader.id,
                Case.contrast_phase == contrast_phase,
            )
            .order_by(Case.created_at.desc())
            .limit(1)
        ).scalar_one_or_none()
    if found is not None:
        if patient_hmac != found.patient_hmac and item.study_uid:
            raise Unreadable(
                "its study is here already under another patient. "
                "Check the PatientID at the source."
            )
        return found
    case = Case(
        study_uid=item.study_uid or None,
        patient_hmac=patient_hmac,
        pseudonym=name,
        contrast_phase=contrast_phase,
        phantom=item.phantom,
        uploaded_by_id=uploader.id,
    )
    session.add(case)
    session.flush()
    return case


def _series_for(session: Session, case: Case, series_uid: str) -> Series:
    found = session.execute(
        sa.select(Series).where(Series.case_id == case.id, Series.series_uid == series_uid)
    ).scalar_one_or_none()
    if found is not None:
        return found
    series = Series(case_id=case.id, series_uid=series_uid)
    session.add(series)
    session.flush()
    return series


def _add_image(session: Session, series: Series, item: CTSlice) -> bool:
    """Store one slice; False when it is here already."""
    raw = np.ascontiguousarray(item.pixels, item.pixels.dtype.newbyteorder("<")).tobytes()
    sop_uid = item.sop_uid or f"picture.{hashlib.sha256(raw).hexdigest()[:48]}"
    exists = session.execute(
        sa.select(Image.id).where(
            Image.series_id == series.id, Image.sop_uid == sop_uid, Image.frame == item.frame
        )
    ).first()
    if exists is not None:
        return False
    session.add(
        Image(
            series_id=series.id,
            sop_uid=sop_uid,
            frame=item.frame,
            instance_number=item.instance_number,
            position_mm=item.position_mm,
            rows=item.pixels.shape[0],
            columns=item.pixels.shape[1],
            dtype=item.pixels.dtype.name,
            calibrated=item.calibrated,
            phantom=item.phantom,
            row_spacing_mm=item.spacing_mm[0] if item.spacing_mm else None,
            column_spacing_mm=item.spacing_mm[1] if item.spacing_mm else None,
            tags=dict(item.tags),
            warnings=list(item.warnings),
            pixels_digest=Blob.store(session, zlib.compress(raw, 1), _PIXELS),
        )
    )
    session.flush()
    return True
