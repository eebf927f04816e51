"""Rehearsals: simulated readers through the real analysis, before anyone reads. Nothing is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy.orm import object_session

from app.errors import Unreadable
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.task import Task
from app.models.reader_studies.versions import Versions
from ml.readers.choice_rehearsal import ChoiceDesign, ChoiceRehearsal, of_share
from ml.readers.grade_rehearsal import GradeDesign, GradeRehearsal, of_area
from ml.readers.rehearsal import Design, Rehearsal, RoeMetz
from ml.readers.unaware_rehearsal import FirstPart, UnawareRehearsal

STUDIES = 20
"""Simulated studies where nothing else is asked; the coverage benchmark takes 500."""
MOST_STUDIES = 50
MOST_READERS = 20
_MOST_WORK = 400_000

AnyRehearsal = Rehearsal | ChoiceRehearsal | GradeRehearsal | UnawareRehearsal


@dataclass(frozen=True)
class Asked:
    """What to rehearse.

    ``area`` is the simulated readers' true mean AUC, or of pairs their share named right; 0.5 for
    guessing. ``real_right`` and ``synthetic_right`` are the true shares of classes that they name
    right in the first part of an unaware study.
    """

    readers: int = 3
    studies: int = STUDIES
    area: float = 0.5
    seed: int = 0
    real_right: float = 0.7
    synthetic_right: float = 0.7

    def rehearsal(self, study: ReaderStudy) -> AnyRehearsal:
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
        for share in (self.real_right, self.synthetic_right):
            if not 0.05 <= share <= 0.99:
                raise Unreadable("Give the share of classes named right from 0.05 to 0.99.")
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
            count = study.total // study.contests
            pairs = ChoiceDesign(self.readers, count, judged.margin, of_share(self.area))
            return ChoiceRehearsal(pairs, self.studies, self.seed)
        if study.design.task is Task.REALISM:
            grades = GradeDesign(
                self.readers,
                study.total,
                len(study.plan.images.synthetic) / study.total,
                judged.margin,
                of_area(self.area),
            )
            return GradeRehearsal(grades, self.studies, self.seed)
        if study.unaware:
            return self._unaware(study, judged.margin)
        design = self._rated(study.total, len(study.plan.images.synthetic), judged.margin)
        return Rehearsal(design, self.studies, self.seed)

    def _unaware(self, study: ReaderStudy, margin: float) -> UnawareRehearsal:
        """With as many images of either source in each part as the study has."""
        first, second = (Counter(source for source, _ in kinds) for kinds in study.kinds_of_parts())
        named = FirstPart(
            self.readers, first["real"], first["synthetic"], self.real_right, self.synthetic_right
        )
        rated = self._rated(second.total(), second["synthetic"], margin)
        return UnawareRehearsal(named, rated, self.studies, self.seed)

    def _rated(self, images: int, synthetic: int, margin: float) -> Design:
        return Design(
            readers=self.readers,
            images=images,
            synthetic_share=synthetic / images,
            margin=margin,
            ratings=RoeMetz.with_area(self.area),
        )
