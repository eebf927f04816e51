"""Power by simulation: studies drawn from assumptions, analysed as real ones are, claims counted.

A `Question` is what a study is to show under one design. A new design brings its own: a member of
`Claim`, and a `Question` in `QUESTIONS` whose ``said`` draws studies and runs their analysis; grid,
cache, page, command and benchmark take it from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from math import sqrt
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from ml.ground import seeds
from ml.progress import Progress
from ml.readers.hypothesis import Claim
from ml.readers.many import Studies
from ml.readers.reading import Protocol
from ml.statistics.latent import Latent
from ml.statistics.power import ALPHA, MARGIN, MIDDLE, apart, refuse_odd
from ml.statistics.proportion import ReadersError, wilson_limits

VERSION = 2
"""Of the simulator and of the analysis behind it: raised when either gives other figures."""

STUDIES = 1000
"""Simulated studies of a cell where nothing else is said: a power of 0.80 to ± 0.025."""
MOST_STUDIES = 20_000
MOST_READERS = 50
MOST_IMAGES = 2000
GRID_READERS = (3, 4, 5, 6, 8, 10)
GRID_IMAGES = (60, 120, 180, 240, 300, 400)
WANTED = 0.80

_BATCH = 50
_RATINGS_PER_S = 8e6
"""Drawn and analysed by one core of a few years ago."""
_FEW_IMAGES, _NEAR_ONE, _ANALYSED = 10, 0.9, 60_000


@dataclass(frozen=True)
class Cell:
    """One design under one set of assumptions, and how often it is simulated.

    ``images`` are those under one generator, half of them synthetic; the real ones are shared.
    ``effect`` is a distance of areas before cutting into points: of the mean area from 0.5, or
    between the first generator and the others, around ``middle``.

    Raises:
        ReadersError: a design, an effect or a number of studies that cannot be simulated.
    """

    claim: Claim
    readers: int
    images: int
    effect: float
    margin: float = MARGIN
    generators: int = 1
    middle: float = MIDDLE
    model: Latent = field(default_factory=Latent)
    studies: int = STUDIES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.claim not in QUESTIONS:
            raise ReadersError(f"Nothing simulates whether {self.claim} is shown.")
        rules = Protocol()
        points, needed = len(self.model.cuts) + 1, rules.scale_rule.least_ratings
        if points < needed:
            raise ReadersError(
                f"A verdict needs {needed} ratings in use; with {points} points there is none."
            )
        least = rules.least_readers
        if not least <= self.readers <= MOST_READERS:
            raise ReadersError(
                f"Simulate {least} to {MOST_READERS} readers, not {self.readers}: with fewer than "
                f"{least} the analysis says nothing about other readers."
            )
        if not 4 <= self.images <= MOST_IMAGES:
            raise ReadersError(f"Simulate 4 to {MOST_IMAGES} images, not {self.images}.")
        if not 1 <= self.studies <= MOST_STUDIES:
            raise ReadersError(f"Simulate 1 to {MOST_STUDIES} studies, not {self.studies}.")
        if not 0 <= self.seed < 2**63:
            raise ReadersError(f"A seed is a whole number from 0, not {self.seed}.")
        refuse_odd(self.readers, self.effect or 0.1, self.margin, self.middle)
        if self.claim is Claim.EQUIVALENT and abs(self.effect) >= self.margin:
            raise ReadersError(
                f"An area {abs(self.effect):g} from 0.5 is not equivalent within "
                f"±{self.margin:g}: there is nothing true to be shown."
            )
        if self.claim is not Claim.EQUIVALENT and not self.effect:
            raise ReadersError("An effect of 0 leaves nothing to be shown.")
        low, high = QUESTIONS[self.claim].generators
        if not low <= self.generators <= high:
            raise ReadersError(
                f"To show this, a study has {low if low == high else f'{low} to {high}'} "
                f"generator{'' if high == 1 else 's'}, not {self.generators}."
            )

    @property
    def synthetic(self) -> int:
        """Synthetic images of each generator."""
        return self.images // 2

    @property
    def real(self) -> int:
        """Real images, read once."""
        return self.images - self.synthetic

    @property
    def read(self) -> int:
        """How many images each reader reads."""
        return self.real + self.generators * self.synthetic

    @property
    def areas(self) -> tuple[float, ...]:
        """The true mean area of each generator, before cutting into points."""
        return QUESTIONS[self.claim].areas(self)

    @property
    def text(self) -> str:
        """All that the figures depend on: assumptions, rules of the analysis, version."""
        rules = asdict(Protocol(margin=self.margin, resamples=0))
        del rules["measure"]  # a name: no figure depends on it
        told = asdict(self) | {
            "rules": rules,
            "alpha": ALPHA,
            "version": VERSION,
        }
        return json.dumps(told, sort_keys=True, default=str)

    @property
    def key(self) -> str:
        """SHA-256 of ``text`` in hex: under it figures are kept."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Question:
    """What a study is to show: in words, for how many generators, and how it is simulated.

    ``areas`` gives the generators' true areas of a cell; ``said`` draws so many studies of it, and
    gives for each whether the analysis made the claim (studies,).
    """

    title: str
    generators: tuple[int, int]
    areas: Callable[[Cell], tuple[float, ...]]
    said: Callable[[Cell, int, np.random.Generator], NDArray[np.bool_]]


def _drawn(cell: Cell, studies: int, rng: np.random.Generator) -> Studies:
    return Studies.drawn(
        cell.model, cell.areas, cell.readers, cell.synthetic, cell.real, studies, rng
    )


QUESTIONS = {
    Claim.DIFFERENT: Question(
        "Different from chance (one generator)",
        (1, 1),
        lambda cell: (0.5 + abs(cell.effect),),
        lambda cell, n, rng: _drawn(cell, n, rng).said(cell.margin).different,
    ),
    Claim.EQUIVALENT: Question(
        "Equivalent to chance (one generator)",
        (1, 1),
        lambda cell: (0.5 + abs(cell.effect),),
        lambda cell, n, rng: _drawn(cell, n, rng).said(cell.margin).equivalent,
    ),
    Claim.GENERATORS: Question(
        "Generators differ (two or more)",
        (2, 4),
        lambda cell: (
            apart(cell.middle, cell.effect)[0],
            *(apart(cell.middle, cell.effect)[1],) * (cell.generators - 1),
        ),
        lambda cell, n, rng: _drawn(cell, n, rng).said(cell.margin).generators,
    ),
}
"""In the order in which they are offered. For more than two generators the claim is that of the F
test: not all have the same area."""


@dataclass(frozen=True)
class SimulatedPower:
    """The claim was made in ``shown`` of ``studies``; Wilson's 95 % interval of the simulation."""

    power: float
    low: float
    high: float
    shown: int
    studies: int

    @classmethod
    def of(cls, shown: int, studies: int) -> SimulatedPower:
        """From counts; at least one study."""
        return cls(shown / studies, *wilson_limits(shown, studies), shown, studies)


def steps(cell: Cell) -> Iterator[int]:
    """Simulate a cell; after each batch how often the claim was made in it.

    The same cell gives the same counts, whatever else is simulated beside it.
    """
    seed = seeds.of_text(cell.text)
    for number, first in enumerate(range(0, cell.studies, _BATCH)):
        count = min(_BATCH, cell.studies - first)
        rng = np.random.default_rng([seed, number])
        yield int(QUESTIONS[cell.claim].said(cell, count, rng).sum())


def simulated(cell: Cell) -> SimulatedPower:
    """The power of one cell."""
    return SimulatedPower.of(sum(steps(cell)), cell.studies)


@dataclass
class Simulation:
    """The powers of many cells; iterate `run`, and read ``found`` at any time.

    ``found`` holds what was known before or is done, by the cells' keys. What is known is not
    computed again.
    """

    cells: Sequence[Cell]
    found: dict[str, SimulatedPower] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """About how long one core takes for what is missing."""
        return sum(map(_work, self.missing)) / _RATINGS_PER_S

    @property
    def missing(self) -> list[Cell]:
        """Cells still to be simulated, each once."""
        left = {cell.key: cell for cell in self.cells if cell.key not in self.found}
        return list(left.values())

    def run(self, jobs: int = 1) -> Iterator[Progress]:
        """One step per batch of studies, or per cell where ``jobs`` processes share them.

        Progress is told in per cent of the ratings, which are what takes the time.
        """
        missing = self.missing
        total = sum(map(_work, missing))
        studies = sum(cell.studies for cell in missing)
        text = f"per cent of {studies} simulated studies of {len(missing)} designs"
        done = 0

        def told(more: int) -> Progress:
            return Progress(100 * more // total, 100, text)

        if jobs > 1 and len(missing) > 1:
            for cell, power in _shared(missing, jobs):
                self.found[cell.key] = power
                done += _work(cell)
                yield told(done)
            return
        for cell in missing:
            shown = over = 0
            for more in steps(cell):
                shown += more
                over = min(over + _BATCH, cell.studies)
                if over == cell.studies:
                    self.found[cell.key] = SimulatedPower.of(shown, over)
                yield told(done + _work(cell) * over // cell.studies)
            done += _work(cell)


@dataclass(frozen=True)
class Smallest:
    """The grid cell with the fewest readings that reaches a power, by images of one generator."""

    readers: int
    images: int
    readings: int
    power: SimulatedPower
    generators: int


@dataclass(frozen=True)
class SimulatedGrid:
    """Powers by readers (rows) and images under one generator (columns) of one claim.

    ``powers`` are None where they are not simulated yet. ``smallest`` is the cell with the fewest
    readings (readers × images read) whose interval lies wholly from ``wanted`` on, None where none
    does; ``reached`` gives for each row the fewest images that do.
    """

    claim: Claim
    readers: tuple[int, ...]
    images: tuple[int, ...]
    powers: tuple[tuple[SimulatedPower | None, ...], ...]
    wanted: float
    smallest: Smallest | None
    reached: tuple[int | None, ...]

    @classmethod
    def of(
        cls,
        cell: Cell,
        readers: Sequence[int],
        images: Sequence[int],
        found: Mapping[str, SimulatedPower],
        wanted: float,
    ) -> SimulatedGrid:
        """From what was found, for designs that differ from ``cell`` in readers and images only."""
        rows = grid(cell, readers, images)
        powers = tuple(tuple(found.get(one.key) for one in row) for row in rows)
        enough = [
            Smallest(one.readers, one.images, one.readers * one.read, power, one.generators)
            for row, of_row in zip(rows, powers, strict=True)
            for one, power in zip(row, of_row, strict=True)
            if power is not None and power.low >= wanted
        ]
        return cls(
            cell.claim, tuple(readers), tuple(images), powers, wanted,
            min(enough, key=lambda one: (one.readings, one.readers), default=None),
            tuple(
                min((one.images for one in enough if one.readers == j), default=None)
                for j in readers
            ),
        )  # fmt: skip


def grid(cell: Cell, readers: Sequence[int], images: Sequence[int]) -> list[list[Cell]]:
    """``cell`` with other readers (rows) and images (columns); ReadersError as `Cell`."""
    return [[replace(cell, readers=j, images=k) for k in images] for j in readers]


def assumptions(cell: Cell) -> tuple[str, ...]:
    """What a simulated power rests on, in words and numbers; the number of readers is left out."""
    model = cell.model
    rated = model.true_areas(cell.areas)
    found = model.moments(cell.areas, 50, 50)
    areas = " and ".join(f"{area:.3f}" for area in dict.fromkeys(rated))
    said = [
        f"true mean AUC {' and '.join(f'{area:.2f}' for area in dict.fromkeys(cell.areas))}, "
        f"which is {areas} once it is cut into {len(model.cuts) + 1} ratings",
        f"readers differ: variance {model.reader:.3g} of a reader's place for each kind of image "
        f"(images have 1), a standard deviation of {sqrt(found.var_r):.3f} between readers' AUCs",
        f"readers share {100 * model.case:.0f} % of what is particular to an image, so their "
        f"errors are correlated by {found.r2:.2f}",
    ]
    if found.r1 is not None and found.r3 is not None:
        said.append(
            f"all generators share the real images and have synthetic images of their own: errors "
            f"of one reader for two generators are correlated by {found.r1:.2f}, those of two "
            f"readers by {found.r3:.2f}; {100 * model.alike:.0f} % of a reader's place for "
            "synthetic images is the same for all generators"
        )
    cuts = ", ".join(f"{cut:g}" for cut in np.round(model.cuts, 2))
    said += [
        f"ratings are cut at {cuts} from the middle between real and synthetic images",
        "half of the images under each generator are synthetic, every reader reads all of them, "
        "and no two come from one patient",
        "latent ratings as in Roe & Metz (1997); each simulated study is analysed as a real one "
        f"is, with margin ±{cell.margin:g}; a verdict needs {Protocol().scale_rule.text}",
    ]
    return tuple(said)


def _work(cell: Cell) -> int:
    """What a cell costs, in ratings drawn; few images, or areas near 1, need many analyses."""
    each = cell.readers * (cell.read + 20)
    if min(cell.synthetic, cell.real) < _FEW_IMAGES or max(cell.areas) > _NEAR_ONE:
        each += cell.readers * _ANALYSED
    return cell.studies * each


def _shared(cells: Iterable[Cell], jobs: int) -> Iterator[tuple[Cell, SimulatedPower]]:
    """As they are done; the dearest begin, so that no process is left with one at the end."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        ordered = sorted(cells, key=_work, reverse=True)
        tasks = {pool.submit(simulated, cell): cell for cell in ordered}
        try:
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        finally:
            pool.shutdown(cancel_futures=True)
