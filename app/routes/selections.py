"""Several cases of the work list at once: deleted, or frozen as a data set."""

from __future__ import annotations

import uuid
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import Db, ReadDb
from app.deleting import cases_deleted
from app.errors import BadRequest, NothingChosen, Unreadable
from app.models.erasures.chosen import chosen, staying
from app.models.reader_studies.enrolment import Enrolment
from app.models.runs.dataset import MIXED
from app.models.runs.known_lesions import KINDS
from app.models.worklist import PAGE_SIZE
from app.responses import page

router = APIRouter(include_in_schema=False)


def _work_list(query: str) -> str:
    """The address of the work list as it was asked for."""
    asked = urlencode(parse_qsl(query))
    return f"/cases?{asked}" if asked else "/cases"


def _few(ids: list[uuid.UUID], back: str) -> list[uuid.UUID]:
    way = {"url": back, "label": "Back to the list"}
    if not ids:
        raise NothingChosen("No case is chosen. Tick cases in the work list first.", next=way)
    if len(ids) > PAGE_SIZE:
        raise BadRequest(f"At most {PAGE_SIZE} cases are taken at once. Choose fewer.", next=way)
    return ids


@router.get("/cases/selection")
def show(
    request: Request,
    user: Reader,
    db: ReadDb,
    case: Annotated[list[uuid.UUID], Query(default_factory=list)],
    list_: Annotated[str, Query(alias="list", max_length=4000)] = "",
) -> Response:
    """What can be done with the chosen cases, and with which of them not.

    ``list`` is the query of the work list that they were chosen in, for the way back.

    Raises:
        BadRequest: none is chosen, or too many.
        NotFound: one of them is not there.
        Forbidden: a blinded reading could be about one of them.
    """
    back = _work_list(list_)
    cases = chosen(db, _few(case, back))
    for one in cases:
        Enrolment.refuse_case(db, user, one.id)
    stay = staying(db, cases, user)
    lines = [
        {
            "id": one.id,
            "pseudonym": one.pseudonym,
            "phantom": one.phantom,
            "slices": one.slice_count,
            "lesions": one.lesion_count,
            "stays": stay[one.id].detail if one.id in stay else "",
        }
        for one in cases
    ]
    return page(
        request,
        "cases/selection.html",
        back=back,
        cases=lines,
        deletable=[line for line in lines if not line["stays"]],
        may_freeze=user.may("researcher"),
        kinds=list(KINDS.items()),
        mixed=MIXED,
    )


@router.post("/cases/selection/deletion")
def remove(
    request: Request,
    user: Reader,
    look: ReadDb,
    db: Db,
    case: Annotated[list[uuid.UUID], Form(default_factory=list)],
    typed: Annotated[str, Form()] = "",
) -> Response:
    """Begin to delete all of these cases or none; how many they are must be typed.

    Raises:
        BadRequest: none is chosen, or too many.
        NotFound: one of them is not there.
        Unreadable: something else was typed.
        Forbidden, Conflict: one of them has to stay.
        Unavailable: the register of deletions cannot be written.
    """
    cases = chosen(look, _few(case, "/cases"))
    word = f"delete {len(cases)}"
    if typed.strip().lower() != word:
        raise Unreadable(f"No case was deleted: type “{word}” to delete them.").about("typed")
    return cases_deleted(request, user, look, db, cases)
