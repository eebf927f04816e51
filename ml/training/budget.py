"""Shapes of generators beyond the paper, and what their training costs, counted from these.

The unit is the multiply-and-add of convolutions and matrix products, two operations each: the same
on every machine, as no number of seconds is. By it a diffusion model gets the training budget of
the conditional GAN that it is compared with.
"""

from __future__ import annotations

from math import gcd

from ml.config import Config, Diffusion, Gan

WIDEST = 32
"""Channels of a diffusion model that names no width, at most: it is drawn from on servers."""
_FORWARD_AND_BOTH = 3
"""Forward, and the gradients of inputs and of weights, cost about the same each."""


def gan_gflop(of: Gan) -> float:
    """10⁹ operations for each ROI of a step of a GAN: both networks, forward and backward.

    The discriminator sees a real ROI, a drawn one, and this again without gradients of its weights.
    """
    g, d = of.width, of.discriminator_width
    up = 8 * g * 4 * g * 16 + 4 * g * 2 * g * 64 + 2 * g * g * 256 + g * 1024
    down = d * 1024 + d * 2 * d * 256 + 2 * d * 4 * d * 64 + 4 * d * 8 * d * 16
    return 2 * 25 * (_FORWARD_AND_BOTH * up + 8 * down) / 1e9


def width_of(of: Diffusion, gan: Gan) -> int:
    """Channels of a diffusion model at 32 × 32."""
    return of.width or min(gan.width, WIDEST)


def groups_of(channels: int) -> int:
    """Groups in which a denoiser's channels are normalised."""
    return gcd(8, channels)


def denoiser_gflop(width: int) -> float:
    """10⁹ operations for one ROI through `ml.training.networks.edm.Denoiser`, forward."""
    w, high, middle, low = width, 32**2, 16**2, 8**2

    def block(into: int, out: int) -> int:
        return 9 * into * out + 9 * out * out + (into * out if into != out else 0)

    products = (
        high * (9 * 4 * w + block(w, w) + 9 * 2 * w * w + block(2 * w, w) + 9 * w * 4)
        + middle * (9 * w * w + block(w, 2 * w) + 9 * 4 * w * w + block(4 * w, 2 * w))
        + low * (9 * 4 * w * w + 2 * block(2 * w, 2 * w))
    )
    return 2 * products / 1e9


def diffusion_gflop(width: int) -> float:
    """10⁹ operations for each ROI of a training step."""
    return _FORWARD_AND_BOTH * denoiser_gflop(width)


def diffusion_epochs(of: Config) -> int:
    """Epochs of the diffusion model that cost about what the conditional GAN's do; 1 at least."""
    whole = of.diffusion.budget * of.joint.epochs * gan_gflop(of.joint)
    return max(1, round(whole / diffusion_gflop(width_of(of.diffusion, of.joint))))
