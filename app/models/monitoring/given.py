"""Every class that a person gave of a lesion that is watched, beside the network's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models.cases.case import Case
from app.models.cases.prediction import Prediction
from app.models.cases.review import Basis, Review
from app.models.monitoring.scope import Scope, plain


@dataclass(frozen=True, slots=True)
class Given:
    """One review.

    Attributes:
        lesion, by: ids as the database has them.
        visible: whether a score was in sight.
        stands: whether none of the same person has superseded it.
        called, scored_at: the network's class, and when it said so.
    """

    lesion: str
    by: str
    number: int
    lesion_class: str
    basis: Basis
    visible: bool
    at: datetime
    stands: bool
    called: str
    scored_at: datetime
    patient: str


def given(session: Session, scope: Scope) -> list[Given]:
    """Of lesions that stand; of a lesion that which says its class comes first."""
    rows = session.execute(
        scope.standing(
            sa.select(
                plain(Review.lesion_id),
                plain(Review.by_id),
                Review.number,
                Review.lesion_class,
                Review.basis,
                Review.score_visible,
                Review.created_at,
                Review.stands(),
                Prediction.lesion_class,
                Prediction.created_at,
                Case.whose(),
            )
        )
        .join(Review, Review.lesion_id == Prediction.lesion_id)
        .order_by(*Review.precedence())
    )
    return [Given(*row) for row in rows]


def chains(some: Sequence[Given]) -> Iterable[list[Given]]:
    """The reviews of each person of each lesion, in the order in which they were given."""
    found: defaultdict[tuple[str, str], list[Given]] = defaultdict(list)
    for one in sorted(some, key=lambda one: one.number):
        found[one.lesion, one.by].append(one)
    return found.values()


def blind(chain: Iterable[Given]) -> list[Given]:
    """Of a person's reviews of a lesion those before a score was first in sight."""
    return list(takewhile(lambda one: not one.visible, chain))
