"""What one pasting made and found: ``tissue.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.experiment.tissue.asked import Asked
from ml.experiment.tissue.compared import Compared
from ml.ground import records


@dataclass(frozen=True)
class Found:
    """Of one call of the command.

    Attributes:
        counts: pasted lesions of each class.
        slices, patients: in which they are.
        shrunk: of them, lesions that found no room at the size that was drawn.
        left_out: slices without use, by the reason.
        compared: or why phantom and real liver could not be.
        checkpoint: the name of the network that was asked.
        phantom_version: of the phantom that drew lesions and liver.
    """

    counts: Mapping[str, int]
    slices: int
    patients: int
    shrunk: int
    left_out: Mapping[str, int]
    difficulty: float
    seed: int
    spacing_mm: float
    greys_hu: tuple[float, float]
    thickness_mm: float
    checkpoint: str
    phantom_version: str
    asked: tuple[Asked, ...]
    compared: Compared | str
    command: str

    def to_json(self) -> Any:
        """Every field under its name."""
        return records.to_json(self)
