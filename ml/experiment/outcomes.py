"""What a task says at its end: ``result.json`` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ml.ground.records import json_key, merged
from ml.training.learned import GeneratorTraining


@dataclass(frozen=True)
class Missing:
    """Why something was not measured."""

    missing: str


@dataclass(frozen=True)
class Collapsed:
    """A training that gave nothing, and why."""

    failed: str


@dataclass(frozen=True)
class GeneratorOutcome:
    """Of one generator: whom it saw, and how it fared.

    Attributes:
        kind: ``dcgan`` or ``acgan``.
        lesion_class: None for one of all classes.
        lesions: that it was trained on …
        rois: … and their views.
    """

    kind: str
    lesion_class: str | None = field(metadata=json_key("class"))
    part: str
    fold: int
    seed: int
    patients: tuple[str, ...]
    lesions: int
    rois: int
    fared: Collapsed | GeneratorTraining = field(metadata=merged())


@dataclass(frozen=True)
class ClassifierOutcome:
    """Of one classifier: how it was trained, or why it was not.

    Nothing is told of an ACGAN's discriminator, which was trained with its generator.
    ``measurements``: how many the simple model learned from, ``with_size``: whether the size is one
    of them; None for a network.
    """

    failed: str | None = None
    rois: int | None = None
    steps: int | None = None
    epochs: int | None = None
    measurements: int | None = None
    with_size: bool | None = None


@dataclass(frozen=True)
class NearestPair:
    """A synthetic ROI and the training ROI that is nearest to it.

    Attributes:
        roi: the number of the synthetic one, within its class.
        distance: root mean square difference.
        training_line: id of the lesion, and which of its views.
        symmetry: under which of the 8 they are nearest.
        flagged: nearer than held-out lesions mostly are.
    """

    lesion_class: str = field(metadata=json_key("class"))
    roi: int
    distance: float
    training_line: str
    training_view: int
    symmetry: int
    flagged: bool


@dataclass(frozen=True)
class Distances:
    """Distances to the nearest training ROI, of synthetic ROIs and of held-out lesions.

    Attributes:
        threshold: synthetic ROIs below it are flagged.
        nearer_to_training: share of synthetic ROIs nearer to training than to held-out lesions.
    """

    synthetic: tuple[float, ...]
    held_out: tuple[float, ...]
    threshold: float
    flagged: int
    nearer_to_training: float
    nearest_pairs: tuple[NearestPair, ...]


@dataclass(frozen=True)
class Measurement:
    """Of one kind of ROIs in one fold; ``memorisation``: by space, of synthetic ROIs alone."""

    rois: int
    held_out: int
    memorisation: Mapping[str, Distances] | None = None
