"""What a planner is asked: a claim, a design, and what is assumed of readers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy.orm import Session

from app.errors import NotFound, Unreadable
from app.models.reader_studies.typed import number, whole
from app.models.study_plans.pilot import Pilot
from ml.progress import spoken
from ml.readers.hypothesis import Claim
from ml.readers.planning import quick
from ml.readers.simulation import (
    GRID_IMAGES,
    GRID_READERS,
    QUESTIONS,
    Cell,
    SimulatedGrid,
    SimulatedPower,
    Simulation,
    grid,
)
from ml.statistics.latent import ALIKE, CASE, CUTS, CUTS_OF_GRADES, READER, Latent

STUDIES = (400, 1000, 4000)
"""How many simulated studies of each design a page offers."""
MOST_SECONDS = 180.0
"""About the longest simulation that a page or the API begins."""


class Spread(StrEnum):
    """What of a pilot is taken for the spread of readers."""

    ESTIMATE = "estimate"
    CAUTIOUS = "cautious"


POINTS = {"6": CUTS, "5": CUTS_OF_GRADES}
"""Points of the answers, as typed → how readers use them: of ratings, and of grades of realism."""

DEFAULTS = {
    "claim": Claim.DIFFERENT.value,
    "readers": "5",
    "cases": "120",
    "effect": "0.10",
    "offset": "0",
    "margin": "0.10",
    "generators": "2",
    "middle": "0.65",
    "points": "6",
    "reader": f"{READER:g}",
    "case": f"{CASE:g}",
    "alike": f"{ALIKE:g}",
    "pilot": "",
    "spread": Spread.CAUTIOUS.value,
    "studies": "1000",
    "seed": "0",
    "wanted": "0.80",
}
"""The fields of a plan, as they are typed, and what they are where nothing is."""


@dataclass(frozen=True)
class Asked:
    """A design with its assumptions; ``wanted`` is the power that a sample size is to reach."""

    cell: Cell
    wanted: float
    pilot: Pilot | None = None

    @classmethod
    def of(cls, session: Session, typed: Mapping[str, str]) -> Asked:
        """From the fields of ``DEFAULTS``.

        Raises:
            Unreadable: a field that is no number of its kind.
            NotFound: there is no such pilot.
            ReadersError: a design or assumptions that cannot be simulated.
        """
        field = {**DEFAULTS, **typed}
        if field["spread"] not in set(Spread):
            raise Unreadable(
                f"Choose {' or '.join(Spread)} for the spread, not {field['spread'][:40]!r}."
            )
        try:
            claim = Claim(field["claim"])
        except ValueError:
            claims = ", ".join(QUESTIONS)
            raise Unreadable(
                f"Choose what the study is to show: {claims}, not {field['claim'][:40]!r}."
            ) from None
        wanted = number(field["wanted"], "the power wanted")
        if not 0 < wanted < 1:
            raise Unreadable(f"Give the power wanted between 0 and 1, not {wanted:g}.")
        pilot = _pilot(session, field["pilot"])
        said = _typed(field)  # every field can be read, whether this plan needs it or not
        model = pilot.found.model(cautious=field["spread"] == Spread.CAUTIOUS) if pilot else said
        offset = number(field["offset"], "the true distance from 0.5")
        effect = number(field["effect"], "the effect")
        generators = whole(field["generators"], "the generators")
        cell = Cell(
            claim=claim,
            readers=whole(field["readers"], "the readers"),
            images=whole(field["cases"], "the images"),
            effect=offset if claim is Claim.EQUIVALENT else effect,
            margin=number(field["margin"], "the margin"),
            generators=generators if claim is Claim.GENERATORS else 1,
            middle=number(field["middle"], "the mean AUC of the generators"),
            model=model,
            studies=whole(field["studies"], "the simulated studies"),
            seed=whole(field["seed"], "the seed"),
        )
        return cls(cell, wanted, pilot)

    @property
    def readers(self) -> tuple[int, ...]:
        """Rows of the grid: the usual ones, and what is asked for."""
        return tuple(sorted({*GRID_READERS, self.cell.readers}))

    @property
    def images(self) -> tuple[int, ...]:
        """Columns of the grid."""
        return tuple(sorted({*GRID_IMAGES, self.cell.images}))

    @property
    def cells(self) -> list[Cell]:
        """What is to be simulated, the design that is asked for first."""
        rows = grid(self.cell, self.readers, self.images)
        return [self.cell, *(one for row in rows for one in row if one != self.cell)]

    def simulation(self, known: Mapping[str, SimulatedPower]) -> Simulation:
        """Ready to run what is not known.

        Raises:
            Unreadable: it would take too long.
        """
        ready = Simulation(self.cells, dict(known))
        if ready.seconds > MOST_SECONDS:
            raise Unreadable(
                f"These designs would take about {spoken(ready.seconds)}. Take fewer simulated "
                "studies, readers or images, or run `python -m ml readers plan --grid`."
            )
        return ready

    def grid(self, known: Mapping[str, SimulatedPower]) -> SimulatedGrid:
        """The powers that are known, and the sample size that follows."""
        return SimulatedGrid.of(self.cell, self.readers, self.images, known, self.wanted)

    def first_look(self) -> list[list[float | None]]:
        """The closed formula's grid; None where it says nothing."""
        return [[quick(one) for one in row] for row in grid(self.cell, self.readers, self.images)]


def _pilot(session: Session, text: str) -> Pilot | None:
    if not text:
        return None
    with suppress(ValueError):
        return Pilot.require(session, uuid.UUID(text))
    raise NotFound("There is no such pilot. Give its ratings again.")


def _typed(field: Mapping[str, str]) -> Latent:
    if field["points"] not in POINTS:
        raise Unreadable(
            "Choose 6 points (real or synthetic) or 5 (graded realism), not "
            f"{field['points'][:40]!r}."
        )
    return replace(
        Latent(cuts=POINTS[field["points"]]),
        reader=number(field["reader"], "the variance of readers"),
        case=number(field["case"], "what readers share of an image"),
        alike=number(field["alike"], "how alike a reader is for two generators"),
    )
