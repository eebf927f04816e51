"""The classifier's network in NumPy, forwards and backwards: what its tensors compute, and how far
each grey value of an ROI, and each place of the last convolution, moves the logits.

The network is that of ``ml.training.networks.cnn``, in the order in which its ONNX file computes:
convolution, ReLU, 2 × 2 maximum. It computes in the precision of its layers: double as they are
read, so that what differs from the served network beyond its own rounding is another network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError
from ml.lesion import ROI_SIZE_PX

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Tensors = Mapping[str, npt.NDArray[Any]]

CONVOLUTIONS = ("conv1", "conv2", "conv3")
LAYERS = ("output", "dense", *reversed(CONVOLUTIONS))
"""All that was learned, from the answer down."""
_TAPS = 3
"""A convolution is 3 × 3 without padding."""


class SaliencyError(HepaticaError):
    """A network, or an ROI, of which it cannot be said what moves the score."""


@dataclass(frozen=True)
class Layer:
    """What one layer learned: ``weight`` (outputs, inputs, …) and ``bias`` (outputs,)."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Block:
    """What a convolution with its maximum left behind.

    Attributes:
        shape: of what it saw, (n, c, h, w).
        active: after its ReLU.
        pooled, chosen: the maximum of each four, and which of them it is.
    """

    shape: tuple[int, ...]
    active: Floats
    pooled: Floats
    chosen: Ints


@dataclass(frozen=True)
class Pass:
    """What a network computed of n ROIs.

    Attributes:
        logits: (n, classes).
        network: which one.
        blocks: what each convolution left behind.
        features: (n, d), the dense layer after its ReLU.
    """

    logits: Floats
    network: Cnn
    blocks: tuple[Block, ...]
    features: Floats

    @property
    def places(self) -> Floats:
        """(n, channels, h, w), the last convolution after its ReLU, before its maximum."""
        return self.blocks[-1].active

    def back(self, by: Floats) -> Gradients:
        """The way back from a weighted sum of the logits of each ROI: Σ ``by`` · logits, both
        (n, classes)."""
        return Gradients(self, np.asarray(by, self.logits.dtype))


@dataclass(frozen=True)
class Gradients:
    """Of a weighted sum of the logits of n ROIs; each is computed when it is asked for."""

    _of: Pass
    _by: Floats

    @cached_property
    def places(self) -> Floats:
        """(n, channels, h, w), by what the last convolution says after its ReLU."""
        layers, last = self._of.network.layers, self._of.blocks[-1]
        back = (self._by @ layers["output"].weight) * (self._of.features > 0)
        return _unpooled((back @ layers["dense"].weight).reshape(last.chosen.shape), last)

    @cached_property
    def greys(self) -> Floats:
        """(n, 64, 64), by the grey values in [−1, 1]."""
        layers, blocks = self._of.network.layers, self._of.blocks
        back = self.places
        for name, block in zip(reversed(CONVOLUTIONS), reversed(blocks), strict=True):
            if block is not blocks[-1]:
                back = _unpooled(back, block)
            back = _back(back * (block.active > 0), layers[name].weight, block.shape)
        return back[:, 0] / 2  # the network sees (grey + 1) / 2


@dataclass(frozen=True)
class Cnn:
    """One network.

    Attributes:
        layers: what each of `LAYERS` learned.
        mean: of the training ROIs on a scale from 0 to 1, taken off what is seen.
    """

    layers: Mapping[str, Layer]
    mean: float

    @classmethod
    def of(cls, tensors: Tensors) -> Cnn:
        """From the tensors of ``weights.safetensors``.

        Raises:
            SaliencyError: they are those of another kind of network, or not finite.
        """
        wanted = {f"{name}.{part}" for name in LAYERS for part in ("weight", "bias")} | {"mean"}
        if set(tensors) != wanted:
            raise SaliencyError(
                "What moves the score can be drawn for the network that this software trains "
                f"(three convolutions and two dense layers); this one has other layers: "
                f"{_some(set(tensors) ^ wanted)}."
            )
        double = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}
        double["mean"] = double["mean"].ravel()  # one number, stored with an axis or without
        layers = {name: Layer(double[f"{name}.weight"], double[f"{name}.bias"]) for name in LAYERS}
        shapes = {name: tensor.shape for name, tensor in double.items()}
        finite = all(np.isfinite(one).all() for one in double.values())
        if shapes != _expected(layers) or not finite:
            raise SaliencyError(
                "What moves the score can be drawn for the network that this software trains; "
                "this one's layers have other sizes, or hold what is no finite number."
            )
        return cls(layers, float(double["mean"][0]))

    def see(self, rois: npt.NDArray[np.floating], known: Pass | None = None) -> Pass:
        """All that it computes of ROIs (n, 64, 64) in [−1, 1].

        Args:
            known: what a network computed of the same ROIs; what both have in common, from below,
                is not computed again.

        Raises:
            SaliencyError: another shape, or values that are not finite.
        """
        greys = np.asarray(rois, self.layers["output"].weight.dtype)
        if greys.ndim != 3 or greys.shape[1:] != (ROI_SIZE_PX, ROI_SIZE_PX) or not len(greys):
            raise SaliencyError(
                f"ROIs are (n, {ROI_SIZE_PX}, {ROI_SIZE_PX}) with n at least 1, not {greys.shape}."
            )
        if not np.isfinite(greys).all():
            raise SaliencyError("An ROI holds a value that is not a finite number.")
        blocks = [] if known is None else self._shared(known)
        x = blocks[-1].pooled if blocks else self.centred(greys)[:, None]
        for name in CONVOLUTIONS[len(blocks) :]:
            active = np.maximum(_convolved(x, self.layers[name]), 0)
            pooled, chosen = _pooled(active)
            blocks.append(Block(x.shape, active, pooled, chosen))
            x = pooled
        dense, output = self.layers["dense"], self.layers["output"]
        features = np.maximum(x.reshape(len(x), -1) @ dense.weight.T + dense.bias, 0)
        logits = features @ output.weight.T + output.bias
        return Pass(logits, self, tuple(blocks), features)

    def _shared(self, known: Pass) -> list[Block]:
        """What the convolutions left behind that are the very same, from below."""
        found: list[Block] = []
        if known.network.mean == self.mean:
            for name, block in zip(CONVOLUTIONS, known.blocks, strict=True):
                if known.network.layers[name] is not self.layers[name]:
                    break
                found.append(block)
        return found

    def centred(self, greys: Floats) -> Floats:
        """What the first convolution sees of grey values in [−1, 1]: 0 is the training mean."""
        return (greys + 1) / 2 - self.mean

    def single(self) -> Cnn:
        """The same network in single precision."""
        layers = {
            name: Layer(layer.weight.astype(np.float32), layer.bias.astype(np.float32))
            for name, layer in self.layers.items()
        }
        return Cnn(layers, self.mean)

    @property
    def classes(self) -> int:
        """How many logits it has."""
        return len(self.layers["output"].bias)


def _some(names: set[str]) -> str:
    told = sorted(names)
    return ", ".join(told[:4]) + (f" and {len(told) - 4} more" if len(told) > 4 else "")


def _expected(layers: Mapping[str, Layer]) -> dict[str, tuple[int, ...]]:
    """The shapes that fit each other, for the widths that the biases tell."""
    width = {name: layer.bias.size for name, layer in layers.items()}
    side, inputs = ROI_SIZE_PX, 1
    found: dict[str, tuple[int, ...]] = {"mean": (1,)}
    for name in CONVOLUTIONS:
        found[f"{name}.weight"] = (width[name], inputs, _TAPS, _TAPS)
        side, inputs = (side - _TAPS + 1) // 2, width[name]
    found["dense.weight"] = (width["dense"], inputs * side * side)
    found["output.weight"] = (width["output"], width["dense"])
    return found | {f"{name}.bias": (size,) for name, size in width.items()}


def centres() -> npt.NDArray[np.float64]:
    """(12,), where the places of the last convolution lie on the ROI, in its pixels along a side.

    A place sees 18 × 18 pixels; its centre is theirs. They begin 8.5 pixels from the edge and stand
    4 apart, so a map of them that is stretched over the whole ROI would be in the wrong place.
    """
    # a convolution's output u lies at u + 1 of its input, a maximum's at 2 u + 0.5
    places = ROI_SIZE_PX
    for _ in CONVOLUTIONS[:-1]:
        places = (places - _TAPS + 1) // 2
    at = np.arange(places - _TAPS + 1, dtype=np.float64) + 1
    for _ in CONVOLUTIONS[:-1]:
        at = 2 * at + 0.5 + 1
    return at


def _convolved(x: Floats, layer: Layer) -> Floats:
    """(n, o, h − 2, w − 2) of (n, c, h, w)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (_TAPS, _TAPS), axis=(2, 3))
    n, channels, rows, columns = windows.shape[:4]
    flat = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * rows * columns, channels * _TAPS**2)
    found = flat @ layer.weight.reshape(len(layer.bias), -1).T + layer.bias
    return found.reshape(n, rows, columns, -1).transpose(0, 3, 1, 2)


def _back(back: Floats, weight: Floats, shape: tuple[int, ...]) -> Floats:
    """The gradient by a convolution's input (n, c, h, w) from that by its output."""
    n, outputs, rows, columns = back.shape
    flat = back.transpose(0, 2, 3, 1).reshape(-1, outputs) @ weight.reshape(outputs, -1)
    taps = flat.reshape(n, rows, columns, -1, _TAPS, _TAPS).transpose(0, 3, 1, 2, 4, 5)
    found = np.zeros(shape, back.dtype)
    for i in range(_TAPS):
        for j in range(_TAPS):
            found[:, :, i : i + rows, j : j + columns] += taps[..., i, j]
    return found


def _pooled(x: Floats) -> tuple[Floats, Ints]:
    """The largest of each 2 × 2, and which of the four it is: the first of equals."""
    n, channels, rows, columns = x.shape
    cut = x[:, :, : rows // 2 * 2, : columns // 2 * 2]
    four = cut.reshape(n, channels, rows // 2, 2, columns // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    four = four.reshape(n, channels, rows // 2, columns // 2, 4)
    chosen = four.argmax(axis=-1)
    return np.take_along_axis(four, chosen[..., None], axis=-1)[..., 0], chosen


def _unpooled(back: Floats, block: Block) -> Floats:
    """The gradient by what was pooled: at the largest of each four, and 0 elsewhere."""
    n, channels, rows, columns = block.chosen.shape
    four = np.zeros((*block.chosen.shape, 4), back.dtype)
    np.put_along_axis(four, block.chosen[..., None], back[..., None], axis=-1)
    four = four.reshape(n, channels, rows, columns, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    found = np.zeros(block.active.shape, back.dtype)
    found[:, :, : 2 * rows, : 2 * columns] = four.reshape(n, channels, 2 * rows, 2 * columns)
    return found
