"""The machine that a run computes on (torch): what it is, and how long a training step takes."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from ml.config import Experiment
from ml.experiment.costs import Rates
from ml.experiment.results.origin import Device
from ml.training import acgan, classifier, gan, runtime

_FEW = 8
"""ROIs of the first step that is timed: at the paper's widths a whole batch takes a CPU long."""
_LONG_S = 1.0
"""A step that takes longer is not timed again, but counted up from the few."""


def described(settings: Experiment) -> Device:
    """The device that the settings name, and the machine that it is in."""
    gpu = None
    if settings.device.startswith("cuda"):
        gpu = torch.cuda.get_device_name(runtime.device(settings.device))
    return Device(
        device=settings.device,
        machine=platform.machine(),
        processor=_processor(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        gpu=gpu,
    )


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def rates(settings: Experiment, classes: int) -> Rates:
    """A few steps of each network on this machine."""
    runtime.prepare()
    device = runtime.device(settings.device)

    def seconds(step: Callable[[int], None], batch: int) -> float:
        few = min(batch, _FEW)
        step(few)
        once = _timed(step, few, device) * batch / few
        if once > _LONG_S:
            return once
        step(batch)
        return min(_timed(step, batch, device) for _ in range(3))

    recipe = settings.classifier
    network = classifier.build(classes, 0.5, recipe).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9, nesterov=True)
    rois = torch.zeros(max(recipe.batch, settings.gan.batch, settings.acgan.batch), 1, 64, 64)
    rois = rois.to(device)
    answers = torch.zeros(len(rois), dtype=torch.int64, device=device)

    def classify(count: int) -> None:
        with runtime.mixed(device, recipe.precision):
            logits = network(rois[:count]).float()
        loss = torch.nn.functional.cross_entropy(logits, answers[:count])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()

    pairs: list[gan.Pair] = [gan.Pair(settings.gan, device, "rate")]
    pairs.append(acgan.Pair(classes, settings.acgan, device, "rate"))

    def generate(pair: gan.Pair, count: int) -> None:
        latents = torch.from_numpy(pair.latents(runtime.generator("rate"), count)).to(device)
        pair.step(rois[:count], answers[:count], latents, 0.5)

    return Rates(
        seconds(classify, recipe.batch),
        *(seconds(partial(generate, pair), pair.settings.batch) for pair in pairs),
    )


def _timed(step: Callable[[int], None], count: int, device: torch.device) -> float:
    started = time.perf_counter()
    step(count)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
