"""Retention: what is old enough to be deleted by itself, where an administrator set a time.

A frozen data set and a reader study hold their cases: those are kept whatever their age, and told.
Nothing is deleted by default.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import Database, in_parts, now
from app.models.cases.case import Case, being_deleted
from app.models.cases.lesion import Lesion
from app.models.erasures.erasure import Erasure, ErasureKind
from app.models.erasures.extent import Extent, hindrances, pictures_of
from app.models.ground.blob import Blob
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.unblinding import Unblinding
from app.models.runs.dataset import DatasetVersion
from app.settings import Settings

AT_ONCE = 1000
"""Cases of one deletion; the next follows an hour later."""


@dataclass(frozen=True)
class Due:
    """What a retention would delete now, and what is old enough and stays.

    Attributes:
        cases: at most `AT_ONCE`, the oldest first; ``more`` follow.
        in_versions, in_studies: old cases that a frozen data set, or a reader study, has.
        studies: those that lose their pictures.
        waiting: why studies that are old enough do not, a sentence each.
    """

    cases: tuple[uuid.UUID, ...] = ()
    more: int = 0
    in_versions: int = 0
    in_studies: int = 0
    studies: tuple[uuid.UUID, ...] = ()
    pictures: int = 0
    waiting: tuple[str, ...] = ()

    @classmethod
    def of(cls, session: Session, settings: Settings) -> Due:
        """By the settings, at this moment."""
        cases = _old_cases(session, settings.keep_cases_days)
        frozen = _in_versions(session) if cases else set()
        shown = _in_studies(session) if cases else set()
        going = [one for one in cases if one not in frozen and one not in shown]
        studies, waiting = _old_studies(session, settings.keep_pictures_days)
        pictures = pictures_of(session, (), studies)
        return cls(
            cases=tuple(going[:AT_ONCE]),
            more=max(0, len(going) - AT_ONCE),
            in_versions=sum(one in frozen for one in cases),
            in_studies=sum(one in shown and one not in frozen for one in cases),
            studies=tuple(one for one in studies if one in pictures),
            pictures=len(set().union(*pictures.values())),
            waiting=waiting,
        )

    def lines(self, settings: Settings) -> list[str]:
        """In words."""
        told = []
        if settings.keep_cases_days:
            told.append(
                f"Cases of before {settings.keep_cases_days:g} days: {len(self.cases) + self.more} "
                f"to be deleted; kept: {self.in_versions} in frozen data sets, "
                f"{self.in_studies} in reader studies."
            )
        else:
            told.append("Cases are kept for ever (HEPATICA_KEEP_CASES_DAYS is 0).")
        if settings.keep_pictures_days:
            told.append(
                f"Reader studies unblinded before {settings.keep_pictures_days:g} days: "
                f"{len(self.studies)} to lose {self.pictures} pictures."
            )
            told += self.waiting
        else:
            told.append("Pictures of studies are kept for ever (HEPATICA_KEEP_PICTURES_DAYS is 0).")
        return told

    def begin(self, database: Database, by: str) -> list[uuid.UUID]:
        """Begin the deletion of what is due; the ids of the deletions.

        Raises:
            Conflict: something came in the way.
        """
        begun = []
        for kind, cases, studies in (
            (ErasureKind.OLD_CASES, self.cases, ()),
            (ErasureKind.OLD_PICTURES, (), self.studies),
        ):
            if not cases and not studies:
                continue
            with database.reading() as look:
                extent = Extent.of(look, cases, studies)
            with database.transaction() as session:
                made = Erasure.begin(session, kind, by, extent, cases=cases, studies=studies)
                begun.append(made.id)
        return begun


def _old_cases(session: Session, days: float) -> list[uuid.UUID]:
    """Those not on their way already."""
    if not days:
        return []
    query = sa.select(Case.id).where(Case.created_at < now() - timedelta(days=days))
    going = being_deleted(session)
    found = session.scalars(query.order_by(Case.created_at, Case.id))
    return [one for one in found if one not in going]


def _in_versions(session: Session) -> set[uuid.UUID]:
    """The cases that a frozen data set has something of."""
    lesions = {
        one for version in DatasetVersion.all(session) for one in version.lesions(session).values()
    }
    return _cases_of(session, sorted(lesions))


def _in_studies(session: Session) -> set[uuid.UUID]:
    """The cases of which a reader study still has a picture."""
    query = sa.select(Stimulus.lesion_id).join(Blob, Blob.digest == Stimulus.pixels_digest)
    held = query.where(Stimulus.lesion_id.is_not(None), Blob.erased_at.is_(None)).distinct()
    return _cases_of(session, [one for one in session.scalars(held) if one])


def _cases_of(session: Session, lesions: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    return {
        one
        for some in in_parts(lesions)
        for one in session.scalars(sa.select(Lesion.case_id).where(Lesion.id.in_(some)))
    }


def _old_studies(session: Session, days: float) -> tuple[list[uuid.UUID], tuple[str, ...]]:
    if not days:
        return [], ()
    old = Unblinding.at < now() - timedelta(days=days)
    going, waiting = [], []
    for study in session.scalars(sa.select(Unblinding.study_id).where(old).order_by(Unblinding.at)):
        why = hindrances(session, (), (study,))
        waiting += why
        if not why:
            going.append(study)
    return going, tuple(waiting)
