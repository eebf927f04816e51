"""A phantom lesion in a real liver: where it goes, and its pixels.

Within the lesion, tissue and noise are the lesion's: tissue is mixed by the share of the voxel that
it fills, through the slice's own point spread; noise is drawn anew with the spectrum of the liver
about it and mixed so that its variance stays. Where there is no lesion, no pixel is touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy

from ml.experiment.tissue import grain
from ml.experiment.tissue.grain import Grain
from ml.experiment.tissue.slices import Floats, LiverSlice
from ml.images.roi import Box
from ml.phantom import VERSION, Version, scanner
from ml.phantom.grid import SIZE_PX, Grid
from ml.phantom.lesions import (
    DIAMETER_MM,
    Appearance,
    Lesion,
    Shape,
    draw_appearance,
    draw_diameter,
)

DARK_HU = 20.0
"""Coarse structure so far under the liver's median may be a lesion of the patient's own."""
_DARK_SHARE = 0.05
_SHRINK = 0.94
_TRIES = 60
_VESSEL_MM = 1.5
"""Standard deviation of the Gaussian under which vessels are looked for."""
_LEAST_BLOOD_HU = 25.0
"""Over the liver, where a slice shows no vessel that is brighter."""


@dataclass(frozen=True)
class Pasted:
    """A slice with one phantom lesion.

    Attributes:
        background: the slice's file.
        hu: (rows, columns) as the slice's greys hold it.
        box: of the lesion (more than half of the voxel), in pixels.
        drawn_mm: the diameter that was drawn, before the lesion shrank to the room there was.
    """

    background: str
    patient: str
    lesion_class: str
    atypical: bool
    diameter_mm: float
    drawn_mm: float
    box: Box
    hu: Floats = field(repr=False)


@dataclass(frozen=True)
class Background:
    """A slice that can take a lesion, and what was measured of its liver.

    Attributes:
        shown: (rows, columns) HU of its coarse structure.
        blood_hu: of its vessels.
    """

    one: LiverSlice
    grain: Grain
    shown: Floats = field(repr=False)
    blood_hu: float

    @classmethod
    def of(cls, one: LiverSlice) -> Background | str:
        """The background, or why the slice can be none."""
        shown = grain.coarse(one)
        found = grain.measured(one, shown)
        if isinstance(found, str):
            return found
        fine = scipy.ndimage.gaussian_filter(one.hu, _VESSEL_MM / one.spacing_mm)
        vessels = float(np.percentile(fine[one.inner], 99))
        return cls(one, found, shown, max(vessels, one.median_hu + _LEAST_BLOOD_HU))

    def paste(
        self,
        lesion_class: str,
        seed: np.random.SeedSequence,
        difficulty: float,
        thickness_mm: float,
        phantom: Version = VERSION,
    ) -> Pasted | None:
        """A lesion of a class, drawn as the phantom draws it; None where none of 10 mm has room.

        Args:
            seed: draws everything; the same gives the same pixels.
            difficulty: as of ``ml.phantom.series.patient``.
            thickness_mm: of the slice, over which the lesion is averaged.
            phantom: which phantom draws it.
        """
        rng = np.random.default_rng(seed)
        # the looks depend on the liver about the place; the same numbers are drawn for every place
        look_seed, texture_seed = seed.spawn(2)
        drawn = diameter = draw_diameter(rng)
        first, _ = self._look(lesion_class, look_seed, self.one.median_hu, difficulty)
        while True:
            shape = Shape.draw(rng, diameter, first.lobes)
            place = self._place(rng, shape, diameter)
            if place is not None:
                break
            if diameter == DIAMETER_MM[0]:
                return None
            diameter = max(_SHRINK * diameter, DIAMETER_MM[0])
        liver = self._liver_about(place, diameter)
        look, atypical = self._look(lesion_class, look_seed, liver, difficulty)
        lesion = Lesion(lesion_class, diameter, atypical, look, shape, texture_seed, phantom)
        hu, box = self._painted(lesion, place, thickness_mm, rng)
        if box is None:
            return None
        return Pasted(
            self.one.name, self.one.patient, lesion_class, atypical, diameter, drawn, box,
            self.one.seen(hu),
        )  # fmt: skip

    def _look(
        self, lesion_class: str, seed: np.random.SeedSequence, liver_hu: float, difficulty: float
    ) -> tuple[Appearance, bool]:
        hu = {"liver": liver_hu, "blood": max(self.blood_hu, liver_hu + _LEAST_BLOOD_HU)}
        return draw_appearance(lesion_class, np.random.default_rng(seed), hu, difficulty)

    def _place(
        self, rng: np.random.Generator, shape: Shape, diameter: float
    ) -> tuple[int, int] | None:
        """Row and column of a corner of pixels about which the outline lies in even liver."""
        one = self.one
        rows, columns = np.nonzero(one.depth_mm > 0.42 * diameter)
        if not len(rows):
            return None
        angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        rim = shape.outline(angle) * shape.radius_mm / one.spacing_mm
        right, down = rim * np.cos(angle), rim * np.sin(angle)
        reach = int(np.ceil(0.6 * diameter / one.spacing_mm))
        y, x = np.ogrid[-reach:reach, -reach:reach]
        disc = np.hypot(y + 0.5, x + 0.5) <= reach
        for i in rng.permutation(len(rows))[:_TRIES]:
            row, column = int(rows[i]), int(columns[i])
            at_y = np.floor(row + down).astype(int)
            at_x = np.floor(column + right).astype(int)
            inside = (at_y >= 0) & (at_y < one.hu.shape[0]) & (at_x >= 0) & (at_x < one.hu.shape[1])
            if not inside.all() or not one.liver[at_y, at_x].all():
                continue
            window = np.s_[
                max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach
            ]
            if self.shown[window].shape == disc.shape:
                about = disc & one.liver[window]
                if np.mean(self.shown[window][about] < one.median_hu - DARK_HU) > _DARK_SHARE:
                    continue
                return row, column
        return None

    def _liver_about(self, place: tuple[int, int], diameter: float) -> float:
        """Median HU of the liver about a lesion, or of all of it where there is little about."""
        rows, columns = self.one.hu.shape
        away = np.hypot(
            np.arange(rows)[:, None] + 0.5 - place[0], np.arange(columns)[None] + 0.5 - place[1]
        )
        away *= self.one.spacing_mm
        about = self.one.inner & (away > 0.6 * diameter) & (away < 1.2 * diameter + 10)
        return float(np.median(self.one.hu[about])) if about.sum() >= 50 else self.one.median_hu

    def _painted(
        self,
        lesion: Lesion,
        place: tuple[int, int],
        thickness_mm: float,
        rng: np.random.Generator,
    ) -> tuple[Floats, Box | None]:
        one = self.one
        # the lesion is drawn on finer pixels where its window then still holds it
        finer = 2 if 1.3 * lesion.diameter_mm + 20 < SIZE_PX / 2 * one.spacing_mm else 1
        grid = Grid(one.spacing_mm / finer, (0.0, 0.0))
        depths = scanner.depths_of(thickness_mm)
        # painted on nothing, and on 1: the two together tell the share of the voxel
        own = np.zeros((SIZE_PX, SIZE_PX), np.float32)
        lit = np.ones_like(own)
        share, within = lesion.paint(own, grid, 0.0, depths), lesion.box(grid)
        lesion.paint(lit, grid, 0.0, depths)
        if share is None or within is None:
            return one.hu, None
        truth = np.zeros_like(own)
        truth[within] = share
        own, lit, truth = (_coarser(part, finer) for part in (own, lit, truth))
        cover = np.clip(self.grain.blurred(1 - (lit - own)), 0, 1)
        own = self.grain.blurred(own)
        fresh = self.grain.noise(rng, len(own))
        half = len(own) // 2
        rows, inner_rows = _overlap(place[0] - half, len(own), one.hu.shape[0])
        columns, inner_columns = _overlap(place[1] - half, len(own), one.hu.shape[1])
        there, here = np.s_[rows, columns], np.s_[inner_rows, inner_columns]
        cover, own, fresh = cover[here], own[here], fresh[here]
        # far from the lesion the point spread leaves nothing that counts
        cover[cover < 1e-3] = 0
        shown = self.shown[there]
        left = one.hu[there] - shown
        hu = one.hu.copy()
        mixed = shown * (1 - cover) + own + left * np.sqrt(1 - cover) + fresh * np.sqrt(cover)
        hu[there] = np.where(cover > 0, mixed, hu[there])
        where = truth[here] > 0.5
        if not where.any():
            return hu, None
        ys, xs = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        box = Box(
            float(columns.start + xs[0]), float(rows.start + ys[0]),
            float(xs[-1] - xs[0] + 1), float(ys[-1] - ys[0] + 1),
        )  # fmt: skip
        return hu, box


def _coarser(picture: Floats, by: int) -> Floats:
    side = len(picture) // by
    return np.asarray(picture.reshape(side, by, side, by).mean(axis=(1, 3)), np.float32)


def _overlap(start: int, length: int, whole: int) -> tuple[slice, slice]:
    """Where a window lies on an axis of ``whole`` pixels, and which of its own pixels these are."""
    low, high = max(start, 0), min(start + length, whole)
    return slice(low, high), slice(low - start, high - start)
