"""ROIs of a trained generator where there is no ONNX: image n is that of seed n, as it serves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from ml.checkpoints.latents import latent, noise
from ml.checkpoints.members import Tensors
from ml.config import Config, Gan, GeneratorKind
from ml.lesion import ROI_SIZE_PX
from ml.training import acgan, budget, diffusion, runtime
from ml.training.networks import acgan as acgan_networks
from ml.training.networks import cgan, dcgan
from ml.training.networks.edm import Denoiser

Pixels = npt.NDArray[np.float32]


def drawer(
    kind: GeneratorKind,
    tensors: Tensors,
    settings: Config,
    classes: int,
    position: int,
    device: str,
) -> Callable[[range], Pixels]:
    """What draws ROIs (n, 64, 64) in [−1, 1] of one class, from n seeds.

    Image n is the one that a checkpoint of these tensors draws for seed n, up to the rounding of
    another program and of the images beside it.

    Args:
        tensors: the generator that training kept.
        classes: of the data set; ``position`` is that of the class among them. Of a DCGAN, which
            draws one class, they do not matter.
    """
    target, sizes = runtime.device(device), _sizes(kind, settings)
    network = _network(kind, settings, classes)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    network.eval().to(target)

    def draw(seeds: range) -> Pixels:
        chosen = np.full(len(seeds), position)
        if kind == GeneratorKind.DIFFUSION:
            start = np.stack([noise(seed, ROI_SIZE_PX).ravel() for seed in seeds])
            return diffusion.drawn(network, settings.diffusion, start, chosen, target)
        rows = np.stack([latent(seed, sizes.latent) for seed in seeds])
        if kind != GeneratorKind.DCGAN:
            rows = acgan.with_class(rows, chosen)
        with torch.no_grad():
            rois: Pixels = network(torch.from_numpy(rows).to(target))[:, 0].cpu().numpy()
        return rois

    return draw


def _sizes(kind: GeneratorKind, settings: Config) -> Gan:
    return settings.gan if kind == GeneratorKind.DCGAN else settings.joint


def _network(kind: GeneratorKind, settings: Config, classes: int) -> torch.nn.Module:
    sizes = _sizes(kind, settings)
    match kind:
        case GeneratorKind.DCGAN:
            return dcgan.Generator(sizes.width, sizes.latent)
        case GeneratorKind.ACGAN:
            return acgan_networks.Generator(classes, sizes.width, sizes.latent)
        case GeneratorKind.CGAN:
            return cgan.Generator(classes, sizes.width, sizes.latent)
        case GeneratorKind.DIFFUSION:
            width = budget.width_of(settings.diffusion, sizes)
            return Denoiser(classes, width, settings.diffusion.sigma_data)
