"""Training a DCGAN: the paper's network, repeatable, resumable, and never silently collapsed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ml.__main__ import main
from ml.checkpoints.checkpoint import Checkpoint
from ml.checkpoints.serving import Generator, latent
from ml.config import ConfigError, Gan
from ml.dataset.folds import patient_folds
from ml.dataset.manifest import Finding, Manifest
from ml.dataset.writing import write
from ml.images.roi import Box
from ml.lesion import LIVER
from ml.progress import Progress, RunDir
from ml.training import gan, runtime
from ml.training.networks import dcgan, export
from ml.training.runtime import StateError

TINY = Gan(
    width=4,
    discriminator_width=4,
    latent=8,
    epochs=4,
    batch=8,
    sheet_every=2,
    restarts=1,
    collapse_spread=0,
    collapse_correlation=0,
)


@pytest.fixture(scope="module")
def rois() -> np.ndarray:
    """Discs of varying size and brightness, (40, 64, 64)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    return np.stack(
        [
            np.where(x**2 + y**2 < rng.uniform(0.1, 0.6), rng.uniform(-0.9, 0), 0.3)
            + rng.normal(0, 0.05, (64, 64))
            for _ in range(40)
        ]
    ).astype(np.float32)


def _fit(rois, settings: Gan, path: Path, seed: object = 0) -> list[Progress]:  # type: ignore[no-untyped-def]
    runtime.prepare()
    return list(gan.fit(rois, settings, RunDir(path), "test", seed))


def test_collapse_in_every_attempt_is_an_error_and_leaves_no_generator(
    rois: np.ndarray, tmp_path: Path
) -> None:
    strict = Gan(**{**vars(TINY), "collapse_spread": 50.0})
    with pytest.raises(gan.CollapseError, match=r"each of 2 attempts.*pairwise distance"):
        _fit(rois, strict, tmp_path)
    assert not (tmp_path / "generator.safetensors").exists()
    log = [json.loads(line)["text"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert sum("beginning again with the next seed" in text for text in log) == 1


def test_a_loss_that_is_no_number_is_a_collapse(rois: np.ndarray, tmp_path: Path) -> None:
    broken = rois.copy()
    broken[:] = np.nan
    broken[:8] = rois[:8]
    with pytest.raises(gan.CollapseError, match="not a number"):
        _fit(broken, TINY, tmp_path)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.full((16, 64, 64), np.nan, np.float32), "not numbers"),
        (np.zeros((16, 64, 64), np.float32), "pairwise distance"),
    ],
)
def test_useless_samples_are_called_so(rois: np.ndarray, samples: np.ndarray, reason: str) -> None:
    assert reason in str(gan.collapsed(samples, gan.variety(rois), Gan()))


def test_one_picture_at_many_brightnesses_is_a_collapse(rois: np.ndarray) -> None:
    real = np.random.default_rng(1).uniform(-1, 1, (16, 64, 64)).astype(np.float32)
    scale = np.linspace(-1, 1, 17)[np.arange(17) != 8].astype(np.float32)
    same = scale[:, None, None] * real[:1]
    assert "correlation with the nearest" in str(gan.collapsed(same, gan.variety(real), Gan()))


def test_real_rois_are_not_called_collapsed(rois: np.ndarray) -> None:
    assert gan.collapsed(rois[:20], gan.variety(rois[20:]), Gan()) is None


def test_too_few_or_identical_rois_are_refused(rois: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two"):
        _fit(rois[:1], TINY, tmp_path)
    with pytest.raises(ConfigError, match="same picture"):
        _fit(np.repeat(rois[:1], 8, axis=0), TINY, tmp_path)


def test_same_run_twice_gives_the_same_bytes_and_another_seed_does_not(
    rois: np.ndarray, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        _fit(rois, TINY, tmp_path / name, seed)
    a, b, c = ((tmp_path / name / "generator.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_killed_run_goes_on_and_gives_the_same_bytes(rois: np.ndarray, tmp_path: Path) -> None:
    _fit(rois, TINY, tmp_path / "whole")
    steps = gan.fit(rois, TINY, RunDir(tmp_path / "killed"), "test", 0)
    for _ in range(3):  # state saved after epoch 2, lost: epoch 3
        next(steps)
    steps.close()
    rest = _fit(rois, TINY, tmp_path / "killed")
    assert [step.done for step in rest] == [3, 4]
    assert (tmp_path / "whole" / "generator.safetensors").read_bytes() == (
        tmp_path / "killed" / "generator.safetensors"
    ).read_bytes()
    assert not (tmp_path / "killed" / "state.safetensors").exists()


def test_finished_run_is_kept_and_another_one_is_trained(rois: np.ndarray, tmp_path: Path) -> None:
    _fit(rois, TINY, tmp_path)
    before = (tmp_path / "generator.safetensors").read_bytes()
    assert _fit(rois, TINY, tmp_path) == []
    assert len(_fit(rois, TINY, tmp_path, seed=1)) == TINY.epochs
    assert (tmp_path / "generator.safetensors").read_bytes() != before


def test_state_of_another_run_is_refused(rois: np.ndarray, tmp_path: Path) -> None:
    steps = gan.fit(rois, TINY, RunDir(tmp_path), "test", 0)
    next(steps)
    next(steps)
    steps.close()
    with pytest.raises(StateError, match="other settings or data"):
        _fit(rois, TINY, tmp_path, seed=1)


def test_damaged_state_is_refused(rois: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(StateError, match="cannot be read"):
        _fit(rois, TINY, tmp_path)


def test_run_folder_holds_sheets_curves_and_log(rois: np.ndarray, tmp_path: Path) -> None:
    steps = _fit(rois, TINY, tmp_path)
    assert [step.done for step in steps] == [1, 2, 3, 4]
    assert set(steps[-1].figures or {}) == {"discriminator_loss", "generator_loss"}
    sheets = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert sheets == ["attempt-0-epoch-0002.png", "attempt-0-epoch-0004.png"]
    with Image.open(tmp_path / "sheets" / sheets[0]) as sheet:
        assert sheet.size == (8 * 66, 8 * 66)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4
    training = json.loads((tmp_path / "training.json").read_text())
    assert training["attempts"] == 1
    assert len(training["losses"]) == 4
    assert training["steps"] == 4 * (40 // 8)


def test_generator_of_the_paper_has_its_sizes() -> None:
    network = dcgan.Generator()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(18.85e6, rel=0.01)
    assert [tuple(up.weight.shape[2:]) for up in network.ups] == [(5, 5)] * 4
    assert [norm.num_features for norm in network.norms] == [1024, 512, 256, 128]
    drawn = dcgan.Generator(width=4).eval()(torch.zeros(2, 100))
    assert drawn.shape == (2, 1, 64, 64)


def test_weights_begin_as_the_paper_says() -> None:
    torch.manual_seed(0)
    for network in (dcgan.Generator(16), dcgan.Discriminator(16)):
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
                assert abs(parameter.mean().item()) < 2e-3, name


def test_discriminator_gives_one_logit_and_normalises_all_but_its_ends() -> None:
    network = dcgan.Discriminator(8)
    assert network(torch.zeros(3, 1, 64, 64)).shape == (3,)
    assert [norm.num_features for norm in network.norms] == [16, 32, 64]


@pytest.mark.parametrize("width", [3, 8])
def test_onnx_of_the_generator_agrees_with_torch_to_1e_5(width: int) -> None:
    import onnxruntime

    torch.manual_seed(1)
    network = dcgan.Generator(width, latent=10)
    for _ in range(3):  # statistics that are not the initial ones
        network(torch.rand(16, 10) * 2 - 1)
    for up in network.ups:  # outputs that fill the range
        up.weight.data *= 8
    network.ups[-1].weight.data *= 8
    network.ups[-1].bias.data += 0.3
    network.eval()
    latents = torch.rand(7, 10) * 2 - 1
    session = onnxruntime.InferenceSession(export.generator(runtime.arrays(network)))
    (served,) = session.run(["rois"], {"latents": latents.numpy()})
    with torch.no_grad():
        expected = network(latents).numpy()
    assert expected.std() > 0.05
    assert np.abs(served - expected).max() < 1e-5


def test_sheet_takes_any_number_of_rois(rois: np.ndarray) -> None:
    import io

    assert Image.open(io.BytesIO(gan.sheet(rois[:3]))).size == (8 * 66, 66)


def test_command_trains_on_training_patients_of_one_class_and_draws(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:120, :120]
    findings = []
    for i in range(24):
        radius = rng.uniform(8, 14)
        disc = np.hypot(x - 60, y - 60) < radius
        findings.append(
            Finding(
                pixels=(100 - 60 * disc + rng.normal(0, 10, x.shape)).astype(np.int16),
                kind="phantom",
                lesion_class=LIVER.keys[i % 3],
                patient=f"p{i}",
                file=f"{i}.dcm",
                box=Box.centred(60, 60, 2 * radius, 2 * radius),
                spacing_mm=(0.7, 0.7),
                source="phantom",
            )
        )
    list(write(findings, 24, LIVER, tmp_path / "data"))
    words = ["gan", "--data", str(tmp_path / "data"), "--lesion-class", "hemangioma"]
    words += ["--out", str(tmp_path / "run"), "--set", "gan.width=3", "gan.discriminator_width=3"]
    words += ["gan.epochs=2", "gan.batch=8", "augment.per_fold=40", "gan.collapse_spread=0"]
    assert main([*words, "gan.collapse_correlation=0"]) == 0

    meta = Checkpoint.load(tmp_path / "run" / "checkpoint")
    fold = patient_folds(Manifest.load(tmp_path / "data"), 3, 0)[0]
    assert (meta.kind, meta.lesion_class, meta.latent_size) == ("generator", "hemangioma", 100)
    views = (tmp_path / "run" / "views.jsonl").read_text().splitlines()
    allowed = {line.id for line in fold.train.only("hemangioma")}
    assert {json.loads(view)["line"] for view in views} == allowed
    assert Generator(meta.onnx(), meta).draw([3]).shape == (1, 64, 64)
    assert meta.metrics.n_held_out_lesions == len(fold.test.only("hemangioma"))
    card = (tmp_path / "run" / "checkpoint" / "CARD.md").read_text("utf-8")
    assert "Generator width 3, the paper's is 128" in card
    far, real = meta.metrics.radiomic_distance, meta.metrics.radiomic_distance_real
    assert far.value > real.value > 0 and far.ends and real.ends  # noise after two epochs
    assert meta.metrics.told_apart is None  # too few patients
    assert "Fréchet radiomic distance to held-out lesions, of synthetic ROIs" in card
    network = dcgan.Generator(3)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in meta.weights().items()})
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(latent(3, 100))[None])[0].numpy()
    assert np.abs(Generator(meta.onnx(), meta).draw([3]) - expected).max() < 1e-5


def test_folder_that_is_no_data_set_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gan", "--data", str(tmp_path), "--lesion-class", "cyst", "--out", str(tmp_path / "r")]
    assert main(words) == 1
    assert "prepare" in capsys.readouterr().err
