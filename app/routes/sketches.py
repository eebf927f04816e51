"""Sketches: the wizard of a reader study. Every step has an address, and what is typed is kept."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.auth import Researcher
from app.db import Db, ReadDb
from app.errors import AppError, Conflict, Forbidden, NotFound, Unreadable
from app.models.people.user import User
from app.models.reader_studies.composition import Composition, Draw
from app.models.reader_studies.design import PRESETS, Design, fitting
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.sketch import STEPS, Sketch
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.typed import number, per_class, said, whole
from app.models.reader_studies.wish import Wish
from app.models.runs.dataset import DatasetVersion
from app.models.runs.known_lesions import KINDS, Pool
from app.responses import page, see_other, wants_json
from ml.lesion import LesionScheme

router = APIRouter(include_in_schema=False)

_ON_STEP = {
    "design": ("title", "preset"),
    "images": ("kind", "scheme", "versions", "real", "synthetic", "generators", "without",
               "exclude_own", "exclude_read", "exclude_near", "near_limit", "seed"),
    "reading": ("lesion_class", "class_confidence", "reasons", "practice", "repeats",
                "repeat_distance", "break_every", "tell_prevalence", "back", "interpolation",
                "size_mm", "window", "zoom"),
    "conduct": ("instructions", "consent", "consent_version", "consent_date", "ethics_reference",
                "margin", "analysis"),
    "check": (),
}  # fmt: skip
_OF_PRESET = (
    "real", "synthetic", "exclude_near", "lesion_class", "class_confidence", "reasons", "practice",
    "repeats", "repeat_distance", "break_every", "size_mm",
)  # fmt: skip
_DEFAULT = Design()

Text = Annotated[str, Field(max_length=20_000)]
Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=500)]


class Typed(BaseModel):
    """The wizard's fields as they were typed."""

    applied: Text = ""
    preset: Text = "balanced"
    title: Text = ""
    scheme: Text = ""
    kind: Text = ""
    real: Text = "10"
    synthetic: Text = "10"
    seed: Text = ""
    versions: Names = []
    generators: Names = []
    without: Names = []
    exclude_own: Text = "1"
    exclude_read: Text = "1"
    exclude_near: Text = ""
    near_limit: Text = ""
    lesion_class: Text = "1"
    class_confidence: Text = ""
    reasons: Text = ""
    practice: Text = "0"
    repeats: Text = "0"
    repeat_distance: Text = str(_DEFAULT.repeat_distance)
    break_every: Text = "0"
    tell_prevalence: Text = ""
    back: Text = ""
    interpolation: Text = _DEFAULT.interpolation
    size_mm: Text = ""
    window: Text = ""
    zoom: Text = ""
    instructions: Text = _DEFAULT.instructions
    consent: Text = _DEFAULT.consent
    consent_version: Text = _DEFAULT.consent_version
    consent_date: Text = ""
    ethics_reference: Text = ""
    margin: Text = "0.10"
    analysis: Text = _DEFAULT.analysis

    def of_step(self, step: str) -> dict[str, Any]:
        """The fields that a step shows; a list that was not sent has nothing chosen."""
        sent = self.model_fields_set | {"versions", "generators", "without"}
        return {name: getattr(self, name) for name in _ON_STEP[step] if name in sent}


class Turned(Typed):
    """A page of the wizard: where to go, and what the page was made from."""

    go: str = "next"
    """next, back, keep (store and stay), or a step."""
    seen: str = ""


@router.get("/reader-studies/new")
def new(request: Request, user: Researcher, db: ReadDb) -> Response:
    """The first step; the sketch is made when something is typed."""
    return _step(request, db, None, Typed(), "design")


@router.post("/reader-studies/sketches")
def begin(user: Researcher, db: Db, turned: Annotated[Turned, Form()]) -> Response:
    """Make a sketch of what was typed at the first step, and go where the person turned.

    Raises:
        Conflict: the person has as many sketches as they may.
    """
    fields = {**Typed().model_dump(), **turned.of_step("design")}
    sketch = Sketch.begin(db, user, fields, "design")
    refusal = _refused(db, user, _typed(sketch), "design") if turned.go == "next" else ""
    return _turn(db, sketch, "design", turned.go, refusal)


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
    return _step(request, db, sketch, _typed(sketch), _known(step))


@router.post("/reader-studies/sketches/{sketch_id}/deletion")
def delete(user: Researcher, db: Db, sketch_id: uuid.UUID) -> Response:
    """Delete one's own sketch; what was composed from it stays."""
    sketch = Sketch.require(db, sketch_id, user, to_change=True)
    title = sketch.title or "untitled"
    sketch.discard(db)
    return see_other("/reader-studies", f"The sketch “{title}” is deleted.", "info")


@router.post("/reader-studies/sketches/{sketch_id}/composition")
def compose(
    request: Request, user: Researcher, look: ReadDb, db: Db, sketch_id: uuid.UUID
) -> Response:
    """Compose the study; a sketch that cannot be used says why, and stays as it is."""
    typed = _typed(Sketch.require(look, sketch_id, user))
    refusal, chosen = "", None
    try:
        if not typed.title.strip():
            raise Unreadable("Give the study a title (step Design).")
        chosen = _chosen(look, user, typed, _design(typed), request.app.state.inference.draw)
    except (Forbidden, Unreadable, NotFound) as error:
        refusal = error.detail
    sketch = Sketch.require(db, sketch_id, user, to_change=True)
    if sketch.study_id is not None:  # pressed twice
        return see_other(f"/reader-studies/{sketch.study_id}")
    if chosen is None:
        sketch.refusal = {"step": "check", "text": refusal}
        return see_other(_address(sketch, "check"))
    study = ReaderStudy.keep(db, user, chosen)
    sketch.study_id, sketch.refusal = study.id, None
    return see_other(
        f"/reader-studies/{study.id}",
        f"Composed from {study.total} images. Audit it, enrol readers, then open the study.",
    )


@router.post("/reader-studies/sketches/{sketch_id}/{step}")
def turn(
    request: Request,
    user: Researcher,
    look: ReadDb,
    db: Db,
    sketch_id: uuid.UUID,
    step: str,
    turned: Annotated[Turned, Form()],
) -> Response:
    """Store what a step says and go on, back, or to another step.

    Whether it can be left is found out before the write lock is held.
    """
    step = _known(step)
    before = Sketch.require(look, sketch_id, user)
    sent = _fitted(look, before, turned.of_step(step))
    refusal = ""
    if turned.go == "next":
        refusal = _refused(look, user, Typed(**{**_typed(before).model_dump(), **sent}), step)
    sketch = Sketch.require(db, sketch_id, user, to_change=True)
    if sketch.study_id is not None:
        return see_other(f"/reader-studies/{sketch.study_id}")
    other = {name: value for name, value in sent.items() if sketch.typed.get(name) != value}
    if other and turned.seen and turned.seen != sketch.mark(_ON_STEP[step]):
        return _changed_elsewhere(request, db, sketch, step, sent, other)
    sketch.keep(sent, step)
    return _turn(db, sketch, step, turned.go, refusal)


def _turn(session: Session, sketch: Sketch, step: str, go: str, refusal: str) -> Response:
    """Where to after a step was stored."""
    order = list(STEPS)
    place = order.index(step)
    if go == "keep":
        seen = sketch.mark(_ON_STEP[step])
        return JSONResponse({"address": _address(sketch, step), "seen": seen})
    sketch.refusal = None
    if go in STEPS or go == "back":
        target = go if go in STEPS else order[max(0, place - 1)]
        return see_other(_address(sketch, target))
    if step == "design":
        _apply_preset(session, sketch)
    if refusal:
        sketch.refusal = {"step": step, "text": refusal}
        return see_other(_address(sketch, step))
    return see_other(_address(sketch, order[min(place + 1, len(order) - 1)]))


def _changed_elsewhere(
    request: Request,
    session: Session,
    sketch: Sketch,
    step: str,
    sent: Mapping[str, Any],
    other: Iterable[str],
) -> Response:
    """Two tabs changed one step: nothing is written over before both were seen."""
    stored = "; ".join(
        f"{name.replace('_', ' ')} “{_short(sketch.typed.get(name))}”" for name in other
    )
    refusal = Conflict(
        f"This step was changed in another tab or window, where it says: {stored}. What you typed "
        "is below and not stored yet; go on to store it instead."
    )
    if wants_json(request):
        raise refusal
    typed = Typed(**{**sketch.typed, **sent})
    return _step(request, session, sketch, typed, step, refusal)


def _short(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _known(step: str) -> str:
    if step not in STEPS:
        raise NotFound(f"There is no step {step[:40]!r}; the steps are {', '.join(STEPS)}.")
    return step


def _address(sketch: Sketch, step: str) -> str:
    return f"/reader-studies/sketches/{sketch.id}/{step}"


def _typed(sketch: Sketch) -> Typed:
    known = {key: value for key, value in sketch.typed.items() if key in Typed.model_fields}
    return Typed(**known)


def _scheme(session: Session, typed: Typed) -> LesionScheme | None:
    schemes = Pool.schemes(session)
    return schemes.get(typed.scheme) or next(iter(schemes.values()), None)


def _apply_preset(session: Session, sketch: Sketch) -> None:
    """Fill in what a preset says, once, and keep what stood there for the way back."""
    typed = _typed(sketch)
    if typed.preset not in PRESETS or typed.preset == typed.applied:
        return
    if typed.applied:
        before = {name: getattr(typed, name) for name in _OF_PRESET}
        sketch.by_preset = {**sketch.by_preset, typed.applied: before}
    filled = sketch.by_preset.get(typed.preset) or _preset(typed.preset, _scheme(session, typed))
    sketch.keep({**filled, "applied": typed.preset}, "design")


def _preset(name: str, scheme: LesionScheme | None) -> dict[str, str]:
    """The fields as a preset has them."""
    preset = PRESETS[name]
    design = preset.design

    def ticked(value: bool) -> str:
        return "1" if value else ""

    return {
        "real": said(preset.spread(preset.real, scheme)),
        "synthetic": said(preset.spread(preset.synthetic, scheme)),
        "exclude_near": ticked(design.exclude_near),
        "lesion_class": ticked(design.lesion_class),
        "class_confidence": ticked(design.class_confidence),
        "reasons": ticked(design.reasons),
        "practice": str(design.practice),
        "repeats": str(design.repeats),
        "repeat_distance": str(design.repeat_distance),
        "break_every": str(design.break_every),
        "size_mm": "" if design.size_mm is None else f"{design.size_mm:g}",
    }


def _fitted(session: Session, sketch: Sketch, sent: dict[str, Any]) -> dict[str, Any]:
    """With another scheme, a preset's numbers are those of that scheme; typed ones stay."""
    typed = _typed(sketch)
    scheme = Pool.schemes(session).get(sent.get("scheme", ""))
    if scheme is None or typed.applied not in PRESETS or sent["scheme"] == typed.scheme:
        return sent
    before = _preset(typed.applied, _scheme(session, typed))
    after = _preset(typed.applied, scheme)
    changed = {
        name: after[name] for name in ("real", "synthetic") if sent.get(name) == before[name]
    }
    return {**sent, **changed}


def _refused(session: Session, user: User, typed: Typed, step: str) -> str:
    """Why a step cannot be left with what was typed; "" when it can."""
    if step == "design":
        return "" if typed.title.strip() else "Give the study a title."
    try:
        design = _design(typed)
        tried = Design(practice=design.practice) if step == "images" else design
        _chosen(session, user, typed, replace(tried, exclude_near=False), None)
    except (Forbidden, Unreadable, NotFound) as refusal:
        return refusal.detail
    return ""


def _design(typed: Typed) -> Design:
    return Design(
        preset=typed.preset if typed.preset in PRESETS else "own",
        lesion_class=_yes(typed.lesion_class),
        class_confidence=_yes(typed.class_confidence),
        reasons=_yes(typed.reasons),
        practice=whole(typed.practice, "the practice images"),
        repeats=whole(typed.repeats, "the repeats"),
        repeat_distance=whole(typed.repeat_distance, "the distance of repeats"),
        break_every=whole(typed.break_every, "the trials between breaks"),
        tell_prevalence=_yes(typed.tell_prevalence),
        interpolation=typed.interpolation,
        size_mm=number(typed.size_mm, "the image size") if typed.size_mm.strip() else None,
        window=_yes(typed.window),
        zoom=_yes(typed.zoom),
        back=_yes(typed.back),
        exclude_own=_yes(typed.exclude_own),
        exclude_read=_yes(typed.exclude_read),
        exclude_near=_yes(typed.exclude_near),
        near_limit=number(typed.near_limit, "the limit") if typed.near_limit.strip() else None,
        margin=number(typed.margin, "the margin"),
        analysis=typed.analysis,
        instructions=typed.instructions,
        consent=typed.consent,
        consent_version=typed.consent_version,
        consent_date=typed.consent_date,
        ethics_reference=typed.ethics_reference,
    )


def _chosen(
    session: Session, user: User, typed: Typed, design: Design, draw: Draw | None
) -> Composition:
    if typed.without:
        Enrolment.refuse_exposures(session, user)
    schemes = Pool.schemes(session)
    name = typed.scheme or next(iter(schemes), "")
    if name not in schemes:
        raise Unreadable("Choose a lesion scheme that a served checkpoint knows.")
    scheme = schemes[name]
    wish = Wish(
        title=typed.title.strip() or "untitled",
        scheme=scheme,
        kind=typed.kind or None,
        real=per_class(typed.real, "real images", scheme),
        synthetic=per_class(typed.synthetic, "synthetic images", scheme),
        generators=typed.generators,
        versions=typed.versions,
        seed=whole(typed.seed, "the seed") if typed.seed.strip() else None,
        without_lesions_of=[User.require(session, name) for name in typed.without],
        design=design,
    )
    return Composition.choose(session, wish, draw)


def _frozen(session: Session, typed: Typed, scheme: LesionScheme) -> dict[uuid.UUID, str] | None:
    """What the chosen versions hold, for the table of what there is; a refusal says the rest."""
    try:
        versions = DatasetVersion.chosen(session, typed.versions)
        return DatasetVersion.joint_classes(session, versions, scheme) if versions else None
    except Unreadable:
        return None


def _yes(text: str) -> bool:
    return text == "1"


def _step(
    request: Request,
    session: Session,
    sketch: Sketch | None,
    typed: Typed,
    step: str,
    refusal: AppError | None = None,
) -> Response:
    schemes = Pool.schemes(session)
    chosen = _scheme(session, typed)
    pool = Pool.of(session, chosen, frozen=_frozen(session, typed, chosen)) if chosen else None
    counts = {kind: pool.counts(kind) for kind in KINDS} if pool else {}
    usable = [
        kind
        for kind, items in counts.items()
        if items and all(one.lesions and one.generators for one in items)
    ]
    versions = DatasetVersion.all(session)
    form = typed.model_dump()
    for name in ("instructions", "analysis"):
        form[name] = fitting(form[name].strip(), lesion_class=_yes(typed.lesion_class))
    form["kind"] = form["kind"] or (usable[0] if usable else "")
    form["scheme"] = form["scheme"] or (chosen.name if chosen else "")
    error = refusal.detail if refusal else ""
    if sketch and sketch.refusal and sketch.refusal["step"] == step and not error:
        error = sketch.refusal["text"]
    preset = PRESETS.get(typed.applied)
    return page(
        request,
        "sketches/show.html",
        refusal.status if refusal else 200,
        sketch=sketch,
        address=f"/reader-studies/sketches/{sketch.id}" if sketch else "/reader-studies/sketches",
        seen=sketch.mark(_ON_STEP[step]) if sketch else "",
        steps=STEPS,
        step=step,
        place=list(STEPS).index(step),
        form=form,
        error=error,
        presets=PRESETS,
        preset_note=preset.note(chosen) if preset and chosen else "",
        schemes=list(schemes),
        scheme=chosen,
        kinds=KINDS,
        counts=counts,
        generators=pool.generators if pool else (),
        versions=[row for row in versions if chosen and row.scheme.keys == chosen.keys],
        kept={row.digest: row.name for row in versions},
        usable=usable,
        people=[one.name for one in User.everyone(session) if one.disabled_at is None],
    )
