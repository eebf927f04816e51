"""An upload is opened: file by file, each taken or refused by itself.

Files are decoded one after the other; meanwhile the next one of a zip is unpacked, and slices of
those before are packed. Nothing of it is for the process that answers people: what is hostile is
opened by ``decoder``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from time import monotonic
from typing import TypeVar

from app.uploads.parcel import (
    MOST_DEADLY,
    Addressee,
    Limits,
    Outcome,
    PackedSlice,
    Parcel,
    ParcelFile,
    ParcelMarking,
    PassedOver,
    Refusal,
    RefusalCode,
)
from ml.ground.errors import HepaticaError
from ml.images import archive, dicom, picture
from ml.images import ct_slice as image
from ml.images.ct_slice import CTSlice
from ml.images.dicom import Identity, Opened
from ml.marks import reading

Uploads = Iterable[tuple[str, bytes]]
"""(name, bytes) of what was sent; zips are opened, and their files named ``zip/file``."""


@dataclass(frozen=True)
class Known:
    """What is known of an upload that ended a process which opened it. Places are from 1.

    Attributes:
        done: places of files that need not be opened again → the pixels that they have.
        deadly: places of files that ended it.
        spent_s: seconds for which it has been read.
    """

    done: Mapping[int, int] = field(default_factory=dict)
    deadly: frozenset[int] = frozenset()
    spent_s: float = 0.0


def opened(uploads: Uploads, limits: Limits, to: Addressee | None = None) -> Parcel:
    """All of an upload, opened in this process: for what was made here.

    Args:
        to: whom each DICOM object must be for; it is asked before the object is decoded.
    """
    return Parcel.of(one for _, one in outcomes(uploads, limits, to))


def outcomes(
    uploads: Uploads,
    limits: Limits,
    to: Addressee | None = None,
    known: Known | None = None,
    at: Callable[[int, str], None] = lambda place, name: None,
) -> Iterator[tuple[int, Outcome]]:
    """What becomes of each file, those in zips too: its place in the upload, and that.

    Args:
        at: is told which file is opened next, by place and name, and of each slice of it.
    """
    known = known or Known()
    opening = _Opening(limits, to, known, at, begun=monotonic() - known.spent_s)
    for name, data in uploads:
        shown = _printable(PurePosixPath(name.replace("\\", "/")).name or "unnamed file")
        if archive.is_zip(data):
            yield from opening.unpack(shown, data)
        else:
            yield from opening.decode(shown, data)
    yield from opening.rest()


@dataclass
class _Opening:
    """An upload while it is opened, and what it may still hold."""

    limits: Limits
    to: Addressee | None
    known: Known
    at: Callable[[int, str], None]
    begun: float
    place: int = 0
    decoded_files: int = 0
    unpacked_bytes: int = 0
    pixels: int = 0
    packed: deque[_Packed] = field(default_factory=deque)

    def unpack(self, name: str, data: bytes) -> Iterator[tuple[int, Outcome]]:
        """The files of a zip; it has a place of its own, before theirs."""
        count = 0
        own = self._begin(name)
        if own in self.known.done:
            return
        try:
            members = archive.unpack(
                data,
                name,
                max_files=max(0, self.limits.files - self.decoded_files),
                max_bytes=max(0, self.limits.unpacked_bytes - self.unpacked_bytes),
                max_file_bytes=image.MAX_FILE_BYTES,
            )
            for member in _ahead(members):
                count += 1
                yield from self._take(f"{name}/{_printable(member.name)}", member)
        except HepaticaError as error:
            yield own, Refusal(name, str(error))
            return
        if not count:
            yield own, Refusal(name, f"{name}: the zip is empty. Choose one that holds CT images.")

    def _begin(self, name: str) -> int:
        self.place += 1
        self.at(self.place, name)
        return self.place

    def _take(self, shown: str, member: archive.Member) -> Iterator[tuple[int, Outcome]]:
        if member.content is not None:
            self.unpacked_bytes += len(member.content)
            yield from self.decode(shown, member.content)
            return
        place = self._begin(shown)
        if place in self.known.done:
            return
        if member.passed_over:
            yield place, PassedOver(shown)
        else:
            yield place, Refusal(shown, _printable(member.refusal))

    def decode(self, name: str, data: bytes) -> Iterator[tuple[int, Outcome]]:
        """One file that is no zip."""
        self.decoded_files += 1
        place = self._begin(name)
        if place in self.known.done:
            self.pixels += self.known.done[place]
            return
        known = None
        try:
            self._refuse_unseen(place, name)
            most = self.limits.pixels - self.pixels
            if data.startswith((picture.PNG, picture.JPEG)):
                found = dicom.each(data, name, most)
            else:
                read = dicom.opened(data, name)
                known = read.identity
                if self.to is not None and (refusal := self.to.admit(name, known)):
                    yield place, refusal
                    return
                if known.sop_class_uid in reading.KINDS:
                    yield place, self._mark(read, name)
                    return
                found = read.each(most)
            packed = _Packed(place, name, known)
            for item in self._in_time(found, place, name):
                packed.add(item)
        except HepaticaError as error:
            yield place, Refusal(name, str(error), RefusalCode.of(error), known)
            return
        self.pixels += packed.pixels
        self.packed.append(packed)
        if len(self.packed) > _AHEAD:
            yield self.packed.popleft().file()

    def rest(self) -> Iterator[tuple[int, Outcome]]:
        """What is still packed."""
        while self.packed:
            yield self.packed.popleft().file()

    def _refuse_unseen(self, place: int, name: str) -> None:
        """What is refused before it is looked at."""
        if self.decoded_files > self.limits.files:
            raise dicom.TooLarge(
                f"{name}: this upload has more than {self.limits.files} files. "
                "Upload the rest by itself."
            )
        if len(self.known.deadly) >= MOST_DEADLY and place > max(self.known.deadly):
            raise dicom.Corrupt(
                f"{name}: {len(self.known.deadly)} files of this upload ended the process that "
                "reads them, so this one was not read. Upload the rest by itself."
            )

    def _mark(self, opened: Opened, name: str) -> ParcelMarking:
        """Read what an object marks, within the same limits as images."""
        self._refuse_late(name)
        marking = reading.of(opened.dataset, name, self.limits.pixels - self.pixels)
        self.pixels += marking.pixels
        return ParcelMarking(name, marking, opened.identity)

    def _refuse_late(self, name: str) -> None:
        if monotonic() - self.begun > self.limits.seconds:
            raise dicom.TooLarge(
                f"{name}: this upload has been read for {self.limits.seconds:.0f} seconds, "
                "which is the most. Upload the rest by itself."
            )

    def _in_time(self, found: Iterator[CTSlice], place: int, name: str) -> Iterator[CTSlice]:
        """Its slices. What damaged files cost is limited by time, as their pixels do not count."""
        while True:
            self._refuse_late(name)
            item = next(found, None)
            if item is None:
                return
            yield item
            self.at(place, name)


Item = TypeVar("Item")


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same, each unpacked by a thread of its own while the one before it is decoded."""
    coming = _unpacking.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = _unpacking.submit(next, items, None)
        yield item


_AHEAD = 2
"""Slices of a file, and files, that wait at most to be packed."""
_packing = ThreadPoolExecutor(2, thread_name_prefix="packing")
_unpacking = ThreadPoolExecutor(1, thread_name_prefix="unpacking")


class _Packed:
    """A file whose slices are packed by threads of their own."""

    def __init__(self, place: int, name: str, identity: Identity | None) -> None:
        self._place, self._name, self._identity = place, name, identity
        self._slices: list[Future[PackedSlice]] = []
        self.pixels = 0

    def add(self, item: CTSlice) -> None:
        """Have a slice packed."""
        if len(self._slices) >= _AHEAD:
            self._slices[-_AHEAD].result()  # no more of them are in memory as they are
        self.pixels += item.pixels.size
        self._slices.append(_packing.submit(PackedSlice.of, item))

    def file(self) -> tuple[int, ParcelFile]:
        """Its place, and the file, once all of it is packed."""
        slices = tuple(one.result() for one in self._slices)
        return self._place, ParcelFile(self._name, slices, self._identity)


def _printable(name: str) -> str:
    """A name as people and databases can take it: no control characters, no halves of signs."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)
