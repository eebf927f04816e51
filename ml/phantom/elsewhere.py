"""What a phantom patient shows besides its lesions as they are: other places, phases, scanners.

For asking a classifier about what it was not trained on. Nothing here is a lesion with a truth.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ml.phantom import PhantomError
from ml.phantom.anatomy import Anatomy
from ml.phantom.lesions import DIAMETER_MM, Lesion, draw_diameter
from ml.phantom.patient import Box, PhantomPatient
from ml.phantom.scanner import Scanner

ORGANS = ("spleen", "left_kidney", "stomach", "gallbladder", "heart")
NATIVE_HU: Mapping[str, float] = {
    "liver": 55.0, "fatty_liver": 30.0, "spleen": 45.0, "blood": 45.0, "kidney": 35.0,
    "pancreas": 40.0, "bowel_wall": 40.0,
}  # fmt: skip
"""Unenhanced attenuation of what contrast medium reaches, in HU: Prokop & Galanski 2003, Buzug 2008
(source A of `ml.phantom.tissues`); kidney, pancreas and bowel wall are the makers' estimates."""
_ENHANCED_HU = 25.0
"""What a metastasis takes up by the portal phase, about: the makers' estimate."""
_GAP_MM = 4.0
_LARGEST_MM = 40.0


@dataclass(frozen=True)
class Seen:
    """A place on a slice, marked as if it were a lesion: ``hu`` (512, 512) int16, box in pixels."""

    hu: npt.NDArray[np.int16]
    box: Box
    spacing_mm: tuple[float, float]
    diameter_mm: float


def plain_liver(patient: PhantomPatient, rng: np.random.Generator) -> Seen | None:
    """Liver without a lesion, of a lesion's size; None where nothing of 10 mm has room."""
    diameter = min(draw_diameter(rng), _LARGEST_MM)
    points, depth = _liver_points(patient, rng)
    while diameter >= DIAMETER_MM[0]:
        free = _free(patient, points, depth, diameter)
        if free.any():
            return _seen(patient, points[free][0], diameter)
        diameter *= 0.8
    return None


def liver_square(patient: PhantomPatient, side_mm: float, rng: np.random.Generator) -> Seen | None:
    """A square of liver without a lesion and without the liver's edge; None where none has room."""
    points, depth = _liver_points(patient, rng)
    free = _free(patient, points, depth, side_mm * np.sqrt(2))
    return _seen(patient, points[free][0], side_mm) if free.any() else None


def _liver_points(
    patient: PhantomPatient, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.floating]]:
    """Points (n, 3) of the plane of the largest lesion, and how far in the liver they lie (< 0)."""
    height = patient.heights_mm[patient.lesions[0].key_slice]
    points = rng.uniform((-140, -100, height), (110, 100, height), (4000, 3))
    return points, patient._anatomy.liver_distance(points)


def _free(
    patient: PhantomPatient,
    points: npt.NDArray[np.float64],
    depth: npt.NDArray[np.floating],
    diameter: float,
) -> npt.NDArray[np.bool_]:
    """About which points a disc of ``diameter`` mm is liver alone."""
    free = depth < -0.55 * diameter
    for lesion in patient.lesions:
        away = np.linalg.norm(points - np.asarray(lesion.center_mm), axis=1)
        free &= away > 0.55 * (diameter + lesion.diameter_mm) + _GAP_MM
    return free


def organ(patient: PhantomPatient, name: str, rng: np.random.Generator) -> Seen:
    """The middle of another organ, of a lesion's size.

    Raises:
        PhantomError: an organ that is none of ``ORGANS``.
    """
    if name not in ORGANS:
        raise PhantomError(f"{name!r} is none of {', '.join(ORGANS)}.")
    u, v, height = patient._anatomy._organs[name].centre
    x, y = patient._anatomy.patient(np.asarray(u), np.asarray(v))
    diameter = min(draw_diameter(rng), _LARGEST_MM)
    return _seen(patient, np.asarray([float(x), float(y), float(height)]), diameter)


def _seen(patient: PhantomPatient, place: npt.NDArray[np.floating], diameter: float) -> Seen:
    image = replace(patient, heights_mm=(float(place[2]),)).slice(0)
    spacing = image.spacing_mm[0]
    x, y, _ = image.position_mm  # the first pixel's centre
    side = diameter / spacing
    left, top = (
        float(place[i] - start) / spacing + 0.5 - side / 2 for i, start in ((0, x), (1, y))
    )
    return Seen(image.hu, (left, top, side, side), image.spacing_mm, diameter)


def native(patient: PhantomPatient) -> PhantomPatient:
    """The same patient without contrast medium, approximately.

    What it reaches has `NATIVE_HU`; metastases lose what they took up and their rim, hemangiomas
    have the attenuation of unenhanced blood, cysts stay as they are.
    """
    anatomy: Anatomy = copy.copy(patient._anatomy)
    anatomy.hu = {**anatomy.hu, **NATIVE_HU}
    return replace(
        patient, _anatomy=anatomy, _drawn=tuple(_unenhanced(one) for one in patient._drawn)
    )


def _unenhanced(lesion: Lesion) -> Lesion:
    look, blood = lesion.look, NATIVE_HU["blood"]
    own = {"cyst": look.hu, "metastasis": look.hu - _ENHANCED_HU}.get(lesion.lesion_class, blood)
    return replace(
        lesion, look=replace(look, hu=own, rim_hu=0.0, nodule_hu=min(blood, look.nodule_hu))
    )


def scanned(patient: PhantomPatient, **changes: float) -> PhantomPatient:
    """The same patient on the same scanner but for ``changes`` of the fields of `Scanner`.

    The draw of the noise stays, so that a pair differs in nothing else.

    Raises:
        TypeError: a field that a scanner does not have.
    """
    scanner: Scanner = replace(patient.scanner, **changes)
    return replace(patient, scanner=scanner)
