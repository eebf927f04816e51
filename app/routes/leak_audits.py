"""The leak audit of a reader study: run on the very bytes that readers get, and shown."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Researcher
from app.db import Db, ReadDb
from app.errors import Conflict
from app.models.people.user import User
from app.models.reader_studies.audit import Audited, GivenAway, LeakAudit, given_away, looks_at
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.study import ReaderStudy
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)

MOST_SHOWN = 60
"""Images on one page."""


@router.get("/reader-studies/{study_id}/audit")
def show(request: Request, user: Researcher, db: ReadDb, study_id: uuid.UUID) -> Response:
    """The newest audit; not for someone who still reads the study."""
    study = ReaderStudy.require(db, study_id)
    Enrolment.refuse_audit(db, user, study.id)
    return _audit_page(request, db, user, study)


@router.post("/reader-studies/{study_id}/audit")
def run(request: Request, user: Researcher, look: ReadDb, db: Db, study_id: uuid.UUID) -> Response:
    """Render and audit a draft. Both come first, so that the write lock is held but briefly."""
    draft = ReaderStudy.require(look, study_id)
    draft.refuse_stranger(user)
    Enrolment.refuse_audit(look, user, study_id)
    draft.require_draft()
    pictures = draft.pictures(look, request.app.state.inference.draw)
    Stimulus.told_apart(look, pictures)
    audited = Audited.of(pictures)
    study = ReaderStudy.require(db, study_id, to_change=True)
    audit = study.audit(db, user, pictures, audited)
    counted = audited.record.n
    return see_other(
        f"/reader-studies/{study_id}/audit",
        f"Audited {counted.real} real and {counted.synthetic} synthetic images: {audit.verdict}.",
        "warning" if audit.blocks else "success",
    )


@router.get("/reader-studies/{study_id}/audit/pictures")
def pictures(request: Request, user: Researcher, db: ReadDb, study_id: uuid.UUID) -> Response:
    """The images that the newest audit names, rendered as readers get them, with their truth.

    They are sent within the page, which no cache keeps: none has an address of its own.

    Raises:
        Conflict: the study is open: truth is shown to nobody before the Unblinding.
        Forbidden: to somebody who reads this or another study blind.
    """
    study = ReaderStudy.require(db, study_id)
    Enrolment.refuse_audit(db, user, study.id)
    Enrolment.refuse_synthetics(db, user)
    if study.state == "open":
        raise Conflict(
            "The study is open, and the truth of its images is shown to nobody before the "
            "Unblinding. The audit names them by their SHA-256."
        )
    audit = LeakAudit.latest(db, study.id)
    told = audit.details.coloured() if audit is not None else {}
    shown: list[GivenAway] = []
    if audit is not None and told:
        rendered = study.pictures(db, request.app.state.inference.draw)
        shown = given_away(audit.details, rendered, MOST_SHOWN)
        request.app.state.witness.saw(*looks_at(rendered, shown, user.id))
    return page(request, "reader_studies/audit_pictures.html", study=study, told=told, shown=shown)


def _audit_page(request: Request, session: Session, user: User, study: ReaderStudy) -> Response:
    return page(
        request,
        "reader_studies/audit.html",
        study=study,
        may_change=study.may_be_changed_by(user),
        audit=LeakAudit.latest(session, study.id),
        seconds=request.app.state.inference.rendering_s(session, study),
    )
