"""The guide: a page for each kind of work, a sample to work on, and the tour of the demo."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from threading import Lock
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app import cookies
from app.auth import Reader
from app.db import ReadDb
from app.errors import NotFound
from app.models.cases.case import Case
from app.models.people.user import User
from app.models.reader_studies.enrolment import Blindness
from app.responses import page, see_other
from app.tour import Step, Tour

router = APIRouter(include_in_schema=False)

_SAMPLES = 1000
"""So many phantom patients are dealt out: two people who try the same installation rarely meet."""
_one_at_a_time = Lock()


class Door(StrEnum):
    """Whose work a page of the guide is about."""

    RADIOLOGIST = "radiologist"
    EXPERT_READER = "expert-reader"
    RESEARCHER = "researcher"


@router.get("/guide")
def index(request: Request, user: Reader) -> Response:
    """The three doors, the sample, and in a demo the tour."""
    return page(request, "guide/index.html", doors=tuple(Door), tour_kept=Tour.of(request))


@router.get("/guide/sample.zip")
def sample(user: Reader) -> Response:
    """A simulated series as a zip of DICOM: always the same one for the same person."""
    index = int.from_bytes(user.id.bytes[:4]) % _SAMPLES
    with _one_at_a_time:  # it takes a second of a core; whoever asks again has the same bytes
        made = _sample(index)
    headers = {"content-disposition": 'attachment; filename="hepatica-sample-phantom.zip"'}
    return Response(made, media_type="application/zip", headers=headers)


@lru_cache(maxsize=4)
def _sample(index: int) -> bytes:
    from ml.phantom import sample  # with SciPy, which a start does not wait for

    return sample.zipped(index)


@router.post("/guide/tour")
def tour(
    request: Request,
    user: Reader,
    db: ReadDb,
    step: Annotated[Step | Literal["leave", "finish"], Form()] = Step.UPLOAD,
) -> Response:
    """Go to a step of the tour, and to the page where it is done; or leave it for now, or for good.

    Raises:
        NotFound: this is no demo.
    """
    if not request.app.state.demo:
        raise NotFound("The tour is of the demo, and this installation holds no demo content.")
    if step == "finish":
        response = see_other("/guide", "The tour is over. It can be taken again here.")
        cookies.drop(response, request.scope, cookies.TOUR)
        return response
    if step == "leave":
        response = see_other("/guide", "The tour is left where it was. It goes on from here.")
        (Tour.of(request) or Tour()).leaving().keep(response, request)
        return response
    response = RedirectResponse(_place(db, user, Step(step)), 303)
    Tour(Step(step)).keep(response, request)
    return response


@router.get("/guide/{name}")
def show(request: Request, user: Reader, name: str) -> Response:
    """One page of the guide.

    Raises:
        NotFound: there is no such door.
    """
    if name not in set(Door):
        raise NotFound("The guide has no page of that name; its pages are listed at /guide.")
    return page(request, "guide/door.html", door=Door(name))


def _place(session: Session, user: User, step: Step) -> str:
    """Where a step is done: marks and reviews in the person's newest case, where they have one."""
    if step is Step.READ:
        return "/readings"
    if step is Step.UPLOAD or Blindness.of(session, user.id):
        return "/cases"
    newest = session.scalar(
        sa.select(Case.id)
        .where(Case.uploaded_by_id == user.id)
        .order_by(Case.created_at.desc())
        .limit(1)
    )
    return f"/cases/{newest}" if newest else "/cases"
