"""Where a lesion's measurements lie among those of the training lesions of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.images.ends import Value
from ml.images.measurements import MM, SIZE
from ml.trust import themes
from ml.trust.lesions import Lesions

Floats = npt.NDArray[np.float64]

NAMED = {
    SIZE: "Size",
    "lesion_mean": "Mean",
    "rim_less_core": "Rim less centre",
    "lesion_sd": "Heterogeneity",
}
"""The measurements that are compared, and what people call them."""
LEAST = 5
"""Of fewer lesions of a class no middle half is told."""
_MOST_DIGITS = 2


@dataclass(frozen=True)
class Spread:
    """One measurement of the training lesions of a class.

    Attributes:
        lesion_class: its display.
        values: (n,) those that are known, ascending.
    """

    lesion_class: str
    values: Floats

    @property
    def n(self) -> int:
        """Of how many lesions it is known."""
        return len(self.values)

    @property
    def middle(self) -> tuple[float, float] | None:
        """Where the middle half lies; None of fewer than `LEAST`."""
        if self.n < LEAST:
            return None
        low, high = np.quantile(self.values, [0.25, 0.75])
        return float(low), float(high)

    @property
    def borders(self) -> tuple[float, ...]:
        """The numbers that say where a value lies."""
        ends = (float(self.values[0]), float(self.values[-1])) if self.n else ()
        return (*ends, *(self.middle or ()))

    def place(self, value: float, unit: str, digits: int = 0) -> str:
        """Where a value lies among them, in words; numbers with so many decimals."""

        def span(one: float, other: float) -> str:
            return f"{_number(one, digits)} to {_number(other, digits)} {unit}"

        named = themes.plural(self.lesion_class)
        if not self.n:
            return f"not known of any of the {named}"
        low, high = float(self.values[0]), float(self.values[-1])
        if self.n == 1:
            return f"beside the only one of the {named} ({_number(low, digits)} {unit})"
        whole = f"all {self.n} {named} ({span(low, high)})"
        if value < low:
            return f"below {whole}"
        if value > high:
            return f"above {whole}"
        if self.middle is None:
            return f"within the range of {whole}"
        first, third = self.middle
        if value < first:
            return f"in the lowest quarter of {self.n} {named} ({span(low, first)})"
        if value > third:
            return f"in the highest quarter of {self.n} {named} ({span(third, high)})"
        return f"inside the middle half of {self.n} {named} ({span(first, third)})"


@dataclass(frozen=True)
class Strip:
    """One measurement of a lesion, beside the training lesions of each class.

    Attributes:
        name: what people call it.
        unit: of all values; "HU", "% of grey" or "mm".
        value: the lesion's own as it is compared: in the window, as those of the training lesions
            are; None where it is not known.
        of_slice: the same as it is told; None: no window changed it.
    """

    name: str
    unit: str
    value: float | None
    classes: tuple[Spread, ...]
    of_slice: Value | None = None

    @property
    def told(self) -> str:
        """The value with its unit, ``Mean 12 HU``, or that it is not known.

        Where the window changed it also what is compared: ``Mean 800 HU (in the window 250 HU)``.
        """
        if self.value is None:
            why = " (the image has no pixel spacing)" if self.unit == MM else ""
            return f"{self.name}: unknown{why}"
        own, digits = self.of_slice or Value.of(self.value), self._digits
        words = own.words(lambda one: f"{_number(one, digits)} {self.unit}", self.unit, digits)
        return f"{self.name} {words}"

    @property
    def places(self) -> tuple[str, ...]:
        """Where it lies in each class; none where it is not known."""
        if self.value is None:
            return ()
        return tuple(one.place(self.value, self.unit, self._digits) for one in self.classes)

    @property
    def _digits(self) -> int:
        """Decimals by which the value differs from every border that it does not lie on."""
        value = self.value or 0.0
        apart = [one for each in self.classes for one in each.borders if one != value]
        return next(
            (
                digits
                for digits in range(_MOST_DIGITS)
                if all(round(one, digits) != round(value, digits) for one in apart)
            ),
            _MOST_DIGITS,
        )

    @property
    def ends(self) -> tuple[float, float]:
        """Of the axis: all that is drawn lies between them, with a little room."""
        drawn = [one.values for one in self.classes]
        own = [] if self.value is None else [np.asarray([self.value])]
        every = np.concatenate([*drawn, *own])
        if not every.size:
            return 0.0, 1.0
        low, high = float(every.min()), float(every.max())
        room = 0.04 * (high - low) or 1.0
        return low - room, high + room

    def at(self, value: float) -> float:
        """Where on the axis a value lies, 0 … 1."""
        low, high = self.ends
        return (value - low) / (high - low)

    def words(self, value: float) -> str:
        """A value on the axis with its unit."""
        return f"{_number(value, 0)} {self.unit}"


def strips(
    lesions: Lesions,
    own: npt.NDArray[np.floating],
    displays: Sequence[str],
    allowed: npt.NDArray[np.bool_] | None = None,
    of_slice: Sequence[Value] | None = None,
) -> tuple[Strip, ...]:
    """The measurements of `NAMED` that both have, in that order; none beside no lesion.

    Args:
        lesions: of which those count that the network was trained on.
        own: (k,) of the lesion, in the order of ``lesions.measured``; NaN where not known.
        displays: of the classes, for people.
        allowed: (n,) which of them may be told with their classes; None: each.
        of_slice: (k,) what is told of the lesion; None: no window changed it.
    """
    counted = lesions.trained if allowed is None else lesions.trained & allowed
    if not counted.any():
        return ()
    at = {one.name: place for place, one in enumerate(lesions.measured.of)}
    found = []
    for name, words in NAMED.items():
        if name in at:
            column = lesions.measured.values[:, at[name]]
            value = float(own[at[name]])
            found.append(
                Strip(
                    words,
                    lesions.measured.of[at[name]].unit,
                    value if np.isfinite(value) else None,
                    tuple(
                        Spread(
                            display,
                            _known(column[counted & (lesions.labels == label)]),
                        )
                        for label, display in enumerate(displays)
                    ),
                    None if of_slice is None else of_slice[at[name]],
                )
            )
    return tuple(found)


def _known(values: Floats) -> Floats:
    return np.sort(values[np.isfinite(values)])


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")
