"""How far until the class flips: an ROI disturbed step by step, and the first step that changes it.

What is done to an ROI, in steps that are the same for every lesion (`GRIDS`):

* *mark*: the lesion's mark moved in eight directions, in parts of its diameter; cut anew;
* *size*: the mark made smaller or larger; cut anew;
* *noise*: Gaussian noise added, with the grain of a soft kernel (blurred by 0.7 pixels of the ROI
  and scaled to its standard deviation), drawn eight times; more than half must flip;
* *kernel*: a softer one (Gaussian blur) or a sharper one (unsharp masking), in pixels of the ROI;
* *thickness*: a thicker slice, in parts of the diameter. The lesion is taken for a ball: the slab
  is the mean of five sections, each the picture shrunk to the size of the ball there;
* *level*: all values shifted, as by another window level or a scanner that is off;
* *width*: values told in a wider or narrower window about the same middle.

All but the first two act on the ROI, so values beyond its window stay lost. None is a measurement
of another examination: it is a question to the network, not to the patient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.ground.errors import HepaticaError
from ml.images.roi import RoiError
from ml.lesion import ROI_SIZE_PX

Pixels = npt.NDArray[np.float32]
Score = Callable[[Pixels], npt.NDArray[np.floating]]
Cut = Callable[[float, float, float], Pixels]

DRAWS = 8
_GRAIN_PX = 0.7
_SHARP_PX = 1.0
_SECTIONS = (-0.8, -0.4, 0.0, 0.4, 0.8)
"""Middles of a slab's fifths, in halves of its thickness."""


class StabilityError(HepaticaError):
    """An ROI or a scorer that cannot be asked for its stability."""


class Disturbance(StrEnum):
    """What is done to an ROI."""

    MARK = "mark"
    SIZE = "size"
    NOISE = "noise"
    KERNEL = "kernel"
    THICKNESS = "thickness"
    LEVEL = "level"
    WIDTH = "width"


@dataclass(frozen=True)
class Grid:
    """The steps of one disturbance.

    Attributes:
        words: what is done, for people.
        unit: of ``steps``; "{grey}" stands for HU or percent of the grey range.
        steps: how much, rising.
        signs: (1,), or (1, -1) where it is done both ways.
        ways: how each sign is told, in words.
    """

    words: str
    unit: str
    steps: tuple[float, ...]
    signs: tuple[int, ...] = (1,)
    ways: tuple[str, ...] = ("",)


GRIDS: dict[Disturbance, Grid] = {
    Disturbance.MARK: Grid("mark moved", "% of the diameter", (5, 10, 15, 20)),
    Disturbance.SIZE: Grid(
        "size of the mark", "% of the diameter", (5, 10, 20, 30), (1, -1), ("larger", "smaller")
    ),
    Disturbance.NOISE: Grid("noise added", "{grey}", (5, 10, 15, 20, 30)),
    Disturbance.KERNEL: Grid(
        "kernel", "px", (0.5, 1, 1.5, 2), (1, -1), ("softer", "sharper")
    ),
    Disturbance.THICKNESS: Grid("thicker slice", "% of the diameter", (25, 50, 75, 100)),
    Disturbance.LEVEL: Grid(
        "values", "{grey}", (10, 20, 30, 40), (1, -1), ("up", "down")
    ),
    Disturbance.WIDTH: Grid(
        "window", "% of its width", (10, 20, 30, 40), (1, -1), ("wider", "narrower")
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """One disturbance of one lesion.

    Attributes:
        disturbance: which.
        words, unit: what was done, and what ``tried`` and ``flips_at`` are in.
        tried: the steps, rising; those that could be made.
        flips_at: the least step at which the class flips; None: at none of them.
        way: for one that is done both ways, the way that flips at that step, in words; else "".
        to: key of the class that it flips to, by the highest mean probability.
        reach: ``flips_at``, or where nothing flips the largest step that was tried, as a share of
            the largest there is: a bar's length; 0 where nothing was tried.
        note: why steps are missing; "" where none is.
    """

    disturbance: Disturbance
    words: str
    unit: str
    tried: tuple[float, ...]
    flips_at: float | None
    way: str
    to: str | None
    reach: float
    note: str = ""

    def sentence(self, display: Callable[[str], str] = str) -> str:
        """In words, such as "mark moved by 10 % of the diameter: cyst".

        Args:
            display: the name of a class for people, by its key.
        """
        if not self.tried:
            return f"{self.words}: not tried ({self.note})"
        # what was not tried may have flipped it: never said of it that it did not
        lacking = f" ({self.note})" if self.note else ""
        if self.flips_at is None or self.to is None:
            most = _told(self.tried[-1], self.unit)
            return f"{self.words}: no other class within {most}{lacking}"
        way = f" {self.way}" if self.way else ""
        least = _told(self.flips_at, self.unit)
        return f"{self.words}{way} by {least}: {display(self.to)}{lacking}"


@dataclass(frozen=True)
class Stability:
    """How far a lesion is from another class.

    Attributes:
        named: key of the class of the undisturbed ROI, and its ``probability``.
        bars: one for each disturbance, in the order of `Disturbance`.
        views: how many disturbed ROIs were scored.
    """

    named: str
    probability: float
    bars: tuple[Bar, ...]
    views: int


@dataclass(frozen=True)
class _View:
    step: float
    way: str
    pixels: Pixels


def flips(
    score: Score,
    cut: Cut | None,
    roi: Pixels,
    *,
    classes: Sequence[str],
    window_hu: tuple[float, float] | None,
    diameter_px: float | None,
    seed: int = 0,
) -> Stability:
    """Disturb one ROI along `GRIDS` and ask for its class each time, in one call of ``score``.

    Args:
        score: ROIs (n, 64, 64) in [−1, 1] → probabilities (n, classes).
        cut: the ROI with its mark moved by (dx, dy) pixels of the slice and scaled; None where
            there is no slice about the ROI: then the mark is not moved.
        roi: (64, 64) as it is.
        classes: keys, in the order of the probabilities.
        window_hu: what −1 and 1 stand for; None for grey values without Hounsfield units.
        diameter_px: of the lesion's mark in pixels of the slice; None as with ``cut``.
        seed: draws the noise; the same gives the same.

    Raises:
        StabilityError: an ROI of another shape or not finite, or answers that are no probabilities.
    """
    plain = np.asarray(roi, np.float32)
    if plain.shape != (ROI_SIZE_PX, ROI_SIZE_PX) or not np.isfinite(plain).all():
        raise StabilityError(
            f"An ROI is ({ROI_SIZE_PX}, {ROI_SIZE_PX}) finite numbers, not {plain.shape}."
        )
    made, notes = {}, {}
    for kind in Disturbance:
        made[kind], notes[kind] = _views(kind, plain, cut, window_hu, diameter_px, seed)
    every = [plain, *(view.pixels for views in made.values() for view in views)]
    answers = np.asarray(score(np.stack(every)), np.float64)
    if answers.shape != (len(every), len(classes)) or not np.isfinite(answers).all():
        raise StabilityError(
            f"Of {len(every)} ROIs and {len(classes)} classes the answers are {answers.shape} or "
            "not finite."
        )
    named = int(answers[0].argmax())
    bars, first = [], 1
    for kind, views in made.items():
        bars.append(_bar(kind, views, answers[first : first + len(views)], named, classes,
                         window_hu, notes[kind]))  # fmt: skip
        first += len(views)
    return Stability(classes[named], float(answers[0, named]), tuple(bars), len(every) - 1)


def _bar(
    kind: Disturbance,
    views: Sequence[_View],
    answers: npt.NDArray[np.float64],
    named: int,
    classes: Sequence[str],
    window_hu: tuple[float, float] | None,
    note: str,
) -> Bar:
    grid = GRIDS[kind]
    unit = grid.unit.format(grey="HU" if window_hu else "% of grey")
    tried = tuple(sorted({view.step for view in views}))
    for step in tried:
        for way in grid.ways:
            rows = [
                i
                for i, view in enumerate(views)
                if view.step == step and (view.way == way or kind == Disturbance.MARK)
            ]
            other = [i for i in rows if answers[i].argmax() != named]
            # of a mark that is moved each direction is a step by itself; of noise a draw is none
            if len(other) > (len(rows) / 2 if kind == Disturbance.NOISE else 0):
                mean = answers[other].mean(axis=0)
                mean[named] = -1
                to = classes[int(mean.argmax())]
                told = views[other[0]].way
                return Bar(kind, grid.words, unit, tried, step, told, to, step / grid.steps[-1],
                           note)  # fmt: skip
    reach = tried[-1] / grid.steps[-1] if tried else 0.0
    return Bar(kind, grid.words, unit, tried, None, "", None, reach, note)


def _told(amount: float, unit: str) -> str:
    return f"{amount:g} {unit}"


# -- what is done ----------------------------------------------------------------------------------

_DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
_NO_SLICE = "the image is the ROI itself"
_REFUSED = "not all could be tried: some marks would leave the image, or be too small"


def _views(
    kind: Disturbance,
    roi: Pixels,
    cut: Cut | None,
    window_hu: tuple[float, float] | None,
    diameter_px: float | None,
    seed: int,
) -> tuple[list[_View], str]:
    """The disturbed ROIs of one kind, and why some are missing."""
    grid = GRIDS[kind]
    low, high = window_hu or (0.0, 100.0)
    scale = 2 / (high - low)
    if kind in (Disturbance.MARK, Disturbance.SIZE):
        if cut is None or diameter_px is None:
            return [], _NO_SLICE
        return _marked(kind, grid, cut, diameter_px)
    if kind == Disturbance.THICKNESS:
        return _thicker(grid, roi, cut)
    if kind == Disturbance.NOISE:
        grains = _grains(seed)
        return [
            _View(step, "", _clipped(roi + step * scale * grain))
            for step in grid.steps
            for grain in grains
        ], ""
    return [
        _View(step, way, changed(kind, roi, sign * step, scale))
        for step in grid.steps
        for sign, way in zip(grid.signs, grid.ways, strict=True)
    ], ""


def noisy(roi: Pixels, sd: float, seed: int = 0) -> Pixels:
    """An ROI (64, 64) with noise of a soft kernel's grain of ``sd``, in units of [−1, 1]."""
    return _clipped(roi + sd * _grains(seed, 1)[0])


def changed(kind: Disturbance, roi: Pixels, by: float, scale: float = 1.0) -> Pixels:
    """An ROI (64, 64) in [−1, 1] with another level, width or kernel.

    Args:
        kind: LEVEL, WIDTH or KERNEL.
        by: a step of it, with its sign (`GRIDS`).
        scale: of a level: what one of its steps is in [−1, 1].
    """
    if kind == Disturbance.LEVEL:
        return _clipped(roi + by * scale)
    if kind == Disturbance.WIDTH:
        return _clipped(roi / (1 + by / 100))
    if by > 0:
        return _clipped(scipy.ndimage.gaussian_filter(roi, by, mode="nearest"))
    soft = scipy.ndimage.gaussian_filter(roi, _SHARP_PX, mode="nearest")
    return _clipped(roi - by * (roi - soft))


def _marked(kind: Disturbance, grid: Grid, cut: Cut, diameter_px: float) -> tuple[list[_View], str]:
    found, refused = [], False
    for step, way, (dx, dy, size) in _marks(kind, grid):
        try:
            pixels = cut(dx * diameter_px, dy * diameter_px, size)
        except RoiError:
            refused = True
            continue
        found.append(_View(step, way, np.asarray(pixels, np.float32)))
    return found, _REFUSED if refused else ""


def _marks(
    kind: Disturbance, grid: Grid
) -> Iterator[tuple[float, str, tuple[float, float, float]]]:
    """Step, way, and the mark's move in diameters with its scale."""
    for step in grid.steps:
        share = step / 100
        if kind == Disturbance.SIZE:
            for sign, way in zip(grid.signs, grid.ways, strict=True):
                yield step, way, (0.0, 0.0, 1 + sign * share)
        else:
            for i, way in enumerate(_DIRECTIONS):
                turn = 2 * math.pi * i / len(_DIRECTIONS)
                yield step, way, (share * math.cos(turn), share * math.sin(turn), 1.0)


def _thicker(grid: Grid, roi: Pixels, cut: Cut | None) -> tuple[list[_View], str]:
    """Slabs of sections of a ball; without a slice the ROI's edge goes on as it is."""
    sections: dict[float, Pixels] = {1.0: roi}
    found, refused = [], False
    for step in grid.steps:
        # heights in radii of the ball: half the slab's thickness in diameters is that in radii
        heights = [step / 100 * middle for middle in _SECTIONS]
        sizes = [round(math.sqrt(max(1 - height**2, 0.04)), 6) for height in heights]
        try:
            for size in sizes:
                if size not in sections:
                    sections[size] = _shrunk(roi, size) if cut is None else cut(0, 0, 1 / size)
        except RoiError:
            refused = True
            continue
        slab = np.stack([sections[size] for size in sizes])
        found.append(_View(step, "", _clipped(slab.mean(axis=0))))
    return found, _REFUSED if refused else ""


def _shrunk(roi: Pixels, size: float) -> Pixels:
    at = (np.arange(ROI_SIZE_PX) - (ROI_SIZE_PX - 1) / 2) / size + (ROI_SIZE_PX - 1) / 2
    where = np.stack(np.meshgrid(at, at, indexing="ij"))
    return np.asarray(
        scipy.ndimage.map_coordinates(roi, where, order=1, mode="nearest"), np.float32
    )


def _grains(seed: int, draws: int = DRAWS) -> Pixels:
    """(draws, 64, 64) of unit standard deviation."""
    white = np.random.default_rng([seed, 13]).standard_normal((draws, ROI_SIZE_PX, ROI_SIZE_PX))
    soft = scipy.ndimage.gaussian_filter(white, (0, _GRAIN_PX, _GRAIN_PX), mode="wrap")
    return np.asarray(soft / soft.std(axis=(1, 2), keepdims=True), np.float32)


def _clipped(values: npt.NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(values, -1.0, 1.0), np.float32)
