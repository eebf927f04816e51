from dataclasses import replace

import pytest

from ml.readers import simulation
from ml.readers.hypothesis import Claim
from ml.readers.simulation import (
    Cell,
    SimulatedGrid,
    SimulatedPower,
    Simulation,
    assumptions,
    grid,
    simulated,
)  # fmt: skip
from ml.statistics.latent import Latent
from ml.statistics.proportion import ReadersError

CELL = Cell(Claim.DIFFERENT, 4, 40, 0.2, studies=60)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"readers": 2}, "nothing about other readers"),
        ({"readers": 500}, "3 to 50 readers"),
        ({"images": 3}, "4 to 2000 images"),
        ({"studies": 0}, "1 to 20000 studies"),
        ({"seed": -1}, "seed"),
        ({"effect": 0.0}, "nothing to be shown"),
        ({"effect": 0.7}, "between 0 and 0.5"),
        ({"effect": float("nan")}, "between 0 and 0.5"),
        ({"margin": 0.5}, "margin"),
        ({"generators": 2}, "1 generator, not 2"),
        ({"claim": Claim.GENERATORS}, "2 to 4 generators, not 1"),
        ({"claim": Claim.EQUIVALENT, "effect": 0.1}, "not equivalent within"),
        ({"claim": Claim.GENERATORS, "generators": 2, "middle": 0.95, "effect": 0.2}, "1.05"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_the_reason(
    wrong: dict[str, object], why: str
) -> None:
    with pytest.raises(ReadersError, match=why):
        replace(CELL, **wrong)  # type: ignore[arg-type]


def test_a_cell_gives_the_same_power_whatever_is_simulated_beside_it() -> None:
    alone = simulated(CELL)
    beside = Simulation([replace(CELL, readers=3), CELL, replace(CELL, images=30)])
    steps = list(beside.run())
    assert beside.found[CELL.key] == alone
    assert steps[-1].done == steps[-1].total
    assert simulated(replace(CELL, seed=1)) != alone
    assert alone.low < alone.power < alone.high and alone.studies == 60


def test_what_is_known_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Simulation([CELL])
    list(first.run())
    monkeypatch.setattr(simulation, "steps", lambda cell: pytest.fail("computed again"))
    again = Simulation([CELL, CELL], dict(first.found))
    assert not list(again.run()) and not again.missing


def test_other_assumptions_have_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [
        CELL, replace(CELL, model=Latent(case=0.5)), replace(CELL, studies=61),
        replace(CELL, seed=1), replace(CELL, margin=0.2), replace(CELL, readers=5),
    ]  # fmt: skip
    keys = {one.key for one in others}
    monkeypatch.setattr(simulation, "VERSION", simulation.VERSION + 1)
    assert len(keys | {CELL.key}) == len(others) + 1


def test_processes_share_the_cells_and_change_nothing() -> None:
    cells = [replace(CELL, readers=j, studies=10) for j in (3, 4)]
    shared = Simulation(cells)
    assert list(shared.run(jobs=2))[-1].done == 100
    assert shared.found == {cell.key: simulated(cell) for cell in cells}


def test_the_smallest_design_reaches_the_power_with_the_lower_end_of_its_interval() -> None:
    rows = grid(CELL, (3, 5), (40, 80, 120))
    shown = [[500, 780, 840], [810, 828, 900]]  # 0.81 is not enough: its interval begins at 0.784
    found = {
        cell.key: SimulatedPower.of(n, 1000)
        for row, counts in zip(rows, shown, strict=True)
        for cell, n in zip(row, counts, strict=True)
    }
    told = SimulatedGrid.of(CELL, (3, 5), (40, 80, 120), found, 0.80)
    assert told.smallest is not None
    assert (told.smallest.readers, told.smallest.images) == (3, 120)
    assert told.smallest.readings == 360
    assert told.reached == (120, 80)
    none = SimulatedGrid.of(CELL, (3, 5), (40, 80, 120), {}, 0.80)
    assert none.smallest is None and none.powers[0] == (None, None, None)


def test_the_assumptions_say_every_number() -> None:
    said = " ".join(assumptions(replace(CELL, claim=Claim.GENERATORS, generators=2)))
    for number in ("0.75 and 0.55", "6 ratings", "0.011", "40 %", "50 %", "±0.1", "-1.2, -0.55"):
        assert number in said, number
