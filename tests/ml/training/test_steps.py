"""Steps drawn an epoch at a time, and captured on a GPU, give the numbers of a plain loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from ml import config
from ml.training import acgan, captured, classifier, cnn_steps, fused, gan, gan_steps, runtime
from ml.training.networks.cnn import Cnn

CPU, GPU = torch.device("cpu"), torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
SMALL = config.Classifier(batch=8, width=4, features=16, dropout=0.3)
"""Of the paper's learning rate: with a larger one rounding alone leads far apart in 20 steps."""
PAPER = config.Classifier()
PAIR = config.Gan(width=4, discriminator_width=4, latent=8, batch=8)
MAKE = {"dcgan": gan.Pair, "acgan": partial(acgan.Pair, 3)}
STEPS = 20


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    runtime.prepare()
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


def _strict() -> None:
    """Products of whole float32 numbers on a GPU, too: TF32 keeps 10 bits of their mantissa."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _rois(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise and, as in every ROI with air in it, an area of one grey."""
    rng = np.random.default_rng(0)
    rois = np.clip(rng.normal(0, 0.4, (count, 64, 64)), -1, 1).astype(np.float16)
    rois[:, :20] = -1
    return rois.astype(np.float32), rng.integers(0, 3, count)


def _flat(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().double().cpu().flatten() for p in network.parameters()])


def _apart(one: torch.Tensor, other: torch.Tensor, start: torch.Tensor) -> float:
    """How far apart two trainings ended, as a share of how far they came."""
    return float((one - other).norm() / (other - start).norm())


def _trained(
    settings: config.Classifier, device: torch.device, capture: bool = True, epochs: int = 1,
    kernels: bool = True, mixing: config.Mixing | None = None,
) -> tuple[torch.Tensor, tuple[float, float]]:  # fmt: skip
    """A CNN after ``STEPS`` steps an epoch, the last of them smaller; and what it told."""
    pixels, labels = _rois(settings.batch * (STEPS - 1) + 3)
    network = classifier.build(3, 0.4, settings, 0)
    with runtime.stream(device):
        steps = cnn_steps.Steps(network, pixels, labels, settings, device, capture, mixing)
        steps._fused = steps._fused and kernels
        for epoch in range(epochs):
            steps.run(cnn_steps.draw(settings, len(pixels), epoch, 0, mixing=mixing))
        told = steps.told()
    return _flat(network), told


def _start(settings: config.Classifier) -> torch.Tensor:
    return _flat(classifier.build(3, 0.4, settings, 0))


def _plainly(settings: config.Classifier, mixing: config.Mixing | None = None) -> torch.Tensor:
    """The same training as anyone would write it."""
    pixels, labels = _rois(settings.batch * (STEPS - 1) + 3)
    network = classifier.build(3, 0.4, settings, 0).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), settings.learning_rate, settings.momentum, nesterov=True
    )
    order = runtime.generator("classifier", "order", 0, 0).permutation(len(pixels))
    torch.manual_seed(runtime.seed_for("classifier", "dropout", 0, 0))
    pairs = cnn_steps.draw(settings, len(pixels), 0, 0, mixing=mixing).pairs
    for i in range(0, len(order), settings.batch):
        here = slice(i, i + settings.batch)
        rois, target = pixels[order[here]], np.eye(3)[labels[order[here]]]
        if pairs is not None:
            partner = pairs.partner[here].numpy()
            share = pairs.share[here].numpy()[:, None]
            if mixing == config.Mixing.MIXUP:
                rois = share[:, None] * rois + (1 - share[:, None]) * pixels[partner]
            else:
                rois = rois.copy()
                for k, (top, bottom, left, right) in enumerate(pairs.box[here].tolist()):
                    rois[k, top:bottom, left:right] = pixels[partner[k], top:bottom, left:right]
            target = share * target + (1 - share) * np.eye(3)[labels[partner]]
        logits = network(torch.from_numpy(rois)[:, None])
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(target).float())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return _flat(network)


@pytest.mark.parametrize(
    ("dropout", "mixing"),
    [(0.0, None), (0.3, None), (0.3, config.Mixing.MIXUP), (0.3, config.Mixing.CUTMIX)],
)
def test_twenty_steps_are_those_of_a_plain_loop(
    dropout: float, mixing: config.Mixing | None
) -> None:
    """With labels of two classes, where ROIs are mixed in pairs."""
    settings = replace(SMALL, dropout=dropout)
    ended, _ = _trained(settings, CPU, mixing=mixing)
    plain = _plainly(settings, mixing)
    assert _apart(ended, plain, _start(settings)) < 1e-4
    if mixing is not None:
        assert _apart(plain, _plainly(settings), _start(settings)) > 0.1


@pytest.mark.parametrize("mixing", config.Mixing)
def test_pairs_are_of_one_step_and_labels_go_by_the_pixels(mixing: config.Mixing) -> None:
    drawn = cnn_steps.draw(SMALL, 43, 0, "pairs", mixing=mixing)
    assert drawn.pairs is not None
    for first, second in zip(
        torch.split(drawn.order, SMALL.batch),
        torch.split(drawn.pairs.partner, SMALL.batch),
        strict=True,
    ):
        assert sorted(first.tolist()) == sorted(second.tolist())
    share = drawn.pairs.share
    assert ((share >= 0) & (share <= 1)).all() and share.std() > 0.1
    top, bottom, left, right = drawn.pairs.box.unbind(1)
    area = (bottom - top) * (right - left)
    if mixing == config.Mixing.CUTMIX:
        assert torch.allclose(share, 1 - area / 64**2)
        assert area.max() > 0
    else:
        assert area.max() == 0
    again = cnn_steps.draw(SMALL, 43, 0, "pairs", mixing=mixing)
    assert again.pairs is not None and torch.equal(again.pairs.share, share)
    plain = cnn_steps.draw(SMALL, 43, 0, "pairs")
    assert plain.pairs is None and torch.equal(plain.order, drawn.order)


def _generated(
    kind: str, settings: config.Gan, device: torch.device, capture: bool = True
) -> tuple[torch.Tensor, tuple[float, float]]:
    pixels, labels = _rois(settings.batch * STEPS // 2)
    pair = MAKE[kind](settings, device, 0)
    with runtime.stream(device):
        steps = gan_steps.Steps(pixels, labels, settings, device, capture)
        steps.begin(pair)
        for epoch in range(2):
            steps.run(np.random.default_rng(epoch), epoch)
        told = steps.told()
    return torch.cat([_flat(pair.generator), _flat(pair.average)]), told


@pytest.mark.parametrize("kind", MAKE)
def test_twenty_steps_of_a_generator_are_those_of_a_plain_loop(kind: str) -> None:
    pixels, labels = _rois(PAIR.batch * STEPS // 2)
    pair = MAKE[kind](PAIR, CPU, 0)
    count = 0
    for epoch in range(2):
        rng = np.random.default_rng(epoch)
        order = rng.permutation(len(pixels))
        latents = torch.from_numpy(pair.latents(rng, len(pixels)))
        for i in range(0, len(pixels), PAIR.batch):
            chosen = order[i : i + PAIR.batch]
            pair.step(
                torch.from_numpy(pixels[chosen])[:, None],
                torch.from_numpy(labels[chosen]),
                latents[i : i + PAIR.batch],
                1 - min(PAIR.ema, (1 + count) / (10 + count)),
            )
            count += 1
    ended, _ = _generated(kind, PAIR, CPU)
    plain = torch.cat([_flat(pair.generator), _flat(pair.average)])
    assert float((ended - plain).norm() / plain.norm()) < 1e-6


def test_trainings_in_threads_of_one_process_change_each_other_not() -> None:
    alone = [_trained(replace(SMALL, dropout=share), CPU) for share in (0.2, 0.5)]
    together: dict[int, tuple[torch.Tensor, tuple[float, float]]] = {}

    def train(i: int, share: float) -> None:
        together[i] = _trained(replace(SMALL, dropout=share), CPU)

    threads = [threading.Thread(target=train, args=one) for one in enumerate((0.2, 0.5))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, (weights, told) in enumerate(alone):
        assert torch.equal(weights, together[i][0])
        assert told == together[i][1]


def test_a_step_on_a_cpu_is_called_as_it_is() -> None:
    asked: list[int] = []
    step = captured.Captured(asked.append, CPU)
    for size in (8, 8, 8, 3):
        step(size)
    assert asked == [8, 8, 8, 3]
    assert not fused.usable(CPU)


# -- on a GPU --------------------------------------------------------------------------------------


@needs_gpu
@pytest.mark.parametrize("mixing", [None, *config.Mixing])
def test_captured_steps_are_the_steps_and_the_same_twice(mixing: config.Mixing | None) -> None:
    first, told = _trained(PAPER, GPU, epochs=3, mixing=mixing)
    for capture in (False, True):
        again, told_again = _trained(PAPER, GPU, capture, epochs=3, mixing=mixing)
        assert torch.equal(first, again)
        assert told == told_again


@needs_gpu
@pytest.mark.parametrize("mixing", [None, *config.Mixing])
def test_twenty_steps_on_a_gpu_are_those_of_a_cpu(mixing: config.Mixing | None) -> None:
    _strict()
    ours, told = _trained(PAPER, GPU, mixing=mixing)
    plain, told_plain = _trained(PAPER, GPU, kernels=False, mixing=mixing)
    expected, told_expected = _trained(PAPER, CPU, mixing=mixing)
    assert fused.usable(GPU)
    assert _apart(plain, expected, _start(PAPER)) < 0.02
    assert _apart(ours, expected, _start(PAPER)) < 0.02
    assert told[0] == pytest.approx(told_expected[0], rel=1e-4)
    assert told_plain[0] == pytest.approx(told_expected[0], rel=1e-4)


@needs_gpu
@pytest.mark.parametrize(("width", "count", "half"), [(4, 3, True), (32, 64, False), (6, 2, True)])
def test_fused_features_and_their_gradients_are_the_networks_own(
    width: int, count: int, half: bool
) -> None:
    _strict()
    torch.manual_seed(0)
    network = Cnn(3, 0.4, 0.0, 16, width).to(GPU, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    rois = torch.from_numpy(_rois(count)[0])[:, None].to(GPU)
    rois = rois.half() if half else rois
    found = []
    for features in (network.features(rois.float()), fused.features(network, rois)):
        network.zero_grad()
        features.backward(torch.linspace(-1, 1, features.numel(), device=GPU).view_as(features))
        grads = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        found.append([features.detach(), *grads])
    for own, ours in zip(*found, strict=True):
        assert float((own - ours).norm() / own.norm()) < 1e-4


@needs_gpu
@pytest.mark.parametrize("kind", MAKE)
def test_captured_steps_of_a_generator_are_the_steps(kind: str) -> None:
    settings = replace(PAIR, width=16, discriminator_width=16, batch=64)
    first, told = _generated(kind, settings, GPU)
    for capture in (False, True):
        again, told_again = _generated(kind, settings, GPU, capture)
        assert torch.equal(first, again)
        assert told == told_again
    _strict()
    strictly, told = _generated(kind, settings, GPU)
    expected, told_expected = _generated(kind, settings, CPU)
    assert float((strictly - expected).norm() / expected.norm()) < 0.03
    assert told == pytest.approx(told_expected, rel=0.03)
