"""Synthetic ROIs in a folder: named by seed, the same every time, never mistaken for real ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.__main__ import main
from ml.checkpoints import saving, synthesize
from ml.checkpoints.checkpoint import Checkpoint, CheckpointError
from ml.checkpoints.metrics import ClassifierMetrics, GeneratorMetrics
from ml.checkpoints.serving import load
from ml.dataset.manifest import Line
from ml.images.roi import from_png
from ml.lesion import LIVER
from ml.progress import OutputError
from ml.training import runtime
from ml.training.networks import export
from ml.training.networks.cnn import Cnn
from ml.training.networks.dcgan import Generator


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tensors = runtime.arrays(Generator(3, latent=5).eval())
    root = tmp_path_factory.mktemp("generator")
    made = Checkpoint(
        name="tiny",
        kind="generator",
        scheme=LIVER,
        lesion_class="hemangioma",
        window_hu=(-150.0, 250.0),
        training_kind="phantom",
        dataset_digest="d",
        commit="c",
        config={},
        metrics=GeneratorMetrics(),
        latent_size=5,
    )
    saving.save(made, root, export.generator(tensors), tensors)
    return root


def _drawn(*arguments: object) -> list[dict[str, object]]:
    list(synthesize.draw(*arguments))  # type: ignore[arg-type]
    lines = (Path(str(arguments[3])) / "lines.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-1, 0), (1, -1), (2, 2**64 - 1)])
def test_impossible_request_is_refused(
    checkpoint: Path, tmp_path: Path, count: int, seed: int
) -> None:
    with pytest.raises(CheckpointError):
        list(synthesize.draw(checkpoint, count, seed, tmp_path))
    assert not (tmp_path / "lines.jsonl").exists()


def test_classifier_cannot_draw(tmp_path: Path) -> None:
    tensors = runtime.arrays(Cnn(3))
    made = Checkpoint(
        "cnn", "classifier", LIVER, None, (0, 1), "phantom", "d", "c", {}, ClassifierMetrics()
    )
    saving.save(made, tmp_path / "cnn", export.classifier(tensors), tensors)
    with pytest.raises(CheckpointError, match="not a generator"):
        list(synthesize.draw(tmp_path / "cnn", 1, 0, tmp_path / "out"))


def test_folder_in_use_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    _drawn(checkpoint, 1, 0, tmp_path)
    with pytest.raises(OutputError, match="new folder"):
        list(synthesize.draw(checkpoint, 1, 1, tmp_path))


def test_every_line_names_its_file_seed_and_source(checkpoint: Path, tmp_path: Path) -> None:
    lines = _drawn(checkpoint, 3, 40, tmp_path)
    assert [line["seed"] for line in lines] == [40, 41, 42]
    for line in lines:
        png = (tmp_path / str(line["file"])).read_bytes()
        assert line["file_sha256"] == hashlib.sha256(png).hexdigest()
        assert (line["source"], line["lesion_class"]) == ("synthetic", "hemangioma")
        assert Line.from_dict(line).seed == line["seed"]
        expected = load(checkpoint).draw([int(str(line["seed"]))])[0]  # type: ignore[union-attr]
        assert np.abs(from_png(png) - expected).max() <= 1 / 255 + 1e-6
    told = json.loads((tmp_path / "synthesis.json").read_text())
    assert told["checkpoint"]["training_kind"] == "phantom"


def test_a_seed_is_the_same_picture_in_any_request(checkpoint: Path, tmp_path: Path) -> None:
    first = {line["seed"]: line["sha256"] for line in _drawn(checkpoint, 5, 0, tmp_path / "a")}
    second = {line["seed"]: line["sha256"] for line in _drawn(checkpoint, 2, 3, tmp_path / "b")}
    assert second == {3: first[3], 4: first[4]}
    assert len(set(first.values())) == 5


def test_command_draws_and_refuses_with_a_sentence(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["synthesize", "--checkpoint", str(checkpoint), "--count", "2", "--seed", "7"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    assert len(list((tmp_path / "a" / "rois").iterdir())) == 2
    words[2] = str(tmp_path)
    assert main([*words, "--out", str(tmp_path / "b")]) == 1
    assert "holds no readable checkpoint.json" in capsys.readouterr().err
