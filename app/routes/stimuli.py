"""The picture of a trial: one encoder, one size, a token per reader, kept by no cache."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import ReadDb
from app.models.reader_studies.desk import trial_pixels

router = APIRouter(include_in_schema=False)


@router.get("/pixels/{token}")
def show(request: Request, user: Reader, db: ReadDb, token: str) -> Response:
    """The picture of a trial as 8-bit grey PNG; when it was first sent is written down.

    Raises:
        NotFound: no such trial of this reader's, or not one to be seen now.
    """
    trial_id, data = trial_pixels(db, token, user)
    request.app.state.witness.sent(trial_id)
    return Response(data, media_type="image/png", headers={"cache-control": "no-store"})
