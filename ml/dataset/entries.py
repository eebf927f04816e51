"""What every kind of input becomes: an entry with its labels, whose image is read when its turn
comes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ml.dataset.about import About
from ml.dataset.columns import Boxes, Unit
from ml.dataset.folds import part_of
from ml.dataset.labels import Labels, Patients, Whose
from ml.dataset.manifest import Finding
from ml.dataset.table import CellError, PrepareError
from ml.dataset.writing import write
from ml.ground.counted import counted
from ml.ground.plain_text import is_text
from ml.images.ct_slice import NARROW, CTSlice, DicomError
from ml.images.greys import Chosen
from ml.images.picture import PICTURE
from ml.images.roi import Box, RoiError
from ml.lesion import LesionScheme
from ml.phantom import Version
from ml.progress import Progress

_MOST_NOTES = 12
TEST = "test"
LEAST_WHOLE_PX = 12
MOST_LONGER = 3.0
"""An image that is the ROI itself has at least so many pixels on its shorter side, and is at most
so many times as long: of anything longer most of the square would be its mirror image."""


@dataclass(frozen=True)
class Options:
    """What may be chosen of a preparation.

    Attributes:
        mixed_patients: accept lesions of several classes in one patient.
        boxes: what the four numbers of a box are; None: as the table tells.
        grey_range: grey values that become −1 and 1, of images without HU.
        whole: every image is the ROI itself, whatever its size.
        mapped: label → class, where they differ; an empty class leaves rows out.
        patients: how patients are known where no column tells them.
        columns: names used here → header words of the table.
        table: another table than the one of the usual name.
        test: a folder of the same make whose lesions test, and are never trained on.
        unit: what the values of volumes mean.
        about: what the owner says of the data.
    """

    mixed_patients: bool = False
    boxes: Boxes | None = None
    grey_range: Chosen | None = None
    whole: bool = False
    mapped: Mapping[str, str] = field(default_factory=dict)
    patients: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    table: Path | None = None
    test: Path | None = None
    unit: Unit | None = None
    about: About | None = None

    def overruled(self, source: str) -> str:
        """A note for who gave ``patients`` although something else names them too."""
        return f"Patients are told by --patient {self.patients}, not by {source}."


@dataclass(frozen=True)
class Mark:
    """One lesion on one image.

    Attributes:
        file: what it is called, relative to the folder; with the slice's number of a volume.
        box: None where the image is the ROI itself.
        in_volume: whether other slices are in the same file.
    """

    ct_slice: CTSlice
    file: str
    box: Box | None
    diameter_mm: float | None = None
    in_volume: bool = False

    @property
    def volume(self) -> str:
        """The file that other slices are in as well, by the folder it is of; "" if it is none."""
        return self.file.rpartition("#")[0] if self.in_volume else ""


@dataclass(frozen=True)
class Entry:
    """What is told of one lesion, or of the lesions of one mask, before its image is read.

    Attributes:
        where: begins a complaint: ``Row 7``, or the file's name.
        label: the class in the user's words; empty if none.
        patient: as the table tells; empty if it does not.
        marks: reads the image; raises CellError, RoiError, DicomError.
        under: the part of the file's path that names no patient (the folder of its class).
        groups: what the lesion belongs to besides, by ``columns.GROUPS``.
    """

    where: str
    label: str
    patient: str
    marks: Callable[[], Sequence[Mark]]
    under: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What a folder tells of its lesions.

    Attributes:
        notes: sentences that are kept with the data set; ``later``: more of them, known when every
            image has been read.
        difficulty: of phantoms, where the folder tells it.
        phantom: which phantom they are of, where it tells that.
    """

    entries: Sequence[Entry]
    notes: Sequence[str] = ()
    later: Callable[[], Sequence[str]] = tuple
    difficulty: float | None = None
    phantom: Version | None = None

    def tested_on(self, other: Told, folder: Path) -> Told:
        """Both, the other one's lesions for testing alone.

        Raises:
            PrepareError: these lesions have a split already, or both are of different phantoms.
        """
        if None not in (self.phantom, other.phantom) and self.phantom is not other.phantom:
            raise PrepareError(
                f"The folder is of phantom {self.phantom} and --test of phantom {other.phantom}; "
                "what is told of both would be of neither. Prepare one of them anew."
            )
        if any("split" in one.groups for one in self.entries):
            raise PrepareError(
                "The folder tells itself what trains and what tests (split), and --test does so as "
                "well; leave one of the two out."
            )
        train = [replace(one, groups={**one.groups, "split": "train"}) for one in self.entries]
        return replace(
            self,
            entries=(*train, *map(_for_testing, other.entries)),
            notes=(
                *self.notes,
                *(f"Of --test: {note}" for note in other.notes),
                f"{len(other.entries)} rows or images are of {folder.name}, for testing alone.",
            ),
            later=lambda: (*self.later(), *other.later()),
        )


def _for_testing(entry: Entry) -> Entry:
    """The same under ``test/``, so that files of one name in two folders are two."""

    def marks() -> list[Mark]:
        return [replace(mark, file=f"{TEST}/{mark.file}") for mark in entry.marks()]

    return replace(
        entry,
        where=f"--test, {entry.where}",
        marks=marks,
        under=f"{TEST}/{entry.under}" if entry.under else TEST,
        groups={**entry.groups, "split": TEST},
    )


def data_set(
    told: Told, scheme: LesionScheme | None, out: Path, options: Options
) -> Iterator[Progress]:
    """A data set of what was told, under ``out``, whole or not at all.

    Args:
        scheme: None: made of the labels.

    Raises:
        PrepareError: labels that make no scheme, or options that are none.
        ManifestError: everything that is wrong with rows and images, in one message.
    """
    _refuse_half_a_split(told.entries)
    labels = Labels.of([one.label for one in told.entries], scheme, options.mapped, out.name)
    patients = Patients.told(options.patients)
    faults: list[str] = []
    notes = [*told.notes, *labels.notes()]
    findings = _findings(told.entries, labels, patients, options, faults, notes, told.later)
    yield from write(
        findings,
        len(told.entries),
        labels.scheme,
        out,
        faults,
        options.mixed_patients,
        told.difficulty,
        options.grey_range,
        notes,
        sheet=True,
        about=options.about,
        phantom=told.phantom,
    )


def _refuse_half_a_split(entries: Sequence[Entry]) -> None:
    """Ask for the part of every lesion where some tell theirs.

    Raises:
        PrepareError: one has none, or a word that is none: experiments would make folds of all.
    """
    told = [entry.groups.get("split", "") for entry in entries]
    if not any(told):
        return
    for entry, word in zip(entries, told, strict=True):
        if part_of(word) is None:
            what = f"split {word!r} is no part" if word else "no split, and other rows have one"
            raise PrepareError(
                f"{entry.where}: {what}; write train, val or test in every row, or leave the "
                "column out."
            )


def _findings(
    entries: Sequence[Entry],
    labels: Labels,
    patients: Patients,
    options: Options,
    faults: list[str],
    notes: list[str],
    later: Callable[[], Sequence[str]],
) -> Iterator[Finding]:
    """Findings of the good entries; what is wrong with the others goes to ``faults``.

    What the images warn of, and patients whom their files call otherwise, go to ``notes``.
    """
    seen = _Said(options.grey_range is not None)
    parts: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        try:
            lesion_class = labels.class_of(entry.label)
            if lesion_class is None:
                continue
            marks = entry.marks()
            found = [_finding(entry, mark, lesion_class, patients, options) for mark in marks]
        except (CellError, RoiError, DicomError) as error:
            faults.append(f"{entry.where}: {error}")
            continue
        for mark, finding in zip(marks, found, strict=True):
            seen.add(mark, finding.patient)
            parts[finding.patient].add(part_of(entry.groups.get("split", "")) or "")
            yield finding
    both = sorted(patient for patient, of in parts.items() if len(of) > 1)
    shown = _first(both, 5)
    if both and options.test is None:
        notes.append(
            f"In more than one part of the split that is told (train, val, test): "
            f"{counted(len(both), 'patient')} ({shown}). No experiment can keep to it, since it "
            "would test networks on patients that they were trained on. Correct it, or leave the "
            "split to the program with --set split=folds."
        )
    elif both:
        faults.append(
            f"In the folder and in that of --test: {counted(len(both), 'patient')} ({shown}). So "
            "networks would be tested on patients that they were trained on; leave them out of "
            "one, or give other names if they are other people."
        )
    split = {part for of in parts.values() for part in of}
    if split - {""} and not {"train", "test"} <= split:
        notes.append(
            f"The split that is told has {' and '.join(sorted(split))} alone; it needs train and "
            "test to be kept to, so experiments make folds of all patients."
        )
    faults += seen.faults()
    notes += seen.notes()
    notes += later()


def _finding(
    entry: Entry, mark: Mark, lesion_class: str, patients: Patients, options: Options
) -> Finding:
    ct_slice = mark.ct_slice
    file = mark.file.removeprefix(f"{entry.under}/") if entry.under else mark.file
    if patients.rule == Whose.IMAGE:
        file = mark.volume or mark.file  # pictures of one name in two folders are two
    patient = patients.of(entry.patient, file, ct_slice.patient_id, ct_slice.issuer)
    if options.whole:
        _refuse_odd(ct_slice, mark.box)
    for told in (mark.file, patient, *entry.groups.values()):
        if not is_text(told):
            raise CellError(
                f"the name {told!r} is no UTF-8, so no table can hold it; rename the file or "
                "folder."
            )
    found = Finding.on(
        ct_slice,
        mark.box,
        lesion_class=lesion_class,
        patient=patient,
        file=mark.file,
        diameter_mm=mark.diameter_mm,
    )
    return replace(found, whole=options.whole, groups=entry.groups)


def _refuse_odd(ct_slice: CTSlice, box: Box | None) -> None:
    if box is not None:
        raise CellError(
            "a box, center or mask, but with --whole the image itself is the ROI; leave one out."
        )
    rows, columns = ct_slice.size
    short, long = sorted((rows, columns))
    if short < LEAST_WHOLE_PX or long > MOST_LONGER * short:
        raise CellError(
            f"an image of {columns} × {rows} pixels is no ROI: with --whole the shorter side has "
            f"at least {LEAST_WHOLE_PX} pixels and the longer one at most {MOST_LONGER:g} times as "
            "many."
        )
    spacing = ct_slice.spacing_mm
    if spacing is not None and max(spacing) > 1.01 * min(spacing):
        raise CellError(
            f"pixels of {spacing[1]:g} × {spacing[0]:g} mm are not square, and --whole takes the "
            "image as it is; resample it, or mark the lesion."
        )


class _Said:
    """What the images of a data set warn of, and who their files say that they are of."""

    def __init__(self, has_range: bool) -> None:
        self.left_out = (PICTURE, *((NARROW,) if has_range else ()))
        self.warned: dict[str, tuple[str, dict[str, None]]] = {}
        self.studies: dict[str, set[str]] = defaultdict(set)
        self.people: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.volumes: dict[str, set[str]] = defaultdict(set)
        self.boxes: dict[tuple[str, int], list[Box]] = defaultdict(list)

    def add(self, mark: Mark, patient: str) -> None:
        ct_slice = mark.ct_slice
        for text in ct_slice.warnings:
            if not text.startswith(self.left_out):
                kind = re.sub(r"\d[\d.]*", "0", text)
                self.warned.setdefault(kind, (text, {}))[1][mark.file] = None
        if mark.volume:
            self.volumes[mark.volume].add(patient)
        if mark.box is not None:
            self.boxes[mark.file, ct_slice.frame].append(mark.box)
        if ct_slice.study_uid:
            self.studies[ct_slice.study_uid].add(patient)
        if ct_slice.patient_id and not ct_slice.phantom:
            self.people[ct_slice.patient_id, ct_slice.issuer].add(patient)

    def faults(self) -> list[str]:
        """Volumes of several patients: training and test would not be apart."""
        return [
            f"Patients {_first(sorted(patients), 5)} have "
            f"slices of one volume ({volume}), which is of one person; give it one patient."
            for volume, patients in self.volumes.items()
            if len(patients) > 1
        ]

    def notes(self) -> list[str]:
        told = []
        for text, files in self.warned.values():
            names = _first([*files], 3)
            told.append(f"{len(files)} file(s) ({names}): {text}")
        if len(told) > _MOST_NOTES:
            told = [*told[:_MOST_NOTES], f"… and {len(told) - _MOST_NOTES} more kinds of warning."]
        told += self._over_each_other()
        for what, groups in (
            ("slices of one study (StudyInstanceUID)", self.studies.values()),
            ("files with one PatientID", self.people.values()),
        ):
            for patients in groups:
                if len(patients) > 1:
                    shown = _first(sorted(patients), 5)
                    told.append(
                        f"Patients {shown} have {what}: if they are one person, training and test "
                        "are not apart. Correct the column patient, or make sure that an "
                        "anonymiser gave it to all."
                    )
        return told

    def _over_each_other(self) -> list[str]:
        """Lesions of one image that have most of their boxes in common."""
        images = {
            file: alike for (file, _), boxes in self.boxes.items() if (alike := _alike(boxes))
        }
        if not images:
            return []
        shown = _first([*images], 3)
        return [
            f"{sum(images.values())} boxes of {counted(len(images), 'image')} ({shown}) lie mostly "
            "over another one of the same image, and each is a lesion here: if they are one lesion "
            "that was marked several times, keep one row of it."
        ]


def _first(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def _alike(boxes: Sequence[Box]) -> int:
    """How many boxes share more than half of their common area with another one."""
    left, top, wide, high = np.array([(b.x, b.y, b.width, b.height) for b in boxes]).T
    area, found = wide * high, 0
    for i in range(len(boxes)):  # one against all: an image may have thousands
        across = np.minimum(left + wide, left[i] + wide[i]) - np.maximum(left, left[i])
        down = np.minimum(top + high, top[i] + high[i]) - np.maximum(top, top[i])
        both = across.clip(0) * down.clip(0)
        shared = both / (area + area[i] - both)
        found += int((shared > 0.5).sum() > 1)  # itself is one
    return found
