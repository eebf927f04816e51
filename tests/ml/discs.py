"""A small data set that trains in seconds: dark discs and rings on noisy slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ml.config import Augment, Classifier, Experiment, Gan
from ml.dataset.manifest import Finding, Manifest
from ml.dataset.writing import write
from ml.images.roi import Box
from ml.lesion import LesionClass, LesionScheme
from ml.progress import RunDir

TWO = LesionScheme("two", (LesionClass("dark", "dark disc"), LesionClass("ring", "ring")))
_GAN = Gan(
    width=2,
    discriminator_width=2,
    latent=8,
    epochs=2,
    batch=8,
    learning_rate=2e-3,
    ema=0.5,
    sheet_every=2,
    collapse_spread=1e-6,
    collapse_correlation=1e-6,
)
TINY = Experiment(
    folds=2,
    classic=(10, 20),
    base=20,
    synthetic=(4, 8),
    visual_words=(4, 8),
    augment=Augment(rotations=4),
    gan=_GAN,
    acgan=_GAN,
    classifier=Classifier(epochs=2, batch=16, learning_rate=0.02, features=8, width=2),
    fresh_lesions=12,
    oracle_lesions=12,
    fidelity_rois=10,
    resamples=200,
    device="cpu",
)
SMALL = replace(TINY, classic=(10,), base=10, synthetic=(4,), visual_words=(), fidelity_rois=10)
WHOLE = replace(SMALL, folds=3)
"""Settings of the one whole run that the tests share (``finished``)."""
BARELY = (
    "--set folds=2 augment.per_fold=4 augment.rotations=1 gan.epochs=1 gan.width=1 "
    "gan.discriminator_width=1 gan.latent=2 gan.batch=2 classifier.epochs=1 classifier.width=1 "
    "classifier.features=2"
)
"""Settings of the commands ``classifier`` and ``gan`` with which they make a few steps."""
WORK = """
import sys
from ml import config
from tests.ml.discs import SMALL
config.experiment = lambda name: SMALL
from app.__main__ import main
sys.exit(main(["work", "--once", "--jobs", "1"]))
"""
"""``python -m app work`` for a process of its own, with presets that take seconds."""


def findings(
    patients: int, each: int = 2, seed: int = 0, kind: str = "calibrated"
) -> list[Finding]:
    """``each`` lesions per patient; even patients have discs, odd ones rings."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:100, :100]
    found = []
    for i in range(patients):
        for _ in range(each):
            centre = rng.uniform(45, 55, 2)
            radius = rng.uniform(8, 13)
            distance = np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1])
            inside = distance < radius
            if i % 2:
                inside &= distance > 0.6 * radius
            pixels = (100 - 90 * inside + rng.normal(0, 10, x.shape)).astype(np.int16)
            found.append(
                Finding(
                    pixels=pixels,
                    kind=kind,
                    lesion_class=TWO.keys[i % 2],
                    patient=f"p{i}",
                    file=f"{i}.dcm",
                    box=Box.centred(centre[0], centre[1], 2 * radius, 2 * radius),
                    spacing_mm=(0.7, 0.7),
                )
            )
    return found


def finished(folder: Path) -> None:
    """A whole run of one seed with ``WHOLE``: its data set in ``data``, what it left in ``run``."""
    from ml.experiment import run as experiment

    manifest = data_set(folder / "data")
    list(experiment.run(WHOLE, manifest, RunDir(folder / "run"), jobs=1))


def data_set(folder: Path, patients: int = 18, each: int = 2) -> Manifest:
    made = findings(patients, each)
    list(write(made, len(made), TWO, folder))
    return Manifest.load(folder)
