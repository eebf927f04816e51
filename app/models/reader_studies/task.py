"""Tasks: what a reader does with what a trial shows."""

from __future__ import annotations

from enum import StrEnum

from ml.readers.hypothesis import Measure


class Task(StrEnum):
    """What a reader does with what a trial shows."""

    ORIGIN = "origin"
    """One image: real or synthetic, on six points."""
    CHOICE = "choice"
    """A real and a synthetic image side by side: which is synthetic?"""
    REALISM = "realism"
    """One image: how realistic, by questions of five anchored points."""
    PREFERENCE = "preference"
    """Two synthetic images side by side, by two generators: which looks more real?"""

    @property
    def is_paired(self) -> bool:
        """Whether a trial shows two images."""
        return self in (Task.CHOICE, Task.PREFERENCE)

    @property
    def shows_real(self) -> bool:
        """Whether there are real images in such a study."""
        return self is not Task.PREFERENCE

    @property
    def measure(self) -> Measure:
        """What a hypothesis of such a study speaks of."""
        return _MEASURES[self]

    @property
    def thing(self) -> str:
        """What a trial shows, as one calls it."""
        return "pair" if self.is_paired else "image"


_MEASURES = {
    Task.ORIGIN: Measure.AUC,
    Task.CHOICE: Measure.SHARE,
    Task.REALISM: Measure.GRADE,
    Task.PREFERENCE: Measure.PREFERENCE,
}


class Part(StrEnum):
    """Which part of a study a trial belongs to."""

    WHOLE = "whole"
    """There is one part."""
    UNAWARE = "unaware"
    """The first: readers name the lesion class, and are not told that some images are synthetic."""
    TOLD = "told"
    """The second, after the debriefing: real or synthetic."""
