"""``GET /api/v1/models/{name}/card``: the card of a checkpoint, in four forms."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.auth import Program
from app.db import ReadDb
from app.models.checkpoint import Checkpoint
from app.routes.api.problems import refuse_unread
from ml.checkpoints.card import exports
from ml.checkpoints.card.exports import FORMS, Format

router = APIRouter(tags=["info"])


@router.get(
    "/models/{name}/card",
    summary="The card of a checkpoint",
    responses={
        200: {
            "description": "Markdown, JSON with keys that stay, CHAI Applied Model Card (XML, "
            "v0.2), or the items of CLAIM 2024, TRIPOD+AI and STARD-AI (Markdown).",
            "content": {
                "text/markdown": {},
                "application/json": {},
                "application/xml": {},
            },
        }
    },
)
def model_card(
    request: Request,
    program: Program,
    db: ReadDb,
    name: str,
    format: Annotated[
        Format, Query(description="markdown, json, chai-xml or checklist.")
    ] = Format.MARKDOWN,
) -> Response:
    """Forty fields; one that is empty says why. `source` tells who says a sentence."""
    refuse_unread(request, "format")
    row = Checkpoint.require(db, name)
    form = FORMS[format]
    return Response(exports.written(row.made_card(db), format), media_type=form.media_type)
