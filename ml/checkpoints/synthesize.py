"""Synthetic ROIs in a folder: PNG for eyes, lines for programs. ONNX Runtime and NumPy only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from ml.checkpoints.checkpoint import Checkpoint, CheckpointError
from ml.checkpoints.drawn import Drawn
from ml.checkpoints.serving import Generator, latent
from ml.dataset.manifest import Line, Source, sha256_of
from ml.images import roi
from ml.progress import Progress, RunDir, whole

_TOLD_EVERY = 25


def draw(
    checkpoint: str | Path,
    count: int,
    seed: int,
    out: str | Path,
    truncation: float = 1.0,
) -> Iterator[Progress]:
    """Draw the ROIs of seeds ``seed`` … ``seed + count − 1``; the same seed, the same picture.

    Writes ``out``: ``rois/<name>-<seed>.png`` (8-bit grey, 64 × 64), ``lines.jsonl`` (one line
    per ROI: a data set's Line with its checkpoint and the SHA-256 of its file) and, last,
    ``synthesis.json`` (what drew them).

    Raises:
        CheckpointError: not a generator, no ROI asked for, or a seed out of range.
        OutputError: ``out`` is not empty, or cannot be written; then nothing is left there.
    """
    if count < 1:
        raise CheckpointError(f"{count} synthetic ROIs cannot be drawn; ask for at least one.")
    for end in (seed, seed + count - 1):
        latent(end, 1)
    meta = Checkpoint.load(checkpoint)
    generator = Generator(meta.onnx(), meta)
    target = Path(out)
    with whole(target) as partial:
        yield from _draw_into(
            RunDir(partial), generator, meta, range(seed, seed + count), truncation
        )
    yield Progress(count, count, f"drew {count} synthetic ROIs into {target}")


def _draw_into(
    folder: RunDir, generator: Generator, meta: Checkpoint, seeds: range, truncation: float
) -> Iterator[Progress]:
    count = len(seeds)
    lines: list[str] = []
    for i, seed in enumerate(seeds):
        name = f"{meta.name}-{seed}"
        pixels = generator.draw([seed], truncation)[0]
        png = Drawn(
            checkpoint=meta.name,
            digest=meta.digests.get("model.onnx", ""),
            lesion_class=str(meta.lesion_class or "any"),
            training_kind=meta.training_kind,
            window_hu=meta.window_hu,
            seed=seed,
            truncation=truncation,
        ).png(pixels)
        file = f"rois/{name}.png"
        folder.write_bytes(file, png)
        line = Line(
            id=str(seed),
            file=file,
            lesion_class=str(meta.lesion_class),
            patient="",
            source=Source.SYNTHETIC,
            box=roi.whole(*pixels.shape),
            spacing_mm=None,
            diameter_mm=None,
            seed=seed,
            sha256=sha256_of(pixels),
            surroundings=False,
        )
        told = {"checkpoint": meta.name, "file_sha256": hashlib.sha256(png).hexdigest()}
        lines.append(json.dumps({**line.to_dict(), **told}) + "\n")
        if i % _TOLD_EVERY == 0:
            yield Progress(i + 1, count, f"drawn {i + 1} of {count}")
    folder.write_bytes("lines.jsonl", "".join(lines).encode())
    folder.write_json(
        "synthesis.json",
        {
            "checkpoint": meta.to_dict(),
            "count": count,
            "first_seed": seeds[0],
            "truncation": truncation,
            "warning": "synthetic ROIs: no patient, no scale in millimetres",
        },
    )
