"""Checkpoints and their cards: what stands behind a score, and which one gives the next."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Reader, Researcher
from app.comparing import Comparing
from app.db import Db, ReadDb
from app.errors import AppError, NotFound, Unreadable
from app.models.checkpoint import SERVE_WORD, Checkpoint
from app.models.people.user import User
from app.models.reader_studies.look import Seen, Shown
from app.responses import KEPT, etag_of, page, see_other, unchanged
from app.witness import Witness
from ml.checkpoints.card.entry import RELIABILITY
from ml.checkpoints.card.exports import FORMS
from ml.checkpoints.checkpoint import CheckpointKind
from ml.ground.errors import HepaticaError

router = APIRouter(include_in_schema=False)


@router.get("/checkpoints")
def index(request: Request, user: Reader, db: ReadDb) -> Response:
    """The classifiers and generators that are served."""
    return page(
        request,
        "checkpoints/index.html",
        classifiers=Checkpoint.served(db, CheckpointKind.CLASSIFIER),
        generators=Checkpoint.served(db, CheckpointKind.GENERATOR),
    )


@router.get("/checkpoints/{name}/promotion")
def consider(request: Request, user: Researcher, db: ReadDb, name: str) -> Response:
    """What it is, what it replaces, and what new lesions will get."""
    return _promotion_page(request, db, user, Checkpoint.require(db, name))


@router.post("/checkpoints/{name}/promotion")
def promote(
    request: Request,
    user: Researcher,
    look: ReadDb,
    db: Db,
    name: str,
    typed: Annotated[str, Form()] = "",
) -> Response:
    """Serve a run's checkpoint from now on: here at once, by other processes within seconds."""
    found = Checkpoint.require(look, name)
    found.refuse_stranger(user)
    if found.kind == CheckpointKind.CLASSIFIER:  # loaded first: one that cannot be is not promoted
        request.app.state.inference.classifier(look, found)
    checkpoint = Checkpoint.require(db, name)
    try:
        checkpoint.promote(db, user.name, typed=typed)
    except Unreadable as refusal:
        return _promotion_page(request, db, user, checkpoint, refusal)
    _ask_again(request, db)
    return see_other(f"/checkpoints/{name}", f"{name} is served from now on.")


@router.post("/checkpoints/{name}/retirement")
def retire(request: Request, user: Researcher, db: Db, name: str) -> Response:
    """Serve it no longer."""
    checkpoint = Checkpoint.require(db, name)
    checkpoint.refuse_stranger(user)
    was_at_work = checkpoint.is_at_work(db)
    checkpoint.retire(db, user.name)
    _ask_again(request, db)
    instead = ""
    if checkpoint.kind == CheckpointKind.CLASSIFIER and was_at_work:
        instead = f" New lesions are scored by {Checkpoint.classifier(db).name}."
    return see_other(f"/checkpoints/{name}", f"{name} is served no longer.{instead}", "info")


@router.get("/checkpoints/{name}")
def show(request: Request, user: Reader, db: ReadDb, name: str) -> Response:
    """One checkpoint: its card, what speaks against it, and whether it is at work."""
    checkpoint = Checkpoint.require(db, name)
    try:
        card = checkpoint.made_card(db)
    except HepaticaError as error:  # of a version that this one does not know
        return page(request, "checkpoints/foreign.html", checkpoint=checkpoint, why=str(error))
    return page(
        request,
        "checkpoints/show.html",
        checkpoint=checkpoint,
        card=card,
        reliability=RELIABILITY,
        kept=checkpoint.file.lesions,
        forms=FORMS,
        at_work=checkpoint.is_at_work(db),
        caveats=checkpoint.caveats,
        may_change=checkpoint.may_be_changed_by(user),
    )


@router.get("/checkpoints/{name}/mistakes")
def mistakes(request: Request, user: Reader, db: ReadDb, name: str) -> Response:
    """The lesions of its data set that a classifier got wrong, with pictures.

    What is shown of this installation is written down as seen before it leaves.

    Raises:
        NotFound: no such checkpoint, or one that names no class.
    """
    checkpoint = Checkpoint.require(db, name)
    if checkpoint.kind != CheckpointKind.CLASSIFIER:
        raise NotFound(f"{checkpoint.name} draws lesions and names no class of any.")
    comparing: Comparing = request.app.state.comparing
    first = request.app.state.settings.review_first
    found = comparing.mistakes(db, user, checkpoint, review_first=first)
    witness: Witness = request.app.state.witness
    witness.saw(*(Seen(user.id, Shown.LESION, one) for one in found.seen))
    return page(request, "checkpoints/mistakes.html", checkpoint=checkpoint, found=found)


@router.get("/checkpoints/{name}/lesions/{lesion_id}.png")
def training_lesion(
    request: Request, user: Reader, db: ReadDb, name: str, lesion_id: str
) -> Response:
    """The picture of a simulated lesion of its data set, 64 × 64 at its window.

    Raises:
        NotFound: it keeps no such picture.
        Forbidden: a blinded reading of this person is under way.
    """
    checkpoint = Checkpoint.require(db, name)
    comparing: Comparing = request.app.state.comparing
    png = comparing.picture(db, user, checkpoint, lesion_id)
    etag = etag_of("training lesion", checkpoint.id, lesion_id)
    held = unchanged(request, etag)
    if held is not None:
        return held
    return Response(png, media_type="image/png", headers={**KEPT, "etag": etag})


def _promotion_page(
    request: Request,
    session: Session,
    user: User,
    checkpoint: Checkpoint,
    refusal: AppError | None = None,
) -> Response:
    return page(
        request,
        "checkpoints/promotion.html",
        refusal.status if refusal else 200,
        checkpoint=checkpoint,
        standing=checkpoint.standing,
        caveats=checkpoint.caveats,
        replaced=checkpoint.replaced(session),
        at_work=checkpoint.is_at_work(session),
        may_change=checkpoint.may_be_changed_by(user),
        word=SERVE_WORD,
        error=refusal.detail if refusal else "",
    )


def _ask_again(request: Request, db: Session) -> None:
    """Let this process ask which classifier is served as soon as the change is committed."""
    forget = request.app.state.served.forget
    sa.event.listen(db, "after_commit", lambda _session: forget(), once=True)
