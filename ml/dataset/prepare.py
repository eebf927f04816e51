"""From a folder of images, of DICOM series or of volumes to a data set.

What is in the folder is told by a table, by one folder for each class, or by the files themselves.
Everything wrong with any of them is told at once, and then nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from ml.dataset import arrays, cells, coco, folders, segmentations, table
from ml.dataset import volumes as nifti_volumes
from ml.dataset.columns import Boxes
from ml.dataset.entries import Entry, Mark, Options, Told, data_set
from ml.dataset.files import Files
from ml.dataset.labels import Whose
from ml.dataset.table import CellError, PrepareError, Row
from ml.images.ct_slice import CTSlice, DicomError
from ml.images.roi import Box, RoiError, check
from ml.lesion import LesionScheme
from ml.phantom import Version
from ml.progress import Progress

_BOX = ("x", "y", "width", "height")
_DIAMETERS_DIFFER = 2.0
_MOST_ASIDE = 6
_MOST_FOLDERS = 12
"""More are those of patients."""


def images(
    folder: Path, scheme: LesionScheme | None, out: Path, options: Options | None = None
) -> Iterator[Progress]:
    """A data set from ``folder/labels.csv``, a COCO file, arrays, or a folder for each class.

    The table's columns are ``columns.IMAGES``; ``folder`` may be an npz itself. A 64 × 64 image
    without a box is the ROI itself, as every image is with ``options.whole``. DICOM files are read
    as well as pictures.

    Args:
        scheme: None: made of the labels.

    Raises:
        PrepareError: the table cannot be read, or there is nothing that tells the classes.
        ManifestError: everything that is wrong with rows and images, in one message.
    """
    chosen = options or Options()
    return data_set(_with_test(_images, folder, chosen), scheme, out, chosen)


def _images(folder: Path, options: Options) -> Told:
    path = table.found(folder, "labels.csv", options.table)
    read = _without_table(folder, path, options)
    return Told(*read) if read is not None else _of_table(folder, path, ("file", "class"), options)


def _with_test(of: Callable[[Path, Options], Told], folder: Path, options: Options) -> Told:
    """What a folder tells, together with that of ``options.test``."""
    told = of(folder, options)
    if options.test is None:
        return told
    if options.test.resolve() == folder.resolve():
        raise PrepareError("--test names the folder that is trained on; give another one.")
    return told.tested_on(of(options.test, replace(options, table=None)), options.test)


def _without_table(
    folder: Path, path: Path, options: Options
) -> tuple[list[Entry], list[str]] | None:
    """Entries that something else than a table tells; None where there is a table, or nothing."""
    if path.suffix.lower() == ".json":
        return coco.entries(path, Files(folder), options)
    if path.exists():
        return None
    packed = arrays.found(folder)
    if packed is not None:
        return arrays.entries(packed, options)
    boxes = coco.found(folder)
    if boxes is not None:
        return coco.entries(boxes, Files(folder), options)
    if folders.classes(folder):
        return folders.entries(folder, Files(folder), options)
    if options.table is None and folder.is_dir():
        raise _untold(folder, path.name)
    return None


def _untold(folder: Path, name: str) -> PrepareError:
    """The refusal of a folder in which nothing tells the classes."""
    only = folders.only_class(folder)
    if only is not None:
        return PrepareError(
            f"{folder} has one folder with images, {only}, and so one class; two are the least "
            f"that can be told apart. Add a folder of another class, or write {name} with the "
            "columns file, class and patient."
        )
    if words := several(folder):
        return PrepareError(f"{folder} has {words}")
    return PrepareError(
        f"{folder} has neither {name}, a COCO file, arrays nor a folder for each class, so "
        f"nothing tells the classes. Write {name} with the columns file, class and patient, or "
        "sort the images into a folder for each class."
    )


def several(folder: Path) -> str | None:
    """Words for a folder in which more than one file tells classes, so that none is taken."""
    boxes, packed = coco.all_in(folder), sorted(folder.glob("*.npz"))
    if len(boxes) > 1:
        return f"{len(boxes)} COCO files ({_names(boxes)}); name one of them with --table."
    if len(packed) > 1:
        return f"{len(packed)} npz ({_names(packed)}); give one of them instead of the folder."
    return None


def _names(paths: Sequence[Path]) -> str:
    rest = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(path.name for path in paths[:3]) + rest


def dicom(
    folder: Path, scheme: LesionScheme | None, out: Path, options: Options | None = None
) -> Iterator[Progress]:
    """A data set from DICOM files under ``folder`` and ``folder/lesions.csv``.

    Its columns are ``columns.DICOM``. Without a table the segmentations (SEG) and structure sets
    (RTSTRUCT) in the folder tell the lesions.

    Args:
        scheme: None: made of the labels.

    Raises:
        As ``images``.
    """
    chosen = options or Options()
    if not table.found(folder, "lesions.csv", chosen.table).exists():
        # segmentations tell whose they are
        chosen = replace(chosen, patients=chosen.patients or Whose.DICOM)
    return data_set(_with_test(_dicom, folder, chosen), scheme, out, chosen)


def _dicom(folder: Path, options: Options) -> Told:
    path = table.found(folder, "lesions.csv", options.table)
    if path.exists():
        return _of_table(folder, path, ("class",), options)
    marked = segmentations.found(folder, Files(folder))
    notes = ["Lesions were told by DICOM segmentations and structure sets.", *_some(marked.aside)]
    return Told(marked.entries, notes, partial(_specks, marked.counts))


def volumes(
    folder: Path, scheme: LesionScheme | None, out: Path, options: Options | None = None
) -> Iterator[Progress]:
    """A data set from NIfTI volumes and masks under ``folder``, and ``folder/labels.csv``.

    Its columns are ``columns.NIFTI``.

    Args:
        scheme: None: made of the labels.

    Raises:
        As ``images``.
    """
    chosen = options or Options()
    return data_set(_with_test(_volumes, folder, chosen), scheme, out, chosen)


def _volumes(folder: Path, options: Options) -> Told:
    path = table.found(folder, "labels.csv", options.table)
    entries, notes, counts = nifti_volumes.entries(folder, path, options)
    return Told(entries, notes, partial(_specks, counts))


def _some(aside: Sequence[str]) -> list[str]:
    more = [f"… and {len(aside) - _MOST_ASIDE} more that are no lesions, as they tell themselves."]
    return [*aside[:_MOST_ASIDE], *(more if len(aside) > _MOST_ASIDE else [])]


def _specks(counts: Mapping[str, int]) -> Sequence[str]:
    if not counts["small"]:
        return ()
    return (f"Left out: {counts['small']} regions of masks under 2 pixels across.",)


def _of_table(folder: Path, path: Path, needed: Sequence[str], options: Options) -> Told:
    entries, notes, files = entries_of(folder, path, needed, options)
    return Told(entries, notes, partial(_whole_paths, files), *_of_phantom(folder))


def entries_of(
    folder: Path, path: Path, needed: Sequence[str], options: Options
) -> tuple[list[Entry], list[str], Files]:
    """An entry for every row of a table, what was left aside, and the files they name.

    Args:
        needed: columns besides ``patient``, which ``options.patients`` can stand for.

    Raises:
        PrepareError: the table cannot be read, or its boxes may be two things.
    """
    columns = needed if options.patients else (*needed, "patient")
    rows = table.read(path, columns, options.columns)
    header = rows[0].cells
    if "file" not in header and "sop_instance_uid" not in header:
        raise PrepareError(f"{path.name} has neither a column file nor sop_instance_uid.")
    if "key_slice" in header:
        rows = [row for row in rows if _is_key(row)]
        if not rows:
            raise PrepareError(f"{path.name} has no row with key_slice 1.")
    files = Files(folder)
    if options.boxes is None and not options.whole:
        _refuse_doubtful_boxes(rows, files)
    places = {_folder(row) for row in rows}
    told = 1 < len(places) <= _MOST_FOLDERS
    entries = [_entry(row, files, options, _folder(row) if told else "") for row in rows]
    return entries, _aside(rows, options), files


def _folder(row: Row) -> str:
    """The folder that a row's file lies in; several of them are often several sources."""
    return PurePosixPath(row.get("file").replace("\\", "/")).parent.as_posix()


def _is_key(row: Row) -> bool:
    cell = row.cells["key_slice"].lower()
    if cell in cells.YES or cell in cells.NO:
        return cell in cells.YES
    raise PrepareError(
        f"Row {row.number}: key_slice {row.cells['key_slice'][:40]!r} is neither 1 nor 0; write 1 "
        "for the rows to take, and 0 for the others."
    )


def _entry(row: Row, files: Files, options: Options, folder: str) -> Entry:
    def marks() -> list[Mark]:
        ct_slice, file = files.slice_of(row)
        box = _box(row, ct_slice, options.boxes or Boxes.XYWH, files)
        diameter = cells.number(row.get("diameter_mm"), "diameter_mm")
        _refuse_other_diameter(diameter, box, ct_slice)
        return [Mark(ct_slice, file, box, diameter)]

    groups = row.groups
    if folder:
        groups.setdefault("folder", folder)
    return Entry(f"Row {row.number}", row.get("class"), row.get("patient"), marks, groups=groups)


def _aside(rows: Sequence[Row], options: Options) -> list[str]:
    """Sentences for a patient that is told twice, and for columns that nothing is made of."""
    told = []
    if "patient" in rows[0].cells and options.patients:
        told.append(options.overruled("the column patient"))
    return told + table.unused(rows)


def _whole_paths(files: Files) -> Sequence[str]:
    if not files.shortened:
        return ()
    return (
        "The table names files by whole paths of another place; the ends of these paths that lie "
        "under the folder were taken.",
    )


def _refuse_doubtful_boxes(rows: Sequence[Row], files: Files) -> None:
    """Ask whether a box is x,y,width,height where every box of a table may be two corners as well.

    Raises:
        PrepareError: it may.
    """
    boxes = [(row, row.get("box")) for row in rows if row.get("box")]
    fit = {Boxes.XYWH: 0, Boxes.XYXY: 0}
    for row, cell in boxes:
        try:
            x, y, right, bottom = cells.numbers(cell, 4, "box")
        except CellError:
            continue  # told with its row later
        if right <= x or bottom <= y:
            return  # no corner lies there
        try:
            shape = files.slice_of(row)[0].pixels.shape
        except (CellError, DicomError):
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
            f"{len(boxes)} boxes fit their images, as corners {fit[Boxes.XYXY]}. "
            "Say which: --boxes xywh or --boxes xyxy."
        )


def _of_phantom(folder: Path) -> tuple[float | None, Version | None]:
    """What ``phantom`` told of the images that it wrote there, if it did: difficulty, version.

    Raises:
        PrepareError: they are of a phantom that this program does not know.
    """
    try:
        told = json.loads((folder / "phantom.json").read_text("utf-8"))
        difficulty, version = float(told["difficulty"]), str(told.get("version", Version.FIRST))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, None
    if version not in set(Version):
        raise PrepareError(
            f"{folder}: phantoms of version {version[:40]}, and this program has "
            f"{', '.join(Version)}. Prepare them with the program that made them."
        )
    return difficulty, Version(version)


def _refuse_other_diameter(diameter: float | None, box: Box | None, ct_slice: CTSlice) -> None:
    spacing = ct_slice.spacing_mm
    if diameter is None or box is None or spacing is None:
        return
    longer = max(box.width * spacing[1], box.height * spacing[0])
    if not 1 / _DIAMETERS_DIFFER <= diameter / longer <= _DIAMETERS_DIFFER:
        raise CellError(
            f"diameter_mm is {diameter:g}, and the longer side of the box {longer:.1f} mm; correct "
            "the one that is wrong (centimetres, pixels, another lesion), or leave diameter_mm out."
        )


def _box(row: Row, ct_slice: CTSlice, boxes: Boxes, files: Files) -> Box | None:
    if row.get("box"):
        told = row.get("box")
        return cells.box(cells.numbers(told, 4, "box"), boxes, f"box {told!r} is no x1,y1,x2,y2")
    sides = [row.get(column) for column in _BOX]
    if all(sides):
        return Box(*(cells.numbers(cell.replace(",", "."), 1, "box")[0] for cell in sides))
    if any(sides):
        raise CellError("the box lacks one of x, y, width, height.")
    if row.get("mask"):
        return files.box_of_mask(row.get("mask"), ct_slice.pixels.shape)
    if row.get("center"):
        diameter = cells.number(row.get("diameter_mm"), "diameter_mm")
        if diameter is None:
            raise CellError("a center needs a diameter_mm.")
        x, y = cells.numbers(row.get("center"), 2, "center")
        return Box.around(x, y, diameter, ct_slice.spacing_mm)
    return None
