"""What classifiers that were trained on phantoms say of lesions whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.checkpoints.serving import Classifier
from ml.config import SimpleModel
from ml.experiment.tissue.slices import Floats, LiverSlice
from ml.images import roi
from ml.images.measurements import measure
from ml.images.roi import Box
from ml.phantom import Version
from ml.phantom.lesions import CLASSES
from ml.phantom.series import draw_lesion_slices
from ml.statistics import comparison
from ml.statistics.figure import Figure
from ml.training import simple

TRAINED = {"cyst": 53, "metastasis": 64, "hemangioma": 65}
"""Phantom lesions that the simple model learns from: as many as the paper had patients' lesions."""
TRAINED_SEED, TESTED_SEED, COMPARED_SEED = 7_400_000, 7_400_001, 7_400_002
"""Of phantoms that no training and no data set of the project uses."""
_RESAMPLES = 2000
_SEED = 0


@dataclass(frozen=True)
class Lesions:
    """Lesions of known class in one kind of tissue.

    Attributes:
        where: the tissue, in words.
        rois: (n, 64, 64) in [−1, 1].
        sizes_mm: of their boxes.
        truth: (n,) positions in ``CLASSES``.
        patients: (n,) whose tissue it is.
    """

    where: str
    rois: Floats = field(repr=False)
    sizes_mm: tuple[float, ...]
    truth: npt.NDArray[np.int64] = field(repr=False)
    patients: tuple[str, ...]

    def measurements(self, window_hu: tuple[float, float]) -> npt.NDArray[np.float64]:
        """(n, k): those of the arm ``features``, the size among them."""
        return measure(self.rois, window_hu, self.sizes_mm).values


@dataclass(frozen=True)
class Cut:
    """One lesion, as it is put among ``Lesions``."""

    roi: Floats
    size_mm: float
    lesion_class: str
    patient: str


@dataclass(frozen=True)
class Asked:
    """What one classifier is worth in one kind of tissue.

    Attributes:
        balanced: accuracy, each class alike.
        classes: share right of each class.
    """

    where: str
    classifier: str
    lesions: int
    patients: int
    balanced: Figure
    classes: Mapping[str, Figure]


def gathered(where: str, cuts: Sequence[Cut]) -> Lesions:
    """Lesions as one."""
    return Lesions(
        where,
        np.stack([one.roi for one in cuts]),
        tuple(one.size_mm for one in cuts),
        np.asarray([CLASSES.index(one.lesion_class) for one in cuts]),
        tuple(one.patient for one in cuts),
    )


def cut(
    hu: npt.NDArray[np.floating] | npt.NDArray[np.int16],
    box: Box,
    spacing_mm: float,
    window_hu: tuple[float, float],
    lesion_class: str,
    patient: str,
) -> Cut:
    """A lesion's ROI, as every ROI is cut; beyond the picture is its mirror image.

    Raises:
        BoxError: a box of which no ROI can be cut.
    """
    values = roi.cut(hu, box, (spacing_mm, spacing_mm), None)
    size = max(box.width, box.height) * spacing_mm
    return Cut(roi.normalise(values, window_hu), size, lesion_class, patient)


def of_phantoms(
    counts: Mapping[str, int],
    seed: int,
    difficulty: float,
    like: LiverSlice,
    window_hu: tuple[float, float],
    phantom: Version,
) -> Iterator[tuple[Cut, Cut]]:
    """Every phantom lesion as it is simulated, and as slices like ``like`` would hold it."""
    for patient, number, image in draw_lesion_slices(counts, seed, difficulty, phantom):
        found = image.box(number)
        if found is None:
            continue
        box, own = Box(*found), patient.lesion_class
        plain = cut(image.hu, box, image.spacing_mm[0], window_hu, own, patient.patient_id)
        hu, by = as_slice(image.hu, image.spacing_mm[0], like)
        smaller = Box(box.x * by, box.y * by, box.width * by, box.height * by)
        try:
            yield plain, cut(hu, smaller, like.spacing_mm, window_hu, own, patient.patient_id)
        except roi.BoxError:  # under 2 pixels there
            continue


def as_slice(
    hu: npt.NDArray[np.int16] | Floats, spacing_mm: float, like: LiverSlice
) -> tuple[Floats, float]:
    """A square phantom picture at the pixels and greys of a slice, and how many pixels one became.

    The share is that of the whole sides, so it can differ from the spacings' by half a pixel in
    all.
    """
    side = max(1, round(len(hu) * spacing_mm / like.spacing_mm))
    picture = Image.fromarray(np.asarray(hu, np.float32)).resize((side, side), Image.Resampling.BOX)
    return like.seen(np.asarray(picture, np.float32)), side / len(hu)


def answers(
    network: Classifier, name: str, trained: Sequence[Lesions], tested: Sequence[Lesions]
) -> Iterator[Asked]:
    """What the network says, and the simple model once it has learned from each of ``trained``."""
    for one in tested:
        logits = network.outputs(one.rois).logits
        # the network names its own classes, in its own order
        keys = list(network.meta.scheme.keys)
        order = [keys.index(key) for key in CLASSES]
        yield _asked(name, one, logits[:, order])
    window = network.meta.window_hu
    measured = [one.measurements(window) for one in tested]
    for own in trained:
        values = own.measurements(window)
        told = (
            f"features ({values.shape[1]} numbers, trees), trained on {len(own.truth)} lesions in "
            f"{own.where}"
        )
        for one, numbers in zip(tested, measured, strict=True):
            said = simple.probabilities(
                SimpleModel.TREES, values, own.truth, numbers, len(CLASSES), _SEED
            )
            yield _asked(told, one, said)


def _asked(name: str, one: Lesions, scores: npt.NDArray[np.floating]) -> Asked:
    right = scores.argmax(axis=1) == one.truth
    shares, patients = right.astype(np.float64)[None], np.asarray(one.patients)

    def figure(chosen: npt.NDArray[np.bool_]) -> Figure:
        return comparison.share_interval(
            shares[:, chosen], one.truth[chosen], patients[chosen].tolist(), _RESAMPLES, _SEED
        )

    classes = {
        key: figure(one.truth == k) for k, key in enumerate(CLASSES) if (one.truth == k).any()
    }
    everyone = figure(np.ones(len(right), np.bool_))
    return Asked(one.where, name, len(right), len(set(one.patients)), everyone, classes)
