"""Fidelity, variety and memorisation of the synthetic ROIs, all folds and seeds together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ml.checkpoints.checkpoint import WEIGHTS, Checkpoint, CheckpointError
from ml.config import Experiment
from ml.dataset.folds import folds_of
from ml.dataset.manifest import Manifest
from ml.experiment.folder import RunFolder
from ml.experiment.outcomes import Measurement, Missing
from ml.experiment.results.synthetic import (
    FeatureNetwork,
    Fidelity,
    GeneratorFate,
    KindFidelity,
    KindTwins,
    Memorisation,
    SpaceFidelity,
    SpaceMemorisation,
    Synthetic,
    TaskPair,
)
from ml.experiment.tasks import (
    INNER,
    OUTER,
    CutPasted,
    Measure,
    Rois,
    generators,
    measured_kinds,
    measurements,
)
from ml.experiment.training_sets import fold_of
from ml.statistics import (
    classification,
    copies,
    exact,
    memorisation,
    nearness,
    trainings,
    two_sample,
)
from ml.statistics.figure import Figure

FEATURE_NETWORK = WEIGHTS / "phantom-cnn"
"""The checkpoint whose features ROIs are compared by."""
SHOWN = 8
"""Nearest pairs of a synthetic and a training ROI that are kept."""
_RESAMPLES = 500
_RADIOMICS = (
    "the measurements that the simple model learns from (ml/images/measurements.py), without the "
    "size, scaled by the lesions that the fold trains on; its FID is the Fréchet radiomic distance"
)
_APART = (
    "share of pairs, one of these ROIs and one held-out lesion, that a logistic regression on "
    "these measurements tells apart (area under the ROC curve): 0.5 none, 1 all. Patients are kept "
    f"together in {two_sample.FOLDS} parts; what is tested has no part in learning, nor in the "
    "choice of the ridge. The bootstrap takes what was learned as it is"
)


@dataclass(frozen=True)
class ResampledPatients:
    """How often each patient is drawn in each resample; the same in all folds and seeds.

    Seeds repeat the same patients. Drawn anew in each, they would pass for further patients.
    """

    column: dict[str, int]
    weights: npt.NDArray[np.float64]

    @classmethod
    def of(cls, manifest: Manifest, settings: Experiment) -> ResampledPatients:
        """The bootstrap of a data set's patients, at most ``_RESAMPLES`` draws, by the seed."""
        patients = sorted(manifest.patients)
        count = min(settings.resamples, _RESAMPLES)
        weights = classification.patient_resamples(patients, count, settings.seed)
        return cls({patient: i for i, patient in enumerate(patients)}, weights)

    def of_patients(self, owners: Sequence[str]) -> npt.NDArray[np.float64]:
        """(resamples, n) for things of these patients."""
        return self.weights[:, [self.column[owner] for owner in owners]]


def feature_network(manifest: Manifest) -> FeatureNetwork | Missing:
    """What results say of the network whose features are compared."""
    try:
        network = Checkpoint.load(FEATURE_NETWORK)
        network.weights()
    except CheckpointError as error:
        return Missing(f"no feature network: {error}")
    return FeatureNetwork(
        network=f"{network.name}: the paper's CNN trained on {network.dataset_name} "
        f"({network.training_kind}), digest {network.dataset_digest[:12]}",
        trained_on_this_data=network.dataset_digest == manifest.digest,
        features="the dense layer before the output"
        + (f" of the first of {network.ensemble.networks} networks" if network.ensemble else ""),
    )


def collect(
    folder: RunFolder,
    settings: Experiment,
    manifest: Manifest,
    seeds: Sequence[int],
    network: FeatureNetwork | Missing,
) -> Synthetic:
    """Fidelity and memorisation, and how the generators fared.

    Args:
        network: what ``feature_network`` said when the run measured.
    """
    fared = tuple(_generators(folder, settings, manifest, seeds))
    pasted = tuple(folder.result(CutPasted(key)) for key in manifest.scheme.keys if settings.tissue)
    if isinstance(network, Missing):
        return Synthetic(fared, network, network, pasted or None)
    fidelity_of: dict[str, KindFidelity | Missing] = {}
    memorised: dict[str, dict[str, SpaceMemorisation]] = {}
    alike: dict[str, tuple[KindTwins, ...]] = {}
    for kind in measured_kinds(settings):
        of = [task for task in measurements(settings, seeds) if task.kind == kind]
        told = [(task, folder.result(task)) for task in of]
        done = [(task, one) for task, one in told if isinstance(one, Measurement)]
        if not done:
            fidelity_of[kind] = next(one for _, one in told if isinstance(one, Missing))
            continue
        tested = folds_of(manifest, settings, settings.seed)
        patients = len(frozenset[str]().union(*(fold.test.patients for fold in tested)))
        fidelity_of[kind] = _fidelity_of(folder, patients, [task for task, _ in done])
        if kind != Rois.REAL:
            memorised[kind] = _memorised(settings, manifest, done)
            if twins := tuple(_twins(manifest.scheme.keys, [one for _, one in done])):
                alike[kind] = twins
    # runs of earlier versions have neither
    apart = any(isinstance(one, KindFidelity) and one.radiomics for one in fidelity_of.values())
    return Synthetic(
        generators=fared,
        fidelity=Fidelity(
            network=network,
            against="held-out lesions of the same fold; real: the training lesions, as many "
            "of each class as synthetic ones",
            interval="95 % bootstrap over patients, seeds and synthetic ROIs, folds averaged; "
            "density's over ROIs drawn and coverage's over held-out lesions alone; FID's is moved "
            "by the bootstrap's own bias"
            + (
                "; density and coverage are of as many ROIs of each class on either side"
                if apart
                else ""
            ),
            kinds=fidelity_of,
            radiomics=_RADIOMICS if apart else None,
            told_apart=_APART if apart else None,
        ),
        memorisation=Memorisation(
            network=network,
            distance="root mean square difference to the nearest ROI that the generator was "
            "trained on (augmented ones too), of the same class, under 8 symmetries"
            + (
                ", in features also as it lies on the lesion that is most alike by correlation"
                if apart
                else ""
            )
            + "; correlation: 1 − the highest correlation with a training lesion after blur, "
            f"under any turn, mirror and shift of up to {copies.SHIFT_PX} pixels, whatever gain "
            "and offset",
            flagged_below=f"the {memorisation.EXPECTED:.0%} quantile of the same distance for "
            "held-out lesions of the same class (of all classes in runs of earlier versions)",
            interval="95 % bootstrap over patients, seeds and synthetic ROIs",
            kinds=memorised,
            twins=alike or None,
        ),
        tissue=pasted or None,
    )


def _fidelity_of(folder: RunFolder, patients: int, done: Sequence[Measure]) -> KindFidelity:
    """Folds averaged, then seeds; chance of training as far as seeds lie apart."""
    draws: dict[str, dict[int, list[npt.NDArray[np.float64]]]] = {}
    for task in done:
        with np.load(folder.task(task.name).path / "draws.npz") as stored:
            for name in stored.files:
                draws.setdefault(name, {}).setdefault(task.seed, []).append(stored[name])
    measured: dict[str, Figure] = {}
    for name, found in draws.items():
        by_seed = np.stack([np.mean(folds, axis=0) for folds in found.values()])
        value, drawn = float(by_seed[:, 0].mean()), by_seed[:, 1:]
        spread = trainings.of_draws(by_seed[:, 0], drawn, patients)
        resampled = drawn.mean(axis=0)
        if name.endswith("fid"):
            # a resample has fewer different ROIs, which FID takes for distance
            resampled += value - np.nanmean(resampled)
        figure = trainings.interval(value, resampled, spread)
        if name == nearness.APART:
            of = partial(exact.of_area, positives=patients, negatives=patients)
            figure = _within(figure, of)
        elif name.endswith("coverage"):
            figure = _within(
                figure, lambda share: exact.clopper_pearson(share * patients, patients)
            )
        measured[name] = figure
    radiomics = {
        name: measured[key]
        for name in nearness.MEASURES
        if (key := f"{nearness.RADIOMICS}{name}") in measured
    }
    return KindFidelity(
        len(done),
        SpaceFidelity(**{name: measured[name] for name in nearness.MEASURES if name in measured}),
        SpaceFidelity(**radiomics) if radiomics else None,
        measured.get(nearness.APART),
    )


def _within(found: Figure, exact_ends: Callable[[float], tuple[float, float]]) -> Figure:
    """A share within 0 and 1; where all resamples gave the same, with its exact interval."""
    if found.value is None:
        return found
    low, high = found.ends or exact_ends(found.value)
    return Figure(found.value, max(0.0, low), min(1.0, high))


def _memorised(
    settings: Experiment, manifest: Manifest, done: Sequence[tuple[Measure, Measurement]]
) -> dict[str, SpaceMemorisation]:
    result: dict[str, SpaceMemorisation] = {}
    patients = ResampledPatients.of(manifest, settings)
    seeds = sorted({task.seed for task, _ in done})
    for space in (memorisation.PIXELS, memorisation.FEATURES, memorisation.COPIES):
        entries = [
            (task, told.memorisation[space])
            for task, told in done
            if told.memorisation is not None and space in told.memorisation
        ]
        if len(entries) < len(done):
            continue  # a run of a version that did not measure it
        ours = np.concatenate([entry.synthetic for _, entry in entries])
        theirs = np.concatenate([entry.held_out for _, entry in entries])
        rng = np.random.default_rng([settings.seed, 3])
        parts = [
            _Gaps(
                task.seed,
                np.asarray(entry.synthetic),
                np.asarray(entry.held_out),
                rng.poisson(1.0, (len(patients.weights), len(entry.synthetic))).astype(np.float64),
                patients.of_patients(_tested(settings, manifest, task)),
            )
            for task, entry in entries
        ]
        ratio, drawn = _ratio(parts)
        of_seeds = [_ratio([one for one in parts if one.seed == seed]) for seed in seeds]
        spread = trainings.of_draws(
            np.asarray([one for one, _ in of_seeds]),
            np.stack([each for _, each in of_seeds]),
            len(patients.column),
        )
        pairs = [
            TaskPair(task.name, task.fold, task.seed, i, pair)
            for task, entry in entries
            for i, pair in enumerate(entry.nearest_pairs)
        ]
        pairs.sort(key=lambda one: one.pair.distance)
        flagged = sum(entry.flagged for _, entry in entries)
        nearer = [entry.nearer_than_any for _, entry in entries]
        result[space] = SpaceMemorisation(
            synthetic_rois=len(ours),
            held_out_lesions=len(theirs),
            median_synthetic=float(np.median(ours)),
            median_held_out=float(np.median(theirs)),
            ratio_of_medians=trainings.interval(ratio, drawn, spread, 0.0),
            flagged=flagged,
            flagged_share=flagged / len(ours),
            expected_share=memorisation.EXPECTED,
            nearer_to_training=float(np.mean([e.nearer_to_training for _, e in entries])),
            pairs=tuple(pairs[:SHOWN]),
            nearer_than_any=None if None in nearer else sum(one or 0 for one in nearer),
        )
    return result


@dataclass(frozen=True)
class _Gaps:
    """Of one fold: distances, and how often each counts in each resample (b, n)."""

    seed: int
    synthetic: npt.NDArray[np.float64]
    held_out: npt.NDArray[np.float64]
    synthetic_weights: npt.NDArray[np.float64]
    held_out_weights: npt.NDArray[np.float64]


def _ratio(parts: Sequence[_Gaps]) -> tuple[float, npt.NDArray[np.float64]]:
    """Median distance of synthetic ROIs over that of held-out lesions, and in each resample."""
    ours = np.concatenate([one.synthetic for one in parts])
    theirs = np.concatenate([one.held_out for one in parts])
    drawn = _medians(ours, np.concatenate([one.synthetic_weights for one in parts], axis=1))
    beside = _medians(theirs, np.concatenate([one.held_out_weights for one in parts], axis=1))
    return float(np.median(ours) / np.median(theirs)), drawn / beside


def _tested(settings: Experiment, manifest: Manifest, task: Measure) -> list[str]:
    """Patients of the held-out distances of ``_memorisation``: class by class."""
    fold = fold_of(manifest, settings, task.seed, task.fold, OUTER)
    return [
        line.patient
        for key in manifest.scheme.keys
        for line in fold.test
        if line.lesion_class == key
    ]


def _medians(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weighted median of ``values`` (n,) for each row of ``weights`` (resamples, n)."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[:, order], axis=1)
    return np.asarray(values[order][(below >= below[:, -1:] / 2).argmax(axis=1)])


def _twins(keys: Sequence[str], done: Sequence[Measurement]) -> Iterator[KindTwins]:
    """Class by class, folds and seeds averaged."""
    for key in keys:
        found = [one for told in done for one in told.twins or () if one.lesion_class == key]
        if found:
            yield KindTwins(
                lesion_class=key,
                rois=sum(one.rois for one in found),
                share=sum(one.synthetic * one.rois for one in found) / sum(x.rois for x in found),
                median=float(np.mean([one.median for one in found])),
                median_real=float(np.mean([one.median_real for one in found])),
            )


def _generators(
    folder: RunFolder, settings: Experiment, manifest: Manifest, seeds: Sequence[int]
) -> Iterator[GeneratorFate]:
    for seed in seeds:
        for part in (OUTER, INNER):
            for fold in range(settings.tested_folds):
                for task in generators(settings, manifest.scheme.keys, seed, part, fold):
                    told = folder.result(task)
                    yield GeneratorFate(
                        name=task.name,
                        kind=told.kind,
                        lesion_class=told.lesion_class,
                        part=told.part,
                        fold=told.fold,
                        seed=told.seed,
                        patients=len(told.patients),
                        lesions=told.lesions,
                        rois=told.rois,
                        fared=told.fared,
                    )
