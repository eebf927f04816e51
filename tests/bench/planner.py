"""The planner beside an independent simulation: closed formula, simulated power, full analysis.

What the planner says is compared with studies of another seed that pass, one by one, through the
whole analysis: those of `readers rehearse` for one generator, and for two generators studies that
are drawn here, reader by reader, by another program than the planner's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from math import hypot, sqrt
from multiprocessing import get_context

import numpy as np

from ml.ground.plain_text import table
from ml.readers.analysis import analyse
from ml.readers.hypothesis import Claim
from ml.readers.planning import quick
from ml.readers.reading import Protocol, Reading
from ml.readers.rehearsal import Design, Rehearsal, RoeMetz
from ml.readers.results import BetweenGenerators, Refused
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
from ml.readers.tables import grid_lines

STUDIES = int(os.environ.get("PLANNER_STUDIES", "400"))
"""Independent studies of 5 readers × 120 images, and more of smaller designs, as what they cost
allows; 400 take three to four minutes on two cores."""
PLANNED = 4000
OF_GRID = 1000
WITHIN = 0.05
SEED = 20_181_803

CELLS = (
    Cell(Claim.DIFFERENT, 5, 120, 0.10, studies=PLANNED),
    Cell(Claim.EQUIVALENT, 5, 120, 0.0, studies=PLANNED),
    Cell(Claim.GENERATORS, 5, 120, 0.10, generators=2, studies=PLANNED),
)
COMPARED = dict.fromkeys(QUESTIONS, ((3, 120), (5, 60), (5, 120), (8, 60)))


def agreement() -> Iterator[str]:
    """Grids of every claim, then planner against independent simulation, in points of power."""
    jobs = os.cpu_count() or 1
    compared = [
        replace(cell, readers=j, images=k) for cell in CELLS for j, k in COMPARED[cell.claim]
    ]
    tasks = [
        (cell, first, min(50, _count(cell) - first))
        for cell in sorted(compared, key=lambda cell: -cell.readers * cell.read)
        for first in range(0, _count(cell), 50)
    ]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        counts = list(pool.map(_claims, *zip(*tasks, strict=True)))
    yield from _grids(jobs)
    planned = Simulation(compared)
    list(planned.run(jobs))
    rows, gaps = [], []
    for cell in compared:
        shown = sum(count for (one, *_), count in zip(tasks, counts, strict=True) if one == cell)
        found, other = planned.found[cell.key], SimulatedPower.of(shown, _count(cell))
        gap = found.power - other.power
        noise = 1.96 * hypot(_se(found), _se(other))
        gaps.append(abs(gap))
        formula = quick(cell)
        rows.append(
            (
                cell.claim.value, f"{cell.readers} × {cell.images}",
                "-" if formula is None else f"{formula:.2f}",
                _told(found),
                f"{_told(other)}, n = {other.studies}",
                f"{100 * gap:+.1f} (± {100 * noise:.1f})",
                "within" if abs(gap) <= WITHIN else "OUTSIDE",
            )
        )  # fmt: skip
    yield ""
    yield from table(
        ("claim", "readers × images", "formula", f"planner, n = {PLANNED}",
         "full analysis", "points (95 %)", "5 points"),
        rows,
    )  # fmt: skip
    yield (
        f"largest difference {100 * max(gaps):.1f} points; "
        f"{sum(gap <= WITHIN for gap in gaps)} of {len(gaps)} within 5"
    )


def _count(cell: Cell) -> int:
    return STUDIES * 600 // (cell.readers * cell.images)


def _grids(jobs: int) -> Iterator[str]:
    for cell in CELLS:
        cell = replace(cell, studies=OF_GRID)
        rows = grid(cell, GRID_READERS, GRID_IMAGES)
        simulation = Simulation([one for row in rows for one in row])
        list(simulation.run(jobs))
        found = SimulatedGrid.of(cell, GRID_READERS, GRID_IMAGES, simulation.found, 0.80)
        yield f"{QUESTIONS[cell.claim].title}: closed formula, then simulation (n = {OF_GRID})"
        yield from table(
            ("readers", *(f"{k} images" for k in GRID_IMAGES)),
            [(str(row[0].readers), *(f"{quick(one):.2f}" for one in row)) for row in rows],
        )
        yield from grid_lines(found)


def _se(found: SimulatedPower) -> float:
    return sqrt(found.power * (1 - found.power) / found.studies)


def _told(found: SimulatedPower) -> str:
    return f"{found.power:.3f} ({found.low:.3f} to {found.high:.3f})"


def _claims(cell: Cell, first: int, count: int) -> int:
    """In how many of ``count`` independent studies the whole analysis makes the claim."""
    if cell.claim is Claim.GENERATORS:
        return sum(_generators_differ(cell, first + k) for k in range(count))
    design = Design(
        cell.readers, cell.images, margin=cell.margin, ratings=RoeMetz.with_area(cell.areas[0])
    )
    rehearsal = Rehearsal(design, count, SEED + first)
    for _ in rehearsal.run():
        pass
    return (
        rehearsal.across.different if cell.claim is Claim.DIFFERENT else rehearsal.across.equivalent
    )


def _generators_differ(cell: Cell, study: int) -> bool:
    rng = np.random.default_rng([SEED, study, cell.readers, cell.images])
    model = cell.model
    separations, cuts = model.placed(cell.areas)
    images: list[tuple[str, str | None, float, float]] = [
        (f"r{k}", None, 0.0, rng.normal(0, sqrt(model.case))) for k in range(cell.real)
    ]
    for g, apart in enumerate(separations):
        images += [
            (f"s{g}.{k}", f"g{g}", float(apart), rng.normal(0, sqrt(model.case)))
            for k in range(cell.synthetic)
        ]
    readings = []
    for j in range(cell.readers):
        alike = rng.normal(0, sqrt(model.reader * model.alike))
        places: dict[str | None, float] = {None: rng.normal(0, sqrt(model.reader))}
        for g in range(len(separations)):
            own = rng.normal(0, sqrt(model.reader * (1 - model.alike)))
            places[f"g{g}"] = alike + own
        for position, (case, made, mean, of_image) in enumerate(images, 1):
            latent = mean + places[made] + of_image + rng.normal(0, sqrt(1 - model.case))
            rating = 1 + sum(latent > cut for cut in cuts)
            readings.append(
                Reading(f"R{j}", case, made is not None, int(rating), made, position=position)
            )
    between = analyse(readings, Protocol(margin=cell.margin, resamples=0)).between_generators
    assert isinstance(between, BetweenGenerators)
    random = between.random
    return not isinstance(random, Refused) and random.p is not None and random.p <= 0.05
