"""Measures that are kept with a lesion."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import Db
from app.errors import Unreadable
from app.models.cases.case import Image
from app.models.cases.lesion import Lesion
from app.models.cases.measure import Measure
from app.models.cases.slip import Slip, refuse_other_person
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from app.presenters import panel
from app.responses import see_other, wants_fragment
from ml.images.ruler import Kind

router = APIRouter(include_in_schema=False)


@router.post("/lesions/{lesion_id}/measures")
def create(
    request: Request,
    user: Reader,
    db: Db,
    lesion_id: uuid.UUID,
    measure: Annotated[uuid.UUID, Form()],
    image: Annotated[uuid.UUID, Form()],
    kind: Annotated[Kind, Form()],
    points: Annotated[str, Form()],
    lesion: Annotated[str, Form()] = "",
    number: Annotated[str, Form()] = "",
    person: Annotated[str, Form()] = "",
) -> Response:
    """Keep a measure with a lesion, under the id ``measure``: sent again, it is kept once.

    Args:
        points: ``x,y x,y …`` in pixels of the slice.

    Raises:
        Unreadable: points that are none.
        RulerError, NotFound, Conflict: as ``Measure.keep``.
    """
    standing = Lesion.require(db, lesion_id, hold=True)
    Enrolment.refuse_case(db, user, standing.case_id)
    Slip(lesion, number, person).check(standing, user)
    on = Image.require(db, image)
    kept = Measure.keep(db, standing, on, kind, _points(points), user, measure_id=measure)
    return _panel(request, user, db, standing, f"Kept: {', '.join(kept.says)}.", 201)


@router.post("/measures/{measure_id}/withdrawal")
def withdraw(
    request: Request,
    user: Reader,
    db: Db,
    measure_id: uuid.UUID,
    person: Annotated[str, Form()] = "",
) -> Response:
    """Delete a measure: the person who kept it, or an administrator."""
    measure, lesion = _held(user, db, measure_id, person)
    measure.withdraw(db, user)
    return _panel(request, user, db, lesion, f"Deleted: {', '.join(measure.says)}.", 200)


@router.post("/measures/{measure_id}/restoration")
def restore(
    request: Request,
    user: Reader,
    db: Db,
    measure_id: uuid.UUID,
    person: Annotated[str, Form()] = "",
) -> Response:
    """Bring a deleted measure back: the person who kept it, or an administrator."""
    measure, lesion = _held(user, db, measure_id, person)
    measure.restore(db, user)
    return _panel(request, user, db, lesion, f"Back: {', '.join(measure.says)}.", 200)


def _held(user: User, db: Db, measure_id: uuid.UUID, person: str) -> tuple[Measure, Lesion]:
    """A measure and its lesion, which stands.

    Raises:
        NotFound: no such measure, or its lesion was withdrawn.
        Forbidden: a blinded reading of this person could be about its case.
        Conflict: a page of somebody else asks.
    """
    measure = Measure.held(db, measure_id)
    lesion = Lesion.require(db, measure.lesion_id)
    Enrolment.refuse_case(db, user, lesion.case_id)
    if person:
        refuse_other_person(person, user)
    return measure, lesion


def _points(text: str) -> list[tuple[float, float]]:
    try:
        pairs = [pair.split(",") for pair in text.split()]
        return [(float(x), float(y)) for x, y in pairs]
    except ValueError as error:
        raise Unreadable(
            "The points of a measure must be pairs of numbers, x,y x,y …, in pixels of the slice. "
            "Nothing was kept; measure it again."
        ) from error


def _panel(
    request: Request, user: User, db: Db, lesion: Lesion, said: str, status: int
) -> Response:
    if not wants_fragment(request):
        return see_other(f"/cases/{lesion.case_id}?lesion={lesion.id}", said)
    return panel(request, db, user, lesion, status)
