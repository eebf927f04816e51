"""The class-conditional diffusion model, as it is trained (``ml.training.joint`` does the rest).

EDM (Karras et al. 2022, arXiv 2206.00364): ROIs under noise of log-normal level, weighted so that
every level counts alike at first, Adam, averaged weights. Trained for as many operations as the
conditional GAN of the same settings (``ml.training.budget``).
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from ml import config
from ml.checkpoints.sampler import Sampler
from ml.lesion import ROI_SIZE_PX
from ml.training import budget, runtime
from ml.training.learner import Learner
from ml.training.networks.edm import Denoiser

Pixels = npt.NDArray[np.float32]

NOISE = ROI_SIZE_PX**2
"""Numbers of noise that an image is drawn from."""
_AT_ONCE = 32
"""ROIs that are drawn at a time in training."""


def schedule(settings: config.Config) -> config.Gan:
    """What ``fit`` is told: the joint generator's settings with the diffusion model's in place."""
    own = settings.diffusion
    return replace(
        settings.joint,
        width=budget.width_of(own, settings.joint),
        latent=NOISE,
        epochs=budget.diffusion_epochs(settings),
        learning_rate=own.learning_rate,
        beta1=0.9,
        beta2=own.beta2,
        ema=own.ema,
    )


class Model(Learner):
    """Denoiser, averaged denoiser and optimizer of one attempt.

    A latent here is (4098,): noise of an image, the number that its level is drawn by in training,
    and the class position that is asked for in drawing.
    """

    losses = ("denoising_loss",)

    def __init__(
        self,
        classes: int,
        own: config.Diffusion,
        settings: config.Gan,
        device: torch.device,
        *seed: object,
    ) -> None:
        self.classes, self.own = classes, own
        with runtime.seeded("diffusion", "weights", *seed):
            network = Denoiser(classes, settings.width, own.sigma_data)
        self.generator = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.generator)
        betas = (settings.beta1, settings.beta2)
        self.optimizers = {
            "generator": torch.optim.Adam(
                self.generator.parameters(), settings.learning_rate, betas,
                fused=True, capturable=device.type == "cuda",
            )
        }  # fmt: skip
        self.settings, self.device = settings, device

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """The networks that the saved state of an unfinished training holds, by name."""
        return {"generator": self.generator, "average": self.average}

    def latents(self, rng: np.random.Generator, count: int) -> Pixels:
        """Standard normal noise and level, and classes in turn; (count, 4098)."""
        normal = rng.standard_normal((count, NOISE + 1), dtype=np.float32)
        column = (np.arange(count) % self.classes).astype(np.float32)[:, None]
        return np.concatenate([normal, column], axis=1)

    def positions(self, latents: Pixels) -> npt.NDArray[np.int64]:
        """The classes that were asked for, (n,)."""
        return latents[:, -1].astype(np.int64)

    def step(
        self,
        real: torch.Tensor,
        answers: torch.Tensor,
        latents: torch.Tensor,
        new: float | torch.Tensor,
    ) -> torch.Tensor:
        """One update; returns its loss, (1,).

        Args:
            real: (n, 1, 64, 64) in [−1, 1], of the classes at ``answers`` (n,).
            latents: (n, 4098), of which noise and level are used.
            new: weight of the present weights in the averaged ones.
        """
        own = self.own
        sigma = (own.noise_mean + own.noise_sd * latents[:, NOISE]).exp()
        level = sigma[:, None, None, None]
        noise = latents[:, :NOISE].reshape(real.shape)
        found = self.generator(real + level * noise, sigma, answers)
        # λ of table 1: 1 / c_out², so that every level weighs the same in the beginning
        weight = (level**2 + own.sigma_data**2) / (level * own.sigma_data) ** 2
        loss: torch.Tensor = (weight * (found - real) ** 2).mean()
        self.optimizers["generator"].zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizers["generator"].step()
        self.average_in(new)
        return loss.detach()[None]

    def settle(self, *seed: object) -> None:
        """There are no statistics to settle."""
        self.average.eval()

    def sample(self, latents: Pixels) -> Pixels:
        """ROIs (n, 64, 64) in [−1, 1] by the averaged weights, from n rows as of ``latents``."""
        parts = [
            drawn(self.average, self.own, part[:, :NOISE], self.positions(part), self.device)
            for part in np.split(latents, range(_AT_ONCE, len(latents), _AT_ONCE))
        ]
        return np.concatenate(parts)

    def told(self, losses: tuple[float, ...]) -> str:
        """Its loss, in words."""
        return f"denoising {losses[0]:.3f}"


def drawn(
    network: torch.nn.Module,
    own: config.Diffusion,
    noise: Pixels,
    positions: npt.NDArray[np.int64],
    device: torch.device,
) -> Pixels:
    """ROIs (n, 64, 64) in [−1, 1] of noise (n, 4096) and class positions (n,)."""
    classes = torch.from_numpy(positions).to(device)

    def denoise(noisy: Pixels, sigma: float) -> Pixels:
        with torch.no_grad():
            x = torch.from_numpy(noisy)[:, None].to(device)
            clean: Pixels = network(x, x.new_full((len(x),), sigma), classes)[:, 0].cpu().numpy()
        return clean

    rois = Sampler.of(own).draw(denoise, noise.reshape(-1, ROI_SIZE_PX, ROI_SIZE_PX))
    return np.clip(rois, -1, 1).astype(np.float32)
