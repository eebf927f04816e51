"""The desk: a reader's own list of readings, the page before trial 1, the trial on the desk."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.auth import Reader
from app.db import Db, ReadDb
from app.errors import AppError, Conflict, NotFound, Unreadable
from app.models.people.user import User
from app.models.reader_studies.conduct import CARD_MM, ROOMS, CheckIn, Conduct, desk_px
from app.models.reader_studies.debriefing import MOST_REMARK, Debriefing, Remark
from app.models.reader_studies.desk import Desk, DeskState, Feedback, places
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.questions import REASONS
from app.models.reader_studies.reading import Answer, Reading
from app.models.reader_studies.study import ReaderStudy, StudyState
from app.models.reader_studies.typed import number
from app.responses import page, see_other, wants_json
from ml.readers.pairs import Side

router = APIRouter(include_in_schema=False)

BAR_PX = 300
"""Width of the bar that is measured with a ruler where scripts are off, in CSS pixels."""

_NO_STORE = {"cache-control": "no-store"}
_MOST_JSON = 4000


class AnswerForm(BaseModel):
    """An answer as the desk sends it; ``view`` is JSON of what was done to the picture."""

    trial: str = Field(min_length=1, max_length=200)
    rating: int | None = None
    choice: Side | None = None
    key: str = Field(min_length=1, max_length=200)
    lesion_class: str = ""
    active_ms: int = 0
    hidden_ms: int = 0
    idle_ms: int = 0
    changes: int = 0
    class_confidence: int | None = None
    reasons: list[str] = []
    view: str = ""
    revises: bool = False
    waited_ms: int | None = None
    grade_1: int | None = None
    grade_2: int | None = None
    grade_3: int | None = None
    grade_4: int | None = None

    def answer(self) -> Answer:
        """What the model takes; reasons in their order.

        Raises:
            Unreadable: ``view`` is not JSON.
        """
        return Answer(
            trial=self.trial,
            key=self.key,
            lesion_class=self.lesion_class or None,
            rating=self.rating,
            choice=self.choice,
            active_ms=self.active_ms,
            hidden_ms=self.hidden_ms,
            idle_ms=self.idle_ms,
            changes=self.changes,
            class_confidence=self.class_confidence,
            reasons=sorted(self.reasons, key=[*REASONS, *self.reasons].index),
            view=_object(self.view),
            revises=self.revises,
            waited_ms=self.waited_ms,
            grades=self._grades,
        )

    @property
    def _grades(self) -> list[int] | None:
        """Those that were sent, in the order of the questions; a gap is no answer to any."""
        sent = [self.grade_1, self.grade_2, self.grade_3, self.grade_4]
        given = [grade for grade in sent if grade is not None]
        return (given if sent[: len(given)] == given else []) if given else None


class CheckInForm(BaseModel):
    """The page before trial 1, as it was typed; ``screen`` is JSON of what the browser says."""

    consent: str = ""
    consent_version: str = ""
    years: str = ""
    subspecialty: str = ""
    room: str = ""
    ramp_dark: str = ""
    ramp_bright: str = ""
    card_px: str = ""
    bar_mm: str = ""
    screen: str = ""

    def check_in(self) -> CheckIn:
        """What the model takes.

        Raises:
            Unreadable: ``screen`` is not JSON.
        """
        return CheckIn(
            consent=self.consent == "yes",
            consent_version=self.consent_version,
            years=self.years,
            subspecialty=self.subspecialty,
            room=self.room,
            ramp_dark=self.ramp_dark,
            ramp_bright=self.ramp_bright,
            card_px=self.card_px or _card_px(self.bar_mm),
            screen={key: str(value) for key, value in _object(self.screen).items()},
        )


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
    if desk.state is DeskState.CONDUCT:
        return see_other(f"/readings/{token}/conduct")
    if desk.state is DeskState.DEBRIEFING:
        return see_other(f"/readings/{token}/debriefing")
    return page(request, "readings/show.html", desk=desk)


@router.post("/readings/{token}")
def answer(
    request: Request, user: Reader, db: Db, token: str, given: Annotated[AnswerForm, Form()]
) -> Response:
    """Commit one answer; sent twice with the same key it is stored once."""
    enrolment = Enrolment.require(db, token, user)
    reading, new = Reading.give(db, enrolment, given.answer())
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
    form = CheckInForm()
    if known is not None:
        form = CheckInForm(years=f"{known.years:g}", subspecialty=known.subspecialty)
    return _conduct_page(request, db, enrolment, form, None)


@router.post("/readings/{token}/conduct")
def check_in(
    request: Request, user: Reader, db: Db, token: str, form: Annotated[CheckInForm, Form()]
) -> Response:
    """Store the check-in; a form that cannot be used comes back as it was, with the reason."""
    enrolment = Enrolment.require(db, token, user)
    study = ReaderStudy.require(db, enrolment.study_id)
    try:
        if study.state is not StudyState.OPEN:
            raise Unreadable("The study is not open for reading now.")
        Conduct.give(db, enrolment, study.design, form.check_in())
    except Unreadable as refusal:
        return _conduct_page(request, db, enrolment, form, refusal)
    return see_other(f"/readings/{token}")


@router.get("/readings/{token}/debriefing")
def debriefing(request: Request, user: Reader, db: ReadDb, token: str) -> Response:
    """What an unaware reader is asked at the end of the first part, and then told.

    Raises:
        NotFound: there is nothing to be told, or not yet: as for any other address.
    """
    enrolment, desk = _to_be_told(db, token, user)
    return page(
        request,
        "readings/debriefing.html",
        token=token,
        title=desk.title,
        text=desk.design.debriefing,
        asked=Remark.of(db, enrolment.id) is not None,
        goes_on=desk.state is DeskState.DEBRIEFING,
        most=MOST_REMARK,
    )


@router.post("/readings/{token}/remark")
def remark(
    request: Request, user: Reader, db: Db, token: str, text: Annotated[str, Form()] = ""
) -> Response:
    """Keep what struck a reader, before they are told anything."""
    enrolment, _ = _to_be_told(db, token, user)
    Remark.give(db, enrolment, text)
    return see_other(f"/readings/{token}/debriefing")


@router.post("/readings/{token}/debriefing")
def tell(
    request: Request, user: Reader, db: Db, token: str, read: Annotated[str, Form()] = ""
) -> Response:
    """The reader has read what the study is about.

    Raises:
        Conflict: they were not asked yet what they noticed.
        Unreadable: they did not say that they have read it.
    """
    enrolment, desk = _to_be_told(db, token, user)
    if Remark.of(db, enrolment.id) is None:
        raise Conflict("Answer the question on this page first.")
    if read != "yes":
        raise Unreadable("Say that you have read it.")
    Debriefing.tell(db, enrolment, desk.design.debriefing)
    return see_other(f"/readings/{token}")


def _to_be_told(session: Session, token: str, user: User) -> tuple[Enrolment, Desk]:
    enrolment = Enrolment.require(session, token, user)
    desk = Desk.of(session, enrolment)
    if not desk.untold:
        raise NotFound("There is nothing at this address.")
    return enrolment, desk


@router.post("/readings/{token}/withdrawal")
def withdraw(
    request: Request, user: Reader, db: Db, token: str, reason: Annotated[str, Form()] = ""
) -> Response:
    """The reader declines, or stops for good."""
    enrolment = Enrolment.require(db, token, user)
    enrolment.withdraw(db, user, reason)
    if Desk.of(db, enrolment).untold:
        return see_other(f"/readings/{token}/debriefing")
    return see_other("/readings", "You have left the study. Answers given until now are kept.")


def _conduct_page(
    request: Request,
    session: Session,
    enrolment: Enrolment,
    form: CheckInForm,
    refusal: AppError | None,
) -> Response:
    study = ReaderStudy.require(session, enrolment.study_id)
    design = study.design
    images = study.plan.images
    told = (len(images.real), len(images.synthetic))
    desk = Desk.of(session, enrolment)
    return page(
        request,
        "readings/conduct.html",
        refusal.status if refusal else 200,
        desk=desk,
        design=design,
        images=desk.total - desk.practice,  # hidden repeats are not told apart
        prevalence=told if design.tell_prevalence else None,
        again=Conduct.latest(session, enrolment.id) is not None,
        rooms=ROOMS,
        card_mm=CARD_MM,
        bar_px=BAR_PX,
        desk_px=desk_px(design),
        form=form,
        error=refusal.detail if refusal else "",
    )


def _card_px(bar_mm: str) -> str:
    """The width that a card would have on a screen where the bar measures ``bar_mm``; "" for none.

    Raises:
        Unreadable: no width that a bar can have.
    """
    if not bar_mm.strip():
        return ""
    width = number(bar_mm, "the width of the bar in mm")
    if not 0 < width <= 1000:
        raise Unreadable("Give the width of the bar in mm as a number from 0 to 1000.")
    return str(BAR_PX * CARD_MM / width)


def _object(text: str) -> dict[str, object]:
    """What a script says, as a JSON object; nothing where there is no script.

    Raises:
        Unreadable: not JSON, or more of it than a page says.
    """
    if not text:
        return {}
    try:
        found = json.loads(text[:_MOST_JSON])
    except (ValueError, RecursionError):
        raise Unreadable("What the page says of the screen is not JSON.") from None
    return found if isinstance(found, dict) else {}
