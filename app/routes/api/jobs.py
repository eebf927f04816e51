"""``/api/v1/jobs``: what was asked for and is done later; each is seen by who asked for it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app import rooted
from app.auth import Machine, Program
from app.db import Database, Db, ReadDb
from app.errors import Conflict, Unreadable
from app.jobs import rendering
from app.jobs.answers import Answer, answers_of
from app.jobs.items import Item, asked_of
from app.media import JSON, Offer, chosen
from app.models.checkpoint import Checkpoint
from app.models.jobs.job import Job, JobKind, JobState
from app.models.jobs.notice import Notice
from app.models.reader_studies.enrolment import Enrolment
from app.objects.related import DICOM
from app.routes.api.once import Pledge
from app.routes.api.problems import problems, refuse_query, refuse_unread
from app.watch import Watch

router = APIRouter(tags=["jobs"])

ASYNC = "respond-async"
PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async`: the answer is a job (RFC 7240).",
    "schema": {"type": "string"},
}
"""For a route's description."""
_OFFERS = (Offer(JSON), Offer(DICOM), Offer(rendering.PNG))


class JobAnswer(BaseModel):
    """Where a job stands, and what came of it."""

    id: str
    kind: str
    state: str = Field(description="queued, running, done, failed or cancelled.")
    done: int = Field(description="How many of its parts are done.")
    total: int
    created_at: str
    ended_at: str | None
    error: str | None = Field(description="Why it failed, in words.")
    notice: str | None = Field(description="Of its end, to a hook: waiting, sent or given up.")
    result: dict[str, Any] | None = Field(description="What it found, once it is done.")


class JobList(BaseModel):
    """Jobs, the newest first, without their results."""

    jobs: list[JobAnswer]


@router.get("/jobs", summary="List jobs")
def index(
    request: Request,
    program: Program,
    db: ReadDb,
    state: Annotated[JobState | None, Query(description="Only those in this state.")] = None,
) -> JobList:
    """The newest hundred of yours; an administrator's token sees everybody's."""
    refuse_unread(request, "state")
    jobs = Job.of(db, program.holder, state)
    notices = Notice.of_all(db, [job.id for job in jobs])
    return JobList(jobs=[JobAnswer(**told(job, notices.get(job.id))) for job in jobs])


@router.get(
    "/jobs/{job_id}",
    summary="Ask after a job",
    response_model=JobAnswer,
    responses={200: {"content": {one.kind: {} for one in _OFFERS[1:]}}, **problems(406, 409)},
)
def show(request: Request, program: Program, db: ReadDb, job_id: uuid.UUID) -> Response:
    """State, progress, and once it is done the result, which is kept for a set time.

    `Accept: application/dicom` or `image/png` gives the result itself in that form, where its
    images are held here; before the end it is refused with 409.
    """
    refuse_query(request)
    offer = chosen(request, _OFFERS)
    job = Job.require(db, job_id, program.holder)
    if job.result is not None:
        refuse_blind(request.app.state.watch, db, program.owner_id, job.cases)
    if offer.kind == JSON:
        headers = {} if job.is_over else {"retry-after": "1"}
        body = told(job, Notice.of(db, job.id)) | {"result": _result(request, job)}
        return JSONResponse(body, headers=headers)
    if job.result is None or job.checkpoint is None or job.ended_at is None:
        raise Conflict(f"The job is {job.state}, so there is no {offer.kind} of it.")
    answers = answers_of(job.result)
    return rendered(request, db, answers, job.checkpoint, job.ended_at, offer)


@router.post("/jobs/{job_id}/cancellation", summary="Cancel a job", responses=problems(409))
def cancel(request: Request, program: Program, db: Db, job_id: uuid.UUID) -> JobAnswer:
    """One that waits ends at once, one that runs at its next step."""
    refuse_query(request)
    job = Job.require(db, job_id, program.holder, to_change=True)
    job.cancel(db, program.holder)
    return JobAnswer(**told(job, Notice.of(db, job.id)))


def told(job: Job, notice: Notice | None = None) -> dict[str, Any]:
    """A job as JSON, without its result."""
    return {
        "id": str(job.id),
        "kind": job.kind.value,
        "state": job.state.value,
        "done": job.done,
        "total": job.total,
        "created_at": job.created_at.isoformat(),
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
        "error": job.error,
        "notice": notice.state.value if notice else None,
        "result": None,
    }


def _result(request: Request, job: Job) -> dict[str, Any] | None:
    """The result of a job; where it leads to a page, as that is asked for from outside."""
    if job.result is None or "url" not in job.result:
        return job.result
    return job.result | {"url": rooted.at(request.scope, job.result["url"])}


@dataclass(frozen=True)
class Sending:
    """How an answer is wanted: now or as a job, and who is told the end of that.

    Attributes:
        preferred: whether the client asked for a job.
        asynchronous: whether it gets one.
        hook: name of a configured hook.
    """

    preferred: bool
    asynchronous: bool
    hook: str | None

    @classmethod
    def of(cls, request: Request, hook: str | None, *, batch: bool) -> Sending:
        """What a request wants.

        Raises:
            Unreadable: a hook without a job, or one that is not configured.
        """
        preferred = prefers_async(request)
        if hook and not (preferred or batch):
            raise Unreadable(
                "A hook is told the end of a job, and this call is answered at once. Send "
                "`Prefer: respond-async`, or leave hook out."
            )
        if hook and hook not in request.app.state.hooks:
            raise Unreadable(
                f"No hook named {hook[:60]!r} is configured. An administrator names its address in "
                "HEPATICA_HOOKS_FILE; an address that comes with a call is never asked."
            )
        return cls(preferred, preferred or batch, hook or None)


def queued(
    request: Request,
    program: Machine,
    checkpoint_id: uuid.UUID,
    items: Sequence[Item],
    sent: Sending,
    pledge: Pledge,
) -> Response:
    """Queue a classification; 202 with where it is asked after, kept under the call's key."""
    asked, kind = asked_of(items), JobKind.CLASSIFICATION
    response = queued_job(request, program, kind, asked, len(items), checkpoint_id, sent, pledge)
    request.app.state.clerk.ring()
    return response


def queued_job(
    request: Request,
    program: Machine,
    kind: JobKind,
    asked: dict[str, Any],
    total: int,
    checkpoint_id: uuid.UUID,
    sent: Sending,
    pledge: Pledge,
) -> Response:
    """Queue any job that ends in a classification; as `queued`."""
    database: Database = request.app.state.database
    with database.transaction() as session:
        job = Job.queue(
            session,
            program.holder,
            kind,
            asked,
            total=total,
            checkpoint=session.get_one(Checkpoint, checkpoint_id),
        )
        if sent.hook:
            Notice.order(session, job, sent.hook)
        headers = {"location": job.address, "retry-after": "1"}
        if sent.preferred:
            headers["preference-applied"] = ASYNC
        response = JSONResponse(told(job, Notice.of(session, job.id)), 202, headers)
        pledge.keep(session, response)
    return response


def rendered(
    request: Request,
    session: Session,
    answers: Sequence[Answer],
    checkpoint: Checkpoint,
    at: datetime,
    offer: Offer,
) -> Response:
    """Answers about images that are held here as a report or a picture.

    Raises:
        NotAcceptable, Unreadable: as `app.jobs.rendering`.
    """
    if offer.kind == rendering.PNG:
        return Response(rendering.picture(session, answers, checkpoint, at), media_type=offer.kind)
    made = rendering.report(session, answers, checkpoint, at, request.app.state.key)
    name = 'attachment; filename="hepatica-sr.dcm"'
    return Response(made, media_type=offer.kind, headers={"content-disposition": name})


def prefers_async(request: Request) -> bool:
    """Whether the client would rather not wait (RFC 7240 4.1); other preferences are passed over.

    How long it would wait is passed over too: that is not promised.
    """
    preferences = ",".join(request.headers.getlist("prefer"))
    names = (re.split(r"[=;]", one, maxsplit=1)[0] for one in preferences.split(","))
    return any(name.strip().lower() == ASYNC for name in names)


def refuse_blind(
    watch: Watch, db: Session, owner_id: uuid.UUID | None, cases: Collection[uuid.UUID]
) -> None:
    """What the network found is shown to nobody who has come to read blind meanwhile.

    Args:
        cases: of what is shown.

    Raises:
        Forbidden
    """
    watch.refuse(owner_id)
    for case in sorted(cases):
        Enrolment.refuse_case_to(db, owner_id, case)
