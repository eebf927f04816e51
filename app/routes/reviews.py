"""A radiologist's own class for a lesion."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import Db
from app.models.checkpoint import Checkpoint
from app.models.enrolment import Enrolment
from app.models.lesion import Lesion
from app.models.review import Review
from app.responses import see_other, wants_fragment
from app.views import covered_for, panel

router = APIRouter(include_in_schema=False)


@router.post("/lesions/{lesion_id}/reviews")
def create(
    request: Request,
    user: Reader,
    db: Db,
    lesion_id: uuid.UUID,
    lesion_class: Annotated[str, Form()],
    confidence: Annotated[int, Form()],
    basis: Annotated[str, Form()],
    note: Annotated[str, Form()] = "",
) -> Response:
    """Give a class; the score is uncovered by it, and the Review says whether it was before."""
    lesion = Lesion.require(db, lesion_id)
    Enrolment.refuse_case(db, user, lesion.case_id)
    scheme = Checkpoint.scheme_for_review(db)
    Review.give(
        db,
        lesion,
        user,
        scheme,
        lesion_class=lesion_class,
        confidence=confidence,
        basis=basis,
        note=note,
        score_visible=not covered_for(request, db, user, lesion),
    )
    if not wants_fragment(request):
        return see_other(f"/cases/{lesion.case_id}?lesion={lesion.id}", "Your class is recorded.")
    return panel(request, db, user, lesion, 201)
