"""What is said of lesions, the newest first."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload

from app.models.cases.prediction import Prediction
from app.models.cases.review import Review

Said = TypeVar("Said", Prediction, Review)


def newest_first(
    session: Session,
    kind: type[Said],
    lesions: Sequence[uuid.UUID],
    beside: InstrumentedAttribute[Any],
) -> defaultdict[uuid.UUID, list[Said]]:
    """What is said of each of these lesions, with what is loaded beside it, in one query."""
    said: defaultdict[uuid.UUID, list[Said]] = defaultdict(list)
    for one in session.scalars(
        sa.select(kind)
        .options(joinedload(beside))
        .where(kind.lesion_id.in_(lesions))
        .order_by(kind.number.desc())
    ):
        said[one.lesion_id].append(one)
    return said
