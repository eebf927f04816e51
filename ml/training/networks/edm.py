"""The denoiser of the class-conditional diffusion model, preconditioned as EDM.

Karras et al. (2022, arXiv 2206.00364), table 1. The network itself is a small U-Net at 32 × 32: two
by two pixels are its channels, which costs a quarter and loses nothing.
"""

from __future__ import annotations

from math import pi

import torch
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu

from ml.training.budget import groups_of

ANGLES = 16
"""Frequencies that the noise level is told in, each as a sine and a cosine."""


def conditioning(sigma: torch.Tensor, data: float) -> tuple[torch.Tensor, ...]:
    """c_skip, c_out, c_in and c_noise of noise levels of any shape, for ROIs of a deviation.

    In every noise level network and target then have unit variance, and what the network gets
    wrong is amplified least.
    """
    whole = sigma**2 + data**2
    return data**2 / whole, sigma * data / whole.sqrt(), 1 / whole.sqrt(), sigma.log() / 4


class Block(nn.Module):
    """Two 3 × 3 convolutions around which noise level and class scale and shift the features."""

    def __init__(self, into: int, out: int, told: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups_of(into), into)
        self.conv1 = nn.Conv2d(into, out, 3, padding=1)
        self.told = nn.Linear(told, 2 * out)
        self.norm2 = nn.GroupNorm(groups_of(out), out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(into, out, 1) if into != out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Features (n, out, h, w) of (n, into, h, w) and what was told (n, told)."""
        scale, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
        y = self.conv1(silu(self.norm1(x)))
        y = self.conv2(silu(self.norm2(y) * (scale + 1) + shift))
        whole: torch.Tensor = self.skip(x) + y
        return whole


def _doubled(x: torch.Tensor) -> torch.Tensor:
    """Each pixel two by two times; its gradient is a sum, and so repeatable on a GPU."""
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)


class Denoiser(nn.Module):
    """D(x; σ, class): what the ROI under noise of a level is on average."""

    def __init__(self, classes: int, width: int, data: float) -> None:
        super().__init__()
        self.data = data
        told = 4 * width
        self.angles: torch.Tensor
        self.register_buffer("angles", pi * 2 ** torch.linspace(-3, 2, ANGLES))
        self.level1 = nn.Linear(2 * ANGLES, told)
        self.level2 = nn.Linear(told, told)
        self.classes = nn.Embedding(classes, told)
        self.enter = nn.Conv2d(4, width, 3, padding=1)
        self.down32 = Block(width, width, told)
        self.to16 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.down16 = Block(width, 2 * width, told)
        self.to8 = nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1)
        self.low1 = Block(2 * width, 2 * width, told)
        self.low2 = Block(2 * width, 2 * width, told)
        self.from8 = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up16 = Block(4 * width, 2 * width, told)
        self.from16 = nn.Conv2d(2 * width, width, 3, padding=1)
        self.up32 = Block(2 * width, width, told)
        self.norm = nn.GroupNorm(groups_of(width), width)
        self.leave = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def network(
        self, x: torch.Tensor, noise: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """F of EDM: (n, 1, 64, 64) scaled to unit variance, c_noise (n,), class positions (n,)."""
        angles = noise[:, None] * self.angles
        level = torch.cat([angles.sin(), angles.cos()], dim=1)
        told = silu(self.level2(silu(self.level1(level))) + self.classes(positions))
        high = self.down32(self.enter(pixel_unshuffle(x, 2)), told)
        middle = self.down16(self.to16(high), told)
        low = self.low2(self.low1(self.to8(middle), told), told)
        middle = self.up16(torch.cat([self.from8(_doubled(low)), middle], dim=1), told)
        high = self.up32(torch.cat([self.from16(_doubled(middle)), high], dim=1), told)
        return pixel_shuffle(self.leave(silu(self.norm(high))), 2)

    def forward(
        self, noisy: torch.Tensor, sigma: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """ROIs without noise (n, 1, 64, 64), of noisy ones, levels σ (n,) and classes (n,)."""
        skip, out, scale, noise = conditioning(sigma[:, None, None, None], self.data)
        found = self.network(scale * noisy, noise.flatten(), positions)
        return skip * noisy + out * found
