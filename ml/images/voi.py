"""From values to what an eye sees: windows (PS3.3 C.11.2.1.2) and the part of a picture shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.images.decimals import DECIMAL

TAGS = ("WindowCenter", "WindowWidth", "VOILUTFunction")
"""The attributes that windows are told by."""
TABLE = "VOILUT"
"""Under what a table is kept among the tags of a slice; no attribute of DICOM has this name."""
MOST_STEPS = 256
"""Most steps of a table: one that never falls has no more greys."""


class VoiFunction(StrEnum):
    """How values within a window become greys (PS3.3 C.11.2.1.2.1 to 3)."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


@dataclass(frozen=True)
class Window:
    """A window: its centre and width, in the image's values.

    Raises:
        ValueError: a width that its function does not know: under 1 for ``linear``, else not above
            0; or a value that is no number.
    """

    center: float
    width: float
    function: VoiFunction = VoiFunction.LINEAR

    def __post_init__(self) -> None:
        least = 1.0 if self.function is VoiFunction.LINEAR else 0.0
        fits = self.width >= 1 if self.function is VoiFunction.LINEAR else self.width > 0
        if not (fits and np.isfinite(self.width) and np.isfinite(self.center)):
            raise ValueError(f"a window of {self.function} needs a width from {least:g} on")

    @classmethod
    def of_range(cls, low: float, high: float) -> Window:
        """The window that makes ``low`` black and ``high`` white."""
        return cls((low + high) / 2, high - low, VoiFunction.LINEAR_EXACT)

    @staticmethod
    def tags(windows: Iterable[Window]) -> dict[str, str]:
        """Windows of one function as the texts of the DICOM attributes; {} of none."""
        told = list(windows)
        if not told:
            return {}
        return {
            "WindowCenter": "\\".join(f"{one.center:.10g}" for one in told),
            "WindowWidth": "\\".join(f"{one.width:.10g}" for one in told),
            "VOILUTFunction": told[0].function.name,
        }

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> tuple[Window, ...]:
        """What `tags` wrote; () where that is not there.

        Raises:
            ValueError: these are no windows: another number of widths than of centres, a text that
                is no number, a function that DICOM does not know, or a width that it does not.
        """
        centers, widths = (
            [_number(one) for one in tags.get(word, "").split("\\") if one.strip()]
            for word in TAGS[:2]
        )
        if not centers and not widths:
            return ()
        function = tags.get("VOILUTFunction", "").strip().upper() or VoiFunction.LINEAR.name
        if function not in VoiFunction.__members__:
            raise ValueError("its VOI LUT Function is not known")
        pairs = zip(centers, widths, strict=True)
        return tuple(cls(center, width, VoiFunction[function]) for center, width in pairs)

    def greys(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The greys, 0 to 255, of values of any shape."""
        wide = values.astype(np.float32)
        if self.function is VoiFunction.SIGMOID:
            # beyond 80 the exponential leaves single precision, and the grey is 0 or 255
            power = np.clip(-4 * (wide - self.center) / self.width, -80, 80)
            share = 1 / (1 + np.exp(power))
        elif self.function is VoiFunction.LINEAR_EXACT:
            share = (wide - self.center) / self.width + 0.5
        elif self.width == 1:
            share = (wide > self.center - 0.5).astype(np.float32)
        else:
            share = (wide - (self.center - 0.5)) / (self.width - 1) + 0.5
        greys: npt.NDArray[np.uint8] = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
        return greys


@dataclass(frozen=True)
class Table:
    """A VOI LUT (PS3.3 C.11.2.1.1) as far as an eye sees it: in 256 greys.

    Attributes:
        steps: (value, grey) each: from that value on it is that grey, 0 to 255. Values rise; what
            lies below the first has its grey.

    Raises:
        ValueError: there is no step, or more than ``MOST_STEPS``; or values or greys are none.
    """

    steps: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        values = [value for value, _ in self.steps]
        rises = values == sorted(set(values)) and all(abs(value) < 2**17 for value in values)
        if not (0 < len(values) <= MOST_STEPS and rises):
            raise ValueError(f"a table has from 1 to {MOST_STEPS} steps at values that rise")
        if not all(0 <= grey <= 255 for _, grey in self.steps):
            raise ValueError("a grey is from 0 to 255")

    @classmethod
    def of_entries(cls, first: int, entries: npt.NDArray[Any], bits: int) -> Table:
        """A table as DICOM writes it.

        Args:
            first: the value that the first entry is for.
            entries: (n,), each from 0 to 2 ** bits - 1.

        Raises:
            ValueError: it cannot be one, or has more steps than are kept.
        """
        if not len(entries) or not 1 <= bits <= 16 or int(entries.max()) >= 2**bits:
            raise ValueError("its entries do not fit its descriptor")
        greys = np.rint(255 * entries.astype(np.float64) / (2**bits - 1)).astype(np.int64)
        (at,) = np.nonzero(np.diff(greys, prepend=-1))
        return cls(tuple((first + int(i), int(greys[i])) for i in at))

    @property
    def text(self) -> str:
        """As it is kept among a slice's tags."""
        return " ".join(f"{value}:{grey}" for value, grey in self.steps)

    @classmethod
    def of_tags(cls, tags: Mapping[str, Any]) -> Table | None:
        """What ``text`` wrote; None where none is kept."""
        told = str(tags.get(TABLE, "")).split()
        pairs = (one.partition(":") for one in told)
        return cls(tuple((int(value), int(grey)) for value, _, grey in pairs)) if told else None

    def greys(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The greys, 0 to 255, of whole values of any shape."""
        at = np.array([value for value, _ in self.steps])
        greys = np.array([grey for _, grey in self.steps], np.uint8)
        found: npt.NDArray[np.uint8] = greys[
            np.maximum(np.searchsorted(at, values, "right") - 1, 0)
        ]
        return found


def _number(text: str) -> float:
    """A decimal string (PS3.5 6.2): what Python takes beyond it is none."""
    if not DECIMAL.fullmatch(text.strip()):
        raise ValueError("its window is no number")
    return float(text)
