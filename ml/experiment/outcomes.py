"""What a task says at its end: ``result.json`` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ml.experiment.tissue.made import Made
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
        kind: one of ``GeneratorKind``.
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
class PastedOutcome:
    """Of one class: phantom lesions in real tissue whose ROIs a run trains on and measures.

    Attributes:
        slices, patients: in whose tissue they are.
        made: of all that were pasted.
    """

    lesion_class: str = field(metadata=json_key("class"))
    rois: int
    slices: tuple[str, ...]
    patients: tuple[str, ...]
    made: Made


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
        symmetry: under which of the 8 they are nearest; None where any turn and shift counts.
        flagged: nearer than held-out lesions mostly are.
    """

    lesion_class: str = field(metadata=json_key("class"))
    roi: int
    distance: float
    training_line: str
    training_view: int
    symmetry: int | None
    flagged: bool


@dataclass(frozen=True)
class Distances:
    """Distances to the nearest training ROI, of synthetic ROIs and of held-out lesions.

    Attributes:
        threshold: over all classes; of earlier runs synthetic ROIs below it are flagged.
        nearer_to_training: share of synthetic ROIs nearer to training than to held-out lesions.
        thresholds: by class, synthetic ROIs below their own are flagged; a class of which nothing
            was held out has none, and nothing of it is flagged. None of earlier runs.
        nearer_than_any: synthetic ROIs nearer than every held-out lesion of their class.
    """

    synthetic: tuple[float, ...]
    held_out: tuple[float, ...]
    threshold: float
    flagged: int
    nearer_to_training: float
    nearest_pairs: tuple[NearestPair, ...]
    thresholds: Mapping[str, float] | None = None
    nearer_than_any: int | None = None


@dataclass(frozen=True)
class Twins:
    """Of one class: ROIs so like another one of their own set as few real ones are.

    As many of either; like: 1 − correlation whatever shift, turn and mirror (`copies`).

    Attributes:
        synthetic: share of synthetic ROIs with a nearer twin than 95 % of real ROIs have.
        median, median_real: of the gap to the twin.
    """

    lesion_class: str = field(metadata=json_key("class"))
    rois: int
    synthetic: float
    median: float
    median_real: float


@dataclass(frozen=True)
class Measurement:
    """Of one kind of ROIs in one fold.

    Attributes:
        memorisation: by space, of synthetic ROIs alone.
        twins: by class, of synthetic ROIs alone; None of earlier runs.
    """

    rois: int
    held_out: int
    memorisation: Mapping[str, Distances] | None = None
    twins: tuple[Twins, ...] | None = None
