"""The doors by which images come in, and on what terms an administrator lets them in at each."""

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


class Term(StrEnum):
    """What is done at a door otherwise than usual; each is off until an administrator names it."""

    RETURN_RESULTS = "return-results"
    """Keep, encrypted, what leads a result back to the patient and the study it came from."""
    SHIFT_DATES = "shift-dates"
    """Keep dates, moved by days that are the patient's own (`app.models.cases.dates`)."""
    REFUSE_BURNED_IN = "refuse-burned-in"
    """Refuse images with text in their pixels, by their tag or by looks, instead of warning."""


@dataclass(frozen=True)
class Entry:
    """One coming in: by which door, on what terms.

    Attributes:
        source: the name of the configured PACS, or of the sender, that a result goes back to; ""
            where nobody is named.
    """

    door: Door
    terms: frozenset[Term] = frozenset()
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
        return cls(door, frozenset(Term(word) for word in words(named[door])), source)

    @property
    def returns_results(self) -> bool:
        """Whether the way back is kept."""
        return Term.RETURN_RESULTS in self.terms

    @property
    def shifts_dates(self) -> bool:
        """Whether dates are kept, moved."""
        return Term.SHIFT_DATES in self.terms

    @property
    def refuses_burned_in(self) -> bool:
        """Whether images with text in their pixels are refused."""
        return Term.REFUSE_BURNED_IN in self.terms


STRICT = Entry(Door.UPLOAD)
"""An upload on the usual terms."""


def words(text: str) -> list[str]:
    """The words of a list with commas between them."""
    return [word for part in text.split(",") if (word := part.strip())]
