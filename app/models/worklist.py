"""The work list: cases with what is still to be done on them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models.case import Case, Image, Series
from app.models.checkpoint import Checkpoint
from app.models.enrolment import Enrolment
from app.models.lesion import Lesion
from app.models.prediction import Prediction
from app.models.review import Review
from app.models.user import User

FILTERS = ("all", "awaiting", "reviewed", "no_lesion")
PAGE_SIZE = 50


@dataclass(frozen=True)
class NewestPrediction:
    """The newest prediction of a case, as the work list shows it."""

    display: str
    probability: float
    checkpoint: str


@dataclass(frozen=True)
class WorkItem:
    """One line of the work list."""

    id: uuid.UUID
    pseudonym: str
    phantom: bool
    uncalibrated: bool
    slices: int
    lesions: int
    prediction: NewestPrediction | None
    covered: bool
    review_state: str
    contrast_phase: str
    uploaded_at: datetime


@dataclass(frozen=True)
class WorkList:
    """One page of it, with the counts of every filter."""

    items: list[WorkItem]
    counts: dict[str, int]
    page: int
    pages: int


def _standing() -> sa.ColumnElement[bool]:
    """For a WHERE on cases: with a lesion."""
    return sa.exists().where(Lesion.case_id == Case.id, Lesion.withdrawn_at.is_(None))


def _unreviewed() -> sa.ColumnElement[bool]:
    """For a WHERE on lesions: not withdrawn, and reviewed by nobody."""
    return sa.and_(Lesion.withdrawn_at.is_(None), Lesion.reviewed.is_(False))


def _awaiting() -> sa.ColumnElement[bool]:
    """For a WHERE on cases: with a lesion that nobody has reviewed."""
    return sa.exists().where(Lesion.case_id == Case.id, _unreviewed())


_UNDER: dict[str, Callable[[], tuple[sa.ColumnElement[bool], ...]]] = {
    "all": tuple,
    "awaiting": lambda: (_awaiting(),),
    "reviewed": lambda: (_standing(), ~_awaiting()),
    "no_lesion": lambda: (~_standing(),),
}
"""Filter → its conditions on cases. Walked along the order of the list, so that a page costs what
it shows and not what the database holds."""


def _counts(session: Session) -> dict[str, int]:
    """How many cases are under each filter: three walks along indexes."""
    different = sa.func.count(Lesion.case_id.distinct())
    total = session.scalar(sa.select(sa.func.count()).select_from(Case)) or 0
    standing = session.scalar(sa.select(different).where(Lesion.withdrawn_at.is_(None))) or 0
    awaiting = session.scalar(sa.select(different).where(_unreviewed())) or 0
    return {
        "all": total,
        "awaiting": awaiting,
        "reviewed": standing - awaiting,
        "no_lesion": total - standing,
    }


def work_list(
    session: Session, user: User, *, chosen: str, page: int, review_first: bool
) -> WorkList:
    """The cases under a filter, newest first, as ``user`` may see them.

    A case awaits review while it has a lesion that nobody has reviewed. A prediction is covered
    while the person has not reviewed that lesion and reviews come before scores; of a case in a
    blinded reading that they have not finished there is none.
    """
    counts = _counts(session)
    pages = max(1, -(-counts[chosen] // PAGE_SIZE))
    page = min(max(1, page), pages)
    here = list(
        session.scalars(
            sa.select(Case.id)
            .where(*_UNDER[chosen]())
            .order_by(Case.created_at.desc(), Case.id)
            .limit(PAGE_SIZE)
            .offset((page - 1) * PAGE_SIZE)
        )
    )
    found = {case.id: case for case in session.scalars(sa.select(Case).where(Case.id.in_(here)))}
    ids = [case_id for case_id in here if case_id in found]
    lesions = _lesions(session, ids)
    slices = _slices(session, ids)
    blinded = Enrolment.hidden_cases(session, user)
    newest = _newest_predictions(session, ids)
    seen = _reviewed_by(session, user, [lesion for lesion, _ in newest.values()])
    items = []
    for case_id in ids:
        case = found[case_id]
        lesion_count, unreviewed = lesions.get(case_id, (0, 0))
        lesion_id, prediction = newest.get(case.id, (None, None))
        if case.id in blinded:
            prediction = None
        covered = prediction is not None and review_first and lesion_id not in seen
        total, calibrated = slices.get(case.id, (0, True))
        items.append(
            WorkItem(
                id=case.id,
                pseudonym=case.pseudonym,
                phantom=case.phantom,
                uncalibrated=not calibrated,
                slices=total,
                lesions=lesion_count,
                prediction=None if covered else prediction,
                covered=covered,
                review_state=_state(lesion_count, unreviewed),
                contrast_phase=case.contrast_phase,
                uploaded_at=case.created_at,
            )
        )
    return WorkList(items, counts, page, pages)


def _state(lesions: int, unreviewed: int) -> str:
    return "no_lesion" if not lesions else "awaiting" if unreviewed else "reviewed"


def _lesions(session: Session, ids: list[uuid.UUID]) -> dict[uuid.UUID, tuple[int, int]]:
    """Case → how many lesions, and how many of them nobody has reviewed."""
    rows = session.execute(
        sa.select(
            Lesion.case_id,
            sa.func.count(),
            sa.func.sum(sa.case((_unreviewed(), 1), else_=0)),
        )
        .where(Lesion.case_id.in_(ids), Lesion.withdrawn_at.is_(None))
        .group_by(Lesion.case_id)
    )
    return {case_id: (count, unreviewed) for case_id, count, unreviewed in rows}


def _slices(session: Session, ids: list[uuid.UUID]) -> dict[uuid.UUID, tuple[int, bool]]:
    rows = session.execute(
        sa.select(
            Series.case_id,
            sa.func.count(),
            sa.func.min(sa.case((Image.calibrated, 1), else_=0)),
        )
        .join(Image, Image.series_id == Series.id)
        .where(Series.case_id.in_(ids))
        .group_by(Series.case_id)
    )
    return {case_id: (count, bool(calibrated)) for case_id, count, calibrated in rows}


def _newest_predictions(
    session: Session, ids: list[uuid.UUID]
) -> dict[uuid.UUID, tuple[uuid.UUID, NewestPrediction]]:
    rows = session.execute(
        sa.select(Lesion.case_id, Prediction, Checkpoint)
        .join(Lesion, Lesion.id == Prediction.lesion_id)
        .join(Checkpoint, Checkpoint.id == Prediction.checkpoint_id)
        .where(Lesion.case_id.in_(ids), Lesion.withdrawn_at.is_(None))
        .order_by(Prediction.number)
    )
    return {
        case_id: (
            prediction.lesion_id,
            NewestPrediction(
                display=checkpoint.scheme.display(prediction.lesion_class),
                probability=float(prediction.probabilities[prediction.lesion_class]),
                checkpoint=checkpoint.name,
            ),
        )
        for case_id, prediction, checkpoint in rows
    }


def _reviewed_by(session: Session, user: User, lesions: list[uuid.UUID]) -> set[uuid.UUID]:
    return set(
        session.scalars(
            sa.select(Review.lesion_id).where(
                Review.by_id == user.id, Review.lesion_id.in_(lesions)
            )
        )
    )
