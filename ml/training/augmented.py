"""What a discriminator is shown instead of a ROI: moved, and differentiable.

Real and drawn ROIs alike are shown under one of the 8 symmetries of the square and a shift (Zhao et
al. 2020, arXiv 2006.10738), so that few of them cannot be learned by heart. Gradients go through to
the generator. Pixels are moved whole: no interpolation smooths the grain, by which the
discriminator would tell a turned ROI. Matrix products move them, which a GPU repeats exactly.
"""

from __future__ import annotations

import torch

DRAWS = 5
"""Uniform numbers in [-1, 1) that one ROI is moved by."""


def shown(rois: torch.Tensor, draws: torch.Tensor, shift_px: int) -> torch.Tensor:
    """ROIs (n, 1, h, h) moved by ``draws`` (n, 5): mirrored twice, transposed, shifted twice.

    What a shift uncovers repeats the edge.
    """
    places = torch.arange(rois.shape[-1], device=rois.device)

    def lines(mirrored: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """(n, h, h) matrices of one 1 a row: which line stands at each place."""
        by = ((share + 1) / 2 * (2 * shift_px + 1)).floor().clamp(max=2 * shift_px) - shift_px
        source = places + by.long()[:, None]
        turned = torch.where(mirrored[:, None] >= 0, source, len(places) - 1 - source)
        return (turned.clamp(0, len(places) - 1)[:, :, None] == places).to(rois.dtype)

    x = rois[:, 0]
    x = torch.where(draws[:, 2, None, None] >= 0, x, x.transpose(1, 2))
    rows, columns = lines(draws[:, 0], draws[:, 3]), lines(draws[:, 1], draws[:, 4])
    return (rows @ x @ columns.transpose(1, 2))[:, None]
