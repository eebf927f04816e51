"""``POST /api/v1/plans``: simulated power of a reader study, a moment's work at a time."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.auth import Program
from app.db import ReadDb
from app.errors import Forbidden
from app.models.study_plans.asked import DEFAULTS, Asked
from app.models.study_plans.power import KeptPower
from app.routes.api.problems import problems, refuse_query
from ml.readers.planning import quick
from ml.readers.simulation import SimulatedGrid, SimulatedPower, assumptions
from ml.readers.tables import smallest_words

router = APIRouter(tags=["plans"])

_LONGEST = 60


def _field(name: str, description: str) -> Any:
    return Field(DEFAULTS[name], max_length=_LONGEST, description=description)


class PlanOrder(BaseModel):
    """A plan, by the fields of the page; numbers as text, as they are typed there."""

    model_config = ConfigDict(extra="forbid")

    claim: str = _field(
        "claim", "different from chance, equivalent to chance, or generators differ."
    )
    readers: str = _field("readers", "How many readers.")
    cases: str = _field("cases", "Images under one generator, half of them synthetic.")
    effect: str = _field("effect", "True difference of AUC: from 0.5, or between generators.")
    offset: str = _field("offset", "True distance from 0.5 where equivalence is to be shown.")
    margin: str = _field("margin", "Margin of equivalence.")
    generators: str = _field("generators", "Generators that are compared, 2 to 4.")
    middle: str = _field("middle", "Mean AUC of the generators that are compared.")
    points: str = _field("points", "Points of the answers: 6, or 5 for graded realism.")
    reader: str = _field("reader", "Variance of a reader's place on the scale; images have 1.")
    case: str = _field("case", "What readers share of an image, 0 to 0.99.")
    alike: str = _field("alike", "What a reader's places for two generators share, 0 to 1.")
    pilot: str = _field("pilot", "Id of a pilot, from the address of its page.")
    spread: str = _field("spread", "Of a pilot: estimate, or cautious (its upper end).")
    studies: str = _field("studies", "Simulated studies of each design.")
    seed: str = _field("seed", "Seed of the simulation.")
    wanted: str = _field("wanted", "Power that the sample size is to reach.")


class PlanAnswer(BaseModel):
    """What is known of a plan by now."""

    complete: bool = Field(description="False: send the same order again, and it goes on.")
    simulated: int = Field(description="Designs of the grid that are simulated.")
    designs: int = Field(description="Designs of the grid in all.")
    power: SimulatedPower | None = Field(
        description="Of the design asked for: power with its 95 % interval, shown of studies."
    )
    quick: float | None = Field(description="Power by closed formula, where there is one.")
    grid: SimulatedGrid = Field(description="Powers by readers (rows) and images (columns).")
    smallest: str = Field(description="The sample size that follows, in words.")
    assumptions: list[str]
    pilot: list[str] = Field(description="How sure the pilot is, in words.")


@router.post("/plans", summary="Plan a reader study", responses=problems(413))
def plan(request: Request, program: Program, db: ReadDb, order: PlanOrder) -> PlanAnswer:
    """Readers are simulated and analysed as a real study is, for about a second per call.

    Powers are kept under their assumptions, and the same order is answered at once when it is
    complete.
    """
    refuse_query(request)
    if not program.may("researcher"):
        raise Forbidden("A plan needs a token with the reach of a researcher.")
    asked = Asked.of(db, order.model_dump())
    ready = asked.simulation(KeptPower.known(db, asked.cells))
    if ready.missing:
        request.app.state.simulations.for_a_moment(ready)
    designs = len({cell.key for cell in asked.cells})
    found = asked.grid(ready.found)
    return PlanAnswer(
        complete=not ready.missing,
        simulated=designs - len(ready.missing),
        designs=designs,
        power=ready.found.get(asked.cell.key),
        quick=quick(asked.cell),
        grid=found,
        smallest=smallest_words(found) if not ready.missing else "",
        assumptions=list(assumptions(asked.cell)),
        pilot=list(asked.pilot.found.words) if asked.pilot else [],
    )
