"""Which kind of generator is shipped: that whose lesions are nearest to lesions none of them saw.

Nearest to patients of a cohort of their own: neither trained on nor among the held-out lesions that
a card's figures are of, so that what is told of the shipped ones is not what they were chosen by.
One kind for all classes, so that nothing of how a picture was made tells its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml import config
from ml.checkpoints import saving, serving
from ml.checkpoints.checkpoint import Checkpoint, CheckpointError
from ml.checkpoints.metrics import GeneratorMetrics
from ml.config import FURTHER, GeneratorKind
from ml.dataset.folds import Fold, patient_folds
from ml.dataset.manifest import Line, Manifest
from ml.dataset.measured import window_of
from ml.training import enough, gan, likened

Pixels = npt.NDArray[np.float32]

KINDS = (GeneratorKind.DCGAN, *FURTHER)
"""Those that leave checkpoints; the first of equals is chosen."""
JOINT = tuple(kind.value for kind in FURTHER)
"""Those of one training for all classes."""
SEED = 7_600_000
"""Of the patients that they are compared with; no data set's, and none's by which more is told."""
OTHERS = 100
"""Lesions of each class."""
_AT_ONCE = 16
_CHOSEN = "Chosen among"


@dataclass(frozen=True)
class Nearest:
    """The kind that was chosen, and how far each is.

    Attributes:
        far: Fréchet radiomic distance of each kind, the mean over the classes.
        lesions: that it was told by; ``patients``: whose they are.
        collapsed: kinds of which a training collapsed in every attempt, so that they are not told.
    """

    kind: GeneratorKind
    far: Mapping[GeneratorKind, float]
    lesions: int
    patients: int
    collapsed: tuple[GeneratorKind, ...] = ()

    @property
    def words(self) -> str:
        """What was chosen, and by what, in a sentence."""
        told = ", ".join(f"{_WORDS[kind]} {far:.0f}" for kind, far in self.far.items())
        gone = " and ".join(_WORDS[kind] for kind in self.collapsed)
        but = f", of which {gone} collapsed in every attempt" if gone else ""
        return (
            f"{_CHOSEN} {len(self.far) + len(self.collapsed)} kinds of generators, each trained as "
            f"this one was{but}: its lesions are nearest to {self.lesions} lesions of "
            f"{self.patients} other patients, whom no training saw and no other figure is of "
            f"(Fréchet radiomic distance, mean over the classes: {told})."
        )

    def say(self, root: Path) -> None:
        """Write it into a checkpoint and its card; once, however often it is said."""
        metrics = Checkpoint.load(root).metrics
        if not isinstance(metrics, GeneratorMetrics):
            raise CheckpointError(f"{root} holds no generator.")
        others = [one for one in metrics.notes or () if not one.startswith(_CHOSEN)]
        saving.measure(root, replace(metrics, notes=(*others, self.words)))


_WORDS: Mapping[GeneratorKind, str] = {GeneratorKind.DCGAN: "DCGANs", **enough.NAMES}


def opened(root: Path) -> serving.Generator:
    """The generator of a folder.

    Raises:
        CheckpointError: it holds none.
    """
    found = serving.load(root)
    if not isinstance(found, serving.Generator):
        raise CheckpointError(f"{root} holds no generator.")
    return found


def fold_of(generator: serving.Generator, manifest: Manifest) -> Fold:
    """What it was trained and is tested on, of its data set."""
    settings: config.Config = config.load(generator.meta.config)
    return patient_folds(manifest, settings.folds, settings.seed)[settings.test_fold]


def of(
    made: Mapping[GeneratorKind, Mapping[str, Path]],
    manifest: Manifest,
    others: Manifest,
    collapsed: tuple[GeneratorKind, ...] = (),
) -> Nearest:
    """The kind to ship.

    Args:
        made: of each kind its checkpoints, by class.
        manifest: what they were trained on; ``others``: the lesions they are compared with.
        collapsed: kinds that left none.
    """
    far = {
        kind: float(np.mean([_far(root, manifest, others) for root in of_class.values()]))
        for kind, of_class in made.items()
    }
    kind = min(far, key=lambda one: far[one])
    return Nearest(kind, far, len(others.lines), len(others.patients), collapsed)


def _far(root: Path, manifest: Manifest, others: Manifest) -> float:
    generator = opened(root)
    window, key = generator.meta.window_hu, str(generator.meta.lesion_class)
    samples = np.concatenate(
        [generator.draw(range(first, first + _AT_ONCE)) for first in range(0, gan.DRAWN, _AT_ONCE)]
    )

    def rois(of: Manifest, lines: Iterable[Line]) -> Pixels:
        return np.stack([of.roi(line, window) for line in lines])

    return likened.distance(
        samples,
        rois(manifest, fold_of(generator, manifest).train.only(key)),
        rois(others, (line for line in others.lines if line.lesion_class == key)),
        window_of(manifest, window),
    )
