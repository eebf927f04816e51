"""Training of the ACGAN: what differs from the DCGAN's (``ml.training.gan.fit`` does the rest).

Odena et al. (2017) as Frid-Adar et al. (2018, section III-C) use it: the discriminator also names
the class of real and of generated ROIs, the generator is also paid for ROIs named as asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy, softplus

from ml import config
from ml.progress import Progress, RunDir
from ml.training import gan
from ml.training.networks import acgan

Pixels = npt.NDArray[np.float32]


class Pair(gan.Pair):
    """ACGAN networks; a latent here is (latent + 1,): the class position comes last."""

    def __init__(
        self, classes: int, settings: config.Gan, device: torch.device, *seed: object
    ) -> None:
        self.classes = classes
        super().__init__(settings, device, *seed)

    def networks(self, settings: config.Gan) -> tuple[torch.nn.Module, torch.nn.Module]:
        """Fresh generator and discriminator, both told the number of classes."""
        return (
            acgan.Generator(self.classes, settings.width, settings.latent),
            acgan.Discriminator(self.classes, settings.discriminator_width),
        )

    def latents(self, rng: np.random.Generator, count: int) -> Pixels:
        """What ``count`` images are drawn from, (count, latent + 1).

        Classes in turn, so that every batch asks for each of them about equally often.
        """
        plain = super().latents(rng, count)
        return with_class(plain, np.arange(count) % self.classes)

    def discriminator_loss(
        self, real: torch.Tensor, answers: torch.Tensor, fake: torch.Tensor, latents: torch.Tensor
    ) -> torch.Tensor:
        """Real against drawn, and the class of either (Odena et al. 2017, L_S and L_C); a scalar.

        Args:
            real: (n, 1, 64, 64) in [−1, 1], of the classes at ``answers`` (n,).
            fake: (n, 1, 64, 64), drawn from ``latents`` (n, latent + 1).
        """
        is_real, named = self.discriminator(real)
        is_fake, named_fake = self.discriminator(fake)
        source = softplus(-is_real).mean() + softplus(is_fake).mean()
        asked = latents[:, -1].long()
        return source + cross_entropy(named, answers) + cross_entropy(named_fake, asked)

    def generator_loss(self, fake: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Taken for real, and for the class that was asked for; a scalar."""
        is_real, named = self.discriminator(fake)
        return softplus(-is_real).mean() + cross_entropy(named, latents[:, -1].long())


def with_class(latents: Pixels, classes: npt.ArrayLike) -> Pixels:
    """Latent vectors (n, latent) with their class positions (n,) behind: (n, latent + 1)."""
    column = np.asarray(classes, np.float32)[:, None]
    return np.concatenate([latents, column], axis=1)


def fit(
    pixels: Pixels,
    labels: npt.NDArray[np.int64],
    classes: int,
    settings: config.Gan,
    out: RunDir,
    *seed: object,
    device: str = "cpu",
) -> Iterator[Progress]:
    """Train one generator of all classes; as ``ml.training.gan.fit``.

    ``discriminator.safetensors`` has the auxiliary head, the paper's fourth classifier.

    Args:
        pixels: (n, 64, 64) in [−1, 1], with their class positions in ``labels`` (n,).

    Raises:
        CollapseError, ConfigError: as ``ml.training.gan.fit``.
    """
    make = partial(Pair, classes)
    yield from gan.fit(pixels, settings, out, *seed, device=device, labels=labels, make=make)
