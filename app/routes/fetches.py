"""``/launch``: a study opened from a PACS or RIS by its address, and what fetches it meanwhile.

A GET changes nothing and asks no PACS: where the study is not here yet, it shows a page with one
button. A page elsewhere can bring a person to that page, and no further: what fetches is a POST of
our own page (`app.auth.OriginCheck`).
"""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.auth import Reader, Visitor
from app.db import Db, ReadDb
from app.errors import BadRequest, Damaged, Unauthorised, Unreadable
from app.jobs.fetching import Wanted, place
from app.models.cases.case import PHASES, PSEUDONYM
from app.models.cases.sealing import opened, sealed
from app.models.jobs.holder import Holder
from app.models.jobs.job import Job, JobKind
from app.models.people.user import User
from app.pacs.client import refuse_unfit_uid
from app.responses import fragment, page, see_other

router = APIRouter(include_in_schema=False)

Uid = Annotated[str, Query(max_length=200)]
_NAMES = ("study", "series", "instance", "pacs")
_ROW = "launch"
"""What the text of an address is sealed for; it opens nowhere else."""


@router.get("/launch")
def launch(
    request: Request,
    user: Visitor,
    db: ReadDb,
    study: Uid = "",
    series: Uid = "",
    instance: Uid = "",
    pacs: Annotated[str, Query(max_length=40)] = "",
    asked: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """The case at that image where it is here; else the question whether to fetch it.

    A stranger signs in first and comes back by an address of ours, in which the UIDs stand
    sealed (``asked``): what a PACS asked for is in no address or header that we make.

    Raises:
        BadRequest: what stands for a UID is none, or there are two.
        NotFound: no such PACS is configured.
        Unauthorised: nobody is signed in.
    """
    for name in (*_NAMES, "asked"):
        if len(request.query_params.getlist(name)) > 1:  # the last would be opened for the other
            raise BadRequest(f"The address names two of {name}; it may name one.")
    key: bytes = request.app.state.key
    if user is None:
        told = dict(zip(_NAMES, (study, series, instance, pacs), strict=True))
        request.state.came_for = f"/launch?asked={asked or _sealed(told, key)}"
        raise Unauthorised("Sign in to see this page.")
    if asked:
        study, series, instance, pacs = _opened(asked, key)
    _refuse_unfit(study, series, instance)
    found = place(db, study, series, instance, request.app.state.key)
    if found is not None:
        return RedirectResponse(found.address, 303)
    held = place(db, study, "", "", request.app.state.key) if series or instance else None
    return page(
        request,
        "fetches/new.html",
        pacs=request.app.state.pacs.named(pacs).name,
        study=study,
        series=series,
        instance=instance,
        phases=[(name, name) for name in PHASES],
        case_url=held.address if held else "",
    )


@router.post("/fetches")
def create(
    request: Request,
    user: Reader,
    db: Db,
    study: Annotated[str, Form(max_length=200)] = "",
    series: Annotated[str, Form(max_length=200)] = "",
    instance: Annotated[str, Form(max_length=200)] = "",
    pacs: Annotated[str, Form(max_length=40)] = "",
    contrast_phase: Annotated[str, Form(max_length=10)] = "unknown",
    pseudonym: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Fetch a study, or a series of it; asked for again meanwhile, it is the same fetch.

    Raises:
        BadRequest: what stands for a UID is none.
        NotFound: no such PACS is configured.
        Unreadable: no such contrast phase, or no pseudonym.
    """
    _refuse_unfit(study, series, instance)
    if contrast_phase not in PHASES:
        raise Unreadable(f"Choose the contrast phase: {', '.join(PHASES)}.").about("contrast_phase")
    pseudonym = pseudonym.strip()
    if pseudonym and not PSEUDONYM.fullmatch(pseudonym):
        raise Unreadable(
            "The pseudonym may have 1 to 40 letters, digits, spaces and . : + - _ ."
        ).about("pseudonym")
    name = request.app.state.pacs.named(pacs).name
    wanted = Wanted(name, study, series, "", series, instance, contrast_phase, pseudonym)
    key: bytes = request.app.state.key
    holder = _holder(user)
    job = Job.waiting_for(db, holder, JobKind.FETCH, wanted.digest(key))
    if job is None:
        job = Job.queue(db, holder, JobKind.FETCH, wanted.asked(key), total=0)
    response = see_other(f"/fetches/{job.id}")
    request.app.state.fetcher.ring()
    return response


@router.get("/fetches/{job_id}")
def show(request: Request, user: Reader, db: ReadDb, job_id: uuid.UUID) -> Response:
    """How far it is; once it is done, the case. NotFound for what is no fetch of this person."""
    job = _fetch(db, user, job_id)
    if job.result is not None and not job.result["refused"]:
        return RedirectResponse(job.result["url"], 303)
    return page(request, "fetches/show.html", job=job)


@router.get("/fetches/{job_id}/progress")
def progress(request: Request, user: Reader, db: ReadDb, job_id: uuid.UUID) -> Response:
    """The piece of the page that changes; it asks for itself again until the fetch is over."""
    return fragment(request, "fetches/_progress.html", job=_fetch(db, user, job_id))


@router.post("/fetches/{job_id}/cancellation")
def cancel(user: Reader, db: Db, job_id: uuid.UUID) -> Response:
    """Ask it to end; what has come stays. Conflict where it is over."""
    holder = _holder(user)
    Job.require(db, job_id, holder, kind=JobKind.FETCH, to_change=True).cancel(db, holder)
    return see_other(f"/fetches/{job_id}")


def _sealed(told: dict[str, str], key: bytes) -> str:
    return base64.urlsafe_b64encode(sealed(told, _ROW, key)).decode("ascii")


def _opened(asked: str, key: bytes) -> tuple[str, ...]:
    """Study, series, instance and PACS of an address of ours.

    Raises:
        BadRequest: it was not made here.
    """
    try:
        told = opened(base64.urlsafe_b64decode(asked), _ROW, key)
    except (Damaged, binascii.Error, ValueError):
        raise BadRequest(
            "This address was not made here, or was cut on the way. Open the study from the PACS "
            "again."
        ) from None
    return tuple(str(told[name]) for name in _NAMES)


def _fetch(session: Session, user: User, job_id: uuid.UUID) -> Job:
    return Job.require(session, job_id, _holder(user), kind=JobKind.FETCH)


def _holder(user: User) -> Holder:
    return Holder(user.id, None, user.name, admin=user.may("admin"))


def _refuse_unfit(study: str, series: str, instance: str) -> None:
    if not study:
        raise BadRequest(
            "The address names no study. It must be such as /launch?study=UID, and may have "
            "&series=UID, &instance=UID and &pacs=NAME."
        )
    for uid, what in ((study, "study"), (series, "series"), (instance, "instance")):
        if uid:
            refuse_unfit_uid(uid, what)
