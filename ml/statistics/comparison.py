"""Two classifiers on the same lesions, over several trainings (seeds) of each.

The difference is that of balanced accuracies, averaged over seeds. Since balanced accuracy is a
sum over lesions, so is the difference, and each patient and each network has its part in it
(`trainings`). ``right`` is (seeds, n): whether each training of an arm was right on each lesion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.statistics import area, calibration, classification, exact, trainings
from ml.statistics.classification import patient_resamples
from ml.statistics.figure import Figure
from ml.statistics.roc_curve import RocCurve, mean_curve

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_BAND = 500
"""Resamples of a ROC curve's band, at most; and draws of an error by chance."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another.

    Attributes:
        difference: of balanced accuracies, first minus second, with its 95 % interval …
        p: … and the two-sided p that agrees with it: under 0.05 where it leaves 0 out.
        training: the share of its variance that is chance of training, 0–1; None where nothing
            tells of it, which is with one seed and no folds.
        mcnemar_p: exact, per seed; each tests two networks, not the two methods.
    """

    difference: Figure
    p: float
    training: float | None
    mcnemar_p: tuple[float, ...]


def compare(
    first: Bools,
    second: Bools,
    truth: Ints,
    patients: Sequence[str],
    folds: Ints | None = None,
) -> Comparison:
    """Compare two arms: ``first`` and ``second`` (seeds, lesions) say who was right.

    Args:
        first, second: their rows are the same seeds, their columns the same lesions.
        truth: (lesions,) class positions.
        patients: whose lesion each is.
        folds: (seeds, lesions) the fold in which each was tested, where each had its own network.

    Raises:
        ValueError: shapes that do not fit each other, or nothing to compare.
    """
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != len(truth):
        raise ValueError("both arms must be (seeds, lesions) of the same seeds and lesions")
    if not first.size or len(patients) != len(truth):
        raise ValueError("there must be lesions, each with a patient")
    gaps = first.astype(np.float64) - second.astype(np.float64)
    spread = _spread(gaps, truth, patients, folds)
    found, p = _difference(gaps, truth, patients, spread)
    each = tuple(mcnemar_p(a, b) for a, b in zip(first, second, strict=True))
    return Comparison(found, p, spread.share, each)


def balanced(values: Floats, truth: Ints) -> Floats:
    """Mean over classes of class means of ``values`` (…, n): balanced accuracy of 0/1 values."""
    means = [values[..., truth == key].mean(axis=-1) for key in np.unique(truth)]
    return np.asarray(np.mean(means, axis=0))


def resampled(
    values: Floats, truth: Ints, patients: Sequence[str], resamples: int, seed: int
) -> Floats:
    """``balanced`` of ``values`` (n,) in bootstrap resamples of patients: (resamples,)."""
    weights = _weights(tuple(patients), resamples, seed)
    total, known = np.zeros(resamples), np.zeros(resamples)
    for key in np.unique(truth):
        own = weights[:, truth == key]
        count = own.sum(axis=1)
        sums = own @ values[truth == key]
        # a class that no drawn patient has does not count in that resample
        total += np.divide(sums, count, out=np.zeros_like(sums), where=count > 0)
        known += count > 0
    return np.asarray(total / known)


@lru_cache(maxsize=4)
def _weights(patients: tuple[str, ...], resamples: int, seed: int) -> Floats:
    return patient_resamples(patients, resamples, seed)


def rates(
    truth: Ints,
    probabilities: Floats,
    patients: Sequence[str],
    keys: Sequence[str],
    resamples: int,
    seed: int,
    folds: Ints | None = None,
) -> dict[str, dict[str, Figure]]:
    """``sensitivity``, ``specificity`` and ``auc`` of one arm, averaged over seeds.

    Each by class key and ``macro``, the first two also ``weighted`` by class counts; intervals over
    patients and trainings (`trainings`).

    Args:
        probabilities: (seeds, n, classes).
        folds: (seeds, n), as in ``compare``.
    """
    seeds, classes = len(probabilities), len(keys)
    weights = _weights(tuple(patients), resamples, seed)
    member = exact.member_of(patients)

    def interval(values: Floats, draws: Floats, parts: Floats, group: Ints = truth) -> Figure:
        spread = trainings.of_parts(values, parts, member, group, folds)
        return trainings.interval(float(values.mean()), draws.mean(axis=0), spread, 0.0, 1.0)

    called = probabilities.argmax(axis=2)
    supported = classification.Supported(truth, patients, classes)
    cells = np.eye(classes * classes)[truth * classes + called]
    matrix = cells.sum(axis=1).reshape(seeds, classes, classes)
    matrices = (weights @ cells).reshape(seeds, resamples, classes, classes)
    counts = np.bincount(truth, minlength=classes) / truth.size
    found: dict[str, dict[str, Figure]] = {}
    of_class = np.arange(classes)[:, None, None]
    for name, measure, hit, among, behind in (
        (
            "sensitivity",
            classification.sensitivities,
            called == truth,
            truth == of_class,
            supported.sensitivity(called),
        ),
        (
            "specificity",
            classification.specificities,
            called != of_class,
            truth != of_class,
            supported.specificity(called),
        ),
    ):
        values, draws = measure(matrix), measure(matrices)
        parts = _parts(hit.astype(np.float64), among)
        found[name] = {
            key: supported.share(interval(values[..., i], draws[..., i], parts[i]), behind[i])
            for i, key in enumerate(keys)
        }
        known = np.isfinite(values).all(axis=0)
        alike = known / max(known.sum(), 1)
        by_count = counts * known / max((counts * known).sum(), 1e-12)
        if name == "sensitivity":  # weighted, it is the accuracy: class counts are drawn, too
            everyone = (called == truth).astype(np.float64)
            weighted_parts, group = _parts(everyone), 0 * truth
        else:
            weighted_parts, group = np.tensordot(by_count, parts, 1), truth
        for mean, value, drawn, part, of in (
            (
                "weighted",
                classification.weighted(values, matrix),
                classification.weighted(draws, matrices),
                weighted_parts,
                group,
            ),
            (
                "macro",
                classification.mean_known(values),
                classification.mean_known(draws),
                np.tensordot(alike, parts, 1),
                truth,
            ),
        ):
            found[name][mean] = supported.mean(
                interval(value, drawn, part, of), behind, weighted=mean == "weighted"
            )
    of_areas = [_areas(truth == i, probabilities[..., i], weights) for i in range(classes)]
    areas, drawn = (np.stack([one[j] for one in of_areas], axis=-1) for j in (0, 2))
    parts = np.stack([one[1] for one in of_areas])
    plain = [interval(values, draws, part) for values, part, draws in of_areas]
    each = [supported.area(one, i, probabilities[..., i]) for i, one in enumerate(plain)]
    found["auc"] = dict(zip(keys, each, strict=True))
    known = np.isfinite(areas).all(axis=0)
    found["auc"]["macro"] = supported.mean_area(
        interval(
            classification.mean_known(areas),
            classification.mean_known(drawn),
            parts[known].mean(axis=0) if known.any() else parts[0],
        ),
        plain,
        each,
    )
    return found


def _areas(positive: Bools, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Of one class: areas (seeds,), what each lesion adds (seeds, n), resamples (seeds, b)."""
    return (
        np.asarray([area.auc(positive, row) for row in scores]),
        np.stack([area.parts(positive, row) for row in scores]),
        np.stack([area.weighted(positive, row, weights) for row in scores]),
    )


def _parts(values: Floats, among: Bools | np.bool_ = np.True_) -> Floats:
    """What each lesion adds to the mean of ``values`` (…, n) ``among`` some, beyond the mean."""
    values, inside = np.broadcast_arrays(values, among)
    count = np.maximum(inside.sum(axis=-1, keepdims=True), 1)
    mean = np.where(inside, values, 0.0).sum(axis=-1, keepdims=True) / count
    return np.where(inside, (values - mean) / count, 0.0)


def _balanced_parts(values: Floats, truth: Ints) -> Floats:
    """What each lesion adds to ``balanced`` of ``values`` (seeds, n)."""
    keys = np.unique(truth)
    each = _parts(values[None], (truth == keys[:, None])[:, None])
    return np.asarray(each.sum(axis=0) / len(keys))


@dataclass(frozen=True)
class Believed:
    """How far the probabilities of one arm can be believed, its seeds averaged.

    Attributes:
        brier: mean over lesions, 0–2.
        log_loss: mean over lesions, natural logarithm.
        error: calibration error in bins of equal mass, 0–1 …
        error_by_chance: … and what it would be on average were every confidence true.
    """

    brier: Figure
    log_loss: Figure
    error: Figure
    error_by_chance: float


BELIEVED = (
    "Brier score: summed over classes, 0 to 2. Log loss: natural logarithm, probabilities under "
    f"{calibration.LEAST:g} count as that. Calibration error: gap between confidence in the called "
    f"class and share right, {calibration.BINS} bins of equal mass, ties never parted; beside it "
    "its mean were every confidence true, lesions independent. Intervals: 95 % percentile "
    "bootstrap over patients, stretched for chance of training as far as seeds and folds tell of "
    "it; the calibration error's is moved by the bootstrap's own bias, since a resample looks less "
    "calibrated than the sample."
)
"""How ``believed`` counts, in words."""


def believed(
    truth: Ints,
    probabilities: Floats,
    patients: Sequence[str],
    resamples: int,
    seed: int,
    folds: Ints | None = None,
) -> Believed:
    """Brier score, log loss and calibration error of one arm, averaged over seeds; see `BELIEVED`.

    Args:
        probabilities: (seeds, n, classes); each lesion's add up to 1.
        folds: (seeds, n), as in ``compare``.
    """
    weights = _weights(tuple(patients), resamples, seed)
    member, once = exact.member_of(patients), np.ones((1, truth.size))
    total = weights.sum(axis=1)

    def mean(each: Floats) -> Figure:
        spread = trainings.of_parts(each.mean(axis=1), _parts(each), member, 0 * truth, folds)
        drawn = (each.mean(axis=0) @ weights.T) / total
        return trainings.interval(float(each.mean()), drawn, spread, 0.0)

    confidence = probabilities.max(axis=2)
    right = (probabilities.argmax(axis=2) == truth).astype(np.float64)
    pairs = list(zip(confidence, right, strict=True))
    values = np.asarray([calibration.error(c, r, once)[0] for c, r in pairs])
    value = float(values.mean())
    drawn = np.stack([calibration.error(c, r, weights) for c, r in pairs])
    spread = trainings.of_draws(values, drawn, int(member.max()) + 1)
    moved = drawn.mean(axis=0)
    moved = np.clip(moved + value - moved.mean(), 0.0, 1.0)
    draws = min(resamples, _BAND)
    floors = [calibration.by_chance(one, draws, seed) for one in confidence]
    return Believed(
        brier=mean(calibration.brier(truth, probabilities)),
        log_loss=mean(calibration.log_loss(truth, probabilities)),
        error=trainings.interval(value, moved, spread, 0.0, 1.0),
        error_by_chance=float(np.mean(floors)),
    )


def curves(
    truth: Ints,
    probabilities: Floats,
    patients: Sequence[str],
    keys: Sequence[str],
    resamples: int,
    seed: int,
    folds: Ints | None = None,
) -> dict[str, RocCurve]:
    """The ROC curve of each class against the rest, seeds averaged.

    Its band draws patients again and is stretched as the interval of its area is. A class without
    lesions, or with all of them, has none.

    Args:
        probabilities: (seeds, n, classes).
        folds: (seeds, n), as in ``compare``.
    """
    weights = _weights(tuple(patients), resamples, seed)[: min(resamples, _BAND)]
    member = exact.member_of(patients)

    def of_class(positive: Bools, scores: Floats) -> RocCurve | None:
        areas, parts, drawn = _areas(positive, scores, weights)
        spread = trainings.of_parts(areas, parts, member, truth, folds)
        return mean_curve(positive, scores, weights, spread.widening(drawn.mean(axis=0)))

    found = {key: of_class(truth == i, probabilities[:, :, i]) for i, key in enumerate(keys)}
    return {key: curve for key, curve in found.items() if curve is not None}


def share_interval(
    shares: Floats,
    truth: Ints,
    patients: Sequence[str],
    resamples: int,
    seed: int,
    folds: Ints | None = None,
) -> Figure:
    """Mean over seeds and, each class alike, over lesions of ``shares`` (seeds, n) in 0…1.

    Where few patients are right or wrong it is widened to an exact one (`exact`).

    Args:
        folds: (seeds, n), as in ``compare``.
    """
    value = float(balanced(shares, truth).mean())
    spread = _spread(shares, truth, patients, folds)
    drawn = resampled(shares.mean(axis=0), truth, patients, resamples, seed)
    found = trainings.interval(value, drawn, spread, 0.0, 1.0)
    member = exact.member_of(patients)
    behind = [exact.support(shares > 0.5, truth == key, member) for key in np.unique(truth)]
    if found.ends is not None and not exact.is_thin(behind):
        return found
    trials = _trials(behind, patients)
    return found.widened(exact.clopper_pearson(value * trials, trials))


def difference_interval(
    gaps: Floats, truth: Ints, patients: Sequence[str], folds: Ints | None = None
) -> Figure:
    """Mean difference in balanced accuracy and its interval, of ``gaps`` (seeds, n) in −1…1.

    Where the arms differ on few patients it is widened: what the first alone has right, less what
    the second alone has, each in its exact interval (`exact`).

    Args:
        folds: (seeds, n), as in ``compare``.
    """
    return _difference(gaps, truth, patients, _spread(gaps, truth, patients, folds))[0]


def _spread(
    values: Floats, truth: Ints, patients: Sequence[str], folds: Ints | None
) -> trainings.Spread:
    """The chance in the mean over seeds of ``balanced`` of ``values`` (seeds, n)."""
    scores, parts = balanced(values, truth), _balanced_parts(values, truth)
    return trainings.of_parts(scores, parts, exact.member_of(patients), truth, folds)


def _difference(
    gaps: Floats, truth: Ints, patients: Sequence[str], spread: trainings.Spread
) -> tuple[Figure, float]:
    """The interval, and the p that agrees with it."""
    value = float(balanced(gaps, truth).mean())
    reach = spread.reach() * spread.error
    found = Figure(value, max(-1.0, value - reach), min(1.0, value + reach))
    p = spread.p(value)
    member, differs = exact.member_of(patients), (gaps != 0).any(axis=0)
    behind = [exact.support(differs[None], truth == key, member) for key in np.unique(truth)]
    thin = sum(item.right for item in behind) < exact.FEW or any(
        item.right < exact.FEW and item.patients < exact.SMALL for item in behind
    )
    if reach and not thin:
        return found, p
    first, second = (
        float(balanced(np.maximum(sign * gaps, 0).mean(axis=0), truth)) for sign in (1, -1)
    )
    trials = _trials(behind, patients)
    ends = exact.of_difference(first, second, trials)
    return found.widened(ends), max(p, exact.p_of_difference(first, second, trials))


def _trials(behind: Sequence[exact.Support], patients: Sequence[str]) -> float:
    """Trials behind a mean in which each class counts alike."""
    own = exact.shared(behind, len(set(patients)))
    return exact.trials_of_mean(behind, [1 / len(behind)] * len(behind), own)


def mcnemar_p(first: Bools, second: Bools) -> float:
    """Two-sided exact p of McNemar's test (1947) on the right answers (n,) of two to the same."""
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    n = only_first + only_second
    if not n:
        return 1.0
    return float(min(1.0, 2 * scipy.stats.binom.cdf(min(only_first, only_second), n, 0.5)))


def p_text(p: float, sign: str = "") -> str:
    """A p as it is written: ``0.123`` behind ``sign``, or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"{sign}{p:.3f}"


def holm(values: Sequence[float]) -> list[float]:
    """Adjusted p of a family of tests (Holm 1979), in the order given."""
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return [float(p) for p in adjusted]


def share_of_gap(
    arm: Floats, base: Floats, best: Floats, truth: Ints, patients: Sequence[str]
) -> tuple[Figure, bool]:
    """(arm − base) / (best − base) in balanced accuracy, and whether the gap is above zero.

    All three are (seeds, n) of the same lesions; the interval is by the delta method. The flag is
    False where the interval of best − base reaches zero: a share of a gap that may not exist says
    nothing.
    """
    gap = best - base
    whole = float(balanced(gap, truth).mean())
    ends = difference_interval(gap, truth, patients).ends
    if not whole:
        return Figure(None, None, None), False
    share = float(balanced(arm - base, truth).mean()) / whole
    spread = _spread((arm - base - share * gap) / whole, truth, patients, None)
    reach = spread.reach() * spread.error
    return Figure(share, share - reach, share + reach), ends is not None and ends[0] > 0
