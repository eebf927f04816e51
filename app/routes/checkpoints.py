"""Checkpoints and their cards: what stands behind a score."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Reader, Researcher
from app.db import Db, ReadDb
from app.models.checkpoint import Checkpoint
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)


@router.get("/checkpoints")
def index(request: Request, user: Reader, db: ReadDb) -> Response:
    return page(
        request,
        "checkpoints/index.html",
        classifiers=Checkpoint.served(db, "classifier"),
        generators=Checkpoint.served(db, "generator"),
    )


@router.post("/checkpoints/{name}/promotion")
def promote(request: Request, user: Researcher, db: Db, name: str) -> Response:
    """Serve a run's checkpoint from now on."""
    checkpoint = Checkpoint.require(db, name)
    checkpoint.promote(db, user.name)
    if checkpoint.kind == "classifier":
        request.app.state.served = request.app.state.inference.served(db, checkpoint)
    return see_other(f"/checkpoints/{name}", f"{name} is served from now on.")


@router.post("/checkpoints/{name}/retirement")
def retire(request: Request, user: Researcher, db: Db, name: str) -> Response:
    """Serve it no longer."""
    Checkpoint.require(db, name).retire(db, user.name)
    request.app.state.served = request.app.state.inference.served(db, Checkpoint.classifier(db))
    return see_other(f"/checkpoints/{name}", f"{name} is served no longer.", "info")


@router.get("/checkpoints/{name}")
def show(request: Request, user: Reader, db: ReadDb, name: str) -> Response:
    checkpoint = Checkpoint.require(db, name)
    return page(request, "checkpoints/show.html", checkpoint=checkpoint)
