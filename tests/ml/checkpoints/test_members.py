"""Ensembles: networks that are alike in one file, whose mean answers, and how far they agree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.checkpoints import saving
from ml.checkpoints.checkpoint import Checkpoint, CheckpointError
from ml.checkpoints.members import Ensemble, MembersError, joined, parted
from ml.checkpoints.serving import Classifier, load
from ml.images.roi import Box, Roi
from ml.lesion import LIVER
from ml.statistics.multinomial import softmax
from ml.training.networks import export
from ml.trust.agreement import Agreement
from ml.trust.evidence import Missing, OutOfFold
from ml.trust.record import Trust
from ml.trust.together import on_others
from tests.ml.checkpoints.test_serving import META


def member(seed: int, classes: int = 3, width: int = 2, features: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {
        "conv1.weight": (width, 1, 3, 3), "conv1.bias": (width,),
        "conv2.weight": (2 * width, width, 3, 3), "conv2.bias": (2 * width,),
        "conv3.weight": (4 * width, 2 * width, 3, 3), "conv3.bias": (4 * width,),
        "dense.weight": (features, 144 * width), "dense.bias": (features,),
        "output.weight": (classes, features), "output.bias": (classes,),
    }  # fmt: skip
    made = {
        name: rng.normal(0, 2 / np.sqrt(np.prod(shape[1:]) or 1), shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    return {**made, "mean": np.float32(0.4).reshape(())}


@pytest.fixture(scope="module")
def three() -> list[dict[str, np.ndarray]]:
    return [member(seed) for seed in range(3)]


def rois(count: int) -> np.ndarray:
    return np.random.default_rng(count).uniform(-1, 1, (count, 64, 64)).astype(np.float32)


def served(members: list[dict[str, np.ndarray]], featured: int, folds: int = 1) -> Classifier:
    meta = replace(META, ensemble=Ensemble(len(members), folds))
    return Classifier(export.ensemble(members, featured), meta)


# -- in one file -----------------------------------------------------------------------------------


def test_members_are_parted_as_they_were_joined(three) -> None:
    for members in (three, three[:1]):
        again = parted(joined(members))
        assert len(again) == len(members)
        for own, one in zip(again, members, strict=True):
            assert own.keys() == one.keys()
            assert all((own[name] == one[name]).all() for name in one)
    assert joined(three[:1]).keys() == three[0].keys()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (member(1, classes=2), "output.bias: 2 and 3"),
        (member(1, width=3), "conv1.bias: 3 and 2"),
        ({k: v for k, v in member(1).items() if k != "mean"}, "mean: not there and one number"),
    ],
)
def test_members_that_are_not_alike_are_refused_with_what_differs(three, other, told) -> None:
    for refused in (
        lambda: joined([three[0], other]),
        lambda: export.ensemble([three[0], other], 2),
        lambda: parted(
            {f"members.{i}.{k}": v for i, one in enumerate([three[0], other])
             for k, v in one.items()}
        ),
    ):  # fmt: skip
        with pytest.raises(MembersError, match=told):
            refused()


def test_tensors_of_a_broken_ensemble_are_refused(three) -> None:
    whole = joined(three)
    with pytest.raises(MembersError, match="others of none"):
        parted({**whole, "mean": three[0]["mean"]})
    with pytest.raises(MembersError, match="members 0, 2 are there"):
        parted({name: one for name, one in whole.items() if not name.startswith("members.1.")})
    with pytest.raises(MembersError, match="no network"):
        joined([])


@pytest.mark.parametrize(("networks", "folds"), [(1, 1), (0, 1), (4, 3), (3, 0)])
def test_what_is_no_ensemble_is_refused(networks: int, folds: int) -> None:
    with pytest.raises(MembersError, match="two networks or more"):
        Ensemble(networks, folds)


# -- at work ---------------------------------------------------------------------------------------


def test_the_mean_of_the_networks_logits_answers(three) -> None:
    alone = [Classifier(export.classifier(one), META).outputs(rois(5)) for one in three]
    found = served(three, 3).outputs(rois(5))
    mean = np.mean([one.logits for one in alone], axis=0)
    assert np.abs(found.logits - mean).max() < 1e-5
    assert np.abs(found.probabilities - softmax(mean.astype(float))).max() < 1e-6
    assert found.members is not None
    assert np.abs(found.members - np.stack([one.logits for one in alone], 1)).max() < 1e-5
    assert np.abs(found.features - np.concatenate([one.features for one in alone], 1)).max() < 1e-5
    # networks that differ, or the mean would be any of them
    assert np.abs(found.members[:, 0] - found.members[:, 1]).max() > 0.1


def test_features_of_the_first_alone_where_the_others_saw_the_test_fold(three) -> None:
    first = Classifier(export.classifier(three[0]), META).outputs(rois(4)).features
    found = served(three, 1, folds=3).outputs(rois(4)).features
    assert found.shape == first.shape
    assert np.abs(found - first).max() < 1e-6


def test_an_ensemble_of_one_is_that_network(three) -> None:
    assert export.ensemble(three[:1], 1) == export.classifier(three[0])


def test_an_answer_says_how_many_networks_agree(three) -> None:
    network = served(three, 3)
    pixels = rois(40)
    asked = [Roi(one, True, None, Box(0, 0, 64, 64), None) for one in pixels]
    found = network.said(asked, [True] * 40, 0.9)
    each = softmax(network.outputs(pixels).members.astype(float))
    counts = set()
    for said, table in zip(found, each, strict=True):
        place = LIVER.index(said.lesion_class)
        assert said.agreement == Agreement(
            3,
            int((table.argmax(axis=1) == place).sum()),
            pytest.approx(table[:, place].min(), abs=1e-6),
            pytest.approx(table[:, place].max(), abs=1e-6),
        )
        counts.add(said.agreement.agree)
    assert len(counts) > 1
    alone = Classifier(export.classifier(three[0]), META).said(asked[:1], [True], 0.9)
    assert alone[0].agreement is None


def test_a_file_and_a_record_that_do_not_fit_are_refused(three) -> None:
    one, several = export.classifier(three[0]), export.ensemble(three, 3)
    with pytest.raises(CheckpointError, match=r"is an ensemble, and its checkpoint\.json says one"):
        Classifier(several, META)
    with pytest.raises(CheckpointError, match=r"is one network, and its checkpoint\.json says an"):
        Classifier(one, replace(META, ensemble=Ensemble(3)))
    with pytest.raises(CheckpointError, match=r"members of shape \(3, 3\); 2 networks"):
        Classifier(several, replace(META, ensemble=Ensemble(2)))


def test_a_generator_is_no_ensemble() -> None:
    with pytest.raises(CheckpointError, match="form no ensemble"):
        replace(
            META, kind="generator", lesion_class="cyst", latent_size=3, ensemble=Ensemble(2)
        )  # fmt: skip


def test_a_saved_ensemble_is_served_and_says_what_it_is(three, tmp_path: Path) -> None:
    meta = replace(META, ensemble=Ensemble(3, 3))
    saving.save(meta, tmp_path / "three", export.ensemble(three, 1), joined(three))
    again = Checkpoint.load(tmp_path / "three")
    assert again.ensemble == Ensemble(3, 3)
    assert len(parted(again.weights())) == 3
    assert "mean of 3 networks of 3 folds" in again.limits
    assert isinstance(load(again), Classifier)
    card = (tmp_path / "three" / "CARD.md").read_text("utf-8")
    assert "3 networks of 3 folds. Their logits are averaged" in card
    assert "every lesion was seen by some of its networks" in card

    saving.save(META, tmp_path / "one", export.classifier(three[0]), three[0])
    assert "ensemble" not in json.loads((tmp_path / "one" / "checkpoint.json").read_text())
    assert "nsemble" not in (tmp_path / "one" / "CARD.md").read_text("utf-8")


def test_a_record_of_an_impossible_ensemble_is_refused(three, tmp_path: Path) -> None:
    meta = replace(META, ensemble=Ensemble(3))
    saving.save(meta, tmp_path, export.ensemble(three, 3), joined(three))
    told = json.loads((tmp_path / "checkpoint.json").read_text())
    for wrong in ({"networks": 1}, {"networks": 3, "folds": 2}, {"folds": 1}, {"networks": "3"}):
        (tmp_path / "checkpoint.json").write_text(json.dumps({**told, "ensemble": wrong}))
        with pytest.raises((CheckpointError, MembersError), match=r"ensemble"):
            Checkpoint.load(tmp_path)


def test_what_networks_are_worth_on_other_lesions_is_in_the_card(three, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    each = 2 * np.eye(3)[labels][:, None] + rng.normal(0, 1.5, (90, 3, 3))
    patients = np.arange(90) // 3
    found = OutOfFold(each[:, 0], labels, np.arange(90), np.arange(90) // 3 % 3, LIVER.keys)
    trust = Trust.of(found)
    worth = on_others(each.mean(axis=1), each, labels, patients, 2.0, "lesions of others")
    told = replace(
        trust.figures, together=Missing("each was seen by some"), together_elsewhere=worth
    )
    meta = replace(META, ensemble=Ensemble(3, 3))
    folder = tmp_path / "three"
    saving.save(
        meta, folder, export.ensemble(three, 1), joined(three), trust=replace(trust, figures=told)
    )
    assert Checkpoint.load(folder).trust.together_elsewhere == worth
    card = (folder / "CARD.md").read_text("utf-8")
    assert "Networks together, by temperature, on other lesions: 3 networks, each asked of" in card
    assert "90 lesions that it had not seen: lesions of others." in card
    assert "Agreement of the networks, on other lesions" in card
    assert "each was seen by some" in card
