"""Checkpoints: refused when damaged or foreign, honest about what they were trained on."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.checkpoints import metrics, saving
from ml.checkpoints.card import exports, making
from ml.checkpoints.checkpoint import (
    CALIBRATED,
    UNCALIBRATED,
    Checkpoint,
    CheckpointError,
    shipped,
    tensors_from_bytes,
    tensors_to_bytes,
)
from ml.checkpoints.metrics import ClassifierMetrics
from ml.checkpoints.serving import Classifier, Generator, load
from ml.ground.records import to_json
from ml.lesion import LIVER, LesionClass, LesionScheme, SchemeError

INTERVAL = {"value": 0.8, "low": 0.7, "high": 0.9}
SCORE = {
    "n_lesions": 60,
    "n_patients": 31,
    "classes": ["cyst", "metastasis", "hemangioma"],
    "accuracy": INTERVAL,
    "balanced_accuracy": INTERVAL,
    "sensitivity": dict.fromkeys(LIVER.keys, INTERVAL),
    "specificity": dict.fromkeys(LIVER.keys, INTERVAL),
    "auc": {key: {"value": None, "low": None, "high": None} for key in LIVER.keys},
    "interval": "95 % percentile bootstrap over patients",
}
META = Checkpoint(
    name="phantom-cnn",
    kind="classifier",
    scheme=LIVER,
    lesion_class=None,
    window_hu=(-150.0, 250.0),
    training_kind="phantom",
    dataset_digest="d" * 64,
    dataset_name="phantoms",
    commit="abc",
    config={"seed": 0},
    metrics=metrics.read("classifier", {"test": SCORE, "notes": ["Trained on 122 lesions."]}),
    command="python -m ml classifier",
)
TENSORS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.float32([1.5])}


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoint:
    return saving.save(META, tmp_path / "cnn", b"onnx bytes", TENSORS)


def test_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no readable checkpoint\.json"):
        Checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"format": 99}', '{"format": 1}', '{"format": 1, "window_hu": 3}'],
)
def test_foreign_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "checkpoint.json").write_text(text)
    with pytest.raises(CheckpointError):
        Checkpoint.load(tmp_path)


@pytest.mark.parametrize("file", ["model.onnx", "weights.safetensors"])
def test_file_changed_after_training_is_refused(saved: Checkpoint, file: str) -> None:
    assert saved.root is not None
    path = saved.root / file
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="SHA-256"):
        saved.onnx() if file == "model.onnx" else saved.weights()
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        saved.onnx() if file == "model.onnx" else saved.weights()


def test_pickled_weights_are_refused() -> None:
    with pytest.raises(CheckpointError, match="safetensors"):
        tensors_from_bytes(pickle.dumps({"a": 1}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "../up"}, "name"),
        ({"kind": "oracle"}, "kind"),
        ({"training_kind": "dreams"}, "training kind"),
        ({"kind": "generator", "latent_size": 100}, "lesion class"),
        ({"kind": "generator", "lesion_class": "cyst"}, "latent size"),
    ],
)
def test_impossible_description_is_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        replace(META, **change)


def test_generator_of_a_class_outside_the_scheme_is_refused() -> None:
    with pytest.raises(SchemeError, match="adenoma"):
        replace(META, kind="generator", lesion_class="adenoma", latent_size=100)


def test_what_was_saved_is_loaded(saved: Checkpoint) -> None:
    assert saved.root is not None
    loaded = Checkpoint.load(saved.root)
    assert loaded == saved
    assert loaded.onnx() == b"onnx bytes"
    weights = loaded.weights()
    assert set(weights) == set(TENSORS)
    assert all((weights[name] == TENSORS[name]).all() for name in TENSORS)


def test_custom_scheme_survives(tmp_path: Path) -> None:
    scheme = LesionScheme(
        "nodules", (LesionClass("benign", "benign"), LesionClass("bad", "malignant"))
    )
    saving.save(replace(META, scheme=scheme, metrics=ClassifierMetrics()), tmp_path, b"", TENSORS)
    assert Checkpoint.load(tmp_path).scheme == scheme


@pytest.mark.parametrize("folder", shipped(), ids=lambda folder: folder.name)
def test_what_was_measured_of_the_shipped_ones_is_written_as_it_was_read(folder: Path) -> None:
    stored = json.loads((folder / "checkpoint.json").read_text("utf-8"))["metrics"]
    assert to_json(metrics.read(Checkpoint.load(folder).kind, stored)) == stored


@pytest.mark.parametrize(
    ("kind", "stored", "told"),
    [
        ("classifier", {"test": {**SCORE, "auc": None}}, "metrics.test.auc must be an object"),
        ("classifier", {"attempts": 1}, "metrics.attempts: nothing of that name"),
        ("generator", {"attempts": "one"}, "metrics.attempts must be a whole number"),
        ("generator", [], "metrics must be an object"),
    ],
)
def test_metrics_of_another_form_are_refused(kind: str, stored: object, told: str) -> None:
    data = {**META.to_dict(), "kind": kind, "metrics": stored}
    with pytest.raises(CheckpointError, match=re.escape(told)):
        Checkpoint.from_dict({**data, "lesion_class": "cyst", "latent_size": 8})


def test_description_survives_json_without_a_folder() -> None:
    again = Checkpoint.from_dict(json.loads(json.dumps(META.to_dict())))
    assert again == META
    with pytest.raises(CheckpointError, match="no folder"):
        again.onnx()


def test_same_tensors_give_the_same_bytes_in_any_order() -> None:
    assert tensors_to_bytes(TENSORS) == tensors_to_bytes(dict(reversed(TENSORS.items())))


def test_phantom_checkpoint_says_that_it_is_no_evidence_on_any_other_image() -> None:
    sentence = "trained on simulated CT, no evidence about this patient"
    assert sentence in META.warnings_for(phantom_image=False, calibrated=True)
    assert sentence in META.warnings_for(phantom_image=False, calibrated=False)
    assert META.warnings_for(phantom_image=True, calibrated=True) == ()


def test_calibration_that_differs_from_training_is_said() -> None:
    assert UNCALIBRATED in META.warnings_for(phantom_image=False, calibrated=False)
    real = replace(META, training_kind="calibrated")
    assert real.warnings_for(phantom_image=False, calibrated=True) == ()
    assert real.warnings_for(phantom_image=False, calibrated=False) == (UNCALIBRATED,)
    grey = replace(META, training_kind="uncalibrated")
    assert grey.warnings_for(phantom_image=False, calibrated=False) == ()
    assert grey.warnings_for(phantom_image=False, calibrated=True) == (CALIBRATED,)


def test_card_names_data_command_figures_and_limits(saved: Checkpoint) -> None:
    assert saved.root is not None
    card = (saved.root / "CARD.md").read_text()
    for part in (
        "simulated CT (phantoms), no patient",
        "Not a medical device",
        "python -m ml classifier",
        "60 lesions of 31 patients",
        "80.0 % (70.0–90.0)",
        "no evidence about this patient",
        "Apache-2.0",
        "d" * 64,
    ):
        assert part in card, part
    assert "–100" not in card


def test_reading_and_serving_import_no_torch() -> None:
    code = (
        "import sys, ml.checkpoints.checkpoint, ml.checkpoints.serving, ml.checkpoints.synthesize; "
        "sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_shipped_checkpoints_load_serve_and_fit_in_60_mb() -> None:
    folders = shipped()
    if not folders:
        pytest.skip("no checkpoint in ml/weights: make weights")
    size = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    assert size < 60e6
    drawn = {}
    for folder in folders:
        served = load(folder)
        assert served.meta.training_kind == "phantom"
        card = exports.written(making.of_folder(folder), exports.Format.MARKDOWN)
        assert (folder / "CARD.md").read_bytes() == card
        assert served.meta.weights()
        if isinstance(served, Generator):
            drawn[served.meta.lesion_class] = served.draw(range(8))
        else:
            assert isinstance(served, Classifier)
            assert served.meta.held_out is None  # each lesion was seen by some of its networks
            assert served.meta.metrics.cross_validation.balanced_accuracy.low > 1 / 3
    assert set(drawn) == set(LIVER.keys)
    assert all(rois.std(axis=0).mean() > 0.02 for rois in drawn.values())
