"""A simulated patient: the truth about the lesions, and the slices, drawn when asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ml.phantom import VERSION, Version
from ml.phantom.anatomy import Anatomy
from ml.phantom.grid import Floats, Grid
from ml.phantom.lesions import Lesion
from ml.phantom.scanner import Scanner

UID_ROOT = "1.2.826.0.1.3680043.8.498."
"""pydicom's, under which anyone may make UIDs."""
_STREAMS = {"anatomy": 0, "scanner": 1, "lesions": 2, "texture": 3, "noise": 4, "cohort": 5}

Box = tuple[float, float, float, float]


def seed_of(seed: int, index: int, stream: str, *more: int) -> np.random.SeedSequence:
    """The seed of one stream of patient ``index`` of ``seed``."""
    return np.random.SeedSequence(seed, spawn_key=(index, _STREAMS[stream], *more))


def uid(*entropy: str, version: Version = VERSION) -> str:
    """A UID that depends on nothing but ``entropy`` and the generator version."""
    # as pydicom.uid.generate_uid, which a machine that only trains need not have
    told = hashlib.sha512("".join(["hepatica phantom", version, *entropy]).encode())
    return f"{UID_ROOT}{int(told.hexdigest(), 16)}"[:64]


@dataclass(frozen=True)
class PhantomLesion:
    """The truth about a lesion: longest axial diameter in mm, centre in mm of patient space (LPS).

    ``key_slice`` is the index in the patient's series of the slice through the centre, where the
    lesion is largest.
    """

    lesion_class: str
    diameter_mm: float
    center_mm: tuple[float, float, float]
    atypical: bool
    key_slice: int


@dataclass(frozen=True)
class PhantomSlice:
    """One axial slice.

    ``hu``: (512, 512) int16 in −1024…3071. ``mask``: (512, 512) uint8, 0 none, k = lesion k of the
    patient counted from 1 (more than half of the voxel). ``position_mm``: centre of the first
    pixel.
    """

    hu: npt.NDArray[np.int16]
    mask: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float]
    slice_thickness_mm: float
    position_mm: tuple[float, float, float]
    number: int
    sop_uid: str

    def box(self, lesion: int) -> Box | None:
        """x, y, width, height in pixels of lesion ``lesion`` (from 1) here; None if absent.

        x to the right, y down; pixel (row r, column c) covers [c, c+1) × [r, r+1).
        """
        here = self.mask == lesion
        rows, columns = np.flatnonzero(here.any(axis=1)), np.flatnonzero(here.any(axis=0))
        if len(rows) == 0:
            return None
        return (
            float(columns[0]),
            float(rows[0]),
            float(columns[-1] - columns[0] + 1),
            float(rows[-1] - rows[0] + 1),
        )


@dataclass(frozen=True)
class PhantomPatient:
    """A simulated patient. Slices are drawn when asked for, each from its own seed."""

    patient_id: str
    seed: int
    index: int
    difficulty: float
    lesion_class: str
    lesions: tuple[PhantomLesion, ...]
    scanner: Scanner
    grid: Grid
    heights_mm: tuple[float, ...]
    interval_mm: float
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    _anatomy: Anatomy
    _drawn: tuple[Lesion, ...]
    version: Version = VERSION

    @cached_property
    def slices(self) -> tuple[PhantomSlice, ...]:
        """All slices, feet to head."""
        return tuple(self.slice(i) for i in range(len(self.heights_mm)))

    def key_slice(self, lesion: int) -> PhantomSlice:
        """The slice through the centre of lesion ``lesion``, counted from 1."""
        return self.slice(self.lesions[lesion - 1].key_slice)

    def slice(self, index: int) -> PhantomSlice:
        """Draw slice ``index`` (from 0, feet first); always the same, alone or among all."""
        z, scanner, grid = self.heights_mm[index], self.scanner, self.grid
        depths = scanner.depths()
        hu = self._anatomy.paint(grid, z, scanner.thickness_mm, depths)
        mask = np.zeros(hu.shape, np.uint8)
        for label, lesion in enumerate(self._drawn, start=1):
            share = lesion.paint(hu, grid, z, depths)
            box = lesion.box(grid)
            if share is not None and box is not None:
                mask[box][share > 0.5] = label
        rng = np.random.default_rng(seed_of(self.seed, self.index, "noise", index))
        hu = scanner.blur(hu, grid.spacing_mm)
        hu += scanner.noise(rng, grid.spacing_mm) * self._noise_map
        # the first pixel's centre
        position = (float(grid.x[0]), float(grid.y[0]), float(z))
        return PhantomSlice(
            np.clip(np.rint(hu), -1024, 3071).astype(np.int16),
            mask,
            (grid.spacing_mm, grid.spacing_mm),
            scanner.thickness_mm,
            position,
            index + 1,
            _slice_uid(self.series_uid, index),
        )

    @cached_property
    def _noise_map(self) -> Floats:
        """Noise relative to the middle of the body: rays through the rim are shorter."""
        a, b = self._anatomy.half_body_mm
        r2 = (self.grid.x[None, :] / a) ** 2 + (self.grid.y[:, None] / b) ** 2
        return np.asarray(0.55 + 0.5 * np.exp(-0.75 * r2), np.float32)


def _slice_uid(series_uid: str, index: int) -> str:
    return uid(series_uid, str(index))


def slice_uids(patient: PhantomPatient) -> tuple[str, ...]:
    """SOP Instance UIDs of all slices of a patient, none of which needs to be drawn for it."""
    return tuple(_slice_uid(patient.series_uid, i) for i in range(len(patient.heights_mm)))
