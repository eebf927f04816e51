"""The work list: cases with what is still to be done on them."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from app.models.cases.case import Case, Image, Series
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.cases.review import WORDS, Review
from app.models.checkpoint import Checkpoint
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from ml.checkpoints.checkpoint import CheckpointKind
from ml.lesion import LesionScheme

T = TypeVar("T")

PAGE_SIZE = 50


class Filter(StrEnum):
    """Which cases of the work list are asked for."""

    ALL = "all"
    MINE = "mine"
    """With a lesion that the person has given no class."""
    AWAITING = "awaiting"
    """With a lesion that nobody has given a class."""
    REVIEWED = "reviewed"
    NO_LESION = "no_lesion"


class Order(StrEnum):
    """By which column the work list is put in order."""

    PSEUDONYM = "pseudonym"
    SLICES = "slices"
    LESIONS = "lesions"
    OWN = "own"
    """When the person last gave a class."""
    PHASE = "phase"
    UPLOADED = "uploaded"


@dataclass(frozen=True)
class Wanted:
    """Which part of the work list is asked for, in which order.

    ``search`` is a part of a pseudonym, in either case. ``down``: from the largest, newest or last
    of the alphabet.
    """

    filter: Filter = Filter.ALL
    search: str = ""
    order: Order = Order.UPLOADED
    down: bool = True
    page: int = 1


class CaseState(StrEnum):
    """Where a case stands in a person's work list."""

    NO_LESION = "no_lesion"
    AWAITING = "awaiting"
    REVIEWED = "reviewed"
    CLOSED = "closed"
    """It could be in a blinded reading that the person has not finished."""


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
    word: str
    """``probability`` where it is calibrated for such images, else ``score``."""
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
    review_state: CaseState
    contrast_phase: str
    uploaded_at: datetime


@dataclass(frozen=True)
class WorkList:
    """One page of it, with the counts of every filter, whatever was searched for.

    ``found`` counts what the filter and the search leave. ``closed``: some cases are closed to the
    person, and so under no filter but ``all``.
    """

    items: list[WorkItem]
    counts: dict[Filter, int]
    found: int
    page: int
    pages: int
    closed: bool = False


def _standing() -> sa.ColumnElement[bool]:
    """For a WHERE on cases: with a lesion."""
    return sa.exists().where(Lesion.case_id == Case.id, Lesion.withdrawn_at.is_(None))


def _unreviewed() -> sa.ColumnElement[bool]:
    """For a WHERE on lesions: not withdrawn, and reviewed by nobody."""
    return sa.and_(Lesion.withdrawn_at.is_(None), Lesion.reviewed.is_(False))


def _awaiting() -> sa.ColumnElement[bool]:
    """For a WHERE on cases: with a lesion that nobody has reviewed."""
    return sa.exists().where(Lesion.case_id == Case.id, _unreviewed())


def _mine(user: User) -> sa.ColumnElement[bool]:
    """For a WHERE on cases: with a lesion that ``user`` has given no class."""
    given = sa.exists().where(Review.lesion_id == Lesion.id, Review.by_id == user.id)
    return sa.exists().where(Lesion.case_id == Case.id, Lesion.withdrawn_at.is_(None), ~given)


def _under(chosen: Filter, user: User) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions of a filter on cases.

    Walked along the order of the list, so that a page costs what it shows and not what the
    database holds.
    """
    match chosen:
        case Filter.ALL:
            return ()
        case Filter.MINE:
            return (_mine(user),)
        case Filter.AWAITING:
            return (_awaiting(),)
        case Filter.REVIEWED:
            return (_standing(), ~_awaiting())
        case Filter.NO_LESION:
            return (~_standing(),)


def _counts(
    session: Session, user: User, closed: sa.ColumnElement[bool] | None
) -> dict[Filter, int]:
    """How many cases are under each filter: walks along indexes, unless some are closed."""
    cases = sa.select(sa.func.count()).select_from(Case)
    lesions = sa.select(sa.func.count(Lesion.case_id.distinct()))
    # those of the person's own work that are done; the others with a lesion are theirs to do
    own = sa.select(Lesion.case_id).join(Review, Review.lesion_id == Lesion.id)
    done = cases.where(Case.id.in_(own.where(Review.by_id == user.id)), _standing(), ~_mine(user))
    total = shown = session.scalar(cases) or 0
    if closed is not None:
        shown = session.scalar(cases.where(~closed)) or 0
        lesions = lesions.where(Lesion.case_id.in_(sa.select(Case.id).where(~closed)))
        done = done.where(~closed)
    standing = session.scalar(lesions.where(Lesion.withdrawn_at.is_(None))) or 0
    awaiting = session.scalar(lesions.where(_unreviewed())) or 0
    return {
        Filter.ALL: total,
        Filter.MINE: standing - (session.scalar(done) or 0),
        Filter.AWAITING: awaiting,
        Filter.REVIEWED: standing - awaiting,
        Filter.NO_LESION: shown - standing,
    }


def work_list(session: Session, user: User, wanted: Wanted, *, review_first: bool) -> WorkList:
    """The cases that are ``wanted``, as ``user`` may see them.

    A case awaits review while it has a lesion that nobody has reviewed. Of a lesion the person's
    own class comes first; while reviews come first and they have given none, the scores and
    colleagues' classes are covered. A case that could be in a blinded reading of theirs is closed:
    it is among all cases, and under no other filter.
    """
    closed = Enrolment.closes(session, user)
    counts = _counts(session, user, closed)
    conditions = _under(wanted.filter, user)
    if wanted.filter is not Filter.ALL and closed is not None:
        conditions = (*conditions, ~closed)
    search = wanted.search.strip()
    if search:
        conditions = (*conditions, Case.pseudonym.icontains(search, autoescape=True))
    matching = counts[wanted.filter]
    if search:
        query = sa.select(sa.func.count()).select_from(Case).where(*conditions)
        matching = session.scalar(query) or 0
    pages = max(1, -(-matching // PAGE_SIZE))
    page = min(max(1, wanted.page), pages)
    here = list(
        session.scalars(
            sa.select(Case.id)
            .where(*conditions)
            .order_by(*_ordered(wanted, user, closed))
            .limit(PAGE_SIZE)
            .offset((page - 1) * PAGE_SIZE)
        )
    )
    items = _items(session, user, here, closed, review_first)
    return WorkList(items, counts, matching, page, pages, closed is not None)


def _ordered(
    wanted: Wanted, user: User, closed: sa.ColumnElement[bool] | None
) -> tuple[sa.SQLColumnExpression[Any], ...]:
    """The columns of the ORDER BY; what is equal goes newest first.

    A closed case is put where one without lesions is: its place must tell no more than its line.
    """
    by: sa.ColumnElement[Any]
    match wanted.order:
        case Order.PSEUDONYM:
            by = sa.func.lower(Case.pseudonym)
        case Order.PHASE:
            by = Case.contrast_phase.expression
        case Order.UPLOADED:
            by = Case.created_at.expression
        case Order.SLICES:
            by = (
                sa.select(sa.func.count(Image.id))
                .join(Series, Series.id == Image.series_id)
                .where(Series.case_id == Case.id)
                .scalar_subquery()
            )
        case Order.LESIONS:
            by = (
                sa.select(sa.func.count(Lesion.id))
                .where(Lesion.case_id == Case.id, Lesion.withdrawn_at.is_(None))
                .scalar_subquery()
            )
        case Order.OWN:
            by = (
                sa.select(sa.func.max(Review.created_at))
                .join(Lesion, Lesion.id == Review.lesion_id)
                .where(
                    Lesion.case_id == Case.id,
                    Lesion.withdrawn_at.is_(None),
                    Review.by_id == user.id,
                )
                .scalar_subquery()
            )
    if closed is not None and wanted.order is Order.LESIONS:
        by = sa.case((closed, 0), else_=by)
    if closed is not None and wanted.order is Order.OWN:
        by = sa.case((closed, sa.null()), else_=by)
    first = by.desc().nulls_last() if wanted.down else by.asc().nulls_last()
    return (first, Case.created_at.desc(), Case.id)


def _items(
    session: Session,
    user: User,
    here: list[uuid.UUID],
    closed: sa.ColumnElement[bool] | None,
    review_first: bool,
) -> list[WorkItem]:
    """The lines of these cases, in their order."""
    found = {case.id: case for case in session.scalars(sa.select(Case).where(Case.id.in_(here)))}
    ids = [case_id for case_id in here if case_id in found]
    shut: set[uuid.UUID] = set()
    if closed is not None:
        shut = set(session.scalars(sa.select(Case.id).where(Case.id.in_(ids), closed)))
    lesions = _lesions(session, ids)
    slices = _slices(session, ids)
    told = _Told.of(session, user, [one for one in ids if one not in shut], review_first)
    items = []
    for case_id in ids:
        case = found[case_id]
        lesion_count, unreviewed = lesions.get(case_id, (0, 0))
        case_state = CaseState.CLOSED if case_id in shut else _state(lesion_count, unreviewed)
        total, calibrated = slices.get(case.id, (0, True))
        items.append(
            WorkItem(
                id=case.id,
                pseudonym=case.pseudonym,
                phantom=case.phantom,
                uncalibrated=not calibrated,
                slices=total,
                lesions=0 if case_state == CaseState.CLOSED else lesion_count,
                closed=case_state == CaseState.CLOSED,
                own=told.own(case.id),
                colleagues=told.colleagues(case.id),
                network=told.network(case.id),
                covered=told.covers(case.id),
                review_state=case_state,
                contrast_phase=case.contrast_phase,
                uploaded_at=case.created_at,
            )
        )
    return items


def _state(lesions: int, unreviewed: int) -> CaseState:
    if not lesions:
        return CaseState.NO_LESION
    return CaseState.AWAITING if unreviewed else CaseState.REVIEWED


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
            sa.select(Prediction).where(Prediction.lesion_id.in_(ids)).order_by(Prediction.number)
        ).all()
        served = Checkpoint.served(session, CheckpointKind.CLASSIFIER)
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
        # of one lesion the last made, whatever the clock said
        said = [given[-1] for one in self._open(case_id) if (given := self.predictions.get(one))]
        if not said:
            return None
        newest = max(said, key=lambda one: one.created_at)
        return NetworkClass(
            display=newest.checkpoint.scheme.display(newest.lesion_class),
            probability=float(newest.probabilities[newest.lesion_class]),
            word=newest.answer.word,
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
    words = dict(WORDS)
    for scheme in schemes:
        words |= {item.key: item.display for item in scheme.classes}
    return words
