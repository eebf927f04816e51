"""Which grey values a data set's images use, of those that their type could hold.

Grey is mapped to [−1, 1] from the full range of its type. A scanner's 12 bits in a 16-bit PNG then
all lie between −1 and −0.87, where a network sees next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError

Range = tuple[float, float]


class OfImage(StrEnum):
    """Black and white are told by each image itself."""

    IMAGE = "image"
    """Its own 0.5th and 99.5th percentiles: where one grey value means another thing in every
    image, as in magnetic resonance."""


Chosen = Range | OfImage
"""Grey values that become −1 and 1."""
_OWN = (0.5, 99.5)

LEAST_OF_IMAGES = 0.25
"""Share of the type's range that the images of a data set must span …"""
LEAST_OF_ROIS = 0.05
"""… and its ROIs: a black frame can make the images span more than what is seen."""
_OF_IMAGES = 0.001
_OF_ROIS = 0.02
"""Shares of the pixels at either end that are not looked at."""


class GreyRangeError(HepaticaError):
    """A range of grey values that is none, or that does not fit the images."""


def checked(ends: Sequence[float]) -> Range:
    """``LOW,HIGH`` as two rising numbers from 0; GreyRangeError for anything else."""
    values = tuple(float(end) for end in ends)
    if len(values) != 2 or not all(map(math.isfinite, values)) or not 0 <= values[0] < values[1]:
        raise GreyRangeError(
            f"A range of grey values is two numbers, 0 or more, the low one first, such as "
            f"0,4095; not {', '.join(f'{value:g}' for value in values)}."
        )
    return values[0], values[1]


def read(told: Any) -> Chosen | None:
    """What ``stored`` gave; GreyRangeError for anything else."""
    if told is None:
        return None
    return OfImage(told) if told in [*OfImage] else checked(told)


def stored(chosen: Chosen | None) -> list[float] | str | None:
    """As JSON."""
    return list(chosen) if isinstance(chosen, tuple) else chosen


def words(chosen: Chosen | None) -> str:
    """For people: which grey values become black and white."""
    if chosen is None:
        return "all grey values"
    if isinstance(chosen, OfImage):
        return "each image's own grey values (its 0.5th and 99.5th percentiles)"
    return f"grey values {chosen[0]:g} to {chosen[1]:g}"


def range_of(pixels: npt.NDArray[Any], chosen: Chosen | None) -> Range:
    """The grey values of an image (rows, columns) that become −1 and 1.

    Those chosen, its own, or the full range of its type.

    Raises:
        GreyRangeError: the type cannot hold the highest one, so these are other images; or nearly
            all of the image has one grey value.
    """
    most = float(np.iinfo(pixels.dtype).max)
    if isinstance(chosen, OfImage):
        low, high = (float(end) for end in np.percentile(pixels, _OWN))
        if low == high:
            raise GreyRangeError(
                f"Nearly all of the image has the grey value {low:g}, so it has no range of its "
                "own; give the image itself."
            )
        return low, high
    if chosen is None:
        return 0.0, most
    if chosen[1] > most:
        raise GreyRangeError(
            f"Grey values {chosen[0]:g} to {chosen[1]:g} are mapped, but this image has "
            f"{pixels.dtype.itemsize * 8} bits, 0 to {most:g}: give it as it was exported for "
            "training."
        )
    return chosen


@dataclass
class Greys:
    """Counts of the grey values of images and of their ROIs, by type."""

    chosen: Chosen | None = None
    _images: dict[np.dtype[Any], npt.NDArray[np.int64]] = field(default_factory=dict)
    _rois: dict[np.dtype[Any], npt.NDArray[np.int64]] = field(default_factory=dict)

    def add(self, image: npt.NDArray[Any] | None, roi: npt.NDArray[Any], of: np.dtype[Any]) -> None:
        """Count an ROI in grey values, and its image (rows, columns) if it is not counted yet."""
        if image is not None:
            self._count(self._images, image, of)
        inside = np.clip(np.rint(roi), 0, np.iinfo(of).max).astype(of)
        self._count(self._rois, inside, of)

    @staticmethod
    def _count(
        counts: dict[np.dtype[Any], npt.NDArray[np.int64]],
        pixels: npt.NDArray[Any],
        of: np.dtype[Any],
    ) -> None:
        length = int(np.iinfo(of).max) + 1
        found = np.bincount(pixels.ravel(), minlength=length)
        counts[of] = counts[of] + found if of in counts else found

    def problems(self) -> list[str]:
        """What makes a network see next to nothing, one sentence each; none where all is well."""
        if isinstance(self.chosen, OfImage):
            return []
        if self.chosen is not None:
            if len(self._images) > 1:
                return ["--range is in the grey values of one type, and here are 8-bit and 16-bit "
                        "images; prepare them one by one."]  # fmt: skip
            return []
        told = []
        for of, counts in self._images.items():
            low, high = _ends(counts, _OF_IMAGES)
            of_rois = _ends(self._rois[of], _OF_ROIS)
            most = len(counts) - 1
            if high - low < LEAST_OF_IMAGES * most:
                what, share, shown = "images", 1 - 2 * _OF_IMAGES, (low, high)
            elif of_rois[1] - of_rois[0] < LEAST_OF_ROIS * most:
                what, share, shown = "ROIs", 1 - 2 * _OF_ROIS, of_rois
            else:
                continue
            told.append(
                f"The {what} use {(shown[1] - shown[0]) / most:.0%} of the range of their "
                f"{of.itemsize * 8} bits ({share:.1%} of the pixels are {shown[0]} to {shown[1]} "
                f"of {most}), so a network would see next to nothing. Give the grey values that "
                f"are to become black and white (--range {shown[0]},{shown[1]} is what is used, "
                f"--range 0,{most} keeps the full range), or export the images over all of it."
            )
        return told

    def clipped(self) -> float:
        """Share of the ROIs' pixels outside the chosen range."""
        if not isinstance(self.chosen, tuple) or not self._rois:
            return 0.0
        low, high = self.chosen
        outside = total = 0
        for counts in self._rois.values():
            values = np.arange(len(counts))
            outside += int(counts[(values < low) | (values > high)].sum())
            total += int(counts.sum())
        return outside / max(1, total)


def _ends(counts: npt.NDArray[np.int64], share: float) -> tuple[int, int]:
    below = np.cumsum(counts)
    low, high = (int(np.searchsorted(below, end * below[-1])) for end in (share, 1 - share))
    return low, high
