"""Generators beyond the paper as arms: only where they are named, and then like the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.checkpoints.checkpoint import Checkpoint
from ml.checkpoints.serving import Generator
from ml.config import EXPERIMENTS, ConfigError, Diffusion, GeneratorKind
from ml.experiment import arms, release, report, tasks
from ml.experiment import run as experiment
from ml.experiment.costs import Costs, nominal
from ml.experiment.folder import RunFolder
from ml.experiment.plan import Plan
from ml.experiment.results import Results
from ml.progress import RunDir
from ml.statistics import copies
from tests.ml.discs import SMALL, data_set

pytestmark = pytest.mark.long

BOTH = (GeneratorKind.CGAN, GeneratorKind.DIFFUSION)
SETTINGS = replace(
    SMALL,
    base=20,
    classic=(20,),
    synthetic=(3,),
    validation_parts=2,
    further_generators=BOTH,
    diffusion=Diffusion(steps=2),
)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_preset_has_the_arms_and_generators_that_it_had(name: str) -> None:
    settings = EXPERIMENTS[name]
    found = {size.arm for size in arms.sizes(settings, 3, oracle=True)}
    assert found == set(arms.ARMS) - set(arms.FURTHER) - {arms.VISUAL}
    assert tasks.measured_kinds(settings) == ("real", "dcgan", "acgan")
    trained = tasks.generators(settings, ("a", "b"), 0, tasks.OUTER, 0)
    assert [task.name for task in trained] == [
        "dcgan-a-outer-0-0", "dcgan-b-outer-0-0", "acgan-outer-0-0",
    ]  # fmt: skip


def test_arms_that_are_named_are_planned_and_cost_something(tmp_path: Path) -> None:
    settings = EXPERIMENTS["compact"].override(["further_generators=cgan+diffusion"])
    found = [size.name for size in arms.sizes(settings, 3, oracle=False)]
    assert {"classic+cgan-1000-100", "classic+diffusion-1000-400"} <= set(found)
    costs = Costs(settings, 180, 3, False, nominal(settings))
    seconds = {
        task.kind: costs.seconds(task)
        for task in tasks.generators(settings, ("a",), 0, tasks.OUTER, 0)
    }
    assert seconds["cgan"] == pytest.approx(seconds["acgan"], rel=0.5)
    assert seconds["diffusion"] > seconds["acgan"]


def test_too_few_lesions_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    manifest = data_set(tmp_path / "discs", patients=14, each=1)
    folder = RunFolder(manifest.root, tmp_path / "run", tmp_path / "fresh")
    Plan.of(replace(SETTINGS, further_generators=()), manifest, 1, folder)
    with pytest.raises(ConfigError, match=r"A conditional GAN is not trained on \d lesions"):
        Plan.of(SETTINGS, manifest, 1, folder)


def test_both_are_trained_measured_compared_and_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "ANGLE_DEG", 90)  # seconds instead of minutes
    manifest = data_set(tmp_path / "discs", patients=24, each=2)
    run = RunDir(tmp_path / "run")
    list(experiment.run(SETTINGS, manifest, run, jobs=1))
    found = Results.load(run.path).found
    assert found.asked.settings.further_generators == BOTH
    named = {score.name for score in found.scores.summary}
    trained = {arm: kind for arm, kind in arms.FURTHER.items() if kind in BOTH}
    assert len(trained) == 2 and set(trained) <= named and arms.TISSUE not in named
    compared = {(row.arm, row.against) for row in found.scores.secondary or ()}
    for arm, kind in trained.items():
        assert (arm, arms.EQUAL) in compared
        assert kind in found.synthetic.fidelity.kinds  # type: ignore[union-attr]
        assert kind in found.synthetic.memorisation.kinds  # type: ignore[union-attr]
        fates = [one for one in found.synthetic.generators if one.kind == kind]
        assert len(fates) == 2 * SETTINGS.folds
        assert all(one.fared.looks for one in fates)  # type: ignore[union-attr]
        assert all(one.lesion_class is None for one in fates)
    # the paper's two hypotheses stay a family of two
    assert [row.arm for row in found.scores.primary or ()] == list(arms.PRIMARY)
    assert any("of the diffusion model were" in line for line in found.scores.answer)

    list(report.write(run.path))
    page = (run.path / "report.html").read_text("utf-8")
    for words in ("conditional GAN", "diffusion models at most", "classic+diffusion"):
        assert words in page

    made = release.checkpoints(SETTINGS, manifest, run, "tiny", "")
    for kind in GeneratorKind:
        own = [one for one in made if one.kind == "generator" and one.network == kind]
        assert [one.name for one in own] == [f"tiny-{kind}-{key}" for key in manifest.scheme.keys]
        for one in own:
            meta = Checkpoint.load(run.path / "checkpoints" / one.name)
            task = tasks.generator_of(kind, tasks.OUTER, 0, SETTINGS.seed, str(one.lesion_class))
            drawn = np.load(run.path / "tasks" / task.name / f"rois-{one.lesion_class}.npy").astype(
                np.float32
            )
            served = Generator(meta.onnx(), meta).draw([0, 2])
            # a run's ROI i is what its checkpoint draws for seed i, in half precision
            assert np.abs(served - drawn[[0, 2]]).max() < 2e-3
            assert np.abs(served[0] - served[1]).max() > 1e-3
