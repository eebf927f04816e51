"""From a folder of images, or of DICOM series with a lesion table, to a data set.

The table is a CSV (comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252). Everything wrong with
it or with the images is told at once, and then nothing is written.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from scipy import ndimage

from ml.dataset.columns import LATER, OF_PHANTOMS, USED, Boxes
from ml.dataset.manifest import Finding, ManifestError, write
from ml.ground.delimited import Rows
from ml.ground.errors import HepaticaError, reason
from ml.images import dicom as dicom_files
from ml.images.ct_slice import NARROW, CTSlice, DicomError
from ml.images.greys import Range
from ml.images.picture import JPEG, PICTURE
from ml.images.roi import Box, RoiError, check
from ml.lesion import LesionScheme
from ml.progress import Progress

_BOX = ("x", "y", "width", "height")
_YES = ("1", "1.0", "1,0", "true", "t", "yes", "y", "x")
_NO = ("", "0", "0.0", "0,0", "false", "f", "no", "n")
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NOBODY = re.compile(
    r"nan|none|null|nil|n/?a|#.*[!?a]|-+|\?+|\.+|unknown|anon(ym(ous|i[sz]ed)?)?", re.IGNORECASE
)
"""What programs write where there is nothing."""
_SHORTENED = re.compile(r"\d([.,]\d+)?e\+\d+", re.IGNORECASE)
"""A long number as spreadsheets save it: what told patients apart is gone."""
_DIAMETERS_DIFFER = 2.0
_MOST_NOTES = 12


class PrepareError(ManifestError):
    """A table or folder from which no data set can be made."""


class _CellError(HepaticaError):
    """One row cannot be used."""


@dataclass(frozen=True)
class Options:
    """What may be chosen of a preparation.

    Attributes:
        mixed_patients: accept lesions of several classes in one patient.
        boxes: what the four numbers of a box are; None: as the table tells.
        grey_range: grey values that become −1 and 1, of images without HU.
    """

    mixed_patients: bool = False
    boxes: Boxes | None = None
    grey_range: Range | None = None


def images(
    folder: Path, scheme: LesionScheme, out: Path, options: Options | None = None
) -> Iterator[Progress]:
    """A data set from ``folder/labels.csv``; its columns are ``columns.IMAGES``.

    A 64 × 64 image without a box is the ROI itself. DICOM files are read as well as pictures.

    Raises:
        PrepareError: the table cannot be read.
        ManifestError: everything that is wrong with rows and images, in one message.
    """
    rows = _table(folder / "labels.csv", ("file", "class", "patient"))
    return _prepare(folder, rows, "class", scheme, out, options or Options())


def dicom(
    folder: Path, scheme: LesionScheme, out: Path, options: Options | None = None
) -> Iterator[Progress]:
    """A data set from DICOM files under ``folder`` and ``folder/lesions.csv``.

    Its columns are ``columns.DICOM``.

    Raises:
        As ``images``.
    """
    rows = _table(folder / "lesions.csv", ("lesion_class", "patient"))
    header = rows[0].cells
    if "file" not in header and "sop_instance_uid" not in header:
        raise PrepareError("lesions.csv has neither a column file nor sop_instance_uid.")
    if "key_slice" in header:
        rows = [row for row in rows if _is_key(row)]
        if not rows:
            raise PrepareError("lesions.csv has no row with key_slice 1.")
    return _prepare(folder, rows, "lesion_class", scheme, out, options or Options())


def _is_key(row: _Row) -> bool:
    cell = row.cells["key_slice"].lower()
    if cell in _YES or cell in _NO:
        return cell in _YES
    raise PrepareError(
        f"Row {row.number}: key_slice {row.cells['key_slice'][:40]!r} is neither 1 nor 0; write 1 "
        "for the rows to take, and 0 for the others."
    )


@dataclass(frozen=True)
class _Row:
    """One row of a table: where it stands, and its cells by lower-case column name."""

    number: int
    cells: Mapping[str, str]

    def get(self, column: str) -> str:
        return self.cells.get(column, "")


def _table(path: Path, needed: tuple[str, ...]) -> list[_Row]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PrepareError(
            f"{path} cannot be read ({reason(error)}); it must list {', '.join(needed)}."
        ) from error
    text = _decoded(data, path.name)
    try:
        # empty lines count: rows have the numbers that a spreadsheet shows
        lines = [(number, line) for number, line in enumerate(Rows(text), 1) if any(line)]
    except csv.Error as error:
        raise PrepareError(f"{path.name} is not a CSV file ({error}).") from error
    header = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    missing = [column for column in needed if column not in header]
    if missing:
        raise PrepareError(
            f"{path.name} has no column {', '.join(missing)}; its columns are "
            f"{', '.join(header) or 'none'}."
        )
    if len(set(header)) < len(header):
        raise PrepareError(f"{path.name} has a column twice: {', '.join(header)}.")
    if len(lines) == 1:
        raise PrepareError(f"{path.name} has a header but no rows.")
    long = [number for number, line in lines[1:] if len(line) > len(header)]
    if long:
        raise PrepareError(
            f"{path.name}: row {long[0]} has more cells than the header (and {len(long) - 1} more "
            "rows); put a cell that contains the delimiter in quotes."
        )
    return [
        _Row(number, dict(zip(header, [*map(str.strip, line), *[""] * len(header)], strict=False)))
        for number, line in lines[1:]
    ]


def _decoded(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise PrepareError(f"{name} is not text; save it as CSV in UTF-8.")


def _prepare(
    folder: Path,
    rows: list[_Row],
    class_column: str,
    scheme: LesionScheme,
    out: Path,
    options: Options,
) -> Iterator[Progress]:
    faults: list[str] = []
    files = _Files(folder, any(not row.get("file") for row in rows))
    if options.boxes is None:
        _refuse_doubtful_boxes(rows, files)
    notes = _unused(rows, out.name)
    findings = _findings(rows, class_column, scheme, options, files, faults, notes)
    yield from write(
        findings,
        len(rows),
        scheme,
        out,
        faults,
        options.mixed_patients,
        _difficulty(folder),
        options.grey_range,
        notes,
        sheet=True,
    )


def _unused(rows: list[_Row], name: str) -> list[str]:
    """A sentence for the columns that nothing is made of."""
    header = [column for column in rows[0].cells if column]
    told = []
    later = [column for column in header if column in LATER]
    if later:
        told.append(
            f"Not used yet: column {', '.join(later)}. Folds are drawn from patients alone: there "
            "are no fixed test sets, and no results by group."
        )
    other = [column for column in header if column not in (*USED, *LATER, *OF_PHANTOMS)]
    if other:
        told.append(f"Not used: column {', '.join(other)}.")
    return told


def _refuse_doubtful_boxes(rows: list[_Row], files: _Files) -> None:
    """Ask whether a box is x,y,width,height where every box of a table may be two corners as well.

    Raises:
        PrepareError: it may.
    """
    cells = [(row, row.get("box")) for row in rows if row.get("box")]
    fit = {Boxes.XYWH: 0, Boxes.XYXY: 0}
    for row, cell in cells:
        try:
            x, y, right, bottom = _numbers(cell, 4, "box")
        except _CellError:
            continue  # told with its row later
        if right <= x or bottom <= y:
            return  # no corner lies there
        try:
            shape = files.slice_of(row)[0].pixels.shape
        except (_CellError, DicomError):
            continue
        for what, box in (
            (Boxes.XYWH, (x, y, right, bottom)),
            (Boxes.XYXY, (x, y, right - x, bottom - y)),
        ):
            try:
                check(Box(*box), shape, None)
            except RoiError:
                continue
            fit[what] += 1
    if fit[Boxes.XYXY] and fit[Boxes.XYXY] >= fit[Boxes.XYWH]:
        doubt = "may be" if fit[Boxes.XYWH] == fit[Boxes.XYXY] else "looks like"
        raise PrepareError(
            f"The column box {doubt} x1,y1,x2,y2: in every row the third and fourth number are "
            f"larger than the first and second. As x,y,width,height {fit[Boxes.XYWH]} of "
            f"{len(cells)} boxes fit their images, as corners {fit[Boxes.XYXY]}. "
            "Say which: --boxes xywh or --boxes xyxy."
        )


def _difficulty(folder: Path) -> float | None:
    """What ``phantom`` told of the images that it wrote there, if it did."""
    try:
        told = json.loads((folder / "phantom.json").read_text("utf-8"))["difficulty"]
        return float(told)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _findings(
    rows: list[_Row],
    class_column: str,
    scheme: LesionScheme,
    options: Options,
    files: _Files,
    faults: list[str],
    notes: list[str],
) -> Iterator[Finding]:
    """Findings of the good rows; what is wrong with the others goes to ``faults``.

    What the images warn of, and patients whom their files call otherwise, go to ``notes``.
    """
    seen = _Said(options.grey_range is not None)
    for row in rows:
        try:
            lesion_class = _class(row, class_column, scheme)
            patient = _patient(row)
            ct_slice, file = files.slice_of(row)
            box = _box(row, ct_slice, options.boxes or Boxes.XYWH, files)
            diameter = _number(row.get("diameter_mm"), "diameter_mm")
            _refuse_other_diameter(diameter, box, ct_slice)
        except (_CellError, RoiError, DicomError) as error:
            faults.append(f"Row {row.number}: {error}")
            continue
        seen.add(ct_slice, file, patient)
        yield Finding.on(
            ct_slice,
            box,
            lesion_class=lesion_class,
            patient=patient,
            file=file,
            diameter_mm=diameter,
        )
    notes += seen.notes()


def _patient(row: _Row) -> str:
    patient = row.get("patient")
    if not patient or _NOBODY.fullmatch(patient):
        told = f"patient {patient!r} names nobody" if patient else "no patient"
        raise _CellError(f"{told}; patients must be told apart to split them.")
    if _SHORTENED.fullmatch(patient):
        raise _CellError(
            f"patient {patient!r} is a number that a spreadsheet shortened, so patients cannot be "
            "told apart; format the column as text and export it again."
        )
    return patient


def _refuse_other_diameter(diameter: float | None, box: Box | None, ct_slice: CTSlice) -> None:
    spacing = ct_slice.spacing_mm
    if diameter is None or box is None or spacing is None:
        return
    longer = max(box.width * spacing[1], box.height * spacing[0])
    if not 1 / _DIAMETERS_DIFFER <= diameter / longer <= _DIAMETERS_DIFFER:
        raise _CellError(
            f"diameter_mm is {diameter:g}, and the longer side of the box {longer:.1f} mm; correct "
            "the one that is wrong (centimetres, pixels, another lesion), or leave diameter_mm out."
        )


class _Said:
    """What the images of a data set warn of, and who their files say that they are of."""

    def __init__(self, has_range: bool) -> None:
        self.left_out = (PICTURE, *((NARROW,) if has_range else ()))
        self.warned: dict[str, tuple[str, dict[str, None]]] = {}
        self.studies: dict[str, set[str]] = defaultdict(set)
        self.people: dict[tuple[str, str], set[str]] = defaultdict(set)

    def add(self, ct_slice: CTSlice, file: str, patient: str) -> None:
        for text in ct_slice.warnings:
            if not text.startswith(self.left_out):
                kind = re.sub(r"\d[\d.]*", "0", text)
                self.warned.setdefault(kind, (text, {}))[1][file] = None
        if ct_slice.study_uid:
            self.studies[ct_slice.study_uid].add(patient)
        if ct_slice.patient_id and not ct_slice.phantom:
            self.people[ct_slice.patient_id, ct_slice.issuer].add(patient)

    def notes(self) -> list[str]:
        told = []
        for text, files in self.warned.values():
            names = ", ".join([*files][:3]) + (" …" if len(files) > 3 else "")
            told.append(f"{len(files)} file(s) ({names}): {text}")
        if len(told) > _MOST_NOTES:
            told = [*told[:_MOST_NOTES], f"… and {len(told) - _MOST_NOTES} more kinds of warning."]
        for what, groups in (
            ("slices of one study (StudyInstanceUID)", self.studies.values()),
            ("files with one PatientID", self.people.values()),
        ):
            for patients in groups:
                if len(patients) > 1:
                    shown = ", ".join(sorted(patients)[:5]) + (" …" if len(patients) > 5 else "")
                    told.append(
                        f"Patients {shown} have {what}: if they are one person, training and test "
                        "are not apart. Correct the column patient, or make sure that an "
                        "anonymiser gave it to all."
                    )
        return told


def _class(row: _Row, column: str, scheme: LesionScheme) -> str:
    label = row.get(column)
    if not label:
        raise _CellError("no class; label it or remove the row.")
    key = label.lower().replace(" ", "_").replace("-", "_")
    if key not in scheme.keys:
        raise _CellError(
            f"class {label!r} is not in scheme {scheme.name!r} ({', '.join(scheme.keys)})."
        )
    return key


def _number(cell: str, what: str) -> float | None:
    """A number with decimal point or comma; None for an empty cell."""
    if not cell:
        return None
    text = cell.replace(",", ".")
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not math.isfinite(value) or value <= 0:
        raise _CellError(f"{what} {cell!r} is not a number above zero.")
    return value


def _frame(cell: str) -> int | None:
    """A whole number from 1, as people and spreadsheets write it (2, 2.0, 2,0); None if empty."""
    if not cell:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([.,]0+)?", cell)
    if found is None or int(found[1]) == 0:
        raise _CellError(f"frame {cell!r} is not a whole number from 1.")
    return int(found[1])


def _numbers(cell: str, count: int, what: str) -> list[float]:
    parts = [part for part in re.split(r"[,;\s]+", cell.strip("[]() ")) if part]
    # float() also takes 1_000 and other scripts' digits
    values = [float(part) for part in parts if _DECIMAL.fullmatch(part)]
    if not len(values) == len(parts) == count:
        raise _CellError(f"{what} {cell!r} is not {count} numbers such as 120,80,40,35.")
    return values


def _box(row: _Row, ct_slice: CTSlice, boxes: str, files: _Files) -> Box | None:
    if row.get("box"):
        x, y, third, fourth = _numbers(row.get("box"), 4, "box")
        if boxes == Boxes.XYWH:
            return Box(x, y, third, fourth)
        if third <= x or fourth <= y:
            raise _CellError(
                f"box {row.get('box')!r} is no x1,y1,x2,y2: the second corner lies left of or "
                "above the first."
            )
        return Box(x, y, third - x, fourth - y)
    cells = [row.get(column) for column in _BOX]
    if all(cells):
        return Box(*(_numbers(cell.replace(",", "."), 1, "box")[0] for cell in cells))
    if any(cells):
        raise _CellError("the box lacks one of x, y, width, height.")
    if row.get("mask"):
        return files.box_of_mask(row.get("mask"), ct_slice.pixels.shape)
    if row.get("center"):
        diameter = _number(row.get("diameter_mm"), "diameter_mm")
        if diameter is None:
            raise _CellError("a center needs a diameter_mm.")
        x, y = _numbers(row.get("center"), 2, "center")
        return Box.around(x, y, diameter, ct_slice.spacing_mm)
    return None


class _Files:
    """The files under a folder, by name or by SOP Instance UID; none outside it."""

    def __init__(self, folder: Path, by_uid: bool) -> None:
        self.folder = folder
        self.root = folder.resolve()
        self.by_uid = self._index() if by_uid else {}
        self._read = lru_cache(maxsize=4)(self._decode)

    def _index(self) -> dict[str, dict[str, str]]:
        """For each SOP Instance UID the files that have it, by what they hold."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.suffix.lower() not in (".csv", ".json", ".png", ".jpg"):
                name = path.relative_to(self.folder).as_posix()
                try:
                    data = self._bytes(name)
                    uid = dicom_files.sop_instance_uid(data, name)
                except (DicomError, _CellError):
                    continue
                found[uid].setdefault(hashlib.sha256(data).hexdigest(), name)
        return found

    def _bytes(self, file: str) -> bytes:
        name = PurePosixPath(file.replace("\\", "/"))
        path = (self.root / name).resolve()
        if name.is_absolute() or ".." in name.parts or not path.is_relative_to(self.root):
            raise _CellError(f"file {file!r} lies outside the folder; give a path within it.")
        try:
            return path.read_bytes()
        except (OSError, ValueError) as error:
            told = reason(error) if isinstance(error, OSError) else error
            raise _CellError(f"file {file!r} cannot be read: {told}.") from error

    def _decode(self, file: str) -> tuple[CTSlice, ...]:
        return dicom_files.read(self._bytes(file), file)

    def slice_of(self, row: _Row) -> tuple[CTSlice, str]:
        """The slice of a row, and the file it is in, relative to the folder."""
        uid, file = row.get("sop_instance_uid"), row.get("file")
        if not file:
            if not uid:
                raise _CellError("neither a file nor a sop_instance_uid.")
            if uid not in self.by_uid:
                raise _CellError(f"no file under the folder has SOP Instance UID {uid}.")
            files = [*self.by_uid[uid].values()]
            if len(files) > 1:
                raise _CellError(
                    f"{len(files)} files that differ have SOP Instance UID {uid} "
                    f"({', '.join(files[:3])}); say which in a column file."
                )
            file = files[0]
        slices = self._read(file)
        if uid and slices[0].sop_uid != uid:
            raise _CellError(f"file {file!r} has SOP Instance UID {slices[0].sop_uid}, not {uid}.")
        frame = _frame(row.get("frame"))
        if frame is None and len(slices) > 1:
            raise _CellError(f"file {file!r} has {len(slices)} frames; give a column frame.")
        number = 1 if frame is None else frame
        if number > len(slices):
            raise _CellError(f"file {file!r} has {len(slices)} frame(s), not {number}.")
        return slices[number - 1], PurePosixPath(file.replace("\\", "/")).as_posix()

    def box_of_mask(self, file: str, shape: tuple[int, ...]) -> Box:
        if self._bytes(file).startswith(JPEG):
            raise _CellError(
                f"mask {file!r} is a JPEG, whose compression leaves grey around a lesion; save it "
                "as PNG."
            )
        found = self._read(file)[0]
        if found.calibrated:
            raise _CellError(f"mask {file!r} is a CT slice; give a picture, black but the lesion.")
        mask = found.pixels
        if mask.shape != shape:
            raise _CellError(f"mask {file!r} has {mask.shape} pixels, its slice {shape}.")
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise _CellError(f"mask {file!r} is all black.")
        ends = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
        if ends == (0, mask.shape[0], 0, mask.shape[1]):
            raise _CellError(
                f"mask {file!r} is not black at any edge: is it inverted? The lesion must be what "
                "is not black."
            )
        regions, count = ndimage.label(mask, np.ones((3, 3)))
        slices = ndimage.find_objects(regions)
        if not any((a.start, a.stop, b.start, b.stop) == ends for a, b in slices):
            raise _CellError(
                f"mask {file!r} has {count} separate regions, and one box would span them all; "
                "give each lesion a mask and a row of its own."
            )
        top, bottom, left, right = ends
        return Box(float(left), float(top), float(right - left), float(bottom - top))
