"""The ACGAN: the class asked for decides what is drawn, and latents still matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ml import config
from ml.checkpoints.checkpoint import tensors_from_bytes
from ml.progress import RunDir
from ml.training import acgan, runtime
from ml.training.networks.acgan import Discriminator, Generator

SMALL = config.Gan(
    width=4, discriminator_width=8, latent=12, epochs=12, batch=16, learning_rate=2e-3, ema=0.5,
    sheet_every=6, collapse_spread=1e-6, collapse_correlation=1e-6,
)  # fmt: skip


def test_class_learned_is_the_class_drawn(tmp_path: Path) -> None:
    runtime.prepare()
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 2
    pixels = rng.normal(0, 0.15, (96, 64, 64)).astype(np.float32)
    pixels += np.where(labels, 0.6, -0.6)[:, None, None].astype(np.float32)
    steps = list(acgan.fit(np.clip(pixels, -1, 1), labels, 2, SMALL, RunDir(tmp_path), "t"))
    assert len(steps) == 12
    net = Generator(2, SMALL.width, SMALL.latent).eval()
    tensors = tensors_from_bytes((tmp_path / "generator.safetensors").read_bytes())
    net.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    latents = rng.uniform(-1, 1, (40, SMALL.latent)).astype(np.float32)
    with torch.no_grad():
        dark, bright = (
            net(torch.from_numpy(acgan.with_class(latents, np.full(40, key)))).mean((1, 2, 3))
            for key in (0, 1)
        )
    assert float((bright > dark).float().mean()) > 0.9

    head = Discriminator(2, SMALL.discriminator_width).eval()
    tensors = tensors_from_bytes((tmp_path / "discriminator.safetensors").read_bytes())
    head.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    with torch.no_grad():
        named = head(torch.from_numpy(pixels)[:, None])[1].argmax(1).numpy()
    assert (named == labels).mean() > 0.9


def test_batch_asks_for_every_class_as_often() -> None:
    pair = acgan.Pair(3, SMALL, torch.device("cpu"), 0)
    drawn = pair.latents(np.random.default_rng(0), 30)
    assert drawn.shape == (30, SMALL.latent + 1)
    assert np.bincount(drawn[:, -1].astype(int)).tolist() == [10, 10, 10]


def test_same_training_twice_gives_the_same_generator(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).uniform(-1, 1, (32, 64, 64)).astype(np.float32)
    labels = np.arange(32) % 2
    few = config.Gan(
        width=2, discriminator_width=2, latent=4, epochs=1, batch=8, collapse_spread=1e-6,
        collapse_correlation=1e-9,
    )  # fmt: skip
    for name in "ab":
        list(acgan.fit(pixels, labels, 2, few, RunDir(tmp_path / name), "t"))
    files = [(tmp_path / name / "generator.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1]
