"""Networks of the conditional GAN for small data: the DCGAN's shapes, conditioned on the class."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

from ml.training.networks import dcgan


class Generator(nn.Module):
    """The DCGAN's generator whose batch normalisation scales and shifts by class.

    (de Vries et al. 2017, as Miyato & Koyama 2018 use it.) For one class it is a DCGAN's generator,
    and is exported as one.
    """

    def __init__(self, classes: int, width: int = 128, latent: int = 100) -> None:
        super().__init__()
        self.latent = latent
        self.body = dcgan.Generator(width, latent)
        channels = [8 * width, 4 * width, 2 * width, width]
        self.body.norms = nn.ModuleList([nn.BatchNorm2d(c, affine=False) for c in channels])
        self.scales = nn.ModuleList([nn.Embedding(classes, c) for c in channels])
        self.shifts = nn.ModuleList([nn.Embedding(classes, c) for c in channels])
        for scale in self.scales.parameters():
            nn.init.normal_(scale, 1.0, 0.02)
        for shift in self.shifts.parameters():
            nn.init.zeros_(shift)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """ROIs (n, 1, 64, 64) in [-1, 1] of rows that begin with a latent and a class position."""
        position = latents[:, self.latent].long()
        x = self.body.dense(latents[:, : self.latent]).unflatten(1, (-1, 4, 4))
        layers = zip(self.body.norms, self.scales, self.shifts, self.body.ups, strict=True)
        for norm, scale, shift, up in layers:
            of_class = (scale(position)[:, :, None, None], shift(position)[:, :, None, None])
            x = up(torch.relu(norm(x) * of_class[0] + of_class[1]))
        return torch.tanh(x)


class Discriminator(nn.Module):
    """Four 5 × 5 convolutions of stride 2 under spectral norm, and a projection of the class.

    The logit is w·h + e(class)·h, h the sum of the last features over places (Miyato & Koyama 2018,
    equation 3): what speaks for a class is learned beside what speaks for a real ROI.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        channels = [1, width, 2 * width, 4 * width, 8 * width]
        self.downs = nn.ModuleList(
            [spectral_norm(nn.Conv2d(a, b, 5, stride=2, padding=2)) for a, b in pairwise(channels)]
        )
        self.output = spectral_norm(nn.Linear(channels[-1], 1))
        self.classes = spectral_norm(nn.Embedding(classes, channels[-1]))

    def forward(self, rois: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Logits (n,) of "real" for ROIs (n, 1, 64, 64) said to be of classes (n,)."""
        x = rois
        for down in self.downs:
            x = leaky_relu(down(x), 0.2)
        x = x.sum(dim=(2, 3))
        logits: torch.Tensor = self.output(x)[:, 0] + (self.classes(positions) * x).sum(dim=1)
        return logits
