"""A data set on disk: one line per ROI, its pixels beside it, a digest over both.

DATA/manifest.json      name, scheme, kind, digest, counts
DATA/lines.jsonl        one Line per ROI
DATA/contexts/ID.npy    a crop of the whole slice around the lesion, in native pixels, wide enough
                        for every View (int16 HU; uint8 or uint16 grey; float32 synthetic ROI)

Phantom, calibrated and uncalibrated ROIs never share a data set.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.dataset.about import About
from ml.ground.counted import counted
from ml.ground.errors import HepaticaError, reason
from ml.ground.records import RecordError, from_json, to_json
from ml.images import greys, roi
from ml.images.ct_slice import MADE_BY, CTSlice, ImageKind
from ml.images.greys import Chosen, Range
from ml.images.roi import Box, Float32, Spacing, View
from ml.lesion import ROI_SIZE_PX, LesionScheme
from ml.phantom import Version
from ml.progress import RunDir

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN = 20


class Source(StrEnum):
    """Where an ROI came from."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    """A generator drew it."""
    PHANTOM = "phantom"


class ManifestError(HepaticaError):
    """A data set that does not hold together; the message lists what to put right."""


@dataclass(frozen=True)
class Line:
    """One ROI of a data set.

    Attributes:
        id: names the context; unique in the data set.
        file: where it came from, relative to what was imported.
        box: the lesion's, in pixels of the image it came from.
        spacing_mm: (row, column), or None.
        diameter_mm: the longer side as given, or by box and spacing; None if unknown.
        seed: of a synthetic ROI.
        sha256: of the context's type, shape and values.
        origin: (x, y) on the image of the context's first pixel.
        image_sha256: of the whole image; equal images of two patients give themselves away.
        surroundings: whether there is tissue around the ROI; False for an image that was the ROI
            itself, whose surroundings are its mirror image.
        phantom_uid: SOP Instance UID of a phantom's slice, which names the simulated patient
            whatever pseudonym they were given since; not part of the digest.
        image_size: (rows, columns) of the image it came from; None in data sets of before this was
            kept. Not part of the digest, which has the image's own.
        room: the additional margin (a fraction of d) that the image has on every side of the ROI;
            None where there is no end to it (a whole slice, which ends in air) and in data sets of
            before. Not part of the digest either.
        groups: what it belongs to besides its class: site, sex, split … (``columns.GROUPS``), as
            the user's table has it. Not part of the digest.
        greys: the grey values of this image that become −1 and 1, where each image tells its own.
    """

    id: str
    file: str
    lesion_class: str
    patient: str
    source: Source
    box: Box
    spacing_mm: Spacing | None
    diameter_mm: float | None
    seed: int | None
    sha256: str
    origin: tuple[int, int] = (0, 0)
    image_sha256: str = ""
    surroundings: bool = True
    phantom_uid: str = ""
    image_size: tuple[int, int] | None = None
    room: float | None = None
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)
    greys: Range | None = None

    @property
    def size_mm(self) -> float | None:
        """The longer side by its box; None where there is no box or no spacing.

        A diameter that somebody wrote down is no measurement of the image, and neither fresh
        phantoms nor lesions that are asked about have one.
        """
        if self.spacing_mm is None or not self.surroundings:
            return None
        row, column = self.spacing_mm
        return max(self.box.width * column, self.box.height * row)

    def to_dict(self) -> dict[str, object]:
        """Everything that the digest is over."""
        # an int and a float that are equal must give one digest
        box = self.box
        return {
            "id": self.id,
            "file": self.file,
            "lesion_class": self.lesion_class,
            "patient": self.patient,
            "source": self.source,
            "box": [float(v) for v in (box.x, box.y, box.width, box.height)],
            "spacing_mm": [float(v) for v in self.spacing_mm] if self.spacing_mm else None,
            "diameter_mm": None if self.diameter_mm is None else float(self.diameter_mm),
            "seed": None if self.seed is None else int(self.seed),
            "sha256": self.sha256,
            "origin": list(self.origin),
            "image_sha256": self.image_sha256,
            "surroundings": self.surroundings,
            **({} if self.greys is None else {"greys": [float(v) for v in self.greys]}),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Line:
        """Raises ManifestError where the form is not that of a line."""
        try:
            spacing = data["spacing_mm"]
            size, room = data.get("image_size"), data.get("room")
            line = cls(
                id=str(data["id"]),
                file=str(data["file"]),
                lesion_class=str(data["lesion_class"]),
                patient=str(data["patient"]),
                source=Source(data["source"]),
                box=Box(*map(float, data["box"])),
                spacing_mm=(float(spacing[0]), float(spacing[1])) if spacing else None,
                diameter_mm=None if data["diameter_mm"] is None else float(data["diameter_mm"]),
                seed=None if data["seed"] is None else int(data["seed"]),
                sha256=str(data["sha256"]),
                origin=(int(data["origin"][0]), int(data["origin"][1])),
                image_sha256=str(data["image_sha256"]),
                surroundings=bool(data["surroundings"]),
                phantom_uid=str(data.get("phantom_uid", "")),
                image_size=(int(size[0]), int(size[1])) if size else None,
                room=None if room is None else float(room),
                greys=None if data.get("greys") is None else greys.checked(data["greys"]),
                groups={str(k): str(v) for k, v in data.get("groups", {}).items()},
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ManifestError(f"A line of the data set is damaged ({error!r}).") from error
        if not _ID.fullmatch(line.id):
            raise ManifestError(f"Line {line.id!r} has an impossible id.")
        return line


@dataclass(frozen=True)
class Finding:
    """A lesion on a whole image, about to become a line.

    ``box`` is None for a 64 × 64 image that is the ROI itself; a synthetic ROI is such an image,
    float32 in [−1, 1]. With ``whole`` an image of any other size is the ROI itself as well: it is
    resampled, and made square by mirroring what it lacks on its shorter side. ``made_by``: what a
    phantom's file says of it (``ml.phantom.Made``).
    """

    pixels: npt.NDArray[Any]
    kind: ImageKind
    lesion_class: str
    patient: str
    file: str
    box: Box | None = None
    spacing_mm: Spacing | None = None
    diameter_mm: float | None = None
    source: Source = Source.REAL
    seed: int | None = None
    phantom_uid: str = ""
    made_by: str = ""
    whole: bool = False
    groups: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def on(
        cls,
        ct_slice: CTSlice,
        box: Box | None,
        *,
        lesion_class: str,
        patient: str,
        file: str,
        diameter_mm: float | None = None,
    ) -> Finding:
        """A lesion marked on a decoded image."""
        return cls(
            pixels=ct_slice.pixels,
            kind=ct_slice.kind,
            lesion_class=lesion_class,
            patient=patient,
            file=file,
            box=box,
            spacing_mm=ct_slice.spacing_mm,
            diameter_mm=diameter_mm,
            source=Source.PHANTOM if ct_slice.phantom else Source.REAL,
            phantom_uid=ct_slice.sop_uid if ct_slice.phantom else "",
            made_by=ct_slice.tags.get(MADE_BY, "") if ct_slice.phantom else "",
        )


def _kind(folder: Path, word: str) -> ImageKind:
    try:
        return ImageKind(word)
    except ValueError as error:
        known = ", ".join(ImageKind)
        raise ManifestError(f"{folder}: kind {word!r} is none of {known}.") from error


def _phantom(head: Mapping[str, Any]) -> Version | None:
    """Which phantom a stored data set is of; one that names none had the first."""
    if head["kind"] != ImageKind.PHANTOM:
        return None
    return Version(head.get("phantom", Version.FIRST))


@dataclass(frozen=True)
class Manifest:
    """A data set: its lines, and where their contexts lie.

    ``mixed_patients``: that a patient may have lesions of several classes has been accepted.
    ``difficulty``: of phantoms, where it is known.
    ``grey_range``: grey values that become −1 and 1, or that each image tells them (they stand in
    its lines); None: the full range of the images' type.
    ``notes``: what should be known about how it was made, a sentence each.
    ``about``: what its owner says of it; not part of the digest.
    ``phantom``: which phantom the images are of; None of others.
    """

    name: str
    scheme: LesionScheme
    kind: ImageKind
    lines: tuple[Line, ...]
    root: Path
    mixed_patients: bool = False
    difficulty: float | None = None
    grey_range: Chosen | None = None
    notes: tuple[str, ...] = ()
    about: About | None = None
    phantom: Version | None = None

    @property
    def digest(self) -> str:
        """sha256 over scheme, kind, grey range and every line, and so over every pixel."""
        content: dict[str, object] = {
            "scheme": self.scheme.to_dict(),
            "kind": self.kind,
            "lines": [line.to_dict() for line in self.lines],
        }
        if self.grey_range is not None:
            content["grey_range"] = greys.stored(self.grey_range)
        text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def patients(self) -> frozenset[str]:
        """Whose lesions they are; a patient with several lesions once."""
        return frozenset(line.patient for line in self.lines)

    def counts(self) -> dict[str, int]:
        """ROIs of each class, in the scheme's order."""
        found = Counter(line.lesion_class for line in self.lines)
        return {key: found[key] for key in self.scheme.keys}

    def context_path(self, line: Line) -> Path:
        """Where a line's context lies: the pixels about its lesion, as ``.npy``."""
        return self.root / "contexts" / f"{line.id}.npy"

    @property
    def of_phantom(self) -> Version:
        """Which phantom it is of.

        Raises:
            ManifestError: of none.
        """
        if self.phantom is None:
            raise ManifestError(f"{self.name} is of no phantom.")
        return self.phantom

    def roi(self, line: Line, window_hu: tuple[float, float], view: View = roi.IDENTITY) -> Float32:
        """The ROI of a line: float32 (64, 64) in [−1, 1]; equal to ``roi.make`` on the image.

        ``window_hu`` matters for HU only: grey values take ``grey_range``, or the full range of
        their type, and synthetic ROIs are in [−1, 1] already.

        Raises:
            ManifestError: its context is missing or altered.
        """
        pixels = _context(self.context_path(line), line.sha256)
        box = line.box.moved(-line.origin[0], -line.origin[1])
        spacing = line.spacing_mm if line.surroundings else None
        values = roi.cut(pixels, box, spacing, None, view)
        if line.greys is not None:
            return roi.normalise(values, line.greys)
        chosen = self.grey_range if isinstance(self.grey_range, tuple) else None
        return roi.normalise(values, range_of(pixels, window_hu, chosen))

    def rois(self, window_hu: tuple[float, float]) -> Float32:
        """All ROIs in the lines' order: float32 (n, 64, 64) in [−1, 1]."""
        rois = np.empty((len(self.lines), ROI_SIZE_PX, ROI_SIZE_PX), np.float32)
        for index, line in enumerate(self.lines):
            rois[index] = self.roi(line, window_hu)
        return rois

    def problems(self) -> tuple[str, ...]:
        """What must be put right before anything trains: one sentence each.

        Classes without an ROI, unknown classes, a patient in two classes (unless accepted), equal
        images of two patients, a lesion listed twice, ids used twice.
        """
        told = []
        known = set(self.scheme.keys)
        for key, number in Counter(line.lesion_class for line in self.lines).items():
            if key not in known:
                told.append(f"Class {key!r} of {number} line(s) is not in {self.scheme.name!r}.")
        for key, number in self.counts().items():
            if number == 0:
                told.append(f"Class {key!r} has no ROI; give some, or a scheme without that class.")
        return (*told, *self.contradictions())

    def contradictions(self) -> tuple[str, ...]:
        """The part of ``problems`` that more lines cannot cure."""
        told = self._mixed() + self._equal_images()
        for line_id, number in Counter(line.id for line in self.lines).items():
            if number > 1:
                told.append(f"Id {line_id!r} is used {number} times.")
        return tuple(told)

    def _mixed(self) -> list[str]:
        if self.mixed_patients:
            return []
        classes = defaultdict(set)
        for line in self.lines:
            classes[line.patient].add(line.lesion_class)
        return [
            f"Patient {patient!r} is in classes {', '.join(sorted(keys))}; correct the labels, or "
            "accept it (--allow-mixed-patients)."
            for patient, keys in classes.items()
            if len(keys) > 1
        ]

    def _equal_images(self) -> list[str]:
        told = []
        images = defaultdict(list)
        for line in self.lines:
            images[line.image_sha256 or line.sha256].append(line)
        for lines in images.values():
            names = ", ".join(sorted({line.file for line in lines}))
            if len({line.patient for line in lines}) > 1:
                patients = ", ".join(sorted({line.patient for line in lines}))
                told.append(f"Patients {patients} have the same image ({names}); keep one.")
                continue
            boxes = defaultdict(list)
            for line in lines:
                boxes[line.box].append(line)
            for box, same in boxes.items():
                if len(same) > 1:
                    files = sorted({line.file for line in same})
                    told.append(
                        f"A lesion is listed {counted(len(same), 'time')} ({', '.join(files)}, box "
                        f"{box.x:g}, {box.y:g}, {box.width:g}, {box.height:g}); keep one line."
                    )
        return told

    def save(self, folder: Path) -> None:
        """Write the data set into a folder, contexts included.

        Raises:
            ManifestError: a context is missing or altered, or the folder cannot be written.
        """
        try:
            contexts = folder / "contexts"
            contexts.mkdir(parents=True, exist_ok=True)
            if folder.resolve() != self.root.resolve():
                for line in self.lines:
                    _context(self.context_path(line), line.sha256)
                    shutil.copyfile(self.context_path(line), contexts / f"{line.id}.npy")
            target = RunDir(folder)
            lines = "".join(json.dumps(stored(line), sort_keys=True) + "\n" for line in self.lines)
            target.write_bytes("lines.jsonl", lines.encode())
            target.write_json(
                "manifest.json",
                {
                    "format": 1,
                    "name": self.name,
                    "scheme": self.scheme.to_dict(),
                    "kind": self.kind,
                    "digest": self.digest,
                    "rois": len(self.lines),
                    "patients": len(self.patients),
                    "classes": self.counts(),
                    "mixed_patients": self.mixed_patients,
                    "difficulty": self.difficulty,
                    "grey_range": greys.stored(self.grey_range),
                    "notes": list(self.notes),
                    **({} if self.about is None else {"about": to_json(self.about)}),
                    **({} if self.phantom is None else {"phantom": self.phantom}),
                },
            )
        except OSError as error:
            raise ManifestError(f"{folder} cannot be written: {reason(error)}.") from error

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read a data set and verify its digest and every context.

        Raises:
            ManifestError: no data set, damaged, or altered since it was prepared.
        """
        try:
            head = json.loads((folder / "manifest.json").read_text("utf-8"))
            text = (folder / "lines.jsonl").read_text("utf-8")
            entries = [json.loads(line) for line in text.splitlines() if line]
        except OSError as error:
            raise ManifestError(
                f"{folder} is no data set ({reason(error)}: {Path(str(error.filename)).name}); "
                "make one with `python -m ml prepare`."
            ) from error
        except ValueError as error:
            raise ManifestError(f"{folder}: manifest or lines are not JSON ({error}).") from error
        try:
            manifest = cls(
                name=str(head["name"]),
                scheme=LesionScheme.from_dict(head["scheme"]),
                kind=_kind(folder, head["kind"]),
                lines=tuple(Line.from_dict(entry) for entry in entries),
                root=folder,
                mixed_patients=bool(head.get("mixed_patients", False)),
                difficulty=None if head.get("difficulty") is None else float(head["difficulty"]),
                grey_range=greys.read(head.get("grey_range")),
                notes=tuple(map(str, head.get("notes", ()))),
                about=from_json(About, head["about"], "about") if "about" in head else None,
                phantom=_phantom(head),
            )
            digest = str(head["digest"])
        except (KeyError, TypeError, AttributeError, ValueError, RecordError) as error:
            if isinstance(error, ManifestError):
                raise
            raise ManifestError(f"{folder}: manifest.json is damaged ({error!r}).") from error
        if digest != manifest.digest:
            raise ManifestError(
                f"{folder}: the digest does not match, so the lines were altered after they were "
                "prepared; prepare the data set again."
            )
        for line in manifest.lines:
            _read_context(manifest.context_path(line), line.sha256)
        return manifest


def sha256_of(pixels: npt.NDArray[Any]) -> str:
    """SHA-256 in hex over type, shape (any) and values, whatever file holds them."""
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{native.dtype.str}{native.shape}".encode())
    digest.update(native.tobytes())
    return digest.hexdigest()


def stored(line: Line) -> dict[str, object]:
    """A line as it is kept on disk: what the digest is over, and what it is not."""
    more = {
        "phantom_uid": line.phantom_uid or None,
        "image_size": line.image_size and list(line.image_size),
        "room": line.room,
        "groups": dict(line.groups) or None,
    }
    return {**line.to_dict(), **{key: value for key, value in more.items() if value is not None}}


def range_of(pixels: npt.NDArray[Any], window_hu: Range, chosen: Chosen | None) -> Range:
    """The values that become −1 and 1: of HU the window, of grey what was chosen or all of it."""
    if pixels.dtype.kind == "f":
        return -1.0, 1.0
    return greys.range_of(pixels, chosen) if pixels.dtype.kind == "u" else window_hu


@lru_cache(maxsize=256)
def _context(path: Path, sha256: str) -> npt.NDArray[Any]:
    return _read_context(path, sha256)


def _read_context(path: Path, sha256: str) -> npt.NDArray[Any]:
    try:
        pixels: npt.NDArray[Any] = np.load(path, allow_pickle=False)
        altered = sha256_of(pixels) != sha256
    except MemoryError:
        raise
    except Exception as error:
        raise ManifestError(
            f"{path} is missing or damaged ({type(error).__name__}); prepare the data set again."
        ) from error
    if altered:
        raise ManifestError(
            f"{path} was altered after it was prepared (its digest does not match); "
            "prepare the data set again."
        )
    pixels.setflags(write=False)
    return pixels
