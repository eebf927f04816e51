"""Neighbours: the real ROIs that synthetic ones of a reader study must not repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.planned import Compared, KnownRois, TrainingRois
from app.models.runs.dataset import DatasetVersion
from app.models.runs.known_lesions import KnownLesion
from ml.statistics.likeness import Likeness, Rois


@dataclass(frozen=True)
class Training:
    """The data set that a generator learned from, as it is kept here."""

    version: DatasetVersion
    likeness: Likeness


@dataclass(frozen=True)
class Neighbours:
    """Real ROIs known here, and each generator's own training ROIs where they are at hand.

    Training ROIs are at hand where a dataset version has the generator's ``dataset_digest``. All
    ROIs of that version count, of every class and fold: which of them a generator was shown is
    not told by its digest.
    """

    known: Likeness
    generators: tuple[Checkpoint, ...]
    training: dict[str, Training] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        session: Session,
        lesions: Sequence[KnownLesion],
        generators: Iterable[Checkpoint],
        window_hu: tuple[float, float],
        limit: float | None = None,
    ) -> Neighbours:
        """Load them; ``limit`` as `Likeness` has it."""
        rois = []
        for item in lesions:
            lesion = session.get(Lesion, item.id)
            assert lesion is not None
            rois.append(lesion.roi(session, window_hu).pixels)
        rows = tuple(sorted(generators, key=lambda row: row.name))
        training = {}
        for digest, version in DatasetVersion.by_digest(
            session, {row.dataset_digest for row in rows}
        ).items():
            if version.is_empty:
                continue
            own, patients = version.rois_of(session, window_hu)
            training[digest] = Training(version, Likeness(list(own), patients, limit))
        return cls(Likeness(rois, [item.patient for item in lesions], limit), rows, training)

    def too_near(self, checkpoint: Checkpoint, rois: Sequence[Rois]) -> npt.NDArray[np.bool_]:
        """Which ROIs (64, 64) of a generator are too like a real one, in any of 8 orientations."""
        near = self.known.too_near(rois)
        own = self.training.get(checkpoint.dataset_digest)
        return near if own is None else near | own.likeness.too_near(rois)

    def record(self, drawn_anew: int) -> Compared:
        """Its part of a protocol."""
        return Compared(
            measure="correlation of ROIs averaged to 32 x 32, highest of 8 orientations",
            real=KnownRois(len(self.known), self.known.limit),
            training=tuple(
                TrainingRois(
                    generator=row.name,
                    dataset_digest=row.dataset_digest,
                    version=own.version.name if own else None,
                    rois=len(own.likeness) if own else 0,
                    limit=own.likeness.limit if own else None,
                )
                for row in self.generators
                for own in [self.training.get(row.dataset_digest)]
            ),
            drawn_anew=drawn_anew,
        )

    def notes(self, drawn_anew: int) -> list[str]:
        """What was compared and what could not be, in sentences."""
        found = {
            0: "No synthetic image was drawn anew: none was",
            1: "1 synthetic image was drawn anew because it was",
        }.get(drawn_anew, f"{drawn_anew} synthetic images were drawn anew because they were")
        said = [
            f"{found} too like one of the {len(self.known)} real ROIs known here (correlation "
            f"above {self.known.limit:.3f} in any of 8 orientations) or like a training ROI of "
            "their generator."
        ]
        for digest, own in self.training.items():
            names = [row.name for row in self.generators if row.dataset_digest == digest]
            said.append(
                f"Training ROIs compared: {len(own.likeness)} of the dataset version "
                f"{own.version.name}, limit {own.likeness.limit:.3f}, for {', '.join(names)}."
            )
            if own.version.erased_words:
                said.append(own.version.erased_words)
        absent = [row.name for row in self.generators if row.dataset_digest not in self.training]
        if absent:
            said.append(
                f"For {', '.join(absent)} the training ROIs are not kept in this database, so "
                "nearness to them was not tried."
            )
        return said
