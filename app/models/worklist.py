"""The work list: cases with what is still to be done on them."""

from __future__ import annotations

import uuid
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


def _counted() -> sa.Subquery:
    """Per case: lesions, and how many of them somebody has reviewed."""
    reviewed = sa.exists().where(Review.lesion_id == Lesion.id)
    return (
        sa.select(
            Lesion.case_id,
            sa.func.count().label("lesions"),
            sa.func.sum(sa.case((reviewed, 1), else_=0)).label("reviewed"),
        )
        .where(Lesion.withdrawn_at.is_(None))
        .group_by(Lesion.case_id)
        .subquery()
    )


def work_list(
    session: Session, user: User, *, chosen: str, page: int, review_first: bool
) -> WorkList:
    """The cases under a filter, newest first, as ``user`` may see them.

    A case awaits review while it has a lesion that nobody has reviewed. A prediction is covered
    while the person has not reviewed that lesion and reviews come before scores; of a case in a
    blinded reading that they have not finished there is none.
    """
    counted = _counted()
    lesions = sa.func.coalesce(counted.c.lesions, 0)
    reviewed = sa.func.coalesce(counted.c.reviewed, 0)
    state = sa.case((lesions == 0, "no_lesion"), (reviewed < lesions, "awaiting"), else_="reviewed")
    rows = sa.select(Case.id, state.label("state"), lesions.label("lesions")).outerjoin(
        counted, counted.c.case_id == Case.id
    )
    states = rows.subquery()
    grouped = sa.select(states.c.state, sa.func.count()).group_by(states.c.state)
    by_state = {str(name): int(count) for name, count in session.execute(grouped)}
    counts = {name: by_state.get(name, 0) for name in FILTERS} | {"all": sum(by_state.values())}
    wanted = sa.select(Case, states.c.state, states.c.lesions).join(states, states.c.id == Case.id)
    if chosen != "all":
        wanted = wanted.where(states.c.state == chosen)
    pages = max(1, -(-counts[chosen] // PAGE_SIZE))
    page = min(max(1, page), pages)
    found = session.execute(
        wanted.order_by(Case.created_at.desc(), Case.id)
        .limit(PAGE_SIZE)
        .offset((page - 1) * PAGE_SIZE)
    ).all()
    ids = [case.id for case, _, _ in found]
    slices = _slices(session, ids)
    blinded = Enrolment.hidden_cases(session, user)
    newest = _newest_predictions(session, ids)
    seen = _reviewed_by(session, user, [lesion for lesion, _ in newest.values()])
    items = []
    for case, case_state, lesion_count in found:
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
                review_state=case_state,
                contrast_phase=case.contrast_phase,
                uploaded_at=case.created_at,
            )
        )
    return WorkList(items, counts, page, pages)


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
