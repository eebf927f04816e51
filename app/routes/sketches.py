"""Sketches: the wizard of a reader study. Every step has an address, and what is typed is kept."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app import rooted
from app.auth import Researcher
from app.db import Db, ReadDb, serialise
from app.errors import AppError, Conflict, Forbidden, NotFound, Unreadable
from app.models.people.user import User
from app.models.reader_studies.composition import Composition, Draw
from app.models.reader_studies.design import DESIGNS, Design, SecondImages, fitting
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.sketch import Sketch, SketchChange, Written
from app.models.reader_studies.steps import (
    FORMS,
    OF_PRESET,
    STEPS,
    CheckStep,
    ConductStep,
    DesignStep,
    Fields,
    ImagesStep,
    ReadingStep,
    Step,
    Typed,
    filled_by,
    refuse_untitled,
    yes,
)
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.task import Task
from app.models.runs.dataset import DatasetVersion
from app.models.runs.known_lesions import KINDS, KnownLesions
from app.responses import page, see_other, wants_json
from ml.lesion import LesionScheme
from ml.readers.hypothesis import Missing, Multiplicity, choices

router = APIRouter(include_in_schema=False)


SECOND_PARTS = {
    SecondImages.SAME: "the images of the first part again, in another order",
    SecondImages.OTHER: "other images: half of them is kept for it",
}
"""What the second part of an unaware study shows: in words."""


class Go(StrEnum):
    """Where to after a step: on, back, or nowhere, where it is only stored."""

    NEXT = "next"
    BACK = "back"
    KEEP = "keep"


class Page(BaseModel):
    """What every page of the wizard sends beside its fields.

    ``go`` may also be another step; ``seen`` is what the page was made from; ``page`` is an id that
    its script made, and ``turn`` counts what it sent.
    """

    go: Go | Step = Go.NEXT
    seen: str = ""
    page: Annotated[str, Field(max_length=36)] = ""
    turn: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0

    @property
    def written(self) -> Written:
        """From where it comes."""
        return Written(self.page, self.turn)


class DesignPage(DesignStep, Page):
    """The first step, sent; ``sketch`` is the id that a new one shall have."""

    sketch: uuid.UUID | None = None


class ImagesPage(ImagesStep, Page):
    """The step of images, sent."""


class ReadingPage(ReadingStep, Page):
    """The step of reading, sent."""


class ConductPage(ConductStep, Page):
    """The step of conduct and analysis, sent."""


class CheckPage(CheckStep, Page):
    """The last step, sent."""


async def _emptied(request: Request) -> frozenset[str]:
    """The fields that were sent with nothing in them: FastAPI takes those for not sent."""
    form = await request.form()
    return frozenset(name for name, value in form.items() if value == "")


Emptied = Annotated[frozenset[str], Depends(_emptied)]


@dataclass(frozen=True)
class Asking:
    """Who asks for which sketch, with a session to look and one to write.

    ``emptied`` are the fields that were sent with nothing in them.
    """

    request: Request
    user: User
    look: Session
    db: Session
    sketch_id: uuid.UUID
    emptied: frozenset[str]

    @staticmethod
    def of(
        request: Request,
        user: Researcher,
        look: ReadDb,
        db: Db,
        sketch_id: uuid.UUID,
        emptied: Emptied,
    ) -> Asking:
        """From the request."""
        return Asking(request, user, look, db, sketch_id, emptied)


Asked = Annotated[Asking, Depends(Asking.of)]


@router.get("/reader-studies/new")
def new(request: Request, user: Researcher, db: ReadDb) -> Response:
    """The first step; the sketch is made when something is typed."""
    return _step(request, db, None, Typed(), Step.DESIGN, user=user)


@router.post("/reader-studies/sketches")
def begin(
    request: Request,
    user: Researcher,
    look: ReadDb,
    db: Db,
    emptied: Emptied,
    sent: Annotated[DesignPage, Form()],
) -> Response:
    """Make a sketch of what was typed at the first step, and go where the person wants.

    One that the page has begun already, without learning of it, is gone on with.

    Raises:
        Conflict: the person has as many sketches as they may.
        NotFound: the id that the page names is another person's sketch.
    """
    serialise(db, "sketch begun")
    if sent.sketch is not None and Sketch.is_begun(db, sent.sketch):
        asking = Asking(request, user, look, db, sent.sketch, emptied)
        return _stored(asking, Step.DESIGN, sent)
    fields = {**Typed().model_dump(), **_fields(sent, emptied, Step.DESIGN)}
    sketch = Sketch.begin(db, user, fields, Step.DESIGN, sent.written, sent.sketch)
    refusal = _refused(db, user, sketch.form, Step.DESIGN) if sent.go is Go.NEXT else ""
    return _onward(request, db, sketch, Step.DESIGN, sent, refusal, user)


@router.get("/reader-studies/sketches/{sketch_id}/{step}")
def show(
    request: Request, user: Researcher, db: ReadDb, sketch_id: uuid.UUID, step: str
) -> Response:
    """One step of a sketch; one that a study was composed from leads to the study.

    Raises:
        NotFound: no such step, or no such sketch of this person's.
    """
    sketch = Sketch.require(db, sketch_id, user)
    if sketch.study_id is not None:
        return see_other(f"/reader-studies/{sketch.study_id}")
    return _step(request, db, sketch, sketch.form, _known(step), user=user)


@router.post("/reader-studies/sketches/{sketch_id}/deletion")
def delete(user: Researcher, db: Db, sketch_id: uuid.UUID) -> Response:
    """Delete one's own sketch; what was composed from it stays."""
    sketch = Sketch.require(db, sketch_id, user, to_change=True, own=True)
    title = sketch.title or "untitled"
    sketch.discard(db)
    return see_other("/reader-studies", f"The sketch “{title}” is deleted.", "info")


@router.post("/reader-studies/sketches/{sketch_id}/sharing")
def share(
    user: Researcher,
    db: Db,
    sketch_id: uuid.UUID,
    person: Annotated[list[str], Form()] = [],  # noqa: B006  FastAPI copies it
    step: Annotated[Step, Form()] = Step.DESIGN,
) -> Response:
    """Share one's own sketch with these people, and with nobody else.

    Raises:
        NotFound: no such sketch of this person's, or no such account.
        Unreadable: one of the people may make no reader studies.
    """
    sketch = Sketch.require(db, sketch_id, user, to_change=True, own=True)
    sketch.share(db, [User.require(db, name) for name in person], user)
    names = ", ".join(sketch.shared_with)
    told = (
        f"{names} can open and change this sketch. It is among their reader studies; its address "
        "works for them too."
        if names
        else "Nobody but you can open this sketch."
    )
    return see_other(_address(sketch, step), told)


@router.post("/reader-studies/sketches/{sketch_id}/composition")
def compose(
    request: Request, user: Researcher, look: ReadDb, db: Db, sketch_id: uuid.UUID
) -> Response:
    """Compose the study; a sketch that cannot be used says why, and stays as it is."""
    typed = Sketch.require(look, sketch_id, user).form
    refusal, chosen = "", None
    try:
        refuse_untitled(typed, Step.CHECK)
        drawn_by = request.app.state.inference.draw
        chosen = _chosen(look, user, typed, typed.design(), drawn_by, request.app.state.key)
    except (Forbidden, Unreadable, NotFound) as error:
        refusal = error.detail
    sketch = Sketch.require(db, sketch_id, user, to_change=True)
    if sketch.study_id is not None:  # pressed twice
        return see_other(f"/reader-studies/{sketch.study_id}")
    if chosen is None:
        sketch.refuse(Step.CHECK, refusal, user)
        return see_other(_address(sketch, Step.CHECK))
    study = ReaderStudy.keep(db, user, chosen)
    sketch.study_id, sketch.refusal = study.id, None
    return see_other(
        f"/reader-studies/{study.id}",
        f"Composed from {study.images} images. Audit it, enrol readers, then open the study.",
    )


@router.post("/reader-studies/sketches/{sketch_id}/design")
def store_design(asked: Asked, sent: Annotated[DesignPage, Form()]) -> Response:
    """Store the first step and go on, or to another one."""
    return _stored(asked, Step.DESIGN, sent)


@router.post("/reader-studies/sketches/{sketch_id}/images")
def store_images(asked: Asked, sent: Annotated[ImagesPage, Form()]) -> Response:
    """Store which images, and go on, back, or to another step."""
    return _stored(asked, Step.IMAGES, sent)


@router.post("/reader-studies/sketches/{sketch_id}/reading")
def store_reading(asked: Asked, sent: Annotated[ReadingPage, Form()]) -> Response:
    """Store how they are read, and go on, back, or to another step."""
    return _stored(asked, Step.READING, sent)


@router.post("/reader-studies/sketches/{sketch_id}/conduct")
def store_conduct(asked: Asked, sent: Annotated[ConductPage, Form()]) -> Response:
    """Store texts and analysis, and go on, back, or to another step."""
    return _stored(asked, Step.CONDUCT, sent)


@router.post("/reader-studies/sketches/{sketch_id}/check")
def store_check(asked: Asked, sent: Annotated[CheckPage, Form()]) -> Response:
    """Leave the last step for another one."""
    return _stored(asked, Step.CHECK, sent)


@router.post("/reader-studies/sketches/{sketch_id}/{step}")
def store_nowhere(user: Researcher, sketch_id: uuid.UUID, step: str) -> Response:
    """NotFound: there is no such step."""
    raise NotFound(_no_step(step))


def _stored(asked: Asking, step: Step, page_sent: Page) -> Response:
    """Store what a step says, and go where the person wants.

    Whether it can be left is found out before the write lock is held.
    """
    before = Sketch.require(asked.look, asked.sketch_id, asked.user)
    sent = _fitted(asked.look, before.form, _fields(page_sent, asked.emptied, step))
    refusal = ""
    if page_sent.go is Go.NEXT:
        typed = Typed(**{**before.form.model_dump(), **sent})
        refusal = _refused(asked.look, asked.user, typed, step)
    sketch = Sketch.require(asked.db, asked.sketch_id, asked.user, to_change=True)
    if sketch.study_id is not None:
        return see_other(f"/reader-studies/{sketch.study_id}")
    other = {name: value for name, value in sent.items() if sketch.typed.get(name) != value}
    last = _last(sketch, step)
    own = last is not None and last.is_of(page_sent.written)
    if other and page_sent.seen and page_sent.seen != _mark(sketch, step) and not own:
        return _changed_elsewhere(asked, sketch, step, sent, other)
    if last is None or not own or page_sent.turn > last.turn:  # else a later try was here before
        sketch.keep(sent, step, asked.user, page_sent.written)
    return _onward(asked.request, asked.db, sketch, step, page_sent, refusal, asked.user)


def _fields(sent: Page, emptied: frozenset[str], step: Step) -> Fields:
    """The fields that a step shows; a list that was not sent has nothing chosen."""
    lists = {"versions", "generators", "without"}
    given = sent.model_fields_set | lists
    found = {name: getattr(sent, name) for name in FORMS[step].model_fields if name in given}
    return {**found, **dict.fromkeys(emptied & FORMS[step].model_fields.keys() - lists, "")}


def _mark(sketch: Sketch, step: Step) -> str:
    """Changes when any field of the step does."""
    return sketch.mark(FORMS[step].model_fields)


def _last(sketch: Sketch, step: Step) -> SketchChange | None:
    """The last change of a step: a preset that is chosen at the first one fills in the others."""
    changes = [one for one in (sketch.changed(step), sketch.changed(Step.DESIGN)) if one]
    return max(changes, key=lambda one: one.at, default=None)


def _onward(
    request: Request,
    session: Session,
    sketch: Sketch,
    step: Step,
    sent: Page,
    refusal: str,
    user: User,
) -> Response:
    """Where to after a step was stored."""
    go = sent.go
    order = list(Step)
    place = order.index(step)
    if go is Go.KEEP:
        address = rooted.at(request.scope, _address(sketch, step))
        return JSONResponse({"address": address, "seen": _mark(sketch, step)})
    sketch.refusal = None
    if isinstance(go, Step) or go is Go.BACK:
        return see_other(_address(sketch, go if isinstance(go, Step) else order[max(0, place - 1)]))
    if step is Step.DESIGN:
        _apply_preset(session, sketch, user, sent.written)
    if refusal:
        sketch.refuse(step, refusal, user)
        return see_other(_address(sketch, step))
    return see_other(_address(sketch, order[min(place + 1, len(order) - 1)]))


def _changed_elsewhere(
    asked: Asking, sketch: Sketch, step: Step, sent: Fields, other: Iterable[str]
) -> Response:
    """Two people or tabs changed one step: nothing is written over before both were seen."""
    stored = "; ".join(
        f"{name.replace('_', ' ')} “{_short(sketch.typed.get(name))}”" for name in other
    )
    last = _last(sketch, step)
    by_other = last is not None and last.by_id != asked.user.id
    who = f"by {last.by.name} meanwhile" if last and by_other else "in another tab or window"
    refusal = Conflict(
        f"This step was changed {who}, where it says: {stored}. What you typed "
        "is below and not stored yet; go on to store it instead."
    )
    if wants_json(asked.request):
        raise refusal
    typed = Typed(**{**sketch.typed, **sent})
    return _step(asked.request, asked.db, sketch, typed, step, refusal, user=asked.user)


def _short(value: object) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _known(step: str) -> Step:
    if step not in set(Step):
        raise NotFound(_no_step(step))
    return Step(step)


def _no_step(name: str) -> str:
    return f"There is no step {name[:40]!r}; the steps are {', '.join(Step)}."


def _address(sketch: Sketch, step: Step) -> str:
    return f"/reader-studies/sketches/{sketch.id}/{step}"


def _scheme(session: Session, typed: Typed) -> LesionScheme | None:
    schemes = KnownLesions.schemes(session)
    return schemes.get(typed.scheme) or next(iter(schemes.values()), None)


def _apply_preset(session: Session, sketch: Sketch, user: User, written: Written) -> None:
    """Fill in what a preset says, once, and keep what stood there for the way back."""
    typed = sketch.form
    if typed.preset not in DESIGNS or typed.preset == typed.applied:
        return
    if typed.applied:
        before = typed.model_dump(include=set(OF_PRESET))
        sketch.by_preset = {**sketch.by_preset, typed.applied: before}
    kept = sketch.by_preset.get(typed.preset)
    filled = kept or filled_by(typed.preset, _scheme(session, typed))
    sketch.keep({**filled, "applied": typed.preset}, Step.DESIGN, user, written)


def _fitted(session: Session, typed: Typed, sent: Fields) -> Fields:
    """With another scheme, a preset's numbers are those of that scheme; typed ones stay."""
    scheme = KnownLesions.schemes(session).get(str(sent.get("scheme", "")))
    if scheme is None or typed.applied not in DESIGNS or sent["scheme"] == typed.scheme:
        return sent
    before = filled_by(typed.applied, _scheme(session, typed))
    after = filled_by(typed.applied, scheme)
    changed = {
        name: after[name] for name in ("real", "synthetic") if sent.get(name) == before[name]
    }
    return {**sent, **changed}


def _refused(session: Session, user: User, typed: Typed, step: Step) -> str:
    """Why a step cannot be left with what was typed; "" when it can."""
    try:
        if step is Step.DESIGN:
            refuse_untitled(typed, step)
            return ""
        design = typed.design()
        tried = design
        if step is Step.READING:  # it is confirmed at the next one
            tried = replace(design, debriefing_confirmed=True)
        if step is Step.IMAGES:  # the numbers of the next step are not looked at yet
            tried = Design(
                task=design.task,
                graded=design.graded,
                lesion_class=design.task is Task.ORIGIN,
                practice=design.practice,
                near_limit=design.near_limit,
            )
        _chosen(session, user, typed, replace(tried, exclude_near=False), None)
    except (Forbidden, Unreadable, NotFound) as refusal:
        return refusal.detail
    return ""


def _chosen(
    session: Session,
    user: User,
    typed: Typed,
    design: Design,
    draw: Draw | None,
    key: bytes | None = None,
) -> Composition:
    """What a sketch comes to; with the installation's ``key`` as it can be kept, and without it
    only whether it can be filled."""
    if typed.without:
        Enrolment.refuse_exposures(session, user)
    schemes = KnownLesions.schemes(session)
    name = typed.scheme or next(iter(schemes), "")
    if name not in schemes:
        raise Unreadable("Choose a lesion scheme that a served checkpoint knows.")
    without = [User.require(session, name) for name in typed.without]
    wish = typed.wish(schemes[name], without, design)
    return Composition.choose(session, wish.sealed(key, uuid.uuid4()) if key else wish, draw)


def _frozen(session: Session, typed: Typed, scheme: LesionScheme) -> dict[uuid.UUID, str] | None:
    """What the chosen versions hold, for the table of what there is; a refusal says the rest."""
    try:
        versions = DatasetVersion.chosen(session, typed.versions)
        return DatasetVersion.joint_classes(session, versions, scheme) if versions else None
    except Unreadable:
        return None


def _partners(session: Session, sketch: Sketch, user: User) -> list[str]:
    """With whom its maker could share a sketch; nobody where somebody else asks."""
    if sketch.made_by_id != user.id:
        return []
    return [
        one.name
        for one in User.everyone(session)
        if one.may("researcher") and one.disabled_at is None and one.id != user.id
    ]


def _hypotheses(pool: KnownLesions | None, typed: Typed, kind: str) -> list[tuple[str, str]]:
    """Key and words of what a study of the chosen generators can be judged by.

    Where none is chosen the newest of each class draw the images.

    With what was chosen before other generators were, so that a page changes nothing in silence.
    """
    rows = [row for row in (pool.generators if pool else ()) if row.training_kind == kind]
    chosen = [row for row in rows if row.name in typed.generators]
    if typed.task is Task.PREFERENCE:
        chosen = chosen or rows
    newest = {row.lesion_class: row for row in rows}.values()  # as a composition takes them
    names = tuple(dict.fromkeys(row.generator for row in chosen or newest))
    found = {one.key: one.statement(measure=typed.measure) for one in choices(names, typed.measure)}
    if typed.primary not in found:
        found[typed.primary] = f"{typed.primary[:80]}: not with these generators"
    return list(found.items())


def _step(
    request: Request,
    session: Session,
    sketch: Sketch | None,
    typed: Typed,
    step: Step,
    refusal: AppError | None = None,
    *,
    user: User,
) -> Response:
    schemes = KnownLesions.schemes(session)
    chosen = _scheme(session, typed)
    pool = None
    if chosen:
        pool = KnownLesions.of(session, chosen, frozen=_frozen(session, typed, chosen))
    counts = {kind: pool.counts(kind) for kind in KINDS} if pool else {}
    usable = [
        kind
        for kind, items in counts.items()
        if items and all(one.lesions and one.generators for one in items)
    ]
    versions = DatasetVersion.all(session)
    form = typed.model_dump()
    for name in ("instructions", "analysis", "consent"):
        form[name] = fitting(
            form[name].strip(), typed.task, yes(typed.lesion_class), unaware=typed.unaware
        )
    form["kind"] = form["kind"] or (usable[0] if usable else "")
    form["scheme"] = form["scheme"] or (chosen.name if chosen else "")
    error = refusal.detail if refusal else ""
    if sketch and not error:
        error = sketch.refusal_at(step, user)
    preset = DESIGNS.get(typed.applied)
    return page(
        request,
        "sketches/show.html",
        refusal.status if refusal else 200,
        sketch=sketch,
        address=f"/reader-studies/sketches/{sketch.id}" if sketch else "/reader-studies/sketches",
        seen=_mark(sketch, step) if sketch else "",
        steps=STEPS,
        step=step,
        place=list(Step).index(step),
        form=form,
        error=error,
        presets=DESIGNS,
        task=typed.task,
        unaware=typed.unaware,
        second_parts=[(one.value, words) for one, words in SECOND_PARTS.items()],
        preset_note=preset.note(chosen) if preset and chosen else "",
        schemes=list(schemes),
        scheme=chosen,
        kinds=KINDS,
        counts=counts,
        generators=pool.generators if pool else (),
        versions=[row for row in versions if chosen and row.scheme.keys == chosen.keys],
        kept={row.digest: row.name for row in versions},
        usable=usable,
        hypotheses=_hypotheses(pool, typed, form["kind"]),
        multiplicities=[(one.value, f"{one}: {one.words}") for one in Multiplicity],
        plans=[(one.value, f"{one}: {one.words}") for one in Missing],
        people=[one.name for one in User.everyone(session) if one.disabled_at is None],
        changed=sketch.changed(step) if sketch else None,
        partners=_partners(session, sketch, user) if sketch else [],
    )
