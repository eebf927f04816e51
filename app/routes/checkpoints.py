"""Checkpoints and their cards: what stands behind a score."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
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
def promote(request: Request, user: Researcher, look: ReadDb, db: Db, name: str) -> Response:
    """Serve a run's checkpoint from now on: here at once, by other processes within seconds."""
    found = Checkpoint.require(look, name)
    found.refuse_stranger(user)
    if found.kind == "classifier":  # loaded first: one that cannot be is not promoted
        request.app.state.inference.classifier(look, found)
    Checkpoint.require(db, name).promote(db, user.name)
    _ask_again(request, db)
    return see_other(f"/checkpoints/{name}", f"{name} is served from now on.")


@router.post("/checkpoints/{name}/retirement")
def retire(request: Request, user: Researcher, db: Db, name: str) -> Response:
    """Serve it no longer."""
    checkpoint = Checkpoint.require(db, name)
    checkpoint.refuse_stranger(user)
    checkpoint.retire(db, user.name)
    _ask_again(request, db)
    return see_other(f"/checkpoints/{name}", f"{name} is served no longer.", "info")


@router.get("/checkpoints/{name}")
def show(request: Request, user: Reader, db: ReadDb, name: str) -> Response:
    checkpoint = Checkpoint.require(db, name)
    may_change = checkpoint.may_be_changed_by(user)
    return page(request, "checkpoints/show.html", checkpoint=checkpoint, may_change=may_change)


def _ask_again(request: Request, db: Session) -> None:
    """Let this process ask which classifier is served as soon as the change is committed."""
    forget = request.app.state.served.forget
    sa.event.listen(db, "after_commit", lambda _session: forget(), once=True)
