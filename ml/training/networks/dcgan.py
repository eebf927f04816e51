"""The DCGAN of Frid-Adar et al. (2018), section III-B: one generator per lesion class."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


def _normal(module: nn.Module) -> None:
    """N(0, 0.02) weights, zero bias, scale 1 around (DCGAN, Radford et al. 2016, section 4)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


class Generator(nn.Module):
    """Latent vector → 4 × 4 × 8w → 8 → 16 → 32 (w channels) → 64 × 64 × 1.

    Four 5 × 5 transposed convolutions of stride 2; batch normalisation and ReLU on all but the
    output, which is a tanh. 18.9 M parameters at the paper's ``width`` of 128.
    """

    def __init__(self, width: int = 128, latent: int = 100) -> None:
        super().__init__()
        channels = [8 * width, 4 * width, 2 * width, width]
        self.dense = nn.Linear(latent, channels[0] * 16, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(c) for c in channels])
        self.ups = nn.ModuleList(
            [
                nn.ConvTranspose2d(a, b, 5, stride=2, padding=2, output_padding=1, bias=b == 1)
                for a, b in zip(channels, [*channels[1:], 1], strict=True)
            ]
        )
        _normal(self)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """ROIs (n, 1, 64, 64) in [-1, 1] of latent vectors (n, latent) in [-1, 1]."""
        x = self.dense(latents).unflatten(1, (-1, 4, 4))
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(torch.relu(norm(x)))
        return torch.tanh(x)


class Discriminator(nn.Module):
    """64 × 64 × 1 → four 5 × 5 convolutions of stride 2 (w, 2w, 4w, 8w) → one logit.

    LeakyReLU 0.2; batch normalisation on all but the input and output layers. The paper does not
    state the widths.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        channels = [1, width, 2 * width, 4 * width, 8 * width]
        self.downs = nn.ModuleList(
            [nn.Conv2d(a, b, 5, stride=2, padding=2, bias=a == 1) for a, b in pairwise(channels)]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(c) for c in channels[2:]])
        self.output = nn.Linear(channels[-1] * 16, 1)
        _normal(self)

    def features(self, rois: torch.Tensor) -> torch.Tensor:
        """(n, 128 w) before the output, of ROIs (n, 1, 64, 64) in [-1, 1]."""
        x = nn.functional.leaky_relu(self.downs[0](rois), 0.2)
        for down, norm in zip(self.downs[1:], self.norms, strict=True):
            x = nn.functional.leaky_relu(norm(down(x)), 0.2)
        return x.flatten(1)

    def forward(self, rois: torch.Tensor) -> torch.Tensor:
        """Logits (n,) of "real" for ROIs (n, 1, 64, 64) in [-1, 1]."""
        logits: torch.Tensor = self.output(self.features(rois))
        return logits[:, 0]
