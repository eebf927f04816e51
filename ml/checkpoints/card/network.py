"""What the files of a network say of it: how many numbers, which opset, how large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ml.checkpoints.checkpoint import Checkpoint

_OPSETS, _DOMAIN, _VERSION = 8, 1, 2
"""Numbers of ``ModelProto.opset_import`` and of ``OperatorSetIdProto``'s fields (onnx.proto)."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Network:
    """Of the two files of a network.

    Attributes:
        n_weights: numbers in ``weights.safetensors``.
        onnx_bytes: size of ``model.onnx``.
        opset: version of ONNX's own operators that it asks for; None where it does not say.
    """

    n_weights: int
    onnx_bytes: int
    opset: int | None


def of(onnx: bytes, weights: Mapping[str, npt.NDArray[Any]]) -> Network:
    """What they say."""
    return Network(
        n_weights=sum(int(tensor.size) for tensor in weights.values()),
        onnx_bytes=len(onnx),
        opset=opset(onnx),
    )


def of_folder(checkpoint: Checkpoint) -> Network | None:
    """Of a checkpoint that was loaded from a folder; None for another.

    Raises:
        CheckpointError: a file is missing, or changed since training.
    """
    if checkpoint.root is None:
        return None
    return of(checkpoint.onnx(), checkpoint.weights())


def opset(onnx: bytes) -> int | None:
    """The version of ONNX's own operators in a serialised ``ModelProto``; None for none of it.

    Read by hand (protocol buffers' wire format), as serving does without the package ``onnx``.
    """
    try:
        for number, value in _fields(onnx):
            if number == _OPSETS and isinstance(value, bytes):
                found = dict(_fields(value))
                version = found.get(_VERSION)
                if found.get(_DOMAIN, b"") in (b"", b"ai.onnx") and isinstance(version, int):
                    return version
    except (IndexError, ValueError):
        return None
    return None


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """(number, value) of a message's fields; ValueError or IndexError when it is none."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            found.append((number, value))
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(kind)
        if at + length > len(data):
            raise ValueError(length)
        found.append((number, data[at : at + length]))
        at += length
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(shift)
