"""Plans: the images of a study to be, each by its source, and where they come from."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from app.models.reader_studies.stored import Json, Stored, read, write

REVIEWED = "all reviewed lesions"
FROZEN = "dataset versions"


@dataclass(frozen=True)
class PlannedLesion(Stored):
    """A real image: the ROI of a lesion, with the class that is known of it."""

    lesion: uuid.UUID
    lesion_class: str


@dataclass(frozen=True)
class PlannedDrawing(Stored):
    """A synthetic image: what a generator draws of a class by a seed."""

    checkpoint: uuid.UUID
    lesion_class: str
    seed: int


PlannedImage = PlannedLesion | PlannedDrawing


@dataclass(frozen=True)
class PlannedImages(Stored):
    """Images of both sources."""

    real: tuple[PlannedLesion, ...] = ()
    synthetic: tuple[PlannedDrawing, ...] = ()

    def __len__(self) -> int:
        return len(self.real) + len(self.synthetic)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Source and class of every image."""
        real = [("real", one.lesion_class) for one in self.real]
        return real + [("synthetic", one.lesion_class) for one in self.synthetic]


@dataclass(frozen=True)
class SourceVersion(Stored):
    """A dataset version that real images come from."""

    name: str
    digest: str
    rois: int


@dataclass(frozen=True)
class KnownRois(Stored):
    """How many real ROIs synthetic ones were compared with, and from which correlation on."""

    rois: int
    limit: float


@dataclass(frozen=True)
class TrainingRois(Stored):
    """The same of a generator's training ROIs; ``version`` is None where they are not kept here."""

    generator: str
    dataset_digest: str
    version: str | None
    rois: int
    limit: float | None


@dataclass(frozen=True)
class Compared(Stored):
    """What synthetic ROIs were compared with, and how many were drawn anew because of it."""

    measure: str
    real: KnownRois
    training: tuple[TrainingRois, ...]
    drawn_anew: int


def _is_none(number: int) -> bool:
    return number == 0


@dataclass(frozen=True)
class Sources(Stored):
    """Where the real images come from, and what the synthetic ones were compared with.

    ``chosen`` is how many of the study's synthetic images were chosen by hand; where none was
    nothing is written, as before there was a choice.
    """

    real: str = REVIEWED
    versions: tuple[SourceVersion, ...] = ()
    likeness: Compared | None = None
    chosen: Annotated[int, Field(exclude_if=_is_none)] = 0


@dataclass(frozen=True)
class Plan:
    """The images of a study, those of its practice, and their sources."""

    images: PlannedImages
    practice: PlannedImages = PlannedImages()
    sources: Sources = Sources()

    @property
    def every(self) -> PlannedImages:
        """The study's own images and its practice."""
        return PlannedImages(
            self.images.real + self.practice.real, self.images.synthetic + self.practice.synthetic
        )

    @classmethod
    def from_json(cls, found: Any) -> Plan:
        """From what is stored; plans of earlier versions have no practice or no sources.

        Raises:
            Damaged: not a plan.
        """
        stored = read(_Stored, found, "The plan of the study")
        return cls(PlannedImages(stored.real, stored.synthetic), stored.practice, stored.sources)

    def to_json(self) -> Json:
        """JSON: ``real``, ``synthetic``, ``practice`` of both, ``sources``."""
        return write(_Stored(self.images.real, self.images.synthetic, self.practice, self.sources))


@dataclass(frozen=True)
class _Stored(Stored):
    """The keys of a plan."""

    real: tuple[PlannedLesion, ...]
    synthetic: tuple[PlannedDrawing, ...]
    practice: PlannedImages = PlannedImages()
    sources: Sources = Sources()


def class_mix(images: Iterable[PlannedImage], keys: Iterable[str]) -> dict[str, int]:
    """Class key → how many of ``images`` there are."""
    found = [one.lesion_class for one in images]
    return {key: found.count(key) for key in keys}
