"""Trained ensembles: over seeds and over folds, from networks that nobody trains twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml import config
from ml.__main__ import main
from ml.checkpoints import serving
from ml.checkpoints.checkpoint import Checkpoint, tensors_from_bytes
from ml.checkpoints.members import Ensemble, parted
from ml.dataset.folds import patient_folds
from ml.dataset.manifest import Manifest
from ml.statistics import multinomial
from ml.training import classifier
from ml.trust.calibration import Calibration
from ml.trust.evidence import Missing
from ml.trust.novelty import NoveltyRecord
from ml.trust.together import Together
from tests.ml import discs

pytestmark = pytest.mark.long

FAST = ["classifier.width=4", "classifier.features=16", "classifier.epochs=3",
        "classifier.batch=16", "classifier.learning_rate=0.02", "augment.per_fold=60"]  # fmt: skip
SEEDS = "classifier.members=2"
FOLDS = "classifier.committee=every_fold"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "discs"
    return discs.data_set(root, patients=30).root


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One network a fold; then, of copies of that run, ensembles over seeds, folds and both."""
    found: dict[str, Path] = {}
    for name, more in {
        "one": [], "seeds": [SEEDS], "folds": [FOLDS], "both": [SEEDS, FOLDS]
    }.items():  # fmt: skip
        found[name] = tmp_path_factory.mktemp("runs") / name
        if name != "one":
            shutil.copytree(found["seeds" if name == "both" else "one"], found[name])
        assert train(data, found[name], *more) == 0
    return found


def train(data: Path, run: Path, *more: str, every: tuple[str, ...] = ("--cross-validate",)) -> int:
    words = ["classifier", "--data", str(data), "--out", str(run), *every, "--set", *FAST, *more]
    return main(words)


def checkpoint(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "checkpoint")


def network(run: Path) -> serving.Classifier:
    found = serving.load(run / "checkpoint")
    assert isinstance(found, serving.Classifier)
    return found


def weights(folder: Path) -> dict[str, np.ndarray]:
    return tensors_from_bytes((folder / "weights.safetensors").read_bytes())


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


# -- who is in it ----------------------------------------------------------------------------------


def test_the_members_of_a_fold_differ_and_the_first_is_the_network_of_before(runs) -> None:
    first, second = parted(checkpoint(runs["seeds"]).weights())
    assert same(first, weights(runs["one"] / "fold-0"))
    assert same(second, weights(runs["seeds"] / "fold-0" / "member-1"))
    assert all(
        np.abs(first[name] - second[name]).max() > 1e-3 for name in first if name.endswith("weight")
    )
    # the same ROIs: what is subtracted from them is the same
    assert first["mean"] == second["mean"]


def test_a_committee_of_every_fold_is_made_of_finished_folds_without_training(runs) -> None:
    for name, folders in {
        "folds": ["fold-0", "fold-1", "fold-2"],
        "both": [f"fold-{i}{more}" for i in range(3) for more in ("", "/member-1")],
    }.items():
        source = runs["one" if name == "folds" else "seeds"]
        for folder in folders:  # nothing was written again
            stamp = (runs[name] / folder / "log.jsonl").read_bytes()
            assert stamp == (source / folder / "log.jsonl").read_bytes()
        found = parted(checkpoint(runs[name]).weights())
        assert len(found) == len(folders)
        for own, folder in zip(found, folders, strict=True):
            assert same(own, weights(runs[name] / folder))
        assert checkpoint(runs[name]).ensemble == Ensemble(len(folders), 3)


def test_a_single_network_is_what_it_was(runs) -> None:
    told = json.loads((runs["one"] / "checkpoint" / "checkpoint.json").read_text())
    assert "ensemble" not in told
    assert "together" not in told["trust"]
    assert not {"members", "committee"} & told["config"]["classifier"].keys()
    task = json.loads((runs["seeds"] / "fold-0" / "task.json").read_text())
    assert task == json.loads((runs["one"] / "fold-0" / "task.json").read_text())
    assert task.keys() == {"digest", "fold", "config"}


# -- what is said of it ----------------------------------------------------------------------------


def test_an_ensemble_over_seeds_is_judged_as_one_network_is(data, runs) -> None:
    meta, served = checkpoint(runs["seeds"]), network(runs["seeds"])
    manifest = Manifest.load(data)
    fold = patient_folds(manifest, 3, 0)[0]
    assert meta.metrics.test is not None
    assert meta.metrics.test.n_lesions == len(fold.test)
    rois = np.stack([manifest.roi(line, meta.window_hu) for line in fold.test])
    truth = np.array([manifest.scheme.index(line.lesion_class) for line in fold.test])
    right = (served.probabilities(rois).argmax(axis=1) == truth).mean()
    assert meta.metrics.test.accuracy.value == pytest.approx(right)

    trust = meta.trust
    assert trust is not None
    assert trust.fitted_on.n_lesions == len(fold.train)
    assert isinstance(trust.novelty, NoveltyRecord)
    assert served.outputs(rois).features.shape == (len(rois), 2 * 16)
    worth = trust.together
    assert isinstance(worth, Together)
    assert (worth.networks, worth.before.n_lesions) == (2, len(manifest.lines))
    loss = worth.before.log_loss
    # the mean of logits never has the larger loss (Hölder)
    assert loss.difference.known <= 0
    assert loss.difference.value == pytest.approx(loss.ensemble.known - loss.members.known)


def test_the_kept_features_are_those_that_the_ensemble_gives(data, runs) -> None:
    """Of a committee of every fold too, and held out is what their networks had not seen."""
    manifest = Manifest.load(data)
    held_out = {line.id for line in patient_folds(manifest, 3, 0)[0].test}
    for run in runs.values():
        meta = checkpoint(run)
        kept = meta.lesions_of(meta.lesions_bytes() or b"")
        given = network(run).outputs(manifest.rois(meta.window_hu)).features
        assert kept.features == pytest.approx(given, rel=2e-3, abs=1e-3)
        assert {one for one, own in zip(kept.ids, kept.trained, strict=True) if not own} == held_out


def test_the_gain_is_that_of_the_networks_that_had_not_seen_each_lesion(data, runs) -> None:
    manifest = Manifest.load(data)
    losses = []
    for fold in patient_folds(manifest, 3, 0):
        folder = runs["seeds"] / f"fold-{fold.index}"
        meta = checkpoint(runs["one"])
        rois = np.stack([manifest.roi(line, meta.window_hu) for line in fold.test])
        truth = [manifest.scheme.index(line.lesion_class) for line in fold.test]
        each = [
            serving.Classifier((own / "model.onnx").read_bytes(), meta).outputs(rois).logits
            for own in (folder, folder / "member-1")
        ]
        mean = multinomial.softmax(np.mean(each, axis=0).astype(float))
        losses += list(-np.log(mean[np.arange(len(truth)), truth]))
    worth = checkpoint(runs["seeds"]).trust.together
    assert worth.before.log_loss.ensemble.value == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_committee_of_every_fold_claims_no_figure_of_its_own(data, runs) -> None:
    meta, one = checkpoint(runs["folds"]), checkpoint(runs["one"])
    assert meta.metrics.test is None
    assert meta.metrics.cross_validation == one.metrics.cross_validation
    assert meta.trust.fitted_on.n_lesions == len(Manifest.load(data).lines)
    fitted = meta.trust.calibration
    assert isinstance(fitted, Calibration)
    assert fitted.held_out is None
    assert isinstance(meta.trust.together, Missing)
    assert "lesions of other patients tell" in meta.trust.together.missing
    assert "as a whole not measured, since they saw every lesion" in meta.limits
    assert meta.trained_on == (60, 30)
    card = (runs["folds"] / "checkpoint" / "CARD.md").read_text("utf-8")
    assert "none was held out from the whole" in card
    assert "part 0 was held out" not in card
    assert "Temperature and sets were fitted on what single networks said" in card
    assert "Held-out patients (this network)" not in card
    # likeness is told by the network that has not seen the test fold
    assert meta.trust.novelty == one.trust.novelty
    rois = Manifest.load(data).rois(meta.window_hu)[:4]
    features = [network(runs[name]).outputs(rois).features for name in ("folds", "one")]
    assert np.abs(features[0] - features[1]).max() < 1e-5


def test_of_both_the_part_is_measured_that_had_not_seen_a_lesion(runs) -> None:
    worth = checkpoint(runs["both"]).trust.together
    assert worth == checkpoint(runs["seeds"]).trust.together
    assert checkpoint(runs["both"]).metrics.test is None
    assert network(runs["both"]).outputs(np.zeros((1, 64, 64), np.float32)).members.shape[1] == 6


# -- what is refused -------------------------------------------------------------------------------


def test_a_committee_of_every_fold_needs_every_fold(data, tmp_path, capsys) -> None:
    assert train(data, tmp_path / "run", FOLDS, every=()) == 1
    assert "add --cross-validate" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("count", ["0", "11", "two"])
def test_a_number_of_members_that_is_none_is_refused(data, tmp_path, capsys, count) -> None:
    assert train(data, tmp_path / "run", f"classifier.members={count}") == 1
    assert "classifier.members" in capsys.readouterr().err


def test_without_other_folds_an_ensemble_over_seeds_says_that_nothing_was_measured(
    data, tmp_path
) -> None:
    assert train(data, tmp_path / "run", SEEDS, every=()) == 0
    meta = checkpoint(tmp_path / "run")
    assert meta.ensemble == Ensemble(2)
    assert meta.trust is None
    assert meta.metrics.test is not None
    card = (tmp_path / "run" / "checkpoint" / "CARD.md").read_text("utf-8")
    assert "its training tested no lesion of other folds" in card


def test_an_ensemble_is_the_same_when_it_is_made_again(data, runs, tmp_path) -> None:
    settings = config.preset("shipped").override([*FAST, SEEDS])
    for _ in classifier.train(data, settings, tmp_path / "again", cross_validate=True):
        pass
    names = ("model.onnx", "weights.safetensors", "trust.safetensors")
    for name in names:
        made = (tmp_path / "again" / "checkpoint" / name).read_bytes()
        assert made == (runs["seeds"] / "checkpoint" / name).read_bytes()
