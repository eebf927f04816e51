"""Results of a reader study after its Unblinding: the page, its exports, its images."""

from __future__ import annotations

import csv
import io
import uuid

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Researcher
from app.db import ReadDb
from app.models.blob import Blob
from app.models.enrolment import Enrolment
from app.models.reader_study import ReaderStudy
from app.models.results import COLUMNS, Results
from app.models.stimulus import Stimulus
from app.models.user import User
from app.responses import page

router = APIRouter(include_in_schema=False)


@router.get("/reader-studies/{study_id}/results")
def results(request: Request, user: Researcher, db: ReadDb, study_id: uuid.UUID) -> Response:
    found = _results(db, user, study_id)
    return page(request, "reader_studies/results.html", results=found)


@router.get("/reader-studies/{study_id}/results.csv")
def results_csv(request: Request, user: Researcher, db: ReadDb, study_id: uuid.UUID) -> Response:
    found = _results(db, user, study_id)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\r\n")  # RFC 4180
    writer.writeheader()
    writer.writerows(found.rows())
    name = f"reader_study_{study_id}.csv"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
    }
    return Response(stream.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/reader-studies/{study_id}/stimuli/{stimulus_id}.png")
def stimulus(
    request: Request, user: Researcher, db: ReadDb, study_id: uuid.UUID, stimulus_id: uuid.UUID
) -> Response:
    """A picture beside its truth: after Unblinding only."""
    study = ReaderStudy.require(db, study_id)
    study.require_unblinded()
    Enrolment.refuse_synthetics(db, user)
    data = Blob.read(db, Stimulus.require(db, study.id, stimulus_id).pixels_digest)
    return Response(data, media_type="image/png", headers={"cache-control": "no-store"})


def _results(session: Session, user: User, study_id: uuid.UUID) -> Results:
    """The results, but not for someone who reads another study blind: images can be in both."""
    found = Results.of(session, ReaderStudy.require(session, study_id))
    Enrolment.refuse_synthetics(session, user)
    return found
