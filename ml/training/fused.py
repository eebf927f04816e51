"""The CNN's features as a GPU computes them fastest: the numbers of ``networks.cnn``, to rounding.

Convolution, bias, pooling and ReLU of a block each write a tensor of their own, and most of a
step's time on a GPU goes into carrying these to and from memory. Here the first block is one
kernel in each direction, and of the other two all but the convolution.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch.nn.functional import conv2d

from ml.training.networks.cnn import Cnn

_POSITIONS = 32
"""Pooled positions of a program of a kernel."""
_PROGRAMS = 528
"""Programs that share the gradient of the first weights: four per multiprocessor of an H100."""


@cache
def _kernels() -> Any:
    from ml.training import kernels

    return kernels


@cache
def usable(device: torch.device) -> bool:
    """Whether ``features`` has kernels for a device; elsewhere the network's own is to be used.

    Where Triton is missing, or cannot build them (it needs a C compiler), a warning says so once.
    """
    if device.type != "cuda":
        return False
    try:
        network = Cnn(2, 0.0, 0.0, 4, 4).to(device)
        torch.autograd.backward(features(network, torch.zeros(2, 1, 64, 64, device=device)).sum())
    except Exception as error:  # whatever a compiler raises
        if isinstance(error, torch.OutOfMemoryError):
            raise
        warnings.warn(
            f"Triton builds no kernels here ({str(error).splitlines()[:1]}): the CNN trains at a "
            "fraction of the speed, and its numbers differ by rounding from those elsewhere.",
            stacklevel=2,
        )
        return False
    return True


def features(network: Cnn, rois: torch.Tensor) -> torch.Tensor:
    """As ``network.features``: (n, features) of ROIs (n, 1, 64, 64) in [-1, 1], half or float."""
    x = first(rois, network.conv1.weight, network.conv1.bias, network.mean)
    for conv in (network.conv2, network.conv3):
        x = pooled(conv2d(x, conv.weight), conv.bias)
    return torch.relu(network.dense(x.flatten(1)))


class _First(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rois: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
    ) -> torch.Tensor:
        count, channels = len(rois), len(bias)
        rois = rois.contiguous()
        out = torch.empty((count, 31, 31, channels), device=rois.device)
        which = torch.empty(out.shape, dtype=torch.int8, device=rois.device)
        total = count * 31 * 31
        _kernels().first[(-(-total // _POSITIONS),)](
            rois, weight, bias, mean, out, which, total, channels,
            CP=_power(channels), P=_POSITIONS,
        )  # fmt: skip
        ctx.save_for_backward(rois, mean, out, which)
        ctx.shape = weight.shape
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        rois, mean, out, which = ctx.saved_tensors
        grad = grads[0].permute(0, 2, 3, 1).contiguous()
        channels, total = out.shape[-1], out.numel() // out.shape[-1]
        few = _POSITIONS // 2
        each = -(-total // (few * _PROGRAMS))
        programs = -(-total // (few * each))
        parts = torch.empty((programs, 10, channels), device=out.device)
        _kernels().first_gradient[(programs,)](
            rois, mean, grad, out, which, parts, total, channels,
            EACH=each, CP=_power(channels), P=few,
        )  # fmt: skip
        found = parts.sum(0)
        return None, found[:9].t().reshape(ctx.shape), found[9], None


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 2, 3, 1).contiguous()
        count, height, width, channels = x.shape
        shape = (count, height // 2, width // 2, channels)
        out = torch.empty(shape, dtype=x.dtype, device=x.device)
        which = torch.empty(shape, dtype=torch.int8, device=x.device)
        total = out.numel() // channels
        _kernels().pooled[(-(-total // _POSITIONS),)](
            x, bias, out, which, total, height, width, channels,
            CP=_power(channels), P=_POSITIONS,
        )  # fmt: skip
        ctx.save_for_backward(out, which)
        ctx.shape = x.shape
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        out, which = ctx.saved_tensors
        grad = grads[0].permute(0, 2, 3, 1).contiguous()
        count, height, width, channels = ctx.shape
        back = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device)
        total = count * height * width
        _kernels().pooled_gradient[(-(-total // _POSITIONS),)](
            grad, out, which, back, total, height, width, channels,
            CP=_power(channels), P=_POSITIONS,
        )  # fmt: skip
        # the bias is added to what is pooled, and so is its gradient
        to_bias = torch.where(out > 0, grad, 0).flatten(0, 2).float().sum(0)
        return back.permute(0, 3, 1, 2), to_bias


def first(
    rois: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, mean: torch.Tensor
) -> torch.Tensor:
    """First convolution with bias, pooling and ReLU: (n, c, 31, 31) of ROIs (n, 1, 64, 64)."""
    out: torch.Tensor = _First.apply(rois, weight, bias, mean)  # type: ignore[no-untyped-call]
    return out


def pooled(x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Bias, pooling and ReLU: (n, c, h // 2, w // 2) of (n, c, h, w)."""
    out: torch.Tensor = _Pooled.apply(x, bias)  # type: ignore[no-untyped-call]
    return out


def _power(count: int) -> int:
    """The least power of two that holds so many channels; Triton has no other widths."""
    return max(16, 1 << (count - 1).bit_length())
