"""What is in a folder, and which command makes a data set of it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.dataset import arrays, coco, folders, prepare, segmentations, table, volumes
from ml.dataset.columns import Boxes
from ml.dataset.entries import Entry, Mark, Options
from ml.dataset.files import Files
from ml.dataset.labels import Labels, Whose
from ml.dataset.manifest import Manifest, ManifestError
from ml.dataset.table import CellError, PrepareError
from ml.images import nifti
from ml.images.ct_slice import DicomError
from ml.images.roi import RoiError
from ml.lesion import ROI_SIZE_PX

_USUAL = ("labels.csv", "lesions.csv")
_LOOKED_AT = 24
"""Images that are decoded, evenly spread."""
_MOST_LABELS = 12


@dataclass(frozen=True)
class Finding:
    """What a folder holds.

    Attributes:
        told: sentences, in the order to read them.
        command: what makes a data set of it, with words in capitals for what only the user knows;
            empty where nothing can.
        wanted: what must be filled in or decided first, a sentence each.
    """

    told: tuple[str, ...]
    command: str
    wanted: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it, for a terminal."""
        rows = list(self.told)
        if self.command:
            rows += ["", "This command takes it:", f"  {self.command}"]
        if self.wanted:
            rows += ["", *(f"- {sentence}" for sentence in self.wanted)]
        return "\n".join(rows)


def look(folder: Path) -> Finding:
    """What a folder, or an npz, holds.

    Raises:
        PrepareError: there is no such folder.
    """
    if not folder.exists():
        raise PrepareError(f"{folder} does not exist.")
    if not folder.is_dir() and folder.suffix.lower() != ".npz":
        raise PrepareError(f"{folder} is neither a folder nor an npz.")
    if (folder / "manifest.json").is_file():
        return _prepared(folder)
    tables = table.tables_in(folder) if folder.is_dir() else []
    files = Files(folder)
    if tables:
        path = next((one for one in tables if one.name in _USUAL), tables[0])
        what = "dicom" if path.name == "lesions.csv" else "images"
        if _names_volumes(path):
            found = _read(lambda told: volumes.entries(folder, path, told)[:2])
            return _finding(folder, "nifti", f"the table {path.name}", found, ["--unit", "hu|grey"])
        found = _read(lambda told: prepare.entries_of(folder, path, ("class",), told)[:2])
        other = len(tables) > 1 and path.name not in _USUAL
        words = ["--table", str(path)] if other else []
        return _finding(folder, what, f"the table {path.name}", found, words)
    packed = arrays.found(folder)
    if packed is not None:
        found = _read(lambda told: arrays.entries(packed, told))
        return _finding(folder, "images", "arrays", found, [])
    boxes = coco.found(folder)
    if boxes is not None:
        found = _read(lambda told: coco.entries(boxes, files, told))
        return _finding(folder, "images", f"boxes in {boxes.name}", found, [])
    marked = _segmented(folder)
    if marked:
        told = "DICOM segmentations and structure sets"
        return _finding(folder, "dicom", told, _Read(marked, (), ()), [], whose="dicom")
    if folders.classes(folder):
        found = _read(lambda told: folders.entries(folder, files, told))
        return _finding(folder, "images", "a folder for each class", found, [])
    if several := prepare.several(folder):
        return Finding((f"There are {several}",), "", ())
    count = sum(1 for _ in folders.files(folder))
    return Finding(
        (f"{count} files that may be images, and nothing that tells their classes.",),
        "",
        (
            "Write labels.csv with the columns file, class and patient, or sort the images into a "
            "folder for each class, of which there must be two.",
        ),
    )


def _prepared(folder: Path) -> Finding:
    """A data set that was prepared, or frozen, already."""
    try:
        known = Manifest.load(folder)
    except ManifestError as error:
        raise PrepareError(str(error)) from error
    counts = ", ".join(f"{n} {key}" for key, n in known.counts().items())
    return Finding(
        (
            f"A data set already: {len(known.lines)} lesions of {len(known.patients)} patients "
            f"({counts}), digest {known.digest[:12]}.",
        ),
        f"python -m ml experiment --data {shlex.quote(str(folder))} --out RUN",
        (),
    )


def _names_volumes(path: Path) -> bool:
    try:
        rows = table.read(path, ("file",))
    except PrepareError:
        return False
    return any(nifti.is_name(row.get("file")) for row in rows)


def _segmented(folder: Path) -> Sequence[Entry]:
    try:
        return segmentations.found(folder, Files(folder)).entries
    except PrepareError:
        return ()


@dataclass(frozen=True)
class _Read:
    """What could be read, and what stood in the way."""

    entries: Sequence[Entry]
    notes: Sequence[str]
    complaints: Sequence[str]


def _read(read: Callable[[Options], tuple[list[Entry], list[str]]]) -> _Read:
    try:
        return _Read(*read(Options()), complaints=())
    except PrepareError as error:
        complaint = str(error)
    try:
        # everything else can be looked at while the user thinks about that
        entries, notes = read(Options(patients=Whose.IMAGE, boxes=Boxes.XYWH))
    except PrepareError as error:
        return _Read((), (), (str(error),))
    return _Read(entries, notes, (complaint,))


def _finding(
    folder: Path, what: str, by: str, read: _Read, words: list[str], whose: str = ""
) -> Finding:
    """What was read, in sentences, with the command that takes it."""
    if not read.entries:
        return Finding((f"{by}, which cannot be used as it is.",), "", tuple(read.complaints))
    # what a mask or an outline marks may be several lesions
    things = "outlined structures" if whose else "masks" if what == "nifti" else "lesions"
    told = [f"{len(read.entries)} {things} told by {by}.", *read.notes]
    wanted = list(read.complaints)
    counts = Counter(entry.label for entry in read.entries)
    shown = ", ".join(f"{k or 'none'} ({n})" for k, n in counts.most_common(_MOST_LABELS))
    told.append(f"Classes: {shown}{' …' if len(counts) > _MOST_LABELS else ''}.")
    patients = {entry.patient for entry in read.entries if entry.patient}
    if patients:
        told.append(f"{len(patients)} patients.")
    elif whose:
        told.append("Patients are told by PatientID, which is replaced by a number.")
    else:
        words += ["--patient", "HOW"]
    try:
        Labels.of([entry.label for entry in read.entries], None, {}, folder.stem)
    except PrepareError as error:
        wanted.append(str(error))
    marks, broken, tried = _decoded(read.entries)
    if broken:
        wanted.append(f"{len(broken)} of {tried} that were tried cannot be read: {broken[0]}")
    if marks:
        told += _images(marks)
        odd = any(mark.ct_slice.size != (ROI_SIZE_PX, ROI_SIZE_PX) for mark in marks)
        if odd and all(mark.box is None for mark in marks):
            words.append("--whole")
            wanted.append(
                "--whole says that each image is the ROI itself. If they are whole slices, leave "
                "it out and mark the lesions: columns box, center or mask."
            )
    command = shlex.join(["python", "-m", "ml", "prepare", what, str(folder), *words])
    return Finding(tuple(told), f"{command} --out DATA", tuple(wanted))


def _images(marks: Sequence[Mark]) -> list[str]:
    images = [mark.ct_slice for mark in marks]
    sizes = Counter(image.size for image in images).most_common(5)
    kinds = Counter(image.kind for image in images)
    told = [
        f"Of {len(images)} images that were decoded: "
        + ", ".join(f"{columns} × {rows} pixels ({n})" for (rows, columns), n in sizes)
        + "; "
        + ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        + "."
    ]
    greys = [image.pixels for image in images if not image.calibrated]
    if greys:
        ends = min(int(one.min()) for one in greys), max(int(one.max()) for one in greys)
        told.append(f"Grey values {ends[0]} to {ends[1]}.")
    return [*told, *sorted({text for image in images for text in image.warnings})]


def _decoded(entries: Sequence[Entry]) -> tuple[list[Mark], list[str], int]:
    """Some of the marks, why others cannot be read, and of how many entries."""
    step = max(1, len(entries) // _LOOKED_AT)
    marks: list[Mark] = []
    broken: list[str] = []
    chosen = entries[::step][:_LOOKED_AT]
    for entry in chosen:
        try:
            marks += entry.marks()
        except (CellError, DicomError, RoiError) as error:
            broken.append(f"{entry.where}: {error}")
    return marks, broken, len(chosen)
