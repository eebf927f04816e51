"""One upload, decoded: the slices that can be used and the files that cannot.

Nothing here touches the database, so neither decoding nor compressing holds its lock. Files are
decoded one after the other, and each slice is packed while the next ones are decoded: what is kept
of an upload is its compressed pixels, however large they unpack.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath
from time import monotonic

import imagecodecs
import numpy as np

from ml.ground.errors import HepaticaError
from ml.images import archive, dicom, picture
from ml.images import ct_slice as image
from ml.images.ct_slice import CTSlice
from ml.images.dicom import Identity, Opened
from ml.marks import reading
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
    OTHER_STUDY = "other_study"
    """It was sent to another study than its own."""
    BURNED_IN = "burned_in_text"
    """Text is in its pixels, and its door takes none of that."""
    OWN = "own_object"
    """It was rebuilt here, from an image that is here."""

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


Admit = Callable[[str, Identity], Refusal | None]
"""Why an object is not wanted, by its name in the upload and what it is; None where it is."""


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
class Limits:
    """How much one upload may hold and cost, all its files and zips together."""

    files: int
    unpacked_bytes: int
    pixels: int
    seconds: float = math.inf


@dataclass
class Parcel:
    """What one upload holds. The good files go in and the bad ones are listed.

    ``passed_over``: litter of file managers, and indexes of discs.
    """

    files: list[ParcelFile] = field(default_factory=list)
    markings: list[ParcelMarking] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls, uploads: Iterable[tuple[str, bytes]], limits: Limits, admit: Admit | None = None
    ) -> Parcel:
        """Decode (name, bytes) pairs; zips are opened, and their files named ``zip/file``.

        Every file is taken or refused by itself, those in a zip too.

        Args:
            admit: is asked of each DICOM object before it is decoded.
        """
        opened = _Opening(cls(), limits, admit)
        for name, data in uploads:
            shown = PurePosixPath(name.replace("\\", "/")).name or "unnamed file"
            if archive.is_zip(data):
                opened.unpack(_printable(shown), data)
            else:
                opened.decode(_printable(shown), data)
        opened.finish()
        return opened.parcel


@dataclass
class _Opening:
    """A parcel while it is opened, and what it may still hold."""

    parcel: Parcel
    limits: Limits
    admit: Admit | None = None
    decoded_files: int = 0
    unpacked_bytes: int = 0
    pixels: int = 0
    begun: float = field(default_factory=monotonic)
    packed: deque[_Packed] = field(default_factory=deque)

    def unpack(self, name: str, data: bytes) -> None:
        count = 0
        try:
            members = archive.unpack(
                data,
                name,
                max_files=max(0, self.limits.files - self.decoded_files),
                max_bytes=max(0, self.limits.unpacked_bytes - self.unpacked_bytes),
                max_file_bytes=image.MAX_FILE_BYTES,
            )
            for member in members:
                count += 1
                self._take(f"{name}/{_printable(member.name)}", member)
        except HepaticaError as error:
            self.parcel.refused.append(Refusal(name, str(error)))
            return
        if not count:
            self.parcel.refused.append(
                Refusal(name, f"{name}: the zip is empty. Choose one that holds CT images.")
            )

    def _take(self, shown: str, member: archive.Member) -> None:
        if member.content is not None:
            self.unpacked_bytes += len(member.content)
            self.decode(shown, member.content)
        elif member.passed_over:
            self.parcel.passed_over.append(shown)
        else:
            self.parcel.refused.append(Refusal(shown, _printable(member.refusal)))

    def decode(self, name: str, data: bytes) -> None:
        self.decoded_files += 1
        known = None
        try:
            if self.decoded_files > self.limits.files:
                raise dicom.TooLarge(
                    f"{name}: this upload has more than {self.limits.files} files. "
                    "Upload the rest by itself."
                )
            most = self.limits.pixels - self.pixels
            if data.startswith((picture.PNG, picture.JPEG)):
                found = dicom.each(data, name, most)
            else:
                opened = dicom.opened(data, name)
                known = opened.identity
                if self.admit is not None and (refusal := self.admit(name, known)):
                    self.parcel.refused.append(refusal)
                    return
                if known.sop_class_uid in reading.KINDS:
                    self._mark(opened, name)
                    return
                found = opened.each(most)
            packed = _Packed(name, known)
            for item in self._in_time(found, name):
                packed.add(item)
        except HepaticaError as error:
            self.parcel.refused.append(Refusal(name, str(error), RefusalCode.of(error), known))
            return
        self.pixels += packed.pixels
        self.packed.append(packed)
        if len(self.packed) > _AHEAD:
            self.parcel.files.append(self.packed.popleft().file())

    def finish(self) -> None:
        """Wait for what is still packed."""
        while self.packed:
            self.parcel.files.append(self.packed.popleft().file())

    def _mark(self, opened: Opened, name: str) -> None:
        """Read what an object marks, within the same limits as images."""
        self._refuse_late(name)
        marking = reading.of(opened.dataset, name, self.limits.pixels - self.pixels)
        self.pixels += marking.pixels
        self.parcel.markings.append(ParcelMarking(name, marking, opened.identity))

    def _refuse_late(self, name: str) -> None:
        if monotonic() - self.begun > self.limits.seconds:
            raise dicom.TooLarge(
                f"{name}: this upload has been read for {self.limits.seconds:.0f} seconds, "
                "which is the most. Upload the rest by itself."
            )

    def _in_time(self, found: Iterator[CTSlice], name: str) -> Iterator[CTSlice]:
        """Its slices. What damaged files cost is limited by time, as their pixels do not count."""
        while True:
            self._refuse_late(name)
            item = next(found, None)
            if item is None:
                return
            yield item


_AHEAD = 2
"""Slices of a file, and files, that wait at most to be packed."""
_packing = ThreadPoolExecutor(2, thread_name_prefix="packing")


class _Packed:
    """A file whose slices are packed by threads of their own."""

    def __init__(self, name: str, identity: Identity | None) -> None:
        self._name, self._identity = name, identity
        self._slices: list[Future[PackedSlice]] = []
        self.pixels = 0

    def add(self, item: CTSlice) -> None:
        """Have a slice packed."""
        if len(self._slices) >= _AHEAD:
            self._slices[-_AHEAD].result()  # no more of them are in memory as they are
        self.pixels += item.pixels.size
        self._slices.append(_packing.submit(PackedSlice.of, item))

    def file(self) -> ParcelFile:
        """The file, once all of it is packed."""
        slices = tuple(one.result() for one in self._slices)
        return ParcelFile(self._name, slices, self._identity)


def _printable(name: str) -> str:
    """A name as people and databases can take it: no control characters, no halves of signs."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)
