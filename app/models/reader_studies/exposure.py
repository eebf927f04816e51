"""Exposure: what a person would know again: lesions of their own, images of reader studies, and
whatever else they were shown."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import Base
from app.models.cases.lesion import Lesion
from app.models.cases.review import Review
from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look, Shown
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.trial import Trial
from app.models.reader_studies.unblinding import Unblinding
from app.models.reader_studies.withdrawal import Withdrawal
from app.models.runs.dataset import DatasetVersion
from ml.images.roi import Box

Synthetic = tuple[uuid.UUID, int]
"""A synthetic ROI: (checkpoint, seed)."""


@dataclass(frozen=True)
class Exposure:
    """What one person knows already.

    Attributes:
        own: lesions that they marked or ever reviewed.
        read: lesions that they were shown in a reader study, practice included, or are to be
            shown in one that is open.
        synthetics: synthetic ROIs likewise.
        seen: further lesions that they were shown: in the viewer, in a data set, or with their
            truth in the results of a study.
        drawn: synthetic ROIs that they were shown elsewhere, as (checkpoint, first seed, number).
    """

    own: frozenset[uuid.UUID]
    read: frozenset[uuid.UUID]
    synthetics: frozenset[Synthetic]
    seen: frozenset[uuid.UUID] = frozenset()
    drawn: frozenset[tuple[uuid.UUID, int, int]] = frozenset()

    @staticmethod
    def of(session: Session, user_id: uuid.UUID) -> Exposure:
        """What ``user_id`` knows. A lesion whose box was drawn anew is still the same finding."""
        marked = sa.select(Lesion.id).where(Lesion.marked_by_id == user_id)
        reviewed = sa.select(Review.lesion_id).where(Review.by_id == user_id)
        own = set(session.scalars(sa.union(marked, reviewed)))
        rows = session.execute(
            sa.select(Stimulus.lesion_id, Stimulus.checkpoint_id, Stimulus.seed)
            .join(Trial, sa.or_(Trial.stimulus_id == Stimulus.id, Trial.right_id == Stimulus.id))
            .join(Enrolment, Enrolment.id == Trial.enrolment_id)
            .where(Enrolment.reader_id == user_id, sa.or_(_was_shown(), _is_to_be_shown()))
        ).all()
        own = same_findings(session, own)
        read = same_findings(session, {row[0] for row in rows if row[0]})
        told = _told(session, user_id)
        shown = same_findings(session, _looked_at(session, user_id) | told.lesions)
        return Exposure(
            frozenset(own),
            frozenset(read),
            frozenset((row[1], row[2]) for row in rows if row[1] and row[2] is not None),
            frozenset(shown - own - (read - told.lesions)),
            frozenset(_drawn(session, user_id) | told.synthetics),
        )

    def has_seen(self, checkpoint: uuid.UUID, seed: int) -> bool:
        """Whether a synthetic ROI was shown to them outside the reading of a study."""
        return any(
            checkpoint == one and first <= seed < first + number
            for one, first, number in self.drawn
        )


@dataclass(frozen=True)
class _Told:
    """What a person was shown with its truth."""

    lesions: set[uuid.UUID]
    synthetics: set[tuple[uuid.UUID, int, int]]


def _told(session: Session, user_id: uuid.UUID) -> _Told:
    """The images of unblinded studies whose truth they looked at."""
    looked = sa.select(Look.subject_id).where(Look.user_id == user_id, Look.of == Shown.STUDY)
    rows = session.execute(
        sa.select(Stimulus.lesion_id, Stimulus.checkpoint_id, Stimulus.seed).where(
            Stimulus.study_id.in_(looked)
        )
    ).all()
    return _Told(
        {row[0] for row in rows if row[0]},
        {(row[1], row[2], 1) for row in rows if row[1] and row[2] is not None},
    )


def _looked_at(session: Session, user_id: uuid.UUID) -> set[uuid.UUID]:
    """Lesions whose ROI or slice they saw, or that were in a data set they took."""

    def of(shown: Shown) -> sa.Select[uuid.UUID]:
        return sa.select(Look.subject_id).where(Look.user_id == user_id, Look.of == shown)

    found = set(
        session.scalars(
            sa.select(Lesion.id).where(
                sa.or_(Lesion.image_id.in_(of(Shown.IMAGE)), Lesion.id.in_(of(Shown.LESION)))
            )
        )
    )
    versions = sa.select(DatasetVersion).where(DatasetVersion.id.in_(of(Shown.VERSION)))
    for version in session.scalars(versions):
        found |= set(version.classes(session))
    return found


def _drawn(session: Session, user_id: uuid.UUID) -> set[tuple[uuid.UUID, int, int]]:
    rows = session.execute(
        sa.select(Look.subject_id, Look.seed, Look.count).where(
            Look.user_id == user_id, Look.of == Shown.SYNTHETIC
        )
    )
    return {(checkpoint, seed, count) for checkpoint, seed, count in rows}


def _was_shown() -> sa.ColumnElement[bool]:
    """The trial was answered, or stood on the desk of a reader who had checked in."""
    reading = Base.metadata.tables["reading"]  # its class is built on studies, and they on this
    answered = (
        sa.select(sa.func.count())
        .select_from(reading)
        .where(reading.c.enrolment_id == Enrolment.id, reading.c.revision == 1)
        .scalar_subquery()
    )
    checked_in = sa.exists().where(Conduct.enrolment_id == Enrolment.id)
    return sa.or_(Trial.position <= answered, sa.and_(checked_in, Trial.position == answered + 1))


def _is_to_be_shown() -> sa.ColumnElement[bool]:
    return sa.and_(
        ~sa.exists().where(Withdrawal.enrolment_id == Enrolment.id),
        ~sa.exists().where(Unblinding.study_id == Enrolment.study_id),
    )


def same_findings(session: Session, lesions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """The lesions, and those on the same images whose box holds, or is held by, their centre."""
    ids = list(lesions)
    places = (Lesion.id, Lesion.image_id, Lesion.x, Lesion.y, Lesion.width, Lesion.height)
    boxes: dict[uuid.UUID, list[Box]] = {}
    for _, image, *box in session.execute(sa.select(*places).where(Lesion.id.in_(ids))):
        boxes.setdefault(image, []).append(Box(*box))
    others = session.execute(sa.select(*places).where(Lesion.image_id.in_(list(boxes))))
    return set(ids) | {
        other
        for other, image, *box in others
        if any(_is_same(one, Box(*box)) for one in boxes[image])
    }


def _is_same(one: Box, other: Box) -> bool:
    def holds(box: Box, inner: Box) -> bool:
        x, y = inner.x + inner.width / 2, inner.y + inner.height / 2
        return box.x <= x <= box.x + box.width and box.y <= y <= box.y + box.height

    return holds(one, other) or holds(other, one)
