"""How each arm did among lesions of one site, sex, age, size …: counts, and figures with intervals.

Groups are the columns that ``prepare`` kept, and the lesion's size where it is known. None of it is
corrected for how many groups were looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ml.dataset.manifest import Line
from ml.experiment import arms
from ml.experiment.evaluation import Outcome, Outputs
from ml.experiment.results.scores import SubgroupScore
from ml.statistics import comparison

MOST_VALUES = 8
"""Of one group: more numbers are halved at their median, more words are left out."""
_UNKNOWN = "not given"
_SIZE = "size by box, mm"


def groups_of(lines: Sequence[Line]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The value of every line by group, and the groups with too many values to be told.

    A group in which all lines are alike tells nothing, and is not there.
    """
    names = sorted({name for line in lines for name in line.groups})
    told = {name: [line.groups.get(name, "") for line in lines] for name in names}
    sizes = [line.size_mm for line in lines]
    if any(size is not None for size in sizes):
        told[_SIZE] = ["" if size is None else f"{size:.6g}" for size in sizes]
    kept: dict[str, list[str]] = {}
    left_out = []
    for name, values in told.items():
        found = _few(values)
        if found is None:
            left_out.append(name)
        elif len(set(found)) > 1:
            kept[name] = found
    return kept, tuple(left_out)


def _few(values: Sequence[str]) -> list[str] | None:
    """The same values; many numbers as two halves; None for too many words."""
    known = {value for value in values if value}
    if len(known) <= MOST_VALUES:
        return [value or _UNKNOWN for value in values]
    try:
        numbers = {value: float(value) for value in known}
    except ValueError:
        return None
    middle = float(np.median([numbers[value] for value in values if value]))
    if not np.isfinite(middle):
        return None
    low, high = f"to {middle:.4g}", f"over {middle:.4g}"
    return [
        _UNKNOWN if not value else low if numbers[value] <= middle else high for value in values
    ]


def scores(
    outputs: Outputs,
    groups: Mapping[str, Sequence[str]],
    by_seed: Mapping[int, Mapping[str, Outcome]],
) -> Iterator[SubgroupScore]:
    """Every arm within every value of every group, its seeds averaged."""
    for group, values in groups.items():
        of = np.asarray(values, dtype=str)
        for value in sorted(set(values)):
            yield from _within(outputs, group, value, of == value, by_seed)


def _within(
    outputs: Outputs,
    group: str,
    value: str,
    chosen: npt.NDArray[np.bool_],
    by_seed: Mapping[int, Mapping[str, Outcome]],
) -> Iterator[SubgroupScore]:
    settings, truth = outputs.settings, outputs.truth[chosen]
    patients = [patient for patient, one in zip(outputs.patients, chosen, strict=True) if one]
    counts = {key: int((truth == i).sum()) for i, key in enumerate(outputs.keys)}
    for arm in arms.ARMS:
        found = [found[arm] for found in by_seed.values() if arm in found]
        if not found:
            continue
        right = np.stack([outputs.right(outcome)[chosen] for outcome in found]).astype(np.float64)
        folds = np.stack([outcome.folds[chosen] for outcome in found])
        told = (patients, settings.resamples, settings.seed, folds)
        yield SubgroupScore(
            name=arm,
            group=group,
            value=value,
            seeds=len(found),
            lesions=len(truth),
            patients=len(set(patients)),
            counts=counts,
            accuracy=comparison.share_interval(right, np.zeros_like(truth), *told),
            balanced_accuracy=comparison.share_interval(right, truth, *told),
        )
