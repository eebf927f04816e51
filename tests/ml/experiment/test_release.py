"""Checkpoints out of a run: the sizes that nested selection chose, whatever the order of keys."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ml.dataset.manifest import Manifest
from ml.experiment import arms, release
from ml.progress import RunDir
from tests.ml.discs import SMALL, data_set


@pytest.mark.parametrize("order", [1, -1])
def test_the_chosen_sizes_do_not_rest_on_the_order_of_keys(tmp_path, order):
    manifest = Manifest.load(data_set(tmp_path / "discs").root)
    settings = replace(SMALL, classic=(6, 12), base=12, synthetic=(4,))
    sizes = {
        arms.CLASSIC: {"classic_per_fold": 6, "synthetic_per_fold": 0},
        arms.DCGAN: {"classic_per_fold": 12, "synthetic_per_fold": 8},
    }
    entries = [
        {
            "name": name,
            "selection": "nested",
            "seed": settings.seed,
            "chosen_per_fold": [dict(list(size.items())[::order])],
        }
        for name, size in sizes.items()
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps({"arms": entries}))
    chosen = release._chosen(settings, manifest, RunDir(tmp_path / "run"))
    assert [(p.arm, p.classic, p.synthetic) for p in chosen] == [
        (arms.CLASSIC, 6, 0),
        (arms.DCGAN, 12, 4),
    ]
