"""Trained tensors → ONNX, written node by node: small, repeatable, and without torch.

Batch normalisation is folded into the layer before it. The generator's transposed convolutions
become what ONNX Runtime does fastest: a 3 × 3 convolution to four times the channels and a
depth-to-space; their 5 × 5 kernels are stored as trained and rearranged when a session loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, checker, helper, numpy_helper

from ml.checkpoints.members import Tensors, refuse_unequal
from ml.config import GeneratorKind
from ml.training.budget import groups_of

_OPSET, _IR = 17, 8
_EPSILON = 1e-5  # torch.nn.BatchNorm2d


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, name: str, value: npt.ArrayLike, dtype: type[Any] = np.float32) -> str:
        array = np.ascontiguousarray(value, dtype)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        )
        return output

    def model(self, name: str, inputs: list[Any], outputs: list[Any]) -> bytes:
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR,
            producer_name="hepatica",
        )
        checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _value(name: str, shape: list[int | str]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def classifier(tensors: Tensors) -> bytes:
    """ONNX of a ``networks.cnn.Cnn``.

    Input ``rois`` (n, 1, 64, 64) in [-1, 1]; outputs ``probabilities`` and ``logits``
    (n, classes), ``features`` (n, 256).
    """
    g = _Graph()
    _cnn(g, tensors)
    g.add("Softmax", ["logits"], "probabilities", axis=1)
    width, classes = tensors["dense.bias"].size, tensors["output.bias"].size
    return g.model(
        "classifier",
        [_value("rois", ["n", 1, 64, 64])],
        [
            _value("probabilities", ["n", classes]),
            _value("logits", ["n", classes]),
            _value("features", ["n", width]),
        ],
    )


def ensemble(members: Sequence[Tensors], featured: int) -> bytes:
    """ONNX of several ``networks.cnn.Cnn`` whose mean answers; of one it is ``classifier``'s.

    Input ``rois`` (n, 1, 64, 64) in [-1, 1]; outputs ``logits`` (n, classes), the mean of the
    networks', and ``probabilities``, their softmax; ``members`` (n, networks, classes), the logits
    of each; ``features`` (n, featured × 256), one network's after the other's.

    Args:
        featured: how many networks, from the first, give features. Those of several networks have
            no axis in common, so a mean of them would be of nothing.

    Raises:
        MembersError: networks that are not alike.
    """
    if len(members) == 1:
        return classifier(members[0])
    refuse_unequal(members)
    g = _Graph()
    stacked = g.constant("stacked", [1], np.int64)
    for place, tensors in enumerate(members):
        prefix = f"members.{place}."
        _cnn(g, tensors, prefix)
        g.add("Unsqueeze", [f"{prefix}logits", stacked], f"{prefix}logits.row")
    rows = [f"members.{place}.logits.row" for place in range(len(members))]
    g.add("Concat", rows, "members", axis=1)
    g.add("ReduceMean", ["members"], "logits", axes=[1], keepdims=0)
    g.add("Softmax", ["logits"], "probabilities", axis=1)
    shown = [f"members.{place}.features" for place in range(featured)]
    g.add("Concat", shown, "features", axis=1)
    width, classes = members[0]["dense.bias"].size, members[0]["output.bias"].size
    return g.model(
        "ensemble",
        [_value("rois", ["n", 1, 64, 64])],
        [
            _value("probabilities", ["n", classes]),
            _value("logits", ["n", classes]),
            _value("features", ["n", featured * width]),
            _value("members", ["n", len(members), classes]),
        ],
    )


def _cnn(g: _Graph, tensors: Tensors, prefix: str = "") -> None:
    """From ``rois`` to ``features`` and ``logits``, each behind ``prefix``."""

    def constant(name: str, value: npt.ArrayLike) -> str:
        return g.constant(prefix + name, value)

    def add(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        return g.add(operator, inputs, prefix + output, **attributes)

    half = constant("half", 0.5)
    offset = constant("offset", 0.5 - tensors["mean"].item())
    x = add("Add", [add("Mul", ["rois", half], "halved"), offset], "centred")
    for name in ("conv1", "conv2", "conv3"):
        weight = constant(f"{name}.weight", tensors[f"{name}.weight"])
        bias = constant(f"{name}.bias", tensors[f"{name}.bias"])
        x = add("Conv", [x, weight, bias], name, kernel_shape=[3, 3])
        x = add("Relu", [x], f"{name}.relu")
        x = add("MaxPool", [x], f"{name}.pooled", kernel_shape=[2, 2], strides=[2, 2])
    x = add("Flatten", [x], "flat", axis=1)
    for name, output in (("dense", "dense.out"), ("output", "logits")):
        weight = constant(f"{name}.weight", tensors[f"{name}.weight"])
        bias = constant(f"{name}.bias", tensors[f"{name}.bias"])
        x = add("Gemm", [x, weight, bias], output, transB=1)
        if name == "dense":
            x = add("Relu", [x], "features")


def generator(tensors: Tensors) -> bytes:
    """ONNX of a ``networks.dcgan.Generator`` with the statistics it was given (evaluation mode).

    Input ``latents`` (n, latent) in [-1, 1]; output ``rois`` (n, 1, 64, 64) in [-1, 1].
    """
    g = _Graph()
    scale, shift = _folded(tensors, "norms.0")
    channels = scale.size
    dense = tensors["dense.weight"] * np.repeat(scale, 16)[:, None]
    x = g.add(
        "Gemm",
        [
            "latents",
            g.constant("dense.weight", dense),
            g.constant("dense.bias", np.repeat(shift, 16)),
        ],
        "dense",
        transB=1,
    )
    grid = g.constant("grid", [-1, channels, 4, 4], np.int64)
    x = g.add("Relu", [g.add("Reshape", [x, grid], "dense.grid")], "dense.relu")
    g.constant("pad", [0, 0, 0, 0, 0, 0, 1, 1], np.int64)
    # For output row 2q + p, tap t of three meets row 4 + p − 2t of the 5 × 5 kernel; row 5 is zero.
    g.constant("taps", [4, 5, 2, 3, 0, 1], np.int64)
    layers = sum(name.startswith("ups.") and name.endswith(".weight") for name in tensors)
    for i in range(layers):
        weight = tensors[f"ups.{i}.weight"]
        into, out = weight.shape[:2]
        if i + 1 < layers:
            scale, shift = _folded(tensors, f"norms.{i + 1}")
        else:
            scale, shift = np.ones(out), tensors[f"ups.{i}.bias"].astype(np.float64)
        kernel = g.constant(f"ups.{i}.weight", weight * scale[None, :, None, None])
        kernel = g.add("Pad", [kernel, "pad"], f"ups.{i}.padded")
        kernel = g.add("Gather", [kernel, "taps"], f"ups.{i}.rows", axis=2)
        kernel = g.add("Gather", [kernel, "taps"], f"ups.{i}.columns", axis=3)
        split = g.constant(f"ups.{i}.split", [into, out, 3, 2, 3, 2], np.int64)
        kernel = g.add("Reshape", [kernel, split], f"ups.{i}.phases")
        kernel = g.add("Transpose", [kernel], f"ups.{i}.turned", perm=[1, 3, 5, 0, 2, 4])
        joined = g.constant(f"ups.{i}.joined", [4 * out, into, 3, 3], np.int64)
        kernel = g.add("Reshape", [kernel, joined], f"ups.{i}.kernel")
        bias = g.constant(f"ups.{i}.bias", np.repeat(shift, 4))
        x = g.add("Conv", [x, kernel, bias], f"ups.{i}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        last = i + 1 == layers
        # activation first: the convolution and it become one kernel
        x = g.add("Tanh" if last else "Relu", [x], f"ups.{i}.active")
        x = g.add("DepthToSpace", [x], "rois" if last else f"ups.{i}.up", blocksize=2, mode="CRD")
    return g.model(
        "generator",
        [_value("latents", ["n", tensors["dense.weight"].shape[1]])],
        [_value("rois", ["n", 1, 64, 64])],
    )


def of_class(kind: GeneratorKind, tensors: Tensors, position: int, data: float) -> bytes:
    """ONNX of a generator of any kind for one class.

    Args:
        position: of the class; a DCGAN draws one class alone.
        data: as ``denoiser``'s.
    """
    match kind:
        case GeneratorKind.DCGAN:
            return generator(tensors)
        case GeneratorKind.ACGAN:
            return embedded(tensors, position)
        case GeneratorKind.CGAN:
            return conditional(tensors, position)
        case GeneratorKind.DIFFUSION:
            return denoiser(tensors, position, data)


def embedded(tensors: Tensors, position: int) -> bytes:
    """ONNX of a ``networks.acgan.Generator`` for one class: there it is a DCGAN's generator.

    The class's embedding multiplies the latent vector, so it is taken into the first weights.

    Args:
        position: of the class.
    """
    own = {
        name.removeprefix("body."): array
        for name, array in tensors.items()
        if name.startswith("body.")
    }
    own["dense.weight"] = own["dense.weight"] * tensors["embedding.weight"][position]
    return generator(own)


def conditional(tensors: Tensors, position: int) -> bytes:
    """ONNX of a ``networks.cgan.Generator`` for one class: there it is a DCGAN's generator.

    Args:
        position: of the class.
    """
    own = {name.removeprefix("body."): array for name, array in tensors.items()}
    for layer in range(sum(name.startswith("scales.") for name in tensors)):
        own[f"norms.{layer}.weight"] = tensors[f"scales.{layer}.weight"][position]
        own[f"norms.{layer}.bias"] = tensors[f"shifts.{layer}.weight"][position]
    return generator(own)


def denoiser(tensors: Tensors, position: int, data: float) -> bytes:
    """ONNX of a ``networks.edm.Denoiser`` for one class.

    Inputs ``noisy`` (n, 1, 64, 64) and ``sigma`` (n,), the noise's standard deviation; output
    ``rois`` (n, 1, 64, 64), what is under the noise on average.

    Args:
        position: of the class.
        data: standard deviation of ROIs that the preconditioning assumes.
    """
    return _Denoiser(tensors, position, data).model()


class _Denoiser:
    """Node by node what ``networks.edm`` computes; method by method the same names."""

    def __init__(self, tensors: Tensors, position: int, data: float) -> None:
        self.tensors, self.position, self.data = tensors, position, data
        self.g = _Graph()
        self.count = 0

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.count += 1
        return self.g.add(operator, inputs, f"{operator.lower()}.{self.count}", **attributes)

    def number(self, value: npt.ArrayLike, dtype: type[Any] = np.float32) -> str:
        self.count += 1
        return self.g.constant(f"constant.{self.count}", value, dtype)

    def trained(self, name: str) -> str:
        return self.g.constant(name, self.tensors[name])

    def model(self) -> bytes:
        levels = self.number([-1, 1, 1, 1], np.int64)
        sigma = self.add("Reshape", ["sigma", levels])
        square, of_data = self.add("Mul", [sigma, sigma]), self.number(self.data**2)
        whole = self.add("Add", [square, of_data])
        root = self.add("Sqrt", [whole])
        skip = self.add("Div", [of_data, whole])
        out = self.add("Div", [self.add("Mul", [sigma, self.number(self.data)]), root])
        quarter = self.add("Mul", [self.add("Log", [sigma]), self.number(0.25)])
        noise = self.add("Reshape", [quarter, self.number([-1, 1], np.int64)])
        found = self.network(self.add("Div", ["noisy", root]), noise)
        parts = [self.add("Mul", [skip, "noisy"]), self.add("Mul", [out, found])]
        self.g.add("Add", parts, "rois")
        return self.g.model(
            "denoiser",
            [_value("noisy", ["n", 1, 64, 64]), _value("sigma", ["n"])],
            [_value("rois", ["n", 1, 64, 64])],
        )

    def network(self, x: str, noise: str) -> str:
        angles = self.add("Mul", [noise, self.trained("angles")])
        level = self.add("Concat", [self.add("Sin", [angles]), self.add("Cos", [angles])], axis=1)
        level = self.linear(self.silu(self.linear(level, "level1")), "level2")
        of_class = self.number(self.tensors["classes.weight"][self.position][None])
        told = self.silu(self.add("Add", [level, of_class]))
        high = self.block(self.conv(self.halved(x), "enter"), told, "down32")
        middle = self.block(self.conv(high, "to16", 2), told, "down16")
        low = self.block(self.conv(middle, "to8", 2), told, "low1")
        low = self.conv(self.doubled(self.block(low, told, "low2")), "from8")
        middle = self.block(self.add("Concat", [low, middle], axis=1), told, "up16")
        middle = self.conv(self.doubled(middle), "from16")
        high = self.block(self.add("Concat", [middle, high], axis=1), told, "up32")
        left = self.conv(self.silu(self.norm(high, "norm")), "leave")
        return self.add("DepthToSpace", [left], blocksize=2, mode="CRD")

    def block(self, x: str, told: str, name: str) -> str:
        places = self.number([0, -1, 1, 1], np.int64)
        both = self.add("Reshape", [self.linear(told, f"{name}.told"), places])
        half = self.tensors[f"{name}.conv2.bias"].size
        scale, shift = (
            self.add(
                "Slice",
                [both, *(self.number([end], np.int64) for end in (first, first + half, 1))],
            )
            for first in (0, half)
        )
        y = self.conv(self.silu(self.norm(x, f"{name}.norm1")), f"{name}.conv1")
        y = self.norm(y, f"{name}.norm2")
        y = self.add("Mul", [y, self.add("Add", [scale, self.number(1.0)])])
        y = self.conv(self.silu(self.add("Add", [y, shift])), f"{name}.conv2")
        if f"{name}.skip.weight" in self.tensors:
            x = self.conv(x, f"{name}.skip")
        return self.add("Add", [x, y])

    def norm(self, x: str, name: str) -> str:
        """Group normalisation, which opset 17 has not: each group as one channel."""
        channels = self.tensors[f"{name}.weight"].size
        groups = groups_of(channels)
        flat = self.add("Reshape", [x, self.number([0, groups, -1], np.int64)])
        ends = [self.number(np.ones(groups)), self.number(np.zeros(groups))]
        even = self.add("InstanceNormalization", [flat, *ends], epsilon=_EPSILON)
        back = self.add("Reshape", [even, self.add("Shape", [x])])
        scale, shift = (
            self.g.constant(f"{name}.{part}", self.tensors[f"{name}.{part}"][:, None, None])
            for part in ("weight", "bias")
        )
        return self.add("Add", [self.add("Mul", [back, scale]), shift])

    def conv(self, x: str, name: str, stride: int = 1) -> str:
        side = self.tensors[f"{name}.weight"].shape[-1]
        return self.add(
            "Conv",
            [x, self.trained(f"{name}.weight"), self.trained(f"{name}.bias")],
            kernel_shape=[side, side],
            pads=[side // 2] * 4,
            strides=[stride, stride],
        )

    def linear(self, x: str, name: str) -> str:
        return self.add(
            "Gemm", [x, self.trained(f"{name}.weight"), self.trained(f"{name}.bias")], transB=1
        )

    def silu(self, x: str) -> str:
        return self.add("Mul", [x, self.add("Sigmoid", [x])])

    def halved(self, x: str) -> str:
        """Two by two pixels as channels; SpaceToDepth orders those of one channel alike."""
        return self.add("SpaceToDepth", [x], blocksize=2)

    def doubled(self, x: str) -> str:
        return self.add(
            "Resize",
            [x, "", self.number([1, 1, 2, 2])],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )


def _folded(tensors: Tensors, norm: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Batch normalisation in evaluation mode as a scale and a shift per channel."""
    variance = tensors[f"{norm}.running_var"].astype(np.float64)
    scale = tensors[f"{norm}.weight"] / np.sqrt(variance + _EPSILON)
    return scale, tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
