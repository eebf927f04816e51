"""CNN and DCGAN training steps against a straightforward PyTorch loop.

Each side runs in a process of its own, in turns, and the median of its turns counts. Ours sets up
its process as training does (``ml.training.runtime.prepare``). The straightforward loop is what
a tutorial writes, in the default environment: a Dataset that augments sample by sample, a
DataLoader, an optimizer as it comes; the networks have the same layers, the GAN draws once for
each network.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

ROOT = Path(__file__).resolve().parents[2]
_TURNS = 3
_SIDE = 166
"""Pixels of the tissue that a phantom lesion is turned and cut from, on average."""
_CNN_ROIS, _CNN_BATCH = 1024, 64
_GAN_BATCH, _GAN_STEPS, _GAN_WIDTH, _GAN_DISCRIMINATOR = 32, 8, 24, 16


def steps() -> Iterator[str]:
    """Lines with ROIs per second of both sides and their ratio.

    A training of ours keeps to one thread, so that every core has a task; the straightforward
    loop takes all cores for its one training. Both therefore have the whole machine.
    """
    import torch

    cores = os.cpu_count() or 1
    sides = {"cnn": ["ours", "bfloat16"], "dcgan": ["ours"]}
    for what, ours in sides.items():
        rates: dict[str, list[float]] = {side: [] for side in ("plain", *ours)}
        for _ in range(_TURNS):
            rates["plain"] += _measured("plain", what, 1)
            for side in ours:
                rates[side].append(sum(_measured(side, what, cores)))
        plain, *found = (statistics.median(rate) for rate in rates.values())
        for side, rate in zip(ours, found, strict=True):
            precision = "float32" if side == "ours" else side
            yield (
                f"{what} training: {rate:.0f} ROIs/s in {cores} one-thread tasks on {cores} cores "
                f"in {precision}, straightforward loop on all of them {plain:.0f} ROIs/s: "
                f"{rate / plain:.1f} × as fast"
            )
    if not torch.cpu._is_avx512_bf16_supported():
        yield "this processor has no bfloat16 instructions: it imitates them, slowly"


def _command(side: str, what: str) -> list[str]:
    return [sys.executable, "-m", "bench.training", side, what]


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MALLOC_", "MKL_"))}
    return {**kept, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def _measured(side: str, what: str, processes: int) -> list[float]:
    """ROIs per second of each of so many processes at once."""
    running = [
        subprocess.Popen(
            _command(side, what), cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    return [float(json.loads(one.communicate()[0].splitlines()[-1])) for one in running]


# -- one side in its own process -------------------------------------------------------------------


def _rate(run: Callable[[], int]) -> float:
    """ROIs per second of the second call; the first warms up."""
    run()
    started = time.perf_counter()
    count = run()
    return count / (time.perf_counter() - started)


def _ours_cnn(precision: str = "float32") -> float:
    import tempfile
    from dataclasses import replace

    import numpy as np

    from ml import config
    from ml.progress import RunDir
    from ml.training import classifier, runtime

    runtime.prepare()
    rng = np.random.default_rng(0)
    # the experiment cuts its augmented ROIs once, before training
    rois = rng.uniform(-1, 1, (_CNN_ROIS, 64, 64)).astype(np.float32)
    labels = rng.integers(0, 3, _CNN_ROIS)
    settings = replace(config.Classifier(), epochs=1, batch=_CNN_BATCH, precision=precision)
    with tempfile.TemporaryDirectory() as folder:

        def epoch() -> int:
            network = classifier.build(3, 0.5, settings, 0)
            for _ in classifier.fit(network, rois, labels, settings, RunDir(Path(folder)), 0):
                pass
            return _CNN_ROIS

        return _rate(epoch)


def _tissue() -> list[Image]:
    """Lesions with enough around them to be turned."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.normal(100, 40, (_SIDE, _SIDE)).astype(np.float32)) for _ in range(182)
    ]


def _turned(picture: Image, x: float, y: float) -> Image:
    """Turned at random and cut out from (x, y) on, sample by sample as a tutorial does it."""
    import numpy as np
    from PIL.Image import Resampling

    turned = picture.rotate(float(np.random.uniform(0, 180)), Resampling.BICUBIC)  # noqa: NPY002
    return turned.resize((64, 64), Resampling.BICUBIC, (x, y, x + 106, y + 106))


def _plain_cnn() -> float:
    import numpy as np
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    pictures = _tissue()

    class Lesions(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return _CNN_ROIS

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            picture = _turned(pictures[index % len(pictures)], *np.random.uniform(26, 34, 2))  # noqa: NPY002
            if np.random.rand() < 0.5:  # noqa: NPY002
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            pixels = np.clip((np.asarray(picture) + 150) / 400, 0, 1)
            return torch.from_numpy(pixels)[None] - 0.5, index % 3

    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128 * 36, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 3),
    )  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), 0.001, 0.9, nesterov=True)
    lossfunction = nn.CrossEntropyLoss()
    loader = DataLoader(Lesions(), batch_size=_CNN_BATCH, shuffle=True)

    def epoch() -> int:
        count = 0
        for rois, answers in loader:
            optimizer.zero_grad()
            loss = lossfunction(network(rois), answers)
            loss.backward()
            optimizer.step()
            count += len(rois)
            loss.item()
        return count

    return _rate(epoch)


def _ours_dcgan() -> float:
    import numpy as np
    import torch

    from ml import config
    from ml.training import gan, runtime

    runtime.prepare()
    settings = config.Gan(
        width=_GAN_WIDTH, discriminator_width=_GAN_DISCRIMINATOR, batch=_GAN_BATCH
    )
    pair = gan.Pair(settings, torch.device("cpu"), 0)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(-1, 1, (256, 1, 64, 64)).astype(np.float32))
    answers = torch.zeros(256, dtype=torch.int64)

    def some() -> int:
        for _ in range(_GAN_STEPS):
            chosen = torch.from_numpy(rng.permutation(256)[:_GAN_BATCH])
            latents = torch.from_numpy(pair.latents(rng, _GAN_BATCH))
            pair.step(images[chosen], answers[chosen], latents, 0.5)
        return _GAN_STEPS * _GAN_BATCH

    return _rate(some)


def _plain_dcgan() -> float:
    import numpy as np
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    from ml.training.networks.dcgan import Discriminator, Generator

    pictures = _tissue()

    class Lesions(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return _GAN_STEPS * _GAN_BATCH

        def __getitem__(self, index: int) -> torch.Tensor:
            picture = _turned(pictures[index % len(pictures)], 30, 30)
            pixels = np.clip((np.asarray(picture) + 150) / 200 - 1, -1, 1)
            return torch.from_numpy(pixels)[None]

    generator, discriminator = Generator(_GAN_WIDTH), Discriminator(_GAN_DISCRIMINATOR)
    for_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    for_d = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    lossfunction = nn.BCEWithLogitsLoss()
    loader = DataLoader(Lesions(), batch_size=_GAN_BATCH, shuffle=True)

    def some() -> int:
        count = 0
        for real in loader:
            ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
            for_d.zero_grad()
            fake = generator(torch.rand(len(real), 100) * 2 - 1)
            loss = lossfunction(discriminator(real), ones)
            loss = loss + lossfunction(discriminator(fake.detach()), zeros)
            loss.backward()
            for_d.step()
            for_g.zero_grad()
            fake = generator(torch.rand(len(real), 100) * 2 - 1)
            cheated = lossfunction(discriminator(fake), ones)
            cheated.backward()
            for_g.step()
            loss.item(), cheated.item()
            count += len(real)
        return count

    return _rate(some)


if __name__ == "__main__":
    chosen = {
        ("ours", "cnn"): _ours_cnn,
        ("bfloat16", "cnn"): partial(_ours_cnn, "bfloat16"),
        ("plain", "cnn"): _plain_cnn,
        ("ours", "dcgan"): _ours_dcgan,
        ("plain", "dcgan"): _plain_dcgan,
    }[sys.argv[1], sys.argv[2]]
    print(json.dumps(chosen()))
