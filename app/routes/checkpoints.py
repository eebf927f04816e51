"""Checkpoints and their cards: what stands behind a score."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import ReadDb
from app.models.checkpoint import Checkpoint
from app.responses import page

router = APIRouter(include_in_schema=False)


@router.get("/checkpoints")
def index(request: Request, user: Reader, db: ReadDb) -> Response:
    return page(
        request,
        "checkpoints/index.html",
        classifiers=Checkpoint.served(db, "classifier"),
        generators=Checkpoint.served(db, "generator"),
    )


@router.get("/checkpoints/{name}")
def show(request: Request, user: Reader, db: ReadDb, name: str) -> Response:
    checkpoint = Checkpoint.require(db, name)
    return page(request, "checkpoints/show.html", checkpoint=checkpoint)
