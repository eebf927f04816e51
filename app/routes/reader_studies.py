"""Reader studies, for their maker: open, enrol, watch, amend, unblind."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Admin, Reader, Researcher
from app.db import Db, ReadDb
from app.errors import AppError, Conflict, NotFound, Unreadable
from app.models.people.user import User
from app.models.reader_studies.audit import Audited, LeakAudit
from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.debriefing import Debriefing
from app.models.reader_studies.design import DESIGNS
from app.models.reader_studies.enrolment import Blindness, Enrolment
from app.models.reader_studies.look import Look
from app.models.reader_studies.protocol import AMENDABLE, Progress
from app.models.reader_studies.reading import Reading
from app.models.reader_studies.sketch import Sketch
from app.models.reader_studies.steps import STEPS
from app.models.reader_studies.stimulus import Source, Stimulus
from app.models.reader_studies.study import DELETE_WORD, ReaderStudy, StudyState
from app.models.reader_studies.unblinding import SHARED_WORD, WORD
from app.models.reader_studies.versions import Versions
from app.models.reader_studies.withdrawal import Withdrawal
from app.models.runs.known_lesions import KINDS
from app.responses import page, see_other
from ml.readers.hypothesis import Measure, Missing, Multiplicity, choices

router = APIRouter(include_in_schema=False)


@router.get("/reader-studies")
def index(request: Request, user: Reader, db: ReadDb) -> Response:
    """For researchers; a reader is led to their own readings."""
    if not user.may("researcher"):
        return see_other("/readings")
    studies = [
        {
            "id": study.id,
            "title": study.title,
            "state": study.state,
            "kind": study.kind,
            "images": study.images,
            "protocol": study.protocol,
            "readers": _readers(db, study),
            "owner": study.owner.name,
            "created_at": study.created_at,
        }
        for study in ReaderStudy.all(db)
    ]
    return page(
        request,
        "reader_studies/index.html",
        studies=studies,
        sketches=Sketch.of(db, user),
        steps=STEPS,
    )


@router.get("/reader-studies/{study_id}")
def show(request: Request, user: Researcher, db: ReadDb, study_id: uuid.UUID) -> Response:
    """One study as its state allows: a draft, an open or an unblinded one."""
    return _study_page(request, db, user, ReaderStudy.require(db, study_id))


@router.post("/reader-studies/{study_id}/opening")
def open_study(
    request: Request, user: Researcher, look: ReadDb, db: Db, study_id: uuid.UUID
) -> Response:
    """Render, audit and freeze. What takes long comes before the write lock is held."""
    draft = ReaderStudy.require(look, study_id)
    draft.refuse_stranger(user)
    draft.require_draft()
    pictures = draft.pictures(look, request.app.state.inference.draw)
    audited = Audited.of(pictures)
    study = ReaderStudy.require(db, study_id, to_change=True)
    if study.audit(db, user, pictures, audited).blocks:  # kept, so that it can be looked at
        return see_other(
            f"/reader-studies/{study.id}/audit",
            "The leak audit is red, so the study was not opened.",
            "danger",
        )
    protocol = study.open(db, user, pictures)
    return see_other(
        f"/reader-studies/{study.id}",
        f"The study is open. Its protocol is frozen: {protocol.digest[:16]}…",
    )


@router.post("/reader-studies/{study_id}/enrolments")
def enrol(
    request: Request,
    user: Researcher,
    db: Db,
    study_id: uuid.UUID,
    reader: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Enrol the readers of these names: all of them, or none and the reason on the page.

    Raises:
        NotFound: no such study.
    """
    study = ReaderStudy.require(db, study_id, to_change=True)
    try:
        if not reader:
            raise Unreadable("Choose at least one reader to enrol.")
        with db.begin_nested():  # all of them, or none
            for name in dict.fromkeys(reader):
                study.enrol(db, User.require(db, name), user)
    except (Conflict, Unreadable, NotFound) as refusal:
        return _study_page(request, db, user, study, enrolment_refusal=refusal, asked=reader or [])
    return see_other(
        f"/reader-studies/{study.id}",
        f"Enrolled: {', '.join(reader)}. They find the study at /readings.",
    )


@router.post("/reader-studies/{study_id}/enrolments/{enrolment_id}/withdrawal")
def withdraw(
    request: Request,
    user: Researcher,
    db: Db,
    study_id: uuid.UUID,
    enrolment_id: uuid.UUID,
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Take a reader out for good; what they answered is kept and marked."""
    study = ReaderStudy.require(db, study_id)
    enrolment = study.take_out(db, enrolment_id, user, reason)
    return see_other(f"/reader-studies/{study_id}", f"{enrolment.reader.name} is withdrawn.")


@router.post("/reader-studies/{study_id}/amendments")
def amend(
    request: Request,
    user: Researcher,
    db: Db,
    study_id: uuid.UUID,
    what: Annotated[str, Form()] = "",
    text: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Write a further version of the protocol, of which readers see nothing."""
    study = ReaderStudy.require(db, study_id, to_change=True)
    try:
        amended = study.amend(db, user, what=what, text=text, reason=reason)
    except Unreadable as refusal:
        typed = {"what": what, "text": text, "reason": reason}
        return _study_page(request, db, user, study, amendment=typed, amendment_refusal=refusal)
    return see_other(
        f"/reader-studies/{study_id}", f"The protocol has version {amended.version} now."
    )


@router.post("/reader-studies/{study_id}/deletion")
def delete(
    request: Request,
    user: Researcher,
    db: Db,
    study_id: uuid.UUID,
    typed: Annotated[str, Form()] = "",
) -> Response:
    """Delete a draft; the word must be typed."""
    study = ReaderStudy.require(db, study_id, to_change=True)
    study.discard(db, user, typed=typed)
    return see_other("/reader-studies", "The draft is deleted.")


@router.post("/reader-studies/{study_id}/unblinding")
def unblind(
    request: Request,
    user: Researcher,
    db: Db,
    study_id: uuid.UUID,
    reason: Annotated[str, Form()] = "",
    typed: Annotated[str, Form()] = "",
    shared: Annotated[str, Form()] = "",
) -> Response:
    """Close the study and show truth from now on; the word must be typed."""
    study = ReaderStudy.require(db, study_id, to_change=True)
    try:
        study.unblind(db, user, reason=reason, typed=typed, shared=shared)
    except Unreadable as refusal:
        return _study_page(request, db, user, study, refusal=refusal, reason=reason)
    return see_other(f"/reader-studies/{study.id}/results", "The study is unblinded and closed.")


@router.post("/reader-studies/{study_id}/ownership")
def hand_over(
    request: Request,
    user: Admin,
    db: Db,
    study_id: uuid.UUID,
    name: Annotated[str, Form(max_length=60)] = "",
) -> Response:
    """Make another person the owner, such as when the present one leaves."""
    study = ReaderStudy.require(db, study_id, to_change=True)
    study.hand_over(db, User.require(db, name), user)
    return see_other(f"/reader-studies/{study_id}", f"The study belongs to {name} now.")


class ReaderState(StrEnum):
    """How far a reader is, as the study's maker may know it."""

    INVITED = "invited"
    CHECKED_IN = "checked in"
    READING = "reading"
    FINISHED = "finished"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class ReaderProgress:
    """A reader of a study: how many answers, never which."""

    id: uuid.UUID
    name: str
    number: int
    state: ReaderState
    link: str
    answered: int
    total: int
    enrolled_at: datetime
    finished_at: datetime | None
    withdrawal: Withdrawal | None
    told_at: datetime | None
    signed_in_before: bool

    @property
    def has_left(self) -> bool:
        """Whether they give no further answer."""
        return self.state in (ReaderState.FINISHED, ReaderState.WITHDRAWN)


def _readers(session: Session, study: ReaderStudy) -> list[ReaderProgress]:
    counts = Reading.counts(session, study.id)
    return [
        ReaderProgress(
            id=enrolment.id,
            name=enrolment.reader.name,
            number=enrolment.number,
            state=_state(session, enrolment, counts.get(enrolment.id, 0)),
            link=f"/readings/{enrolment.token}",
            answered=counts.get(enrolment.id, 0),
            total=study.trials,
            enrolled_at=enrolment.created_at,
            finished_at=enrolment.finished_at,
            withdrawal=enrolment.withdrawal,
            told_at=told.at if told else None,
            signed_in_before=study.unaware and enrolment.signed_in_before(session),
        )
        for enrolment in Enrolment.of_study(session, study.id)
        for told in [Debriefing.of(session, enrolment.id) if study.unaware else None]
    ]


def _state(session: Session, enrolment: Enrolment, answered: int) -> ReaderState:
    if enrolment.withdrawal is not None:
        return ReaderState.WITHDRAWN
    if enrolment.finished_at is not None:
        return ReaderState.FINISHED
    if answered:
        return ReaderState.READING
    checked_in = Conduct.latest(session, enrolment.id) is not None
    return ReaderState.CHECKED_IN if checked_in else ReaderState.INVITED


def _amendment_choices(
    names: tuple[str, ...], measure: Measure
) -> dict[str, list[tuple[str, str]]]:
    """What may be amended by choosing: its name → keys and words, of these generators."""
    return {
        "primary": [(one.key, one.statement(measure=measure)) for one in choices(names, measure)],
        "multiplicity": [(one.value, one.words) for one in Multiplicity],
        "missing": [(one.value, one.words) for one in Missing],
    }


def _seen(session: Session, study: ReaderStudy, *, blind: bool) -> dict[str, str]:
    """Reader → how much of the study they were shown elsewhere, where they may read it although.

    Not after Unblinding, when what they look at is their own affair, and not to who reads it.
    """
    if study.design.exclude_seen or study.state is StudyState.UNBLINDED or blind:
        return {}
    every = study.plan.every
    said = {}
    for enrolment in Enrolment.of_study(session, study.id):
        real, synthetic = study.seen_by_reader(session, enrolment.reader)
        if real or synthetic:
            said[enrolment.reader.name] = (
                f"was shown {real} of {len(every.real)} real lesions and {synthetic} of "
                f"{len(every.synthetic)} synthetic images elsewhere"
            )
    return said


def _withdrawn_sources(session: Session, study: ReaderStudy) -> str:
    """Which source lesions of an opened study were withdrawn since, in words; "" for none."""
    gone = Stimulus.withdrawn_sources(session, study.id)
    if not gone:
        return ""
    first = gone[0]
    assert first.withdrawn_at is not None
    by = first.withdrawn_by.name if first.withdrawn_by else "somebody"
    lesions = "1 lesion" if len(gone) == 1 else f"{len(gone)} lesions"
    return (
        f"{lesions} of which this study shows the image {'was' if len(gone) == 1 else 'were'} "
        f"withdrawn since it was opened (the first {first.withdrawn_at:%Y-%m-%d %H:%M} UTC by "
        f"{by}). The images stay, because they are frozen; whether their class still holds is for "
        "you to say, such as in the notes of an amendment."
    )


def _study_page(
    request: Request,
    session: Session,
    user: User,
    study: ReaderStudy,
    refusal: AppError | None = None,
    reason: str = "",
    amendment: dict[str, str] | None = None,
    amendment_refusal: AppError | None = None,
    enrolment_refusal: AppError | None = None,
    asked: Sequence[str] = (),
) -> Response:
    readers = _readers(session, study)
    enrolled = {item.name for item in readers}
    scheme = study.scheme
    versions = Versions.of(session, study.id)
    judged = versions.primary.content.design if versions else study.design
    blind = Enrolment.reads(session, user, study.id) and study.state is StudyState.OPEN
    refused = refusal or amendment_refusal or enrolment_refusal
    return page(
        request,
        "reader_studies/show.html",
        refused.status if refused else 200,
        study=study,
        seconds=request.app.state.inference.rendering_s(session, study),
        design=study.design,
        judged=judged,
        versions=versions,
        progress=Progress.of(session, study.id),
        notes=versions.in_force.content.notes if versions else "",
        looks_since=Look.since(session),
        blind=blind,
        seen=_seen(session, study, blind=blind),
        preset=DESIGNS.get(study.design.preset),
        audit=LeakAudit.latest(session, study.id),
        amendable=AMENDABLE,
        amendment_choices=_amendment_choices(
            () if blind else study.generator_names(session), study.design.measure
        ),
        amendment=amendment or {"what": "", "text": "", "reason": ""},
        amendment_error=amendment_refusal or "",
        asked=asked,
        enrolment_error=enrolment_refusal.detail if enrolment_refusal else "",
        delete_word=DELETE_WORD,
        kind_words=KINDS[study.kind],
        mix=[
            {
                "display": item.display,
                "real": study.class_mix(Source.REAL)[item.key],
                "synthetic": study.class_mix(Source.SYNTHETIC)[item.key],
            }
            for item in scheme.classes
        ],
        generators=study.generators(session),
        readers=readers,
        candidates=[
            item
            for item in User.everyone(session)
            if item.disabled_at is None and item.name not in enrolled
        ],
        may_change=study.may_be_changed_by(user),
        heirs=[
            item.name
            for item in User.everyone(session)
            if item.may("researcher") and item.disabled_at is None and item.id != study.owner_id
        ],
        word=WORD,
        shared_word=SHARED_WORD,
        sharing=study.sharing(session) if study.state is StudyState.OPEN else [],
        blind_elsewhere=Blindness.of(session, user.id) is not None,
        withdrawn_sources=_withdrawn_sources(session, study),
        error=refusal or "",
        reason=reason,
    )
