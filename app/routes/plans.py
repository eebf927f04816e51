"""Plans of reader studies: the wizard, the composing, the sample-size planner."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Researcher
from app.db import Db, ReadDb
from app.errors import AppError, Unreadable
from app.models.composition import MOST_IMAGES, Composition, Draw
from app.models.dataset import DatasetVersion
from app.models.design import PRESETS, Design, fitting
from app.models.pool import KINDS, Pool
from app.models.reader_study import ReaderStudy
from app.models.user import User
from app.responses import page, see_other
from ml.lesion import LesionScheme
from ml.readers.power import area_equivalence_power, area_power, plan
from ml.readers.proportion import ReadersError

router = APIRouter(include_in_schema=False)

STEPS = ("Design", "Images", "Reading", "Conduct and analysis", "Check")
_ON_STEP = {
    1: ("title", "preset"),
    2: ("kind", "scheme", "versions", "real", "synthetic", "generators", "without", "exclude_own",
        "exclude_near", "near_limit", "seed"),
    3: ("lesion_class", "class_confidence", "reasons", "practice", "repeats", "repeat_distance",
        "break_every", "tell_prevalence", "back", "interpolation", "size_mm", "window", "zoom"),
    4: ("instructions", "consent", "consent_version", "consent_date", "ethics_reference",
        "margin", "analysis"),
    5: (),
}  # fmt: skip
_DEFAULT = Design()


class Typed(BaseModel):
    """The wizard's fields as they were typed; what a step does not show travels hidden."""

    applied: str = ""
    preset: str = "own"
    title: str = ""
    scheme: str = ""
    kind: str = ""
    real: str = "10"
    synthetic: str = "10"
    seed: str = ""
    versions: list[str] = []
    generators: list[str] = []
    without: list[str] = []
    exclude_own: str = "1"
    exclude_near: str = ""
    near_limit: str = ""
    lesion_class: str = "1"
    class_confidence: str = ""
    reasons: str = ""
    practice: str = "0"
    repeats: str = "0"
    repeat_distance: str = str(_DEFAULT.repeat_distance)
    break_every: str = "0"
    tell_prevalence: str = ""
    back: str = ""
    interpolation: str = _DEFAULT.interpolation
    size_mm: str = ""
    window: str = ""
    zoom: str = ""
    instructions: str = _DEFAULT.instructions
    consent: str = _DEFAULT.consent
    consent_version: str = _DEFAULT.consent_version
    consent_date: str = ""
    ethics_reference: str = ""
    margin: str = "0.10"
    analysis: str = _DEFAULT.analysis


class Turned(Typed):
    """A page of the wizard: which step it was, and where to go."""

    step: int = 1
    go: str = "next"


@router.get("/reader-studies/new")
def new(request: Request, user: Researcher, db: ReadDb) -> Response:
    return _step(request, db, _preset(Typed(preset="balanced")), 1)


@router.post("/reader-studies/new")
def turn(
    request: Request, user: Researcher, db: ReadDb, turned: Annotated[Turned, Form()]
) -> Response:
    """To another step of the wizard; nothing is stored."""
    typed: Typed = turned
    step = min(max(turned.step, 1), len(STEPS))
    if turned.go in map(str, range(1, len(STEPS) + 1)):
        return _step(request, db, typed, int(turned.go))
    if turned.go == "back":
        return _step(request, db, typed, max(1, step - 1))
    if step == 1 and typed.preset in PRESETS and typed.preset != typed.applied:
        typed = _preset(typed)
    try:
        if step == 1 and not typed.title.strip():
            raise Unreadable("Give the study a title.")
        if step > 1:
            design = _design(typed)
            tried = Design(practice=design.practice) if step == 2 else design
            _chosen(db, typed, replace(tried, exclude_near=False), None)
    except Unreadable as refusal:
        return _step(request, db, typed, step, refusal)
    return _step(request, db, typed, min(step + 1, len(STEPS)))


@router.post("/reader-studies")
def create(
    request: Request, user: Researcher, look: ReadDb, db: Db, typed: Annotated[Typed, Form()]
) -> Response:
    """Compose a study; a form that cannot be used comes back as it was, with the reason."""
    try:
        chosen = _chosen(look, typed, _design(typed), request.app.state.inference.draw)
    except Unreadable as refusal:
        return _step(request, look, typed, len(STEPS), refusal)
    study = ReaderStudy.keep(db, user, chosen)
    return see_other(
        f"/reader-studies/{study.id}",
        f"Composed from {study.total} images. Audit it, enrol readers, then open the study.",
    )


@router.get("/reader-studies/planner")
def planner(
    request: Request,
    user: Researcher,
    readers: str = "5",
    cases: str = "300",
    effect: str = "0.10",
    margin: str = "0.10",
) -> Response:
    """How many images and readers a study needs."""
    typed = {"readers": readers, "cases": cases, "effect": effect, "margin": margin}
    found: dict[str, Any] | None = None
    single: list[dict[str, float]] = []
    error = ""
    try:
        count = _whole(cases, "the images")
        if count > 10 * MOST_IMAGES or _whole(readers, "the readers") > 200:
            raise Unreadable(f"Plan with at most {10 * MOST_IMAGES} images and 200 readers.")
        distance, within = _number(effect, "the effect"), _number(margin, "the margin")
        found = plan(_whole(readers, "the readers"), count, distance, margin=within)
        for images in sorted({60, 100, 150, 200, 300, 400, count}):
            half = images // 2
            single.append(
                {
                    "images": images,
                    "difference": area_power(0.5 + abs(distance), half, images - half),
                    "equivalence": area_equivalence_power(half, images - half, within),
                }
            )
    except (Unreadable, ReadersError) as refusal:
        error = str(refusal)
    return page(
        request,
        "reader_studies/planner.html",
        422 if error else 200,
        form=typed,
        plan=found,
        single=single,
        error=error,
    )


def _preset(typed: Typed) -> Typed:
    """The fields as a preset has them; the title and what is no preset's business stay."""
    preset = PRESETS[typed.preset]
    design = preset.design

    def said(number: int | dict[str, int]) -> str:
        return ", ".join(map(str, number.values())) if isinstance(number, dict) else str(number)

    def ticked(value: bool) -> str:
        return "1" if value else ""

    return typed.model_copy(
        update={
            "applied": typed.preset,
            "real": said(preset.real),
            "synthetic": said(preset.synthetic),
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
    )


def _design(typed: Typed) -> Design:
    return Design(
        preset=typed.preset if typed.preset in PRESETS else "own",
        lesion_class=_yes(typed.lesion_class),
        class_confidence=_yes(typed.class_confidence),
        reasons=_yes(typed.reasons),
        practice=_whole(typed.practice, "the practice images"),
        repeats=_whole(typed.repeats, "the repeats"),
        repeat_distance=_whole(typed.repeat_distance, "the distance of repeats"),
        break_every=_whole(typed.break_every, "the trials between breaks"),
        tell_prevalence=_yes(typed.tell_prevalence),
        interpolation=typed.interpolation,
        size_mm=_number(typed.size_mm, "the image size") if typed.size_mm.strip() else None,
        window=_yes(typed.window),
        zoom=_yes(typed.zoom),
        back=_yes(typed.back),
        exclude_own=_yes(typed.exclude_own),
        exclude_near=_yes(typed.exclude_near),
        near_limit=_number(typed.near_limit, "the limit") if typed.near_limit.strip() else None,
        margin=_number(typed.margin, "the margin"),
        analysis=typed.analysis,
        instructions=typed.instructions,
        consent=typed.consent,
        consent_version=typed.consent_version,
        consent_date=typed.consent_date,
        ethics_reference=typed.ethics_reference,
    )


def _chosen(session: Session, typed: Typed, design: Design, draw: Draw | None) -> Composition:
    schemes = Pool.schemes(session)
    name = typed.scheme or next(iter(schemes), "")
    if name not in schemes:
        raise Unreadable("Choose a lesion scheme that a served checkpoint knows.")
    scheme = schemes[name]
    return Composition.choose(
        session,
        title=typed.title,
        scheme=scheme,
        kind=typed.kind or None,
        real=_asked(typed.real, "real images", scheme),
        synthetic=_asked(typed.synthetic, "synthetic images", scheme),
        generators=typed.generators,
        versions=typed.versions,
        seed=_whole(typed.seed, "the seed") if typed.seed.strip() else None,
        without_lesions_of=[User.require(session, name) for name in typed.without],
        design=design,
        draw=draw,
    )


def _frozen(session: Session, typed: Typed, scheme: LesionScheme) -> dict[uuid.UUID, str] | None:
    """What the chosen versions hold, for the table of what there is; a refusal says the rest."""
    try:
        versions = DatasetVersion.chosen(session, typed.versions)
        return DatasetVersion.joint_classes(session, versions, scheme) if versions else None
    except Unreadable:
        return None


def _asked(text: str, what: str, scheme: LesionScheme) -> int | dict[str, int]:
    """A number in all, or one per class in the scheme's order."""
    parts = [_whole(part, what) for part in text.split(",")]
    if len(parts) == 1:
        return parts[0]
    if len(parts) != len(scheme):
        raise Unreadable(
            f"Give {what} as one number, or as one per class in this order: "
            f"{', '.join(scheme.keys)}."
        )
    return dict(zip(scheme.keys, parts, strict=True))


def _yes(text: str) -> bool:
    return text == "1"


def _whole(text: str, what: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text) < 20):
        raise Unreadable(f"Give {what} as a whole number, not {text[:20]!r}.")
    return int(text)


def _number(text: str, what: str) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise Unreadable(f"Give {what} as a number, not {text[:20]!r}.") from None


def _step(
    request: Request, session: Session, typed: Typed, step: int, refusal: AppError | None = None
) -> Response:
    schemes = Pool.schemes(session)
    chosen = schemes.get(typed.scheme) or next(iter(schemes.values()), None)
    pool = Pool.of(session, chosen, frozen=_frozen(session, typed, chosen)) if chosen else None
    counts = {kind: pool.counts(kind) for kind in KINDS} if pool else {}
    usable = [
        kind
        for kind, items in counts.items()
        if items and all(one.lesions and one.generators for one in items)
    ]
    versions = DatasetVersion.all(session)
    form = typed.model_dump(include=set(Typed.model_fields))
    for name in ("instructions", "analysis"):
        form[name] = fitting(form[name].strip(), lesion_class=_yes(typed.lesion_class))
    form["kind"] = form["kind"] or (usable[0] if usable else "")
    form["scheme"] = form["scheme"] or (chosen.name if chosen else "")
    shown = set(_ON_STEP[step])
    hidden = [
        (name, one)
        for name, value in form.items()
        if name not in shown
        for one in (value if isinstance(value, list) else [value])
    ]
    return page(
        request,
        "reader_studies/new.html",
        refusal.status if refusal else 200,
        steps=STEPS,
        step=step,
        form=form,
        hidden=hidden,
        error=refusal.detail if refusal else "",
        presets=PRESETS,
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
