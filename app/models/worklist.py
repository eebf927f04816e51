"""The work list: cases with what is still to be done on them."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from app.models.case import Case, Image, Series
from app.models.checkpoint import Checkpoint
from app.models.enrolment import Enrolment
from app.models.lesion import Lesion
from app.models.prediction import Prediction
from app.models.review import CANNOT_TELL, OTHER, Review
from app.models.user import User
from ml.lesion import LesionScheme

T = TypeVar("T")

FILTERS = ("all", "awaiting", "reviewed", "no_lesion")
PAGE_SIZE = 50
CLOSED = "closed"


@dataclass(frozen=True)
class OwnClass:
    """What the person called the lesions of a case: each class with how many, and when last."""

    classes: tuple[tuple[str, int], ...]
    lesions: int
    at: datetime


@dataclass(frozen=True)
class NetworkClass:
    """The network's newest word on one lesion of a case; never the case's diagnosis."""

    display: str
    probability: float
    checkpoint: str
    preset: str
    lesion: int


@dataclass(frozen=True)
class WorkItem:
    """One line of the work list.

    Attributes:
        closed: it could be in a blinded reading that the person has not finished; then nothing of
            its lesions is told, so that a line does not tell whether it is.
        own: the person's own classes; None before they gave one.
        colleagues: others' classes of the lesions that may be told, each with how many.
        network: the newest prediction that may be told.
        covered: there is a score or a colleague's class that is told after one's own.
    """

    id: uuid.UUID
    pseudonym: str
    phantom: bool
    uncalibrated: bool
    slices: int
    lesions: int
    closed: bool
    own: OwnClass | None
    colleagues: tuple[tuple[str, int], ...]
    network: NetworkClass | None
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

    A case awaits review while it has a lesion that nobody has reviewed. Of a lesion the person's
    own class comes first; while reviews come first and they have given none, the scores and
    colleagues' classes are covered. A case that could be in a blinded reading of theirs is closed:
    it is among all cases, and under no other filter.
    """
    counted = _counted()
    lesions = sa.func.coalesce(counted.c.lesions, 0)
    reviewed = sa.func.coalesce(counted.c.reviewed, 0)
    state = sa.case(
        (Enrolment.closes(session, user), CLOSED),
        (lesions == 0, "no_lesion"),
        (reviewed < lesions, "awaiting"),
        else_="reviewed",
    )
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
    slices = _slices(session, [case.id for case, _, _ in found])
    told = _Told.of(session, user, [c.id for c, s, _ in found if s != CLOSED], review_first)
    items = []
    for case, case_state, lesion_count in found:
        total, calibrated = slices.get(case.id, (0, True))
        items.append(
            WorkItem(
                id=case.id,
                pseudonym=case.pseudonym,
                phantom=case.phantom,
                uncalibrated=not calibrated,
                slices=total,
                lesions=0 if case_state == CLOSED else lesion_count,
                closed=case_state == CLOSED,
                own=told.own(case.id),
                colleagues=told.colleagues(case.id),
                network=told.network(case.id),
                covered=told.covers(case.id),
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


@dataclass(frozen=True)
class _Told:
    """What was said of the lesions of some cases, and what of it the person may see."""

    user_id: uuid.UUID
    review_first: bool
    lesions: Mapping[uuid.UUID, Mapping[uuid.UUID, int]]
    reviews: Mapping[uuid.UUID, Sequence[Review]]
    predictions: Mapping[uuid.UUID, Sequence[Prediction]]
    words: Mapping[str, str]

    @staticmethod
    def of(session: Session, user: User, cases: list[uuid.UUID], review_first: bool) -> _Told:
        lesions: dict[uuid.UUID, dict[uuid.UUID, int]] = {}
        for case_id, lesion_id, number in session.execute(
            sa.select(Lesion.case_id, Lesion.id, Lesion.number).where(
                Lesion.case_id.in_(cases), Lesion.withdrawn_at.is_(None)
            )
        ):
            lesions.setdefault(case_id, {})[lesion_id] = number
        ids = [lesion for of_case in lesions.values() for lesion in of_case]
        later = aliased(Review)
        standing = session.scalars(
            sa.select(Review).where(
                Review.lesion_id.in_(ids), ~sa.exists().where(later.supersedes_id == Review.id)
            )
        ).all()
        predicted = session.scalars(
            sa.select(Prediction)
            .where(Prediction.lesion_id.in_(ids))
            .order_by(Prediction.created_at)
        ).all()
        served = Checkpoint.served(session, "classifier")
        schemes = [row.scheme for row in served] + [p.checkpoint.scheme for p in predicted]
        return _Told(
            user.id,
            review_first,
            lesions,
            _by_lesion((one.lesion_id, one) for one in standing),
            _by_lesion((one.lesion_id, one) for one in predicted),
            _words(schemes),
        )

    def own(self, case_id: uuid.UUID) -> OwnClass | None:
        mine = [one for one in self._reviews(case_id) if one.by_id == self.user_id]
        if not mine:
            return None
        return OwnClass(self._counted(mine), len(mine), max(one.created_at for one in mine))

    def colleagues(self, case_id: uuid.UUID) -> tuple[tuple[str, int], ...]:
        open_to_me = self._open(case_id)
        others = [
            one
            for one in self._reviews(case_id)
            if one.by_id != self.user_id and one.lesion_id in open_to_me
        ]
        return self._counted(others)

    def network(self, case_id: uuid.UUID) -> NetworkClass | None:
        said = [one for lesion in self._open(case_id) for one in self.predictions.get(lesion, ())]
        if not said:
            return None
        newest = max(said, key=lambda one: one.created_at)
        return NetworkClass(
            display=newest.checkpoint.scheme.display(newest.lesion_class),
            probability=float(newest.probabilities[newest.lesion_class]),
            checkpoint=newest.checkpoint.name,
            preset=newest.checkpoint.preset,
            lesion=self.lesions[case_id][newest.lesion_id],
        )

    def covers(self, case_id: uuid.UUID) -> bool:
        covered = set(self.lesions.get(case_id, {})) - self._open(case_id)
        return any(self.predictions.get(one) or self.reviews.get(one) for one in covered)

    def _open(self, case_id: uuid.UUID) -> set[uuid.UUID]:
        """The lesions on which the person has said their own class, or need not first."""
        every = set(self.lesions.get(case_id, {}))
        if not self.review_first:
            return every
        return {one.lesion_id for one in self._reviews(case_id) if one.by_id == self.user_id}

    def _reviews(self, case_id: uuid.UUID) -> list[Review]:
        return [r for lesion in self.lesions.get(case_id, {}) for r in self.reviews.get(lesion, ())]

    def _counted(self, reviews: Iterable[Review]) -> tuple[tuple[str, int], ...]:
        words = Counter(self.words.get(one.lesion_class, one.lesion_class) for one in reviews)
        return tuple(words.most_common())


def _by_lesion(pairs: Iterable[tuple[uuid.UUID, T]]) -> dict[uuid.UUID, list[T]]:
    found: dict[uuid.UUID, list[T]] = {}
    for lesion, one in pairs:
        found.setdefault(lesion, []).append(one)
    return found


def _words(schemes: Iterable[LesionScheme]) -> dict[str, str]:
    words = {OTHER: "other", CANNOT_TELL: "cannot tell"}
    for scheme in schemes:
        words |= {item.key: item.display for item in scheme.classes}
    return words
