"""From a folder of images, or of DICOM series with a lesion table, to a data set.

The table is a CSV (comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252). Everything wrong with
it or with the images is told at once, and then nothing is written.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from ml.dataset.columns import LATER, OF_PHANTOMS, USED, XYWH, XYXY
from ml.dataset.manifest import Finding, ManifestError, write
from ml.errors import HepaticaError, reason
from ml.images import dicom as dicom_files
from ml.images.ct_slice import CTSlice, DicomError
from ml.images.greys import Range
from ml.images.roi import Box, RoiError, check
from ml.lesion import LesionScheme
from ml.progress import Progress

_BOX = ("x", "y", "width", "height")


class PrepareError(ManifestError):
    """A table or folder from which no data set can be made."""


class _CellError(HepaticaError):
    """One row cannot be used."""


@dataclass(frozen=True)
class Options:
    """What may be chosen of a preparation.

    Attributes:
        mixed_patients: accept lesions of several classes in one patient.
        boxes: what the four numbers of a box are (``columns.BOXES``); None: as the table tells.
        grey_range: grey values that become −1 and 1, of images without HU.
    """

    mixed_patients: bool = False
    boxes: str | None = None
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
        rows = [row for row in rows if row.cells["key_slice"].lower() in ("1", "true", "yes")]
        if not rows:
            raise PrepareError("lesions.csv has no row with key_slice 1.")
    return _prepare(folder, rows, "lesion_class", scheme, out, options or Options())


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
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter) if any(line)]
    except csv.Error as error:
        raise PrepareError(f"{path.name} is not a CSV file ({error}).") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
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
    long = [number for number, line in enumerate(lines[1:], 2) if len(line) > len(header)]
    if long:
        raise PrepareError(
            f"{path.name}: row {long[0]} has more cells than the header (and {len(long) - 1} more "
            "rows); put a cell that contains the delimiter in quotes."
        )
    return [
        _Row(number, dict(zip(header, [*map(str.strip, line), *[""] * len(header)], strict=False)))
        for number, line in enumerate(lines[1:], 2)
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
    findings = _findings(rows, class_column, scheme, options.boxes or XYWH, files, faults)
    yield from write(
        findings,
        len(rows),
        scheme,
        out,
        faults,
        options.mixed_patients,
        _difficulty(folder),
        options.grey_range,
        _unused(rows, out.name),
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
    fit = {XYWH: 0, XYXY: 0}
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
            (XYWH, (x, y, right, bottom)),
            (XYXY, (x, y, right - x, bottom - y)),
        ):
            try:
                check(Box(*box), shape, None)
            except RoiError:
                continue
            fit[what] += 1
    if fit[XYXY] and fit[XYXY] >= fit[XYWH]:
        doubt = "may be" if fit[XYWH] == fit[XYXY] else "looks like"
        raise PrepareError(
            f"The column box {doubt} x1,y1,x2,y2: in every row the third and fourth number are "
            f"larger than the first and second. As x,y,width,height {fit[XYWH]} of {len(cells)} "
            f"boxes fit their images, as corners {fit[XYXY]}. Say which: --boxes xywh or "
            "--boxes xyxy."
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
    boxes: str,
    files: _Files,
    faults: list[str],
) -> Iterator[Finding]:
    """Findings of the good rows; what is wrong with the others goes to ``faults``."""
    for row in rows:
        try:
            lesion_class = _class(row, class_column, scheme)
            patient = row.get("patient")
            if not patient:
                raise _CellError("no patient; patients must be told apart to split them.")
            ct_slice, file = files.slice_of(row)
            box = _box(row, ct_slice, boxes, files)
            diameter = _number(row.get("diameter_mm"), "diameter_mm")
        except (_CellError, RoiError, DicomError) as error:
            faults.append(f"Row {row.number}: {error}")
            continue
        yield Finding.on(
            ct_slice,
            box,
            lesion_class=lesion_class,
            patient=patient,
            file=file,
            diameter_mm=diameter,
        )


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
    try:
        value = float(cell.replace(",", "."))
    except ValueError:
        value = math.nan
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
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != count:
        raise _CellError(f"{what} {cell!r} is not {count} numbers such as 120,80,40,35.")
    return values


def _box(row: _Row, ct_slice: CTSlice, boxes: str, files: _Files) -> Box | None:
    if row.get("box"):
        x, y, third, fourth = _numbers(row.get("box"), 4, "box")
        if boxes == XYWH:
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

    def _index(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.suffix.lower() not in (".csv", ".json", ".png", ".jpg"):
                name = path.relative_to(self.folder).as_posix()
                try:
                    uid = dicom_files.sop_instance_uid(self._bytes(name), name)
                except (DicomError, _CellError):
                    continue
                found.setdefault(uid, name)
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
            file = self.by_uid[uid]
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
        mask = self._read(file)[0].pixels
        if mask.shape != shape:
            raise _CellError(f"mask {file!r} has {mask.shape} pixels, its slice {shape}.")
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise _CellError(f"mask {file!r} is all black.")
        return Box(
            float(columns[0]),
            float(rows[0]),
            float(columns[-1] - columns[0] + 1),
            float(rows[-1] - rows[0] + 1),
        )
