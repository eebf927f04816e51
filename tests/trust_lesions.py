"""Measured lesions of three classes that a person could tell apart, and of as many as one wants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.images import quick
from ml.images.measurements import Measured

WINDOW = (-150.0, 250.0)
CLASSES = ("cyst", "metastasis", "hemangioma")
_INSIDE, _GRAIN = (10.0, 60.0, 80.0), (8.0, 18.0, 30.0)


@dataclass(frozen=True)
class Lesions:
    rois: np.ndarray
    measured: Measured
    labels: np.ndarray
    patients: list[str]


def lesions(each: int = 20, seed: int = 0, classes: int = 3, spread: float = 12.0) -> Lesions:
    """``each`` of every class, two of a patient; a disc of its class's mean and grain."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    at = np.arange(64) - 31.5
    inside = np.hypot(*np.meshgrid(at, at)) < 32 / 1.56
    level = np.asarray(_INSIDE)[labels % 3] + rng.normal(0, spread, len(labels))
    grain = np.asarray(_GRAIN)[labels % 3] * rng.uniform(0.8, 1.2, len(labels))
    hu = np.where(inside, level[:, None, None], rng.normal(105, 8, (len(labels), 1, 1)))
    hu = hu + rng.normal(0, 1, hu.shape) * np.where(inside, grain[:, None, None], 12)
    rois = np.clip((hu + 150) / 200 - 1, -1, 1).astype(np.float32)
    sizes = rng.uniform(12, 60, len(labels)).tolist()
    patients = [f"{label}-{i // 2}" for label in range(classes) for i in range(each)]
    return Lesions(rois, quick.measure(rois, WINDOW, sizes), labels, patients)
