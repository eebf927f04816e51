"""Phantom lesions in real tissue as an arm: from the command, and what is refused of a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml import __main__ as commands
from ml.config import ConfigError, Experiment
from ml.dataset.folds import LeakageError
from ml.dataset.manifest import Finding, Manifest
from ml.dataset.writing import write
from ml.experiment import arms, pasted, release, report, tasks
from ml.experiment import run as experiment
from ml.experiment.folder import RunFolder
from ml.experiment.plan import Plan
from ml.experiment.request import Request
from ml.experiment.results import Results
from ml.experiment.results.synthetic import Fidelity, Memorisation
from ml.experiment.tissue import TissueError, asked, compared, paste
from ml.experiment.tissue.stock import Stock
from ml.images.roi import Box
from ml.lesion import LIVER
from ml.progress import RunDir
from ml.statistics import copies
from tests.ml.discs import SMALL, findings
from tests.ml.experiment.tissue import livers

pytestmark = pytest.mark.long

WINDOW = ["window_low_hu=-50", "window_high_hu=250"]
SETTINGS = replace(
    SMALL,
    base=20,
    classic=(20,),
    synthetic=(6,),
    validation_parts=2,
    fidelity_rois=16,
    window_low_hu=-50.0,
)
"""The largest size takes 6 pasted lesions of each class, fidelity all 12 that there are."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 lesions in 12 made-up livers, by the command; few phantoms stand beside them."""
    root = tmp_path_factory.mktemp("tissue")
    slices, out = livers.folder(root / "slices", each=1), root / "pasted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asked, "TRAINED", dict.fromkeys(asked.TRAINED, 2))
        patch.setattr(paste, "TESTED_OF_EACH", 2)
        patch.setattr(compared, "SIDE_MM", 1000.0)  # no room for a square: nothing is compared
        told = ["--spacing-mm=1.5", "--hu=-50,250", r"--patient=case_(\d+)_", "--count=36"]
        places = [f"--images={slices / 'images'}", f"--masks={slices / 'masks'}", f"--out={out}"]
        assert commands.main(["paste", *told, *places]) == 0
    return out


def _data(
    out: Path,
    change: Callable[[Finding], Finding] = lambda finding: finding,
    kind: str = "calibrated",
) -> Manifest:
    """Discs and rings of 12 patients under the liver's classes."""
    made = [
        change(replace(one, lesion_class=LIVER.keys[int(one.patient[1:]) % 3]))
        for one in findings(12, 2, kind=kind)
    ]
    list(write(made, len(made), LIVER, out))
    return Manifest.load(out)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return _data(tmp_path_factory.mktemp("data") / "discs")


def test_the_arm_is_trained_measured_compared_told_and_begun_only_with_its_folder(
    folder: Path, data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "ANGLE_DEG", 90)  # seconds instead of minutes
    stock = Stock.load(folder)
    asked_for = Request(SETTINGS, 1, "python -m ml experiment").with_tissue(stock, data)
    settings, run = asked_for.settings, RunDir(tmp_path / "run")
    assert settings.tissue == stock.digest and "--tissue PASTED" in asked_for.command
    where = RunFolder(data.root, run.path, run.path / "fresh")
    plan, plain = (Plan.of(one, data, 1, where) for one in (settings, SETTINGS))
    assert "3 tissue       tasks, 0 done" in plan.describe(where, 1)
    assert "tissue" not in plain.describe(where, 1)
    assert plan.bytes_needed() > plain.bytes_needed()
    assert plan.wall_s(where, 1) > plain.wall_s(where, 1)

    steps = experiment.run(settings, data, run, jobs=1, tissue=folder)
    for step in steps:
        if "views 6 of 6" in step.text or "tissue-cyst" in step.text:
            break
    steps.close()  # as a kill would
    with pytest.raises(TissueError, match=r"needs its pasted lesions: .* --tissue"):
        next(experiment.run(settings, data, run, jobs=1))
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    with pytest.raises(ConfigError, match="other settings"):
        next(experiment.run(SETTINGS, data, run, jobs=1))
    _changed(other, seed=5)
    with pytest.raises(TissueError, match="another pasting, or it was made anew"):
        next(experiment.run(settings, data, run, jobs=1, tissue=other))
    list(experiment.run(settings, data, run, jobs=1, tissue=folder))

    found = Results.load(run.path).found
    assert found.asked.settings.tissue == stock.digest
    assert json.loads((run.path / "config.json").read_text())["experiment"]["tissue"]
    assert arms.TISSUE in {score.name for score in found.scores.summary}
    assert (arms.TISSUE, arms.EQUAL) in {
        (row.arm, row.against) for row in found.scores.secondary or ()
    }
    assert [row.arm for row in found.scores.primary or ()] == list(arms.PRIMARY)
    assert any(line.startswith("Phantom lesions pasted") for line in found.scores.answer)
    likeness, memorised = found.synthetic.fidelity, found.synthetic.memorisation
    assert isinstance(likeness, Fidelity) and isinstance(memorised, Memorisation)
    assert "tissue" in likeness.kinds
    copied = memorised.kinds["tissue"]["pixels"]
    assert copied.synthetic_rois == 2 * 36  # both folds, fewer than fidelity_rois
    assert {one.lesion_class: one.rois for one in found.synthetic.tissue or ()} == dict.fromkeys(
        LIVER.keys, 12
    )
    # the first of each class, in every fold and part
    for key in LIVER.keys:
        rois = np.load(run.path / "tasks" / f"tissue-{key}" / f"rois-{key}.npy")
        for i, one in enumerate(stock.of_class(key)):
            assert np.abs(rois[i] - stock.roi(one, settings.window_hu)).max() < 1e-3

    list(report.write(run.path))
    page = (run.path / "report.html").read_text("utf-8")
    for words in (
        "the lesions in it are simulated",
        "case_03_0.png",
        stock.digest,
        "tissue is rea",
    ):
        assert words in page
    made = release.checkpoints(settings, data, run, "tiny", "")
    own = next(one for one in made if one.name == "tiny-classic-tissue")
    assert any("the lesions are simulated" in note for note in own.metrics.notes)


def _changed(folder: Path, **told: object) -> None:
    """A folder that was pasted otherwise, and is whole."""
    stock = Stock.load(folder)
    made = replace(stock.made, **told).sealed((folder / "labels.csv").read_bytes())
    before = json.loads((folder / "tissue.json").read_text())
    after = {**before, **told, "digest": made.digest}
    (folder / "tissue.json").write_text(json.dumps(after))


def _refuse(folder: Path, manifest: Manifest, settings: Experiment = SETTINGS) -> str:
    stock = Stock.load(folder)
    with pytest.raises((TissueError, LeakageError)) as refused:
        pasted.refuse_unfit(stock, replace(settings, tissue=stock.digest), manifest, (0,))
    return str(refused.value)


def test_a_folder_that_is_none_or_was_damaged_is_refused(
    folder: Path, data: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(TissueError, match=r"holds no pasted lesions .*python -m ml paste"):
        Stock.load(tmp_path)

    def broken(change: Callable[[Path], None]) -> str:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        change(copy)
        with pytest.raises(TissueError) as refused:
            Stock.load(copy).verify()
        return str(refused.value)

    def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
        def change(copy: Path) -> None:
            text = (copy / name).read_text()
            assert old in text
            (copy / name).write_text(text.replace(old, new, 1))

        return change

    assert "labels.csv" in broken(lambda copy: (copy / "labels.csv").unlink())
    assert "was altered" in broken(edit("labels.csv", "cyst", "metastasis"))
    assert "was altered" in broken(edit("tissue.json", "250.0", "300.0"))
    assert "earlier version" in broken(edit("tissue.json", '"digest"', '"digests"'))
    assert "is damaged" in broken(edit("tissue.json", '"seed"', '"seeds"'))
    assert "is damaged" in broken(edit("tissue.json", "{", "["))
    assert "is damaged" in broken(edit("labels.csv", "sha256", "sha"))
    picture = "images/00007.png"
    assert "cannot be read" in broken(lambda copy: (copy / picture).unlink())
    black = Image.new("L", (livers.SIDE, livers.SIDE))
    assert f"{picture} was altered" in broken(lambda copy: black.save(copy / picture))


def test_what_would_change_greys_or_leak_is_refused(
    folder: Path, data: Manifest, tmp_path: Path
) -> None:
    pasted.refuse_unfit(
        stock := Stock.load(folder), replace(SETTINGS, tissue=stock.digest), data, (0,)
    )
    two = replace(LIVER, classes=(LIVER.classes[1], LIVER.classes[0], *LIVER.classes[2:]))
    assert two.keys != LIVER.keys  # another order is the same classes
    pasted.refuse_unfit(
        stock, replace(SETTINGS, tissue=stock.digest), replace(data, scheme=two), (0,)
    )
    few = replace(data, scheme=replace(LIVER, classes=LIVER.classes[:2]))
    assert "They must be the same" in _refuse(folder, few)

    told = _refuse(folder, data, replace(SETTINGS, window_low_hu=-150.0))
    assert "-150 to 250 HU" in told and "set window_low_hu=-50 window_high_hu=250" in told
    told = _refuse(folder, data, replace(SETTINGS, window_low_hu=300.0, window_high_hu=500.0))
    assert told.endswith("paste into slices that hold it.")
    grey = _data(tmp_path / "grey", lambda one: replace(
        one, pixels=np.clip(one.pixels + 50, 0, 255).astype(np.uint8)
    ), "uncalibrated")  # fmt: skip
    assert "has grey values without HU" in _refuse(folder, grey)

    told = _refuse(folder, data, replace(SETTINGS, synthetic=(20,)))
    assert "12 pasted lesions of class" in told and "takes 20 of each" in told

    same = _data(tmp_path / "name", lambda one: (
        replace(one, patient="03") if one.patient == "p3" else one
    ))  # fmt: skip
    told = _refuse(folder, same)
    assert "Patient 03 of" in told and "tell them apart by --patient" in told


def test_a_slice_under_another_name_is_found_by_its_pixels(folder: Path, tmp_path: Path) -> None:
    one = livers.liver_slice(300, level=98)  # that of case_03_0.png

    def moved(finding: Finding) -> Finding:
        if finding.patient != "p4":
            return finding
        # mirrored, and cut off where the pasted one was rounded; any place of it will do
        turned = one.hu[:, ::-1].T
        return replace(
            finding, pixels=np.floor(turned).astype(np.int16), box=Box(60.0, 70.0, 20.0, 22.0),
            file="elsewhere.dcm", spacing_mm=(1.5, 1.5),
        )  # fmt: skip

    kept = []

    def once(finding: Finding) -> Finding:
        if finding.patient == "p4":
            kept.append(finding)
            return moved(finding) if len(kept) == 1 else finding
        return finding

    told = _refuse(folder, _data(tmp_path / "same", once))
    assert "elsewhere.dcm of patient p4" in told and "case_03_0.png of patient 03" in told


def test_sizes_of_a_preset_are_lowered_to_what_was_pasted_and_asked_ones_are_refused(
    folder: Path, data: Manifest, tmp_path: Path
) -> None:
    stock = Stock.load(folder)
    asked_for = Request.of("quick", WINDOW, 1).with_tissue(stock, data)
    most = asked_for.settings.synthetic[-1]
    assert most * (asked_for.settings.folds - 1) <= 12 == stock.fewest
    assert "12 pasted lesions of the rarest class" in asked_for.capped[0]
    assert asked_for.command.endswith(f"--tissue PASTED --set {' '.join(WINDOW)}")
    size = Request.of("quick", [*WINDOW, "synthetic=50"], 1).with_tissue(stock, data)
    assert size.settings.synthetic == (50,) and size.capped == ()
    folders = RunFolder(data.root, tmp_path, tmp_path / "fresh", tissue=folder)
    with pytest.raises(TissueError, match="takes 100 of each"):
        Plan.of(size.settings, data, 1, folders).check(folders)
    # none: nothing is changed
    assert Request.of("quick", [], 1).with_tissue(None, data) == Request.of("quick", [], 1)
    for text in ("tissue=pasted", f"tissue={folder}"):
        with pytest.raises(ConfigError, match="give their folder with --tissue"):
            SETTINGS.override([text])
    assert tasks.measured_kinds(SETTINGS) == ("real", "dcgan", "acgan")
    assert "tissue" not in SETTINGS.dump()


def test_a_run_is_planned_and_refused_from_the_command_line(
    folder: Path, data: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["experiment", f"--data={data.root}", f"--out={tmp_path / 'run'}", "--dry-run"]
    assert commands.main([*told, f"--tissue={tmp_path}"]) == 1
    assert "holds no pasted lesions" in capsys.readouterr().err
    assert commands.main([*told, f"--tissue={folder}", "--jobs=1"]) == 1  # the preset's window
    assert "set window_low_hu=-50 window_high_hu=250" in capsys.readouterr().err
