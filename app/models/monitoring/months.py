"""What a checkpoint said, month by month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models.cases.case import Case
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.monitoring.acceptance import Pair, agreed_blind
from app.models.monitoring.scope import Ints, Scope, members, month_of, month_words, plain
from ml.statistics import exact
from ml.statistics.figure import Figure

Bools = npt.NDArray[np.bool_]

MOST = 36
"""Months that are told one by one: the last ones."""


@dataclass(frozen=True)
class Said:
    """What was said of n lesions.

    Attributes:
        months: (n,) when, as `month_of`.
        patients: (n,) whose they are, numbered.
        standing: (n,) whether the lesion was not withdrawn since.
        told: (n,) whether likeness to the training ROIs was told …
        unlike: … and whether they were unlike.
        calibrated: (n,) whether numbers were said to be probabilities.
        sizes: (n,) how many classes the prediction set had; 0 where there was none.
        lesions: (n,) ids as the database has them.
    """

    months: Ints
    patients: Ints
    standing: Bools
    told: Bools
    unlike: Bools
    calibrated: Bools
    sizes: Ints
    lesions: npt.NDArray[np.object_]

    @classmethod
    def of(cls, session: Session, scope: Scope) -> Said:
        """All that is watched."""
        said = Prediction.said
        flag = said[("unlike_training", "flag")].as_boolean()
        query = sa.select(
            Prediction.created_at,
            Case.whose(),
            Lesion.withdrawn_at.is_(None),
            flag,
            said["calibrated"].as_boolean(),
            _classes_in_set(session),
            plain(Lesion.id),
        )
        rows = session.execute(scope.within(query)).all()
        return cls(
            months=np.asarray([month_of(row[0]) for row in rows], np.int64),
            patients=members([row[1] for row in rows]),
            standing=np.asarray([row[2] for row in rows], bool),
            told=np.asarray([row[3] is not None for row in rows], bool),
            unlike=np.asarray([bool(row[3]) for row in rows], bool),
            calibrated=np.asarray([bool(row[4]) for row in rows], bool),
            sizes=np.asarray([row[5] or 0 for row in rows], np.int64),
            lesions=np.asarray([row[6] for row in rows], object),
        )

    def only(self, chosen: Bools | Ints) -> Said:
        """Some of it: which, (n,), or their places."""
        return Said(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def _classes_in_set(session: Session) -> sa.ColumnElement[int | None]:
    if session.get_bind().dialect.name == "postgresql":
        return sa.func.json_array_length(
            Prediction.said[("prediction_set", "classes")], type_=sa.Integer
        )
    return sa.func.json_array_length(Prediction.said, "$.prediction_set.classes", type_=sa.Integer)


@dataclass(frozen=True)
class Month:
    """What was said in one month, or altogether.

    Attributes:
        month: as ``2026-11``; "all" of all of them.
        lesions: scored, the withdrawn ones among them; each once.
        withdrawn: of them since; what follows is of the others.
        unlike: share of those flagged as unlike the training ROIs, of whom it was told.
        unknown: of how many it was not.
        probabilities: how many had numbers that were said to be probabilities.
        set_sizes: how many prediction sets had so many classes; ``no_set`` had none.
        agreed: how often classes that radiologists gave before they saw a score were the network's.
    """

    month: str
    lesions: int
    withdrawn: int
    patients: int
    unlike: Figure
    unknown: int
    probabilities: int
    set_sizes: Mapping[str, int]
    no_set: int
    agreed: Figure


@dataclass(frozen=True)
class Months:
    """Every month from the first prediction to now, the last `MOST` of them.

    ``earlier``: lesions scored in months before those; they are in ``whole``.
    """

    whole: Month
    each: tuple[Month, ...]
    earlier: int

    @classmethod
    def of(cls, said: Said, pairs: Sequence[Pair], classes: int, at: datetime) -> Months:
        """Of what was said until ``at`` by a checkpoint of so many classes."""
        whole = _month("all", said, pairs, classes)
        if not len(said.months):
            return cls(whole, (), 0)
        last = month_of(at)
        first = max(int(said.months.min()), last - MOST + 1)
        of_month: dict[int, list[Pair]] = {}
        for one in pairs:
            of_month.setdefault(month_of(one.scored_at), []).append(one)
        each = tuple(
            _month(
                month_words(month),
                said.only(said.months == month),
                of_month.get(month, []),
                classes,
            )
            for month in range(first, last + 1)
        )
        return cls(whole, each, int((said.months < first).sum()))


def _month(name: str, said: Said, pairs: Sequence[Pair], classes: int) -> Month:
    own = said.only(said.standing)
    sizes = Counter(own.sizes.tolist())
    told = own.only(own.told)
    return Month(
        month=name,
        lesions=len(said.months),
        withdrawn=len(said.months) - len(own.months),
        patients=len(np.unique(own.patients)),
        unlike=exact.share(told.unlike, told.patients),
        unknown=int((~own.told).sum()),
        probabilities=int(own.calibrated.sum()),
        set_sizes={str(size): sizes.get(size, 0) for size in range(1, classes + 1)},
        no_set=sizes.get(0, 0),
        agreed=agreed_blind(pairs),
    )
