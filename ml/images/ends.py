"""What the window's ends leave of a measurement: the slice's own value, or a bound of it.

An ROI is clipped to the window, and training lesions are clipped alike, so numbers that are
compared are those *in the window*: a lesion of 800 HU has 250 HU there. That is no value of the
lesion. What people read as measured is therefore the value of the slice (the ROI before it was
clipped), with that in the window beside it where the two differ; of an ROI whose slice nobody
sent, a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml.images import measurements as whole
from ml.images import quick
from ml.images.measurements import RINGS, SIZE, Bools, Measured, zone
from ml.images.roi import Roi

_END = 1 - 1e-5
"""In [−1, 1]; float32 maps the end of a window to a little less than 1."""
_EXACTLY = 1e-6
"""A whole number that sums of floats miss by less is that number, in any unit."""
_ZONES: dict[str, Bools] = {
    "lesion": zone(*whole.LESION),
    "core": zone(*whole.CORE),
    "rim": zone(*whole.RIM),
    "surround": zone(*whole.SURROUND),
    **{f"ring_{inner:g}_{outer:g}": zone(inner, outer) for inner, outer in pairwise(RINGS)},
}
_GAPS = {
    "contrast": ("lesion", "surround"),
    "rim_less_core": ("rim", "core"),
    "rim_less_surround": ("rim", "surround"),
    "core_less_surround": ("core", "surround"),
}
"""Differences of two means: which is taken from which."""


class Known(StrEnum):
    """What is known of a value beyond the ends of the window."""

    EXACT = "exact"
    AT_LEAST = "at least"
    AT_MOST = "at most"
    NOT = "not known"


@dataclass(frozen=True)
class Value:
    """One measurement of one lesion.

    Attributes:
        windowed: of the ROI, whose greys beyond the window count as its ends: what is compared.
        own: the slice's, where it is ``EXACT``; else ``windowed``. NaN where it is not measured.
        known: how the true value stands to ``own``.
    """

    windowed: float
    own: float
    known: Known = Known.EXACT

    @classmethod
    def of(cls, value: float) -> Value:
        """One that the window does not change."""
        return cls(value, value)

    def words(
        self, number: Callable[[float], str], unit: str, digits: int = 0, after: str = ""
    ) -> str:
        """``12 HU``; ``800 HU (in the window 250 HU)``; ``at least 250 HU``.

        Args:
            number: a value in words.
            unit: of the value; of grey it is a range that has ends, no window.
            digits: decimals of ``number``: a bound is never rounded beyond what is known.
            after: what follows the number.
        """
        inside = number(self._rounded(digits)) + after
        where = "range" if "grey" in unit else "window"
        if self.known == Known.NOT:
            return f"{inside} (in the {where}; not known beyond it)"
        if self.known != Known.EXACT:
            return f"{self.known} {inside}"
        own = number(self.own) + after
        return inside if own == inside else f"{own} (in the {where} {number(self.windowed)})"

    def turned(self) -> Value:
        """The same below 0 instead of above it, and the other way round."""
        other = {Known.AT_LEAST: Known.AT_MOST, Known.AT_MOST: Known.AT_LEAST}
        return Value(-self.windowed, -self.own, other.get(self.known, self.known))

    def _rounded(self, digits: int) -> float:
        step: int = 10**digits
        if self.known == Known.AT_LEAST:
            return math.floor(self.windowed * step + _EXACTLY) / step
        if self.known == Known.AT_MOST:
            return math.ceil(self.windowed * step - _EXACTLY) / step
        return self.windowed


Values = tuple[Value, ...]


def values(
    rois: Sequence[Roi], measured: Measured, window_hu: tuple[float, float] | None
) -> list[Values]:
    """Every measurement of some ROIs, as the slices have it.

    Args:
        measured: the same ROIs by `quick.measure`, as they are compared.
        window_hu: what −1 and 1 stand for; None for grey values without Hounsfield units.
    """
    of_slice = measured.values.copy()
    beyond = [(place, cut) for place, one in enumerate(rois) if (cut := one.cut_off) is not None]
    if beyond:
        places, cuts = zip(*beyond, strict=True)
        sizes = [rois[place].longer_side_mm for place in places]
        of_slice[list(places)] = quick.measure(np.stack(cuts), window_hu, sizes).values
    names = [one.name for one in measured.of]
    found = []
    for roi, row, own in zip(rois, measured.values, of_slice, strict=True):
        exact = roi.unclipped is not None
        ends = (Known.EXACT,) * len(row) if exact else known(roi.pixels, names)
        found.append(
            tuple(
                Value(float(inside), float(value), end)
                for inside, value, end in zip(row, own, ends, strict=True)
            )
        )
    return found


def known(pixels: npt.NDArray[np.floating], names: Sequence[str]) -> tuple[Known, ...]:
    """What is known of each measurement of an ROI (64, 64) in [−1, 1] whose slice is not there."""
    low, high = pixels <= -_END, pixels >= _END
    if not (low | high).any():
        return (Known.EXACT,) * len(names)
    below = {name: bool(low[place].any()) for name, place in _ZONES.items()}
    above = {name: bool(high[place].any()) for name, place in _ZONES.items()}
    return tuple(_known(name, below, above) for name in names)


def _known(name: str, below: dict[str, bool], above: dict[str, bool]) -> Known:
    """By which zones have pixels at the lower and at the upper end."""
    if name == SIZE:
        return Known.EXACT
    if name in _GAPS:
        more, less = _GAPS[name]
        return _between(below[more] or above[less], above[more] or below[less])
    place, _, what = name.rpartition("_")
    if place in _ZONES:
        if what == "sd":  # clipping brings any two pixels nearer to each other, or neither
            return Known.AT_LEAST if below[place] or above[place] else Known.EXACT
        if what == "mean" or (what.startswith("p") and what[1:].isdigit()):
            return _between(below[place], above[place])
    return Known.NOT


def _between(less: bool, more: bool) -> Known:
    """Of a value of which the truth may be less, or more."""
    if less and more:
        return Known.NOT
    return Known.AT_MOST if less else Known.AT_LEAST if more else Known.EXACT
