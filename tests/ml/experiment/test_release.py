"""Checkpoints out of a run: the sizes that nested selection chose."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml.checkpoints.checkpoint import Checkpoint, CheckpointKind
from ml.dataset.folds import patient_folds
from ml.dataset.manifest import Manifest
from ml.experiment import arms, release
from ml.experiment.results import Results
from ml.experiment.results.scores import AddedPerFold, ArmScore, Selection
from ml.progress import RunDir
from ml.trust.calibration import Calibration
from ml.trust.evidence import Missing
from ml.trust.record import Seen
from tests.golden import stored_run
from tests.ml.discs import SMALL, WHOLE, data_set


def test_the_released_sizes_are_those_that_nested_selection_chose(tmp_path: Path) -> None:
    manifest = Manifest.load(data_set(tmp_path / "discs").root)
    settings = replace(SMALL, classic=(6, 12), base=12, synthetic=(4,))
    some = Results.load(stored_run.unpacked(stored_run.TODAY, tmp_path)).found.scores.arms[0]

    def score(name: str, how: Selection, seed: int, *added: int) -> ArmScore:
        chosen = (AddedPerFold(*added),)
        return replace(some, name=name, selection=how, seed=seed, chosen_per_fold=chosen)

    scores = [
        score(arms.CLASSIC, Selection.NESTED, settings.seed, 6, 0),
        score(arms.DCGAN, Selection.NESTED, settings.seed, 12, 8),
        score(arms.CLASSIC, Selection.PAPER, settings.seed, 12, 0),
        score(arms.CLASSIC, Selection.NESTED, settings.seed + 1, 12, 0),
    ]
    chosen = release._chosen(settings, manifest, scores)
    assert [(size.arm, size.classic, size.synthetic) for size in chosen] == [
        (arms.CLASSIC, 6, 0),
        (arms.DCGAN, 12, 4),
    ]


def test_a_released_classifier_is_judged_by_the_networks_of_the_other_folds(
    finished_run: Path, tmp_path: Path
) -> None:
    """Of the tiny run a temperature cannot be told; that is what its checkpoint says."""
    manifest = Manifest.load(finished_run / "data")
    shutil.copytree(finished_run / "run", tmp_path / "run")
    made = release.checkpoints(WHOLE, manifest, RunDir(tmp_path / "run"), "tiny", "")
    classifiers = [one for one in made if one.kind == CheckpointKind.CLASSIFIER]
    assert classifiers
    folds = patient_folds(manifest, WHOLE.folds, WHOLE.seed)
    for one in classifiers:
        again = Checkpoint.load(tmp_path / "run/checkpoints" / one.name)
        if one.name.endswith("equal-compute"):  # trained at one size, maybe not in every fold
            continue
        assert again.trust is not None
        assert again.trust.fitted_on.n_lesions == len(folds[0].train)
        assert again.trust.novelty == Missing(
            "an experiment does not keep the networks of its other folds"
        )
        kept = again.lesions_of(again.lesions_bytes() or b"")
        assert kept.ids == tuple(line.id for line in manifest.lines)
        assert int(kept.trained.sum()) == len(folds[0].train)
        assert kept.calibrated == isinstance(again.trust.calibration, Calibration)
        trust = again.trust_of(again.trust_bytes())
        assert trust is not None
        logits = np.zeros((1, len(manifest.scheme)))
        seen = Seen(logits, np.zeros((1, 4)), np.array([False]), np.zeros((0, 4)), [None])
        (said,) = trust.said(seen, 0.9, manifest.scheme.keys)
        assert said.calibrated == isinstance(again.trust.calibration, Calibration)
        assert said.calibrated or "not calibrated: " in said.reasons[0]
