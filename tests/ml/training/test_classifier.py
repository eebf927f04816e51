"""Training the classifier: repeatable, resumable, and tested on patients it has never seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ml import config
from ml.__main__ import main
from ml.checkpoints.checkpoint import Checkpoint
from ml.checkpoints.metrics import HeldOutScore
from ml.checkpoints.serving import Classifier
from ml.dataset.folds import FoldError, patient_folds
from ml.dataset.manifest import Finding, Manifest
from ml.dataset.writing import write
from ml.images.roi import Box, from_png
from ml.lesion import LesionClass, LesionScheme
from ml.progress import Progress, RunDir
from ml.statistics import classification
from ml.training import classifier, cnn_steps, runtime

TWO = LesionScheme("two", (LesionClass("dark", "dark disc"), LesionClass("ring", "ring")))
TINY = config.Classifier(epochs=4, batch=16, learning_rate=0.02, width=8, features=64)
HALF = replace(TINY, precision="bfloat16")
FAST = [
    "classifier.width=8",
    "classifier.epochs=3",
    "classifier.batch=16",
    "augment.per_fold=60",
    "folds=3",
]


def _findings(patients: int, seed: int = 0) -> list[Finding]:
    """Dark discs and rings on noisy slices; two lesions per patient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :120]
    findings = []
    for i in range(patients):
        for _ in range(2):
            centre = rng.uniform(50, 70, 2)
            radius = rng.uniform(8, 14)
            distance = np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1])
            inside = distance < radius
            if i % 2:
                inside &= distance > 0.6 * radius
            pixels = (100 - 90 * inside + rng.normal(0, 10, x.shape)).astype(np.int16)
            findings.append(
                Finding(
                    pixels=pixels,
                    kind="phantom",
                    lesion_class=TWO.keys[i % 2],
                    patient=f"p{i}",
                    file=f"{i}.dcm",
                    box=Box.centred(centre[0], centre[1], 2 * radius, 2 * radius),
                    spacing_mm=(0.7, 0.7),
                    source="phantom",
                )
            )
    return findings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "tiny"
    findings = _findings(12)
    list(write(findings, len(findings), TWO, root))
    return root


def _pixels() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Noise, with a dark square in those of the second class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    pixels = rng.normal(0, 0.2, (60, 64, 64)).astype(np.float32)
    pixels[labels == 1, 20:44, 20:44] -= 0.5
    return np.clip(pixels, -1, 1), labels


def _fit(path: Path, seed: int = 0, settings: config.Classifier = TINY) -> list[Progress]:
    runtime.prepare()
    pixels, labels = _pixels()
    network = classifier.build(2, classifier.mean_of(pixels), settings, seed)
    steps = list(classifier.fit(network, pixels, labels, settings, RunDir(path), seed))
    np.savez(path / "weights.npz", **runtime.arrays(network))
    return steps


def _weights(path: Path) -> bytes:
    with np.load(path / "weights.npz") as stored:
        return b"".join(stored[name].tobytes() for name in sorted(stored))


def test_divergence_is_an_error_and_not_a_checkpoint(tmp_path: Path) -> None:
    wild = replace(TINY, epochs=5, learning_rate=1e6)
    with pytest.raises(config.ConfigError, match=r"diverged.*learning_rate"):
        _fit(tmp_path, settings=wild)


def test_same_training_twice_gives_the_same_weights_and_another_seed_does_not(
    tmp_path: Path,
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        _fit(tmp_path / name, seed)
    assert _weights(tmp_path / "a") == _weights(tmp_path / "b")
    assert _weights(tmp_path / "a") != _weights(tmp_path / "c")


@pytest.mark.parametrize(
    "settings",
    [TINY, replace(TINY, schedule="linear", clip=1.0), HALF],
    ids=["float32", "linear", "bfloat16"],
)
def test_killed_training_goes_on_and_gives_the_same_weights(
    tmp_path: Path, settings: config.Classifier
) -> None:
    (tmp_path / "whole").mkdir()
    _fit(tmp_path / "whole", settings=settings)
    run = RunDir(tmp_path / "killed")
    pixels, labels = _pixels()
    network = classifier.build(2, classifier.mean_of(pixels), settings, 0)
    steps = classifier.fit(network, pixels, labels, settings, run, 0)
    next(steps)
    next(steps)
    steps.close()
    assert [step.done for step in _fit(tmp_path / "killed", settings=settings)] == [3, 4]
    assert _weights(tmp_path / "killed") == _weights(tmp_path / "whole")


def test_the_linear_schedule_rises_and_falls_to_nothing() -> None:
    settings = config.Classifier(epochs=5, learning_rate=0.1, schedule="linear")
    rates = [rate for epoch in range(5) for rate in cnn_steps.learning_rates(settings, epoch, 20)]
    assert len(rates) == 100
    assert rates.index(max(rates)) in (9, 10)
    assert 0.08 < max(rates) <= 0.1
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.002
    constant = replace(settings, schedule="constant")
    assert cnn_steps.learning_rates(constant, 4, 3) == [0.1] * 3


def test_a_clipped_step_is_no_longer_than_the_learning_rate_times_the_clip(tmp_path: Path) -> None:
    moved = {}
    for clip in (0.0, 1e-3):
        settings = replace(TINY, epochs=1, batch=60, momentum=0.0, clip=clip)
        pixels, labels = _pixels()
        network = classifier.build(2, classifier.mean_of(pixels), settings, 0)
        before = runtime.arrays(network)
        folder = tmp_path / str(clip)
        folder.mkdir()
        list(classifier.fit(network, pixels, labels, settings, RunDir(folder), 0))
        after = runtime.arrays(network)
        moved[clip] = np.sqrt(sum(((after[key] - before[key]) ** 2).sum() for key in before))
    assert moved[1e-3] == pytest.approx(TINY.learning_rate * 1e-3, rel=0.05)
    assert moved[0.0] > 10 * moved[1e-3]


@pytest.mark.parametrize("settings", [TINY, HALF], ids=["float32", "bfloat16"])
def test_loss_falls_on_what_can_be_learned(tmp_path: Path, settings: config.Classifier) -> None:
    steps = _fit(tmp_path, settings=replace(settings, epochs=8))
    losses = [step.figures["loss"] for step in steps if step.figures]
    assert losses[-1] < 0.5 * losses[0]


def test_fewer_patients_than_folds_are_refused_before_training(tmp_path: Path) -> None:
    findings = _findings(2)
    list(write(findings, len(findings), TWO, tmp_path / "data"))
    with pytest.raises(FoldError):
        next(classifier.train(tmp_path / "data", config.Config(), tmp_path / "run"))


def test_command_trains_scores_and_writes_a_checkpoint(data: Path, tmp_path: Path) -> None:
    words = ["classifier", "--data", str(data), "--out", str(tmp_path / "run"), "--set", *FAST]
    assert main([*words, "--cross-validate", "--name", "discs"]) == 0
    meta = Checkpoint.load(tmp_path / "run" / "checkpoint")
    manifest = Manifest.load(data)
    assert (meta.name, meta.scheme, meta.training_kind) == ("discs", TWO, "phantom")
    assert meta.dataset_digest == manifest.digest
    assert meta.config["classifier"]["epochs"] == 3
    assert "--cross-validate" in meta.command
    card = (tmp_path / "run" / "checkpoint" / "CARD.md").read_text("utf-8")
    assert str(tmp_path) not in card + meta.command

    fold = patient_folds(manifest, 3, 0)[0]
    test = meta.metrics.test
    assert test.n_lesions == len(fold.test)
    assert test.n_patients == len(fold.test.patients)
    assert meta.metrics.cross_validation.n_lesions == 24
    assert meta.metrics.cross_validation.n_patients == 12

    served = Classifier(meta.onnx(), meta)
    _keeps_the_lesions(meta, manifest, served, {line.id for line in fold.test})
    rois = np.stack([manifest.roi(line, meta.window_hu) for line in fold.test])
    truth = [TWO.index(line.lesion_class) for line in fold.test]
    again = classification.score(
        truth, served.probabilities(rois), [line.patient for line in fold.test], TWO.keys
    )
    assert HeldOutScore.of(again) == test

    views = [
        json.loads(line)
        for line in (tmp_path / "run" / "fold-0" / "views.jsonl").read_text().splitlines()
    ]
    assert {view["line"] for view in views} == {line.id for line in fold.train}
    assert len(views) == len(fold.train) * (1 + round(120 / len(fold.train)))

    # the same command again finds its work done and gives the same files
    before = (tmp_path / "run" / "checkpoint" / "weights.safetensors").read_bytes()
    assert main([*words, "--cross-validate", "--name", "discs"]) == 0
    assert (tmp_path / "run" / "checkpoint" / "weights.safetensors").read_bytes() == before


def _keeps_the_lesions(
    meta: Checkpoint, manifest: Manifest, served: Classifier, held_out: set[str]
) -> None:
    """Each with its class and picture, the served network's features, and what was said of it."""
    kept = meta.lesions_of(meta.lesions_bytes() or b"")
    assert kept.ids == tuple(line.id for line in manifest.lines)
    assert kept.patients == tuple(line.patient for line in manifest.lines)
    assert [TWO.keys[label] for label in kept.labels] == [
        line.lesion_class for line in manifest.lines
    ]
    assert {one for one, own in zip(kept.ids, kept.trained, strict=True) if not own} == held_out
    rois = manifest.rois(meta.window_hu)
    features = served.outputs(rois).features
    assert np.array_equal(kept.features, features.astype(np.float16))
    shown = np.stack([from_png(one) for one in kept.pictures])
    assert np.abs(shown - rois).max() <= 1 / 255 + 1e-6
    told = meta.lesions
    assert told is not None and told == kept.record()
    # what was said of all of them, each out of fold, is what the cross-validation counted
    confusion = np.zeros((2, 2), int)
    np.add.at(confusion, (kept.labels, kept.said.argmax(axis=1)), 1)
    scored = meta.metrics.cross_validation
    assert scored is not None and confusion.tolist() == [list(row) for row in scored.confusion]


def test_served_network_is_the_trained_one(data: Path, tmp_path: Path) -> None:
    settings = config.Config().override(FAST)
    list(classifier.train(data, settings, tmp_path / "run"))
    meta = Checkpoint.load(tmp_path / "run" / "checkpoint")
    network = classifier.build(2, 0.0, settings.classifier, "any")
    network.load_state_dict({k: torch.from_numpy(v) for k, v in meta.weights().items()})
    network.eval()
    rois = Manifest.load(data).rois(meta.window_hu)
    with torch.no_grad():
        expected = network(torch.from_numpy(rois)[:, None]).softmax(1).numpy()
    served = Classifier(meta.onnx(), meta).probabilities(rois)
    assert np.abs(served - expected).max() < 1e-5


def test_unknown_setting_ends_the_command_with_a_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "classifier",
        "--data",
        str(data),
        "--out",
        str(tmp_path),
        "--set",
        "clasifier.epochs=1",
    ]
    assert main(words) == 1
    assert "nearest is 'classifier.epochs'" in capsys.readouterr().err
