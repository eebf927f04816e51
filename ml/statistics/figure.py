"""A figure as every table, page and export shows it: never alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml.ground import records

NO_WIDTH = 1e-12
"""An interval that is no wider is none: it would claim a certainty that nobody has."""


@dataclass(frozen=True)
class Figure:
    """A value with its interval, what it was counted on, and how.

    ``value``, ``low`` and ``high`` are None where the data do not define them; ``note`` then says
    why. ``n`` counts observations (images, readings or pairs, as ``method`` says); both are left
    out where one sentence tells them of many figures. Intervals are 95 % ones where nothing else
    is said. One without width is dropped where the figure says its method.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int | None = None
    method: str = ""
    note: str | None = None

    def __post_init__(self) -> None:
        # a figure without its method was read from where one sentence tells it of all: as it stands
        if not self.method or self.ends is None or self.ends[1] - self.ends[0] > NO_WIDTH:
            return
        object.__setattr__(self, "low", None)
        object.__setattr__(self, "high", None)
        if self.note is None:
            object.__setattr__(self, "note", "the answers do not vary, so there is no interval")

    @classmethod
    def undefined(cls, n: int, method: str, why: str) -> Figure:
        """No value, and why, in a few words."""
        return cls(None, None, None, n, method, why)

    @property
    def known(self) -> float:
        """The value, where it is known to exist.

        Raises:
            ValueError: it does not.
        """
        if self.value is None:
            raise ValueError(f"This figure has no value: {self.note or 'nothing defines it'}.")
        return self.value

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the interval; None where there is none."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def widened(self, ends: tuple[float, float]) -> Figure:
        """The same value with an interval wide enough to hold ``ends`` and the value itself."""
        if self.value is None:
            return self
        own = self.ends or ends
        return Figure(
            self.value, min(self.value, ends[0], own[0]), max(self.value, ends[1], own[1]),
            self.n, self.method, self.note,
        )  # fmt: skip

    def to_json(self) -> Any:
        """``{"value", "low", "high", "n"?, "method"?, "note"?}``; what is not told is left out."""
        return records.to_json(self)

    def __str__(self) -> str:
        if self.value is None:
            return f"not defined ({self.note})"
        if self.low is None or self.high is None:
            return f"{self.value:.2f} (no interval)"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"
