"""Rehearsals: simulated readers through the real analysis, before anyone reads. Nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import object_session

from app.errors import Unreadable
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.versions import Versions
from ml.readers.choice_rehearsal import ChoiceDesign, ChoiceRehearsal, of_share
from ml.readers.rehearsal import Design, Rehearsal, RoeMetz

STUDIES = 20
"""Simulated studies where nothing else is asked; the coverage benchmark takes 500."""
MOST_STUDIES = 50
MOST_READERS = 20
_MOST_WORK = 400_000


@dataclass(frozen=True)
class Asked:
    """What to rehearse.

    ``area`` is the simulated readers' true mean AUC, or of pairs their share named right; 0.5 for
    guessing.
    """

    readers: int = 3
    studies: int = STUDIES
    area: float = 0.5
    seed: int = 0

    def rehearsal(self, study: ReaderStudy) -> Rehearsal | ChoiceRehearsal:
        """Ready to run: as many images of either source, or pairs, and the margin it is judged by.

        Raises:
            Unreadable: a number that cannot be rehearsed, and why.
        """
        if not 1 <= self.readers <= MOST_READERS:
            raise Unreadable(f"Simulate from 1 to {MOST_READERS} readers, not {self.readers}.")
        if not 1 <= self.studies <= MOST_STUDIES:
            raise Unreadable(f"Simulate from 1 to {MOST_STUDIES} studies, not {self.studies}.")
        if not 0.5 <= self.area <= 0.99:
            raise Unreadable("Give the simulated AUC or share as a number from 0.50 to 0.99.")
        if not 0 <= self.seed < 2**32:
            raise Unreadable("Give a seed from 0 to 4294967295.")
        work = self.readers * self.studies * study.total
        if work > _MOST_WORK:
            raise Unreadable(
                f"{self.readers} readers of {study.total} {study.design.task.thing}s in "
                f"{self.studies} studies are too much for a page. Take fewer studies, or run "
                "`python -m ml readers rehearse`."
            )
        session = object_session(study)
        versions = Versions.of(session, study.id) if session else None
        judged = versions.primary.content.design if versions else study.design
        if study.design.task.is_paired:
            pairs = ChoiceDesign(self.readers, study.total, judged.margin, of_share(self.area))
            return ChoiceRehearsal(pairs, self.studies, self.seed)
        design = Design(
            readers=self.readers,
            images=study.total,
            synthetic_share=len(study.plan.images.synthetic) / study.total,
            margin=judged.margin,
            ratings=RoeMetz.with_area(self.area),
        )
        return Rehearsal(design, self.studies, self.seed)
