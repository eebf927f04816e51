"""What is computed from the classifiers' outputs alone: scores, the curve, comparisons.

Shares are 0–1, differences −1 … 1; every interval is a 95 % one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ml.ground.records import merged
from ml.statistics.calibration import Bin
from ml.statistics.figure import Figure
from ml.statistics.roc_curve import RocCurve


class Selection(StrEnum):
    """How the size of an arm was picked."""

    FIXED = "fixed"
    """Not at all: every size is told, exploratory."""
    PAPER = "paper"
    """On the accuracy that is then reported, as Frid-Adar et al. (2018, section IV-B) did."""
    NESTED = "nested"
    """Per fold on validation patients of its training part: what conclusions rest on."""


@dataclass(frozen=True)
class AddedPerFold:
    """ROIs added to a training fold, all classes together.

    ``synthetic_per_fold`` counts what an arm has of its source: of ``oracle`` fresh lesions, of
    ``real`` repeated ones.
    """

    classic_per_fold: int
    synthetic_per_fold: int

    @property
    def total(self) -> int:
        """Of both kinds."""
        return self.classic_per_fold + self.synthetic_per_fold


@dataclass(frozen=True)
class AveragedMeasure:
    """A measure over all classes, and of each.

    ``per_class`` holds the averages too, under ``weighted`` (by class counts) and ``macro``.
    """

    average: Figure = field(metadata=merged())
    per_class: Mapping[str, Figure]


@dataclass(frozen=True)
class ArmScore:
    """One arm in one seed, every lesion tested once.

    Attributes:
        added: the mean over folds, rounded; folds may differ under nested selection.
        source: where its synthetic ROIs, or what stands for them, come from; None: it has none.
        correct: lesions whose most probable class is the true one.
        confusion: counts; rows are the truth.
        sensitivity, specificity: one class against the rest; the average is by class counts.
        auc: the average is over classes.
        interval: how the intervals were made.
        true_balanced_accuracy: on fresh phantom lesions; None for other data.
        brier, log_loss, calibration_error: of its probabilities; ``Scores.probabilities`` says how.
            None, as the next, in results of version 1.
        calibration_error_by_chance: the mean of the one before were every confidence true.
        models: of ``features``, the model in each fold; None for a network.
    """

    name: str
    selection: Selection
    seed: int
    added: AddedPerFold = field(metadata=merged())
    chosen_per_fold: tuple[AddedPerFold, ...]
    source: str | None
    correct: int
    n_lesions: int
    n_patients: int
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Figure
    balanced_accuracy: Figure
    sensitivity: AveragedMeasure
    specificity: AveragedMeasure
    auc: AveragedMeasure
    interval: str
    true_balanced_accuracy: Figure | None = None
    brier: Figure | None = None
    log_loss: Figure | None = None
    calibration_error: Figure | None = None
    calibration_error_by_chance: float | None = None
    models: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CurvePoint:
    """One size of one arm over ``seeds`` seeds; exploratory. ``model``: that of ``features``."""

    name: str
    added: AddedPerFold = field(metadata=merged())
    seeds: int
    accuracy: Figure
    balanced_accuracy: Figure
    model: str = ""


@dataclass(frozen=True)
class ArmSummary:
    """One arm over ``seeds`` seeds, its size picked as ``selection`` says.

    Attributes:
        confusion_mean: lesions per seed, mean over seeds; rows are the truth.
        sensitivity, specificity: per class key, and ``weighted`` and ``macro``.
        auc: per class key, and ``macro``.
        true_balanced_accuracy: on fresh phantom lesions; None for other data.
        brier, log_loss, calibration_error, calibration_error_by_chance: as ``ArmScore``'s.
        roc: per class key; of nested selection alone.
        reliability: bins of equal mass, all seeds together; of nested selection alone.
    """

    name: str
    selection: Selection
    seeds: int
    balanced_accuracy: Figure
    accuracy: Figure
    confusion_mean: tuple[tuple[float, ...], ...]
    sensitivity: Mapping[str, Figure]
    specificity: Mapping[str, Figure]
    auc: Mapping[str, Figure]
    true_balanced_accuracy: Figure | None = None
    brier: Figure | None = None
    log_loss: Figure | None = None
    calibration_error: Figure | None = None
    calibration_error_by_chance: float | None = None
    roc: Mapping[str, RocCurve] | None = None
    reliability: tuple[Bin, ...] | None = None


@dataclass(frozen=True)
class ShareOfGap:
    """The share of the way from classic to oracle that an arm goes.

    ``note``: why it says nothing, where it does not.
    """

    value: float | None
    low: float | None
    high: float | None
    note: str | None

    @property
    def share(self) -> Figure:
        """The share with its interval."""
        return Figure(self.value, self.low, self.high)


@dataclass(frozen=True)
class ArmComparison:
    """Balanced accuracy of an arm less that of ``against``, over the seeds that have both.

    Attributes:
        p: two-sided; how it was found, ``Scores.inference`` says.
        holm_p: adjusted over its family; None where nothing is confirmatory.
        mcnemar_p: of each seed: it tests two networks, not two methods.
        true_difference: on fresh phantom lesions; None for other data.
        share_of_oracle_gap: of the arms with synthetic ROIs, where there is an oracle.
        training_share: of the difference's variance, what is chance of training, 0–1.
    """

    arm: str
    against: str
    selection: Selection
    seeds: tuple[int, ...]
    difference: Figure
    p: float
    holm_p: float | None
    mcnemar_p: tuple[float, ...]
    true_difference: Figure | None = None
    share_of_oracle_gap: ShareOfGap | None = None
    training_share: float | None = None


@dataclass(frozen=True)
class SubgroupScore:
    """One arm under nested selection among the lesions of one value of a group.

    Attributes:
        counts: lesions by class; ``balanced_accuracy`` is over those that occur.
    """

    name: str
    group: str
    value: str
    seeds: int
    lesions: int
    patients: int
    counts: Mapping[str, int]
    accuracy: Figure
    balanced_accuracy: Figure


@dataclass(frozen=True)
class Scores:
    """All that predictions alone tell.

    Attributes:
        comparisons: against classic under nested selection: of the first method confirmatory and
            one family, of the second secondary.
        comparisons_paper_protocol: under the paper's protocol: exploratory, not corrected.
        answer: of the second method first how the simple model stands to the networks; then, did
            synthetic ROIs help, by generator.
        failed: classifiers that were not trained, by name: why.
        probabilities: how Brier score, log loss and calibration error were counted; None in
            results of version 1, which have none.
        features: what the simple model is, in words; None where there is none.
        primary: each generator against equal-compute with as many ROIs, under nested selection, one
            family of two, named before the run; None of the first method.
        secondary: other comparisons under nested selection, not corrected; None as the one before.
        subgroups: by the data set's groups and the lesions' size, not corrected; None where the
            data set has none.
        groups_left_out: those with too many values.
        inference: how intervals and p of means over seeds were made; None where it was by drawing
            seeds again within resamples of patients, and p by flipping patients' signs.
    """

    arms: tuple[ArmScore, ...]
    curve: tuple[CurvePoint, ...]
    summary: tuple[ArmSummary, ...]
    comparisons: tuple[ArmComparison, ...]
    comparisons_paper_protocol: tuple[ArmComparison, ...]
    answer: tuple[str, ...]
    failed: Mapping[str, str]
    probabilities: str | None = None
    features: str | None = None
    primary: tuple[ArmComparison, ...] | None = None
    secondary: tuple[ArmComparison, ...] | None = None
    subgroups: tuple[SubgroupScore, ...] | None = None
    groups_left_out: tuple[str, ...] | None = None
    inference: str | None = None
