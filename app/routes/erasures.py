"""Deleting all that there is of a patient: what would go, the act; and every certificate."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Admin, Reader
from app.db import Db, ReadDb
from app.deleting import begun
from app.errors import AppError, Forbidden, Unreadable
from app.models.cases.case import Case
from app.models.erasures.certificate import Certificate
from app.models.erasures.erasure import Erasure, ErasureKind
from app.models.erasures.extent import Extent, cases_called, hindrances
from app.models.people.user import User
from app.operation.erasing import Erasing
from app.operation.retention import Due
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)

MOST_PICTURED = 60


@router.get("/erasures")
def index(request: Request, user: Admin, db: ReadDb) -> Response:
    """Every deletion, what is kept for how long, and whom to delete."""
    return _index(request, db, None)


@router.post("/erasures/patient")
def find(
    request: Request,
    user: Admin,
    db: ReadDb,
    pseudonym: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """The page of what would go, by a pseudonym; it is no part of an address, which logs keep."""
    try:
        first = cases_called(db, pseudonym)[0]
    except AppError as refusal:
        return _index(request, db, refusal)
    return see_other(f"/erasures/new?case={first.id}")


@router.get("/erasures/new")
def new(request: Request, user: Reader, db: ReadDb, case: uuid.UUID) -> Response:
    """What would go with the patient of a case, and what stands in the way.

    Raises:
        NotFound: no such case.
        Conflict: it is not clear which patient is meant.
        Forbidden: not theirs to delete, or a blinded reading of theirs could be about it.
    """
    cases, extent = _meant(db, case, user)
    return page(
        request,
        "erasures/new.html",
        chosen=cases[0],
        asked=case,
        cases=[
            {
                "id": one.id,
                "pseudonym": one.pseudonym,
                "phantom": one.phantom,
                "at": one.created_at,
                "slices": one.slice_count,
                "lesions": one.lesion_count,
                "pictured": number < MOST_PICTURED and one.slice_count,
            }
            for number, one in enumerate(cases)
        ],
        certificate=Certificate.of(extent),
        why=hindrances(db, [one.id for one in cases]),
    )


@router.post("/erasures")
def create(
    request: Request,
    user: Reader,
    look: ReadDb,
    db: Db,
    case: Annotated[uuid.UUID, Form()],
    typed: Annotated[str, Form()] = "",
    reference: Annotated[str, Form()] = "",
) -> Response:
    """Begin the deletion; the clerk goes on with it.

    Raises:
        NotFound: no such case.
        Unreadable: another pseudonym was typed, or a reference that is too long.
        Conflict: something stands in the way, or it is not clear which patient is meant.
        Forbidden: as of `new`.
        Unavailable: the register of deletions cannot be written.
    """
    cases, extent = _meant(look, case, user)  # counted before anybody has to wait
    pseudonym = Case.require(look, case).pseudonym
    if typed.strip() != pseudonym:
        raise Unreadable(f"Nothing was deleted: type the pseudonym {pseudonym} exactly.").about(
            "typed"
        )
    return begun(request, db, ErasureKind.PATIENT, user, extent, cases, reference)


@router.get("/erasures/{erasure_id}")
def show(request: Request, user: Reader, db: ReadDb, erasure_id: uuid.UUID) -> Response:
    """The certificate of a deletion; until it has ended, how far it is.

    Raises:
        NotFound: there is none.
        Forbidden: another person asked for it.
    """
    erasure = Erasure.require(db, erasure_id)
    if not user.may("admin") and erasure.asked_by != user.name:
        raise Forbidden("Another person asked for this deletion.")
    state = request.app.state
    return page(
        request,
        "erasures/show.html",
        erasure=erasure,
        certificate=Certificate.of(erasure.extent),
        objects=erasure.extent.objects_sha256,
        why=Erasing(state.database, state.settings).waits_for(db, erasure),
    )


def _index(request: Request, db: Session, error: AppError | None) -> Response:
    settings = request.app.state.settings
    return page(
        request,
        "erasures/index.html",
        200 if error is None else error.status,
        erasures=Erasure.all(db),
        due=Due.of(db, settings).lines(settings),
        error=error.detail if error else None,
    )


def _meant(db: Session, case_id: uuid.UUID, user: User) -> tuple[list[Case], Extent]:
    """The cases of the patient of a case, that this person may delete, and what goes with them."""
    cases = cases_called(db, Case.require(db, case_id).pseudonym)
    extent = Extent.of(db, [one.id for one in cases])
    Erasure.refuse(db, user, cases, extent)
    return cases, extent
