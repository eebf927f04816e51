"""What measurements say of a lesion in words, and where the lesions of a class lie in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.images import measurements as every
from ml.images.ends import Known, Value
from ml.images.measurements import Measured

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_CLEAR = 0.3
"""A range tells a class if the share of its lesions in it exceeds that of the others by as much."""
_NEARLY = 0.05
"""A range with one end is taken if it tells nearly as well as the best one with two."""


@dataclass(frozen=True)
class Theme:
    """Measurements that say one thing about a lesion, and how it is said.

    Attributes:
        headline: the one that is told and counted.
        names: how the names of all begin; the first theme that fits a measurement has it.
        words: of value and unit, and of "low" or "high" for the lowest and the highest third of
            the training lesions, else "".
    """

    headline: str
    names: tuple[str, ...]
    words: Callable[[Value, str, str], str]


def _number(value: float, unit: str) -> str:
    text = f"{value:.{_digits(value, unit)}f}"
    return f"{text} {unit}".strip()


def _digits(value: float, unit: str) -> int:
    whole = abs(value) >= 10 or unit in (every.HU, every.GREY, every.MM)
    return 0 if whole else 1


def _told(value: Value, unit: str, after: str = "") -> str:
    digits = _digits(value.windowed, unit)
    return value.words(lambda number: _number(number, unit), unit, digits, after)


def _gap(what: str, other: str) -> Callable[[Value, str, str], str]:
    def words(value: Value, unit: str, third: str) -> str:
        # of a bound "at least" is told of the size of the gap, which has one side
        turned = value.known != Known.EXACT and value.windowed < 0
        told = value.turned() if turned else value

        def number(gap: float) -> str:
            side = "below" if turned or gap < 0 else "above"
            return f"{_number(abs(gap), unit)} {side}"

        digits = _digits(value.windowed, unit)
        return f"{what}{told.words(number, unit, digits, f' its {other}')}"

    return words


def _named(low: str, high: str, plain: str, beside: str) -> Callable[[Value, str, str], str]:
    """The number, ``beside`` an adjective in the lowest and the highest third."""

    def words(value: Value, unit: str, third: str) -> str:
        number = _number(value.windowed, unit)
        # an adjective that the window made says nothing of the lesion
        if not third or _told(value, unit) != number:
            before, _, after = plain.partition("{}")
            return f"{before}{_told(value, unit, after)}"
        return f"{low if third == 'low' else high} ({beside.format(number)})"

    return words


THEMES = (
    Theme("diameter_mm", ("diameter_mm",), lambda value, unit, _: f"{_told(value, unit)} across"),
    Theme(
        "rim_sector_max",
        ("rim_sector",),
        _named(
            "even rim",
            "patchy rim",
            "rim's brightest eighth {} above its mean",
            "brightest eighth {} above its mean",
        ),
    ),
    Theme("rim_less_core", ("rim_less_core", "brightest_ring"), _gap("rim ", "core")),
    Theme(
        "contrast",
        ("contrast", "rim_less_surround", "core_less_surround"),
        _gap("", "surroundings"),
    ),
    Theme(
        "edge_gradient",
        ("edge_", "ring_0.85_1_sd", "ring_1_1.15_sd"),
        _named("blurred edge", "steep edge", "edge of {}", "{}"),
    ),
    Theme(
        "surround_mean",
        ("surround_", "ring_1.15", "ring_1_1.15_mean"),
        lambda value, unit, _: f"surroundings {_told(value, unit)}",
    ),
    Theme(
        "lesion_sd",
        (
            *("lesion_sd", "lesion_skewness", "lesion_kurtosis", "lesion_gradient", "lesion_band"),
            *("ring_0_0.25_sd", "ring_0.25_0.5_sd", "ring_0.5_0.7_sd", "ring_0.7_0.85_sd"),
            *("glcm_", "lbp_"),
        ),
        _named("homogeneous", "heterogeneous", "sd {} within", "sd {}"),
    ),
    Theme(
        "lesion_mean",
        ("lesion_", "ring_"),
        lambda value, unit, _: f"mean {_told(value, unit)}",
    ),
)
"""Every measurement belongs to one of them, so that three versions of the mean are no three
reasons."""


def theme_of(name: str) -> int:
    """The position in `THEMES` of a measurement's theme; that of the mean where none fits."""
    for place, theme in enumerate(THEMES):
        if name.startswith(theme.names):
            return place
    return len(THEMES) - 1


def headlines(measured: Measured) -> Floats:
    """(n, themes); NaN where a theme's headline is not measured."""
    place = {one.name: i for i, one in enumerate(measured.of)}
    nothing = np.full(len(measured.values), np.nan)
    return np.stack(
        [
            measured.values[:, place[theme.headline]] if theme.headline in place else nothing
            for theme in THEMES
        ],
        axis=1,
    )


@dataclass(frozen=True)
class Range:
    """Where the training lesions of a class lie, as far as that tells them from the others.

    ``low`` and ``high`` are included; infinite where there is no such end.
    """

    low: float
    high: float

    def holds(self, values: Floats) -> Bools:
        """Whether each of ``values`` (any shape) lies in it; NaN does not."""
        return np.asarray((values >= self.low) & (values <= self.high))


def range_of(values: Floats, own: Bools) -> Range | None:
    """The range of ``values`` (n,) in which the share of ``own`` most exceeds that of the others.

    Its ends lie midway between two lesions' values. None where nothing tells them apart.
    """
    known = np.isfinite(values)
    mine, others = known & own, known & ~own
    if not mine.any() or not others.any():
        return None
    levels = np.unique(values[known])
    middle = (levels[:-1] + levels[1:]) / 2
    borders = np.concatenate([[-np.inf], middle, [np.inf]])
    below = [np.searchsorted(np.sort(values[side]), borders) for side in (mine, others)]
    lead = below[0] / mine.sum() - below[1] / others.sum()  # of the shares below each border
    from_low, from_high = float(lead.max()), float(-lead.min())
    floor = np.minimum.accumulate(lead)
    best = float((lead - floor).max())
    if best < _CLEAR:
        return None
    if max(from_low, from_high) >= best - _NEARLY:
        if from_low >= from_high:
            return Range(-np.inf, float(borders[lead.argmax()]))
        return Range(float(borders[lead.argmin()]), np.inf)
    high = int((lead - floor).argmax())
    low = int(lead[: high + 1].argmin())
    return Range(float(borders[low]), float(borders[high]))


def plural(display: str) -> str:
    """Several lesions of a class: "cysts", "metastases"; of a word that is no such noun, safely."""
    if display.endswith("sis"):
        return f"{display[:-2]}es"
    if display.endswith(("oma", "cyst")):
        return f"{display}s"
    return f"lesions of class {display}"
