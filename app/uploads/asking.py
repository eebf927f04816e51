"""What people send is read in a process of its own; here it is asked for, and its end survived.

A file at which the process ends, hangs, or takes too much memory is refused by name, and those
after it are read by another process. No file is decoded in the process that answers people.
"""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from app.errors import Unreadable
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
from app.uploads.processes import Worker, none_started, readers
from app.uploads.wire import Ended, Silent, UnusableMessage
from ml.images.ct_slice import MAX_SIDE_PX, CTSlice, DicomError
from ml.images.dicom import Identity

log = logging.getLogger("hepatica.uploads")

SILENCE_S = 60.0
"""So long one slice may be decoded; the largest take seconds."""
_KEPT, _ASKED_MOST = 4, 100
"""Processes for single images that are kept for who asked them, and how often one is asked."""
_TYPES = ("int16", "uint8", "uint16")


class DecoderFault(RuntimeError):
    """A fault of ours in the process that reads files; it says of what kind, and where."""


class _Death(Exception):
    """The process was lost while it read a file."""

    def __init__(
        self, place: int, name: str, words: str, code: RefusalCode, *, begun: bool = True
    ) -> None:
        super().__init__(words)
        self.place = place
        self.begun = begun
        self.refusal = Refusal(name, f"{name}: {words}", code)


def parcel(
    uploads: Sequence[tuple[str, bytes]], limits: Limits, to: Addressee | None = None
) -> Parcel:
    """All of an upload: (name, bytes) pairs; zips are opened, and their files named ``zip/file``.

    Every file is taken or refused by itself, those in a zip too.

    Args:
        to: whom each DICOM object must be for; it is asked before the object is decoded.

    Raises:
        Unavailable: the system starts no process that reads.
        Unreadable: processes ended at it again and again.
    """
    asked = _Upload(uploads, limits, to)
    while True:
        worker = readers().worker()
        try:
            asked.read(worker)
        except _Death as death:
            log.warning("A file of an upload was given up: %s", death)
            if len(asked.deadly) > MOST_DEADLY or death.place in asked.done:
                raise Unreadable(death.refusal.reason) from None
            asked.deadly.add(death.place)
            asked.done[death.place] = death.refusal
        else:
            return Parcel.of(asked.done[place] for place in sorted(asked.done))
        finally:
            worker.close()


@dataclass
class _Upload:
    """An upload while it is read, by one process after the other if need be."""

    files: Sequence[tuple[str, bytes]]
    limits: Limits
    to: Addressee | None
    done: dict[int, Outcome] = field(default_factory=dict)
    """By the place of a file in the upload."""
    deadly: set[int] = field(default_factory=set)
    begun: float = field(default_factory=monotonic)

    def read(self, worker: Worker) -> None:
        """Have the rest of it read.

        Raises:
            _Death: the process was lost.
            DecoderFault
        """
        place, name, slices = 0, "the upload", []
        files = iter(self.files)
        try:
            worker.line.send("parcel", self._told())
            while True:
                kind, told, data = worker.line.receive(SILENCE_S)
                if kind == "over":
                    return
                if kind == "next":
                    following = next(files, None)
                    if following is None:
                        worker.line.send("end")
                    else:
                        worker.line.send("file", *following)
                elif kind == "at":
                    place, name = _AT.validate_python(told)
                elif kind == "slice":
                    slices.append(_packed(told, data))
                elif kind == "file":
                    at, file = _FILE.validate_python(told)
                    self.done[at] = ParcelFile(file.file, tuple(slices), file.identity)
                    slices = []
                elif kind in _OUTCOMES:
                    at, outcome = _OUTCOMES[kind].validate_python(told)
                    self.done[at] = outcome
                else:
                    _refuse(kind, told)
        except _GONE as error:
            words, code = _lost(worker, error, self.limits)
            raise _Death(place, name, words, code) from error

    def _told(self) -> object:
        return {
            "memory": self.limits.memory_bytes,
            "limits": asdict(self.limits),
            "study": None if self.to is None else self.to.study_uid,
            "done": [[place, _pixels(one)] for place, one in self.done.items()],
            "deadly": sorted(self.deadly),
            "spent_s": monotonic() - self.begun,
        }


@dataclass(frozen=True)
class _File:
    file: str
    identity: Identity | None


_AT = TypeAdapter(tuple[int, str])
_FILE = TypeAdapter(tuple[int, _File])
_SLICE = TypeAdapter(PackedSlice)
_OUTCOMES: dict[str, TypeAdapter[tuple[int, Outcome]]] = {
    "marking": TypeAdapter(tuple[int, ParcelMarking]),
    "refusal": TypeAdapter(tuple[int, Refusal]),
    "passed over": TypeAdapter(tuple[int, PassedOver]),
}


class _OutOfMemory(Exception):
    """What the process had was not enough."""


_GONE = (Ended, Silent, UnusableMessage, ValidationError, _OutOfMemory)


def _refuse(kind: str, told: Any) -> None:
    if kind == "memory":
        raise _OutOfMemory
    if kind == "fault":
        log.error("The process that reads files met a fault of ours: %s", str(told)[:300])
        raise DecoderFault(str(told)[:300])
    raise UnusableMessage(kind[:20])


def _pixels(one: Outcome) -> int:
    if isinstance(one, ParcelFile):
        return sum(item.rows * item.columns for item in one.slices)
    return one.marking.pixels if isinstance(one, ParcelMarking) else 0


def _packed(told: Any, data: bytes) -> PackedSlice:
    """A slice as it will be stored; what names its bytes is calculated here."""
    found = _SLICE.validate_python({**told, "pixels": data, "digest": _digest(data)})
    _check(found.rows, found.columns, found.dtype)
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check(rows: int, columns: int, dtype: str) -> None:
    if not (0 < rows <= MAX_SIDE_PX and 0 < columns <= MAX_SIDE_PX and dtype in _TYPES):
        raise UnusableMessage("a slice that there cannot be")


def _lost(worker: Worker, error: Exception, limits: Limits) -> tuple[str, RefusalCode]:
    """Why a process was lost, as the words after a file's name, and what scripts are told."""
    export = "It is damaged, or was made to do harm: export it again, without compression."
    if isinstance(error, _OutOfMemory):
        return (
            f"to read it takes more than the {limits.memory_bytes / 1e6:.0f} MB of memory that an "
            "upload may take. Send the series as single slices, or ask the administrator to raise "
            "HEPATICA_MAX_DECODING_MB.",
            RefusalCode.TOO_LARGE,
        )
    if not isinstance(error, Ended):
        worker.kill()
    code = worker.ended()
    if isinstance(error, Silent):
        return (
            f"after {SILENCE_S:.0f} seconds there was no image of it. {export}",
            RefusalCode.UNUSABLE,
        )
    if not isinstance(error, Ended):
        return f"what was read of it makes no sense. {export}", RefusalCode.UNUSABLE
    if code is None and not worker.line.heard:
        raise none_started()
    if code in (None, -signal.SIGKILL):
        return (
            "the system ended the process that read it, as it does when memory runs out. Send it "
            "again by itself.",
            RefusalCode.TOO_LARGE,
        )
    if code >= 0:
        log.error("The process that reads files ended by a fault of ours, with %d.", code)
        raise DecoderFault(f"it ended with {code}")
    told = signal.Signals(-code).name
    return f"the process that read it crashed ({told}). {export}", RefusalCode.UNUSABLE


@dataclass(frozen=True)
class _Described:
    """A slice without its pixels, as a message tells it."""

    calibrated: bool
    spacing_mm: tuple[float, float] | None
    study_uid: str
    series_uid: str
    sop_uid: str
    frame: int
    patient_id: str
    issuer: str
    acquired: str
    orientation: tuple[float, ...] | None
    position: tuple[float, float, float] | None
    instance_number: int | None
    slice_thickness_mm: float | None
    phantom: bool
    tags: dict[str, str]
    warnings: tuple[str, ...]


_DESCRIBED = TypeAdapter(_Described)
_SHAPE = TypeAdapter(tuple[int, int, str])


class Images:
    """Single images, of programs above all: a process is kept for who has asked, and for nobody
    else, so that no file can reach into what another one sent."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Worker] = OrderedDict()

    def frame(self, whose: str, data: bytes, name: str, number: int | None) -> CTSlice:
        """One image of a file.

        Args:
            whose: who asks.
            number: DICOM frame number, from 1; None for the only one.

        Raises:
            DicomError: there is no such image in it; or the process ended at it.
            Unavailable: the system starts none.
        """
        (found,) = self.frames(whose, data, name, [number])
        if isinstance(found, DicomError):
            raise found
        return found

    def frames(
        self, whose: str, data: bytes, name: str, numbers: Sequence[int | None]
    ) -> list[CTSlice | DicomError]:
        """Several images of a file, each read or refused by itself; raises as ``frame``."""
        worker = self._taken(whose)
        again = worker.asked > 0
        try:
            found = self._read(worker, data, name, numbers)
        except _Death as death:
            worker.close()
            if again and not death.begun:  # it was lost before
                return self.frames(whose, data, name, numbers)
            log.warning("A file of one image was given up: %s", death)
            raise DicomError(death.refusal.reason) from None
        except BaseException:
            worker.close()
            raise
        self._keep(whose, worker)
        return found

    def close(self) -> None:
        """End all that are kept."""
        with self._lock:
            for worker in self._kept.values():
                worker.close()
            self._kept.clear()

    def _taken(self, whose: str) -> Worker:
        with self._lock:
            kept = self._kept.pop(whose, None)
        return kept or readers().worker()

    def _keep(self, whose: str, worker: Worker) -> None:
        worker.asked += 1
        with self._lock:
            if whose in self._kept or worker.asked >= _ASKED_MOST:
                worker.close()
                return
            self._kept[whose] = worker
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)[1].close()

    def _read(
        self, worker: Worker, data: bytes, name: str, numbers: Sequence[int | None]
    ) -> list[CTSlice | DicomError]:
        found: list[CTSlice | DicomError] = []
        begun = False
        told: object = {"memory": self._limits.memory_bytes, "name": name, "frames": list(numbers)}
        try:
            worker.line.send("frames", told, data)
            while True:
                kind, told, pixels = worker.line.receive(SILENCE_S)
                begun = True
                if kind == "over" and len(found) == len(numbers):
                    return found
                if kind == "image":
                    found.append(_image(told, pixels))
                elif kind == "unusable":
                    found.append(DicomError(str(told)))
                elif kind != "at":
                    _refuse(kind, told)
        except _GONE as error:
            words, code = _lost(worker, error, self._limits)
            raise _Death(0, name, words, code, begun=begun) from error


def _image(told: Any, data: bytes) -> CTSlice:
    rows, columns, dtype = _SHAPE.validate_python(told.pop("shape"))
    _check(rows, columns, dtype)
    if len(data) != rows * columns * np.dtype(dtype).itemsize:
        raise UnusableMessage("a slice with other pixels than it has")
    pixels = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(rows, columns)
    described = _DESCRIBED.validate_python(told)
    return CTSlice(pixels, **vars(described))
