"""Three kernels of the CNN for NVIDIA GPUs (Triton, which comes with PyTorch for them).

All tensors are in the order image, row, column, channel; products and sums are in float32 and in a
fixed order. Where two of a square's four numbers are equal, the first is the largest.
"""

# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

SIDE = tl.constexpr(64)
"""Of an ROI; its 3 × 3 convolution has 62, pooled 31."""
POOLED = tl.constexpr(31)
AREA = tl.constexpr(31 * 31)


@triton.jit
def _base(at):
    """Where the 4 × 4 pixels begin that pooled positions ``at`` look at."""
    return at // AREA * (SIDE * SIDE) + at % AREA // POOLED * (2 * SIDE) + at % POOLED * 2


@triton.jit
def first(rois, weight, bias, mean, out, which, total, C, CP: tl.constexpr, P: tl.constexpr):
    """First convolution, 2 × 2 max-pooling and ReLU at once: ``P`` positions, all channels."""
    at = tl.program_id(0) * P + tl.arange(0, P)
    channel = tl.arange(0, CP)
    there, known = at < total, channel < C
    both = there[:, None] & known[None, :]
    base = _base(at)
    start = tl.load(bias + channel, mask=known, other=0.0)
    taken_off = tl.load(mean)
    best = tl.full((P, CP), float("-inf"), tl.float32)
    index = tl.zeros((P, CP), tl.int32)
    for k in tl.static_range(4):
        value = tl.zeros((P, CP), tl.float32) + start[None, :]
        for t in tl.static_range(9):
            offset = (k // 2 + t // 3) * SIDE + k % 2 + t % 3
            pixel = tl.load(rois + base + offset, mask=there, other=0.0).to(tl.float32)
            pixel = (pixel + 1) * 0.5 - taken_off
            value += pixel[:, None] * tl.load(weight + channel * 9 + t, mask=known, other=0.0)
        better = (value > best) | (value != value)
        best = tl.where(better, value, best)
        index = tl.where(better, k, index)
    place = at[:, None] * C + channel[None, :]
    # a number that is none stays one, so that a training that diverged is seen
    tl.store(out + place, tl.where(best < 0, 0.0, best), mask=both)
    tl.store(which + place, index.to(tl.int8), mask=both)


@triton.jit
def _seen(rois, base, both, taken_off, t: tl.constexpr):
    """The pixel under tap ``t`` of the kernel where each channel's largest number was."""
    pixel = tl.load(rois + base + (t // 3) * SIDE + t % 3, mask=both, other=0.0).to(tl.float32)
    return (pixel + 1) * 0.5 - taken_off


@triton.jit
def first_gradient(
    rois,
    mean,
    grad,
    out,
    which,
    parts,
    total,
    C,
    EACH: tl.constexpr,
    CP: tl.constexpr,
    P: tl.constexpr,
):
    """Gradient of weight (9 taps) and bias: parts (programs, 10, C), to be summed by the caller."""
    program = tl.program_id(0)
    channel = tl.arange(0, CP)
    known = channel < C
    taken_off = tl.load(mean)
    a0 = tl.zeros((P, CP), tl.float32)
    a1 = tl.zeros((P, CP), tl.float32)
    a2 = tl.zeros((P, CP), tl.float32)
    a3 = tl.zeros((P, CP), tl.float32)
    a4 = tl.zeros((P, CP), tl.float32)
    a5 = tl.zeros((P, CP), tl.float32)
    a6 = tl.zeros((P, CP), tl.float32)
    a7 = tl.zeros((P, CP), tl.float32)
    a8 = tl.zeros((P, CP), tl.float32)
    a9 = tl.zeros((P, CP), tl.float32)
    for i in range(EACH):
        at = (program * EACH + i) * P + tl.arange(0, P)
        both = (at < total)[:, None] & known[None, :]
        place = at[:, None] * C + channel[None, :]
        g = tl.load(grad + place, mask=both, other=0.0).to(tl.float32)
        g = tl.where(tl.load(out + place, mask=both, other=0.0) > 0, g, 0.0)
        index = tl.load(which + place, mask=both, other=0).to(tl.int32)
        base = _base(at)[:, None] + index // 2 * SIDE + index % 2
        a0 += g * _seen(rois, base, both, taken_off, 0)
        a1 += g * _seen(rois, base, both, taken_off, 1)
        a2 += g * _seen(rois, base, both, taken_off, 2)
        a3 += g * _seen(rois, base, both, taken_off, 3)
        a4 += g * _seen(rois, base, both, taken_off, 4)
        a5 += g * _seen(rois, base, both, taken_off, 5)
        a6 += g * _seen(rois, base, both, taken_off, 6)
        a7 += g * _seen(rois, base, both, taken_off, 7)
        a8 += g * _seen(rois, base, both, taken_off, 8)
        a9 += g
    to = parts + program * 10 * C + channel
    tl.store(to, tl.sum(a0, 0), mask=known)
    tl.store(to + C, tl.sum(a1, 0), mask=known)
    tl.store(to + 2 * C, tl.sum(a2, 0), mask=known)
    tl.store(to + 3 * C, tl.sum(a3, 0), mask=known)
    tl.store(to + 4 * C, tl.sum(a4, 0), mask=known)
    tl.store(to + 5 * C, tl.sum(a5, 0), mask=known)
    tl.store(to + 6 * C, tl.sum(a6, 0), mask=known)
    tl.store(to + 7 * C, tl.sum(a7, 0), mask=known)
    tl.store(to + 8 * C, tl.sum(a8, 0), mask=known)
    tl.store(to + 9 * C, tl.sum(a9, 0), mask=known)


@triton.jit
def pooled(x, bias, out, which, total, H, W, C, CP: tl.constexpr, P: tl.constexpr):
    """Bias, 2 × 2 max-pooling and ReLU at once; an odd last row or column is left out."""
    at = tl.program_id(0) * P + tl.arange(0, P)
    channel = tl.arange(0, CP)
    known = channel < C
    both = (at < total)[:, None] & known[None, :]
    rows, columns = H // 2, W // 2
    image, row, column = at // (rows * columns), at // columns % rows, at % columns
    base = ((image * H + 2 * row) * W + 2 * column)[:, None] * C + channel[None, :]
    best = tl.full((P, CP), float("-inf"), tl.float32)
    index = tl.zeros((P, CP), tl.int32)
    for k in tl.static_range(4):
        value = tl.load(x + base + (k // 2 * W + k % 2) * C, mask=both, other=0.0).to(tl.float32)
        better = (value > best) | (value != value)
        best = tl.where(better, value, best)
        index = tl.where(better, k, index)
    best += tl.load(bias + channel, mask=known, other=0.0)[None, :]
    place = at[:, None] * C + channel[None, :]
    tl.store(out + place, tl.where(best < 0, 0.0, best), mask=both)
    tl.store(which + place, index.to(tl.int8), mask=both)


@triton.jit
def pooled_gradient(grad, out, which, back, total, H, W, C, CP: tl.constexpr, P: tl.constexpr):
    """Gradient of ``pooled``'s input: that of a square goes to where its largest number was."""
    at = tl.program_id(0) * P + tl.arange(0, P)
    channel = tl.arange(0, CP)
    both = (at < total)[:, None] & (channel < C)[None, :]
    rows, columns = H // 2, W // 2
    image, y, x = at // (H * W), at // W % H, at % W
    inside = both & ((y // 2 < rows) & (x // 2 < columns))[:, None]
    place = ((image * rows + y // 2) * columns + x // 2)[:, None] * C + channel[None, :]
    index = tl.load(which + place, mask=inside, other=-1).to(tl.int32)
    mine = inside & (index == (y % 2 * 2 + x % 2)[:, None])
    mine = mine & (tl.load(out + place, mask=inside, other=0.0) > 0)
    g = tl.load(grad + place, mask=mine, other=0.0)
    tl.store(back + at[:, None] * C + channel[None, :], tl.where(mine, g, 0.0), mask=both)
