"""The ACGAN of Frid-Adar et al. (2018), section III-C: one generator for all lesion classes.

The paper describes the discriminator of Odena et al. (2017) and then says that it is used without
those modifications: it is the DCGAN's with a second head that names the class.
"""

from __future__ import annotations

import torch
from torch import nn

from ml.training.networks import dcgan


class Generator(nn.Module):
    """The DCGAN's generator on a latent vector times the embedding of a class, number by number.

    The paper leaves open how the class enters. Appended to the latent vector it gave nearly one
    picture per class here; as a factor it cannot be told without the latent vector.
    """

    def __init__(self, classes: int, width: int = 128, latent: int = 100) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent)
        self.body = dcgan.Generator(width, latent)
        nn.init.normal_(self.embedding.weight)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """ROIs (n, 1, 64, 64) in [-1, 1] of (n, latent + 1): latent vector, then class position."""
        rois: torch.Tensor = self.body(latents[:, :-1] * self.embedding(latents[:, -1].long()))
        return rois


class Discriminator(nn.Module):
    """The DCGAN's discriminator with an auxiliary head of class logits."""

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.body = dcgan.Discriminator(width)
        self.classes = nn.Linear(self.body.output.in_features, classes)
        nn.init.normal_(self.classes.weight, 0.0, 0.02)
        nn.init.zeros_(self.classes.bias)

    def forward(self, rois: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n,) of "real" and class logits (n, classes) for ROIs (n, 1, 64, 64)."""
        features = self.body.features(rois)
        return self.body.output(features)[:, 0], self.classes(features)
