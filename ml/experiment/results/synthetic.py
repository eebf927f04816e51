"""What is told of the synthetic ROIs: how their generators fared, fidelity, memorisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ml.experiment.outcomes import Collapsed, Missing, NearestPair, PastedOutcome
from ml.ground.records import json_key, merged
from ml.statistics.figure import Figure
from ml.training.learned import GeneratorTraining


@dataclass(frozen=True)
class GeneratorFate:
    """How one generator fared.

    Attributes:
        name: its task's.
        patients: how many it saw.
        lesion_class: None for one of all classes.
        lesions: that it was trained on …
        rois: … and their views.
    """

    name: str
    kind: str
    lesion_class: str | None = field(metadata=json_key("class"))
    part: str
    fold: int
    seed: int
    patients: int
    lesions: int
    rois: int
    fared: Collapsed | GeneratorTraining = field(metadata=merged())

    @property
    def of_held_out(self) -> bool:
        """Whether its ROIs stand beside lesions that test, and none within choose by them."""
        return self.part == "outer"


@dataclass(frozen=True)
class FeatureNetwork:
    """The network whose features are compared."""

    network: str
    trained_on_this_data: bool
    features: str


@dataclass(frozen=True)
class SpaceFidelity:
    """How near ROIs of one kind come to held-out lesions; None where too few were held out."""

    kid: Figure | None = None
    fid: Figure | None = None
    density: Figure | None = None
    coverage: Figure | None = None


@dataclass(frozen=True)
class KindFidelity:
    """Of ROIs of one kind.

    Attributes:
        network: in the features of the network.
        radiomics: in named measurements; ``fid`` is then the Fréchet radiomic distance. None of
            earlier runs.
        told_apart: how well a program tells them from held-out lesions; None of earlier runs, and
            where there are few patients.
    """

    folds_and_seeds: int
    network: SpaceFidelity = field(metadata=merged())
    radiomics: SpaceFidelity | None = None
    told_apart: Figure | None = None


@dataclass(frozen=True)
class Fidelity:
    """Fidelity and variety per kind of ROIs.

    ``against``, ``interval``, ``radiomics`` and ``told_apart`` say how, in words; the last two are
    None of earlier runs.
    """

    network: FeatureNetwork = field(metadata=merged())
    against: str
    interval: str
    kinds: Mapping[str, KindFidelity | Missing]
    radiomics: str | None = None
    told_apart: str | None = None


@dataclass(frozen=True)
class TaskPair:
    """A synthetic ROI and its nearest training ROI: number ``place`` of a measurement's pairs."""

    task: str
    fold: int
    seed: int
    place: int
    pair: NearestPair = field(metadata=merged())


@dataclass(frozen=True)
class SpaceMemorisation:
    """Distances to the nearest training ROI in pixels or in features, all folds and seeds.

    Attributes:
        ratio_of_medians: of synthetic ROIs to held-out lesions; well under 1 speaks of copying.
        flagged: synthetic ROIs nearer than held-out lesions mostly are.
        nearer_to_training: share nearer to training than to held-out lesions; 0.5 without copies.
        pairs: the nearest, the nearest first.
        nearer_than_any: nearer than every held-out lesion of their class; None of earlier runs.
    """

    synthetic_rois: int
    held_out_lesions: int
    median_synthetic: float
    median_held_out: float
    ratio_of_medians: Figure
    flagged: int
    flagged_share: float
    expected_share: float
    nearer_to_training: float
    pairs: tuple[TaskPair, ...]
    nearer_than_any: int | None = None


@dataclass(frozen=True)
class KindTwins:
    """Of one kind of synthetic ROIs and one class: how many are alike among themselves.

    Attributes:
        rois: all folds and seeds.
        share: with a twin nearer than 95 % of as many real ROIs have; 0.05 is expected.
        median, median_real: of the gap to the nearest other one, 1 − correlation.
    """

    lesion_class: str = field(metadata=json_key("class"))
    rois: int
    share: float
    median: float
    median_real: float


@dataclass(frozen=True)
class Memorisation:
    """Per kind of synthetic ROIs and space; the other fields say in words what is measured."""

    network: FeatureNetwork = field(metadata=merged())
    distance: str
    flagged_below: str
    interval: str
    kinds: Mapping[str, Mapping[str, SpaceMemorisation]]
    twins: Mapping[str, tuple[KindTwins, ...]] | None = None


@dataclass(frozen=True)
class Synthetic:
    """All that is told of synthetic ROIs.

    ``tissue``: by class, phantom lesions that were pasted into real tissue; None without such.
    """

    generators: tuple[GeneratorFate, ...]
    fidelity: Fidelity | Missing
    memorisation: Memorisation | Missing
    tissue: tuple[PastedOutcome, ...] | None = None
