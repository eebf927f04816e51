"""How a diffusion model draws: noise is removed step by step, in NumPy, whatever the network.

The deterministic sampler of Karras et al. (2022, algorithm 1): Heun's method on the probability
flow, at noise levels that lie denser where there is little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml.config import Diffusion

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]
Denoise = Callable[[Pixels, float], Pixels]
"""ROIs (n, 64, 64) under noise of a standard deviation → what they are without it on average."""


@dataclass(frozen=True)
class Sampler:
    """Settings of the sampler (table 1 of the paper), each as `ml.config.Diffusion` has it."""

    steps: int
    sigma_min: float
    sigma_max: float
    rho: float

    @classmethod
    def of(cls, settings: Diffusion) -> Sampler:
        """What the settings of a model say of drawing."""
        return cls(settings.steps, settings.sigma_min, settings.sigma_max, settings.rho)

    @property
    def evaluations(self) -> int:
        """Of the network, for one image: the last step is Euler's."""
        return 2 * self.steps - 1

    @property
    def levels(self) -> Floats:
        """(steps + 1,) standard deviations of the noise, from the largest to 0."""
        ends = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        share = np.arange(self.steps) / (self.steps - 1)
        return np.append((ends[0] + share * (ends[1] - ends[0])) ** self.rho, 0.0)

    def draw(self, denoise: Denoise, noise: npt.NDArray[np.floating]) -> Floats:
        """What is left of noise (n, 64, 64) of unit variance when all of it is removed.

        Args:
            noise: less than unit variance draws as much nearer to the average.
        """
        levels = self.levels
        x: Floats = noise.astype(np.float64) * levels[0]
        for now, then in pairwise(levels):
            slope = (x - denoise(x.astype(np.float32), float(now))) / now
            further = x + (then - now) * slope
            if then > 0:
                after = (further - denoise(further.astype(np.float32), float(then))) / then
                further = x + (then - now) * (slope + after) / 2
            x = further
        return x
