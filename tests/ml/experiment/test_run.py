"""The whole experiment: nothing leaks, a killed run goes on, the same command gives the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ml
from ml.__main__ import main
from ml.config import EXPERIMENTS, Augment, ConfigError
from ml.dataset.folds import FoldError, LeakageError
from ml.dataset.manifest import Finding, Manifest, ManifestError
from ml.dataset.writing import write
from ml.experiment import evaluation, fresh_phantoms, perform, report, training_sets
from ml.experiment import run as experiment
from ml.experiment.arms import (
    ARMS,
    CLASSIC,
    DCGAN,
    DISCRIMINATOR,
    DUPLICATE,
    EQUAL,
    FEATURES,
    FURTHER,
    NESTED_ALONE,
    ORACLE,
    ArmSize,
)
from ml.experiment.findings import phantom_note
from ml.experiment.folder import RunFolder
from ml.experiment.plan import Plan
from ml.experiment.request import Request
from ml.experiment.results.scores import Selection
from ml.experiment.tasks import INNER, OUTER, DrawFresh, TrainClassifier, TrainGenerator
from ml.ground.records import to_json
from ml.images import dicom
from ml.images.roi import Box
from ml.lesion import LIVER
from ml.phantom import VERSION, Version
from ml.phantom.dicomfile import encode
from ml.phantom.lesions import CLASSES, DIFFICULTY
from ml.phantom.series import draw_lesion_slices
from ml.progress import RunDir
from ml.training.runtime import DeviceError
from tests.ml.discs import SMALL, TINY, TWO, WHOLE, data_set, findings

TRAINING = TINY.folds - 1
"""Folds that a training has, for each of which the sizes of the settings are meant."""
HERE = Path(__file__).resolve().parents[3]


def _results(folder: Path) -> dict[str, Any]:
    """``results.json`` without its times, and the commit, which may be made meanwhile."""
    results: dict[str, Any] = RunDir(folder).read_json("results.json")
    del results["times"], results["commit"]
    return results


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return data_set(tmp_path_factory.mktemp("data") / "discs")


WITHOUT_THE_REST = """
import sys
for name in "onnx onnxruntime pydicom openTSNE matplotlib sqlalchemy ray".split():
    sys.modules[name] = None
from pathlib import Path
import ml.phantom.series
from ml.dataset.manifest import Manifest
from ml.experiment import run as experiment
from ml.progress import RunDir
from tests.ml.discs import TINY
data, folder = map(Path, sys.argv[1:])
steps = list(experiment.run(TINY, Manifest.load(data), RunDir(folder), jobs=1))
done = [step.done for step in steps]
assert done == sorted(done)
assert abs(steps[-1].done - steps[-1].total) <= 1
"""
"""A run in a process that has what training needs, and nothing else."""


@pytest.fixture(scope="module")
def whole_run(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of one seed, where neither ONNX nor DICOM nor plots nor a database are."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_REST, str(manifest.root), str(folder)],
        cwd=HERE, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder


def _folder(manifest: Manifest, run: Path) -> RunFolder:
    return RunFolder(manifest.root, run, run / "fresh")


# -- leakage ---------------------------------------------------------------------------------------


def test_synthetic_rois_of_a_generator_that_saw_a_test_patient_are_refused(
    manifest: Manifest, whole_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole_run / "tasks", tmp_path / "tasks")
    folder = _folder(manifest, tmp_path)
    fold = training_sets.fold_of(manifest, TINY, 0, 0, OUTER)
    training_sets.synthetic_rois(folder, fold, "dcgan", OUTER, 0, 4)
    task = TrainGenerator("dcgan", OUTER, 0, 0, "ring")
    told = folder.result(task)
    told = replace(told, patients=(*told.patients, min(fold.test.patients)))
    folder.task(task.name).write_json("result.json", to_json(told))
    with pytest.raises(LeakageError, match=r"dcgan-ring.*was trained on patient"):
        training_sets.synthetic_rois(folder, fold, "dcgan", OUTER, 0, 4)


def test_generators_of_another_fold_are_refused(
    manifest: Manifest, whole_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole_run / "tasks", tmp_path / "tasks")
    folder = _folder(manifest, tmp_path)
    for key in manifest.scheme.keys:
        ours, theirs = (TrainGenerator("dcgan", OUTER, fold, 0, key).name for fold in (0, 1))
        shutil.rmtree(tmp_path / "tasks" / ours)
        shutil.copytree(whole_run / "tasks" / theirs, tmp_path / "tasks" / ours)
    fold = training_sets.fold_of(manifest, TINY, 0, 0, OUTER)
    with pytest.raises(LeakageError):
        training_sets.synthetic_rois(folder, fold, "dcgan", OUTER, 0, 4)


def test_generators_for_validation_have_not_seen_the_validation_patients(
    manifest: Manifest, whole_run: Path
) -> None:
    folder = _folder(manifest, whole_run)
    for fold in range(TINY.folds):
        inner = training_sets.fold_of(manifest, TINY, 0, fold, INNER)
        outer = training_sets.fold_of(manifest, TINY, 0, fold, OUTER)
        saw = set(folder.result(TrainGenerator("acgan", INNER, fold, 0)).patients)
        assert saw == inner.train.patients
        assert inner.test.patients and not saw & inner.test.patients
        assert not (saw | inner.test.patients) & outer.test.patients
    with pytest.raises(LeakageError):
        wrong = replace(training_sets.fold_of(manifest, TINY, 0, 0, INNER), index=0)
        training_sets.synthetic_rois(folder, wrong, "dcgan", OUTER, 0, 4)


def test_synthetic_line_in_a_data_set_is_refused_before_training(
    manifest: Manifest, tmp_path: Path
) -> None:
    lines = (*manifest.lines[:-1], replace(manifest.lines[-1], source="synthetic"))
    with pytest.raises(LeakageError, match="synthetic"):
        next(experiment.run(TINY, replace(manifest, lines=lines), RunDir(tmp_path)))


def test_fresh_patients_that_are_in_the_data_set_are_refused(manifest: Manifest) -> None:
    chunk = fresh_phantoms.Chunk("test", 0, 1, 1234, 0.3, (-150.0, 250.0))
    lines = (replace(manifest.lines[0], patient="PHANTOM-1234-00007"), *manifest.lines[1:])
    with pytest.raises(LeakageError, match="fresh_seed"):
        fresh_phantoms.refuse_known(replace(manifest, lines=lines), [chunk])
    other = (replace(manifest.lines[0], patient="PHANTOM-1235-00007"), *manifest.lines[1:])
    fresh_phantoms.refuse_known(replace(manifest, lines=other), [chunk])


@pytest.mark.parametrize("how", ["key slice", "another slice", "pixels alone"])
def test_fresh_patients_under_a_pseudonym_are_refused(
    manifest: Manifest, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As data of the web name them: only the slices tell who they are."""
    monkeypatch.setattr(fresh_phantoms, "CHUNK", 1)
    chunk = fresh_phantoms.Chunk("test", 0, 1, 77, 0.2, (-150.0, 250.0))
    fresh_phantoms.make(chunk, tmp_path / "fresh")
    made, number, key = next(draw_lesion_slices(dict.fromkeys(CLASSES, 1), 77, 0.2))
    other = made.slice(0)
    assert other.sop_uid != key.sop_uid
    shown = other if how == "another slice" else key
    path = tmp_path / "slice.dcm"
    path.write_bytes(encode(made, shown))
    (image,) = dicom.read(path.read_bytes(), "slice.dcm")
    box = Box(*(key.box(number) or (0, 0, 0, 0)))
    words = {"lesion_class": "dark", "patient": "f3a9", "file": "lesion 1"}
    finding = Finding.on(image, box, **words)
    if how == "pixels alone":
        finding = replace(finding, phantom_uid="")
    strangers = [
        replace(one, kind="phantom", source="phantom", made_by=finding.made_by)
        for one in findings(8, 1)
    ]
    list(write([finding, *strangers], 9, TWO, tmp_path / "data"))
    known = Manifest.load(tmp_path / "data")
    with pytest.raises(LeakageError, match=r"Patient f3a9 .* seed 77\); set fresh_seed"):
        fresh_phantoms.refuse_same(known, chunk, tmp_path / "fresh")
    fresh_phantoms.refuse_same(manifest, chunk, tmp_path / "fresh")
    folder = RunFolder(known.root, tmp_path / "run", tmp_path / "fresh")
    with pytest.raises(LeakageError):
        perform.perform(folder, TINY, DrawFresh(chunk))


def test_test_and_oracle_patients_never_share_a_seed() -> None:
    for name, preset in EXPERIMENTS.items():
        made = fresh_phantoms.chunks(preset, 4000, 2, VERSION)
        assert len({chunk.cohort_seed for chunk in made}) == len(made)
        # quick proves nothing, and is not to spend its time on patients
        assert preset.fresh_lesions >= (100 if name == "quick" else 3000)
        assert preset.difficulty == DIFFICULTY[VERSION]


# -- what is refused before hours are spent --------------------------------------------------------


def _refused(manifest: Manifest, folder: Path, **changes: Any) -> None:
    settings = replace(TINY, **changes)
    steps = experiment.run(settings, manifest, RunDir(folder), jobs=1)
    try:
        next(steps)
    finally:
        steps.close()  # type: ignore[attr-defined]


def test_missing_gpu_is_told_at_once(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="GPU"):
        _refused(manifest, tmp_path, device="cuda")


def test_more_views_than_a_lesion_gives_are_told_with_a_way_out(
    manifest: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"augment\.rotations to \d+"):
        _refused(manifest, tmp_path, classic=(20, 2000))


def test_phantoms_of_another_difficulty_than_the_fresh_ones_are_refused(
    manifest: Manifest, tmp_path: Path
) -> None:
    liver = replace(
        manifest,
        kind="phantom",
        phantom=VERSION,
        scheme=LIVER,
        lines=tuple(
            replace(line, lesion_class=LIVER.keys[int(line.patient[1:]) % 3])
            for line in manifest.lines
        ),
        difficulty=0.3,
    )
    with pytest.raises(ConfigError, match=r"set difficulty=0\.3"):
        Plan.of(TINY, liver, 1, _folder(liver, tmp_path))
    for known in (replace(liver, difficulty=TINY.difficulty), replace(liver, difficulty=None)):
        assert Plan.of(TINY, known, 1, _folder(known, tmp_path)).fresh
    assert "0.3, is not the calibrated" in str(phantom_note(liver))
    unknown = replace(liver, difficulty=None)
    assert "not known" in str(phantom_note(unknown))


def test_fresh_phantoms_take_the_difficulty_of_the_data_set_unless_another_is_named(
    manifest: Manifest,
) -> None:
    of_second = replace(manifest, phantom=Version.SECOND, difficulty=0.03)
    asked = Request(TINY, 1, "command").fitted(of_second)
    assert asked.settings == replace(TINY, difficulty=0.03)
    assert asked.capped == ("difficulty=0.03, not 0.05: that of the data set's phantoms",)
    named = Request(TINY, 1, "command", ("difficulty",)).fitted(of_second)
    assert named.settings == TINY and not named.capped
    unknown = replace(of_second, difficulty=None)
    assert Request(TINY, 1, "command").fitted(unknown).settings == TINY
    first = Request(TINY, 1, "command").fitted(replace(unknown, phantom=Version.FIRST))
    assert first.settings == replace(TINY, difficulty=0.2)
    assert first.capped == (
        "difficulty=0.2, not 0.05: what phantom 1 is calibrated at, since that of the data set's "
        "phantoms is not known",
    )


def test_sizes_that_give_no_view_at_all_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="less than half a view"):
        _refused(manifest, tmp_path, classic=(1, 20))


def test_pool_of_fresh_phantoms_serves_schemes_of_any_order(tmp_path: Path) -> None:
    chunk = fresh_phantoms.Chunk("test", 0, 1, 0, 0.2, (-150.0, 250.0))
    rois = np.zeros((3, 1, 64, 64), np.float16)
    np.savez(tmp_path / chunk.file, rois=rois, labels=np.arange(3), patients=np.array(list("abc")))
    for keys in (LIVER.keys, LIVER.keys[::-1]):
        pool = fresh_phantoms.load([chunk], "test", tmp_path, keys)
        assert [keys[label] for label in pool.labels] == list(CLASSES)


def test_fewer_patients_than_folds_are_refused(tmp_path: Path) -> None:
    for patients in (1, 2):
        folder = tmp_path / str(patients)
        if patients == 1:
            with pytest.raises(ManifestError, match="'ring' has no ROI"):
                data_set(folder / "data", 1)
            continue
        with pytest.raises(FoldError):
            _refused(data_set(folder / "data", patients), folder / "run")


def test_class_without_patients_for_validation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FoldError, match="Nested selection needs training patients"):
        _refused(data_set(tmp_path / "data", 4), tmp_path / "run")


def test_damaged_data_set_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    shutil.copytree(manifest.root, tmp_path / "data")
    text = (tmp_path / "data" / "lines.jsonl").read_text()
    (tmp_path / "data" / "lines.jsonl").write_text(text.replace('"p0"', '"p1"'))
    words = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert main(["experiment", *words, "--dry-run"]) == 1


def test_full_disk_is_told_before_training(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(ConfigError, match=r"needs about .* GB"):
        _refused(manifest, tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "huge"], "known: quick, compact, paper"),
        (["--set", "gan.epoch=3"], "nearest is 'gan.epochs'"),
        (["--set", "classic=20+10"], "larger than the one before"),
        (["--seeds", "0"], "at least one"),
        (["--resume"], "no run to resume"),
    ],
)
def test_wrong_commands_end_with_a_sentence(
    manifest: Manifest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    start = ["experiment", "--data", str(manifest.root), "--out", str(tmp_path / "run")]
    assert main([*start, *words]) == 1
    assert message in capsys.readouterr().err


def test_folder_of_another_run_is_refused(manifest: Manifest, whole_run: Path) -> None:
    with pytest.raises(ConfigError, match="other settings"):
        _refused(manifest, whole_run, base=10)


@pytest.mark.long
def test_dry_run_prints_tasks_and_time_and_leaves_nothing(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(manifest.root), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main(["experiment", *words, "--jobs", "1", "--set", "augment.rotations=30"]) == 0
    told = capsys.readouterr().out
    for word in ("generator", "classifier", "in all on", DISCRIMINATOR, manifest.digest[:12]):
        assert word in told
    assert not (tmp_path / "run").exists()


# -- what a run gives ------------------------------------------------------------------------------


def test_controls_are_trained_at_the_sizes_that_were_chosen_and_at_no_other(
    manifest: Manifest, whole_run: Path
) -> None:
    folder = _folder(manifest, whole_run)
    outputs = evaluation.Outputs(folder, TINY, manifest, (0,))
    wanted = outputs.matched()
    trained = {
        path.name
        for arm in (EQUAL, *NESTED_ALONE)
        for path in (whole_run / "tasks").glob(f"{arm}-*-outer-*")
    }
    for generator in (DCGAN, "classic+acgan"):
        nested = outputs.selected(Selection.NESTED, 0)[generator]
        equal = outputs.equal_compute(nested, 0)
        assert equal is not None
        for ours, theirs in zip(nested.sizes, equal.sizes, strict=True):
            assert theirs.classic == ours.classic + 2 * ours.synthetic and not theirs.added
    assert trained == {task.name for task in wanted}
    for how in Selection:
        if how == Selection.FIXED:
            continue
        for fold, picked in enumerate(outputs.picked(how, 0)):
            assert picked[EQUAL].synthetic == picked[DCGAN].synthetic
            assert TrainClassifier(picked[EQUAL], OUTER, fold, 0) in wanted
        assert EQUAL in outputs.selected(how, 0)
    for arm in (EQUAL, *NESTED_ALONE):
        made = [task for task in wanted if task.size.arm == arm]
        # a size of each fold, or one for each way to choose
        assert len(made) == 2 if arm in NESTED_ALONE else 2 <= len(made) <= 4


def test_results_have_the_names_that_others_rely_on(manifest: Manifest, whole_run: Path) -> None:
    results = RunDir(whole_run).read_json("results.json")
    assert results["dataset"]["digest"] == manifest.digest
    names = {entry["name"] for entry in results["arms"]}
    assert names == set(ARMS) - {ORACLE, *FURTHER}
    for entry in results["arms"]:
        matrix = np.asarray(entry["confusion"])
        assert matrix.sum() == len(manifest.lines)
        assert np.trace(matrix) == entry["correct"]
        for measure in ("sensitivity", "specificity", "balanced_accuracy"):
            assert entry[measure]["low"] <= entry[measure]["value"] <= entry[measure]["high"]
        assert entry["sensitivity"]["value"] == pytest.approx(entry["correct"] / matrix.sum())
        assert entry["selection"] in ("fixed", "paper", "nested")
        assert {"classic_per_fold", "synthetic_per_fold", "seed"} <= set(entry)
    for row in results["comparisons"]:
        assert row["against"] == CLASSIC
        assert len(row["mcnemar_p"]) == 1
        assert row["holm_p"] is None  # secondary
    assert {row["arm"] for row in results["comparisons"]} == names - {CLASSIC}
    assert [(row["arm"], row["against"]) for row in results["primary"]] == [
        (DCGAN, EQUAL), ("classic+acgan", EQUAL),
    ]  # fmt: skip
    for row in results["primary"]:
        assert row["p"] <= row["holm_p"] <= min(1, 2 * row["p"])
    assert results["answer"][0].startswith("The simple model (features: ")
    assert len(results["answer"]) == 5
    assert "(duplicate-real)" in results["answer"][-2]
    assert results["answer"][-1].startswith("One seed: ")
    assert not any("beat" in told or "were worse" in told for told in results["answer"])
    assert results["inference"].startswith("95 % intervals over patients and trainings")
    of_paper = {entry["name"] for entry in results["arms"] if entry["selection"] == "paper"}
    assert of_paper == names - set(NESTED_ALONE)
    assert results["features"].startswith("78 measurements of each ROI")
    assert set(results["fidelity"]["kinds"]) == {"real", "dcgan", "acgan"}
    for kind in results["fidelity"]["kinds"].values():
        for space in (kind, kind["radiomics"]):
            assert {"kid", "fid", "density", "coverage"} <= set(space)
        assert "told_apart" not in kind  # 9 patients are held out
    assert set(results["memorisation"]["kinds"]) == {"dcgan", "acgan"}


def test_a_notebook_gets_the_numbers_of_the_experiment(manifest: Manifest, whole_run: Path) -> None:
    nested = evaluation.Outputs(_folder(manifest, whole_run), TINY, manifest, (0,)).selected(
        "nested", 0
    )
    found = ml.arm(manifest, folds=TINY.folds, seed=0)
    assert np.array_equal(found.probabilities, nested[FEATURES].probabilities)
    assert found.models == tuple(size.model for size in nested[FEATURES].sizes)


@pytest.mark.long
def test_the_settings_of_a_run_are_taken_back(manifest: Manifest, whole_run: Path, capsys) -> None:
    config, new = str(whole_run / "config.json"), str(whole_run.parent / "new")
    words = ["experiment", "--data", str(manifest.root), "--out", new, "--config", config]
    assert main([*words, "--dry-run", "--set", "folds=3"]) == 0
    asked = Request.of_file(whole_run / "config.json", ["folds=3"], None)
    assert asked.settings == replace(TINY, folds=3) and asked.seeds == 1
    assert asked.command.endswith("--config CONFIG --seeds 1 --set folds=3")
    assert "3 folds, seeds 0" in capsys.readouterr().out
    assert main([*words, "--preset", "quick"]) == 1
    assert "leave --preset out" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"takes the config\.json of a run"):
        Request.of_file(whole_run, [], None)


def test_nested_picks_by_validation_and_the_papers_by_what_it_reports(
    manifest: Manifest, whole_run: Path
) -> None:
    outputs = evaluation.Outputs(_folder(manifest, whole_run), TINY, manifest, (0,))
    nested, paper = outputs.selected("nested", 0), outputs.selected("paper", 0)
    sizes = [size for size in outputs.sizes if size.arm == CLASSIC]
    for fold, size in enumerate(nested[CLASSIC].sizes):
        best = max(outputs.validated(one, fold, 0) or 0 for one in sizes)
        assert outputs.validated(size, fold, 0) == best
    scores = {}
    for size in sizes:
        outcome = outputs.same(size, 0)
        assert outcome is not None
        scores[size] = outputs.right(outcome).mean()
    assert scores[paper[CLASSIC].sizes[0]] == max(scores.values())
    for how in (nested, paper):
        for of_gan, equal in zip(how[DCGAN].sizes, how["equal-compute"].sizes, strict=True):
            assert of_gan.synthetic == equal.synthetic


def test_every_view_that_was_drawn_is_recorded(manifest: Manifest, whole_run: Path) -> None:
    lines = [
        json.loads(line)
        for path in sorted((whole_run / "views" / "0").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    arrays = [np.load(path) for path in sorted((whole_run / "views" / "0").glob("*.npy"))]
    assert len(lines) == sum(len(array) * array.shape[1] for array in arrays)
    assert {line["line"] for line in lines} == {line.id for line in manifest.lines}


@pytest.mark.long
def test_cancelled_run_goes_on_with_more_jobs_and_with_one_and_gives_the_same_results(
    finished_run: Path, tmp_path: Path
) -> None:
    """As ``finished_run``, which was made in one go, one task at a time."""
    manifest = Manifest.load(finished_run / "data")
    folder = RunDir(tmp_path / "cancelled")
    for stop, jobs in (("generator 5", 1), ("classifier 12", 2)):
        steps = experiment.run(WHOLE, manifest, folder, jobs=jobs)
        for step in steps:
            if step.text.startswith(stop):
                break
        steps.close()  # type: ignore[attr-defined]
        assert not (folder.path / "results.json").exists()
    before = len(list((folder.path / "tasks").glob("*/result.json")))
    assert before >= 20
    list(experiment.run(WHOLE, manifest, folder, jobs=1))
    assert _results(folder.path) == _results(finished_run / "run")


def test_resumed_run_keeps_its_settings_seeds_and_command(
    manifest: Manifest, tmp_path: Path
) -> None:
    asked = Request.of("quick", ["base=7"], 3)
    told = "python -m ml experiment --data DATA --out RUN --preset quick --seeds 3 --set base=7"
    assert asked.command == told
    run = RunDir(tmp_path / "run")
    steps = experiment.run(replace(TINY, seed=4), manifest, run, seeds=3, jobs=1, command=told)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    again = Request.again(run.path, None, [], None, manifest)
    assert again == Request(replace(TINY, seed=4), 3, told)
    for preset, changed, seeds in ((None, ["base=5"], None), ("quick", [], None), (None, [], 1)):
        with pytest.raises(ConfigError, match="other settings"):
            Request.again(run.path, preset, changed, seeds, manifest)
    with pytest.raises(ConfigError, match="no run to resume"):
        Request.again(tmp_path, None, [], None, manifest)
    for damaged in ("{", "[]", '{"experiment": {"epochs": 1}}'):
        (run.path / "config.json").write_text(damaged)
        with pytest.raises(ConfigError):
            Request.again(run.path, None, [], None, manifest)


def test_sizes_that_were_asked_for_are_refused_and_those_of_a_preset_lowered(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["experiment", "--data", str(manifest.root), "--out", str(tmp_path / "run")]
    paper = ["--preset", "paper", "--device", "cpu", "--dry-run"]
    assert main([*start, *paper, "--set", "classic=15000"]) == 1
    assert "set augment.rotations to" in capsys.readouterr().err
    asked = Request.of("paper", ["device=cpu"], 2).fitted(manifest)
    sizes = Plan.of(asked.settings, manifest, 2, _folder(manifest, tmp_path)).sizes
    # 36 lesions, 24 in training, 480 views of each
    assert max(size.classic for size in sizes) == 480 * 24 // 2
    assert asked.settings.classic == (500, 1000, 2000, 3000, 5000, 5760)
    assert asked.settings.base == 2880
    assert asked.settings.synthetic == (100, 500, 1000, 1440)
    assert len(asked.capped) == 3
    assert "classic=500+1000+2000+3000+5000+5760, not 500+1000" in asked.capped[0]
    assert "24 training lesions with 480 views each give 5760" in asked.capped[0]
    part = Request.of("paper", ["device=cpu", "base=4000"], 1).fitted(manifest)
    assert part.settings.base == 4000
    fits = Request.of("quick", [], 1)
    assert fits.fitted(manifest) == fits


def test_what_was_lowered_stands_in_the_run_and_is_kept_by_a_resumed_one(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = replace(TINY, classic=(10, 5000), augment=Augment(rotations=1))
    monkeypatch.setattr("ml.experiment.request.experiment", lambda name: large)
    asked = Request.of("paper", [], 1).fitted(manifest)
    assert asked.settings.classic == (10, 16 * 18 // TRAINING)
    run = RunDir(tmp_path / "run")
    steps = experiment.run(
        asked.settings, manifest, run, jobs=1, command=asked.command, capped=asked.capped
    )
    assert next(steps).text == asked.capped[0]
    steps.close()  # type: ignore[attr-defined]
    for preset in (None, "paper"):
        again = Request.again(run.path, preset, [], None, manifest)
        assert (again.settings, again.capped) == (asked.settings, asked.capped)


def test_views_are_counted_without_being_drawn(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(*_: object) -> None:
        raise AssertionError("a view was drawn")

    monkeypatch.setattr("ml.dataset.augment.draw", drawn)
    many = replace(TINY, augment=Augment(rotations=3000))
    assert training_sets.views_needed(manifest, many, 0) == 2
    with pytest.raises(ConfigError, match="a lesion here gives 480"):
        training_sets.views_needed(manifest, replace(TINY, classic=(10**6,), augment=Augment()), 0)


def test_report_is_one_file_with_every_figure(manifest: Manifest, whole_run: Path) -> None:
    list(report.write(whole_run))
    html = (whole_run / "report.html").read_text()
    for words in (
        "paper, private data",
        "Nested selection",
        "The paper's protocol",
        "Memorisation",
        "t-SNE",
        "silhouette",
        "<td>visual-words</td>",
        manifest.digest,
    ):
        assert words in html
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html and "<script" not in html
    assert str(whole_run) not in html


def test_table_has_a_line_for_every_arm_with_its_figures(whole_run: Path) -> None:
    of_arms, of_generators = report.table(whole_run).split("\n\n")
    assert [line.split("|")[1].strip() for line in of_generators.splitlines()[2:]] == [
        "real lesions", "DCGAN", "ACGAN",
    ]  # fmt: skip
    head, _, *lines = of_arms.splitlines()
    assert {line.split("|")[1].strip() for line in lines} == set(ARMS) - {ORACLE, *FURTHER}
    results = RunDir(whole_run).read_json("results.json")
    [row] = [
        row
        for row in results["summary"]
        if (row["name"], row["selection"]) == ("classic+dcgan", "nested")
    ]
    [line] = [line for line in lines if line.startswith("| classic+dcgan ")]
    cells = dict(zip(head.split(" | "), line.split(" | "), strict=True))
    for name, entry in (
        ("specificity", row["specificity"]["weighted"]),
        ("balanced accuracy", row["balanced_accuracy"]),
    ):
        value, low, high = (f"{100 * entry[key]:.1f}" for key in ("value", "low", "high"))
        assert cells[name] == f"{value} ({low} to {high})"


def test_report_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(report.ReportError, match="no whole results"):
        list(report.write(tmp_path))
    with pytest.raises(report.ReportError, match="no whole results"):
        report.table(tmp_path)


@pytest.mark.long
def test_generator_that_collapses_takes_its_arms_away_and_says_so(
    manifest: Manifest, tmp_path: Path
) -> None:
    hopeless = replace(TINY.gan, collapse_spread=50.0, restarts=0)
    settings = replace(SMALL, gan=hopeless)
    list(experiment.run(settings, manifest, RunDir(tmp_path), jobs=1))
    results = RunDir(tmp_path).read_json("results.json")
    names = {entry["name"] for entry in results["arms"]}
    assert DCGAN not in names and "classic+acgan" in names
    assert any("collapsed" in why for why in results["failed"].values())
    assert all(row["arm"] != DCGAN for row in results["comparisons"])
    list(report.write(tmp_path))
    assert "collapsed in every attempt" in (tmp_path / "report.html").read_text()


def test_inner_training_gets_synthetic_rois_in_proportion(
    manifest: Manifest, whole_run: Path
) -> None:
    folder = _folder(manifest, whole_run)
    size = ArmSize(DCGAN, 20, 8, "dcgan")
    sizes = {}
    for part in (OUTER, INNER):
        task = TrainClassifier(size, part, 0, 0)
        fold = training_sets.fold_of(manifest, TINY, 0, 0, part)
        pixels, labels = training_sets.training_set(folder, TINY, manifest, task, fold)
        whole = training_sets.fold_of(manifest, TINY, 0, 0, OUTER)
        each = training_sets.views_each(TINY, whole, 20)
        real = len(fold.train) * (1 + each)
        sizes[part] = (len(pixels) - real) / len(fold.train)
        assert len(labels) == len(pixels)
    whole = training_sets.fold_of(manifest, TINY, 0, 0, OUTER)
    assert sizes[OUTER] == TRAINING * 8 * 2 / len(whole.train)
    assert sizes[INNER] == pytest.approx(sizes[OUTER], abs=0.1)


def test_real_lesions_are_repeated_as_often_as_the_dcgans_draw(
    manifest: Manifest, whole_run: Path
) -> None:
    folder = _folder(manifest, whole_run)
    fold = training_sets.fold_of(manifest, TINY, 0, 0, OUTER)
    (some, labels), (drawn, others), (rois, _) = (
        training_sets.training_set(folder, TINY, manifest, TrainClassifier(size, OUTER, 0, 0), fold)
        for size in (
            ArmSize(DUPLICATE, 20, 8, "real"),
            ArmSize(DCGAN, 20, 8, "dcgan"),
            ArmSize(DUPLICATE, 20, 20, "real"),  # more than there are lesions
        )
    )
    assert sorted(labels) == sorted(others)
    classic = len(labels) - TRAINING * 8 * 2
    assert (some[:classic] == drawn[:classic]).all()
    plain = {manifest.roi(line, TINY.window_hu).astype(np.float16).tobytes() for line in fold.train}
    seen = Counter(roi.astype(np.float16).tobytes() for roi in rois[classic:])
    assert seen.keys() == plain and max(seen.values()) - min(seen.values()) <= 1


# -- phantoms --------------------------------------------------------------------------------------


@pytest.mark.long
def test_phantoms_have_an_oracle_and_a_true_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_phantoms, "CHUNK", 3)
    findings = []
    counts = dict.fromkeys(LIVER.keys, 12)
    for patient, number, image in draw_lesion_slices(counts, 5):
        box = image.box(number)
        assert box is not None
        findings.append(
            Finding(
                pixels=image.hu,
                kind="phantom",
                lesion_class=patient.lesion_class,
                patient=patient.patient_id,
                file=f"{patient.patient_id}.dcm",
                box=Box(*box),
                spacing_mm=image.spacing_mm,
                source="phantom",
            )
        )
    list(write(findings, len(findings), LIVER, tmp_path / "data"))
    manifest = Manifest.load(tmp_path / "data")
    settings = replace(SMALL, visual_words=(4,), fresh_lesions=18, oracle_lesions=18)
    run = RunDir(tmp_path / "run")
    list(experiment.run(settings, manifest, run, jobs=1, fresh=tmp_path / "fresh"))
    results = run.read_json("results.json")
    assert results["fresh"]["test_lesions"] == 18
    assert results["dataset"]["calibration"]
    assert {entry["name"] for entry in results["arms"]} == set(ARMS) - set(FURTHER)
    for entry in results["arms"]:
        assert 0 <= entry["true_balanced_accuracy"]["value"] <= 1
    for row in results["comparisons"]:
        assert row["true_difference"]["low"] <= row["true_difference"]["value"]
        assert ("share_of_oracle_gap" in row) == (row["arm"] in (DCGAN, "classic+acgan"))
    pools = [
        fresh_phantoms.load(
            training_sets.fresh_of(settings, manifest), use, tmp_path / "fresh", LIVER.keys
        )
        for use in (fresh_phantoms.TEST, fresh_phantoms.ORACLE)
    ]
    assert not set(pools[0].patients) & set(pools[1].patients)
    assert not (set(pools[0].patients) | set(pools[1].patients)) & manifest.patients
    assert np.bincount(pools[0].labels).tolist() == [6, 6, 6]
    list(report.write(run.path))
    assert "fresh phantom patients" in (run.path / "report.html").read_text()


# -- a split that the data set names ---------------------------------------------------------------


@pytest.mark.long
def test_on_a_split_of_the_data_set_nothing_is_trained_or_chosen_on_what_tests(
    tmp_path: Path, capsys
) -> None:
    parts = {0: "test", 1: "test", 2: "val", 3: "val"}
    made = [
        replace(one, groups={"split": parts.get(int(one.patient[1:]), "train")})
        for one in findings(16, 1)
    ]
    list(write(made, len(made), TWO, tmp_path / "data"))
    manifest = Manifest.load(tmp_path / "data")
    small = replace(SMALL, folds=3, classic=(10, 20), shares=(0.4, 1.0))
    request = Request(small, 1, "command").fitted(manifest)
    assert request.capped[0].startswith("split=given, not folds: the data set names 2 lesions of 2")
    folds = Request(small, 1, "command", ("split",))
    assert folds.fitted(manifest).settings.split == "folds"
    assert "train on them in other folds" in folds.on(manifest).capped[0]

    run = RunDir(tmp_path / "run")
    list(experiment.run(request.settings, manifest, run, jobs=1, capped=request.capped))
    test = {"p0", "p1"}
    for path in (run.path / "tasks").glob("*/result.json"):
        saw = set(json.loads(path.read_text()).get("patients", ()))
        assert not saw & test
        if "-inner-" in path.parent.name:
            assert not saw & {"p2", "p3"}  # what a size is chosen on is not trained on before
    for path in (run.path / "tasks").glob("*-outer-*/outputs.npz"):
        rows = np.load(path)["rows"]
        assert {manifest.lines[row].patient for row in rows} == test
    for path in (run.path / "tasks").glob("*-inner-*/outputs.npz"):
        assert {manifest.lines[row].patient for row in np.load(path)["rows"]} == {"p2", "p3"}
    results = run.read_json("results.json")
    assert results["dataset"]["split"]["test"] == {"lesions": 2, "patients": 2}
    assert {(one["n_lesions"], one["n_patients"]) for one in results["arms"]} == {(2, 2)}
    table = (run.path / "predictions.csv").read_text("utf-8").splitlines()[1:]
    assert {line.split(",")[2] for line in table} == test
    list(report.write(run.path))
    page = (run.path / "report.html").read_text("utf-8")
    assert "tested on 2 lesions of 2 patients alone, trained on 12 lesions of 12 patients" in page
    # sizes per fold are added twice here, and told so; of synthetic ROIs with their share
    assert "<th>in all</th>" in page and "per fold</th>" not in page
    sizes = {one["synthetic_per_fold"] for one in results["arms"] if one["name"] == DCGAN}
    assert sizes == {4, 10}
    of_row = page.partition("<td>classic+dcgan</td>")[2].partition("</tr>")[0]
    assert "20 + 8 (0.4)" in of_row or "20 + 20 (1)" in of_row
    assert "are shares of the classic ones beside them, which are of real lesions: 0.4, 1." in page
    assert main(["report", str(run.path), "--again", "--data", str(manifest.root)]) == 0
    assert "is not what it was" not in capsys.readouterr().err
