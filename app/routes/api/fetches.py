"""``POST /api/v1/fetches``: images by reference, from a PACS that is configured here."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from app.auth import Program
from app.db import Database
from app.errors import Unreadable
from app.jobs.fetching import Wanted
from app.models.cases.case import PHASES, PSEUDONYM
from app.models.jobs.job import Job, JobKind
from app.models.jobs.notice import Notice
from app.pacs.client import refuse_unfit_uid
from app.pacs.configured import ConfiguredPacs
from app.routes.api.jobs import JobAnswer, told
from app.routes.api.once import PARAMETER, Pledge, once
from app.routes.api.problems import problems, refuse_query

router = APIRouter(tags=["fetches"])


class FetchOrder(BaseModel):
    """What is to be fetched: all of a study, of a series, or one instance."""

    model_config = ConfigDict(extra="forbid")

    pacs: str = Field(
        "", max_length=40, description="Name of a configured PACS; the first one without."
    )
    study: str = Field(max_length=64, description="Study Instance UID.")
    series: str = Field("", max_length=64, description="Series Instance UID.")
    instance: str = Field("", max_length=64, description="SOP Instance UID.")
    contrast_phase: str = Field("unknown", max_length=10, description="Of all that comes.")
    pseudonym: str = Field(
        "", max_length=40, description="What to call a patient whom the images do not name."
    )
    hook: str | None = Field(
        None, max_length=60, description="A configured hook that is told the end of the job."
    )

    def wanted(self, configured: ConfiguredPacs) -> Wanted:
        """What it asks for.

        Raises:
            NotFound: no such PACS is configured.
            BadRequest: what stands for a UID is none.
            Unreadable: no such contrast phase, or no pseudonym.
        """
        for what in ("study", "series", "instance"):
            if what == "study" or getattr(self, what):
                refuse_unfit_uid(getattr(self, what), what)
        if self.contrast_phase not in PHASES:
            raise Unreadable(f"contrast_phase can be {', '.join(PHASES)}.")
        if self.pseudonym and not PSEUDONYM.fullmatch(self.pseudonym.strip()):
            raise Unreadable(
                "The pseudonym may have 1 to 40 letters, digits, spaces and . : + - _ ."
            )
        return Wanted(
            configured.named(self.pacs).name,
            self.study,
            self.series,
            self.instance,
            open_series=self.series,
            open_instance=self.instance,
            contrast_phase=self.contrast_phase,
            pseudonym=self.pseudonym.strip(),
        )


@router.post(
    "/fetches",
    summary="Fetch images from a PACS",
    status_code=202,
    response_model=JobAnswer,
    responses={
        202: {
            "headers": {
                "Location": {
                    "description": "Where the job is asked after.",
                    "schema": {"type": "string"},
                }
            }
        },
        **problems(409, 413),
    },
    openapi_extra={"parameters": [PARAMETER]},
)
async def create(request: Request, program: Program, order: FetchOrder) -> Response:
    """Fetch a study, a series or an instance, as if it were uploaded; the answer is a job.

    Only a PACS that an administrator configured is asked, by its name; an address is never taken
    from a call. The job's result says which case the images are in, and what could not be used and
    why. UIDs are kept encrypted, and only until the job is over.
    """
    refuse_query(request)
    state = request.app.state
    wanted = order.wanted(state.pacs)
    if order.hook and order.hook not in state.hooks:
        raise Unreadable(
            f"No hook named {order.hook!r} is configured. An administrator names its address in "
            "HEPATICA_HOOKS_FILE; an address that comes with a call is never asked."
        )

    def queue(pledge: Pledge) -> Response:
        database: Database = state.database
        with database.transaction() as session:
            asked = wanted.asked(state.key)
            job = Job.queue(session, program.holder, JobKind.FETCH, asked, total=0)
            if order.hook:
                Notice.order(session, job, order.hook)
            headers = {"location": job.address, "retry-after": "1"}
            response = JSONResponse(told(job, Notice.of(session, job.id)), 202, headers)
            pledge.keep(session, response)
        state.fetcher.ring()
        return response

    async def act(pledge: Pledge) -> Response:
        return await run_in_threadpool(queue, pledge)

    said = json.dumps(order.model_dump(), sort_keys=True).encode()
    return await once(request, program, lambda: [said], act)
