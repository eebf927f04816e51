"""Boxes in a COCO file: images, annotations with x, y, width and height, categories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ml.dataset import cells
from ml.dataset.columns import Boxes
from ml.dataset.entries import Entry, Mark, Options
from ml.dataset.files import Files
from ml.dataset.labels import Whose, nobody
from ml.dataset.table import CellError, PrepareError
from ml.ground.counted import counted
from ml.ground.errors import reason

_PARTS = ("images", "annotations", "categories")


def found(folder: Path) -> Path | None:
    """The only COCO file in a folder, or None."""
    files = all_in(folder)
    return files[0] if len(files) == 1 else None


def all_in(folder: Path) -> list[Path]:
    """Every COCO file in a folder."""
    try:
        return [path for path in sorted(folder.glob("*.json")) if _is_coco(path)]
    except OSError:
        return []


def _is_coco(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and all(part in told for part in _PARTS)


def entries(path: Path, files: Files, options: Options) -> tuple[list[Entry], list[str]]:
    """An entry for every annotation, and what was left aside.

    The patient is an image's ``patient`` or ``patient_id``, unless ``options.patients`` tells.

    Raises:
        PrepareError: no COCO file, or one that contradicts itself.
    """
    try:
        told = json.loads(path.read_bytes())
        images = _by_id(told["images"], "images")
        names = {key: one["name"] for key, one in _by_id(told["categories"], "categories").items()}
        annotations = list(told["annotations"])
    except OSError as error:
        raise PrepareError(f"{path} cannot be read: {reason(error)}.") from error
    except PrepareError as error:
        raise PrepareError(f"{path.name}: {error}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PrepareError(
            f"{path.name} is no COCO file: it needs images with id and file_name, annotations with "
            f"image_id, category_id and bbox, categories with id and name ({error!r})."
        ) from error
    made = [
        _entry(place, one, images, names, files, options)
        for place, one in enumerate(annotations, 1)
        if not _is_crowd(one)
    ]
    notes = []
    crowds = len(annotations) - len(made)
    told = (
        f"{counted(crowds, 'annotation')} with iscrowd 1, which means several things in one box; "
        "some programs say so of every mask. Set it to 0 where it is one lesion"
    )
    if crowds and not made:
        raise PrepareError(f"{path.name} has nothing but {told}.")
    if crowds:
        notes.append(f"Not used: {told}.")
    if made and options.patients is not None and any(map(_whose, images.values())):
        notes.append(options.overruled(path.name))
    empty = len(images) - len({one.get("image_id") for one in annotations if isinstance(one, dict)})
    if empty > 0:
        notes.append(f"Not used: {empty} images without an annotation.")
    return made, notes


def _is_crowd(one: Any) -> bool:
    return isinstance(one, dict) and bool(one.get("iscrowd"))


def _whose(image: Any) -> Any:
    return image.get("patient", image.get("patient_id"))


def _by_id(entries: list[Any], what: str) -> dict[Any, Any]:
    """Images or categories by their ids.

    Raises:
        PrepareError: an id that two of them have, so that nobody can tell which is meant.
    """
    found: dict[Any, Any] = {}
    for entry in entries:
        if found.setdefault(entry["id"], entry) != entry:
            raise PrepareError(
                f"two {what} have the id {entry['id']!r}, so that it is not clear which of them an "
                "annotation names; give each an id of its own."
            )
    return found


def _entry(
    place: int,
    one: Any,
    images: dict[Any, Any],
    names: dict[Any, Any],
    files: Files,
    options: Options,
) -> Entry:
    where = f"Annotation {one.get('id', place) if isinstance(one, dict) else place}"
    try:
        image = images[one["image_id"]]
        label, box, file = names[one["category_id"]], one.get("bbox"), image["file_name"]
        patient = _whose(image)
    except (KeyError, TypeError, AttributeError) as error:
        raise PrepareError(f"{where} names no image or category of the file ({error}).") from error
    for what, value in (("category", label), ("file_name", file), ("patient", patient)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise PrepareError(f"{where}: the {what} {value!r} is neither a word nor a number.")
    if label is None or file is None:
        raise PrepareError(f"{where} names an image without file_name, or a category without name.")
    if patient is None and options.patients is None:
        any_other = any(map(_whose, images.values()))
        who = f"Image {file!r}" if any_other else "No image"
        lacks = "has no patient" if any_other else "of the COCO file has a patient"
        raise nobody(f"{who} {lacks}", Whose.FOLDER, Whose.IMAGE)
    whose = "" if patient is None else str(patient)
    size = image.get("height"), image.get("width")
    marks = partial(_marks, files, str(file), box, size, options.boxes or Boxes.XYWH)
    return Entry(where, str(label), whose, marks)


def _marks(
    files: Files, file: str, box: Any, size: tuple[Any, Any], boxes: Boxes
) -> Sequence[Mark]:
    """The lesion of an annotation.

    Args:
        size: (height, width) of its image, as the file tells.
        boxes: what its numbers are; COCO's are x, y, width, height, unless somebody says other.
    """
    try:
        if not isinstance(box, list):
            raise TypeError
        x, y, third, fourth = map(float, box)
    except (TypeError, ValueError) as error:
        raise CellError(f"bbox {box!r} is not x, y, width, height.") from error
    place = cells.box((x, y, third, fourth), boxes, f"bbox {box!r} is no x1, y1, x2, y2")
    (ct_slice,) = files.only(file)
    if None not in size and size != ct_slice.size:
        rows, columns = ct_slice.size
        raise CellError(
            f"file {file!r} has {columns} × {rows} pixels, and the COCO file says "
            f"{size[1]} × {size[0]} (width × height), so its boxes lie elsewhere; give the images "
            "that were marked."
        )
    return [Mark(ct_slice, files.named(file), place)]
