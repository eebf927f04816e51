"""Boxes in a COCO file: images, annotations with x, y, width and height, categories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ml.dataset.entries import Entry, Mark, Options
from ml.dataset.files import Files
from ml.dataset.labels import Whose, nobody
from ml.dataset.table import CellError, PrepareError
from ml.ground.errors import reason
from ml.images.roi import Box

_PARTS = ("images", "annotations", "categories")


def found(folder: Path) -> Path | None:
    """The only COCO file in a folder, or None."""
    try:
        files = [path for path in sorted(folder.glob("*.json")) if _is_coco(path)]
    except OSError:
        return None
    return files[0] if len(files) == 1 else None


def _is_coco(path: Path) -> bool:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
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
        images = {entry["id"]: entry for entry in told["images"]}
        names = {entry["id"]: str(entry["name"]) for entry in told["categories"]}
        annotations = list(told["annotations"])
    except OSError as error:
        raise PrepareError(f"{path} cannot be read: {reason(error)}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PrepareError(
            f"{path.name} is no COCO file: it needs images with id and file_name, annotations with "
            f"image_id, category_id and bbox, categories with id and name ({error!r})."
        ) from error
    crowds = [one for one in annotations if isinstance(one, dict) and one.get("iscrowd")]
    made = [
        _entry(place, one, images, names, files, options)
        for place, one in enumerate(annotations, 1)
        if one not in crowds
    ]
    notes = []
    if crowds:
        notes.append(f"Not used: {len(crowds)} annotations of crowds, which are no single lesion.")
    empty = len(images) - len({one.get("image_id") for one in annotations if isinstance(one, dict)})
    if empty > 0:
        notes.append(f"Not used: {empty} images without an annotation.")
    return made, notes


def _entry(
    place: int,
    one: Any,
    images: dict[Any, Any],
    names: dict[Any, str],
    files: Files,
    options: Options,
) -> Entry:
    where = f"Annotation {one.get('id', place) if isinstance(one, dict) else place}"
    try:
        image = images[one["image_id"]]
        label, box, file = names[one["category_id"]], one.get("bbox"), str(image["file_name"])
    except (KeyError, TypeError, AttributeError) as error:
        raise PrepareError(f"{where} names no image or category of the file ({error}).") from error
    patient = image.get("patient", image.get("patient_id"))
    if patient is None and options.patients is None:
        raise nobody("No image of the COCO file has a patient", Whose.FOLDER, Whose.IMAGE)
    whose = "" if patient is None else str(patient)
    return Entry(where, label, whose, partial(_marks, files, file, box))


def _marks(files: Files, file: str, box: Any) -> Sequence[Mark]:
    try:
        x, y, width, height = map(float, box)
    except (TypeError, ValueError) as error:
        raise CellError(f"bbox {box!r} is not x, y, width, height.") from error
    (ct_slice,) = files.only(file)
    return [Mark(ct_slice, files.named(file), Box(x, y, width, height))]
