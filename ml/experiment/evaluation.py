"""From the outputs of all classifiers to the scores of each arm: fixed sizes and selections.

Two ways of picking a size stand side by side. ``paper``: on the very accuracy that is then
reported, as Frid-Adar et al. (2018, section IV-B) did; it flatters. ``nested``: per fold on
validation patients of its training part; this is what conclusions rest on. ``fixed`` entries are
the curve: every size, exploratory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.config import Experiment
from ml.dataset.folds import folds_of
from ml.dataset.manifest import Manifest
from ml.experiment import arms, fresh_phantoms
from ml.experiment.arms import ArmSize
from ml.experiment.folder import RunFolder
from ml.experiment.results.scores import (
    AddedPerFold,
    ArmScore,
    ArmSummary,
    AveragedMeasure,
    CurvePoint,
    Selection,
)
from ml.experiment.tasks import INNER, OUTER, TrainClassifier
from ml.experiment.training_sets import fresh_of
from ml.statistics import calibration, classification, comparison
from ml.statistics.figure import Figure

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What one arm did in one seed, every lesion tested once.

    Attributes:
        sizes: the size in each fold.
        folds: (n,) the fold that held out each lesion.
        probabilities: (n, classes).
        fresh: (folds, m) class positions called on fresh lesions, or None.
    """

    sizes: tuple[ArmSize, ...]
    folds: npt.NDArray[np.int64]
    probabilities: Floats
    fresh: npt.NDArray[np.int64] | None


class Outputs:
    """All classifiers' outputs of a run, by arm and size, seed and fold."""

    def __init__(
        self, folder: RunFolder, settings: Experiment, manifest: Manifest, seeds: Sequence[int]
    ) -> None:
        self.settings, self.manifest, self.seeds = settings, manifest, tuple(seeds)
        scheme = manifest.scheme
        self.keys = scheme.keys
        tested = {
            line.id for fold in folds_of(manifest, settings, settings.seed) for line in fold.test
        }
        self.lines = [line for line in manifest.lines if line.id in tested]
        """Those that test, in the order of the data set."""
        self._place = np.full(len(manifest.lines), -1)
        self._place[[line.id in tested for line in manifest.lines]] = np.arange(len(self.lines))
        self._answers = np.asarray([scheme.index(line.lesion_class) for line in manifest.lines])
        self.truth = self._answers[self._place >= 0]
        self.patients = [line.patient for line in self.lines]
        needed = fresh_of(settings, manifest)
        self.sizes = arms.sizes(settings, len(scheme), bool(needed))
        self.fresh = (
            fresh_phantoms.load(needed, fresh_phantoms.TEST, folder.fresh, scheme.keys)
            if needed
            else None
        )
        self.failed: dict[str, str] = {}
        self._stored: dict[tuple[ArmSize, str, int, int], dict[str, npt.NDArray[Any]]] = {}
        for size in self.sizes:
            for part in (OUTER, INNER) if size.arm in arms.SELECTED else (OUTER,):
                for seed in self.seeds:
                    for fold in range(settings.tested_folds):
                        task = TrainClassifier(size, part, fold, seed)
                        if size.arm in arms.MATCHED and not folder.has_result(task.name):
                            continue  # trained only at the sizes that selection chose
                        failed = folder.result(task).failed
                        if failed:
                            self.failed[task.name] = failed
                            continue
                        with np.load(folder.task(task.name).path / "outputs.npz") as stored:
                            self._stored[size, part, fold, seed] = dict(stored)

    def outcome(self, sizes: Sequence[ArmSize], seed: int) -> Outcome | None:
        """The test outputs with ``sizes`` in the folds; None where a generator failed."""
        table = np.full((len(self.truth), len(self.keys)), np.nan)
        folds = np.zeros(len(self.truth), np.int64)
        fresh = []
        for fold, size in enumerate(sizes):
            stored = self._stored.get((size, OUTER, fold, seed))
            if stored is None:
                return None
            place = self._place[stored["rows"]]
            table[place] = stored["probabilities"]
            folds[place] = fold
            if self.fresh is not None:
                fresh.append(stored["fresh"].astype(np.int64))
        if not np.isfinite(table).all():
            raise AssertionError("a lesion was tested in no fold")
        return Outcome(tuple(sizes), folds, table, np.stack(fresh) if fresh else None)

    def same(self, size: ArmSize, seed: int) -> Outcome | None:
        """One size in all folds."""
        return self.outcome([size] * self.settings.tested_folds, seed)

    def validated(self, size: ArmSize, fold: int, seed: int) -> float | None:
        """Balanced accuracy on the validation patients of a fold."""
        stored = self._stored.get((size, INNER, fold, seed))
        if stored is None:
            return None
        truth = self._answers[stored["rows"]]
        right = stored["probabilities"].argmax(axis=1) == truth
        return float(comparison.balanced(right.astype(float), truth))

    def right(self, outcome: Outcome) -> Bools:
        """(n,) whether the most probable class is the true one, in the data set's order."""
        return np.asarray(outcome.probabilities.argmax(axis=1) == self.truth)

    def fresh_right(self, outcome: Outcome) -> Floats:
        """(folds, m) whether each fold's network was right on each fresh lesion."""
        if self.fresh is None or outcome.fresh is None:
            raise ValueError("there are no fresh lesions")
        return np.asarray((outcome.fresh == self.fresh.labels).astype(np.float64))

    def selected(self, how: Selection, seed: int) -> dict[str, Outcome]:
        """The outcome that speaks for each arm in one seed, sizes picked as ``how`` says."""
        per_fold = self.picked(how, seed)
        found = {
            arm: self.outcome([picked[arm] for picked in per_fold], seed)
            for arm in arms.ARMS
            if all(arm in picked for picked in per_fold)
        }
        return {arm: outcome for arm, outcome in found.items() if outcome is not None}

    def equal_compute(self, outcome: Outcome, seed: int) -> Outcome | None:
        """The control with as many ROIs in each fold as an outcome with synthetic ones."""
        return self.outcome([arms.equal_to(self.sizes, size) for size in outcome.sizes], seed)

    def picked(self, how: Selection, seed: int) -> list[dict[str, ArmSize]]:
        """The size of each arm in each fold of one seed; only ``SELECTED`` arms are looked at."""
        if how == Selection.PAPER:
            scores = {}
            for size in self.sizes:
                outcome = self.same(size, seed) if size.arm in arms.SELECTED else None
                if outcome is not None:
                    scores[size] = float(self.right(outcome).mean())
            of_paper = [arm for arm in arms.ARMS if arm not in arms.NESTED_ALONE]
            return [arms.chosen(self.sizes, scores, of_paper)] * self.settings.tested_folds
        per_fold = []
        for fold in range(self.settings.tested_folds):
            validated = {
                size: self.validated(size, fold, seed)
                for size in self.sizes
                if size.arm in arms.SELECTED
            }
            known = {size: value for size, value in validated.items() if value is not None}
            per_fold.append(arms.chosen(self.sizes, known))
        return per_fold

    def matched(self) -> tuple[TrainClassifier, ...]:
        """The classifiers of ``MATCHED`` arms that a selection speaks of; the others nobody reads.

        They are known once all of the ``SELECTED`` arms have ended.
        """
        # where fresh lesions alone test there is nothing that the paper's way could look at
        hows = (Selection.PAPER, Selection.NESTED) if len(self.truth) else (Selection.NESTED,)
        wanted = {
            (seed, fold, picked[arm])
            for how in hows
            for seed in self.seeds
            for fold, picked in enumerate(self.picked(how, seed))
            for arm in arms.MATCHED
            if arm in picked
        }
        if self.settings.method_version > 1:
            wanted |= {
                (seed, fold, arms.equal_to(self.sizes, picked[arm]))
                for seed in self.seeds
                for fold, picked in enumerate(self.picked(Selection.NESTED, seed))
                for arm in (*arms.PRIMARY, *arms.FURTHER)
                if arm in picked
            }
        return tuple(
            TrainClassifier(size, OUTER, fold, seed) for seed, fold, size in sorted(wanted)
        )


@dataclass(frozen=True)
class Entries:
    """Each arm by itself.

    Attributes:
        selected: by selection and seed, the outcome that speaks for each arm.
    """

    arms: tuple[ArmScore, ...]
    curve: tuple[CurvePoint, ...]
    summary: tuple[ArmSummary, ...]
    selected: Mapping[Selection, Mapping[int, Mapping[str, Outcome]]]


def entries(outputs: Outputs) -> Entries:
    """The scores of every arm, size and seed, and what each selection picked."""
    scored: list[ArmScore] = []
    for size in outputs.sizes:
        for seed in outputs.seeds:
            outcome = outputs.same(size, seed)
            if outcome is not None:
                scored.append(_scored(outputs, size.arm, Selection.FIXED, seed, outcome))
    selections: dict[Selection, dict[int, dict[str, Outcome]]] = {}
    for how in (Selection.PAPER, Selection.NESTED):
        selections[how] = {seed: outputs.selected(how, seed) for seed in outputs.seeds}
        for seed, found in selections[how].items():
            scored += [_scored(outputs, arm, how, seed, outcome) for arm, outcome in found.items()]
    return Entries(
        tuple(scored), tuple(_curve(outputs)), tuple(_summary(outputs, selections)), selections
    )


def _scored(outputs: Outputs, arm: str, how: Selection, seed: int, outcome: Outcome) -> ArmScore:
    settings = outputs.settings
    scored = classification.score(
        outputs.truth,
        outcome.probabilities,
        outputs.patients,
        outputs.keys,
        settings.resamples,
        settings.seed,
    )
    told = (outputs.patients, settings.resamples, settings.seed)
    believed = comparison.believed(outputs.truth, outcome.probabilities[None], *told)
    classes = len(outputs.keys)
    per_fold = tuple(AddedPerFold(size.classic, classes * size.added) for size in outcome.sizes)
    fresh = None
    if outputs.fresh is not None:
        fresh = fresh_share(outputs, [outcome])
    return ArmScore(
        name=arm,
        selection=how,
        seed=seed,
        # folds may differ under nested selection: the mean, and each in chosen_per_fold
        added=AddedPerFold(
            round(float(np.mean([size.classic_per_fold for size in per_fold]))),
            round(float(np.mean([size.synthetic_per_fold for size in per_fold]))),
        ),
        chosen_per_fold=per_fold,
        source=outcome.sizes[0].source or None,
        correct=int(np.trace(scored.matrix)),
        n_lesions=scored.lesions,
        n_patients=scored.patients,
        confusion=tuple(map(tuple, scored.matrix.tolist())),
        accuracy=scored.accuracy,
        balanced_accuracy=scored.balanced_accuracy,
        sensitivity=AveragedMeasure(scored.sensitivity["weighted"], scored.sensitivity),
        specificity=AveragedMeasure(scored.specificity["weighted"], scored.specificity),
        auc=AveragedMeasure(scored.auc["macro"], scored.auc),
        interval=scored.interval,
        true_balanced_accuracy=fresh,
        brier=believed.brier,
        log_loss=believed.log_loss,
        calibration_error=believed.error,
        calibration_error_by_chance=believed.error_by_chance,
        models=tuple(size.model for size in outcome.sizes) if arm in arms.SIMPLE else None,
    )


def fresh_share(outputs: Outputs, found: Sequence[Outcome]) -> Figure:
    """Balanced accuracy on fresh lesions: the mean over all networks of these outcomes."""
    lesions, settings = outputs.fresh, outputs.settings
    if lesions is None:
        raise ValueError("there are no fresh lesions")
    right = np.concatenate([outputs.fresh_right(outcome) for outcome in found])
    told = (lesions.labels, lesions.patients.tolist())
    return comparison.share_interval(right, *told, settings.resamples, settings.seed)


def _curve(outputs: Outputs) -> Iterator[CurvePoint]:
    """Accuracy of every arm at every size, over all seeds; exploratory, nothing is picked here."""
    settings = outputs.settings
    for size in outputs.sizes:
        found = [outputs.same(size, seed) for seed in outputs.seeds]
        known = [outcome for outcome in found if outcome is not None]
        if not known:
            continue
        right = np.stack([outputs.right(outcome) for outcome in known]).astype(float)
        folds = np.stack([outcome.folds for outcome in known])
        told = (outputs.patients, settings.resamples, settings.seed, folds)
        yield CurvePoint(
            name=size.arm,
            added=AddedPerFold(size.classic, size.added * len(outputs.keys)),
            seeds=len(known),
            accuracy=comparison.share_interval(right, np.zeros_like(outputs.truth), *told),
            balanced_accuracy=comparison.share_interval(right, outputs.truth, *told),
            model=size.model,
        )


def _summary(
    outputs: Outputs, selections: Mapping[Selection, Mapping[int, Mapping[str, Outcome]]]
) -> Iterator[ArmSummary]:
    """Per arm and protocol, over all seeds: means with intervals over patients and trainings."""
    settings = outputs.settings
    for how, by_seed in selections.items():
        for arm in arms.ARMS:
            found = [by_seed[seed][arm] for seed in outputs.seeds if arm in by_seed[seed]]
            if not found:
                continue
            probabilities = np.stack([outcome.probabilities for outcome in found])
            matrices = [
                classification.confusion(outputs.truth, called, len(outputs.keys))
                for called in probabilities.argmax(axis=2)
            ]
            told = (outputs.truth, probabilities, outputs.patients)
            folds = np.stack([outcome.folds for outcome in found])
            drawn = (settings.resamples, settings.seed, folds)
            rates = comparison.rates(*told, outputs.keys, *drawn)
            believed = comparison.believed(*told, *drawn)
            nested = how == Selection.NESTED
            fresh = None
            if outputs.fresh is not None:
                fresh = fresh_share(outputs, found)
            yield ArmSummary(
                name=arm,
                selection=how,
                seeds=len(found),
                # every lesion has one class: these are means of the sensitivities
                balanced_accuracy=rates["sensitivity"]["macro"],
                accuracy=rates["sensitivity"]["weighted"],
                confusion_mean=tuple(map(tuple, np.mean(matrices, axis=0).tolist())),
                sensitivity=rates["sensitivity"],
                specificity=rates["specificity"],
                auc=rates["auc"],
                true_balanced_accuracy=fresh,
                brier=believed.brier,
                log_loss=believed.log_loss,
                calibration_error=believed.error,
                calibration_error_by_chance=believed.error_by_chance,
                roc=comparison.curves(*told, outputs.keys, *drawn) if nested else None,
                reliability=_reliability(outputs, probabilities) if nested else None,
            )


def _reliability(outputs: Outputs, probabilities: Floats) -> tuple[calibration.Bin, ...]:
    """Of (seeds, n, classes)."""
    right = probabilities.argmax(axis=2) == outputs.truth
    return calibration.reliability(probabilities.max(axis=2), right.astype(np.float64))
