"""The desk: a reader's own list of readings, and the trial in front of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, Response

from app.auth import Reader
from app.db import Db, ReadDb
from app.models.desk import Desk, places
from app.models.enrolment import Enrolment
from app.models.reading import Answer, Reading
from app.responses import page, see_other, wants_json

router = APIRouter(include_in_schema=False)

Milliseconds = Annotated[int, Form()]


@router.get("/readings")
def index(request: Request, user: Reader, db: ReadDb) -> Response:
    return page(
        request, "readings/index.html", nav_current="reader-studies", places=places(db, user)
    )


@router.get("/readings/{token}")
def show(request: Request, user: Reader, db: ReadDb, token: str) -> Response:
    desk = Desk.of(db, Enrolment.require(db, token, user))
    if wants_json(request):
        return JSONResponse(desk.to_dict(), headers={"cache-control": "no-store"})
    return page(request, "readings/show.html", desk=desk)


@router.post("/readings/{token}")
def answer(
    request: Request,
    user: Reader,
    db: Db,
    token: str,
    trial: Annotated[str, Form()],
    lesion_class: Annotated[str, Form()],
    rating: Annotated[int, Form()],
    key: Annotated[str, Form()],
    active_ms: Milliseconds = 0,
    hidden_ms: Milliseconds = 0,
    idle_ms: Milliseconds = 0,
    changes: Annotated[int, Form()] = 0,
) -> Response:
    """Commit one answer; sent twice with the same key it is stored once."""
    enrolment = Enrolment.require(db, token, user)
    given = Answer(trial, key, lesion_class, rating, active_ms, hidden_ms, idle_ms, changes)
    _, new = Reading.give(db, enrolment, given)
    if wants_json(request):
        desk = Desk.of(db, enrolment)
        return JSONResponse(desk.to_dict(), 201 if new else 200, {"cache-control": "no-store"})
    return see_other(f"/readings/{token}")
