"""ROIs that a classifier was not trained on, to ask whether it says so; and the same lesions
otherwise.

Of liver classifiers from phantom patients that no training has seen (`of_patient`); of any, what
can be made from the ROIs of a data set (`of_line`). What is asked of real images of something else
(lung nodules, tumours) is asked where there are some: `tests/bench/trust.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ml.config import seed_for
from ml.dataset.manifest import Line, Manifest
from ml.ground.errors import HepaticaError
from ml.images import roi
from ml.images.ct_slice import ImageKind
from ml.phantom import VERSION, Version, elsewhere, series
from ml.phantom.patient import PhantomPatient
from ml.trust import stability
from ml.trust.stability import Disturbance

Pixels = npt.NDArray[np.float32]

SEED = 7_300_000
"""Of the patients; no data set's, and none by which anything was chosen (`ml.trust.cloud`)."""
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
    "noise x1.5": "noise × 1.5 (dose × 0.44)",
    "noise x2": "noise × 2 (dose × 0.25)",
    "soft kernel": "soft kernel (0.30 per mm)",
    "sharp kernel": "sharp kernel (0.65 per mm), noise × 1.5",
    "thin slice": "slices of 1.25 mm, noise × 1.5",
    "thick slice": "slices of 10 mm",
}
"""Other scans of the same patients, by name."""

PROCESSED: Mapping[str, str] = {
    "grain": "noise of 2.5 % of the window's width added",
    "more grain": "noise of 5 % of the window's width added",
    "blurred": "blurred (Gaussian, 1 of 64 pixels)",
    "sharpened": "sharpened (unsharp masking, 1 of 64 pixels)",
}
"""In the place of other scans, where there is nothing but ROIs."""

VIEWS: Mapping[str, str] = {
    "mark off 10 %": "the mark moved by 10 % of the diameter",
    "mark off 20 %": "the mark moved by 20 % of the diameter",
    "mark larger": "the mark 20 % larger",
    "mark smaller": "the mark 20 % smaller",
    "level up": "the window 5 % of its width higher",
    "level down": "the window 5 % of its width lower",
    "wider": "the window 20 % wider",
    "narrower": "the window 20 % narrower",
}
"""The same image marked or shown otherwise, by name."""

_OFF = {"off-half": 0.5, "off-whole": 1.0, "mark off 10 %": 0.1, "mark off 20 %": 0.2}
"""By which share of the diameter a mark is moved."""
_SIZED = {"mark larger": 1.2, "mark smaller": 0.8}
_SHOWN = {
    "level up": (Disturbance.LEVEL, -0.1),
    "level down": (Disturbance.LEVEL, 0.1),
    "wider": (Disturbance.WIDTH, 20.0),
    "narrower": (Disturbance.WIDTH, -20.0),
}
"""What an ROI's values do: 0.1 of [−1, 1] is 5 % of the width."""


@dataclass(frozen=True)
class Picture:
    """One ROI: (64, 64) in [−1, 1], whose it is, and which lesion.

    Attributes:
        name: of the way.
        diameter_mm: of the mark; None where that is not known.
        lesion: the same in every picture of one lesion, and in what was made of its place.
        lesion_class: key of its class; "" where there is no lesion, or another one.
    """

    name: str
    pixels: Pixels
    diameter_mm: float | None
    patient: str
    lesion: str
    lesion_class: str


def of_patient(
    index: int,
    seed: int = SEED,
    difficulty: float | None = None,
    window_hu: tuple[float, float] = roi.DEFAULT_WINDOW_HU,
    version: Version = VERSION,
) -> list[Picture]:
    """`of_phantom` of one patient.

    Args:
        index: the patient's number, from 0.
        seed, difficulty, version: of the phantom, as of `ml.phantom.series.patient`.
        window_hu: of the network's ROIs.
    """
    return of_phantom(series.patient(seed, difficulty, index, version=version), window_hu)


def of_phantom(patient: PhantomPatient, window_hu: tuple[float, float]) -> list[Picture]:
    """The largest lesion of a phantom patient in every way of `PLAIN`, `UNLIKE`, `SCANS`, `VIEWS`.

    A way that the patient has no place for is left out.
    """
    rng = np.random.default_rng(seed_for("unlike", patient.seed, patient.index))
    image = patient.key_slice(1)
    marked = image.box(1)
    if marked is None:
        raise HepaticaError(f"Phantom {patient.patient_id} lacks its lesion on its own slice.")
    box = roi.Box(*marked)

    def cut(hu: npt.NDArray[np.int16], where: roi.Box) -> Pixels:
        return roi.normalise(roi.cut(hu, where, image.spacing_mm, roi.AIR_HU), window_hu)

    size = max(box.width, box.height) * image.spacing_mm[0]
    own = patient.lesion_class
    found: list[Picture] = []

    def keep(
        name: str,
        pixels: npt.NDArray[np.floating],
        diameter: float = size,
        lesion_class: str = "",
    ) -> None:
        who = patient.patient_id
        found.append(Picture(name, _single(pixels), diameter, who, who, lesion_class))

    plain = cut(image.hu, box)
    keep(PLAIN, plain, lesion_class=own)
    seen = elsewhere.plain_liver(patient, rng)
    if seen is not None:
        keep("no-lesion", cut(seen.hu, roi.Box(*seen.box)), seen.diameter_mm)
    keep("native", cut(elsewhere.native(patient).key_slice(1).hu, box))
    for name in elsewhere.ORGANS:
        other = elsewhere.organ(patient, name, rng)
        keep(name, cut(other.hu, roi.Box(*other.box)), other.diameter_mm)
    for name, pixels in _contrasts(plain, rng):
        keep(name, pixels)
    liver = rng.normal(100, 20, plain.shape).astype(np.float32)
    keep("liver-noise", roi.normalise(liver, window_hu))
    turn = rng.uniform(0, 2 * np.pi)
    for name, marked_so in _marks(box, turn):
        try:
            keep(name, cut(image.hu, marked_so), lesion_class=own if name in VIEWS else "")
        except roi.BoxError:  # a lesion at the skin
            continue
    low, high = window_hu
    values = roi.cut(image.hu, box, image.spacing_mm, roi.AIR_HU)
    for name, (kind, by) in _SHOWN.items():
        # values beyond the window are at hand here
        wide = high - low
        ends = (
            (low - by / 2 * wide, high - by / 2 * wide)
            if kind == Disturbance.LEVEL
            else (low - by / 200 * wide, high + by / 200 * wide)
        )
        keep(name, roi.normalise(values, ends), lesion_class=own)
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
        keep(name, cut(scan.hu, box), lesion_class=own)
    return found


def of_line(manifest: Manifest, line: Line, window_hu: tuple[float, float]) -> list[Picture]:
    """A lesion of a data set in the ways that its ROI allows: of `UNLIKE`, `PROCESSED`, `VIEWS`.

    The mark is moved where there is image about it.

    Raises:
        ManifestError: as ``Manifest.roi``.
    """
    seed = seed_for("unlike", line.id)
    rng = np.random.default_rng(seed)
    plain = manifest.roi(line, window_hu)
    found: list[Picture] = []

    def keep(name: str, pixels: npt.NDArray[np.floating], lesion: bool = True) -> None:
        key = line.lesion_class if lesion else ""
        found.append(Picture(name, _single(pixels), line.size_mm, line.patient, line.id, key))

    keep(PLAIN, plain)
    for name, pixels in _contrasts(plain, rng):
        keep(name, pixels, lesion=False)
    if manifest.kind != ImageKind.UNCALIBRATED:
        liver = rng.normal(100, 20, plain.shape).astype(np.float32)
        keep("liver-noise", roi.normalise(liver, window_hu), lesion=False)
    # to a corner, where a data set keeps most of the image
    for name, box in _marks(line.box, np.pi / 4 * (1 + 2 * rng.integers(4))):
        if line.surroundings and _fits(line, box):
            pixels = manifest.roi(replace(line, box=box), window_hu)
            keep(name, pixels, lesion=name in VIEWS)
    for name, (kind, by) in _SHOWN.items():
        keep(name, stability.changed(kind, plain, by))
    keep("grain", stability.noisy(plain, 0.05, seed))
    keep("more grain", stability.noisy(plain, 0.1, seed))
    keep("blurred", stability.changed(Disturbance.KERNEL, plain, 1.0))
    keep("sharpened", stability.changed(Disturbance.KERNEL, plain, -1.0))
    return found


def _fits(line: Line, box: roi.Box) -> bool:
    try:
        if line.image_size is not None:
            roi.check(box, line.image_size, line.spacing_mm)
    except roi.BoxError:
        return False
    return True


def _contrasts(plain: Pixels, rng: np.random.Generator) -> Iterator[tuple[str, Pixels]]:
    yield "inverted", -plain
    low, high = np.quantile(plain, [0.01, 0.99])
    yield "stretched", np.clip(1 - 2 * (plain - low) / max(float(high - low), 1e-6), -1, 1)
    yield "noise", _single(rng.uniform(-1, 1, plain.shape))
    yield "upside-down", plain[::-1]


def _marks(box: roi.Box, turn: float) -> Iterator[tuple[str, roi.Box]]:
    """A lesion marked otherwise, moved to the direction of ``turn`` radians."""
    away = max(box.width, box.height) * np.asarray([np.cos(turn), np.sin(turn)])
    for name, part in _OFF.items():
        yield name, box.moved(*(part * away).tolist())
    for name, scale in _SIZED.items():
        yield name, roi.Box.centred(*box.center, box.width * scale, box.height * scale)


def _single(pixels: npt.NDArray[np.floating]) -> Pixels:
    return np.ascontiguousarray(pixels, np.float32)
