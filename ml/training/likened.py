"""How far a generator's ROIs are from lesions that it never saw, in named measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml.checkpoints.metrics import GeneratorMetrics
from ml.dataset.manifest import Line, Manifest
from ml.dataset.measured import measured, window_of
from ml.images.measurements import SIZE, measure
from ml.statistics import classification, exact, nearness
from ml.statistics.figure import Figure

Pixels = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_RESAMPLES = 500
_FAR = f"{nearness.RADIOMICS}fid"
_COVERAGE = f"{nearness.RADIOMICS}coverage"
_LEAST = 2
"""Lesions, of which a covariance is told."""


def to_held_out(
    metrics: GeneratorMetrics,
    manifest: Manifest,
    window_hu: tuple[float, float],
    lines: Sequence[Line],
    held: Sequence[Line],
    samples: Pixels,
) -> GeneratorMetrics:
    """The metrics with what is measured of samples and of training lesions, as many of either.

    Args:
        lines: of the class, that it was trained on; ``held``: that it never saw.
        samples: (n, 64, 64) in [−1, 1], what it drew.
    """
    if min(len(lines), len(held), len(samples)) < _LEAST:
        return metrics
    everyone = measured(manifest, window_hu, measure).without(SIZE)
    row = {line.id: i for i, line in enumerate(manifest.lines)}

    def of_lines(chosen: Sequence[Line]) -> nearness.Side:
        rows = everyone.rows([row[line.id] for line in chosen])
        return _side(rows.values, [line.patient for line in chosen])

    # a distance of other numbers is another distance
    real, some = of_lines(lines[: len(samples)]), samples[: len(lines)]
    drawn = measure(some, window_of(manifest, window_hu)).without(SIZE).values
    synthetic = _side(drawn, _each_its_own(some))
    far, far_real = (
        nearness.draws(one, of_lines(held), real.radiomics, 0) for one in (synthetic, real)
    )
    return replace(
        metrics,
        radiomic_distance=_distance(far),
        radiomic_distance_real=_distance(far_real),
        coverage=_share(far.get(_COVERAGE), held),
        coverage_real=_share(far_real.get(_COVERAGE), held),
        told_apart=_figure(far.get(nearness.APART)),
        told_apart_real=_figure(far_real.get(nearness.APART)),
    )


def distance(
    samples: Pixels, training: Pixels, held: Pixels, window_hu: tuple[float, float] | None
) -> float:
    """Fréchet radiomic distance of samples from lesions that no training saw, of one class.

    Args:
        samples: (n, 64, 64) in [−1, 1]; ``training``: (m, 64, 64), the lesions by which the
            measurements are scaled; ``held``: (k, 64, 64). The number of either counts: distances
            of other numbers are other distances.
        window_hu: what −1 and 1 stand for; None where there are no HU.
    """

    def values(rois: Pixels) -> Floats:
        return measure(rois, window_hu).without(SIZE).values

    one, other = (_side(values(rois), _each_its_own(rois), 0) for rois in (samples, held))
    return float(nearness.draws(one, other, values(training), 0)[_FAR][0])


def _each_its_own(rois: Pixels) -> list[str]:
    return [f"sample {i}" for i in range(len(rois))]


def _side(values: Floats, owners: Sequence[str], resamples: int = _RESAMPLES) -> nearness.Side:
    """Of one class, without a network's features."""
    weights = classification.patient_resamples(owners, resamples, 0)
    return nearness.Side(None, values, np.zeros(len(owners), np.int64), tuple(owners), weights)


def _distance(draws: dict[str, Floats]) -> Figure | None:
    found = draws[_FAR]
    # a resample has fewer different ROIs, which is taken for distance
    return _figure(np.concatenate([found[:1], found[1:] + found[0] - np.nanmean(found[1:])]))


def _share(draws: Floats | None, held: Sequence[Line]) -> Figure | None:
    """Of held-out lesions; where every resample gave the same, in its exact interval."""
    found = _figure(draws)
    if found is None or found.ends is not None:
        return found
    patients = len({line.patient for line in held})
    return found.widened(exact.clopper_pearson(found.known * patients, patients))


def _figure(draws: Floats | None) -> Figure | None:
    """Of a value and its resamples; None where there is none."""
    if draws is None or not np.isfinite(draws[0]):
        return None
    return classification.percentile_interval(float(draws[0]), draws[1:])
