"""Results on their way back to the PACS: ordered on a case, seen by administrators in one list."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Admin, Reader
from app.db import Db, ReadDb
from app.errors import Conflict, NotFound
from app.models.cases.case import Case
from app.models.cases.review import Review
from app.models.jobs.returned_object import ReturnedObject
from app.models.jobs.tried import TriedState
from app.models.reader_studies.enrolment import Enrolment
from app.objects import said
from app.pacs import outbox
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)


@router.post("/cases/{case_id}/returns")
def create(request: Request, user: Reader, db: Db, case_id: uuid.UUID) -> Response:
    """Send one's own classes, and the network's beside them, to the PACS that the case came from.

    Raises:
        NotFound: no such case.
        Forbidden: a blinded reading could be about it.
        Conflict: a lesion has no class of one's own yet, or there is no way back.
    """
    case = Case.require(db, case_id)
    Enrolment.refuse_case(db, user, case.id)
    lesions = said.lesions(db, case)
    own = [Review.current(db, lesion.id, user.id) for lesion in lesions]
    if not lesions or any(review is None for review in own):
        raise Conflict(
            "The answer is sent when every lesion has a class of yours. Give the missing ones; "
            "nothing was sent."
        )
    state = request.app.state
    pacs, link = outbox.destination(db, state.pacs, case, state.key)
    mine = {review.id for review in own if review is not None}
    accounts = [account for account in said.by_radiologists(db, case) if mine & set(account.rows)]
    accounts += said.by_networks(db, case)[:1]
    rows = outbox.order(db, pacs, link, accounts, outbox.KINDS, by=user.name, key=state.key)
    state.messenger.ring()
    waiting = sum(not row.is_over for row in rows)
    words = f"{waiting} objects are on their way to the PACS {pacs.name}."
    if not waiting:
        words = f"The PACS {pacs.name} holds this answer already; nothing was sent."
    return see_other(f"/cases/{case.id}", words, "info")


@router.get("/returns")
def index(request: Request, user: Admin, db: ReadDb) -> Response:
    """What was given up, what waits, and what was sent last, of all cases."""
    listed = {state: ReturnedObject.listed(db, state) for state in TriedState}
    return page(
        request,
        "returns/index.html",
        given_up=listed[TriedState.GIVEN_UP],
        waiting=listed[TriedState.WAITING],
        sent=listed[TriedState.SENT],
        takers=[one.name for one in request.app.state.pacs.all if one.takes_results],
    )


@router.post("/returns/{return_id}/again")
def again(request: Request, user: Admin, db: Db, return_id: uuid.UUID) -> Response:
    """Try one that was given up once more, from the start.

    Raises:
        NotFound: there is none.
        Conflict: it was not given up.
    """
    row = db.get(ReturnedObject, return_id)
    if row is None:
        raise NotFound("There is no such result on its way.")
    if row.state != TriedState.GIVEN_UP:
        raise Conflict(f"It is {row.state}; only what was given up is tried again by hand.")
    row.again(db, user.name)
    request.app.state.messenger.ring()
    return see_other("/returns", "It is tried again.", "info")
