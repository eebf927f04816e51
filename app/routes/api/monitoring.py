"""``GET /api/v1/models/{name}/monitoring``: a classifier in use, for tools that watch."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.auth import Program
from app.db import Db, ReadDb
from app.errors import Forbidden, NotFound
from app.models.monitoring import scope
from app.models.monitoring.local import Standard
from app.models.monitoring.monitoring import Monitoring
from app.models.reader_studies.enrolment import Enrolment
from app.routes.api.problems import refuse_unread
from ml.images.ct_slice import ImageKind

router = APIRouter(tags=["info"])


@router.get(
    "/models/{name}/monitoring",
    summary="A classifier in use",
    responses={
        200: {
            "description": "What the page /monitoring shows, as JSON: every figure with its "
            "interval and n, or why there is none.",
            "content": {"application/json": {}},
        }
    },
)
def watched(
    request: Request,
    program: Program,
    look: ReadDb,
    db: Db,
    name: str,
    kind: Annotated[
        ImageKind | None,
        Query(description="calibrated, uncalibrated or phantom; by default that of patients."),
    ] = None,
    standard: Annotated[
        Standard,
        Query(description="confirmed: classes by pathology or follow-up; any: by imaging too."),
    ] = Standard.CONFIRMED,
    measured: Annotated[
        bool, Query(description="Compare measurements of pixels too, which takes seconds.")
    ] = False,
) -> Response:
    """Lesions by month, agreement with radiologists, a local test, drift of inputs.

    Needs a token with the reach of a researcher. Cases are left out that a blinded reading of whom
    the token acts for could be about; of a token that is nobody's, those of anybody's.
    """
    refuse_unread(request, "kind", "standard", "measured")
    if not program.may("researcher"):
        raise Forbidden("Monitoring needs a token with the reach of a researcher.")
    closed = Enrolment.closed_to(look, program.owner_id)
    chosen = scope.chosen(look, closed, scope.scored(look, closed), name, kind)
    if chosen is None:
        raise NotFound("There is no such checkpoint.")
    found = Monitoring.of(look, chosen, standard, measure=measured)
    found.record_export(db, program.actor, chosen, "json")
    return Response(found.written(), media_type="application/json")
