"""Where a pixel lies, and paint with partial volume."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.floating]

SIZE_PX = 512
_STEP = 4


@dataclass(frozen=True)
class Grid:
    """The pixel centres of every slice of a series, in mm of patient space.

    x grows to the patient's left (right of the picture), y to the back (down), z to the head:
    DICOM's LPS axes (PS3.3 C.7.6.2). ``centre`` is the middle of the picture.
    """

    spacing_mm: float
    centre_mm: tuple[float, float]

    @cached_property
    def x(self) -> Floats:
        """(512,) x of the columns."""
        return self._axis(self.centre_mm[0], np.arange(SIZE_PX))

    @cached_property
    def y(self) -> Floats:
        """(512,) y of the rows."""
        return self._axis(self.centre_mm[1], np.arange(SIZE_PX))

    def _axis(self, middle: float, pixels: npt.NDArray[np.int_] | Array) -> Floats:
        return ((pixels + 0.5 - SIZE_PX / 2) * self.spacing_mm + middle).astype(np.float32)

    @cached_property
    def coarse(self) -> tuple[Floats, Floats]:
        """x and y, (128, 128) each, of the knots from which ``refine`` interpolates."""
        knots = np.arange(SIZE_PX // _STEP) * _STEP + (_STEP - 1) / 2
        x, y = np.meshgrid(
            self._axis(self.centre_mm[0], knots), self._axis(self.centre_mm[1], knots)
        )
        return x, y

    def box(
        self, left: float, right: float, top: float, bottom: float
    ) -> tuple[slice, slice] | None:
        """Rows and columns of a rectangle in mm; None when it lies outside the picture."""
        columns = _span(left - self.centre_mm[0], right - self.centre_mm[0], self.spacing_mm)
        rows = _span(top - self.centre_mm[1], bottom - self.centre_mm[1], self.spacing_mm)
        return None if columns is None or rows is None else (rows, columns)


def _span(low: float, high: float, spacing_mm: float) -> slice | None:
    start = max(0, int(np.floor(low / spacing_mm + SIZE_PX / 2)))
    stop = min(SIZE_PX, int(np.ceil(high / spacing_mm + SIZE_PX / 2)))
    return slice(start, stop) if stop > start else None


def _catmull_rom(fine: int, step: int) -> Floats:
    """(fine, fine // step) matrix that interpolates knots (Catmull & Rom 1974), ends repeated."""
    knots = fine // step
    position = (np.arange(fine) - (step - 1) / 2) / step
    base = np.floor(position).astype(int)
    t = position - base
    weights = (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (-(t**2) + t**3) / 2,
    )
    matrix = np.zeros((fine, knots), np.float32)
    for offset, weight in enumerate(weights, start=-1):
        np.add.at(matrix, (np.arange(fine), np.clip(base + offset, 0, knots - 1)), weight)
    return matrix


_REFINE = {step: _catmull_rom(SIZE_PX, step) for step in (4, 8)}


def refine(coarse: npt.NDArray[np.floating]) -> Floats:
    """(128, 128) or (64, 64) knots → (512, 512), smooth."""
    matrix = _REFINE[SIZE_PX // coarse.shape[0]]
    return np.asarray(matrix @ coarse.astype(np.float32) @ matrix.T, np.float32)


def coverage(distance: Array, width: Array | float) -> Floats:
    """Share of a pixel (or voxel) inside a surface, 0…1.

    ``distance`` is signed, negative inside; ``width`` is what it spans across one voxel, which is
    how a thick slice softens an oblique surface.
    """
    return np.asarray(np.clip(0.5 - distance / width, 0.0, 1.0), np.float32)


def paint(hu: Floats, cover: Array, value: Array | float) -> None:
    """Mix ``value`` (HU) into ``hu`` in place: HU is linear in attenuation, so volumes add.

    ``cover`` is the share of each voxel, 0…1, in the shape of ``hu``.
    """
    hu += cover * (value - hu)
