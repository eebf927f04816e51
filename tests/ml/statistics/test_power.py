import json
from pathlib import Path

import numpy as np
import pytest

from ml.statistics import power, roc
from ml.statistics.power import Pilot
from ml.statistics.proportion import ReadersError

VANDYKE = {
    "var": 0.0007921325, "cov1": 0.0003420090, "cov2": 0.0003395265, "cov3": 0.0002358497,
    "ms_tr": 0.0005510306, "cases": 114,
}  # fmt: skip
"""Components printed in the documentation of MRMCaov; the data themselves are not here."""


def test_components_without_their_number_of_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "components.json"
    path.write_text(json.dumps({k: v for k, v in VANDYKE.items() if k != "cases"}))
    with pytest.raises(ReadersError, match="'cases'"):
        Pilot.load(path)
    path.write_text("not json")
    with pytest.raises(ReadersError, match="not JSON"):
        Pilot.load(path)
    with pytest.raises(ReadersError, match="cannot be read"):
        Pilot.load(tmp_path / "absent.json")


@pytest.mark.parametrize(("readers", "cases", "effect"), [(5, 2, 0.1), (0, 100, 0.1), (5, 100, 0.0),
                                                         (5, 100, 0.7)])  # fmt: skip
def test_a_design_that_cannot_be_planned_is_refused(
    readers: int, cases: int, effect: float
) -> None:
    with pytest.raises(ReadersError):
        power.plan(readers, cases, effect)


def test_one_reader_gets_no_plan_for_others_but_one_for_themselves() -> None:
    found = power.plan(1, 100, 0.1)
    assert found.mrmc is None and "other readers" in found.refused
    assert 0 < found.single_reader.area_difference_power < 1


@pytest.mark.parametrize(
    ("readers", "cases", "expected"),
    [(5, 114, 0.509), (6, 251, 0.801), (10, 114, 0.679), (5, 300, 0.772)],
)
def test_published_components_give_the_golden_powers(
    readers: int, cases: int, expected: float
) -> None:
    found = power.mrmc_power(Pilot.of(VANDYKE), readers, cases, 0.04380032)
    assert found.power == pytest.approx(expected, abs=5e-4)


def test_powers_to_show_an_accuracy_are_the_golden_ones() -> None:
    found = {n: power.accuracy_power(n, 0.6) for n in (100, 150, 200, 300)}
    assert found == pytest.approx({100: 0.46, 150: 0.66, 200: 0.79, 300: 0.93}, abs=5e-3)


def test_fifty_images_can_never_show_equivalence_and_the_planner_says_how_many_can() -> None:
    assert power.area_equivalence_power(25, 25) == 0.0
    needed = power.images_for_equivalence(0.8)
    assert needed is not None
    assert power.area_equivalence_power(needed // 2, needed // 2) >= 0.8
    assert power.area_equivalence_power(needed // 2 - 1, needed // 2 - 1) < 0.8


def test_the_planned_power_of_one_reader_is_what_simulated_readers_get() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 150)
    shown = 0
    for _ in range(300):
        verdict = roc.verdict(truth, rng.normal(size=300))
        shown += bool(verdict.equivalent_to_chance)
    assert shown / 300 == pytest.approx(power.area_equivalence_power(150, 150), abs=0.08)


def test_power_grows_with_readers_and_with_images() -> None:
    grid = np.array(power.plan(5, 120, 0.1).grid.power)
    assert (np.diff(grid, axis=0) > 0).all() and (np.diff(grid, axis=1) > 0).all()


def test_a_whole_analysis_file_serves_as_components(tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    parts = {k: v for k, v in VANDYKE.items() if k != "cases"}
    path.write_text(json.dumps({"or": {"components": parts}, "cases": 114}))
    assert power.mrmc_power(Pilot.load(path), 5, 114, 0.04380032).power == pytest.approx(
        0.509, abs=5e-4
    )


@pytest.mark.parametrize(
    ("readers", "cases", "difference", "equivalence"),
    [(3, 120, 0.47, 0.35), (5, 120, 0.60, 0.52), (8, 120, 0.72, 0.67), (5, 300, 0.87, 0.89),
     (10, 200, 0.91, 0.93)],
)  # fmt: skip
def test_the_first_look_is_near_what_was_simulated_from_outside(
    readers: int, cases: int, difference: float, equivalence: float
) -> None:
    """500 studies each, through the whole analysis; before, the formula said 0.00 for 0.35."""
    found = power.plan(readers, cases, 0.1).one_generator
    assert found is not None
    assert found.difference == pytest.approx(difference, abs=0.05)
    assert found.equivalence == pytest.approx(equivalence, abs=0.05)


@pytest.mark.parametrize(("readers", "simulated"), [(3, 0.57), (5, 0.76), (8, 0.85)])
def test_the_first_look_at_two_generators_that_share_the_real_images(
    readers: int, simulated: float
) -> None:
    """300 studies each, from outside; before, the formula said 0.36, 0.84 and 0.99."""
    assert power.plan(readers, 120, 0.1).power == pytest.approx(simulated, abs=0.055)


def test_no_cell_of_the_grid_depends_on_what_was_asked() -> None:
    assert power.plan(5, 120, 0.1).grid == power.plan(8, 300, 0.1).grid
    found = power.plan(5, 120, 0.1)
    row, column = found.grid.readers.index(5), found.grid.cases.index(120)
    assert found.grid.power[row][column] == found.power
    assert found.grid.one_generator_equivalence[row][column] == found.one_generator.equivalence


@pytest.mark.parametrize("middle", [0.02, 0.97, float("nan")])
def test_two_generators_that_would_leave_the_scale_are_refused(middle: float) -> None:
    with pytest.raises(ReadersError, match="between 0 and 1"):
        power.plan(5, 120, 0.1, middle=middle)
