"""Lesions of a data set as a checkpoint keeps them, and checkpoints that keep some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

import trust_lesions
from ml.checkpoints import saving
from ml.checkpoints.checkpoint import WEIGHTS, Checkpoint
from ml.checkpoints.serving import Classifier
from ml.images.ct_slice import ImageKind
from ml.trust.lesions import NO_PICTURES, Lesions, pictured

NAME = "phantom-kept"


@cache
def network() -> Classifier:
    """The shipped classifier, without what it is trusted by."""
    meta = Checkpoint.load(WEIGHTS / "phantom-cnn")
    return Classifier(meta.onnx(), meta)


@cache
def lesions(each: int = 8, seed: int = 0) -> Lesions:
    """``each`` disc of every class; the last third of each held out. Every sixth is named wrongly,
    the farther back the surer."""
    made = trust_lesions.lesions(each, seed)
    n = len(made.labels)
    place = np.tile(np.arange(each), 3)
    said = np.full((n, 3), 0.1)
    said[np.arange(n), made.labels] = 0.8
    for row in range(0, n, 6):
        sure = 0.5 + 0.4 * row / n
        said[row] = (1 - sure) / 2
        said[row, (made.labels[row] + 1) % 3] = sure
    return Lesions(
        ids=tuple(f"{row + 1:04}" for row in range(n)),
        patients=tuple(f"PHANTOM-{name}" for name in made.patients),
        labels=made.labels,
        trained=place < each * 2 // 3,
        features=network().outputs(made.rois).features.astype(np.float16),
        said=said.astype(np.float32),
        calibrated=True,
        measured=made.measured,
        classes=trust_lesions.CLASSES,
        pictures=pictured(made.rois),
    )


def without_pictures(kept: Lesions) -> Lesions:
    """As of patients: numbered, and no picture."""
    numbers = {name: f"patient {i:03}" for i, name in enumerate(dict.fromkeys(kept.patients), 1)}
    named = tuple(numbers[one] for one in kept.patients)
    return replace(kept, patients=named, pictures=(), no_pictures=NO_PICTURES)


def saved(
    root: Path,
    kept: Lesions | None,
    *,
    name: str = NAME,
    kind: ImageKind = ImageKind.PHANTOM,
    digest: str = "",
) -> Path:
    """A folder with the shipped network under another name, and these lesions.

    Args:
        digest: of the data set that it says it was trained on; "": as the shipped one has it.
    """
    shipped = Checkpoint.load(WEIGHTS / "phantom-cnn")
    told = replace(
        shipped,
        name=name,
        training_kind=kind,
        dataset_digest=digest or shipped.dataset_digest,
        trust=None,
        lesions=None,
    )
    saving.save(told, root, shipped.onnx(), shipped.weights(), lesions=kept)
    return root


def named(kept: Lesions, ids: Sequence[str]) -> Lesions:
    """The first of them, under other ids."""
    n = len(ids)
    return Lesions(
        tuple(ids), kept.patients[:n], kept.labels[:n], np.ones(n, bool), kept.features[:n],
        kept.said[:n], kept.calibrated, kept.measured.rows(range(n)), kept.classes,
        kept.pictures[:n], kept.no_pictures,
    )  # fmt: skip
