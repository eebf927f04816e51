"""NIfTI volumes and their masks: each lesion on the axial slice where it is largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.dataset import table
from ml.dataset.columns import Unit
from ml.dataset.entries import Entry, Mark, Options
from ml.dataset.files import Files
from ml.dataset.table import CellError, Row
from ml.images import nifti
from ml.images.ct_slice import CTSlice
from ml.images.nifti import Volume, VolumeError
from ml.images.picture import PICTURE
from ml.marks import components

_LIKE_HU = -500
"""Air, of which every body scan has some."""
_LEAST_APART = 64
"""Grey values or HU in a slice, fewer of which whole numbers would flatten."""
_APART_MM = 0.1


def entries(
    folder: Path, path: Path, options: Options
) -> tuple[list[Entry], list[str], Mapping[str, int]]:
    """An entry for every row: a volume, a mask, and the class of what is in the mask.

    Returns:
        The entries, what was left aside, and a count ("small") that grows while they are read.

    Raises:
        PrepareError: the table cannot be read.
    """
    needed = ("file", "mask", "class") if options.patients else ("file", "mask", "class", "patient")
    rows = table.read(path, needed, options.columns)
    reader = _Volumes(Files(folder), options.unit)
    made = [
        Entry(
            f"Row {row.number}",
            row.get("class"),
            row.get("patient"),
            partial(reader.marks, row),
            groups=row.groups,
        )
        for row in rows
    ]
    return made, table.unused(rows, "value"), reader.counts


class _Volumes:
    """Reads volumes and masks; one of each is kept, as rows often share them."""

    def __init__(self, files: Files, unit: Unit | None) -> None:
        self.files = files
        self.unit = unit
        self.counts = {"small": 0}
        self._read = lru_cache(maxsize=2)(self._volume)

    def _volume(self, file: str) -> Volume:
        try:
            return nifti.read(self.files.path(file))
        except VolumeError as error:
            raise CellError(str(error)) from error

    def marks(self, row: Row) -> Sequence[Mark]:
        """A mark for every lesion in a row's mask."""
        file, mask_file = row.get("file"), row.get("mask")
        if not file or not mask_file:
            raise CellError("a volume needs a file and a mask.")
        volume, mask = self._read(file), self._read(mask_file)
        if volume.values.shape != mask.values.shape:
            raise CellError(
                f"mask {mask_file!r} has {_sides(mask)} voxels, its volume {_sides(volume)}."
            )
        if np.abs(volume.affine - mask.affine).max() > _APART_MM:
            raise CellError(
                f"mask {mask_file!r} lies elsewhere in the patient than its volume (their affines "
                "differ); give them one space."
            )
        inside = _inside(mask, row.get("value"), mask_file)
        found, small = components.largest(inside)
        self.counts["small"] += small
        if not found:
            raise CellError(f"mask {mask_file!r} has {small} specks of a pixel, and no lesion.")
        name = self.files.named(file)
        return [
            Mark(
                self._slice(volume, one.place, name),
                f"{name}#{one.place + 1}",
                one.box,
                in_volume=True,
            )
            for one in found
        ]

    def _slice(self, volume: Volume, place: int, name: str) -> CTSlice:
        values = volume.values[place]
        if self.unit is None:
            low, high = float(volume.values.min()), float(volume.values.max())
            guess = "they look like Hounsfield units: --unit hu" if low <= _LIKE_HU else (
                "if they are Hounsfield units, say --unit hu; if not, --unit grey"
            )  # fmt: skip
            raise CellError(
                f"{name} does not tell what its values ({low:g} to {high:g}) are; {guess}."
            )
        pixels = _pixels(values, self.unit, name)
        calibrated = self.unit == Unit.HU
        told = volume.warnings if calibrated else (PICTURE, *volume.warnings)
        if calibrated and (lowest := float(np.nanmin(volume.values))) > _LIKE_HU:
            told = (
                *told,
                f"Its lowest value is {lowest:g}, so there is no air in it: look whether it is in "
                "Hounsfield units, and not shifted by 1024 or cut off.",
            )
        return CTSlice(pixels, calibrated, volume.spacing_mm, frame=place + 1, warnings=told)


def _sides(volume: Volume) -> str:
    return " × ".join(map(str, volume.values.shape[::-1]))


def _inside(mask: Volume, value: str, name: str) -> npt.NDArray[np.bool_]:
    values = mask.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise CellError(f"mask {name!r} has values that are no numbers.")
    if not value:
        inside = values != 0
        if np.unique(values[inside]).size > 1:
            kinds = ", ".join(f"{v:g}" for v in np.unique(values[inside])[:6])
            raise CellError(
                f"mask {name!r} has several values ({kinds}); say in a column value which is meant."
            )
    else:
        try:
            inside = values == float(value.replace(",", "."))
        except ValueError as error:
            raise CellError(f"value {value!r} is not a number.") from error
    if not inside.any():
        wanted = f" of value {value}" if value else ""
        raise CellError(f"mask {name!r} has no voxel{wanted}.")
    if inside.all():
        raise CellError(f"mask {name!r} covers everything: is it inverted?")
    return np.asarray(inside)


def _pixels(values: npt.NDArray[Any], unit: Unit, name: str) -> Any:
    if not np.isfinite(values).all():
        raise CellError(f"{name} has values that are no numbers on the lesion's slice.")
    whole = np.rint(values)
    low, high = (-32768, 32767) if unit == Unit.HU else (0, 65535)
    if whole.min() < low or whole.max() > high:
        raise CellError(
            f"{name} has values from {values.min():g} to {values.max():g}; "
            + ("these are no Hounsfield units." if unit == Unit.HU else "grey is 0 to 65535.")
        )
    if float(np.abs(values - whole).max()) > 1e-3 and (
        values.max() < 256 if unit == Unit.GREY else np.ptp(values) < _LEAST_APART
    ):
        told = "grey values" if unit == Unit.GREY else "Hounsfield units"
        raise CellError(
            f"{name} has fractions as {told} ({values.min():g} to {values.max():g}), which "
            "whole numbers would flatten; "
            + ("multiply them first." if unit == Unit.GREY else "undo what they were divided by.")
        )
    return np.ascontiguousarray(whole.astype(np.int16 if unit == Unit.HU else np.uint16))
