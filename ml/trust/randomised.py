"""Does a map show what a network learned? Others, of networks that learned nothing, are beside it.

The check of Adebayo et al. (2018, arXiv 1810.03292): layer after layer, from the answer down, the
weights are replaced by random ones, as training begins with them (Glorot uniform, biases 0), and
the map is made again, of the same class. A map that stays shows the picture, or the architecture,
and not what was learned. To pass it is the least that can be asked of a map, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.statistics import classification, correlation
from ml.statistics.figure import Figure
from ml.trust.differentiated import LAYERS, Cnn, Layer, Pass
from ml.trust.novelty import share
from ml.trust.saliency import Method, Score, maps

Floats = npt.NDArray[np.float64]

DRAWS = 6
"""Networks with random weights at each step."""
ALIKE = 0.5
"""From this rank correlation on, maps are called alike: a quarter of the variance of their ranks is
common to both. No study gives a limit; this one is the software's choice."""
_RESAMPLES = 2000
_UNDEFINED = Figure.undefined(0, "", "no map could be compared")
_SIGMA, _TRUNCATE, _K1, _K2 = 1.5, 3.5, 0.01, 0.03
"""Of the structural similarity (Wang et al. 2004, IEEE Trans Image Process 13:600)."""


@dataclass(frozen=True)
class Likeness:
    """How alike two maps are.

    Attributes:
        rank: Spearman's correlation of their strengths, which are values without sign; −1 to 1.
        signed: the same of the values with their sign.
        structure: structural similarity of the strengths, each in parts of its largest; −1 to 1.
    """

    rank: float
    signed: float
    structure: float


@dataclass(frozen=True)
class Step:
    """Maps after some layers were made random.

    Attributes:
        layers: those that were, from the answer down.
        likeness: to the map of the network as it is, mean over the draws; None: no draw gave a
            map.
        lowest, highest: rank correlations of the draws.
        empty: of how many draws the map was empty; they are in none of the figures.
    """

    layers: tuple[str, ...]
    likeness: Likeness | None
    lowest: float
    highest: float
    empty: int


@dataclass(frozen=True)
class Check:
    """The check of one map.

    Attributes:
        steps: from random weights in the last layer alone to random weights in all.
        draws: random networks at each step.
    """

    steps: tuple[Step, ...]
    draws: int

    @property
    def passes(self) -> bool | None:
        """Whether maps of networks that learned nothing look otherwise; None: there are none.

        One that is strong wherever theirs are weak follows them, too.
        """
        found = self.steps[-1].likeness
        return None if found is None else abs(found.rank) < ALIKE

    @property
    def sentence(self) -> str:
        """In words, with the figure."""
        last = self.steps[-1]
        if last.likeness is None:
            return (
                f"Of {self.draws} networks with random weights none gives a map for this class, so "
                "there is nothing to compare this one with."
            )
        of = (
            f"rank correlation {told(last.likeness.rank)}, mean of {self.draws - last.empty} from "
            f"{told(last.lowest)} to {told(last.highest)}"
            + (f"; {last.empty} more gave no map" if last.empty else "")
        )
        if self.passes:
            return (
                f"Maps of networks with random weights look otherwise ({of}): this one depends on "
                "what was learned. That is the least that can be asked of a map."
            )
        where = "are strong in the same places" if last.likeness.rank > 0 else "are its reverse"
        return (
            f"Maps of networks with random weights {where} ({of}): where this one is strong says "
            "little about what was learned."
        )


@dataclass(frozen=True)
class StepOfMany:
    """Of the maps of many ROIs after some layers were made random, each with an interval over
    patients.

    Attributes:
        layers: those that were.
        rank, signed, structure: mean over ROIs, each the mean over its draws.
    """

    layers: tuple[str, ...]
    rank: Figure
    signed: Figure
    structure: Figure


@dataclass(frozen=True)
class CheckOfMany:
    """The check of the maps of many ROIs.

    Attributes:
        steps: as `Check.steps`.
        passing: the share of maps that pass, of those that could be compared.
        n, n_patients: ROIs and patients that were asked.
        empty: ROIs whose map is empty: nothing to compare.
    """

    method: Method
    steps: tuple[StepOfMany, ...]
    passing: Figure
    n: int
    n_patients: int
    empty: int


def check(
    seen: Sequence[Pass],
    rois: npt.NDArray[np.floating],
    score: Score,
    method: Method,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Check | None]:
    """The check of the map of each of n ROIs; None for a map that is empty.

    Args:
        seen: what each network computed of ROIs (n, 64, 64).
        score: of which the maps are.
        draws: random networks at each step.
        seed: the same gives the same random weights.
    """
    own = maps(seen, rois, score, method)
    # a likeness needs no more than single precision, and it takes half the time
    single = [one.network.single().see(rois) for one in seen]
    found: list[list[list[Likeness | None]]] = [[] for _ in LAYERS]
    for draw in range(draws):
        known = single
        for depth in range(len(LAYERS)):
            known = [
                without(one.network, LAYERS[depth], [seed, draw, place]).see(rois, one)
                for place, one in enumerate(known)
            ]
            other = maps(known, rois, score, method)
            found[depth].append([likeness(a, b) for a, b in zip(own, other, strict=True)])
    return [
        Check(
            tuple(
                _step(LAYERS[: depth + 1], [row[i] for row in rows])
                for depth, rows in enumerate(found)
            ),
            draws,
        )
        if np.ptp(own[i])
        else None
        for i in range(len(own))
    ]


def of_many(
    checks: Sequence[Check | None], method: Method, patients: Sequence[str], seed: int = 0
) -> CheckOfMany:
    """The checks of many ROIs as one, with 95 % intervals over patients.

    Args:
        checks: one for each ROI, as `check` gives them.
        patients: whose each is; ROIs of one patient are drawn together.

    Raises:
        ValueError: lengths that differ, or no ROI.
    """
    if len(checks) != len(patients) or not checks:
        raise ValueError("every check needs its patient, and there must be one")
    kept = [(one, who) for one, who in zip(checks, patients, strict=True) if one is not None]
    steps = []
    for depth in range(len(LAYERS)):
        found = [(one.steps[depth].likeness, who) for one, who in kept]
        owners = [who for one, who in found if one is not None]
        rows = [one for one, _ in found if one is not None]
        steps.append(
            StepOfMany(
                LAYERS[: depth + 1],
                *(
                    _mean([getattr(one, name) for one in rows], owners, seed)
                    for name in ("rank", "signed", "structure")
                ),
            )
        )
    judged = [(one.passes, who) for one, who in kept if one.passes is not None]
    passing = (
        share(np.asarray([one for one, _ in judged]), [who for _, who in judged])
        if judged
        else _UNDEFINED
    )
    return CheckOfMany(
        method, tuple(steps), passing, len(checks), len(set(patients)), len(checks) - len(kept)
    )


def _mean(values: Sequence[float], patients: Sequence[str], seed: int) -> Figure:
    if not values:
        return _UNDEFINED
    weights = classification.patient_resamples(patients, _RESAMPLES, seed)
    each = np.asarray(values, np.float64)
    drawn = (weights @ each) / weights.sum(axis=1)
    return classification.percentile_interval(float(each.mean()), drawn)


def without(network: Cnn, layer: str, seed: Sequence[int]) -> Cnn:
    """The network with one layer as training begins with it; the same ``seed`` draws the same."""
    known = network.layers[layer]
    shape, taps = known.weight.shape, int(np.prod(known.weight.shape[2:]))
    most = np.sqrt(6 / ((shape[0] + shape[1]) * taps))  # Glorot uniform
    rng = np.random.default_rng([*seed, LAYERS.index(layer)])
    drawn = most * (2 * rng.random(shape, np.float32) - 1)
    weight = drawn.astype(known.weight.dtype, copy=False)
    return Cnn({**network.layers, layer: Layer(weight, np.zeros_like(known.bias))}, network.mean)


def likeness(first: Floats, second: Floats) -> Likeness | None:
    """How alike two maps (64, 64) are; None where one is the same everywhere."""
    if not np.ptp(first) or not np.ptp(second):
        return None
    strong = np.abs(first), np.abs(second)
    return Likeness(
        _rank_correlation(*strong),
        _rank_correlation(first, second),
        structural_similarity(*(one / one.max() for one in strong)),
    )


def _rank_correlation(first: Floats, second: Floats) -> float:
    return float(correlation.of_pairs(_ranks(first), _ranks(second))[0, 0])


def _ranks(values: Floats) -> Floats:
    """(1, n) of n values; equal ones share the mean of theirs.

    As ``scipy.stats.rankdata``, which takes seconds to load for who opens the first map.
    """
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean = counts.cumsum() - (counts - 1) / 2
    return np.asarray(mean[which.ravel()][None], np.float64)


def structural_similarity(first: Floats, second: Floats) -> float:
    """Mean structural similarity of two pictures with values from 0 to 1, −1 to 1."""

    def smooth(one: Floats) -> Floats:
        return np.asarray(
            scipy.ndimage.gaussian_filter(one, _SIGMA, truncate=_TRUNCATE), np.float64
        )

    mean, other = smooth(first), smooth(second)
    spread = smooth(first * first) - mean**2, smooth(second * second) - other**2
    together = smooth(first * second) - mean * other
    c1, c2 = _K1**2, _K2**2
    found = (2 * mean * other + c1) * (2 * together + c2)
    return float((found / ((mean**2 + other**2 + c1) * (sum(spread) + c2))).mean())


def _step(layers: tuple[str, ...], draws: Sequence[Likeness | None]) -> Step:
    known = [one for one in draws if one is not None]
    empty = len(draws) - len(known)
    if not known:
        return Step(layers, None, 0.0, 0.0, empty)
    ranks = [one.rank for one in known]
    mean = Likeness(
        float(np.mean(ranks)),
        float(np.mean([one.signed for one in known])),
        float(np.mean([one.structure for one in known])),
    )
    return Step(layers, mean, min(ranks), max(ranks), empty)


def told(value: float) -> str:
    """A likeness as it is printed: two decimals, a minus for people."""
    return f"{round(value, 2) + 0:.2f}".replace("-", "−")  # never a minus before nothing
