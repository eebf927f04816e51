"""A radiologist's own class for a lesion."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import Db
from app.errors import Conflict
from app.models.cases.lesion import Lesion
from app.models.cases.review import Review
from app.models.cases.slip import Slip
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.enrolment import Enrolment
from app.presenters import Standing, panel, said_of
from app.responses import see_other, wants_fragment

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Answer:
    """What a reviewer says of a lesion, and ``after``: the id of their own review that the page
    showed when they said it ("" where they had given none)."""

    lesion_class: str
    confidence: int
    basis: str
    note: str
    after: str

    def is_stored(self, current: Review | None) -> bool:
        """Whether this very answer was taken already and only our reply to it was lost.

        Raises:
            Conflict: another class of theirs has been stored since the page showed it.
        """
        if current is None or self.after == str(current.id):
            return False
        again = (self.lesion_class, self.confidence, self.basis, self.note.strip())
        stored = (current.lesion_class, current.confidence, current.basis, current.note)
        if again == stored and self.after == str(current.supersedes_id or ""):
            return True
        raise Conflict(
            "A class of yours for this lesion is stored that this page does not show: given in "
            "another window, or by a try whose answer was lost. This one was not saved. Load the "
            "lesion again and look at it first."
        )


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
    lesion: Annotated[str, Form()] = "",
    number: Annotated[str, Form()] = "",
    person: Annotated[str, Form()] = "",
    after: Annotated[str, Form()] = "",
) -> Response:
    """Give a class; the score is uncovered by it, and the Review says whether it was before."""
    standing = Lesion.require(db, lesion_id, hold=True)
    Enrolment.refuse_case(db, user, standing.case_id)
    Slip(lesion, number, person).check(standing, user)
    answer = Answer(lesion_class, confidence, basis, note, after)
    scheme = Checkpoint.scheme_for_review(db)
    if not answer.is_stored(Review.current(db, standing.id, user.id)):
        Review.give(
            db,
            standing,
            user,
            scheme,
            lesion_class=lesion_class,
            confidence=confidence,
            basis=basis,
            note=note,
            score_visible=Standing.is_score_known(request, db, user, standing),
        )
    said = f"Saved for lesion {standing.number}: {said_of(scheme, lesion_class, confidence)}."
    if not wants_fragment(request):
        return see_other(f"/cases/{standing.case_id}?lesion={standing.id}", said)
    return panel(request, db, user, standing, 201)
