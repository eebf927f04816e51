"""Putting right what was said wrongly of a case at its upload."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, Response

from app.auth import Reader
from app.db import Db
from app.models.cases.case import Case
from app.models.correction import correct_phase, of_same_patient, rename
from app.models.reader_studies.enrolment import Enrolment
from app.responses import see_other, wants_json

router = APIRouter(include_in_schema=False)


@router.post("/cases/{case_id}/phase")
def phase(
    request: Request,
    user: Reader,
    db: Db,
    case_id: uuid.UUID,
    contrast_phase: Annotated[str, Form()] = "",
    before: Annotated[str, Form()] = "",
) -> Response:
    """Correct the contrast phase; the warnings of the case follow it (``phase_warning``)."""
    case = Case.require(db, case_id)
    Enrolment.refuse_case(db, user, case.id)
    correct_phase(db, case, user, before=before, after=contrast_phase)
    if wants_json(request):  # the line of an upload, which stays
        told = {"contrast_phase": case.contrast_phase, "phase_warning": case.phase_warning}
        return JSONResponse(told)
    return see_other(
        f"/cases/{case.id}",
        f"The contrast phase was corrected from {before} to {case.contrast_phase}. Scores that "
        "were given before keep the warning of their time.",
    )


@router.post("/cases/{case_id}/pseudonym")
def pseudonym(
    user: Reader, db: Db, case_id: uuid.UUID, pseudonym: Annotated[str, Form()] = ""
) -> Response:
    """Give the case another pseudonym."""
    case = Case.require(db, case_id)
    Enrolment.refuse_case(db, user, case.id)
    rename(db, case, user, pseudonym)
    others = of_same_patient(db, case)
    cases = "1 other case" if others == 1 else f"{others} other cases"
    more = f" {cases} of the same patient here keep their own." if others else ""
    return see_other(f"/cases/{case.id}", f"The case is called {case.pseudonym} now.{more}")
