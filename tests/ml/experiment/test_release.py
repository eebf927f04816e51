"""Checkpoints out of a run: the sizes that nested selection chose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ml.dataset.manifest import Manifest
from ml.experiment import arms, release
from ml.experiment.results import Results
from ml.experiment.results.scores import AddedPerFold, ArmScore, Selection
from tests.golden import stored_run
from tests.ml.discs import SMALL, data_set


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
