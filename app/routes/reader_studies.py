"""Reader studies, for their maker: compose, open, enrol, watch, unblind."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Reader, Researcher
from app.db import Db, ReadDb
from app.errors import AppError, Unreadable
from app.models.composition import MOST_IMAGES
from app.models.enrolment import Enrolment
from app.models.pool import KINDS, Pool
from app.models.reader_study import ReaderStudy
from app.models.reading import Reading
from app.models.stimulus import REAL, SYNTHETIC
from app.models.unblinding import WORD
from app.models.user import User
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)

_EMPTY = {"title": "", "scheme": "", "kind": "", "real": "10", "synthetic": "10", "seed": ""}


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
            "images": study.total,
            "readers": _readers(db, study),
            "created_at": study.created_at,
        }
        for study in ReaderStudy.all(db)
    ]
    return page(request, "reader_studies/index.html", studies=studies)


@router.get("/reader-studies/new")
def new(request: Request, user: Researcher, db: ReadDb) -> Response:
    return _form(request, db, dict(_EMPTY), None)


@router.post("/reader-studies")
def create(
    request: Request,
    user: Researcher,
    db: Db,
    title: Annotated[str, Form()] = "",
    scheme: Annotated[str, Form()] = "",
    kind: Annotated[str, Form()] = "",
    real: Annotated[str, Form()] = "",
    synthetic: Annotated[str, Form()] = "",
    seed: Annotated[str, Form()] = "",
    generators: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Compose a study; a form that cannot be used comes back as it was, with the reason."""
    typed: dict[str, Any] = {
        "title": title,
        "scheme": scheme,
        "kind": kind,
        "real": real,
        "synthetic": synthetic,
        "seed": seed,
        "generators": generators or [],
    }
    schemes = Pool.schemes(db)
    try:
        if scheme not in schemes:
            raise Unreadable("Choose a lesion scheme that a served checkpoint knows.")
        study = ReaderStudy.compose(
            db,
            user,
            title=title,
            scheme=schemes[scheme],
            kind=kind or None,
            real=_whole(real, "real images"),
            synthetic=_whole(synthetic, "synthetic images"),
            generators=generators or [],
            seed=_whole(seed, "the seed") if seed.strip() else None,
        )
    except Unreadable as refusal:
        return _form(request, db, typed, refusal)
    return see_other(
        f"/reader-studies/{study.id}",
        f"Composed from {study.total} images. Enrol readers, then open the study.",
    )


@router.get("/reader-studies/{study_id}")
def show(request: Request, user: Researcher, db: ReadDb, study_id: uuid.UUID) -> Response:
    return _study_page(request, db, ReaderStudy.require(db, study_id))


@router.post("/reader-studies/{study_id}/opening")
def open_study(
    request: Request, user: Researcher, look: ReadDb, db: Db, study_id: uuid.UUID
) -> Response:
    """Render and freeze. Rendering comes first, so that the write lock is held but briefly."""
    draw = request.app.state.inference.draw
    pictures = ReaderStudy.require(look, study_id).pictures(look, draw)
    study = ReaderStudy.require(db, study_id, to_change=True)
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
    study = ReaderStudy.require(db, study_id, to_change=True)
    if not reader:
        raise Unreadable("Choose at least one reader to enrol.")
    for name in dict.fromkeys(reader):
        study.enrol(db, User.require(db, name), user)
    return see_other(
        f"/reader-studies/{study.id}",
        f"Enrolled: {', '.join(reader)}. They find the study at /readings.",
    )


@router.post("/reader-studies/{study_id}/unblinding")
def unblind(
    request: Request,
    user: Researcher,
    db: Db,
    study_id: uuid.UUID,
    reason: Annotated[str, Form()] = "",
    typed: Annotated[str, Form()] = "",
) -> Response:
    """Close the study and show truth from now on; the word must be typed."""
    study = ReaderStudy.require(db, study_id, to_change=True)
    try:
        study.unblind(db, user, reason=reason, typed=typed)
    except Unreadable as refusal:
        return _study_page(request, db, study, refusal=refusal, reason=reason)
    return see_other(f"/reader-studies/{study.id}/results", "The study is unblinded and closed.")


def _whole(text: str, what: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text) < 20):
        raise Unreadable(f"Give {what} as a whole number, not {text[:20]!r}.")
    return int(text)


def _readers(session: Session, study: ReaderStudy) -> list[dict[str, Any]]:
    """Progress per reader: how many answers, never which."""
    counts = Reading.counts(session, study.id)
    return [
        {
            "name": enrolment.reader.name,
            "number": enrolment.number,
            "answered": counts.get(enrolment.id, 0),
            "total": study.total,
            "enrolled_at": enrolment.created_at,
            "finished_at": enrolment.finished_at,
        }
        for enrolment in Enrolment.of_study(session, study.id)
    ]


def _study_page(
    request: Request,
    session: Session,
    study: ReaderStudy,
    refusal: AppError | None = None,
    reason: str = "",
) -> Response:
    readers = _readers(session, study)
    enrolled = {item["name"] for item in readers}
    scheme = study.scheme
    return page(
        request,
        "reader_studies/show.html",
        refusal.status if refusal else 200,
        study=study,
        kind_words=KINDS[study.kind],
        mix=[
            {
                "display": item.display,
                "real": study.class_mix(REAL)[item.key],
                "synthetic": study.class_mix(SYNTHETIC)[item.key],
            }
            for item in scheme.classes
        ],
        generators=study.generators(session),
        readers=readers,
        candidates=[
            item.name
            for item in User.everyone(session)
            if item.disabled_at is None and item.name not in enrolled
        ],
        word=WORD,
        error=refusal.detail if refusal else "",
        reason=reason,
    )


def _form(
    request: Request, session: Session, typed: dict[str, Any], refusal: AppError | None
) -> Response:
    schemes = Pool.schemes(session)
    chosen = schemes.get(typed["scheme"]) or next(iter(schemes.values()), None)
    pool = Pool.of(session, chosen) if chosen else None
    counts = {kind: pool.counts(kind) for kind in KINDS} if pool else {}
    usable = [
        kind
        for kind, items in counts.items()
        if items and all(one.lesions and one.generators for one in items)
    ]
    typed.setdefault("generators", [])
    return page(
        request,
        "reader_studies/new.html",
        refusal.status if refusal else 200,
        form={**typed, "kind": typed["kind"] or (usable[0] if usable else "")},
        error=refusal.detail if refusal else "",
        schemes=list(schemes),
        kinds=KINDS,
        counts=counts,
        generators=pool.generators if pool else (),
        usable=usable,
        most=MOST_IMAGES,
    )
