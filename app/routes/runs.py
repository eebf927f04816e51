"""Runs: asking for an experiment, watching it, cancelling it, reading its report."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Admin, Researcher
from app.db import Db, ReadDb
from app.errors import Damaged, Forbidden
from app.models.checkpoint import Checkpoint
from app.models.ground.event import Event
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Seen, Shown
from app.models.runs.dataset import DatasetVersion
from app.models.runs.run import EXPERIMENTS, ReportInside, Run, RunState, WorkerSign
from app.responses import SECURITY_HEADERS, fragment, page, see_other

router = APIRouter(include_in_schema=False)

# alone, the report is a page with its own styles and no script
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
)
_POLICY = "content-security-policy"


@router.get("/runs")
def index(request: Request, user: Researcher, db: ReadDb) -> Response:
    """All runs, whether a worker is there to take one, and the form for another."""
    return page(
        request,
        "runs/index.html",
        runs=Run.all(db),
        datasets=DatasetVersion.all(db),
        presets=EXPERIMENTS,
        workers=WorkerSign.living(db),
    )


@router.post("/runs")
def create(
    request: Request,
    user: Researcher,
    db: Db,
    dataset: Annotated[uuid.UUID, Form()],
    preset: Annotated[str, Form()],
    seeds: Annotated[int, Form()] = 1,
) -> Response:
    """Queue a run on a frozen version; a worker takes it.

    Raises:
        NotFound: no such dataset version.
        Unreadable: an unknown preset, or seeds out of range.
    """
    run = Run.queue(db, user, DatasetVersion.require(db, dataset), preset, seeds)
    return see_other(f"/runs/{run.id}", "The run is queued.")


@router.get("/runs/{run_id}")
def show(request: Request, user: Researcher, db: ReadDb, run_id: uuid.UUID) -> Response:
    """One run: its progress, its checkpoints and its report, and to whom it could be given."""
    run = Run.require(db, run_id)
    report, why_not = None, ""
    if run.state is RunState.DONE:
        try:
            report = ReportInside.of(_report(request, db, user, run))
        except (Forbidden, Damaged) as refusal:
            why_not = refusal.detail
    response = page(
        request,
        "runs/show.html",
        run=run,
        lines=run.tail(db),
        preset_words=EXPERIMENTS[run.preset],
        workers=WorkerSign.living(db),
        checkpoints=Checkpoint.of_stem(db, run.short_name),
        may_change=run.may_be_changed_by(user),
        heirs=[
            item.name
            for item in User.everyone(db)
            if item.may("researcher") and item.disabled_at is None and item.id != run.owner_id
        ],
        report=report,
        why_not=why_not,
    )
    if report is not None:
        own = f"style-src 'self' {report.source}"
        response.headers[_POLICY] = SECURITY_HEADERS[_POLICY].replace("style-src 'self'", own)
    return response


@router.get("/runs/{run_id}/progress")
def progress(request: Request, user: Researcher, db: ReadDb, run_id: uuid.UUID) -> Response:
    """The piece of the page that changes; it asks for itself again while the run is alive."""
    run = Run.require(db, run_id)
    return fragment(
        request, "runs/_progress.html", run=run, lines=run.tail(db), workers=WorkerSign.living(db)
    )


@router.post("/runs/{run_id}/cancellation")
def cancel(user: Researcher, db: Db, run_id: uuid.UUID) -> Response:
    """Ask it to end; Conflict when it is over, Forbidden when it is somebody else's."""
    run = Run.require(db, run_id, to_change=True)
    run.cancel(db, user)
    return see_other(f"/runs/{run_id}", "The run ends at its next step.", "info")


@router.post("/runs/{run_id}/ownership")
def hand_over(
    user: Admin, db: Db, run_id: uuid.UUID, name: Annotated[str, Form(max_length=60)] = ""
) -> Response:
    """Make another person the owner, such as when the present one leaves."""
    run = Run.require(db, run_id, to_change=True)
    run.hand_over(db, User.require(db, name), user)
    return see_other(f"/runs/{run_id}", f"The run belongs to {name} now.")


@router.get("/runs/{run_id}/report")
def report(request: Request, user: Researcher, db: ReadDb, run_id: uuid.UUID) -> Response:
    """The report alone: one file that needs nothing else."""
    body = _report(request, db, user, Run.require(db, run_id))
    headers = {_POLICY: _REPORT_POLICY}
    return Response(body, media_type="text/html; charset=utf-8", headers=headers)


@router.get("/runs/{run_id}/results.json")
def results(user: Researcher, look: ReadDb, db: Db, run_id: uuid.UUID) -> Response:
    """Its figures as a file; who took it is in the record."""
    headers = {"content-disposition": f'attachment; filename="results-{run_id}.json"'}
    body = Run.require(look, run_id).results(look)
    Event.record(db, user.name, "run results downloaded", str(run_id))
    return Response(body, media_type="application/json", headers=headers)


def _report(request: Request, session: Session, user: User, run: Run) -> bytes:
    """A run's report for a person; who was shown it is written down before it leaves.

    Raises:
        Forbidden: it shows ROIs of its data set, and a blinded reading of theirs is under way.
        NotFound: the run has none.
        Damaged: it is not what was stored.
    """
    Enrolment.refuse_synthetics(session, user)
    body = run.report(session)
    request.app.state.witness.saw(Seen(user.id, Shown.VERSION, run.dataset_id))
    return body
