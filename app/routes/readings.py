"""The desk: a reader's own list of readings, the page before trial 1, the trial on the desk."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.auth import Reader
from app.db import Db, ReadDb
from app.errors import AppError, Unreadable
from app.models.reader_studies.conduct import CARD_MM, ROOMS, CheckIn, Conduct
from app.models.reader_studies.desk import Desk, Feedback, places
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.questions import REASONS
from app.models.reader_studies.reading import Answer, Reading
from app.models.reader_studies.study import ReaderStudy
from app.responses import page, see_other, wants_json

router = APIRouter(include_in_schema=False)

Milliseconds = Annotated[int, Form()]
Text = Annotated[str, Form()]

BAR_PX = 300
"""Width of the bar that is measured with a ruler where scripts are off, in CSS pixels."""

_NO_STORE = {"cache-control": "no-store"}


@router.get("/readings")
def index(request: Request, user: Reader, db: ReadDb) -> Response:
    """The studies that this person is enrolled in, and how far they have read."""
    return page(
        request, "readings/index.html", nav_current="reader-studies", places=places(db, user)
    )


@router.get("/readings/{token}")
def show(
    request: Request, user: Reader, db: ReadDb, token: str, position: int | None = None
) -> Response:
    """The trial to answer; with ``position`` an earlier one, where the protocol allows it."""
    desk = Desk.of(db, Enrolment.require(db, token, user), position)
    if wants_json(request):
        body = desk.shown.to_dict() if desk.shown else desk.to_dict()
        return JSONResponse(body, headers=_NO_STORE)
    if desk.state == "conduct":
        return see_other(f"/readings/{token}/conduct")
    return page(request, "readings/show.html", desk=desk)


@router.post("/readings/{token}")
def answer(
    request: Request,
    user: Reader,
    db: Db,
    token: str,
    trial: Text,
    rating: Annotated[int, Form()],
    key: Text,
    lesion_class: Text = "",
    active_ms: Milliseconds = 0,
    hidden_ms: Milliseconds = 0,
    idle_ms: Milliseconds = 0,
    changes: Annotated[int, Form()] = 0,
    class_confidence: Annotated[int | None, Form()] = None,
    reasons: Annotated[list[str] | None, Form()] = None,
    view: Text = "",
    revises: Annotated[bool, Form()] = False,
) -> Response:
    """Commit one answer; sent twice with the same key it is stored once."""
    enrolment = Enrolment.require(db, token, user)
    given = Answer(
        trial=trial,
        key=key,
        lesion_class=lesion_class or None,
        rating=rating,
        active_ms=active_ms,
        hidden_ms=hidden_ms,
        idle_ms=idle_ms,
        changes=changes,
        class_confidence=class_confidence,
        reasons=sorted(reasons or [], key=[*REASONS, *(reasons or [])].index),
        view=_object(view),
        revises=revises,
    )
    reading, new = Reading.give(db, enrolment, given)
    feedback = Feedback.of(db, reading)
    if wants_json(request):
        body = Desk.of(db, enrolment).to_dict()
        if feedback is not None:
            body["feedback"] = feedback.words
        return JSONResponse(body, 201 if new else 200, _NO_STORE)
    return see_other(f"/readings/{token}", feedback.words if feedback else "", "info")


@router.get("/readings/{token}/conduct")
def conduct(request: Request, user: Reader, db: ReadDb, token: str) -> Response:
    """What stands before trial 1: instructions, consent, reader, room and screen."""
    enrolment = Enrolment.require(db, token, user)
    known = Conduct.of_reader(db, enrolment)
    typed = {"years": f"{known.years:g}", "subspecialty": known.subspecialty} if known else {}
    return _conduct_page(request, db, enrolment, typed, None)


@router.post("/readings/{token}/conduct")
def check_in(
    request: Request,
    user: Reader,
    db: Db,
    token: str,
    consent: Text = "",
    consent_version: Text = "",
    years: Text = "",
    subspecialty: Text = "",
    room: Text = "",
    ramp_dark: Text = "",
    ramp_bright: Text = "",
    card_px: Text = "",
    bar_mm: Text = "",
    screen: Text = "",
) -> Response:
    """Store the check-in; a form that cannot be used comes back as it was, with the reason."""
    enrolment = Enrolment.require(db, token, user)
    study = ReaderStudy.require(db, enrolment.study_id)
    said = CheckIn(
        consent=consent == "yes",
        consent_version=consent_version,
        years=years,
        subspecialty=subspecialty,
        room=room,
        ramp_dark=ramp_dark,
        ramp_bright=ramp_bright,
        card_px=card_px or _card_px(bar_mm),
        screen={key: str(value) for key, value in _object(screen).items()},
    )
    try:
        if study.state != "open":
            raise Unreadable("The study is not open for reading now.")
        Conduct.give(db, enrolment, study.design, said)
    except Unreadable as refusal:
        typed = {
            "consent": consent,
            "years": years,
            "subspecialty": subspecialty,
            "room": room,
            "ramp_dark": ramp_dark,
            "ramp_bright": ramp_bright,
            "card_px": card_px,
            "bar_mm": bar_mm,
        }
        return _conduct_page(request, db, enrolment, typed, refusal)
    return see_other(f"/readings/{token}")


@router.post("/readings/{token}/withdrawal")
def withdraw(request: Request, user: Reader, db: Db, token: str, reason: Text = "") -> Response:
    """The reader declines, or stops for good."""
    Enrolment.require(db, token, user).withdraw(db, user, reason)
    return see_other("/readings", "You have left the study. Answers given until now are kept.")


_CONDUCT_FIELDS = (
    "consent", "years", "subspecialty", "room", "ramp_dark", "ramp_bright", "card_px", "bar_mm",
)  # fmt: skip


def _conduct_page(
    request: Request,
    session: Session,
    enrolment: Enrolment,
    typed: dict[str, str],
    refusal: AppError | None,
) -> Response:
    study = ReaderStudy.require(session, enrolment.study_id)
    design = study.design
    images = study.plan.images
    told = (len(images.real), len(images.synthetic))
    return page(
        request,
        "readings/conduct.html",
        refusal.status if refusal else 200,
        desk=Desk.of(session, enrolment),
        design=design,
        images=study.trials - study.practice_total,  # hidden repeats are not told apart
        prevalence=told if design.tell_prevalence else None,
        again=Conduct.latest(session, enrolment.id) is not None,
        rooms=ROOMS,
        card_mm=CARD_MM,
        bar_px=BAR_PX,
        form={**dict.fromkeys(_CONDUCT_FIELDS, ""), **typed},
        error=refusal.detail if refusal else "",
    )


def _card_px(bar_mm: str) -> str:
    """The width that a card would have on a screen where the bar measures ``bar_mm``."""
    try:
        return str(BAR_PX * CARD_MM / float(bar_mm.replace(",", ".")))
    except (ValueError, ZeroDivisionError):
        return bar_mm


def _object(text: str) -> dict[str, Any]:
    """What a script says, as a JSON object; nothing where there is no script.

    Raises:
        Unreadable: not JSON.
    """
    try:
        found = json.loads(text[:4000]) if text else {}
    except ValueError:
        raise Unreadable("What the page says of the screen is not JSON.") from None
    return found if isinstance(found, dict) else {}
