"""Stimuli: the immutable picture of one ROI as every reader of a study sees it, rendered once.

Real and synthetic ROIs pass the same road: float in [−1, 1] → 8 bits → PNG without compression or
metadata, so that every stimulus has the same number of bytes. What differs before that road (HU
clipped at the window's ends against a generator's tanh) is content; a leak audit measures it.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from app.db import Base, Word, now
from app.errors import Conflict, NotFound
from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.models.ground.append_only import append_only
from app.models.ground.blob import Blob
from app.models.ground.event import Event
from ml.images.roi import to_grey
from ml.lesion import ROI_SIZE_PX


class Source(StrEnum):
    """Where an image comes from: the truth that readers are asked for."""

    REAL = "real"
    SYNTHETIC = "synthetic"


_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def stimulus_png(pixels: npt.NDArray[np.float32]) -> bytes:
    """An ROI (64, 64) in [−1, 1] as 8-bit grey PNG: every ROI gives the same number of bytes.

    IHDR, one IDAT of stored (uncompressed) blocks with filter 0 on every row, IEND; nothing else
    (PNG specification, third edition, 5 and 13).

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    if pixels.shape != (ROI_SIZE_PX, ROI_SIZE_PX) or not np.isfinite(pixels).all():
        raise ValueError(f"A stimulus is made of 64 × 64 finite values, not {pixels.shape}.")
    grey = to_grey(pixels)
    rows = np.zeros((ROI_SIZE_PX, ROI_SIZE_PX + 1), np.uint8)
    rows[:, 1:] = grey
    header = struct.pack(">IIBBBBB", ROI_SIZE_PX, ROI_SIZE_PX, 8, 0, 0, 0, 0)
    return (
        _SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 0))
        + _chunk(b"IEND", b"")
    )


@dataclass(frozen=True)
class Picture:
    """A rendered ROI on its way to becoming a Stimulus.

    ``patient`` stands for the patient of a real one, within this study only. A ``practice`` one
    is read before the study's own images, with feedback, and is in no result.
    """

    png: bytes
    truth: Source
    lesion_class: str
    lesion_id: uuid.UUID | None = None
    patient: str | None = None
    phantom: bool = False
    checkpoint_id: uuid.UUID | None = None
    seed: int | None = None
    practice: bool = False


@dataclass(frozen=True)
class ShownIn:
    """Pictures of some studies, by the digests of their bytes, and the slices of the real ones."""

    digests: tuple[str, ...]
    images: frozenset[uuid.UUID]


def _named(session: Session, picture: Picture) -> str:
    if picture.lesion_id is not None:
        lesion = Lesion.require(session, picture.lesion_id)
        return f"lesion {lesion.number} of {lesion.image.series.case.pseudonym}"
    checkpoint = session.get(Checkpoint, picture.checkpoint_id)
    return f"seed {picture.seed} of {checkpoint.name if checkpoint else 'a checkpoint'}"


@append_only
class Stimulus(Base):
    """One picture of a study with its truth: a lesion's, or a checkpoint's by seed."""

    __tablename__ = "stimulus"
    __table_args__ = (
        sa.UniqueConstraint("study_id", "pixels_digest"),
        sa.Index("ix_stimulus_study_id_lesion_id", "study_id", "lesion_id"),
        sa.CheckConstraint("truth IN ('real','synthetic')", name="truth"),
        sa.CheckConstraint(
            "(truth = 'real' AND lesion_id IS NOT NULL AND checkpoint_id IS NULL)"
            " OR (truth = 'synthetic' AND lesion_id IS NULL AND checkpoint_id IS NOT NULL)",
            name="source",
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("reader_study.id"))
    pixels_digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"), index=True)
    truth: Mapped[Source] = mapped_column(Word(Source, 10))
    lesion_class: Mapped[str] = mapped_column(sa.String(40))
    lesion_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    """No reference: it outlives a lesion whose patient's data were deleted."""
    patient: Mapped[str | None] = mapped_column(sa.String(64))
    phantom: Mapped[bool] = mapped_column(default=False)
    checkpoint_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("checkpoint.id"))
    seed: Mapped[int | None] = mapped_column(sa.BigInteger)
    practice: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)

    lesion: Mapped[Lesion | None] = relationship(
        primaryjoin=lambda: sa.orm.foreign(Stimulus.lesion_id) == Lesion.id, viewonly=True
    )
    checkpoint: Mapped[Checkpoint | None] = relationship()

    @staticmethod
    def told_apart(session: Session, pictures: Sequence[Picture]) -> dict[str, Picture]:
        """Pictures by the digests of their bytes: a study shows none twice under two names.

        Raises:
            Conflict: two pictures are the same; which, is told to who composes the study.
        """
        same: defaultdict[str, list[Picture]] = defaultdict(list)
        for picture in pictures:
            same[Blob.digest_of(picture.png)].append(picture)
        if len(same) == len(pictures):
            return {digest: picture for digest, (picture,) in same.items()}
        groups = [" = ".join(_named(session, one) for one in of) for of in same.values() if of[1:]]
        more = f"; and {len(groups) - 3} more" if len(groups) > 3 else ""
        raise Conflict(
            f"{len(pictures) - len(same)} of the {len(pictures)} images are exact copies of "
            f"others: {'; '.join(sorted(groups)[:3])}{more}. Compose the study anew, with other "
            "lesions or another seed."
        )

    @staticmethod
    def keep(session: Session, study_id: uuid.UUID, pictures: Sequence[Picture]) -> list[Stimulus]:
        """Store pictures as the stimuli of a study, in the order of their digests.

        Raises:
            Conflict: two pictures are the same, or differ in their number of bytes.
        """
        if len({len(picture.png) for picture in pictures}) != 1:
            raise Conflict("The rendered images differ in size and would tell which is which.")
        by_digest = Stimulus.told_apart(session, pictures)
        stimuli = [
            Stimulus(
                study_id=study_id,
                pixels_digest=Blob.store(session, picture.png, "image/png"),
                truth=picture.truth,
                lesion_class=picture.lesion_class,
                lesion_id=picture.lesion_id,
                patient=picture.patient,
                phantom=picture.phantom,
                checkpoint_id=picture.checkpoint_id,
                seed=picture.seed,
                practice=picture.practice,
            )
            for _, picture in sorted(by_digest.items())
        ]
        session.add_all(stimuli)
        session.flush()
        return stimuli

    @staticmethod
    def of_study(
        session: Session, study_id: uuid.UUID, *, practice: bool = False
    ) -> list[Stimulus]:
        """The stimuli of a study, or of its practice, ordered by digest."""
        return list(
            session.scalars(
                sa.select(Stimulus)
                .where(Stimulus.study_id == study_id, Stimulus.practice.is_(practice))
                .order_by(Stimulus.pixels_digest)
            )
        )

    @staticmethod
    def require(session: Session, study_id: uuid.UUID, stimulus_id: uuid.UUID) -> Stimulus:
        """The picture of this study; NotFound when there is none, or it is another study's."""
        stimulus = session.get(Stimulus, stimulus_id)
        if stimulus is None or stimulus.study_id != study_id:
            raise NotFound("There is no such image in this reader study.")
        return stimulus

    @staticmethod
    def shown_in(session: Session, studies: Collection[uuid.UUID]) -> ShownIn:
        """What these studies show, practice included."""
        rows = session.execute(
            sa.select(Stimulus.pixels_digest, Lesion.image_id)
            .outerjoin(Lesion, Lesion.id == Stimulus.lesion_id)
            .where(Stimulus.study_id.in_(studies))
        ).all()
        return ShownIn(
            tuple(sorted({row.pixels_digest for row in rows})),
            frozenset(row.image_id for row in rows if row.image_id),
        )

    @staticmethod
    def withdrawn_sources(session: Session, study_id: uuid.UUID) -> list[Lesion]:
        """The lesions of its images that were withdrawn after they were frozen, the first first."""
        return list(
            session.scalars(
                sa.select(Lesion)
                .join(Stimulus, Stimulus.lesion_id == Lesion.id)
                .where(Stimulus.study_id == study_id, Lesion.withdrawn_at.is_not(None))
                .options(joinedload(Lesion.withdrawn_by))
                .order_by(Lesion.withdrawn_at)
            )
        )

    @staticmethod
    def tell_withdrawal(
        session: Session, lesion_id: uuid.UUID, by: str, *, taken_back: bool = False
    ) -> None:
        """Write into the record of every study that shows a lesion that it was withdrawn, or that
        this was taken back."""
        told = "source lesion withdrawal taken back" if taken_back else "source lesion withdrawn"
        shown = sa.select(Stimulus.study_id).where(Stimulus.lesion_id == lesion_id).distinct()
        for study_id in session.scalars(shown).all():
            Event.record(session, by, told, str(study_id))

    @staticmethod
    def gone(session: Session, study_id: uuid.UUID) -> set[str]:
        """The digests of a study's pictures that were erased with their patient's data."""
        return set(
            session.scalars(
                sa.select(Stimulus.pixels_digest)
                .join(Blob, Blob.digest == Stimulus.pixels_digest)
                .where(Stimulus.study_id == study_id, Blob.erased_at.is_not(None))
            )
        )

    @property
    def badge(self) -> str:
        """The word that stands beside the picture once truth may be shown."""
        return "phantom" if self.phantom and self.truth == Source.REAL else self.truth
