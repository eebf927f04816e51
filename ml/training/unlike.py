"""ROIs that a liver classifier was not trained on, to ask whether it says so; and other scans.

All from phantom patients that no training has seen. What is asked of real images (lung nodules,
tumours) is asked where there are some: `tests/bench/trust.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.checkpoints.serving import Classifier
from ml.config import seed_for
from ml.ground.errors import HepaticaError
from ml.images import quick, roi
from ml.phantom import elsewhere, series
from ml.phantom.lesions import CLASSES, DEFAULT_DIFFICULTY
from ml.trust import tried
from ml.trust.novelty import Novelty
from ml.trust.tried import Detection, Robustness

Pixels = npt.NDArray[np.float32]

SEED = 6_000_000
"""Of the patients; no data set's."""
PLAIN = "plain"
"""The lesions themselves, which should not be flagged and whose class should not change."""

UNLIKE: Mapping[str, str] = {
    "no-lesion": "plain liver without a lesion",
    "native": "the wrong phase: the same lesions without contrast medium, approximated",
    **{name: f"another organ: {name.replace('_', ' ')}" for name in elsewhere.ORGANS},
    "inverted": "MRI-like contrast: greys inverted",
    "stretched": "MRI-like contrast: greys stretched to each picture's own range, inverted",
    "noise": "noise of all greys alike, without any structure",
    "liver-noise": "noise of 20 HU about 100 HU",
    "upside-down": "lesions upside down (training turned and mirrored its ROIs, so these are like)",
    "off-half": "lesions whose mark is off by half a diameter",
    "off-whole": "lesions whose mark is off by a whole diameter",
}
"""What is asked beside the plain lesions, by name."""

SCANS: Mapping[str, str] = {
    "noise x1.5": "standard deviation of the noise × 1.5 (dose × 0.44)",
    "noise x2": "standard deviation of the noise × 2 (dose × 0.25)",
    "soft kernel": "kernel cut off at 0.30 cycles per mm",
    "sharp kernel": "kernel cut off at 0.65 cycles per mm, noise × 1.5",
    "thin slice": "slices of 1.25 mm, noise × 1.5",
    "thick slice": "slices of 10 mm",
}
"""Other scans of the same patients, by name."""


@dataclass(frozen=True)
class Picture:
    """One ROI: (64, 64) in [−1, 1], its diameter in mm, whose, and the class of its lesion.

    ``lesion_class`` is a position in the phantom's classes; −1 where there is no lesion.
    """

    name: str
    pixels: Pixels
    diameter_mm: float
    patient: str
    lesion_class: int


def of_patient(
    index: int,
    seed: int = SEED,
    difficulty: float = DEFAULT_DIFFICULTY,
    window_hu: tuple[float, float] = roi.DEFAULT_WINDOW_HU,
) -> list[Picture]:
    """The largest lesion of one phantom patient in every way of `PLAIN`, `UNLIKE` and `SCANS`.

    A way that the patient has no place for is left out.

    Args:
        index: the patient's number, from 0.
        seed, difficulty: of the phantom.
        window_hu: of the network's ROIs.
    """
    patient = series.patient(seed, difficulty, index)
    rng = np.random.default_rng(seed_for("unlike", seed, index))
    label = CLASSES.index(patient.lesion_class)
    image = patient.key_slice(1)
    marked = image.box(1)
    if marked is None:
        raise HepaticaError(f"Phantom {patient.patient_id} lacks its lesion on its own slice.")
    box = roi.Box(*marked)

    def cut(hu: npt.NDArray[np.int16], where: roi.Box) -> Pixels:
        return roi.normalise(roi.cut(hu, where, image.spacing_mm, roi.AIR_HU), window_hu)

    size = max(box.width, box.height) * image.spacing_mm[0]
    found: list[Picture] = []

    def keep(
        name: str, pixels: npt.NDArray[np.floating], diameter: float = size, lesion: int = -1
    ) -> None:
        found.append(Picture(name, pixels.astype(np.float32), diameter, patient.patient_id, lesion))

    plain = cut(image.hu, box)
    keep(PLAIN, plain, lesion=label)
    seen = elsewhere.plain_liver(patient, rng)
    if seen is not None:
        keep("no-lesion", cut(seen.hu, roi.Box(*seen.box)), seen.diameter_mm)
    keep("native", cut(elsewhere.native(patient).key_slice(1).hu, box))
    for name in elsewhere.ORGANS:
        other = elsewhere.organ(patient, name, rng)
        keep(name, cut(other.hu, roi.Box(*other.box)), other.diameter_mm)
    keep("inverted", -plain)
    low, high = np.quantile(plain, [0.01, 0.99])
    keep("stretched", np.clip(1 - 2 * (plain - low) / max(float(high - low), 1e-6), -1, 1))
    keep("noise", rng.uniform(-1, 1, plain.shape))
    liver = rng.normal(100, 20, plain.shape).astype(np.float32)
    keep("liver-noise", roi.normalise(liver, window_hu))
    keep("upside-down", plain[::-1])
    turn = rng.uniform(0, 2 * np.pi)
    away = max(box.width, box.height) * np.asarray([np.cos(turn), np.sin(turn)])
    for name, part in (("off-half", 0.5), ("off-whole", 1.0)):
        try:
            keep(name, cut(image.hu, box.moved(*(part * away).tolist())))
        except roi.BoxError:  # a lesion at the skin
            continue
    noise = patient.scanner.noise_hu
    for name, changes in (
        ("noise x1.5", {"noise_hu": 1.5 * noise}),
        ("noise x2", {"noise_hu": 2 * noise}),
        ("soft kernel", {"cutoff_per_mm": 0.30}),
        ("sharp kernel", {"cutoff_per_mm": 0.65, "noise_hu": 1.5 * noise}),
        ("thin slice", {"thickness_mm": 1.25, "noise_hu": 1.5 * noise}),
        ("thick slice", {"thickness_mm": 10.0}),
    ):
        scan = elsewhere.scanned(patient, **changes).key_slice(1)
        keep(name, cut(scan.hu, box), lesion=label)
    return found


def by_name(pictures: Iterable[Picture]) -> dict[str, list[Picture]]:
    """Of many patients, by what was done, in the order of `PLAIN`, `UNLIKE`, `SCANS`."""
    found: dict[str, list[Picture]] = {name: [] for name in (PLAIN, *UNLIKE, *SCANS)}
    for one in pictures:
        found[one.name].append(one)
    return found


def detections(
    network: Classifier, novelty: Novelty, pictures: Mapping[str, Sequence[Picture]]
) -> tuple[Detection, ...]:
    """How often the pictures of each way of `UNLIKE` are flagged; a way without any is left out.

    Args:
        pictures: from `by_name`.

    Raises:
        NoveltyError: a novelty score of another network.
    """
    found = []
    for name, what in UNLIKE.items():
        own = pictures[name]
        if not own:
            continue
        rois = np.stack([one.pixels for one in own])
        sizes = [one.diameter_mm for one in own]
        found.append(
            tried.detection(
                novelty,
                name,
                what,
                network.outputs(rois).features,
                quick.measure(rois, network.meta.window_hu, sizes).values,
                [one.patient for one in own],
            )
        )
    return tuple(found)


def other_scans(
    network: Classifier, pictures: Mapping[str, Sequence[Picture]]
) -> tuple[Robustness, ...]:
    """How a classifier of the phantom's classes answers on each way of `SCANS`.

    Raises:
        SchemeError: a classifier that lacks a class of the phantom.
    """
    plain = pictures[PLAIN]
    position = np.asarray([network.meta.scheme.index(key) for key in CLASSES])
    truth = position[[one.lesion_class for one in plain]]
    owners = [one.patient for one in plain]

    def answers(own: Sequence[Picture]) -> npt.NDArray[np.float64]:
        rois = np.stack([one.pixels for one in own])
        return np.asarray(network.probabilities(rois), np.float64)

    before = answers(plain)
    return tuple(
        tried.robustness(name, what, truth, before, answers(pictures[name]), owners)
        for name, what in SCANS.items()
    )
