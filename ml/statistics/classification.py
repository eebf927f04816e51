"""Scores of a classifier, each with an interval that resamples patients, not ROIs.

Where few patients were right or wrong the interval is widened to an exact one (`exact`).

Sensitivity and specificity are one-vs-rest; the weighted averages take class counts as weights,
as the tables of Frid-Adar et al. (2018) do (weighted sensitivity is then the accuracy).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.statistics import area, bootstrap, exact
from ml.statistics.figure import Figure

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def confusion(truth: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> Ints:
    """Counts (classes, classes); rows are the truth, columns the prediction.

    Args:
        truth, predicted: (n,) class positions, 0 … ``classes`` − 1.

    Raises:
        ValueError: two lengths, or a position out of range.
    """
    truth_array, predicted_array = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    if truth_array.shape != predicted_array.shape or truth_array.ndim != 1:
        raise ValueError("truth and predictions must be two lists of the same length")
    for values in (truth_array, predicted_array):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise ValueError(f"a class position is outside 0 … {classes - 1}")
    flat = np.bincount(truth_array * classes + predicted_array, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def sensitivities(matrix: npt.ArrayLike) -> Floats:
    """Per class (…, classes): found of those that have it. NaN for a class without lesions.

    ``matrix`` (…, classes, classes) may carry leading axes, as all functions of a confusion
    matrix here.
    """
    counts = np.asarray(matrix, np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(axis=-1))


def specificities(matrix: npt.ArrayLike) -> Floats:
    """Per class (…, classes): not called so, of those that do not have it; NaN if all have it."""
    counts = np.asarray(matrix, np.float64)
    total = counts.sum(axis=(-2, -1))[..., None]
    rows, columns = counts.sum(axis=-1), counts.sum(axis=-2)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray((total - rows - columns + hits) / (total - rows))


def balanced_accuracy(matrix: npt.ArrayLike) -> Floats:
    """Mean sensitivity (…) over the classes that occur, 0–1."""
    return mean_known(sensitivities(matrix))


def weighted(values: Floats, matrix: npt.ArrayLike) -> Floats:
    """Average (…) of per-class values (…, classes) by class counts (the paper's averaging)."""
    weights = np.asarray(matrix, np.float64).sum(axis=-1)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(
            (np.where(known, values, 0.0) * weights).sum(axis=-1) / (known * weights).sum(axis=-1)
        )


def patient_resamples(patients: Sequence[str], count: int, seed: int) -> Floats:
    """Bootstrap weights (count, n): how often each ROI counts when patients are drawn again."""
    rng = np.random.default_rng(seed)
    return bootstrap.resamples(np.asarray(patients, dtype=str), count, rng)


def percentile_interval(value: float, resampled: npt.ArrayLike, level: float = 0.95) -> Figure:
    """A percentile bootstrap interval of ``value`` (NaN: undefined) from its resamples (b,)."""
    if not np.isfinite(value):
        return Figure(None, None, None)
    ends = bootstrap.percentiles(resampled, level)
    return Figure(float(value), *(ends or (None, None)))


class Supported:
    """Shares of the lesions of one data set, with intervals that cover on few patients too.

    ``called`` is (seeds, n): the class position that each of several trainings gave each lesion.
    """

    def __init__(self, truth: Ints, patients: Sequence[str], classes: int) -> None:
        self.truth, self.classes = truth, classes
        self._member = exact.member_of(patients)
        self._counts = np.bincount(truth, minlength=classes)
        everyone = np.ones((1, truth.size), bool)
        owners = [self._behind(everyone, truth == key) for key in range(classes)]
        self._own = exact.shared(owners, len(set(patients)))

    def _behind(self, hits: npt.NDArray[np.bool_], chosen: npt.NDArray[np.bool_]) -> exact.Support:
        return exact.support(hits, chosen, self._member)

    def sensitivity(self, called: Ints) -> list[exact.Support]:
        """Per class, what its sensitivity rests on."""
        right = called == self.truth
        return [self._behind(right, self.truth == key) for key in range(self.classes)]

    def specificity(self, called: Ints) -> list[exact.Support]:
        """Per class, what its specificity rests on."""
        return [self._behind(called != key, self.truth != key) for key in range(self.classes)]

    def share(self, found: Figure, behind: exact.Support) -> Figure:
        """One share: widened where few patients are right or wrong."""
        if found.value is None or not behind.trials or not (behind.few or found.ends is None):
            return found
        return found.widened(exact.clopper_pearson(found.value * behind.trials, behind.trials))

    def mean(self, found: Figure, behind: Sequence[exact.Support], *, weighted: bool) -> Figure:
        """A mean of shares, by class counts or each class alike; a class without lesions is out."""
        weights = self._counts if weighted else np.ones(self.classes)
        known = [(b, float(w)) for b, w in zip(behind, weights, strict=True) if b.trials and w]
        supports = [one for one, _ in known]
        if found.value is None or not known:
            return found
        if found.ends is not None and not exact.is_thin(supports, by_count=weighted):
            return found
        total = sum(weight for _, weight in known)
        shares = [weight / total for _, weight in known]
        trials = exact.trials_of_mean(supports, shares, self._own)
        return found.widened(exact.clopper_pearson(found.value * trials, trials))

    def area(self, found: Figure, key: int, scores: Floats) -> Figure:
        """The area of class ``key`` against the rest, from its ``scores`` (seeds, n)."""
        positive = self.truth == key
        if found.value is None or not positive.any() or positive.all():
            return found
        ordered: list[int] = []
        misordered: list[int] = []
        for row in np.atleast_2d(scores):
            up, down = row[positive], row[~positive]
            for seen, above in ((misordered, False), (ordered, True)):
                one = up > down.min() if above else up <= down.max()
                other = down < up.max() if above else down >= up.min()
                member = [self._member[positive][one], self._member[~positive][other]]
                seen.append(len(np.unique(np.concatenate(member))))
        everyone = np.ones((1, positive.size), bool)
        sides = [self._behind(everyone, chosen) for chosen in (positive, ~positive)]
        few = min(np.mean(ordered), np.mean(misordered)) < exact.FEW
        small = min(one.patients for one in sides) < 2 * exact.FEW
        if not (few or small or found.ends is None):
            return found
        return found.widened(exact.of_area(found.value, *(one.trials for one in sides)))

    def mean_area(self, found: Figure, before: Sequence[Figure], after: Sequence[Figure]) -> Figure:
        """The mean of areas: where one was widened, to the mean of their ends.

        That holds however the areas depend on one another.
        """
        known = [one.ends for one in after if one.ends is not None]
        if list(before) == list(after) or not known:
            return found
        low, high = np.mean(known, axis=0)
        return found.widened((float(low), float(high)))


@dataclass(frozen=True)
class Score:
    """Everything told about one classifier on one set of lesions."""

    keys: tuple[str, ...]
    lesions: int
    patients: int
    matrix: Ints
    sensitivity: dict[str, Figure]
    """Per class key, and ``weighted`` and ``macro``."""
    specificity: dict[str, Figure]
    auc: dict[str, Figure]
    """Per class key, and ``macro``."""
    accuracy: Figure
    balanced_accuracy: Figure
    resamples: int
    seed: int

    @property
    def interval(self) -> str:
        """How the intervals were made, in words."""
        return (
            f"95 % percentile bootstrap over patients, {self.resamples} resamples, "
            f"seed {self.seed}; widened to exact limits where fewer than {exact.FEW} patients are "
            "right or wrong"
        )

    def to_dict(self) -> dict[str, object]:
        """The JSON form in results and checkpoints; figures are ``{"value", "low", "high"}``."""
        return {
            "n_lesions": self.lesions,
            "n_patients": self.patients,
            "classes": list(self.keys),
            "confusion": self.matrix.tolist(),
            "accuracy": self.accuracy.to_json(),
            "balanced_accuracy": self.balanced_accuracy.to_json(),
            "sensitivity": {key: value.to_json() for key, value in self.sensitivity.items()},
            "specificity": {key: value.to_json() for key, value in self.specificity.items()},
            "auc": {key: value.to_json() for key, value in self.auc.items()},
            "interval": self.interval,
        }


def repaired(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored ``Score.to_dict()`` whose intervals without width are exact ones.

    Of a score that was stored before there were any; its confusion matrix tells what is needed. How
    many lesions each patient has is not stored, so all are taken to have as many.
    """
    matrix = np.asarray(stored["confusion"], np.float64)
    lesions, total = matrix.sum(axis=1), float(matrix.sum())
    alike = stored["n_patients"] / total
    others = total - lesions
    known = lesions > 0

    def fitted(entry: Mapping[str, Any], ends: Callable[[float], tuple[float, float]]) -> Any:
        if entry["value"] is None or entry["low"] is None or entry["low"] != entry["high"]:
            return entry
        without = Figure(entry["value"], None, None)
        return without.widened(ends(entry["value"])).to_json()

    def of_trials(trials: float) -> Callable[[float], tuple[float, float]]:
        return lambda value: exact.clopper_pearson(value * trials * alike, trials * alike)

    result = dict(stored)
    for name, counts in (("sensitivity", lesions), ("specificity", others)):
        if name not in stored:
            continue
        least = float(known.sum() * counts[known].min())
        by_count = float((counts[known] * total / lesions[known]).min())
        trials = {
            **dict(zip(stored["classes"], counts.tolist(), strict=True)),
            "macro": least,
            "weighted": by_count,
        }
        result[name] = {
            key: fitted(entry, of_trials(trials[key])) for key, entry in stored[name].items()
        }
    result["accuracy"] = fitted(stored["accuracy"], of_trials(total))
    balanced = of_trials(float(known.sum() * lesions[known].min()))
    result["balanced_accuracy"] = fitted(stored["balanced_accuracy"], balanced)
    sides = list(zip((alike * lesions).tolist(), (alike * others).tolist(), strict=True))
    of_key = dict(zip(stored["classes"], sides, strict=True)) | {"macro": min(sides, key=min)}
    if "auc" in stored:
        result["auc"] = {
            key: fitted(entry, partial(_area_ends, sides=of_key[key]))
            for key, entry in stored["auc"].items()
        }
    return result


def _area_ends(value: float, sides: tuple[float, float]) -> tuple[float, float]:
    return exact.of_area(value, *sides)


def score(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: Sequence[str],
    keys: Sequence[str],
    resamples: int = 2000,
    seed: int = 0,
) -> Score:
    """Score class probabilities (n, classes) against the true positions (n,).

    Raises:
        ValueError: no lesion, lengths that differ, or a probability that is not finite.
    """
    truth_array = np.asarray(truth, np.int64)
    table = np.asarray(probabilities, np.float64)
    classes = len(keys)
    if not truth_array.size or table.shape != (truth_array.size, classes):
        raise ValueError(f"probabilities must be ({truth_array.size}, {classes}), n at least 1")
    if len(patients) != truth_array.size or not np.isfinite(table).all():
        raise ValueError("every lesion needs a patient and finite probabilities")

    matrix = confusion(truth_array, table.argmax(axis=1), classes)
    weights = patient_resamples(patients, resamples, seed)
    cell = truth_array * classes + table.argmax(axis=1)
    one_hot = np.eye(classes * classes)[cell]
    matrices = (weights @ one_hot).reshape(resamples, classes, classes)

    supported = Supported(truth_array, patients, classes)
    called = table.argmax(axis=1)[None]

    def per_class(
        measure: Callable[[npt.ArrayLike], Floats], behind: Sequence[exact.Support]
    ) -> dict[str, Figure]:
        values, drawn = measure(matrix), measure(matrices)
        intervals = {
            key: supported.share(percentile_interval(float(values[i]), drawn[:, i]), behind[i])
            for i, key in enumerate(keys)
        }
        for name, value, draws in (
            ("weighted", weighted(values, matrix), weighted(drawn, matrices)),
            ("macro", mean_known(values), mean_known(drawn)),
        ):
            intervals[name] = supported.mean(
                percentile_interval(float(value), draws), behind, weighted=name == "weighted"
            )
        return intervals

    areas = [area.auc(truth_array == i, table[:, i]) for i in range(classes)]
    drawn_areas = np.stack(
        [area.weighted(truth_array == i, table[:, i], weights) for i in range(classes)], axis=1
    )
    plain = [percentile_interval(areas[i], drawn_areas[:, i]) for i in range(classes)]
    each = [supported.area(one, i, table[None, :, i]) for i, one in enumerate(plain)]
    aucs = dict(zip(keys, each, strict=True))
    aucs["macro"] = supported.mean_area(
        percentile_interval(float(mean_known(np.asarray(areas))), mean_known(drawn_areas)),
        plain,
        each,
    )
    sensitivity = per_class(sensitivities, supported.sensitivity(called))
    return Score(
        keys=tuple(keys),
        lesions=int(truth_array.size),
        patients=len(set(patients)),
        matrix=matrix,
        sensitivity=sensitivity,
        specificity=per_class(specificities, supported.specificity(called)),
        auc=aucs,
        accuracy=sensitivity["weighted"],
        # of one label each, balanced accuracy is the mean sensitivity
        balanced_accuracy=sensitivity["macro"],
        resamples=resamples,
        seed=seed,
    )


def mean_known(values: Floats) -> Floats:
    """Mean over the last axis of what is finite; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1))
