"""The doors by which images come in, and what an administrator has allowed at each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.settings import Settings


class Door(StrEnum):
    """How an image came in."""

    UPLOAD = "upload"
    STOW = "stow"
    PULL = "pull"
    NODE = "node"


class Allowance(StrEnum):
    """What a door may do beyond the strictest; each is off until an administrator names it."""

    RETURN_RESULTS = "return-results"
    """Keep, encrypted, what leads a result back to the patient and the study it came from."""


@dataclass(frozen=True)
class Entry:
    """One coming in: by which door, on what terms.

    Attributes:
        source: the name of the configured PACS, or of the sender, that a result goes back to; ""
            where nobody is named.
    """

    door: Door
    allowed: frozenset[Allowance] = frozenset()
    source: str = ""

    @classmethod
    def at(cls, settings: Settings, door: Door, source: str = "") -> Entry:
        """The terms of a door as the settings have them."""
        named: dict[Door, str] = {
            Door.UPLOAD: settings.door_upload,
            Door.STOW: settings.door_stow,
            Door.PULL: settings.door_pull,
            Door.NODE: settings.door_node,
        }
        return cls(door, frozenset(Allowance(word) for word in words(named[door])), source)

    @property
    def returns_results(self) -> bool:
        """Whether the way back is kept."""
        return Allowance.RETURN_RESULTS in self.allowed


STRICT = Entry(Door.UPLOAD)
"""An upload where nothing is allowed beyond the strictest."""


def words(text: str) -> list[str]:
    """The words of a list with commas between them."""
    return [word for part in text.split(",") if (word := part.strip())]
