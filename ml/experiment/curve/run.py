"""A curve from nothing but seeds to ``curve.json``, ``curve.svg`` and ``report.md``.

OUT/config.json       what was asked for
OUT/data/SEED/…       the training lesions of each seed, a data set for each size
OUT/fresh/            the fresh lesions that test, unless another folder keeps them
OUT/cells/…           a run's folder for each seed and size

A curve that was killed goes on where it stopped when the command is given again, with the same
numbers; with more ``--seeds`` it grows.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from ml.checkpoints.checkpoint import current_commit
from ml.experiment import fresh_phantoms, machine, parallel
from ml.experiment.clock import last_step
from ml.experiment.curve import cohorts, figure, scored, words
from ml.experiment.curve.asked import Asking
from ml.experiment.curve.cells import Cell
from ml.experiment.curve.record import FILE
from ml.experiment.fresh_phantoms import Chunk
from ml.experiment.run import on_gpu
from ml.experiment.training_sets import fresh_of
from ml.ground.counted import counted
from ml.progress import Progress, RunDir, spoken
from ml.training import runtime

REPORT, FIGURE = "report.md", "curve.svg"
_LESION_S = 0.12
"""Simulating one training lesion, about."""


def run(asking: Asking, out: Path, jobs: int = 0, fresh: Path | None = None) -> Iterator[Progress]:
    """The whole curve; closing the generator ends its workers.

    Args:
        jobs: cells at a time; 0: one per core.
        fresh: where fresh phantoms are kept, for several curves and runs; default ``out/fresh``.

    Raises:
        CurveError: another curve's folder, or lesions that cannot be trained on.
        HepaticaError: before anything trains, for everything that can be known by then.
    """
    runtime.device(asking.settings.device)
    asking.keep(out)
    runtime.prepare()
    run_dir = RunDir(out)
    difficulty = asking.settings.difficulty
    yield Progress(0, 1, "training lesions")
    for seed in asking.numbers:
        for step in cohorts.make(out, seed, asking.sizes, difficulty, asking.phantom):
            yield Progress(0, 1, f"training lesions of seed {seed}: {step.text}")
    cells = _cells(asking, out, fresh or out / "fresh")
    cost_s = {cell: sum(one.cost_s for one in cell.tasks()) for cell in cells}
    chunks = _chunks(cells)
    chunk_s = cells[0].plan().costs.rates.lesion_s * 3 * fresh_phantoms.CHUNK
    total = max(1, round(sum(cost_s.values()) + chunk_s * len(chunks)))
    cores = jobs or os.cpu_count() or 1
    stop = out.resolve() / f"stop-{secrets.token_hex(4)}"

    missing = [one for one in chunks if not fresh_phantoms.is_made(one, cells[0].fresh)]
    drawn = len(chunks) - len(missing)
    for task in parallel.each(partial(_draw, cells[0].fresh, stop), missing, stop, cores):
        drawn += task is not None
        text = f"fresh lesions: {drawn} of {len(chunks)} pieces"
        yield Progress(round(chunk_s * drawn), total, text)

    # a GPU is shared by the trainings of one cell, the cores by cells
    at_a_time, within = (1, cores) if on_gpu(asking.settings.device) else (cores, 1)
    train = partial(_train, stop, os.getpid(), within)
    ended: set[Cell] = set()
    for cell in parallel.each(train, cells, stop, at_a_time):
        if cell is not None:
            ended.add(cell)
        done = sum(
            cost * (1.0 if one in ended else one.share_done()) for one, cost in cost_s.items()
        )
        step = Progress(round(chunk_s * len(chunks) + done), total, _told(cells, ended, cell))
        if cell is not None:
            run_dir.log(step)
        yield step

    yield Progress(total, total, "comparing the arms")
    found = scored.curve(cells, current_commit())
    run_dir.write_json(FILE, found.to_json())
    run_dir.write_bytes(FIGURE, figure.drawn(found).encode())
    run_dir.write_bytes(REPORT, words.page(found, FIGURE).encode())
    yield Progress(total, total, f"curve in {out / REPORT}")


def rehearse(asking: Asking, out: Path, jobs: int = 0, fresh: Path | None = None) -> Iterator[str]:
    """Everything that ``run`` would refuse, then what it will do and how long; trains nothing.

    The training lesions of the first seed are simulated in a folder for the time being, unless
    they are in ``out`` already: what can be trained on is not known before.

    Raises:
        HepaticaError: as ``run``.
    """
    runtime.device(asking.settings.device)
    asking.refuse_other(out)
    cores = jobs or os.cpu_count() or 1
    first, difficulty = asking.settings.seed, asking.settings.difficulty
    kept = fresh or out / "fresh"
    with tempfile.TemporaryDirectory() as scratch:
        home = out if cohorts.are_made(out, first, asking.sizes) else Path(scratch)
        if home != out:
            yield f"simulating {asking.sizes[-1]} training lesions, to plan with …"
            for _ in cohorts.make(home, first, asking.sizes, difficulty, asking.phantom):
                pass
        of_first = [Cell(asking, home, kept, first, size) for size in asking.sizes]
        plans = [cell.plan() for cell in of_first]
        yield f"timing here, on {counted(cores, 'core')} at a time, what the curve will do …"
        settings = asking.of_seed(first)
        rates = machine.rates(settings, of_first[-1].manifest(), cores)
        lines = [asking.command, "", "size  lesions  patients  tasks  of one core"]
        once = 0.0
        for cell, plan in zip(of_first, plans, strict=True):
            costs = plan.priced(rates)
            tasks = [*costs.views, *costs.generators, *costs.classifiers]
            tasks += costs.expected(cell.folder())
            seconds = sum(one.cost_s for one in tasks)
            once += seconds
            manifest = plan.manifest
            lines.append(
                f"{cell.size:>4}  {len(manifest.lines):>7}  {len(manifest.patients):>8}  "
                f"{len(tasks):>5}  {spoken(seconds)}"
            )
            lines += [f"      {sentence}" for sentence in cell.settings(manifest)[1]]
        chunks = _chunks(of_first)
        missing = [one for one in chunks if not fresh_phantoms.is_made(one, kept)]
        simulated_s = 3 * fresh_phantoms.CHUNK * len(missing) * rates.lesion_s
        behind = sum(
            Cell(asking, out, kept, seed, size).share_done() / len(asking.sizes)
            for seed in asking.numbers
            for size in asking.sizes
        )
        left = (once * max(0.0, asking.seeds - behind) + simulated_s) / cores
        left += _LESION_S * asking.sizes[-1] * asking.seeds
        tested = 3 * fresh_phantoms.CHUNK * sum(one.use == fresh_phantoms.TEST for one in chunks)
        lines += [
            "",
            f"{counted(asking.seeds, 'seed')}, each with training patients of its own; {tested} "
            f"fresh lesions test, {len(missing)} of {len(chunks)} pieces of the pool still "
            "to be drawn",
            f"about {spoken(left)} left on {counted(cores, 'core')}",
        ]
        yield "\n".join(lines)


def _cells(asking: Asking, out: Path, fresh: Path) -> list[Cell]:
    """Seed by seed, so that a curve that is cut short has whole seeds."""
    return [
        Cell(asking, out, fresh, seed, size) for seed in asking.numbers for size in asking.sizes
    ]


def _chunks(cells: Sequence[Cell]) -> list[Chunk]:
    """The fresh lesions that any cell asks for; lowered settings may ask for fewer views."""
    found: dict[Chunk, None] = {}
    for _, of_size in groupby(sorted(cells, key=lambda one: one.size), lambda one: one.size):
        cell = next(of_size)
        manifest = cell.manifest()
        found |= dict.fromkeys(fresh_of(cell.settings(manifest)[0], manifest))
    return list(found)


def _draw(fresh: Path, stop: Path, chunk: Chunk) -> None:
    parallel.Watch(stop)()
    fresh_phantoms.make(chunk, fresh)


def _train(stop: Path, owner: int, jobs: int, cell: Cell) -> None:
    cell.train(stop, owner, jobs)


def _told(cells: Sequence[Cell], ended: set[Cell], cell: Cell | None) -> str:
    number = f"{len(ended)} of {len(cells)} cells"
    if cell is not None:
        return f"{number}: {cell.name}"
    for one in cells:
        if one not in ended and (step := last_step(one.run / "log.jsonl")):
            return f"{number}; {one.name}: {step.text}"
    return number
