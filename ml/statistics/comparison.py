"""Two classifiers on the same lesions, over several trainings (seeds) of each.

The difference is that of balanced accuracies, averaged over seeds. Since balanced accuracy is a
sum over lesions, so is the difference; a patient's part in it is what permutation and bootstrap
move about. ``right`` is (seeds, n): whether each training of an arm was right on each lesion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.statistics import area, calibration, classification, exact
from ml.statistics.classification import patient_resamples, percentile_interval
from ml.statistics.figure import Figure
from ml.statistics.roc_curve import RocCurve, mean_curve

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

EXACT_PATIENTS = 14
"""Up to so many patients who make a difference, all 2ⁿ sign patterns are gone through."""
_AT_A_TIME = 2000
_BAND = 500
"""Resamples of a ROC curve's band, at most; and draws of an error by chance."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another.

    Attributes:
        difference: of balanced accuracies, first minus second; 95 % interval from a bootstrap
            over patients with seeds drawn again within each resample.
        p: two-sided, by sign-flip permutation of patients.
        mcnemar_p: exact, per seed; each tests two networks, not the two methods.
    """

    difference: Figure
    p: float
    mcnemar_p: tuple[float, ...]


def compare(
    first: Bools,
    second: Bools,
    truth: Ints,
    patients: Sequence[str],
    resamples: int,
    permutations: int,
    seed: int,
) -> Comparison:
    """Compare two arms: ``first`` and ``second`` (seeds, lesions) say who was right.

    Args:
        first, second: their rows are the same seeds, their columns the same lesions.
        truth: (lesions,) class positions.
        patients: whose lesion each is.

    Raises:
        ValueError: shapes that do not fit each other, or nothing to compare.
    """
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != len(truth):
        raise ValueError("both arms must be (seeds, lesions) of the same seeds and lesions")
    if not first.size or len(patients) != len(truth):
        raise ValueError("there must be lesions, each with a patient")
    gaps = first.astype(np.float64) - second.astype(np.float64)
    return Comparison(
        difference_interval(gaps, truth, patients, resamples, seed),
        sign_flip_p(gaps, truth, patients, permutations, seed),
        tuple(mcnemar_p(a, b) for a, b in zip(first, second, strict=True)),
    )


def balanced(values: Floats, truth: Ints) -> Floats:
    """Mean over classes of class means of ``values`` (…, n): balanced accuracy of 0/1 values."""
    means = [values[..., truth == key].mean(axis=-1) for key in np.unique(truth)]
    return np.asarray(np.mean(means, axis=0))


def resampled(
    values: Floats, truth: Ints, patients: Sequence[str], resamples: int, seed: int
) -> Floats:
    """``balanced`` of ``values`` (…, seeds, n), averaged over seeds, in bootstrap resamples.

    Each resample draws patients with replacement and, within it, seeds with replacement; the same
    seed of the bootstrap draws the same, so that several arms can be resampled together.
    Returns (…, resamples).
    """
    weights = _weights(tuple(patients), resamples, seed)
    share = turns(values.shape[-2], resamples, seed)
    keys = np.unique(truth)
    total: Floats = np.zeros((*values.shape[:-1], resamples))
    known: Floats = np.zeros(resamples)
    for key in keys:
        own = weights[:, truth == key]
        count = own.sum(axis=1)
        sums = values[..., truth == key] @ own.T
        # a class that no drawn patient has does not count in that resample
        total += np.divide(sums, count, out=np.zeros_like(sums), where=count > 0)
        known += count > 0
    return np.asarray((total / known * share.T).sum(axis=-2))


def turns(seeds: int, resamples: int, seed: int) -> Floats:
    """(resamples, seeds): the share that each seed has when seeds are drawn with replacement."""
    rng = np.random.default_rng([seed, 1])
    return np.asarray(rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds)


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
) -> dict[str, dict[str, Figure]]:
    """``sensitivity``, ``specificity`` and ``auc`` of one arm, averaged over seeds.

    Each by class key and ``macro``, the first two also ``weighted`` by class counts; the intervals
    are those of ``resampled``: patients drawn again, and seeds within.

    Args:
        probabilities: (seeds, n, classes).
    """
    seeds, classes = len(probabilities), len(keys)
    share = turns(seeds, resamples, seed).T
    weights = _weights(tuple(patients), resamples, seed)

    def interval(values: Floats, draws: Floats) -> Figure:
        return percentile_interval(float(values.mean()), (draws * share).sum(axis=0))

    called = probabilities.argmax(axis=2)
    supported = classification.Supported(truth, patients, classes)
    cells = np.eye(classes * classes)[truth * classes + called]
    matrix = cells.sum(axis=1).reshape(seeds, classes, classes)
    matrices = (weights @ cells).reshape(seeds, resamples, classes, classes)
    found: dict[str, dict[str, Figure]] = {}
    for name, measure, behind in (
        ("sensitivity", classification.sensitivities, supported.sensitivity(called)),
        ("specificity", classification.specificities, supported.specificity(called)),
    ):
        values, draws = measure(matrix), measure(matrices)
        found[name] = {
            key: supported.share(interval(values[..., i], draws[..., i]), behind[i])
            for i, key in enumerate(keys)
        }
        for mean, value, drawn in (
            (
                "weighted",
                classification.weighted(values, matrix),
                classification.weighted(draws, matrices),
            ),
            ("macro", classification.mean_known(values), classification.mean_known(draws)),
        ):
            found[name][mean] = supported.mean(
                interval(value, drawn), behind, weighted=mean == "weighted"
            )
    areas, drawn = np.empty((seeds, classes)), np.empty((seeds, resamples, classes))
    for i in range(classes):
        for k, table in enumerate(probabilities):
            areas[k, i] = area.auc(truth == i, table[:, i])
            drawn[k, :, i] = area.weighted(truth == i, table[:, i], weights)
    plain = [interval(areas[:, i], drawn[..., i]) for i in range(classes)]
    each = [supported.area(one, i, probabilities[..., i]) for i, one in enumerate(plain)]
    found["auc"] = dict(zip(keys, each, strict=True))
    found["auc"]["macro"] = supported.mean_area(
        interval(classification.mean_known(areas), classification.mean_known(drawn)), plain, each
    )
    return found


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
    "bootstrap over patients with seeds drawn again within; the calibration error's is moved by "
    "the bootstrap's own bias, since a resample looks less calibrated than the sample."
)
"""How ``believed`` counts, in words."""


def believed(
    truth: Ints, probabilities: Floats, patients: Sequence[str], resamples: int, seed: int
) -> Believed:
    """Brier score, log loss and calibration error of one arm, averaged over seeds; see `BELIEVED`.

    Args:
        probabilities: (seeds, n, classes); each lesion's add up to 1.
    """
    weights = _weights(tuple(patients), resamples, seed)
    share = turns(len(probabilities), resamples, seed).T
    total = weights.sum(axis=1)

    def mean(each: Floats) -> Figure:
        drawn = ((each @ weights.T) / total * share).sum(axis=0)
        return percentile_interval(float(each.mean()), drawn)

    confidence = probabilities.max(axis=2)
    right = (probabilities.argmax(axis=2) == truth).astype(np.float64)
    once = np.ones((1, truth.size))
    pairs = list(zip(confidence, right, strict=True))
    value = float(np.mean([calibration.error(c, r, once) for c, r in pairs]))
    drawn = np.stack([calibration.error(c, r, weights) for c, r in pairs])
    moved = (drawn * share).sum(axis=0)
    moved = np.clip(moved + value - moved.mean(), 0.0, 1.0)
    draws = min(resamples, _BAND)
    floors = [calibration.by_chance(one, draws, seed) for one in confidence]
    return Believed(
        brier=mean(calibration.brier(truth, probabilities)),
        log_loss=mean(calibration.log_loss(truth, probabilities)),
        error=percentile_interval(value, moved),
        error_by_chance=float(np.mean(floors)),
    )


def curves(
    truth: Ints,
    probabilities: Floats,
    patients: Sequence[str],
    keys: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, RocCurve]:
    """The ROC curve of each class against the rest, seeds averaged; patients and seeds drawn again.

    A class without lesions, or with all of them, has none.

    Args:
        probabilities: (seeds, n, classes).
    """
    draws = min(resamples, _BAND)
    weights = _weights(tuple(patients), resamples, seed)[:draws]
    share = turns(len(probabilities), resamples, seed)[:draws]
    found = {
        key: mean_curve(truth == i, probabilities[:, :, i], weights, share)
        for i, key in enumerate(keys)
    }
    return {key: curve for key, curve in found.items() if curve is not None}


def share_interval(
    shares: Floats, truth: Ints, patients: Sequence[str], resamples: int, seed: int
) -> Figure:
    """Mean over seeds and, each class alike, over lesions of ``shares`` (seeds, n) in 0…1.

    Where few patients are right or wrong it is widened to an exact one (`exact`).
    """
    value = float(balanced(shares, truth).mean())
    found = percentile_interval(value, resampled(shares, truth, patients, resamples, seed))
    member = exact.member_of(patients)
    behind = [exact.support(shares > 0.5, truth == key, member) for key in np.unique(truth)]
    if found.ends is not None and not exact.is_thin(behind):
        return found
    trials = _trials(behind, patients)
    return found.widened(exact.clopper_pearson(value * trials, trials))


def difference_interval(
    gaps: Floats, truth: Ints, patients: Sequence[str], resamples: int, seed: int
) -> Figure:
    """Mean difference in balanced accuracy and its interval, of ``gaps`` (seeds, n) in −1…1.

    Where the arms differ on few patients it is widened: what the first alone has right, less what
    the second alone has, each in its exact interval (`exact`).
    """
    value = float(balanced(gaps, truth).mean())
    found = percentile_interval(value, resampled(gaps, truth, patients, resamples, seed))
    member, differs = exact.member_of(patients), (gaps != 0).any(axis=0)
    behind = [exact.support(differs[None], truth == key, member) for key in np.unique(truth)]
    thin = sum(item.right for item in behind) < exact.FEW or any(
        item.right < exact.FEW and item.patients < exact.SMALL for item in behind
    )
    if found.ends is not None and not thin:
        return found
    first, second = (
        float(balanced(np.maximum(sign * gaps, 0).mean(axis=0), truth)) for sign in (1, -1)
    )
    return found.widened(exact.of_difference(first, second, _trials(behind, patients)))


def _trials(behind: Sequence[exact.Support], patients: Sequence[str]) -> float:
    """Trials behind a mean in which each class counts alike."""
    own = exact.shared(behind, len(set(patients)))
    return exact.trials_of_mean(behind, [1 / len(behind)] * len(behind), own)


def sign_flip_p(
    gaps: Floats, truth: Ints, patients: Sequence[str], permutations: int, seed: int
) -> float:
    """Two-sided p: how often a patient-wise swap of the two arms gives as large a difference.

    Under the null hypothesis a patient's outcomes could as well have carried the other arm's
    name, in all seeds at once. Exact for few patients; else Monte Carlo, the observed counted in
    (Phipson and Smyth 2010). ``gaps`` (seeds, lesions) is 1, 0 or −1: right in the first arm
    minus right in the second.
    """
    names, member = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    keys, counts = np.unique(truth, return_counts=True)
    share = 1.0 / (len(keys) * counts[np.searchsorted(keys, truth)])
    part = np.bincount(member, gaps.mean(axis=0) * share, minlength=len(names))
    part = part[np.abs(part) > 1e-12]
    if not part.size:
        return 1.0
    seen = abs(part.sum()) - 1e-9
    if part.size <= EXACT_PATIENTS:
        patterns = np.arange(2**part.size)[:, None] >> np.arange(part.size) & 1
        return float((np.abs((2 * patterns - 1) @ part) >= seen).mean())
    rng = np.random.default_rng([seed, 2])
    extreme, left = 0, permutations
    while left > 0:
        size = min(left, _AT_A_TIME)
        signs = rng.integers(0, 2, (size, part.size)) * 2 - 1
        extreme += int((np.abs(signs @ part) >= seen).sum())
        left -= size
    return (1 + extreme) / (1 + permutations)


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
    arm: Floats,
    base: Floats,
    best: Floats,
    truth: Ints,
    patients: Sequence[str],
    resamples: int,
    seed: int,
) -> tuple[Figure, bool]:
    """(arm − base) / (best − base) in balanced accuracy, and whether the gap is above zero.

    All three are (seeds, n) and resampled together. The flag is False where the interval of
    best − base reaches zero: a share of a gap that may not exist says nothing.
    """
    stacked = np.stack([arm, base, best])
    value = balanced(stacked, truth).mean(axis=-1)
    drawn = resampled(stacked, truth, patients, resamples, seed)
    gap = drawn[2] - drawn[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(gap != 0, (drawn[0] - drawn[1]) / gap, np.nan)
        share = (value[0] - value[1]) / (value[2] - value[1])
    ends = percentile_interval(float(value[2] - value[1]), gap).ends
    return percentile_interval(float(share), shares), ends is not None and ends[0] > 0
