"""What a card says of each kind of generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml.checkpoints.checkpoint import Checkpoint
from ml.config import GeneratorKind

PAPER = (
    "Frid-Adar M, Diamant I, Klang E, Amitai M, Goldberger J, Greenspan H. GAN-based synthetic "
    "medical image augmentation for increased CNN performance in liver lesion classification. "
    "Neurocomputing 2018;321:321-331."
)


@dataclass(frozen=True)
class Told:
    """Of one kind.

    Attributes:
        name: it in a few words.
        network: what it is made of.
        groups: of settings that it was trained with; of two of the same name the later's counts.
        optimiser: what trained it.
        sources: of the method.
    """

    name: str
    network: str
    groups: tuple[str, ...]
    optimiser: str
    sources: tuple[str, ...]


_OF: Mapping[GeneratorKind, Told] = {
    GeneratorKind.DCGAN: Told(
        "A DCGAN after Frid-Adar et al. (2018)",
        "A DCGAN after Frid-Adar et al. (2018), the generator alone.",
        ("gan",),
        "Adam",
        (PAPER,),
    ),
    GeneratorKind.ACGAN: Told(
        "A generator of an ACGAN after Frid-Adar et al. (2018)",
        "The DCGAN's generator on a latent vector times the embedding of a class, one network of "
        "all classes: here that of one class alone. The discriminator that it was trained against "
        "also named the class.",
        ("acgan",),
        "Adam",
        (
            PAPER,
            "Odena A, Olah C, Shlens J. Conditional image synthesis with auxiliary classifier "
            "GANs. ICML 2017, arXiv 1610.09585.",
        ),
    ),
    GeneratorKind.CGAN: Told(
        "A conditional GAN for few lesions",
        "The DCGAN's generator with batch normalisation by class, one network of all classes: here "
        "that of one class alone. It was trained against a projection discriminator under spectral "
        "norm, which saw real and drawn ROIs turned, mirrored and shifted alike.",
        ("gan", "cgan"),
        "Adam",
        (
            "Miyato T, Koyama M. cGANs with projection discriminator. ICLR 2018, arXiv 1802.05637.",
            "Miyato T, Kataoka T, Koyama M, Yoshida Y. Spectral normalization for generative "
            "adversarial networks. ICLR 2018, arXiv 1802.05957.",
            "Zhao S, Liu Z, Lin J, Zhu JY, Han S. Differentiable augmentation for data-efficient "
            "GAN training. NeurIPS 2020, arXiv 2006.10738.",
            PAPER,
        ),
    ),
    GeneratorKind.DIFFUSION: Told(
        "A diffusion model (EDM)",
        "A small U-Net that removes noise, preconditioned as EDM, one network of all classes: here "
        "with the embedding of one class alone. Drawing computes it many times.",
        ("gan", "diffusion"),
        "Adam, beta1 0.9",
        (
            "Karras T, Aittala M, Aila T, Laine S. Elucidating the design space of diffusion-based "
            "generative models. NeurIPS 2022, arXiv 2206.00364.",
        ),
    ),
}
_NO_PART: Mapping[GeneratorKind, tuple[str, ...]] = {
    # the GAN's, where the diffusion model has its own or none
    GeneratorKind.DIFFUSION: ("epochs", "beta1", "latent", "discriminator_width"),
}


def of(checkpoint: Checkpoint) -> Told:
    """What is told of a generator's kind."""
    return _OF[checkpoint.network]


def settings(checkpoint: Checkpoint) -> dict[str, object]:
    """The settings of a generator's training, by name; none where they were not kept."""
    found: dict[str, object] = {}
    for group in of(checkpoint).groups:
        own = checkpoint.config.get(group)
        found |= own if isinstance(own, dict) else {}
    for name in _NO_PART.get(checkpoint.network, ()):
        found.pop(name, None)
    return found


def takes(checkpoint: Checkpoint) -> str:
    """What it draws from, and how."""
    if checkpoint.sampler is None:
        return f"{checkpoint.latent_size} numbers, uniform in [-1, 1), which a seed gives."
    own = checkpoint.sampler
    return (
        f"{checkpoint.latent_size} numbers, standard normal, which a seed gives: noise that is "
        f"removed in {own.steps} steps of Heun's method from standard deviation {own.sigma_max:g} "
        f"to {own.sigma_min:g} and then 0 (rho {own.rho:g}), {own.evaluations} evaluations of the "
        "network for an image."
    )
