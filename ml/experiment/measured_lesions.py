"""The measurements that the arm ``features`` learns from: of a data set, and of fresh lesions.

The size is taken only where it is known of every lesion that is trained or tested on.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.config import Experiment
from ml.dataset.manifest import Manifest
from ml.dataset.measured import measured, window_of
from ml.experiment import fresh_phantoms
from ml.experiment.folder import RunFolder
from ml.experiment.training_sets import fresh_of, manifest_of
from ml.images.measurements import SIZE, Measured, measure

Floats = npt.NDArray[np.float64]


def sized(folder: RunFolder, settings: Experiment, manifest: Manifest) -> bool:
    """Whether the size of every lesion is known, of fresh ones too."""
    if any(line.size_mm is None for line in manifest.lines):
        return False
    return fresh_phantoms.have_sizes(fresh_of(settings, manifest), folder.fresh)


def of_data(data: Path, window_hu: tuple[float, float], with_size: bool) -> Floats:
    """(lesions, k) in the order of the data set; computed once in a process."""
    return _plain(_of_data(data, window_hu), with_size)


def of_rois(
    rois: npt.NDArray[np.floating], manifest: Manifest, window_hu: tuple[float, float]
) -> Floats:
    """(n, k) without the size, of ROIs (n, 64, 64) that lie in the greys of a data set."""
    return _plain(measure(rois, window_of(manifest, window_hu)), with_size=False)


def of_fresh(
    needed: tuple[fresh_phantoms.Chunk, ...],
    folder: Path,
    keys: tuple[str, ...],
    window_hu: tuple[float, float],
    with_size: bool,
) -> Floats:
    """(fresh lesions, k) in the order of the pool; computed once in a process."""
    return _plain(_of_fresh(needed, folder, keys, window_hu), with_size)


def _plain(found: Measured, with_size: bool) -> Floats:
    return (found if with_size else found.without(SIZE)).values


@lru_cache(maxsize=1)
def _of_data(data: Path, window_hu: tuple[float, float]) -> Measured:
    return measured(manifest_of(data), window_hu, measure)


@lru_cache(maxsize=1)
def _of_fresh(
    needed: tuple[fresh_phantoms.Chunk, ...],
    folder: Path,
    keys: tuple[str, ...],
    window_hu: tuple[float, float],
) -> Measured:
    lesions = fresh_phantoms.load(needed, fresh_phantoms.TEST, folder, keys)
    sizes = [None if np.isnan(size) else float(size) for size in lesions.diameters_mm]
    return measure(lesions.rois[:, 0], window_hu, sizes)
