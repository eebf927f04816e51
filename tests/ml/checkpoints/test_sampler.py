"""Noise removed step by step: what is known in closed form is reached, and a seed is a picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.checkpoints import saving
from ml.checkpoints.checkpoint import Checkpoint, CheckpointError
from ml.checkpoints.latents import noise
from ml.checkpoints.metrics import GeneratorMetrics
from ml.checkpoints.sampler import Sampler
from ml.checkpoints.serving import Generator
from ml.config import Diffusion
from ml.lesion import LIVER
from ml.training import diffusion, runtime
from ml.training.networks import export
from ml.training.networks.dcgan import Generator as Dcgan
from ml.training.networks.edm import Denoiser, conditioning

EDM = Sampler.of(Diffusion())


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_normal_pixels_are_drawn_with_their_mean_and_deviation(truncation: float) -> None:
    mean, deviation = 0.3, 0.4

    def denoise(noisy: np.ndarray, sigma: float) -> np.ndarray:
        return (deviation**2 * noisy + sigma**2 * mean) / (deviation**2 + sigma**2)

    start = truncation * np.stack([noise(seed, 64) for seed in range(4)])
    drawn = Sampler(64, 0.002, 80, 7).draw(denoise, start)
    exact = mean + (80 * start - mean) * deviation / np.hypot(deviation, 80)
    assert np.abs(drawn - exact).max() < 0.01
    assert drawn.mean() == pytest.approx(mean, abs=0.02)
    assert drawn.std() == pytest.approx(truncation * deviation, rel=0.03)


def test_few_steps_come_near_and_cost_what_is_said() -> None:
    asked: list[float] = []

    def denoise(noisy: np.ndarray, sigma: float) -> np.ndarray:
        asked.append(sigma)
        return 0.25 * noisy / (0.25 + sigma**2)

    drawn = EDM.draw(denoise, noise(0, 64)[None])
    assert drawn.std() == pytest.approx(0.5, rel=0.08)
    assert len(asked) == EDM.evaluations == 35
    assert asked[0] == pytest.approx(80) and min(asked) == pytest.approx(0.002)
    assert EDM.levels[-1] == 0 and (np.diff(EDM.levels) < 0).all()


def test_preconditioning_keeps_the_variances_of_the_paper() -> None:
    data = 0.5
    skip, out, scale, told = conditioning(torch.tensor([data]), data)
    assert skip.item() == pytest.approx(0.5)
    assert out.item() == pytest.approx(data / 2**0.5)
    assert scale.item() == pytest.approx(1 / (data * 2**0.5))
    assert told.item() == pytest.approx(np.log(data) / 4)
    sigma = torch.logspace(-3, 2, 20)
    skip, out, scale, _ = conditioning(sigma, data)
    # what goes in has unit variance, and so has what the network is to say (their appendix B.6)
    assert torch.allclose(scale**2 * (sigma**2 + data**2), torch.ones(20))
    assert torch.allclose(out**2, (1 - skip) ** 2 * data**2 + skip**2 * sigma**2, rtol=1e-4)


def test_noise_is_standard_normal_and_of_its_seed_alone() -> None:
    drawn = np.stack([noise(seed, 64) for seed in range(30)])
    assert abs(drawn.mean()) < 0.01 and drawn.std() == pytest.approx(1, abs=0.01)
    assert np.isfinite(drawn).all() and len(np.unique(drawn[:, 0, 0])) == 30
    assert np.array_equal(noise(7, 64), drawn[7])
    assert np.abs(noise(0, 2) - FIRST).max() < 1e-3
    for wrong in (-1, 2**64, 1.5, True):
        with pytest.raises(CheckpointError, match="whole number from 0"):
            noise(wrong, 64)  # type: ignore[arg-type]


FIRST = [[0.117, -0.684], [0.098, -0.293]]
"""The noise of seed 0 as it has always been: another NumPy must not draw other pictures."""


@pytest.fixture(scope="module")
def network() -> Denoiser:
    torch.manual_seed(0)
    made = Denoiser(3, 8, 0.5)
    for parameter in made.parameters():  # those that begin as zero, too
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made.eval()


def _saved(network: Denoiser, root: Path, position: int = 1) -> Checkpoint:
    tensors = runtime.arrays(network)
    made = Checkpoint(
        name=f"tiny-diffusion-{LIVER.keys[position]}", kind="generator", scheme=LIVER,
        lesion_class=LIVER.keys[position], window_hu=(-150.0, 250.0), training_kind="phantom",
        dataset_digest="d", commit="c", config={}, metrics=GeneratorMetrics(), latent_size=4096,
        network="diffusion", sampler=replace(EDM, steps=3),
    )  # fmt: skip
    return saving.save(made, root, export.denoiser(tensors, position, 0.5), tensors)


def test_served_without_torch_it_draws_what_training_draws(
    network: Denoiser, tmp_path: Path
) -> None:
    meta = _saved(network, tmp_path)
    served = Generator(meta.onnx(), meta)
    start = np.stack([noise(seed, 64) for seed in (3, 7)]).reshape(2, -1)
    own = Diffusion(steps=3)
    expected = diffusion.drawn(network, own, start, np.array([1, 1]), torch.device("cpu"))
    both = served.draw([3, 7])
    assert np.abs(both - expected).max() < 1e-4 and expected.std() > 0.05
    # whatever is drawn beside it, to the last bit
    assert np.array_equal(both[1], served.draw([7])[0])
    assert np.abs(both).max() <= 1 and not np.array_equal(both[0], both[1])
    other = _saved(network, tmp_path / "other", 2)
    assert np.abs(Generator(other.onnx(), other).draw([3])[0] - both[0]).max() > 1e-3
    nearer = served.draw([3], 0.2)[0]
    assert nearer.std() < both[0].std()


def test_checkpoint_tells_its_kind_and_how_it_is_drawn(network: Denoiser, tmp_path: Path) -> None:
    meta = _saved(network, tmp_path)
    assert meta.evaluations == 5
    assert Checkpoint.load(tmp_path) == meta
    card = (tmp_path / "CARD.md").read_text("utf-8")
    assert "A diffusion model (EDM): 4096 standard normal numbers in" in card
    assert "5 evaluations of the network for an image" in card
    assert "arXiv 2206.00364" in card and "DCGAN" not in card
    tensors = runtime.arrays(Dcgan(3, latent=5).eval())
    with pytest.raises(CheckpointError, match="no network of the kind diffusion"):
        Generator(export.generator(tensors), meta)
    told = json.loads((tmp_path / "checkpoint.json").read_text())
    del told["sampler"]
    with pytest.raises(CheckpointError, match="a diffusion model has a sampler"):
        Checkpoint.from_dict(told)
    with pytest.raises(CheckpointError, match="none of dcgan, acgan, cgan, diffusion"):
        Checkpoint.from_dict({**told, "network": "vae"})
