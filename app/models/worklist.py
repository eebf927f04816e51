"""The work list: cases with what is still to be done on them.

A page costs what it shows, however many cases there are: it is walked along an index from a place
of the list (`Place`), not counted off from its beginning, and nothing is counted beyond `MOST`.
"""

from __future__ import annotations

import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import dropwhile
from types import NoneType
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from app.models.cases.case import MOST_LETTERS, Case, Image, ReviewState, Series
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.cases.review import WORDS, Review
from app.models.checkpoint import Checkpoint
from app.models.ground.place import Place
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from ml.checkpoints.checkpoint import CheckpointKind
from ml.lesion import LesionScheme

T = TypeVar("T")

PAGE_SIZE = 50
MOST = 1000
"""So many cases are counted; of more it is said that there are more."""


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
    COLLEAGUES = "colleagues"
    """When others last gave a class that the person may know."""
    NETWORK = "network"
    """When the network's word that the person may know was given."""
    REVIEW = "review"
    PHASE = "phase"
    UPLOADED = "uploaded"


@dataclass(frozen=True)
class Wanted:
    """Which part of the work list is asked for, in which order.

    ``search`` is a part of a pseudonym, in either case. ``down``: from the largest, newest or last
    of the alphabet. ``place``: where the page begins or ends (`Place`); "" for the first one.
    """

    filter: Filter = Filter.ALL
    search: str = ""
    order: Order = Order.UPLOADED
    down: bool = True
    place: str = ""


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
    at: datetime


@dataclass(frozen=True)
class WorkItem:
    """One line of the work list.

    Attributes:
        closed: it could be in a blinded reading that the person has not finished; then nothing of
            its lesions is told, so that a line does not tell whether it is.
        own: the person's own classes; None before they gave one.
        colleagues: others' classes of the lesions that may be told, each with how many.
        colleagues_at: when the newest of these was given; None for none.
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
    colleagues_at: datetime | None
    network: NetworkClass | None
    covered: bool
    review_state: ReviewState
    contrast_phase: str
    uploaded_at: datetime


@dataclass(frozen=True)
class Pages:
    """The places of the pages around one; "" where there is none that way."""

    previous: str = ""
    next: str = ""
    last: str = ""


@dataclass(frozen=True)
class WorkList:
    """One page of it, with the counts of the filters, whatever was searched for.

    ``found`` counts what the filter and the search leave. No count goes beyond ``MOST`` + 1, which
    stands for more. ``closed``: some cases are closed to the person, and so under no filter but
    ``all``; then that one alone is counted.
    """

    items: list[WorkItem]
    counts: dict[Filter, int]
    found: int
    pages: Pages
    closed: bool = False


def _mine(user: User) -> sa.ColumnElement[bool]:
    """For a WHERE on cases: with a lesion that ``user`` has given no class."""
    review, lesion = aliased(Review), aliased(Lesion)  # the list in order of one's own has its own
    given = sa.exists().where(
        review.lesion_id == lesion.id, review.by_id == user.id, review.supersedes_id.is_(None)
    )
    return sa.exists().where(lesion.case_id == Case.id, lesion.withdrawn_at.is_(None), ~given)


def _under(chosen: Filter, user: User) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions of a filter on cases."""
    match chosen:
        case Filter.ALL:
            return ()
        case Filter.MINE:
            return (_mine(user),)
        case Filter.AWAITING:
            return (Case.review_state == ReviewState.AWAITING,)
        case Filter.REVIEWED:
            return (Case.review_state == ReviewState.REVIEWED,)
        case Filter.NO_LESION:
            return (Case.review_state == ReviewState.NO_LESION,)


def _count(session: Session, conditions: Sequence[sa.ColumnElement[bool]]) -> int:
    """How many cases there are, up to one more than ``MOST``."""
    some = sa.select(sa.literal(1)).select_from(Case).where(*conditions)
    # what came together lies together
    some = some.order_by(Case.created_at.desc(), Case.id.desc()).limit(MOST + 1)
    return session.scalar(sa.select(sa.func.count()).select_from(some.subquery())) or 0


def work_list(session: Session, user: User, wanted: Wanted, *, review_first: bool) -> WorkList:
    """The cases that are ``wanted``, as ``user`` may see them.

    A case awaits review while it has a lesion that nobody has reviewed. Of a lesion the person's
    own class comes first; while reviews come first and they have given none, the scores and
    colleagues' classes are covered. A case that could be in a blinded reading of theirs is closed:
    it is among all cases, and under no other filter.
    """
    closed = Enrolment.closes(session, user)
    counted = list(Filter) if closed is None else [Filter.ALL]
    counts = {one: _count(session, _under(one, user)) for one in counted}
    conditions = list(_under(wanted.filter, user))
    if wanted.filter is not Filter.ALL and closed is not None:
        conditions.append(~closed)
    search = wanted.search.strip()
    if search:
        conditions.append(_has(search))
    asked = search or wanted.filter not in counts
    found = _count(session, conditions) if asked else counts[wanted.filter]
    here: list[uuid.UUID] = []
    pages = Pages()
    if found:
        walk = _Walk(session, conditions, _ways(wanted, user, closed, review_first), wanted.down)
        here, pages = walk.page(wanted.place)
    items = _items(session, user, here, closed, review_first)
    return WorkList(items, counts, found, pages, closed is not None)


def _has(search: str) -> sa.ColumnElement[bool]:
    """Whether a pseudonym has a text in it, in either case of every letter.

    A database lowers letters beyond ASCII only under some collations, and SQLite never: those of
    the text are lowered one by one.
    """
    wanted = unicodedata.normalize("NFC", search).replace(_DOTTED_I, "i").lower()
    if len(wanted) > MOST_LETTERS:
        return sa.false()
    found = sa.func.lower(sa.func.replace(Case.pseudonym.expression, _DOTTED_I, "i"))
    for letter in sorted({one for one in wanted if not one.isascii()}):
        for other in sorted({letter.upper(), letter.title()} - {letter}):
            found = sa.func.replace(found, other, letter)
    return found.contains(wanted, autoescape=True)


_DOTTED_I = "\u0130"
"""The only letter that lower case makes two of."""


@dataclass(frozen=True)
class _Way:
    """One stretch of the list: which cases, and by what they are in order.

    ``by`` is None where only the moment of the upload puts them in order, as it does among equals.
    """

    cases: sa.Select[Any]
    by: sa.ColumnElement[Any] | None = None
    kind: type = NoneType
    """What ``by`` is in Python."""
    led: bool = False
    """``by`` is a column of another table, whose index leads."""


_KNOWN: tuple[sa.ColumnElement[Any], ...] = (Case.id.expression, Case.created_at.expression)


def _ways(
    wanted: Wanted, user: User, closed: sa.ColumnElement[bool] | None, review_first: bool
) -> list[_Way]:
    """The stretches of the list, one after the other.

    The place of a case tells no more than its line: a closed one is put where one without lesions
    is, and what is covered counts for nothing.
    """
    cases = sa.select(*_KNOWN)
    by: sa.ColumnElement[Any]
    kind: type = str
    match wanted.order:
        case Order.UPLOADED:
            return [_Way(cases)]
        case Order.OWN:
            return _by_newest(cases, Review, _of_one(user), closed)
        case Order.COLLEAGUES:
            return _by_newest(cases, Review, _of_others(user, review_first), closed)
        case Order.NETWORK:
            return _by_newest(cases, Prediction, _of_network(user, review_first), closed)
        case Order.PSEUDONYM:
            by = sa.func.lower(Case.pseudonym.expression, type_=sa.String)
        case Order.PHASE:
            by = Case.contrast_phase.expression
        case Order.SLICES:
            by, kind = Case.slice_count.expression, int
        case Order.LESIONS:
            by, kind = Case.lesion_count.expression, int
            if closed is not None:
                by = sa.case((closed, 0), else_=by)
        case Order.REVIEW:
            by = sa.type_coerce(Case.review_state, sa.String)
            if closed is not None:
                by = sa.case((closed, ReviewState.NO_LESION.value), else_=by)
    return [_Way(cases.add_columns(by.label("by")), by, kind)]


_Said = type[Review] | type[Prediction]
_Counts = Callable[[Any], tuple[sa.ColumnElement[bool], ...]]
"""For a WHERE on what was said, by its class or an alias of it: that it counts for the order."""


def _of_one(user: User) -> _Counts:
    return lambda said: (said.by_id == user.id,)


def _of_others(user: User, review_first: bool) -> _Counts:
    def told(said: Any) -> tuple[sa.ColumnElement[bool], ...]:
        later = aliased(Review)
        stands = ~sa.exists().where(later.supersedes_id == said.id)
        return said.by_id != user.id, stands, *_uncovered(said, user, review_first)

    return told


def _of_network(user: User, review_first: bool) -> _Counts:
    def told(said: Any) -> tuple[sa.ColumnElement[bool], ...]:
        later = aliased(Prediction)
        last = ~sa.exists().where(later.lesion_id == said.lesion_id, later.number > said.number)
        return last, *_uncovered(said, user, review_first)

    return told


def _uncovered(said: Any, user: User, review_first: bool) -> tuple[sa.ColumnElement[bool], ...]:
    """That the person has given their own class of the lesion, or need not first."""
    own = aliased(Review)
    given = sa.exists().where(
        own.lesion_id == said.lesion_id, own.by_id == user.id, own.supersedes_id.is_(None)
    )
    return (given,) if review_first else ()


def _by_newest(
    cases: sa.Select[Any], of: _Said, told: _Counts, closed: sa.ColumnElement[bool] | None
) -> list[_Way]:
    """First the cases of which something is told, by the newest of it; then the others.

    What is asked of one case goes from its lesions to what was said of each: a plan that went the
    other way would read all that was ever said, for every case.
    """

    def has(*more: Callable[[Any], sa.ColumnElement[bool]]) -> sa.ColumnElement[bool]:
        said, lesion = aliased(of), aliased(Lesion)
        counts = sa.and_(*told(said), *(condition(said) for condition in more))
        of_it = sa.exists().where(
            said.lesion_id == lesion.id,
            sa.case((counts, 1), else_=0) == 1,  # so that no index is taken for it
        )
        standing = lesion.case_id == Case.id, lesion.withdrawn_at.is_(None)
        return sa.exists().where(*standing, of_it.correlate(lesion, of)).correlate(Case, of)

    by = of.created_at.expression
    first = cases.add_columns(by.label("by")).select_from(of, Lesion, Case)
    given = (
        Lesion.case_id == Case.id, Lesion.withdrawn_at.is_(None), of.lesion_id == Lesion.id,
        *told(of),
        ~has(lambda said: sa.tuple_(said.created_at, said.id) > sa.tuple_(of.created_at, of.id)),
    )  # fmt: skip
    open_to_me = () if closed is None else (~closed,)
    return [
        _Way(first.where(*given, *open_to_me), by, datetime, led=True),
        _Way(cases.where(~sa.and_(has(), *open_to_me))),
    ]


@dataclass(frozen=True)
class _Walk:
    """A walk through the list from a place in it, ahead or back.

    All columns of the order go the same way, so that an index holds it in either direction.
    """

    session: Session
    conditions: Sequence[sa.ColumnElement[bool]]
    ways: Sequence[_Way]
    down: bool

    def page(self, text: str) -> tuple[list[uuid.UUID], Pages]:
        """The cases of a page in their order, and the places of those around it."""
        place = Place.read(text)
        if place.case_id is not None and not self._holds(place):
            place = Place()
        rows = self._from(place, PAGE_SIZE + 1)
        more = len(rows) > PAGE_SIZE
        rows = rows[:PAGE_SIZE]
        if place.back and place.case_id is not None and not more:
            place = Place()  # the first page is whole, wherever one came from
            rows = self._from(place, PAGE_SIZE + 1)
            more, rows = len(rows) > PAGE_SIZE, rows[:PAGE_SIZE]
        if not rows:  # what lay behind the place is gone: the nearest page that there is
            place = replace(place, back=not place.back, case_id=None)
            rows = self._from(place, PAGE_SIZE)
            more = bool(rows) and bool(self._from(replace(rows[-1], back=place.back), 1))
        if place.back:
            rows = rows[::-1]
        if not rows:
            return [], Pages()
        before, after = replace(rows[0], back=True), rows[-1]
        has_before = more if place.back else bool(place.case_id and self._from(before, 1))
        has_after = (bool(place.case_id) and bool(self._from(after, 1))) if place.back else more
        return [row.case_id for row in rows if row.case_id is not None], Pages(
            previous=before.written if has_before else "",
            next=after.written if has_after else "",
            last=Place.LAST if has_after else "",
        )

    def _holds(self, place: Place) -> bool:
        """Whether a place can be one of it: an address may have been put together by hand."""
        if not 0 <= place.way < len(self.ways):
            return False
        return isinstance(place.by, self.ways[place.way].kind)

    def _from(self, place: Place, most: int) -> list[Place]:
        """The next cases from a place, each as the place behind it."""
        ways = list(enumerate(self.ways))
        if place.back:
            ways.reverse()
        if place.case_id is not None:
            ways = list(dropwhile(lambda one: one[0] != place.way, ways))
        found: list[Place] = []
        for number, way in ways:
            if len(found) < most:
                begun = place.case_id is not None and place.way == number
                query = self._query(way, place if begun else None, place.back)
                for row in self.session.execute(query.limit(most - len(found))):
                    by = None if way.by is None else row[2]
                    found.append(Place(place.back, number, row[0], row[1], by))
        return found

    def _query(self, way: _Way, place: Place | None, back: bool) -> sa.Select[Any]:
        columns: list[sa.ColumnElement[Any]] = [Case.created_at.expression, Case.id.expression]
        if way.by is not None:
            columns = [way.by, *columns]
        falls = self.down != back
        query = way.cases.where(*self.conditions).order_by(
            *(one.desc() if falls else one.asc() for one in columns)
        )
        if place is None:
            return query
        values = (
            [place.at, place.case_id] if way.by is None else [place.by, place.at, place.case_id]
        )
        there = sa.tuple_(
            *(sa.literal(value, one.type) for value, one in zip(values, columns, strict=True))
        )
        row, begins = sa.tuple_(*columns), sa.literal(values[0], columns[0].type)
        if way.led:
            query = query.where(columns[0] <= begins if falls else columns[0] >= begins)
        return query.where(row < there if falls else row > there)


def _items(
    session: Session,
    user: User,
    here: list[uuid.UUID],
    closed: sa.ColumnElement[bool] | None,
    review_first: bool,
) -> list[WorkItem]:
    """The lines of these cases, in their order."""
    # columns, since the database keeps some of them behind the session's back
    rows = session.execute(
        sa.select(
            Case.id,
            Case.pseudonym,
            Case.phantom,
            Case.slice_count,
            Case.lesion_count,
            Case.review_state,
            Case.contrast_phase,
            Case.created_at,
        ).where(Case.id.in_(here))
    )
    found = {row.id: row for row in rows}
    ids = [case_id for case_id in here if case_id in found]
    shut: set[uuid.UUID] = set()
    if closed is not None:
        shut = set(session.scalars(sa.select(Case.id).where(Case.id.in_(ids), closed)))
    grey = _uncalibrated(session, ids)
    told = _Told.of(session, user, [one for one in ids if one not in shut], review_first)
    items = []
    for case_id in ids:
        case, is_closed = found[case_id], case_id in shut
        items.append(
            WorkItem(
                id=case.id,
                pseudonym=case.pseudonym,
                phantom=case.phantom,
                uncalibrated=case_id in grey,
                slices=case.slice_count,
                lesions=0 if is_closed else case.lesion_count,
                closed=is_closed,
                own=told.own(case.id),
                colleagues=told.colleagues(case.id),
                colleagues_at=told.colleagues_at(case.id),
                network=told.network(case.id),
                covered=told.covers(case.id),
                review_state=ReviewState.NO_LESION if is_closed else case.review_state,
                contrast_phase=case.contrast_phase,
                uploaded_at=case.created_at,
            )
        )
    return items


def _uncalibrated(session: Session, ids: list[uuid.UUID]) -> set[uuid.UUID]:
    """Which of these cases have an image without HU."""
    return set(
        session.scalars(
            sa.select(Series.case_id)
            .join(Image, Image.series_id == Series.id)
            .where(Series.case_id.in_(ids), Image.calibrated.is_(False))
            .distinct()
        )
    )


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
        return self._counted(self._others(case_id))

    def colleagues_at(self, case_id: uuid.UUID) -> datetime | None:
        return max((one.created_at for one in self._others(case_id)), default=None)

    def _others(self, case_id: uuid.UUID) -> list[Review]:
        open_to_me = self._open(case_id)
        return [
            one
            for one in self._reviews(case_id)
            if one.by_id != self.user_id and one.lesion_id in open_to_me
        ]

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
            at=newest.created_at,
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
