"""From what the cells' classifiers said of the fresh lesions to the curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ml.config import Experiment
from ml.experiment import arms
from ml.experiment.arms import ArmSize
from ml.experiment.curve.cells import Cell
from ml.experiment.curve.record import VERSION, Cohort, Curve, Gap, Point
from ml.experiment.evaluation import Outcome, Outputs
from ml.experiment.findings import fresh_patients
from ml.experiment.fresh_phantoms import FreshLesions
from ml.experiment.results.scores import Selection
from ml.statistics import comparison
from ml.statistics.figure import Figure

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

INFERENCE = (
    "95 % intervals over fresh patients and over trainings: the variance when patients are drawn "
    "again, and how far seeds lie further apart than their answers to these patients explain. "
    "Seeds differ in training patients, weights and draws, so that an interval speaks of other "
    "training patients too; with one seed it does not. Of differences Student's, and p is that of "
    "the same; of other figures percentile bootstrap over patients, stretched alike."
)
_AGAINST_EQUAL = (*arms.PRIMARY, *arms.FURTHER)
_AGAINST = (
    (arms.DCGAN, arms.DUPLICATE), (arms.DCGAN, arms.CLASSIC), (arms.ACGAN, arms.CLASSIC),
    (arms.FEATURES, arms.EQUAL), (arms.ORACLE, arms.EQUAL), (arms.CLASSIC, arms.NONE),
)  # fmt: skip
"""Secondary comparisons: each first less its second."""


@dataclass(frozen=True)
class _Called:
    """What one training called the fresh lesions: (m,) class positions."""

    seed: int
    picked: ArmSize
    called: Ints = field(repr=False)


@dataclass(frozen=True)
class _AtSize:
    """All seeds at one number of training lesions.

    Attributes:
        arms: by arm, the seeds in which it could be trained.
        equal: by arm with a generator, equal-compute with as many ROIs as it had.
    """

    size: int
    arms: dict[str, list[_Called]]
    equal: dict[str, list[_Called]]


def curve(cells: Sequence[Cell], commit: str) -> Curve:
    """Every arm at every size, and the arms against each other, of cells that are trained."""
    asking = cells[0].asking
    cohorts: list[Cohort] = []
    failed: dict[str, str] = {}
    sizes: dict[int, _AtSize] = {size: _AtSize(size, {}, {}) for size in asking.sizes}
    lesions: FreshLesions | None = None
    keys: tuple[str, ...] = ()
    for cell in cells:
        manifest = cell.manifest()
        settings, lowered = cell.settings(manifest)
        outputs = Outputs(cell.folder(), settings, manifest, (cell.seed,))
        lesions, keys = outputs.fresh, outputs.keys
        failed |= {f"{cell.name}/{name}": why for name, why in outputs.failed.items()}
        _gather(sizes[cell.size], outputs, cell.seed)
        cohorts.append(
            Cohort(
                cell.seed, cell.size, len(manifest.lines), len(manifest.patients),
                manifest.counts(), manifest.digest, lowered,
            )
        )  # fmt: skip
    fresh = fresh_patients(asking.settings, cells[0].manifest())
    if lesions is None or fresh is None:
        raise AssertionError("a curve is of phantoms, which can be drawn afresh")
    primary = [gap for at in sizes.values() for gap in _primary(at, lesions)]
    # a hypothesis that could not be tested counts as 1 in the family
    missing = [1.0] * (len(arms.PRIMARY) * len(sizes) - len(primary))
    adjusted = comparison.holm([*(gap.p for gap in primary), *missing])
    return Curve(
        command=asking.command,
        commit=commit,
        phantom_version=asking.phantom,
        config=asking.settings.dump(),
        sizes=asking.sizes,
        seeds=asking.numbers,
        fresh=fresh,
        cohorts=tuple(cohorts),
        points=tuple(_points(list(sizes.values()), asking.settings, lesions, keys)),
        primary=tuple(replace(gap, holm_p=p) for gap, p in zip(primary, adjusted, strict=False)),
        secondary=tuple(gap for at in sizes.values() for gap in _secondary(at, lesions)),
        failed=failed,
        inference=INFERENCE,
        version=VERSION,
    )


def _gather(at: _AtSize, outputs: Outputs, seed: int) -> None:
    found = outputs.selected(Selection.NESTED, seed)
    for arm, outcome in found.items():
        at.arms.setdefault(arm, []).append(_called(seed, outcome))
        control = outputs.equal_compute(outcome, seed) if arm in _AGAINST_EQUAL else None
        if control is not None:
            at.equal.setdefault(arm, []).append(_called(seed, control))


def _called(seed: int, outcome: Outcome) -> _Called:
    if outcome.fresh is None:
        raise AssertionError("a classifier of a curve is asked about fresh lesions")
    return _Called(seed, outcome.sizes[0], outcome.fresh[0])


def _points(
    sizes: Sequence[_AtSize], settings: Experiment, lesions: FreshLesions, keys: Sequence[str]
) -> Iterator[Point]:
    truth, people = lesions.labels, np.asarray(lesions.patients)
    told = {(at.size, arm): _stack(found) for at in sizes for arm, found in at.arms.items()}

    def shares(among: Bools, right_of: int | None) -> dict[tuple[int, str], Figure]:
        """One share of every arm at every size; the resamples are the same for all of them."""
        where = truth[among], people[among].tolist()
        found = {}
        for key, called in told.items():
            own = called[:, among]
            right = own == where[0] if right_of is None else own != right_of
            found[key] = comparison.share_interval(
                right.astype(np.float64), *where, settings.resamples, settings.seed
            )
        return found

    everyone = shares(np.ones(len(truth), np.bool_), None)
    sensitivity = [shares(truth == k, None) for k in range(len(keys))]
    specificity = [shares(truth != k, k) for k in range(len(keys))]
    for at in sizes:
        for arm in arms.ARMS:
            if arm not in at.arms:
                continue
            of, key = at.arms[arm], (at.size, arm)
            # sizes are told per fold of so many, and all but one of them train
            times = settings.folds - 1
            yield Point(
                arm=arm,
                size=at.size,
                seeds=tuple(one.seed for one in of),
                classic=float(np.mean([times * one.picked.classic for one in of])),
                synthetic=float(np.mean([times * len(keys) * one.picked.added for one in of])),
                balanced_accuracy=everyone[key],
                sensitivity={name: one[key] for name, one in zip(keys, sensitivity, strict=True)},
                specificity={name: one[key] for name, one in zip(keys, specificity, strict=True)},
            )


def _stack(found: Sequence[_Called]) -> Ints:
    return np.stack([one.called for one in found])


def _primary(at: _AtSize, lesions: FreshLesions) -> Iterator[Gap]:
    for arm in arms.PRIMARY:
        gap = _gap(at, arm, arms.EQUAL, at.equal.get(arm, []), lesions)
        if gap is not None:
            yield gap


def _secondary(at: _AtSize, lesions: FreshLesions) -> Iterator[Gap]:
    for arm in arms.FURTHER:
        gap = _gap(at, arm, arms.EQUAL, at.equal.get(arm, []), lesions)
        if gap is not None:
            yield gap
    for arm, against in _AGAINST:
        gap = _gap(at, arm, against, at.arms.get(against, []), lesions)
        if gap is not None:
            yield gap


def _gap(
    at: _AtSize, arm: str, against: str, others: Sequence[_Called], lesions: FreshLesions
) -> Gap | None:
    """In the seeds in which both could be trained; None where there is none."""
    second = {one.seed: one for one in others}
    pairs = [(one, second[one.seed]) for one in at.arms.get(arm, []) if one.seed in second]
    if not pairs:
        return None
    first, other = (_stack([pair[side] for pair in pairs]) == lesions.labels for side in (0, 1))
    found = comparison.compare(first, other, lesions.labels, lesions.patients.tolist())
    return Gap(
        arm, against, at.size, tuple(one.seed for one, _ in pairs), found.difference, found.p,
        found.training,
    )  # fmt: skip
