"""What is watched: one checkpoint on one kind of image, without what is closed to whoever looks.

A row of checkpoints is one network with one calibration (`app.models.checkpoint`), so two
calibrations are two things here as well. Kinds of image are never added up: phantoms are no
patients.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVarTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.errors import Unreadable
from app.models.cases.case import IMAGE_KIND, Case, Image
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.checkpoint import Checkpoint
from ml.checkpoints.checkpoint import CheckpointKind
from ml.images.ct_slice import ImageKind

Ints = npt.NDArray[np.int64]
Columns = TypeVarTuple("Columns")

TIME_ZONE = "UTC"
"""In which months begin and end."""


@dataclass(frozen=True)
class Scope:
    """One checkpoint on one kind of image.

    ``closed``: for a WHERE on Case, what whoever looks may not see now
    (`Enrolment.closed_to`); None where there is nothing. ``lesions``: how many were scored.
    """

    checkpoint: Checkpoint
    kind: ImageKind
    closed: sa.ColumnElement[bool] | None
    lesions: int

    def within(self, query: sa.Select[*Columns]) -> sa.Select[*Columns]:
        """Of a query over Prediction, Lesion, Image and Case the rows that are watched."""
        found = _joined(query).where(
            Prediction.checkpoint_id == self.checkpoint.id,
            sa.literal(self.kind.value) == IMAGE_KIND,
        )
        return found if self.closed is None else found.where(~self.closed)

    def standing(self, query: sa.Select[*Columns]) -> sa.Select[*Columns]:
        """The same of lesions that were not withdrawn."""
        return self.within(query).where(Lesion.withdrawn_at.is_(None))


@dataclass(frozen=True)
class Scored:
    """How many lesions a checkpoint has scored, by kind of image."""

    checkpoint: Checkpoint
    lesions: Mapping[ImageKind, int]

    @property
    def usual(self) -> ImageKind:
        """The kind that is shown unless another is asked for: of patients before phantoms."""
        told = [kind for kind in _FIRST if self.lesions.get(kind)]
        return told[0] if told else ImageKind(self.checkpoint.training_kind)


_FIRST = (ImageKind.CALIBRATED, ImageKind.UNCALIBRATED, ImageKind.PHANTOM)


def scored(session: Session, closed: sa.ColumnElement[bool] | None) -> list[Scored]:
    """Every classifier that is served or has scored a lesion: that which scores new ones first,
    then by name."""
    counted = _joined(
        sa.select(Prediction.checkpoint_id, IMAGE_KIND, sa.func.count()).group_by(
            Prediction.checkpoint_id, IMAGE_KIND
        )
    )
    if closed is not None:
        counted = counted.where(~closed)
    lesions: dict[uuid.UUID, dict[ImageKind, int]] = {}
    for checkpoint_id, kind, count in session.execute(counted):
        lesions.setdefault(checkpoint_id, {})[ImageKind(kind)] = count
    served = Checkpoint.served(session, CheckpointKind.CLASSIFIER)
    first = served[-1].id if served else None
    rows = session.scalars(
        sa.select(Checkpoint).where(
            Checkpoint.kind == CheckpointKind.CLASSIFIER,
            sa.or_(Checkpoint.id.in_(list(lesions)), Checkpoint.served_since.is_not(None)),
        )
    )
    told = [Scored(row, lesions.get(row.id, {})) for row in rows]
    return sorted(told, key=lambda one: (one.checkpoint.id != first, one.checkpoint.name))


def chosen(
    session: Session,
    closed: sa.ColumnElement[bool] | None,
    rows: Sequence[Scored],
    name: str,
    kind: ImageKind | None,
) -> Scope | None:
    """What is asked for; what is not told is the usual.

    Args:
        rows: from `scored`.
        name: of the checkpoint; "": the one that scores new lesions.
        kind: None: that of patients, where it has scored any.

    Returns:
        None where no name is told, nothing is served and nothing was scored.

    Raises:
        NotFound: no checkpoint of that name.
        Unreadable: it is a generator.
    """
    if not name:
        one = rows[0] if rows else None
    else:
        row = Checkpoint.require(session, name)
        if row.kind != CheckpointKind.CLASSIFIER:
            raise Unreadable(f"{name} draws lesions and scores none; name a classifier.")
        told = Scored(row, {})  # neither served nor used
        one = next((one for one in rows if one.checkpoint.id == row.id), told)
    if one is None:
        return None
    wanted = kind or one.usual
    return Scope(one.checkpoint, wanted, closed, one.lesions.get(wanted, 0))


def _joined(query: sa.Select[*Columns]) -> sa.Select[*Columns]:
    return (
        query.select_from(Prediction)
        .join(Lesion, Lesion.id == Prediction.lesion_id)
        .join(Image, Image.id == Lesion.image_id)
        .join(Case, Case.id == Lesion.case_id)
    )


def plain(column: InstrumentedAttribute[uuid.UUID]) -> sa.ColumnElement[str]:
    """An id as the database has it: to read a hundred thousand as UUIDs takes half a second."""
    return sa.type_coerce(column, sa.String)


def month_of(moment: datetime) -> int:
    """Months since the year 0, of a moment in UTC."""
    return moment.year * 12 + moment.month - 1


def month_words(month: int) -> str:
    """As ``2026-11``."""
    return f"{month // 12:04}-{month % 12 + 1:02}"


def members(patients: Sequence[str]) -> Ints:
    """Patients as numbers in the order in which they come, (n,)."""
    known: dict[str, int] = {}
    return np.asarray([known.setdefault(one, len(known)) for one in patients], np.int64)
