"""Steps of a generator's training, one epoch after another, over ROIs that stay on the device.

As ``ml.training.cnn_steps``: what differs from step to step is drawn for a whole epoch on the host.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ml import config
from ml.training.captured import Captured
from ml.training.cnn_steps import on_device
from ml.training.learner import Learner

Pixels = npt.NDArray[np.float32]


class Steps:
    """Trains what learns on ROIs (n, 64, 64) in [-1, 1] with class positions (n,).

    Attributes:
        number: steps of an epoch.
        batch: ROIs of a step.
    """

    def __init__(
        self, pixels: Pixels, labels: npt.NDArray[np.int64], settings: config.Gan,
        device: torch.device, capture: bool = True,
    ) -> None:  # fmt: skip
        self.settings, self.device, self._capture = settings, device, capture
        self.images = on_device(pixels, device)
        self.answers = torch.from_numpy(labels).to(device)
        self.batch = min(settings.batch, len(pixels))
        self.number = len(pixels) // self.batch
        self._offsets = torch.arange(self.batch, device=device)
        self._place = torch.zeros((), dtype=torch.int64, device=device)
        self._count = torch.zeros(1, dtype=torch.int64, device=device)
        self._order = torch.zeros(len(pixels), dtype=torch.int64, device=device)
        self._new = torch.zeros(self.number, device=device)
        self._told: list[float] = []

    def begin(self, learner: Learner) -> None:
        """What is trained from now on."""
        self.learner = learner
        self._total = torch.zeros(len(learner.losses), device=self.device)
        drawn = learner.latents(np.random.default_rng(0), 1).shape[1]
        self._latents = torch.zeros(self.number * self.batch, drawn, device=self.device)
        self._step_of = Captured(self._step, self.device) if self._capture else self._step

    def run(self, rng: np.random.Generator, epoch: int) -> None:
        """Make an epoch's steps; on a GPU this only says what is to be done.

        Args:
            rng: draws the order of the ROIs, then the latents.
        """
        self.learner.generator.train()
        self._order.copy_(torch.from_numpy(rng.permutation(len(self.images))))
        self._latents.copy_(torch.from_numpy(self.learner.latents(rng, len(self._latents))))
        first = epoch * self.number
        total = self.settings.epochs * self.number
        self._told = [self.learner.new_weight(first + i, total) for i in range(self.number)]
        self._new.copy_(torch.tensor(self._told))
        for value in (self._place, self._count, self._total):
            value.zero_()
        for _ in range(self.number):
            self._step_of(self.batch)

    def told(self) -> tuple[float, ...]:
        """Mean losses in the last epoch, as the learner names them; waits for its end."""
        return tuple(total / self.number for total in self._total.tolist())

    def _step(self, size: int) -> None:
        at = self._place + self._offsets[:size]
        chosen = self._order[at]
        new = (
            self._told[int(self._count)]
            if self.device.type == "cpu"
            else self._new[self._count][0]
        )  # fmt: skip
        real = self.images[chosen].float()
        if self.device.type == "cuda":
            # the one channel last, too: otherwise all of the first layers are copied over
            real = real.view(size, 64, 64, 1).permute(0, 3, 1, 2)
        self._total += self.learner.step(real, self.answers[chosen], self._latents[at], new)
        self._place += size
        self._count += 1
