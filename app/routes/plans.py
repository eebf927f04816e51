"""Plans of reader studies: how many images and readers one needs, by simulated studies."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response, StreamingResponse

from app.auth import Researcher
from app.bodies import Multipart, files_of, text_of
from app.db import Db, ReadDb
from app.errors import BadRequest, Unreadable
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.study import ReaderStudy
from app.models.study_plans.asked import DEFAULTS, STUDIES, Asked, Spread
from app.models.study_plans.pilot import Estimated, Pilot
from app.models.study_plans.power import KeptPower
from app.responses import AS_IT_COMES, page, see_other
from ml.progress import remaining_s, spoken
from ml.readers.planning import quick
from ml.readers.simulation import QUESTIONS, SimulatedGrid, Simulation, assumptions
from ml.readers.tables import smallest_words
from ml.statistics.power import area_equivalence_power, area_power, images_for_equivalence
from ml.statistics.proportion import ReadersError

router = APIRouter(include_in_schema=False)

_LINES = "application/x-ndjson"
_APART = 0.065
"""Of two names beside the plot, in units of power: their height."""
_ALONE = (60, 100, 150, 200, 300, 400)


def _typed(
    claim: str = DEFAULTS["claim"],
    readers: str = DEFAULTS["readers"],
    cases: str = DEFAULTS["cases"],
    effect: str = DEFAULTS["effect"],
    offset: str = DEFAULTS["offset"],
    margin: str = DEFAULTS["margin"],
    generators: str = DEFAULTS["generators"],
    middle: str = DEFAULTS["middle"],
    points: str = DEFAULTS["points"],
    reader: str = DEFAULTS["reader"],
    case: str = DEFAULTS["case"],
    alike: str = DEFAULTS["alike"],
    pilot: str = DEFAULTS["pilot"],
    spread: str = DEFAULTS["spread"],
    studies: str = DEFAULTS["studies"],
    seed: str = DEFAULTS["seed"],
    wanted: str = DEFAULTS["wanted"],
) -> dict[str, str]:
    """The fields of a plan, as they were typed."""
    return dict(locals())


Fields = Annotated[dict[str, str], Depends(_typed)]


@router.get("/reader-studies/planner")
def planner(
    request: Request,
    user: Researcher,
    db: ReadDb,
    typed: Fields,
    run: Annotated[bool, Query()] = False,
) -> Response:
    """What is known of a plan. With ``run`` it is simulated: for a script a line per step to the
    end; else for a moment, and asking again goes on."""
    try:
        asked = Asked.of(db, typed)
        ready = asked.simulation(KeptPower.known(db, asked.cells))
        if run and _LINES in request.headers.get("accept", ""):
            lines = _lines(request, ready)
            return StreamingResponse(lines, media_type=_LINES, headers=AS_IT_COMES)
        if run and ready.missing:
            request.app.state.simulations.for_a_moment(ready)
        shown = _shown(typed, asked, ready)
    except (Unreadable, ReadersError) as refusal:
        return _page(request, db, user, typed, status=422, error=str(refusal))
    return _page(request, db, user, typed, **shown)


@router.post("/reader-studies/planner/pilots")
def take_pilot(
    request: Request, user: Researcher, look: ReadDb, db: Db, form: Multipart
) -> Response:
    """Estimate readers from a file of ratings, or from an unblinded study, and plan with them.

    Raises:
        BadRequest: neither was given, or both.
        NotFound: no such study.
        Forbidden: it is not unblinded, or the person reads a study blind.
    """
    uploads, named = files_of(form, "ratings"), text_of(form, "study").strip()
    if len(uploads) + bool(named) != 1:
        raise BadRequest("Give one file of ratings, or choose one finished study.")
    try:
        if uploads:
            estimated = Estimated.of_file(*uploads[0])
        else:
            study_id = None
            with suppress(ValueError):
                study_id = uuid.UUID(named)
            Enrolment.refuse_synthetics(look, user)
            study = ReaderStudy.require(look, study_id or uuid.UUID(int=0))
            estimated = Estimated.of_study(look, study)
    except (Unreadable, ReadersError) as refusal:
        typed = {name: text_of(form, name, value) for name, value in DEFAULTS.items()}
        return _page(request, look, user, typed, status=422, error=str(refusal))
    pilot = Pilot.keep(db, user, estimated)
    return see_other(
        f"/reader-studies/planner?pilot={pilot.id}",
        f"Estimated from {pilot.source}. Read how sure that is before you plan with it.",
    )


def _lines(request: Request, ready: Simulation) -> Iterator[str]:
    """Progress as lines of JSON; the script asks for the page when it is over."""
    clock = _Clock()
    for step in request.app.state.simulations.steps(ready):
        told = {"done": step.done, "total": step.total, "text": step.text}
        yield json.dumps(told | {"left": clock.left(step.done, step.total)}) + "\n"
    yield json.dumps({"over": True}) + "\n"


class _Clock:
    """What is left of a simulation, in words, from what has gone."""

    def __init__(self) -> None:
        self._began = monotonic()

    def left(self, done: int, total: int) -> str:
        """Empty where nothing can be said yet."""
        if not done:
            self._began = monotonic()  # it waited until now
            return ""
        seconds = remaining_s(done, total, monotonic() - self._began)
        return "" if seconds is None else f"about {spoken(seconds)} left"


@dataclass(frozen=True)
class Curve:
    """One row of a grid as a line of the plot; ``label`` is the height at which its name stands."""

    readers: int
    points: tuple[tuple[int, float, float, float], ...]
    label: float


def _shown(typed: dict[str, str], asked: Asked, ready: Simulation) -> dict[str, Any]:
    found = asked.grid(ready.found)
    cell = asked.cell
    return {
        "asked": asked,
        "cell": cell,
        "asked_power": ready.found.get(cell.key),
        "quick": quick(cell),
        "again": f"?{urlencode(typed | {'run': '1'})}",
        "grid": found,
        "curves": _curves(found),
        "smallest": smallest_words(found),
        "first_look": asked.first_look(),
        "rests_on": assumptions(cell),
        "missing": len(ready.missing),
        "designs": len({one.key for one in asked.cells}),
        "estimate": spoken(max(1.0, ready.seconds)),
        "single": [
            (
                images,
                area_power(0.5 + abs(cell.effect or 0.1), images // 2, images - images // 2),
                area_equivalence_power(images // 2, images - images // 2, cell.margin),
            )
            for images in sorted({*_ALONE, cell.images})
        ],
        "single_area": 0.5 + abs(cell.effect or 0.1),
        "alone_images": images_for_equivalence(0.8, cell.margin),
    }


def _curves(found: SimulatedGrid) -> list[Curve]:
    """A line for each row that has a point; names at the right do not stand on each other."""
    rows = []
    for readers, powers in zip(found.readers, found.powers, strict=True):
        points = tuple(
            (images, one.power, one.low, one.high)
            for images, one in zip(found.images, powers, strict=True)
            if one is not None
        )
        if points:
            rows.append((points[-1][1], readers, points))
    curves: list[Curve] = []
    for power, readers, points in sorted(rows, reverse=True):
        place = min(power, curves[-1].label - _APART) if curves else power
        curves.append(Curve(readers, points, place))
    return curves


def _page(
    request: Request,
    db: Session,
    user: User,
    typed: Mapping[str, str],
    *,
    status: int = 200,
    error: str = "",
    **shown: Any,
) -> Response:
    finished = [
        study
        for study in ReaderStudy.all(db)
        if study.unblinding is not None and not study.design.task.is_paired
    ]
    return page(
        request,
        "plans/show.html",
        status,
        form=dict(typed),
        error=error,
        questions=QUESTIONS,
        choices=STUDIES,
        spreads=Spread,
        pilots=Pilot.all(db),
        studies=finished,
        **{"asked": None, **shown},
    )
