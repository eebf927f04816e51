"""A figure as every table, page and export shows it: never alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ml.statistics.proportion import Interval


@dataclass(frozen=True)
class Figure:
    """A value with its interval, what it was counted on, and how.

    ``value``, ``low`` and ``high`` are None where the readings do not define them; ``note`` then
    says why. ``n`` counts observations (images, readings or pairs, as ``method`` says). An interval
    without width is none: it would claim a certainty that nobody has.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    note: str | None = None

    def __post_init__(self) -> None:
        if self.low is None or self.high is None or self.high - self.low > 1e-12:
            return
        object.__setattr__(self, "low", None)
        object.__setattr__(self, "high", None)
        if self.note is None:
            object.__setattr__(self, "note", "the answers do not vary, so there is no interval")

    @classmethod
    def of(cls, interval: Interval, method: str) -> Figure:
        """A figure with its interval, and the name of the method that gave it."""
        return cls(interval.value, interval.low, interval.high, interval.n, method)

    @classmethod
    def undefined(cls, n: int, method: str, why: str) -> Figure:
        """No value, and why, in a few words."""
        return cls(None, None, None, n, method, why)

    def to_dict(self) -> dict[str, Any]:
        """``{"value", "low", "high", "n", "method", "note"?}``."""
        entry = asdict(self)
        if self.note is None:
            del entry["note"]
        return entry

    def __str__(self) -> str:
        if self.value is None:
            return f"not defined ({self.note})"
        if self.low is None or self.high is None:
            return f"{self.value:.2f} (no interval)"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"
