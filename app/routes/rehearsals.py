"""Rehearsal of a reader study: what its design would give, by simulated readers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from app.auth import Researcher
from app.db import ReadDb
from app.errors import Unreadable
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.rehearsal import STUDIES, AnyRehearsal, Asked
from app.models.reader_studies.study import ReaderStudy
from app.responses import AS_IT_COMES, page, render

router = APIRouter(include_in_schema=False)

_LINES = "application/x-ndjson"


@router.get("/reader-studies/{study_id}/rehearsal")
def rehearsal(
    request: Request,
    user: Researcher,
    db: ReadDb,
    study_id: uuid.UUID,
    readers: Annotated[int, Query()] = 3,
    studies: Annotated[int, Query()] = STUDIES,
    area: Annotated[float, Query()] = 0.5,
    seed: Annotated[int, Query()] = 0,
    real_right: Annotated[float, Query()] = 0.7,
    synthetic_right: Annotated[float, Query()] = 0.7,
    run: Annotated[bool, Query()] = False,
) -> Response:
    """The form; with ``run`` the outcome too. A script gets a line per simulated study."""
    study = ReaderStudy.require(db, study_id)
    Enrolment.refuse_synthetics(db, user)  # how many are synthetic shows in the outcome
    asked = Asked(readers, studies, area, seed, real_right, synthetic_right)
    if _LINES in request.headers.get("accept", ""):
        lines = _lines(request, asked.rehearsal(study))
        return StreamingResponse(lines, media_type=_LINES, headers=AS_IT_COMES)
    outcome, error = None, ""
    if run:
        try:
            ready = asked.rehearsal(study)
            for _ in ready.run():
                pass
            outcome = ready.outcome()
        except Unreadable as refusal:
            error = refusal.detail
    return page(
        request, "rehearsals/show.html", 422 if error else 200,
        study=study, asked=asked, outcome=outcome, error=error,
    )  # fmt: skip


def _lines(request: Request, ready: AnyRehearsal) -> Iterator[str]:
    for progress in ready.run():
        yield json.dumps({"done": progress.done, "total": progress.total}) + "\n"
    html = render(request, "rehearsals/_outcome.html", {"outcome": ready.outcome()})
    yield json.dumps({"html": html}) + "\n"
