"""A checkpoint's folder, written: its files, its card, and what its owner typed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ml.checkpoints.card import exports, making, network, words
from ml.checkpoints.card.words import OwnersWords
from ml.checkpoints.checkpoint import (
    FILES,
    LESIONS_FILE,
    TRUST_FILE,
    Checkpoint,
    tensors_to_bytes,
)
from ml.checkpoints.metrics import Metrics
from ml.progress import RunDir
from ml.trust.lesions import Lesions
from ml.trust.record import Trust

CARD = "CARD.md"


def save(
    checkpoint: Checkpoint,
    root: str | Path,
    onnx: bytes,
    weights: Mapping[str, npt.NDArray[Any]],
    said: OwnersWords | None = None,
    trust: Trust | None = None,
    lesions: Lesions | None = None,
) -> Checkpoint:
    """Write the folder, ``checkpoint.json`` last; gives the checkpoint with ``root`` and digests.

    Args:
        said: what the owner typed; ``words.json`` holds it where it is anything.
        trust: what a classifier's answers are made with besides its network.
        lesions: of its data set, for cases to be compared with.

    Raises:
        OutputError: the system did not let a file be written.
    """
    files = dict(zip(FILES, (onnx, tensors_to_bytes(weights)), strict=True))
    if trust is not None:
        files[TRUST_FILE] = tensors_to_bytes(trust.tensors())
    if lesions is not None:
        files[LESIONS_FILE] = tensors_to_bytes(lesions.tensors())
    digests = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    figures = None if trust is None else trust.figures
    told = None if lesions is None else lesions.record()
    saved = replace(checkpoint, root=Path(root), digests=digests, trust=figures, lesions=told)
    folder = RunDir(Path(root))
    for file, data in files.items():
        folder.write_bytes(file, data)
    if said is not None and said.typed:
        folder.write_bytes(words.FILE, words.dumped(said))
    folder.write_bytes(CARD, _card(saved, said, network.of(onnx, weights)))
    folder.write_json("checkpoint.json", saved.to_dict())
    return saved


def say(root: str | Path, said: OwnersWords) -> None:
    """Put the owner's words beside a checkpoint, and write its card anew with them.

    Raises:
        CheckpointError: the folder holds no whole checkpoint.
        OutputError: the system did not let a file be written.
    """
    folder = RunDir(Path(root))
    card = making.of_folder(root, said)
    folder.write_bytes(words.FILE, words.dumped(said))
    folder.write_bytes(CARD, exports.written(card, exports.Format.MARKDOWN))


def measure(root: str | Path, metrics: Metrics) -> None:
    """Put what was measured anew into a checkpoint, and write its card with it.

    The network and its digests stay as they are.

    Raises:
        CheckpointError: the folder holds no whole checkpoint.
        OutputError: the system did not let a file be written.
    """
    measured = replace(Checkpoint.load(root), metrics=metrics)
    folder = RunDir(Path(root))
    folder.write_json("checkpoint.json", measured.to_dict())
    card = making.of_folder(root, None)
    folder.write_bytes(CARD, exports.written(card, exports.Format.MARKDOWN))


def _card(saved: Checkpoint, said: OwnersWords | None, files: network.Network) -> bytes:
    return exports.written(making.card(saved, said, files), exports.Format.MARKDOWN)
