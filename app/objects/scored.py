"""What a network said at places that nobody has marked in the case: as an account, without rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.models.cases.case import Case, Image
from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.objects.said import Account, By, Statement, predicted
from ml.images.roi import Box
from ml.trust.answer import Said

_OURS = uuid.UUID("6d2b1a52-5c0e-4d0f-9f07-5ee0b0d2c4e1")


@dataclass(frozen=True)
class Scored:
    """One place and its scores.

    Attributes:
        said: of it.
    """

    image: Image
    box: Box
    said: Said
    warnings: tuple[str, ...]


def account(case: Case, checkpoint: Checkpoint, at: datetime, found: Sequence[Scored]) -> Account:
    """The network's words on the places of one case, numbered in their order.

    Ids are of what is said and when, so that the same answer is the same object; a place has the
    same tracking UID in each.
    """
    statements, version = [], checkpoint.version
    for number, one in enumerate(found, 1):
        box = one.box
        place = f"{one.image.id} {box.x!r} {box.y!r} {box.width!r} {box.height!r}"
        lesion = Lesion(
            id=uuid.uuid5(_OURS, place),
            case_id=case.id,
            image=one.image,
            number=number,
            x=box.x,
            y=box.y,
            width=box.width,
            height=box.height,
        )
        said = f"{number} {place} {version} {at.isoformat()} {one.said.probabilities}"
        statements.append(_statement(lesion, uuid.uuid5(_OURS, said), one, checkpoint))
    return Account(
        case=case,
        by=By.NETWORK,
        name=checkpoint.name,
        version=version,
        at=at,
        statements=tuple(statements),
    )


def _statement(lesion: Lesion, row: uuid.UUID, one: Scored, checkpoint: Checkpoint) -> Statement:
    return predicted(lesion, row, one.said, one.warnings, checkpoint.scheme)
