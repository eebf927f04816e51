"""Lesions of fresh phantom patients: the truth a classifier is measured against, and the oracle.

Each chunk is a cohort of its own seed, far from the seeds of data sets, so that chunks can be made
in any order and on any machine, and a pool can be kept for the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.config import Augment, Experiment, seed_for
from ml.dataset.augment import draw
from ml.dataset.folds import LeakageError
from ml.dataset.manifest import Manifest, sha256_of
from ml.ground.errors import HepaticaError
from ml.images import roi
from ml.images.ct_slice import ImageKind
from ml.lesion import ROI_SIZE_PX
from ml.phantom import VERSION, Version
from ml.phantom.lesions import CLASSES
from ml.progress import RunDir

CHUNK = 20
"""Lesions of each class in a chunk."""
TEST, ORACLE = "test", "oracle"
_FORMAT = 2
"""Of a chunk's file; since 2 it names the slices of its patients."""
_SIZES = "diameters_mm"
"""What the first files of format 2 lack: a pool without is as good for all but the sizes."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a pool: ``CHUNK`` lesions of each class, each seen in ``views`` ways.

    The first view is the plain ROI, the others are classic augmentations.
    """

    use: str
    number: int
    views: int
    seed: int
    difficulty: float
    window_hu: tuple[float, float]
    phantom: Version = VERSION

    @property
    def cohort_seed(self) -> int:
        """Test and oracle patients differ: even and odd seeds."""
        return self.seed + 2 * self.number + (self.use == ORACLE)

    @property
    def file(self) -> str:
        """The name under which the chunk is kept; another phantom or view gives another."""
        low, high = self.window_hu
        told = (f"{value:g}" for value in (self.difficulty, low, high))
        return f"{self.phantom}.{_FORMAT}-{self.cohort_seed}-{'-'.join(told)}-{self.views}.npz"


@dataclass(frozen=True)
class FreshLesions:
    """Fresh lesions: ``rois`` (n, views, 64, 64) in [-1, 1], ``labels`` (n,), ``patients`` (n,).

    ``diameters_mm`` (n,) by the box; NaN in a pool that was made before they were kept.
    """

    rois: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]
    diameters_mm: npt.NDArray[np.float64]


def possible(manifest: Manifest) -> bool:
    """Whether fresh patients of a data set can be made: phantoms of the liver's classes."""
    return manifest.kind == ImageKind.PHANTOM and set(manifest.scheme.keys) == set(CLASSES)


def chunks(
    settings: Experiment, most_synthetic: int, folds: int, phantom: Version
) -> tuple[Chunk, ...]:
    """What a run needs: the test pool, then the oracle's.

    Args:
        most_synthetic: ROIs per class and fold of the largest arm that the oracle stands beside.
        folds: training folds.
        phantom: which phantom the data set is of.
    """
    each = len(CLASSES) * CHUNK
    test, oracle = (-(-n // each) for n in (settings.fresh_lesions, settings.oracle_lesions))
    views = -(-most_synthetic * folds // (oracle * CHUNK))
    told = (settings.fresh_seed, settings.difficulty, settings.window_hu, phantom)
    return (
        *(Chunk(TEST, i, 1, *told) for i in range(test)),
        *(Chunk(ORACLE, i, views, *told) for i in range(oracle)),
    )


def refuse_known(manifest: Manifest, needed: Iterable[Chunk]) -> None:
    """LeakageError when a patient of the data set would be among the fresh ones."""
    seeds = {chunk.cohort_seed for chunk in needed}
    for patient in manifest.patients:
        parts = patient.split("-")
        ours = len(parts) == 3 and parts[0] == "PHANTOM" and parts[1].isdecimal()
        if ours and int(parts[1]) in seeds:
            raise LeakageError(
                f"Patient {patient} of the data set would also be a fresh patient; "
                "set fresh_seed to another number."
            )


def refuse_same(manifest: Manifest, chunk: Chunk, folder: Path) -> None:
    """LeakageError when a patient of a chunk that is made is in the data set, under any name.

    The web gives patients pseudonyms, so their slices are compared: by UID, and by their pixels.
    """
    with np.load(folder / chunk.file, allow_pickle=False) as stored:
        slices, images = set(stored["slices"].tolist()), set(stored["images"].tolist())
    for line in manifest.lines:
        if line.phantom_uid in slices or line.image_sha256 in images:
            raise LeakageError(
                f"Patient {line.patient} of the data set is also a fresh patient ({line.file} is "
                f"a slice of phantoms of seed {chunk.cohort_seed}); set fresh_seed to another "
                "number."
            )


def is_made(chunk: Chunk, folder: Path) -> bool:
    """Whether a chunk lies in ``folder``."""
    return (folder / chunk.file).exists()


def have_sizes(needed: Iterable[Chunk], folder: Path) -> bool:
    """Whether the test pool tells how large its lesions are; True where none is needed."""
    for chunk in needed:
        if chunk.use == TEST:
            with np.load(folder / chunk.file, allow_pickle=False) as stored:
                if _SIZES not in stored.files:
                    return False
    return True


def make(chunk: Chunk, folder: Path) -> None:
    """Simulate a chunk into ``folder``, unless it is there already."""
    from ml.phantom.patient import slice_uids
    from ml.phantom.series import draw_lesion_slices

    if is_made(chunk, folder):
        return
    rois: list[npt.NDArray[np.float32]] = []
    labels: list[int] = []
    patients: list[str] = []
    images: list[str] = []
    diameters: list[float] = []
    slices: set[str] = set()
    counts = dict.fromkeys(CLASSES, CHUNK)
    drawn = draw_lesion_slices(counts, chunk.cohort_seed, chunk.difficulty, chunk.phantom)
    for made, number, image in drawn:
        found = image.box(number)
        if found is None:
            raise HepaticaError(f"Phantom {made.patient_id} lacks lesion {number} on its slice.")
        box = roi.Box(*found)
        rng = np.random.default_rng(seed_for("oracle", made.patient_id, number))
        more = draw(rng, max(box.width, box.height), Augment())[: chunk.views - 1]
        for view in (roi.IDENTITY, *more):
            values = roi.cut(image.hu, box, image.spacing_mm, roi.AIR_HU, view)
            rois.append(roi.normalise(values, chunk.window_hu))
        labels.append(CLASSES.index(made.lesion_class))
        patients.append(made.patient_id)
        images.append(sha256_of(image.hu))
        row, column = image.spacing_mm
        diameters.append(max(box.width * column, box.height * row))
        slices.update(slice_uids(made))
    views = np.stack(rois).reshape(len(labels), -1, ROI_SIZE_PX, ROI_SIZE_PX)
    kept: dict[str, npt.NDArray[Any]] = {
        "rois": views.astype(np.float16),
        "labels": np.asarray(labels, np.int64),
        "patients": np.asarray(patients),
        "images": np.asarray(images),
        "slices": np.asarray(sorted(slices)),
        "diameters_mm": np.asarray(diameters),
    }
    RunDir(folder).write_arrays(chunk.file, kept)


def load(needed: Iterable[Chunk], use: str, folder: Path, keys: Sequence[str]) -> FreshLesions:
    """The chunks of one use as one pool, in order.

    Args:
        keys: the classes in the order of the data set's scheme. A pool may serve several schemes,
            so it is kept in the phantom's order.
    """
    position = np.asarray([keys.index(key) for key in CLASSES])
    rois, labels, patients, diameters = [], [], [], []
    for chunk in needed:
        if chunk.use == use:
            with np.load(folder / chunk.file, allow_pickle=False) as stored:
                rois.append(stored["rois"])
                labels.append(position[stored["labels"]])
                patients.append(stored["patients"])
                known = _SIZES in stored.files
                diameters.append(
                    stored[_SIZES] if known else np.full(len(stored["labels"]), np.nan)
                )
    return FreshLesions(
        np.concatenate(rois).astype(np.float32),
        np.concatenate(labels),
        np.concatenate(patients),
        np.concatenate(diameters),
    )
