"""One upload, decoded: the slices that can be used and the files that cannot.

What is kept of an upload is its compressed pixels, however large they unpack.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import imagecodecs
import numpy as np

from ml.ground.errors import HepaticaError
from ml.images import dicom
from ml.images.ct_slice import CTSlice
from ml.images.dicom import Identity
from ml.marks.region import Marking


class RefusalCode(StrEnum):
    """What a script can do something about, or tell on."""

    UNUSABLE = "unusable"
    NO_PATIENT = "no_patient"
    NOT_CT = "not_ct"
    UNSUPPORTED_SYNTAX = "unsupported_syntax"
    TOO_LARGE = "too_large"
    TAKEN = "uid_taken"
    """Its SOP Instance UID belongs to an object of other bytes, which is kept."""
    OTHER_PATIENT = "other_patient"
    """Its study is here under another patient."""
    PSEUDONYM = "pseudonym_taken"
    """It names no patient, and the pseudonym that came with it is another patient's."""
    OTHER_STUDY = "other_study"
    """It was sent to another study than its own."""
    BURNED_IN = "burned_in_text"
    """Text is in its pixels, and its door takes none of that."""
    OWN = "own_object"
    """It was rebuilt here, from an image that is here."""
    LEAVING = "being_deleted"
    """Its case is being deleted."""

    @staticmethod
    def of(error: HepaticaError) -> RefusalCode:
        """The code of a file that cannot be decoded."""
        kinds = (
            (dicom.NotCT, RefusalCode.NOT_CT),
            (dicom.UnsupportedSyntax, RefusalCode.UNSUPPORTED_SYNTAX),
            (dicom.TooLarge, RefusalCode.TOO_LARGE),
        )
        return next((code for kind, code in kinds if isinstance(error, kind)), RefusalCode.UNUSABLE)


@dataclass(frozen=True)
class Refusal:
    """A file that was not taken, and why; and which object it is, as far as it could be read."""

    file: str
    reason: str
    code: RefusalCode = RefusalCode.UNUSABLE
    identity: Identity | None = None


@dataclass(frozen=True)
class Addressee:
    """The study that a request stores to, by its address; ``study_uid`` is "" for any."""

    study_uid: str

    def refuses(self, known: Identity) -> str:
        """Why an instance cannot be stored there, as a sentence; "" where it can."""
        named = (("SOP", known.sop_uid), ("Series", known.series_uid), ("Study", known.study_uid))
        missing = [f"{what} Instance UID" for what, uid in named if not uid]
        if missing:
            told = ", no ".join(missing)
            return (
                f"it has no {told}: it is cut short, or an anonymiser has emptied them. Send it "
                "whole, with all three."
            )
        if self.study_uid and self.study_uid != known.study_uid:
            return (
                "it belongs to another study than the one that the address names. Send it to "
                "/dicomweb/studies, or to its own study."
            )
        return ""

    def admit(self, name: str, known: Identity) -> Refusal | None:
        """The refusal of an object that cannot be stored there; None where it can."""
        if not (reason := self.refuses(known)):
            return None
        code = RefusalCode.OTHER_STUDY if known.study_uid else RefusalCode.UNUSABLE
        return Refusal(name, f"{name}: {reason}", code, known)


@dataclass(frozen=True)
class PackedSlice:
    """A decoded slice as it will be stored: its description, and its pixels compressed.

    Attributes:
        pixels: little-endian rows × columns of ``dtype``, zlib-compressed.
        digest: SHA-256 in hex of that, under which they are kept.
    The others are those of `ml.images.ct_slice.CTSlice`.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    frame: int
    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    acquired: str = field(repr=False)
    instance_number: int | None
    orientation: tuple[float, ...] | None
    position: tuple[float, float, float] | None
    position_mm: float | None
    rows: int
    columns: int
    dtype: str
    calibrated: bool
    phantom: bool
    spacing_mm: tuple[float, float] | None
    tags: Mapping[str, str]
    warnings: tuple[str, ...]
    pixels: bytes = field(repr=False)
    digest: str

    @cached_property
    def sha256(self) -> str:
        """Of the pixels before they were compressed, in hex: asked for where there is no UID, or
        where what comes again was compressed otherwise."""
        return hashlib.sha256(zlib.decompress(self.pixels)).hexdigest()

    @classmethod
    def of(cls, item: CTSlice) -> PackedSlice:
        """Compress a slice."""
        raw = np.ascontiguousarray(item.pixels, item.pixels.dtype.newbyteorder("<")).tobytes()
        # the format of zlib, in half its time
        pixels = bytes(imagecodecs.deflate_encode(raw, level=1, raw=False))
        rows, columns = item.size
        return cls(
            study_uid=item.study_uid,
            series_uid=item.series_uid,
            sop_uid=item.sop_uid,
            frame=item.frame,
            patient_id=item.patient_id,
            issuer=item.issuer,
            acquired=item.acquired,
            instance_number=item.instance_number,
            orientation=item.orientation,
            position=item.position,
            position_mm=item.position_mm,
            rows=rows,
            columns=columns,
            dtype=item.pixels.dtype.name,
            calibrated=item.calibrated,
            phantom=item.phantom,
            spacing_mm=item.spacing_mm,
            tags=dict(item.tags),
            warnings=item.warnings,
            pixels=pixels,
            digest=hashlib.sha256(pixels).hexdigest(),
        )


@dataclass(frozen=True)
class ParcelFile:
    """A file that was decoded: its slices (several for a multi-frame object).

    ``identity``: which object it is; None for pictures.
    """

    file: str
    slices: tuple[PackedSlice, ...]
    identity: Identity | None = None


@dataclass(frozen=True)
class ParcelMarking:
    """An object of the upload that marks lesions on images, of this upload or others."""

    file: str
    marking: Marking
    identity: Identity


@dataclass(frozen=True)
class PassedOver:
    """Litter of a file manager, or the index of a disc."""

    file: str


Outcome = ParcelFile | ParcelMarking | Refusal | PassedOver
"""What becomes of a file."""


MOST_DEADLY = 3
"""Files of one upload that may end the process that reads them; then no further one is read."""


@dataclass(frozen=True)
class Limits:
    """How much one upload may hold and cost, all its files and zips together.

    Attributes:
        memory_bytes: of the process that reads it, beyond what it has when it begins.
    """

    files: int
    unpacked_bytes: int
    pixels: int
    seconds: float = math.inf
    memory_bytes: int = 2**31


@dataclass
class Parcel:
    """What one upload holds. The good files go in and the bad ones are listed."""

    files: list[ParcelFile] = field(default_factory=list)
    markings: list[ParcelMarking] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Parcel:
        """All of an upload, file by file."""
        parcel = cls()
        for one in outcomes:
            parcel.take(one)
        return parcel

    def take(self, one: Outcome) -> None:
        """Add what became of a file."""
        if isinstance(one, ParcelFile):
            self.files.append(one)
        elif isinstance(one, ParcelMarking):
            self.markings.append(one)
        elif isinstance(one, Refusal):
            self.refused.append(one)
        else:
            self.passed_over.append(one.file)
