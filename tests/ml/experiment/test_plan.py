"""The plan of a run: names of its tasks, costs, what is done; and the clock through them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.config import ConfigError, experiment
from ml.dataset.manifest import Manifest
from ml.experiment import tasks
from ml.experiment.arms import CLASSIC, DISCRIMINATOR, FEATURES, NONE, ArmSize
from ml.experiment.clock import Clock
from ml.experiment.costs import Costs, Rates, makespan, nominal
from ml.experiment.folder import RunFolder
from ml.experiment.fresh_phantoms import Chunk
from ml.experiment.plan import Plan
from ml.experiment.tasks import (
    INNER,
    OUTER,
    CutViews,
    DrawFresh,
    Measure,
    PlannedTask,
    TrainClassifier,
    TrainGenerator,
)
from ml.progress import OutputError, RunDir
from tests.ml import discs
from tests.ml.discs import data_set

SMALL = replace(discs.SMALL, folds=3)

HERE = Path(__file__).resolve().parents[3]
CLASSIC_10 = ArmSize(CLASSIC, 10)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return data_set(tmp_path_factory.mktemp("data") / "discs")


def _folder(manifest: Manifest, run: Path) -> RunFolder:
    return RunFolder(manifest.root, run, run / "fresh")


def _end(folder: RunFolder, name: str) -> None:
    folder.task(name).write_json("result.json", {})


# -- names -----------------------------------------------------------------------------------------


def test_no_task_has_another_name_than_its_folder_had_before(
    manifest: Manifest, tmp_path: Path
) -> None:
    """They are on disk and in seeds: changed, finished runs are lost and numbers differ."""
    plan = Plan.of(SMALL, manifest, 1, _folder(manifest, tmp_path))
    tested = (
        "features-0-0-ridged",
        "features-0-0-logistic",
        "features-0-0-trees",
        "none-0-0",
        "classic-10-0",
        "classic+dcgan-10-4",
        "classic+acgan-10-4",
        "acgan-discriminator-10-0",
        "synthetic-only-0-9",
    )
    parts = [(part, fold) for part in ("outer", "inner") for fold in range(3)]
    assert [one.task.name for one in plan.views] == ["views-0-0", "views-0-24"]
    assert {one.task.name for one in plan.generators} == {
        f"{kind}-{part}-{fold}-0"
        for kind in ("dcgan-dark", "dcgan-ring", "acgan")
        for part, fold in parts
    }
    assert {one.task.name for one in plan.classifiers} == {
        f"{name}-{part}-{fold}-0"
        for name in tested
        for part, fold in parts
        if part == "outer" or name in (*tested[:3], *tested[4:7])
    }
    assert [one.task.name for one in plan.measurements] == [
        f"measure-{kind}-{fold}-0" for fold in range(3) for kind in ("real", "dcgan", "acgan")
    ]
    assert plan.fresh == ()
    assert len({one.task.name for one in plan.tasks}) == len(plan.tasks) == 2 + 18 + 45 + 9
    # the controls wait for the size of classic+dcgan
    assert {one.task.name for one in plan.expected(_folder(manifest, tmp_path))} == {
        f"{name}-outer-{fold}-0"
        for name in ("equal-compute-18-4", "duplicate-real-10-4", "mixup-18-4", "cutmix-18-4")
        for fold in range(3)
    }


def test_a_piece_of_fresh_phantoms_is_named_by_its_use_and_number() -> None:
    assert DrawFresh(Chunk("oracle", 7, 3, 0, 0.2, (-150.0, 250.0))).name == "fresh-oracle-7"


def test_the_acgan_draws_every_class_and_a_dcgan_its_own() -> None:
    assert tasks.generator_of("acgan", OUTER, 1, 5, "ring").name == "acgan-outer-1-5"
    assert tasks.generator_of("dcgan", INNER, 1, 5, "ring").name == "dcgan-ring-inner-1-5"


def test_names_and_plan_are_read_without_torch() -> None:
    program = (
        "import sys, ml.experiment.plan, ml.experiment.tasks, ml.experiment.folder\n"
        "assert not {'torch', 'onnx', 'sklearn', 'joblib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=HERE, check=True, timeout=60)


# -- plan ------------------------------------------------------------------------------------------


def test_an_impossible_number_of_seeds_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    for seeds in (0, 1001):
        with pytest.raises(ConfigError, match="at least one, at most 1000"):
            Plan.of(SMALL, manifest, seeds, _folder(manifest, tmp_path))


def test_the_folder_of_a_data_set_is_refused(manifest: Manifest) -> None:
    folder = _folder(manifest, manifest.root)
    with pytest.raises(OutputError, match="holds a data set"):
        Plan.of(SMALL, manifest, 1, folder).check(folder)


def test_planning_writes_nothing(manifest: Manifest, tmp_path: Path) -> None:
    folder = _folder(manifest, tmp_path / "run")
    plan = Plan.of(SMALL, manifest, 2, folder)
    plan.check(folder)
    assert plan.seeds == (0, 1)
    assert not any(one.done for one in plan.tasks)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_tasks_come_first(manifest: Manifest, tmp_path: Path) -> None:
    plan = Plan.of(SMALL, manifest, 1, _folder(manifest, tmp_path))
    for stage in (plan.generators, plan.classifiers):
        costs = [one.cost_s for one in stage]
        assert costs == sorted(costs, reverse=True)
        assert len(set(costs)) > 1


def test_what_is_done_is_seen_by_its_files_and_costs_nothing_more(
    manifest: Manifest, tmp_path: Path
) -> None:
    folder = _folder(manifest, tmp_path)
    before = Plan.of(SMALL, manifest, 1, folder)
    ended = [before.generators[0].task, before.classifiers[3].task, before.measurements[8].task]
    for task in ended:
        _end(folder, task.name)
    (tmp_path / "tasks" / "acgan-inner-2-0").mkdir(exist_ok=True)  # begun
    folder.views(0).write_bytes("24.npy", b"")
    after = Plan.of(SMALL, manifest, 1, folder)
    assert {one.task for one in after.tasks if one.done} == {CutViews(0, 24), *ended}
    assert [(one.task, one.cost_s) for one in after.tasks] == [
        (one.task, one.cost_s) for one in before.tasks
    ]
    told = after.describe(folder, 2)
    for words in (
        "2 views        tasks, 1 done",
        "18 generator    tasks, 1 done",
        "0 fresh        tasks, 0 done",
        "45 classifier   tasks, 1 done",
        "then equal-compute, duplicate-real, mixup, cutmix at the sizes that were chosen, at most",
        "9 measure      tasks, 1 done, 17 s of one core left",
    ):
        assert words in told


def test_rates_change_what_tasks_cost_and_not_their_order(
    manifest: Manifest, tmp_path: Path
) -> None:
    plan = Plan.of(SMALL, manifest, 1, _folder(manifest, tmp_path))
    slow = plan.priced(replace(nominal(SMALL), classifier_s=0.3, acgan_s=7.0))
    assert [one.task for one in slow.tasks] == [one.task for one in plan.tasks]
    for one, other in zip(plan.tasks, slow.tasks, strict=True):
        task = one.task
        dearer = (isinstance(task, TrainGenerator) and task.kind == "acgan") or (
            isinstance(task, TrainClassifier) and task.size.arm not in (DISCRIMINATOR, FEATURES)
        )
        assert (other.cost_s > one.cost_s) == dearer
    assert plan.priced(nominal(SMALL)) == plan


# -- costs -----------------------------------------------------------------------------------------


def test_a_classifier_costs_its_steps() -> None:
    costs = Costs(SMALL, lesions=36, classes=2, fresh=False, rates=Rates(1.0, 1.0, 1.0))
    none = TrainClassifier(ArmSize(NONE, 0), OUTER, 0, 0)
    classic = TrainClassifier(CLASSIC_10, OUTER, 0, 0)
    dcgan = TrainClassifier(ArmSize("classic+dcgan", 10, 4, "dcgan"), OUTER, 0, 0)
    assert costs.rois(none) == 24
    assert costs.rois(classic) == 24 + 2 * 10
    assert costs.rois(dcgan) == 24 + 2 * 10 + 2 * 2 * 4
    inner = TrainClassifier(CLASSIC_10, INNER, 0, 0)
    assert costs.rois(inner) == round(44 * (1 - 1 / SMALL.validation_parts))
    steps = -(-44 // 16)
    epochs = max(2, -(-SMALL.least_steps // steps))
    assert costs.seconds(classic) == pytest.approx(steps * epochs + 100 / 16 / 3 + 0.5)
    assert costs.seconds(TrainClassifier(ArmSize(DISCRIMINATOR, 10), OUTER, 0, 0)) == 2.0


def test_only_outer_classifiers_pay_for_fresh_lesions() -> None:
    plain, fresh = (Costs(SMALL, 36, 2, fresh, nominal(SMALL)) for fresh in (False, True))
    for part in (OUTER, INNER):
        task = TrainClassifier(CLASSIC_10, part, 0, 0)
        assert (plain.seconds(task) == fresh.seconds(task)) == (part == INNER)


def test_the_acgan_of_all_classes_costs_more_than_a_dcgan_of_one() -> None:
    costs = Costs(SMALL, 36, 2, False, nominal(SMALL))
    acgan, dcgan, inner = (
        costs.seconds(task)
        for task in (
            TrainGenerator("acgan", OUTER, 0, 0),
            TrainGenerator("dcgan", OUTER, 0, 0, "ring"),
            TrainGenerator("dcgan", INNER, 0, 0, "ring"),
        )
    )
    assert acgan > dcgan > inner


def test_wider_networks_cost_more_and_a_gpu_less() -> None:
    paper = experiment("paper")
    narrow, wide = nominal(experiment("compact")), nominal(replace(paper, device="cpu"))
    assert narrow.classifier_s < wide.classifier_s / 5
    assert narrow.dcgan_s < wide.dcgan_s / 50
    on_gpu = nominal(paper)
    assert on_gpu.classifier_s < wide.classifier_s / 100
    assert 10 < on_gpu.dcgan_s / on_gpu.classifier_s < 20  # 4336 against 281 steps a second


def test_tasks_take_as_long_as_the_last_place_is_taken() -> None:
    assert makespan([], 2) == 0
    assert makespan([3, 3, 3], 2) == 6
    assert makespan([1, 1, 5], 3) == 5
    assert makespan([4, 2], 1) == 6


def test_a_gpu_trains_while_the_cores_do_the_rest(manifest: Manifest, tmp_path: Path) -> None:
    folder = _folder(manifest, tmp_path)
    plan = Plan.of(SMALL, manifest, 1, folder).priced(
        Rates(1.0, 2.0, 2.0, view_s=0, measure_s=1e6, begin_s=5.0, score_s=0.0)
    )
    later = sum(one.cost_s for one in plan.expected(folder))
    generators = sum(one.cost_s for one in plan.generators)
    beside = makespan([one.cost_s for one in plan.measurements], 2)
    views = makespan([one.cost_s for one in plan.views], 2)
    lesions = 36 * 2 / 3  # that train
    assert beside == pytest.approx(1e6 * lesions * (3 + 0.06 * 2))  # of nine tasks three are real
    assert plan.wall_s(folder, 2, on_gpu=True) == pytest.approx(
        5 + views + generators + beside + later
    )
    trained = makespan([one.cost_s for one in plan.classifiers], 2)
    assert plan.wall_s(folder, 2) > beside + trained
    assert "a GPU and 2 cores" in plan.describe(folder, 2, on_gpu=True)


# -- clock -----------------------------------------------------------------------------------------


def _planned() -> list[PlannedTask]:
    """Four measurements of 3, 5, 4 and 8 s, the second done."""
    costs = (3.0, 5.0, 4.0, 8.0)
    return [PlannedTask(Measure("real", i, 0), cost, i == 1) for i, cost in enumerate(costs)]


def test_done_tasks_are_not_done_again_and_count_from_the_start(tmp_path: Path) -> None:
    folder, asked = RunFolder(tmp_path, tmp_path, tmp_path), []
    clock = Clock(_planned(), folder, RunDir(tmp_path))
    steps = list(clock.through(asked.append, _planned(), 1, None))
    assert asked == [Measure("real", i, 0) for i in (0, 2, 3)]
    assert [(step.done, step.total) for step in steps] == [(8, 20), (12, 20), (20, 20)]
    assert [step.text for step in steps] == [
        f"measure {k} of 4: measure-real-{i}-0" for k, i in ((2, 0), (3, 2), (4, 3))
    ]


def test_a_stage_that_is_done_gives_no_step_and_its_cost_is_behind(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, tmp_path, tmp_path)
    behind = [PlannedTask(one.task, one.cost_s, True) for one in _planned()]
    clock = Clock(behind, folder, RunDir(tmp_path))
    assert list(clock.through(_never, behind, 1, None)) == []
    assert list(clock.through(_never, [], 1, None)) == []
    assert (clock.done, clock.total) == (20.0, 20)
    assert [stage.tasks for stage in clock.stages] == [0, 0]


def _never(task: Any) -> None:
    raise AssertionError(f"{task} was done again")


def test_a_run_without_tasks_has_a_whole_to_be_part_of(tmp_path: Path) -> None:
    assert Clock([], RunFolder(tmp_path, tmp_path, tmp_path), RunDir(tmp_path)).total == 1


def test_times_tell_of_every_start_of_a_run_that_was_killed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, tmp_path, tmp_path)
    for left in (3, 2):
        clock = Clock(_planned(), folder, RunDir(tmp_path))
        steps = clock.through(len, _planned()[-left:], 1, None)  # type: ignore[arg-type]
        with pytest.raises(TypeError):  # killed: what it does to a task fails
            next(steps)
        clock.note("killed")
    starts = json.loads((tmp_path / "starts.json").read_text())
    assert [start["stages"][0]["tasks"] for start in starts] == [2, 2]
    times = Clock([], folder, RunDir(tmp_path)).times()
    assert len(times.starts) == 3
    assert times.wall_s == pytest.approx(sum(start.wall_s for start in times.starts))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["text"] for entry in log] == ["killed", "killed"]
