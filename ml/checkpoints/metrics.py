"""What was measured of a checkpoint: the ``metrics`` of its ``checkpoint.json``.

Whatever may be None was not measured, or not written down by the version that trained it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.ground.records import from_json
from ml.statistics.classification import Score, repaired
from ml.statistics.figure import Figure


@dataclass(frozen=True)
class TrainedOn:
    """How many lesions of how many patients a network was trained on."""

    n_lesions: int
    n_patients: int


@dataclass(frozen=True)
class HeldOutScore:
    """A classifier's score on patients that it never saw.

    Attributes:
        classes: the order of ``confusion``, whose rows are the truth.
        sensitivity, specificity: per class, and ``weighted`` and ``macro``.
        auc: per class, and ``macro``.
        interval: how the intervals were made.
    """

    n_lesions: int
    n_patients: int
    classes: tuple[str, ...]
    accuracy: Figure
    balanced_accuracy: Figure
    sensitivity: Mapping[str, Figure]
    specificity: Mapping[str, Figure]
    auc: Mapping[str, Figure]
    interval: str
    confusion: tuple[tuple[int, ...], ...] | None = None

    @classmethod
    def of(cls, score: Score) -> HeldOutScore:
        """What is kept of a score."""
        return from_json(cls, score.to_dict())


@dataclass(frozen=True)
class ClassifierMetrics:
    """Of a classifier.

    Attributes:
        test: of this very network.
        cross_validation: of the same training repeated, every lesion tested once.
        notes: how it was trained and tested, a sentence each.
    """

    test: HeldOutScore | None = None
    cross_validation: HeldOutScore | None = None
    training: TrainedOn | None = None
    notes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class GeneratorMetrics:
    """Of a generator.

    Attributes:
        spread_as_share_of_real: mean distance between two samples over that of two training ROIs.
        nearest_other_sample: mean correlation of a sample with the one most like it …
        nearest_other_real: … and of training ROIs.
        synthetic_to_nearest_training: mean correlation of samples with the nearest training ROI …
        held_out_to_nearest_training: … and of held-out lesions.
        radiomic_distance: Fréchet distance of samples to held-out lesions, in named measurements …
        radiomic_distance_real: … and of as many training lesions.
        coverage: share of held-out lesions with one of as many samples near, so measured …
        coverage_real: … and with one of as many training lesions.
        told_apart: share of pairs of a sample and a held-out lesion that a program tells apart …
        told_apart_real: … and of a training lesion and a held-out one.
        attempts: trainings until one did not collapse.
        notes: how it was trained, a sentence each.
    """

    spread_as_share_of_real: float | None = None
    nearest_other_sample: float | None = None
    nearest_other_real: float | None = None
    synthetic_to_nearest_training: float | None = None
    held_out_to_nearest_training: Figure | None = None
    n_held_out_lesions: int | None = None
    n_held_out_patients: int | None = None
    radiomic_distance: Figure | None = None
    radiomic_distance_real: Figure | None = None
    coverage: Figure | None = None
    coverage_real: Figure | None = None
    told_apart: Figure | None = None
    told_apart_real: Figure | None = None
    attempts: int | None = None
    generator_steps: int | None = None
    training: TrainedOn | None = None
    notes: tuple[str, ...] | None = None


Metrics = ClassifierMetrics | GeneratorMetrics


def read(kind: str, data: Any) -> Metrics:
    """The metrics of a ``classifier`` or a ``generator``; no interval is without width.

    Raises:
        RecordError: they are not of that form.
    """
    if kind == "generator":
        return from_json(GeneratorMetrics, data, "metrics")
    scores = {
        key: repaired(data[key])
        for key in ("test", "cross_validation")
        if data.get(key) and "confusion" in data[key]
    }
    return from_json(ClassifierMetrics, {**data, **scores}, "metrics")
