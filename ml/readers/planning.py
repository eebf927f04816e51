"""Plans of reader studies: closed formulas for a first look, then the simulation that counts.

What is simulated are the readers of `ml.statistics.latent`, as assumed or as a pilot says, and the
analysis of `ml.readers.analysis`. A plan says what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ml.ground import records
from ml.progress import Progress
from ml.readers.hypothesis import Claim
from ml.readers.pilots import PilotStudy
from ml.readers.simulation import (
    GRID_IMAGES,
    GRID_READERS,
    QUESTIONS,
    STUDIES,
    WANTED,
    Cell,
    SimulatedGrid,
    SimulatedPower,
    Simulation,
    assumptions,
    grid,
)
from ml.statistics import power
from ml.statistics.latent import Latent
from ml.statistics.power import MARGIN, MIDDLE, Pilot
from ml.statistics.proportion import ReadersError


@dataclass(frozen=True)
class Simulated:
    """One claim, simulated: at the design that was asked for, and over a grid where that was.

    ``quick`` is what the closed formula says of the same design, None where it says nothing.
    """

    claim: Claim
    asked: SimulatedPower
    quick: float | None
    grid: SimulatedGrid | None
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class StudyPlan:
    """Both parts of a plan. ``refused`` says why nothing, or less, was simulated."""

    quick: power.Plan
    simulated: tuple[Simulated, ...]
    pilot: PilotStudy | None
    refused: str | None

    def to_json(self) -> Any:
        """That of the closed formulas, with ``simulation``, ``pilot`` and what was refused."""
        told = {
            "simulation": records.to_json(self.simulated),
            "pilot": records.to_json(self.pilot),
            "simulation_refused": self.refused,
        }
        return self.quick.to_json() | told


@dataclass
class Planning:
    """A plan in the making: iterate `run`, then ask for the `plan`.

    ``claims`` that cannot be true of the numbers given are left out, and the plan says why.
    ``components`` are those of a study whose ratings are not at hand: they serve the closed
    formulas alone.
    """

    readers: int
    images: int
    effect: float
    margin: float = MARGIN
    alpha: float = power.ALPHA
    claims: Sequence[Claim] = tuple(QUESTIONS)
    generators: int = 2
    middle: float = MIDDLE
    offset: float = 0.0
    model: Latent | None = None
    pilot: PilotStudy | None = None
    components: Pilot | None = None
    studies: int = STUDIES
    seed: int = 0
    with_grid: bool = False
    wanted: float = WANTED

    def __post_init__(self) -> None:
        if not 0 < self.wanted < 1:
            raise ReadersError(f"The power wanted lies between 0 and 1, not at {self.wanted}.")
        self._quick = power.plan(
            self.readers, self.images, self.effect, self.components, self.margin, self.alpha,
            model=self.model, middle=self.middle,
        )  # fmt: skip
        self._cells: dict[Claim, Cell] = {}
        self._refused: list[str] = []
        if not self.studies:
            return
        if self.components is not None:
            self._refused.append("Components alone say nothing of ratings; give a pilot's ratings.")
        elif self.alpha != power.ALPHA:
            self._refused.append("The analysis of a study tests at 0.05; no other is simulated.")
        else:
            for claim in self.claims:
                try:
                    self._cells[claim] = self._cell(claim)
                except ReadersError as error:
                    self._refused.append(str(error))
        self._simulation = Simulation(
            [one for cell in self._cells.values() for one in self._of(cell)]
        )

    def _cell(self, claim: Claim) -> Cell:
        several = claim is Claim.GENERATORS
        return Cell(
            claim, self.readers, self.images,
            self.offset if claim is Claim.EQUIVALENT else abs(self.effect),
            self.margin, self.generators if several else 1, self.middle, self.model or Latent(),
            self.studies, self.seed,
        )  # fmt: skip

    def _of(self, cell: Cell) -> list[Cell]:
        rows = grid(cell, GRID_READERS, GRID_IMAGES) if self.with_grid else []
        return [cell, *(one for row in rows for one in row)]

    def run(self, jobs: int = 1) -> Iterator[Progress]:
        """Simulate; nothing where nothing is to be."""
        if self._cells:
            yield from self._simulation.run(jobs)

    def plan(self) -> StudyPlan:
        """What was found; KeyError before `run` is done."""
        refused = " ".join(dict.fromkeys(self._refused)) or None
        told = tuple(self._told(cell) for cell in self._cells.values())
        return StudyPlan(self._quick, told, self.pilot, refused)

    def _told(self, cell: Cell) -> Simulated:
        found = self._simulation.found
        of_grid = None
        if self.with_grid:
            of_grid = SimulatedGrid.of(cell, GRID_READERS, GRID_IMAGES, found, self.wanted)
        return Simulated(cell.claim, found[cell.key], quick(cell), of_grid, assumptions(cell))


def quick(cell: Cell) -> float | None:
    """What the closed formula says of a design; None where it says nothing of such a claim.

    The F test for more than two generators and an area that is not quite 0.5 have none here.
    """
    if cell.generators > 2 or (cell.claim is Claim.EQUIVALENT and cell.effect):
        return None
    pilot, rated = _assumed(cell.areas, cell.model)
    if cell.claim is Claim.GENERATORS:
        return power.mrmc_power(pilot, cell.readers, cell.images, rated[0] - rated[1]).power
    found = power.one_generator_power(pilot, cell.readers, cell.images, rated[0] - 0.5, cell.margin)
    if found is None:
        return None
    return found.equivalence if cell.claim is Claim.EQUIVALENT else found.difference


@lru_cache(maxsize=256)
def _assumed(areas: tuple[float, ...], model: Latent) -> tuple[Pilot, tuple[float, ...]]:
    return Pilot.assumed(areas, model), model.true_areas(areas)
