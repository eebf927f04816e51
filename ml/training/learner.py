"""What every generator's training trains: networks, averaged weights and optimizers, as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from ml import config

Pixels = npt.NDArray[np.float32]

_CHECK_AFTER = 0.2
"""Share of the epochs before which no collapse is judged: every generator begins with one grey."""


def new_weight(settings: config.Gan, count: int) -> float:
    """Weight of the present generator in the averaged one, after ``count`` earlier steps.

    The first steps are forgotten sooner, or the average would keep the untrained start.
    """
    return 1 - min(settings.ema, (1 + count) / (10 + count))


class Learner(ABC):
    """One attempt: what is trained, its averaged weights and its optimizers.

    Attributes:
        losses: names of what ``step`` gives.
        generator: what draws; in a diffusion model what removes noise.
        average: the same with averaged weights, which are kept.
    """

    losses: ClassVar[tuple[str, ...]]
    generator: torch.nn.Module
    average: torch.nn.Module
    optimizers: dict[str, torch.optim.Optimizer]
    settings: config.Gan
    device: torch.device

    @property
    @abstractmethod
    def modules(self) -> dict[str, torch.nn.Module]:
        """The networks that the saved state of an unfinished training holds, by name."""

    @abstractmethod
    def latents(self, rng: np.random.Generator, count: int) -> Pixels:
        """What ``count`` images are drawn from, (count, anything)."""

    def positions(self, latents: Pixels) -> npt.NDArray[np.int64]:
        """The classes that rows of ``latents`` ask for, (n,)."""
        return np.zeros(len(latents), np.int64)

    @abstractmethod
    def step(
        self,
        real: torch.Tensor,
        answers: torch.Tensor,
        latents: torch.Tensor,
        new: float | torch.Tensor,
    ) -> torch.Tensor:
        """One update; returns its ``losses``, (number of them,).

        Args:
            real: (n, 1, 64, 64) in [−1, 1].
            answers: class positions of ``real``, for networks that look at them.
            latents: n rows as of ``latents``.
            new: weight of the present weights in the averaged ones (``new_weight``).
        """

    def new_weight(self, count: int, total: int) -> float:
        """Weight of the present weights in the averaged ones, after ``count`` of ``total``."""
        return new_weight(self.settings, count)

    def average_in(self, new: float | torch.Tensor) -> None:
        """Move the averaged weights towards the present ones."""
        with torch.no_grad():
            for mean, now in zip(
                self.average.parameters(), self.generator.parameters(), strict=True
            ):
                mean.lerp_(now, new)

    @property
    def judged_after(self) -> float:
        """Share of the epochs before which no collapse is judged."""
        return _CHECK_AFTER

    @abstractmethod
    def settle(self, *seed: object) -> None:
        """Make the averaged weights ready to draw."""

    @abstractmethod
    def sample(self, latents: Pixels) -> Pixels:
        """ROIs (n, 64, 64) in [−1, 1] by the averaged weights, from n rows as of ``latents``."""

    @abstractmethod
    def told(self, losses: tuple[float, ...]) -> str:
        """Losses of an epoch, in a few words."""
