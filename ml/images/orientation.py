"""How a slice lies in the patient: letters for its edges, its plane, its place along its normal.

DICOM's patient axes (PS3.3 C.7.6.2.1.1): x to the left, y to the back, z to the head. An
orientation is six direction cosines, those of a row (to the right of the picture) and then those
of a column (downwards).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Cosines = Sequence[float]
Vector = npt.NDArray[np.float64]

_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
_NAMED_FROM = 0.25
"""A direction is named after the axes along which it runs at least this far (cosine)."""
_SAME_PLANE = np.cos(np.radians(30))
"""Gantries tilt by up to 30 degrees, and their slices are still read as axial."""
_TOLERANCE = 0.01


class Plane(StrEnum):
    """Which section of the body a slice is."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"
    OBLIQUE = "oblique"


@dataclass(frozen=True)
class Edges:
    """What lies beyond each edge of the picture: R, L, A, P, H(ead), F(oot), or two of them."""

    left: str
    right: str
    top: str
    bottom: str


def is_orientation(cosines: Cosines) -> bool:
    """Whether six numbers are two unit vectors at right angles."""
    if len(cosines) != 6:
        return False
    row, column = np.asarray(cosines[:3]), np.asarray(cosines[3:])
    lengths = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
    return all(abs(length - 1) <= _TOLERANCE for length in lengths) and bool(
        abs(row @ column) <= _TOLERANCE
    )


def normal(cosines: Cosines) -> Vector:
    """The direction in which slices of this orientation follow each other, (3,), unit length."""
    return _normal(tuple(cosines))


@lru_cache(maxsize=256)  # the slices of a series have one
def _normal(cosines: tuple[float, ...]) -> Vector:
    across = np.cross(cosines[:3], cosines[3:])
    found: Vector = np.asarray(across / np.linalg.norm(across))
    found.flags.writeable = False
    return found


def along_normal(cosines: Cosines, position_mm: Sequence[float]) -> float:
    """Where a slice lies along its own normal, in mm."""
    return float(normal(cosines) @ np.asarray(position_mm, dtype=float))


def plane(cosines: Cosines) -> Plane:
    """The body plane nearest to a slice, or oblique when none is within 30 degrees."""
    return _plane(tuple(cosines))


@lru_cache(maxsize=256)
def _plane(cosines: tuple[float, ...]) -> Plane:
    across = np.abs(normal(cosines))
    if across.max() < _SAME_PLANE:
        return Plane.OBLIQUE
    return (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)[int(across.argmax())]


_AXES = {Plane.SAGITTAL: 0, Plane.CORONAL: 1, Plane.AXIAL: 2, Plane.OBLIQUE: None}
"""The axis across the slices of a plane."""


def coordinate(cosines: Cosines, position_mm: Sequence[float]) -> tuple[str, float] | None:
    """The axis across the slice (x, y or z of the patient), and where on it the slice lies, in mm.

    For axial slices that is the z of the scanner's table. None for oblique slices, which no single
    axis places.
    """
    axis = _AXES[plane(cosines)]
    return None if axis is None else ("xyz"[axis], float(position_mm[axis]))


def middle_mm(
    cosines: Cosines, position_mm: Sequence[float], size: tuple[int, int], spacing: Sequence[float]
) -> tuple[float, ...]:
    """Where the middle of a slice lies in the patient, in mm; of a tilted one it is not level with
    its first pixel.

    Args:
        size: (rows, columns); ``spacing``: distance of rows, distance of columns, in mm.
    """
    along_row, along_column = np.asarray(cosines, np.float64).reshape(2, 3)
    down, across = ((count - 1) / 2 * mm for count, mm in zip(size, spacing, strict=True))
    middle = np.asarray(position_mm, np.float64) + across * along_row + down * along_column
    return tuple(map(float, middle))


def tilt_deg(cosines: Cosines) -> float:
    """Angle between a slice and the body plane nearest to it, in degrees."""
    return float(np.degrees(np.arccos(min(1.0, float(np.abs(normal(cosines)).max())))))


def reading_sign(cosines: Cosines) -> int:
    """+1 where slices are read along their normal, −1 where against it.

    Axial slices are read from head to foot, coronal ones from front to back, sagittal ones from
    right to left.
    """
    across = normal(cosines)
    axis = int(np.abs(across).argmax())
    wanted = (1, 1, -1)[axis]  # x rises to the left, y to the back, z to the head
    return 1 if across[axis] * wanted > 0 else -1


def edges(cosines: Cosines) -> Edges:
    """The letters of the picture's four edges."""
    return _edges(tuple(cosines))


@lru_cache(maxsize=256)
def _edges(cosines: tuple[float, ...]) -> Edges:
    row, column = np.asarray(cosines[:3], float), np.asarray(cosines[3:], float)
    return Edges(
        left=_letters(-row), right=_letters(row), top=_letters(-column), bottom=_letters(column)
    )


def _letters(direction: Vector) -> str:
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(
        _LETTERS[axis][0 if direction[axis] > 0 else 1]
        for axis in order[:2]
        if abs(direction[axis]) >= _NAMED_FROM
    )
