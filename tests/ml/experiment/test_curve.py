"""Learning curves: nested training lesions, fresh ones that test, figures, and going on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import once
from ml.__main__ import main
from ml.config import ConfigError, Split, experiment
from ml.dataset.manifest import Manifest
from ml.experiment import arms, fresh_phantoms
from ml.experiment.curve import CurveError, cohorts, figure, scored, words
from ml.experiment.curve import run as curve
from ml.experiment.curve.asked import Asking
from ml.experiment.curve.cells import Cell
from ml.experiment.curve.record import Curve
from ml.experiment.evaluation import Outputs
from ml.experiment.fresh_phantoms import FreshLesions
from ml.experiment.training_sets import fresh_of
from ml.phantom import Version
from ml.phantom.lesions import DIFFICULTY
from ml.progress import RunDir
from ml.statistics import comparison
from ml.statistics.figure import Figure
from tests.ml.discs import data_set

pytestmark = pytest.mark.long

KEYS = ("cyst", "metastasis", "hemangioma")
SMALL = [
    "folds=2", "validation_parts=2", "classic=20", "base=20", "synthetic=4", "least_steps=0",
    "gan.epochs=1", "gan.width=2", "gan.discriminator_width=2", "gan.collapse_spread=0",
    "gan.collapse_correlation=0", "acgan.epochs=1", "acgan.width=2", "acgan.discriminator_width=2",
    "acgan.collapse_spread=0", "acgan.collapse_correlation=0", "classifier.epochs=2",
    "classifier.width=2", "fresh_lesions=10", "oracle_lesions=10",
    "resamples=100", "visual_words=4+8",
]  # fmt: skip
SIZES = (12, 18)


def _asking(seeds: int) -> Asking:
    return Asking.of("quick", SIZES, SMALL, seeds)


@pytest.fixture(scope="module", autouse=True)
def pool_of_pieces_of_fifteen() -> Iterator[None]:
    """Fresh lesions take most of the time of a curve that is made here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fresh_phantoms, "CHUNK", 5)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curve of one seed that was killed after its first cell, and then given two seeds."""
    return once.folder(tmp_path_factory, "curve", _killed_and_gone_on_with) / "out"


def _killed_and_gone_on_with(folder: Path) -> None:
    out = folder / "out"
    steps = curve.run(_asking(1), out, jobs=1)
    for step in steps:
        if "1 of 2 cells" in step.text:
            steps.close()
            break
    assert not (out / "curve.json").exists() and list((out / "cells").iterdir())
    told = list(curve.run(_asking(2), out, jobs=1))
    assert told[-1].done == told[-1].total
    counted = [step.done for step in told if step.total > 1]
    assert counted == sorted(counted)


def test_smaller_sets_are_parts_of_larger_ones_and_hold_whole_patients(done: Path) -> None:
    for seed in (0, 1):
        small, large = (Manifest.load(cohorts.folder(done, seed, size)) for size in SIZES)
        assert {line.id for line in small.lines} < {line.id for line in large.lines}
        of = Counter(line.patient for line in large.lines)
        assert all(of[p] == n for p, n in Counter(line.patient for line in small.lines).items())
        assert large.counts() == dict.fromkeys(KEYS, 6)
        assert all(3 <= number <= 4 for number in small.counts().values())
    both = [Manifest.load(cohorts.folder(done, seed, 18)).patients for seed in (0, 1)]
    assert not both[0] & both[1]


def test_every_training_patient_trains_and_none_of_them_tests(done: Path) -> None:
    for cell in (Cell(_asking(2), done, done / "fresh", seed, size) for seed in (0, 1)
                 for size in SIZES):  # fmt: skip
        manifest = cell.manifest()
        settings, _ = cell.settings(manifest)
        outputs = Outputs(cell.folder(), settings, manifest, (cell.seed,))
        assert outputs.lines == [] and outputs.fresh is not None
        assert len(outputs.fresh.labels) == 15
        assert not set(outputs.fresh.patients) & manifest.patients
        saw = cell.folder().result(cell.plan().generators[0].task)  # type: ignore[call-overload]
        assert set(saw.patients) <= manifest.patients


def test_the_curve_is_what_the_classifiers_said_of_the_fresh_lesions(done: Path) -> None:
    found = Curve.load(done)
    assert found.seeds == (0, 1) and found.sizes == SIZES and found.fresh.test_lesions == 15
    assert {one.arm for one in found.points} == set(arms.ARMS) - set(arms.FURTHER)
    for point in found.points:
        called = []
        for seed in point.seeds:
            cell = Cell(_asking(2), done, done / "fresh", seed, point.size)
            manifest = cell.manifest()
            outputs = Outputs(cell.folder(), cell.settings(manifest)[0], manifest, (seed,))
            outcome = outputs.selected("nested", seed)[point.arm]
            called.append(outcome.fresh[0])
        assert outputs.fresh is not None
        truth = outputs.fresh.labels
        right = np.stack(called) == truth
        assert point.balanced_accuracy.value == pytest.approx(
            comparison.balanced(right.astype(float), truth).mean()
        )
        for k, key in enumerate(KEYS):
            assert point.sensitivity[key].value == pytest.approx(right[:, truth == k].mean())
            others = np.stack(called)[:, truth != k] != k
            assert point.specificity[key].value == pytest.approx(others.mean())
    assert [(gap.arm, gap.size) for gap in found.primary] == [
        (arm, size) for size in SIZES for arm in arms.PRIMARY
    ]
    adjusted = comparison.holm([gap.p for gap in found.primary])
    assert [gap.holm_p for gap in found.primary] == adjusted
    assert Curve.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_generators_that_are_named_stand_beside_as_many_classic_ones_as_each_had() -> None:
    truth = np.repeat([0, 1, 2], 20)
    lesions = FreshLesions(
        np.zeros((60, 1, 64, 64), np.float32), truth, np.arange(60).astype(str), np.ones(60)
    )
    worse = np.where(np.arange(60) % 4 == 0, (truth + 1) % 3, truth)
    size = arms.ArmSize(arms.CGAN, 10, 4, "cgan")

    def both(called: np.ndarray) -> list[scored._Called]:
        return [scored._Called(seed, size, called) for seed in (0, 1)]

    at = scored._AtSize(20, {arms.CGAN: both(truth)}, {arms.CGAN: both(worse)})
    (gap,) = scored._secondary(at, lesions)
    assert (gap.arm, gap.against, gap.seeds) == (arms.CGAN, arms.EQUAL, (0, 1))
    assert gap.difference.value == pytest.approx(0.25) and gap.holm_p is None
    assert not list(scored._primary(at, lesions))


def test_page_and_figure_say_phantoms_and_the_papers_claim(done: Path) -> None:
    page, drawn = (done / "report.md").read_text(), (done / "curve.svg").read_text()
    for told in (page, drawn):
        assert "hantom" in told and "121" in told and "Frid-Adar" in told
    assert "sensitivity 78.6 to 85.7 %, specificity 88.4 to 92.4 %" in page
    assert "python -m ml curve --preset quick --sizes 12+18 --seeds 2 --phantom-version 2" in page
    for arm in set(arms.ARMS) - set(arms.FURTHER):
        assert f"| {arm} |" in page
    # without the generators that nobody named, with the paper
    assert drawn.count("<polyline") == len(figure.SHOWN) - len(arms.FURTHER) + 1


def test_a_verdict_needs_two_seeds_an_interval_off_zero_and_holm(done: Path) -> None:
    found = Curve.load(done)
    first = found.primary[0]
    better = replace(first, difference=Figure(0.05, 0.02, 0.08), p=0.001, holm_p=0.004)

    def told(gap: Any) -> str:
        return next(words.answer(replace(found, primary=(gap, *found.primary[1:]))))

    assert "of the DCGANs beat as many more classic ones at 12" in told(better)
    alone = replace(found, seeds=(0,), primary=(replace(better, seeds=(0,)),))
    assert [*words.answer(alone)][-1].startswith("One seed: chance of training, and of which")
    for doubtful in (
        replace(better, seeds=(0,)), replace(better, holm_p=0.2),
        replace(better, difference=Figure(0.05, -0.01, 0.1)),
    ):  # fmt: skip
        assert "beat" not in told(doubtful)


def test_what_cannot_be_is_refused(done: Path, tmp_path: Path, capsys) -> None:
    for sizes in ((20,), (40, 20), (3, 20), (20, 20), (20, 10**6)):
        with pytest.raises(CurveError, match="each larger than the one before"):
            Asking.of("quick", sizes, (), 1)
    with pytest.raises(CurveError, match="leave split"):
        Asking.of("quick", SIZES, ["split=folds"], 1)
    with pytest.raises(ConfigError, match="There is no preset"):
        Asking.of("fast", SIZES, (), 1)
    other = Asking.of("quick", (12, 24), SMALL, 2)
    for asking, why in ((other, "other settings or sizes"), (_asking(1), "a curve of 2 seeds")):
        with pytest.raises(CurveError, match=why):
            list(curve.run(asking, done, jobs=1))
    kept = RunDir(done).read_json("config.json")
    RunDir(tmp_path / "later").write_json("config.json", kept | {"phantom_version": "9"})
    with pytest.raises(CurveError, match="on phantoms of version 9, not 2"):
        list(curve.run(_asking(2), tmp_path / "later", jobs=1))
    RunDir(tmp_path).write_json("config.json", {"seeds": 1})
    with pytest.raises(CurveError, match="holds no curve"):
        list(curve.run(_asking(1), tmp_path, jobs=1))
    data = data_set(tmp_path / "discs").root
    words_of = ["experiment", "--data", str(data), "--out", str(tmp_path / "run")]
    assert main([*words_of, "--set", "split=fresh"]) == 1
    assert "python -m ml curve trains so" in capsys.readouterr().err
    assert replace(experiment("quick"), split=Split.FRESH).tested_folds == 1
    RunDir(tmp_path / "damaged").write_json("curve.json", {"version": 99})
    with pytest.raises(CurveError, match="version 99"):
        Curve.load(tmp_path / "damaged")


def test_another_phantom_is_trained_and_tested_on_where_it_is_asked_for(tmp_path: Path) -> None:
    asking = Asking.of("quick", SIZES, SMALL, 1, Version.FIRST)
    assert "--phantom-version 1" in asking.command
    assert asking.settings.difficulty == DIFFICULTY[Version.FIRST]
    named = Asking.of("quick", SIZES, ["difficulty=0.1"], 1, Version.FIRST)
    assert named.settings.difficulty == 0.1
    list(cohorts.make(tmp_path, 0, SIZES, asking.settings.difficulty, asking.phantom))
    cell = Cell(asking, tmp_path, tmp_path / "fresh", 0, 12)
    assert cell.manifest().phantom is Version.FIRST
    tested = fresh_of(cell.settings(cell.manifest())[0], cell.manifest())
    assert {chunk.phantom for chunk in tested} == {Version.FIRST}


def test_a_dry_run_tells_lesions_tasks_and_time_and_trains_nothing(
    done: Path, tmp_path: Path, capsys
) -> None:
    asked = ["curve", "--preset", "quick", "--sizes", "12+18", "--seeds", "2", "--jobs", "1"]
    assert main([*asked, "--out", str(tmp_path / "new"), "--dry-run", "--set", *SMALL]) == 0
    told = capsys.readouterr().out
    assert "simulating 18 training lesions" in told and "left on 1 core" in told
    assert "15 fresh lesions test, 2 of 2 pieces of the pool still to be drawn" in told
    assert not (tmp_path / "new").exists()
    assert main([*asked, "--out", str(done), "--dry-run", "--set", *SMALL]) == 0
    assert "0 of 2 pieces" in capsys.readouterr().out
