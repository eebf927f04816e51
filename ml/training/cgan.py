"""The conditional GAN for small data, as it is trained (``ml.training.joint`` does the rest).

What few lesions need, each from its paper: a projection discriminator (Miyato & Koyama 2018) under
spectral norm (Miyato et al. 2018) with their hinge loss, real and drawn ROIs shown to it moved
(``ml.training.augmented``), and weights averaged after a long burn-in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import relu

from ml import config
from ml.training import augmented, gan, learner
from ml.training.acgan import with_class
from ml.training.networks import cgan

Pixels = npt.NDArray[np.float32]

_SHOWN = 3
"""Times that a step shows ROIs to the discriminator: real, drawn, and drawn again."""


class Pair(gan.Pair):
    """The networks of one attempt.

    A latent here is (latent + 16,): the class position, and what the ROIs of the step are moved by.
    """

    def __init__(
        self,
        classes: int,
        own: config.Conditional,
        settings: config.Gan,
        device: torch.device,
        *seed: object,
    ) -> None:
        self.classes, self.own = classes, own
        super().__init__(settings, device, *seed)

    def networks(self, settings: config.Gan) -> tuple[torch.nn.Module, torch.nn.Module]:
        """Fresh generator and discriminator, both told the number of classes."""
        return (
            cgan.Generator(self.classes, settings.width, settings.latent),
            cgan.Discriminator(self.classes, settings.discriminator_width),
        )

    def latents(self, rng: np.random.Generator, count: int) -> Pixels:
        """What ``count`` images are drawn from and moved by, (count, latent + 16).

        Classes in turn, so that every batch asks for each of them about equally often.
        """
        plain = with_class(super().latents(rng, count), np.arange(count) % self.classes)
        moved = rng.random((count, _SHOWN * augmented.DRAWS), dtype=np.float32)
        return np.concatenate([plain, moved * np.float32(2) - np.float32(1)], axis=1)

    def positions(self, latents: Pixels) -> npt.NDArray[np.int64]:
        """The classes that were asked for, (n,)."""
        return latents[:, self.settings.latent].astype(np.int64)

    @property
    def judged_after(self) -> float:
        """Share of the epochs before which no collapse is judged."""
        return max(super().judged_after, self.own.burn_in)

    def new_weight(self, count: int, total: int) -> float:
        """All of the present generator in the burn-in, and then as a fresh average begins."""
        burnt = round(self.own.burn_in * total)
        return 1.0 if count < burnt else learner.new_weight(self.settings, count - burnt)

    def discriminator_loss(
        self, real: torch.Tensor, answers: torch.Tensor, fake: torch.Tensor, latents: torch.Tensor
    ) -> torch.Tensor:
        """The hinge loss of both kinds, each moved by draws of its own; a scalar.

        Args:
            real: (n, 1, 64, 64) in [−1, 1], of the classes at ``answers`` (n,).
            fake: (n, 1, 64, 64), drawn from ``latents`` (n, latent + 16).
        """
        is_real = self.discriminator(self._moved(real, latents, 0), answers)
        is_fake = self.discriminator(self._moved(fake, latents, 1), self._asked(latents))
        return relu(1 - is_real).mean() + relu(1 + is_fake).mean()

    def generator_loss(self, fake: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Taken for real of the class that was asked for, moved; a scalar."""
        is_fake: torch.Tensor = self.discriminator(
            self._moved(fake, latents, 2), self._asked(latents)
        )
        return -is_fake.mean()

    def _asked(self, latents: torch.Tensor) -> torch.Tensor:
        return latents[:, self.settings.latent].long()

    def _moved(self, rois: torch.Tensor, latents: torch.Tensor, time: int) -> torch.Tensor:
        first = self.settings.latent + 1 + time * augmented.DRAWS
        return augmented.shown(rois, latents[:, first : first + augmented.DRAWS], self.own.shift_px)
