"""The lesions that a network was trained on, and where each can be shown from.

One that is a lesion of this installation, because its data set was frozen here, is shown as that
one, to whom it may be shown (`app.models.beside`). Pictures of others come with the checkpoint,
which keeps those of simulated lesions alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from sqlalchemy.orm import Session

from app.models import beside
from app.models.beside import Beside
from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.models.runs.dataset import DatasetVersion
from ml.ground.counted import counted
from ml.trust.lesions import Lesions
from ml.trust.similar import Near


@dataclass(frozen=True)
class Pictured:
    """A lesion as it stands beside another, or beside what was said of it.

    Attributes:
        name: what it is called.
        address: of its case; "" where it is none of this installation.
        picture: the address of its ROI at the network's window.
        classes: its class, with who says so and on what basis; a line for each.
        phantom: whether it is simulated.
        distance: in the unit of `ml.trust.similar.Space`; None where none is told.
        lesion_id: which lesion of this installation it is, if any.
    """

    name: str
    address: str
    picture: str
    classes: tuple[str, ...]
    phantom: bool
    distance: float | None = None
    lesion_id: uuid.UUID | None = None


def seen_of(shown: Iterable[Pictured]) -> tuple[uuid.UUID, ...]:
    """Those of them that are lesions of this installation."""
    return tuple(one.lesion_id for one in shown if one.lesion_id is not None)


def as_lesion(
    one: Beside, checkpoint: Checkpoint, classes: tuple[str, ...], distance: float | None
) -> Pictured:
    """A lesion of this installation."""
    return Pictured(
        name=one.name,
        address=f"/cases/{one.case_id}?lesion={one.id}",
        picture=f"/lesions/{one.id}/roi.png?checkpoint={checkpoint.id}",
        classes=classes,
        phantom=one.phantom,
        distance=distance,
        lesion_id=one.id,
    )


def version_of(session: Session, checkpoint: Checkpoint) -> DatasetVersion | None:
    """The dataset version of this installation that it was trained on; None: none of it."""
    digest = checkpoint.dataset_digest
    return DatasetVersion.by_digest(session, [digest]).get(digest)


def none_kept(checkpoint: Checkpoint) -> str:
    """Why nothing can be compared with them."""
    return (
        f"{checkpoint.name} keeps nothing of the lesions that it was trained on, so nothing can be "
        "compared with them: it was trained without the repetition that scores every lesion once, "
        "or by a version that kept none. A training by this version keeps them."
    )


def no_keeper(generator: Checkpoint) -> str:
    """Why a synthetic ROI is compared with none of them."""
    return (
        f"The training ROIs of {generator.name} are not kept here: no classifier that was trained "
        "on the same patients of its data set keeps its lesions. A classifier that is trained on "
        "that data set with the same folds and seed, and cross-validated, does."
    )


@dataclass(frozen=True)
class OfCheckpoint:
    """Out of the checkpoint, which keeps pictures of simulated lesions alone."""

    checkpoint: Checkpoint
    kept: Lesions
    beside: Lesion | None

    def has(self, row: int) -> bool:
        """Whether it can be shown: there is a picture, and it is not of the same patient."""
        return bool(self.kept.pictures) and self.counts(row)

    def counts(self, row: int) -> bool:
        """Whether its measurements and class may be told: it is not of the same patient."""
        return row not in self._same

    def shown(self, session: Session, near: Sequence[Near]) -> list[Pictured]:
        """Some that can be shown."""
        return [self._shown(one.row, one.distance) for one in near]

    def _shown(self, row: int, distance: float | None) -> Pictured:
        name = self.kept.ids[row]
        display = self.checkpoint.scheme.display(self.kept.classes[self.kept.labels[row]])
        return Pictured(
            name=f"Lesion {name} of {self.kept.patients[row]}",
            address="",
            picture=f"/checkpoints/{quote(self.checkpoint.name)}/lesions/{quote(name)}.png",
            classes=(f"{display}: simulated, so known by construction",),
            phantom=True,
            distance=distance,
        )

    @property
    def told(self) -> tuple[str, ...]:
        """What is left out."""
        if not self.kept.pictures:
            return (f"{counted(len(self.kept), 'lesion')} not shown: {self.kept.no_pictures}.",)
        if self._same:
            return (f"Left out: {counted(len(self._same), 'lesion')} of the same patient.",)
        return ()

    @cached_property
    def _same(self) -> set[int]:
        if self.beside is None:
            return set()
        own = self.beside.image.series.case.pseudonym
        return {row for row, patient in enumerate(self.kept.patients) if patient == own}


@dataclass(frozen=True)
class OfInstallation:
    """From the cases of this installation, of which a dataset version was frozen."""

    checkpoint: Checkpoint
    kept: Lesions
    version: str
    lines: Mapping[str, uuid.UUID]
    found: beside.Found

    @cached_property
    def _by_id(self) -> dict[uuid.UUID, Beside]:
        return {one.id: one for one in self.found.lesions}

    def has(self, row: int) -> bool:
        """Whether it stands and may be shown."""
        return self.lines.get(self.kept.ids[row]) in self._by_id

    counts = has
    """A measurement with a class tells the class of a lesion as its picture does."""

    def shown(self, session: Session, near: Sequence[Near]) -> list[Pictured]:
        """Some that may be shown."""
        scheme, kept = self.checkpoint.scheme, self.kept
        found = [self._by_id[self.lines[kept.ids[one.row]]] for one in near]
        said = beside.classes_of(session, [one.id for one in found], scheme)
        shown = []
        for lesion, one in zip(found, near, strict=True):
            display = scheme.display(kept.classes[kept.labels[one.row]])
            frozen = f"{display}: as the data set {self.version} has it"
            classes = (frozen, *said[lesion.id])
            shown.append(as_lesion(lesion, self.checkpoint, classes, one.distance))
        return shown

    @property
    def told(self) -> tuple[str, ...]:
        """What is left out."""
        return tuple(self.found.told)


Sources = OfCheckpoint | OfInstallation
"""Where the lesions of a data set can be shown from to a person."""
