"""``make weights``: from seeds to checkpoints that serve, and on again after a kill."""

from __future__ import annotations

import re
from concurrent.futures import Future
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ml.checkpoints import saving
from ml.checkpoints.checkpoint import Checkpoint, CheckpointError
from ml.checkpoints.metrics import GeneratorMetrics
from ml.checkpoints.serving import Classifier, Generator, load
from ml.config import TRAININGS, Augment, Gan, GeneratorKind
from ml.config import Classifier as Cnn
from ml.dataset.manifest import Manifest
from ml.lesion import LIVER
from ml.training import shipped
from ml.training.gan import CollapseError
from ml.training.nearest import KINDS, Nearest

KEYS = LIVER.keys
TINY = replace(
    TRAININGS["shipped"],
    folds=2,
    augment=Augment(per_fold=30),
    classifier=Cnn(epochs=1, width=8),
    gan=Gan(
        width=2,
        discriminator_width=2,
        epochs=1,
        batch=8,
        collapse_spread=0,
        collapse_correlation=0,
    ),
)


@pytest.mark.long
def test_one_command_makes_every_shipped_checkpoint(tmp_path: Path) -> None:
    counts = dict.fromkeys(KEYS, 10)
    out, work = tmp_path / "weights", tmp_path / "work"
    (out / "phantom-dcgan-old").mkdir(parents=True)
    steps = list(shipped.train(out, work, 1, counts, TINY, tried_on=2, others=6))
    assert steps[-1].done == steps[-1].total == 2 + 3 + 2 * 1
    made = {path.name for path in (work / shipped.CHECKPOINTS).iterdir()}
    assert made == {"phantom-cnn", *(f"phantom-{kind}-{key}" for kind, key in product(KINDS, KEYS))}
    served = {folder.name: load(folder) for folder in out.iterdir()}
    [kind] = [one for one in KINDS if f"phantom-{one}-cyst" in served]
    assert set(served) == {"phantom-cnn", *(f"phantom-{kind}-{key}" for key in KEYS)}
    digest = Manifest.load(work / shipped.NAME).digest
    for name, checkpoint in served.items():
        assert checkpoint.meta.name == name
        assert checkpoint.meta.training_kind == "phantom"
        assert checkpoint.meta.dataset_digest == digest
        card = (out / name / "CARD.md").read_text("utf-8")
        assert "make weights" in card
        assert shipped.WORDS.licence in card
        if isinstance(checkpoint, Generator):
            [told] = [words for words in checkpoint.meta.metrics.notes if "Chosen among" in words]
            far = dict(zip(KINDS, map(int, re.findall(r"(?:s|N|l) (\d+)", told)), strict=True))
            assert far[kind] == min(far.values())
            assert "nearest to 18 lesions of" in card
            assert np.abs(checkpoint.draw([0])).max() <= 1
        else:
            assert isinstance(checkpoint, Classifier)

    before = {path: path.read_bytes() for path in out.glob("*/*")}
    list(shipped.measure(out, work, counts))
    for path, data in before.items():  # measured by the same lesions and draws: the same
        assert path.read_bytes() == data, path
    saving.measure(out / f"phantom-{kind}-cyst", GeneratorMetrics(attempts=7))
    list(shipped.measure(out, work, counts))
    found = Checkpoint.load(out / f"phantom-{kind}-cyst")
    assert isinstance(found.metrics, GeneratorMetrics) and found.metrics.attempts == 7
    assert found.metrics.radiomic_distance is not None
    assert found.metrics.radiomic_distance_real is not None
    assert "Fréchet radiomic distance" in (found.root / "CARD.md").read_text("utf-8")
    with pytest.raises(CheckpointError, match="those drawn here have"):
        list(shipped.measure(out, tmp_path / "other", dict.fromkeys(KEYS, 5)))


def test_shipped_lesions_are_as_many_as_the_papers() -> None:
    assert sum(shipped.COUNTS.values()) == 182
    assert set(shipped.COUNTS) == set(LIVER.keys)


def _ended(**raised: Exception) -> dict[str, Future[None]]:
    """All trainings, each ended well or by a fault."""
    work: dict[str, Future[None]] = {}
    for name in ("cnn", "cgan", "diffusion", *(f"dcgan-{key}" for key in KEYS)):
        work[name] = Future()
        fault = raised.get(name.replace("-", "_"))
        if fault is None:
            work[name].set_result(None)
        else:
            work[name].set_exception(fault)
    return work


def test_a_kind_that_collapses_for_one_class_ships_nothing_and_the_others_do() -> None:
    assert shipped.collapsed_of(_ended()) == ()
    one_class = CollapseError("cyst collapsed")
    assert shipped.collapsed_of(_ended(dcgan_cyst=one_class)) == (GeneratorKind.DCGAN,)
    left = Nearest(GeneratorKind.CGAN, {GeneratorKind.CGAN: 9.6}, 18, 6, (GeneratorKind.DCGAN,))
    assert left.words.startswith(
        "Chosen among 2 kinds of generators, each trained as this one was, of which DCGANs "
        "collapsed in every attempt: its lesions are nearest to 18 lesions of 6 other patients"
    )


def test_where_every_kind_collapses_or_a_training_fails_nothing_is_shipped() -> None:
    fault = CollapseError("collapsed")
    with pytest.raises(CollapseError):
        shipped.collapsed_of(_ended(dcgan_cyst=fault, cgan=fault, diffusion=fault))
    with pytest.raises(OSError, match="no room"):
        shipped.collapsed_of(_ended(cgan=fault, cnn=OSError("no room")))
