"""Results of a reader study after its Unblinding: the page, the images, the exports."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Reader
from app.db import Db, ReadDb
from app.errors import Forbidden
from app.models.ground.blob import Blob
from app.models.ground.event import Event
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look, Seen, Shown
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results import exports
from app.models.study_results.answers import Answers
from app.models.study_results.results import Results
from app.models.study_results.times import MARKS, marked_by_reader
from app.responses import page
from ml.readers.published import CAUTION, PUBLISHED

router = APIRouter(include_in_schema=False)

MANY_TRIALS = 1000
"""From so many trials on the analysis may take longer than 3 s (20,000 of them: about a minute)."""

_NO_STORE = {"cache-control": "no-store"}


@router.get("/reader-studies/{study_id}/results")
def results(
    request: Request,
    user: Reader,
    look: ReadDb,
    db: Db,
    study_id: uuid.UUID,
    compute: Annotated[bool, Query()] = False,
) -> Response:
    """The first look computes and keeps the analysis; every later one only shows it.

    Where that takes more than a moment, a page says so and asks for it.
    """
    unblinded = _unblinded(look, user, study_id)
    trials = Results.trials_to_compute(look, unblinded)
    if trials > MANY_TRIALS and not compute:
        return page(request, "results/computing.html", study=unblinded.study, trials=trials)
    found = Results.of(look, db, unblinded, request.app.state.inference.classes)
    answers = Answers.of(look, unblinded)
    return page(
        request,
        "results/show.html",
        results=found,
        exports=exports.named(found.task, unaware=unblinded.study.unaware),
        lacking=exports.lacking(answers),
        marked=marked_by_reader(look, answers)
        if found.content.times is None
        else found.content.times,
        marks=MARKS,
        withdrawn_sources=len(Stimulus.withdrawn_sources(look, study_id)),
        gone=len(Stimulus.gone(look, study_id)),
        published=PUBLISHED,
        caution=CAUTION,
    )


@router.get("/reader-studies/{study_id}/results/images")
def images(request: Request, user: Reader, db: ReadDb, study_id: uuid.UUID) -> Response:
    """Every image, or pair, with its truth and every reader's answer."""
    answers = Answers.of(db, _unblinded(db, user, study_id))
    shape = "pairs" if answers.study.design.task.is_paired else "images"
    return page(
        request, f"results/{shape}.html", answers=answers, lines=answers.by_image(),
        diagnoses=answers.diagnoses(), gone=Stimulus.gone(db, study_id),
    )  # fmt: skip


@router.get("/reader-studies/{study_id}/exports/results.json")
def results_json(
    request: Request, user: Reader, look: ReadDb, db: Db, study_id: uuid.UUID
) -> Response:
    """The kept analysis, byte for byte."""
    unblinded = _unblinded(look, user, study_id)
    found = Results.of(look, db, unblinded, request.app.state.inference.classes)
    _record(db, user, unblinded, "results.json")
    return _file(found.data, "application/json", unblinded, "results.json")


@router.get("/reader-studies/{study_id}/exports/{name}")
def export(
    request: Request, user: Reader, look: ReadDb, db: Db, study_id: uuid.UUID, name: str
) -> Response:
    """A file for others to read; who took it is in the record before the first byte leaves."""
    unblinded = _unblinded(look, user, study_id)
    wanted = exports.require(name)
    data = wanted.make(look, Answers.of(look, unblinded))
    if wanted.shows_images:
        Look.keep(db, [Seen(user.id, Shown.STUDY, unblinded.study.id)])
    _record(db, user, unblinded, name)
    return _file(data, wanted.media_type, unblinded, name)


@router.get("/reader-studies/{study_id}/stimuli/{stimulus_id}.png")
def stimulus(
    request: Request, user: Reader, db: ReadDb, study_id: uuid.UUID, stimulus_id: uuid.UUID
) -> Response:
    """A picture beside its truth."""
    unblinded = _unblinded(db, user, study_id)
    data = Blob.read(db, Stimulus.require(db, unblinded.study.id, stimulus_id).pixels_digest)
    request.app.state.witness.saw(Seen(user.id, Shown.STUDY, unblinded.study.id))
    return Response(data, media_type="image/png", headers=_NO_STORE)


def _unblinded(session: Session, user: User, study_id: uuid.UUID) -> Unblinded:
    """The study, for a researcher, after its Unblinding.

    Before it every role gets the same answer and leaves an Event. Nor does someone see it who
    reads another study blind: images can be in both.
    """
    unblinded = Unblinded(ReaderStudy.require(session, study_id))
    if not user.may("researcher"):
        raise Forbidden(
            "Results are shown to researchers. Ask the person who made the study.",
            event="results refused to a reader",
        )
    Enrolment.refuse_synthetics(session, user)
    return unblinded


def _record(session: Session, user: User, unblinded: Unblinded, name: str) -> None:
    Event.record(session, user.name, "results exported", str(unblinded.study.id), file=name)


def _file(data: bytes, media_type: str, unblinded: Unblinded, name: str) -> Response:
    disposition = f'attachment; filename="reader-study-{str(unblinded.study.id)[:8]}-{name}"'
    return Response(
        data, media_type=media_type, headers={**_NO_STORE, "content-disposition": disposition}
    )
