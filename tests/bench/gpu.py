"""What a GPU does of the paper: steps a second, how near its limits, and as far as time allows.

``python -m bench.gpu --data DATA --out RUN`` (a data set from ``prepare``): at most eight minutes;
called again with the same RUN it goes on. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STARTED = time.monotonic()


@dataclass(frozen=True)
class Limits:
    """What the card does at most, as measured here.

    Attributes:
        bytes_s: of a copy, read and written.
        flop_s: of a large matrix product in TF32.
    """

    bytes_s: float
    flop_s: float


def section() -> Iterator[str]:
    """Lines for ``make bench SECTIONS=gpu``: networks only."""
    import torch

    if not torch.cuda.is_available():
        yield "torch sees no GPU here: nothing is measured"
        return
    yield from networks()


def networks() -> Iterator[str]:
    """Steps a second of each network at the paper's settings, and shares of the card's limits."""
    import torch

    from ml.config import experiment
    from ml.experiment import machine
    from ml.training import runtime

    runtime.prepare()
    yield f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    limits = _limits()
    yield (
        f"limits measured: {limits.bytes_s / 1e12:.2f} TB/s copied, "
        f"{limits.flop_s / 1e12:.0f} TFLOP/s in TF32 (8192 × 8192 matrices)"
    )
    settings = experiment("paper")
    for kind, stage in (("cnn", "classifier"), ("dcgan", "generator"), ("acgan", "generator")):
        flop, least = work(kind)
        batch = (settings.classifier if kind == "cnn" else settings.gan).batch
        for lanes in (1, machine.LANES[stage]):
            rate = machine.steps_per_s(settings, kind, 3, lanes, 1.5)
            yield (
                f"{kind}, {lanes} at a time: {rate:.0f} steps/s in all, {rate * batch:.0f} "
                f"images/s, {rate * flop / limits.flop_s:.0%} of the products that the card makes "
                f"({flop / 1e9:.1f} GFLOP a step), {rate * least / limits.bytes_s:.0%} of the "
                f"bytes that it moves ({least / 1e6:.0f} MB a step at least)"
            )
        with _any_order():
            rate = machine.steps_per_s(settings, kind, 3, machine.LANES[stage], 1.5)
        yield f"{kind}, {machine.LANES[stage]} at a time, not repeatable: {rate:.0f} steps/s in all"
    fast = replace(settings, classifier=replace(settings.classifier, precision="bfloat16"))
    rate = machine.steps_per_s(fast, "cnn", 3, machine.LANES["classifier"], 1.5)
    yield f"cnn, {machine.LANES['classifier']} at a time, bfloat16: {rate:.0f} steps/s in all"
    yield f"memory taken at most: {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB"


@contextmanager
def _any_order() -> Iterator[None]:
    """Kernels whose sums may be in another order each time."""
    import torch

    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(True)


def _limits() -> Limits:
    import torch

    device = torch.device("cuda")

    def seconds(once: Callable[[], object], count: int = 10) -> float:
        once()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(count):
            once()
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / count

    source = torch.rand(2**28, device=device)
    target = torch.empty_like(source)
    matrix = torch.rand(8192, 8192, device=device) - 0.5
    return Limits(
        2 * 4 * source.numel() / seconds(lambda: target.copy_(source)),
        2 * 8192**3 / seconds(lambda: matrix @ matrix),
    )


def work(kind: str) -> tuple[float, float]:
    """FLOP of products in a step at the paper's settings, and the fewest bytes that it moves.

    Bytes: every weight, gradient and state of the optimizer once for each time that it must be read
    or written; every layer's output written, read by the next layer and by its gradient, and its
    gradient written and read.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ml.config import experiment
    from ml.training import acgan, classifier, gan

    settings = experiment("paper")
    cpu, few = torch.device("cpu"), 4
    written = [0]

    def count(module: torch.nn.Module, given: object, made: object) -> None:
        if isinstance(made, torch.Tensor):
            # the first block of the CNN writes what is left of it after pooling
            pooled = isinstance(module, torch.nn.Conv2d) and kind == "cnn" and made.shape[-1] == 62
            written[0] += made.numel() // (4 if pooled else 1)

    images = torch.rand(few, 1, 64, 64) - 0.5
    answers = torch.arange(few) % 3
    if kind == "cnn":
        network = classifier.build(3, 0.5, settings.classifier, 0)
        modules: list[torch.nn.Module] = [network]
        per_weight, batch = 6, settings.classifier.batch

        def step() -> None:
            logits = network(images)
            torch.autograd.backward(torch.nn.functional.cross_entropy(logits, answers))
    else:
        recipe = settings.gan if kind == "dcgan" else settings.acgan
        make = gan.Pair if kind == "dcgan" else partial(acgan.Pair, 3)
        pair = make(recipe, cpu, 0)
        modules = [pair.generator, pair.discriminator]
        # Adam reads and writes two states; the average is read and written as well
        per_weight, batch = 11, recipe.batch
        latents = torch.from_numpy(pair.latents(_rng(), few))

        def step() -> None:
            pair.step(images, answers, latents, 0.5)

    for module in modules:
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
                layer.register_forward_hook(count)
    weights = sum(p.numel() for module in modules for p in module.parameters())
    with FlopCounterMode(display=False) as counted:
        step()
    return counted.get_total_flops() * batch / few, 4.0 * (
        per_weight * weights + 5 * written[0] * batch / few
    )


def _rng() -> object:
    import numpy as np

    return np.random.default_rng(0)


# -- the paper, as far as it goes ------------------------------------------------------------------


def paper(data: Path, out: Path, until_s: float) -> Iterator[str]:
    """The experiment ``paper`` on a data set until so many seconds of this process are over."""
    from ml.dataset.manifest import Manifest
    from ml.experiment import run as experiment
    from ml.experiment.request import Request
    from ml.progress import RunDir, spoken

    manifest = Manifest.load(data)
    asked = Request.of("paper", [], 1).fitted(manifest)
    started = time.monotonic()
    told = list(experiment.rehearse(asked.settings, manifest, out, 1, 0, None, asked.capped))
    yield from told[-1].splitlines()
    yield f"the estimate took {time.monotonic() - started:.1f} s"
    started = time.monotonic()
    steps = experiment.run(
        asked.settings, manifest, RunDir(out), 1, 0, None, None, asked.command, asked.capped
    )
    last = time.monotonic()
    for step in steps:
        if step.said:
            yield f"  said: {step.text}"
        if time.monotonic() - last > 20:
            last = time.monotonic()
            yield f"  {last - started:.0f} s, {step.done}/{step.total}: {step.text}"
        if time.monotonic() - _STARTED > until_s:
            yield f"stopped after {spoken(time.monotonic() - started)}: {step.text}"
            steps.close()  # type: ignore[attr-defined]
            break
    else:
        yield f"ended after {spoken(time.monotonic() - started)}"
    yield from _stages(out)


def _stages(out: Path) -> Iterator[str]:
    """What each stage took, and the steps that its trainings made."""
    starts = json.loads((out / "starts.json").read_text())
    for start in starts:
        for stage in start["stages"]:
            yield f"stage {stage['stage']}: {stage['tasks']} tasks, {stage['wall_s']:.0f} s"
    made = {"generators": 0, "classifiers": 0}
    count = dict.fromkeys(made, 0)
    for result in (out / "tasks").glob("*/result.json"):
        told = json.loads(result.read_text())
        kind = "generators" if "kind" in told else "classifiers"
        made[kind] += told.get("steps") or 0
        count[kind] += 1
    for kind, steps in made.items():
        yield f"{count[kind]} {kind} ended, {steps} steps"


def main() -> int:
    """Print what was measured; exit status 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a data set from prepare")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--minutes", type=float, default=8.0)
    asked = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("torch sees no GPU here: nothing is measured")
        return 2
    for lines in (networks(), paper(asked.data, asked.out, 60 * asked.minutes - 15)):
        for line in lines:
            print(f"[{time.monotonic() - _STARTED:5.1f} s] {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
