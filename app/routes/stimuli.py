"""The picture of a trial: one encoder, one size, a token per reader, kept by no cache."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import ReadDb
from app.models.reader_studies.desk import trial_pixels
from ml.readers.pairs import Side

router = APIRouter(include_in_schema=False)


@router.get("/pixels/{token}")
def show(request: Request, user: Reader, db: ReadDb, token: str) -> Response:
    """The picture of a trial that shows one, as 8-bit grey PNG; when it was first sent is kept.

    Raises:
        NotFound: no such trial of this reader's, or not one to be seen now.
    """
    return _picture(request, trial_pixels(db, token, user))


@router.get("/pixels/{token}/{side}")
def show_side(request: Request, user: Reader, db: ReadDb, token: str, side: Side) -> Response:
    """One picture of a pair, left or right as the reader sees it.

    Raises:
        NotFound: no such pair of this reader's, or not one to be seen now.
    """
    return _picture(request, trial_pixels(db, token, user, side))


def _picture(request: Request, found: tuple[uuid.UUID, bytes]) -> Response:
    trial_id, data = found
    request.app.state.witness.sent(trial_id)
    return Response(data, media_type="image/png", headers={"cache-control": "no-store"})
