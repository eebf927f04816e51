"""What one pasting made and found: ``tissue.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ml.experiment.tissue.asked import Asked
from ml.experiment.tissue.compared import Compared
from ml.experiment.tissue.made import Made
from ml.ground import records


@dataclass(frozen=True)
class Found:
    """Of one call of the command.

    Attributes:
        compared: or why phantom and real liver could not be.
        checkpoint: the name of the network that was asked.
    """

    made: Made = field(metadata=records.merged())
    checkpoint: str
    asked: tuple[Asked, ...]
    compared: Compared | str
    command: str

    def to_json(self) -> Any:
        """Every field under its name."""
        return records.to_json(self)
