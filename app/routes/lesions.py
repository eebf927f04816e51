"""Marking lesions on images."""

from __future__ import annotations

import math
import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import Db, ReadDb
from app.errors import Forbidden, Unreadable
from app.models.case import Image
from app.models.checkpoint import Checkpoint
from app.models.enrolment import Enrolment
from app.models.lesion import Lesion
from app.responses import see_other, wants_fragment
from app.views import panel
from ml.roi import Box

router = APIRouter(include_in_schema=False)

Pixels = Annotated[float, Form()]


@router.post("/images/{image_id}/lesions")
def create(
    request: Request,
    user: Reader,
    db: Db,
    image_id: uuid.UUID,
    x: Pixels,
    y: Pixels,
    width: Pixels,
    height: Pixels,
) -> Response:
    """Mark a lesion by its box (slice pixels); it is scored at once."""
    if not all(math.isfinite(value) for value in (x, y, width, height)):
        raise Unreadable("The box must be four numbers: x, y, width, height in pixels.")
    image = Image.require(db, image_id)
    Enrolment.refuse_case(db, user, image.series.case_id)
    lesion = Lesion.mark(db, image, Box(x, y, width, height), user)
    for checkpoint in Checkpoint.served(db, "classifier")[-1:]:  # none served: marked, unscored
        request.app.state.inference.classify(db, lesion, checkpoint)
    return _panel(request, user, db, lesion, 201)


@router.get("/lesions/{lesion_id}")
def show(request: Request, user: Reader, db: ReadDb, lesion_id: uuid.UUID) -> Response:
    lesion = Lesion.require(db, lesion_id)
    Enrolment.refuse_case(db, user, lesion.case_id)
    return _panel(request, user, db, lesion, 200)


@router.post("/lesions/{lesion_id}/withdrawal")
def withdraw(request: Request, user: Reader, db: Db, lesion_id: uuid.UUID) -> Response:
    """Take a lesion back: the person who marked it, or an administrator."""
    lesion = Lesion.require(db, lesion_id)
    Enrolment.refuse_case(db, user, lesion.case_id)
    if lesion.marked_by_id != user.id and not user.may("admin"):
        raise Forbidden(
            "Only the person who marked the lesion, or an administrator, can withdraw it."
        )
    lesion.withdraw(db, user)
    if wants_fragment(request):
        return Response(status_code=204)
    return see_other(f"/cases/{lesion.case_id}", f"Lesion {lesion.number} was withdrawn.")


def _panel(request: Request, user: Reader, db: ReadDb, lesion: Lesion, status: int) -> Response:
    if not wants_fragment(request):
        return see_other(f"/cases/{lesion.case_id}?lesion={lesion.id}")
    return panel(request, db, user, lesion, status)
