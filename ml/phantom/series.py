"""Patients drawn, cohorts of exact class counts, and their DICOM folders with the truth beside.

Patient k of seed S is drawn from (S, k) alone: it does not depend on how many patients are made.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from ml.lesion import LIVER
from ml.phantom import VERSION, PhantomError, Version
from ml.phantom.anatomy import Anatomy
from ml.phantom.dicomfile import encode
from ml.phantom.grid import SIZE_PX, Grid
from ml.phantom.lesions import (
    CLASSES,
    DIAMETER_MM,
    Lesion,
    Shape,
    atypical_share,
    difficulty_of,
    draw_appearance,
    draw_diameter,
)
from ml.phantom.patient import PhantomLesion, PhantomPatient, PhantomSlice, seed_of, uid
from ml.phantom.scanner import Scanner
from ml.progress import Progress, RunDir, refuse_taken, whole

SLICES = (7, 15)
"""Fewest and most slices of a series; they lie at one interval, the last towards the head."""
LESIONS_SHARE = (0.45, 0.28, 0.17, 0.10)
"""Shares of patients with 1, 2, 3 and 4 lesions, all of one class."""
SPREAD = 6
"""A small class is spread over so many patients, or there would be no folds to divide it into."""
COLUMNS = (
    "patient", "series_instance_uid", "sop_instance_uid", "file", "lesion", "lesion_class",
    "diameter_mm", "x", "y", "width", "height", "atypical", "key_slice",
)  # fmt: skip
_GAP_MM = 4.0


def _checked(seed: int, difficulty: float | None, version: Version) -> float:
    """The difficulty that was asked for, or the version's own."""
    if seed < 0:
        raise PhantomError(f"Seed {seed} is negative; give a whole number from 0.")
    asked = float(difficulty_of(version, difficulty))
    if not 0 <= asked <= 1:
        raise PhantomError(
            f"Difficulty {asked:g} is outside 0…1; 0 is textbook, 1 is heavy overlap."
        )
    return asked


def patient(
    seed: int,
    difficulty: float | None = None,
    index: int = 0,
    lesion_class: str | None = None,
    lesions: int | None = None,
    version: Version = VERSION,
) -> PhantomPatient:
    """Patient ``index`` of ``seed``.

    Args:
        seed: a whole number from 0.
        difficulty: 0 (textbook) to 1 (heavy overlap): the proportion of atypical lesions
            (``lesions.atypical_share``), how far typical ones stray, how much contrast is lost and
            how strong the noise is all grow with it, smoothly. None: the one that the version is
            calibrated at (``lesions.DIFFICULTY``).
        index: the patient's number, from 0.
        lesion_class: a class for all lesions of the patient; drawn where not given.
        lesions: how many, 1 or more; drawn by ``LESIONS_SHARE`` where not given.
        version: which phantom.

    Raises:
        PhantomError: a number out of range or an unknown class.
    """
    difficulty = _checked(seed, difficulty, version)
    if index < 0:
        raise PhantomError(f"Patient {index}: patients are counted from 0.")
    if lesion_class is not None and lesion_class not in CLASSES:
        raise PhantomError(
            f"The phantom has no class {lesion_class!r}; it has {', '.join(CLASSES)}."
        )
    if lesions is not None and lesions < 1:
        raise PhantomError(f"{lesions} lesions: a phantom patient has at least one.")
    rng = np.random.default_rng(seed_of(seed, index, "lesions"))
    drawn_class, drawn_number = str(rng.choice(CLASSES)), _number(rng)
    lesion_class = lesion_class or drawn_class
    number = lesions or drawn_number
    diameters = sorted((draw_diameter(rng) for _ in range(number)), reverse=True)

    scanner = Scanner.draw(
        np.random.default_rng(seed_of(seed, index, "scanner")), difficulty, version
    )
    anatomy = Anatomy(
        np.random.default_rng(seed_of(seed, index, "anatomy")), diameters[0] > 55, version
    )
    step = scanner.interval_mm * np.ceil(0.8 * diameters[0] / (12 * scanner.interval_mm))
    drawn: list[Lesion] = []
    for k, diameter in enumerate(diameters):
        look_rng, place_rng = (
            np.random.default_rng(seed_of(seed, index, "lesions", k, part)) for part in (0, 1)
        )
        look, atypical = draw_appearance(lesion_class, look_rng, anatomy.hu, difficulty)
        placed = _place(place_rng, anatomy, diameter, look.lobes, drawn, float(step))
        if placed is None:
            continue
        texture = seed_of(seed, index, "texture", k)
        drawn.append(Lesion(lesion_class, placed[1], atypical, look, placed[0], texture, version))
    heights = _heights(drawn, float(step))
    grid = _field_of_view(np.random.default_rng(seed_of(seed, index, "scanner", 1)), anatomy)
    name = (str(seed), str(index), repr(difficulty), lesion_class, str(lesions))
    study, series, frame = (
        uid(what, *name, version=version) for what in ("study", "series", "frame")
    )
    truth = tuple(
        PhantomLesion(
            lesion.lesion_class,
            lesion.diameter_mm,
            lesion.shape.centre_mm,
            lesion.atypical,
            int(np.argmin(np.abs(np.asarray(heights) - lesion.shape.centre_mm[2]))),
        )
        for lesion in drawn
    )
    return PhantomPatient(
        f"PHANTOM-{seed}-{index:05d}", seed, index, difficulty, lesion_class, truth, scanner,
        grid, heights, float(step), study, series, frame, anatomy, tuple(drawn), version,
    )  # fmt: skip


def _number(rng: np.random.Generator) -> int:
    return 1 + int(rng.choice(len(LESIONS_SHARE), p=LESIONS_SHARE))


def _field_of_view(rng: np.random.Generator, anatomy: Anatomy) -> Grid:
    width, depth = anatomy.half_body_mm
    side = 2 * max(width * 1.05 + 4, depth * 1.12 + 12) * rng.uniform(1.0, 1.08)
    spacing = round(float(side) / SIZE_PX, 4)
    return Grid(spacing, (float(rng.normal(0, 3)), float(rng.normal(9, 3))))


def _place(
    rng: np.random.Generator,
    anatomy: Anatomy,
    diameter: float,
    lobes: float,
    others: list[Lesion],
    step: float,
) -> tuple[Shape, float] | None:
    """A shape wholly in the liver, clear of the others, centred on a plane of the series.

    A lesion that finds no room shrinks by 6 % at a time; None when even 10 mm finds
    none beside the others.
    """
    # the first lesion fixes the planes; the others stay where 15 slices can cover all
    span = (SLICES[1] - 5) * step
    while True:
        shape = Shape.draw(rng, diameter, lobes)
        half_w, half_d = anatomy.build.inner_width, anatomy.build.inner_depth
        centres = rng.uniform((-half_w, -half_d, -80), (0.75 * half_w, half_d, 95), (700, 3))
        if others:
            anchor = others[0].shape.centre_mm[2]
            offsets = rng.integers(-int(span / 2 / step), int(span / 2 / step) + 1, len(centres))
            centres[:, 2] = anchor + offsets * step
            for other in others:
                gap = np.linalg.norm(centres - other.shape.centre_mm, axis=1)
                centres = centres[gap > 0.55 * (diameter + other.diameter_mm) + _GAP_MM]
        else:
            centres[:, 2] = np.rint(centres[:, 2])
        deep = anatomy.liver_distance(centres) if len(centres) else np.empty(0)
        likely = centres[deep < -0.33 * diameter]
        for x, y, z in likely[:60]:
            moved = shape.at(x, y, z)
            if anatomy.liver_distance(moved.surface()).max() < -1.0:
                return moved, diameter
        if diameter == DIAMETER_MM[0] and others:
            return None
        diameter = max(0.94 * diameter, DIAMETER_MM[0])


def _heights(lesions: list[Lesion], step: float) -> tuple[float, ...]:
    """Planes at ``step`` through every centre, 7 to 15 of them, with a margin on both sides."""
    anchor = lesions[0].shape.centre_mm[2]
    at = [round((lesion.shape.centre_mm[2] - anchor) / step) for lesion in lesions]
    low, high = min(at), max(at)
    tall = max(lesion.shape.height_mm for lesion in lesions)
    wanted = high - low + 1 + 2 * int(np.ceil(tall / step) + 1)
    count = int(np.clip(wanted, SLICES[0], SLICES[1]))
    spare = count - (high - low + 1)
    first = low - spare // 2
    return tuple(float(anchor + (first + i) * step) for i in range(count))


def cohort(
    counts: Mapping[str, int],
    seed: int,
    difficulty: float | None = None,
    version: Version = VERSION,
) -> Iterator[PhantomPatient]:
    """Patients until exactly ``counts`` lesions of each class are reached.

    Each patient has lesions of one class only. The class of the next patient is drawn in proportion
    to what is still wanted, so a patient depends on the counts as well as on (seed, index). A class
    has at least ``SPREAD`` patients, or as many as lesions.

    Raises:
        PhantomError: an unknown class, a negative count, or no lesion asked for.
    """
    chosen = _checked(seed, difficulty, version)
    for key, count in counts.items():
        if key not in CLASSES:
            raise PhantomError(f"The phantom has no class {key!r}; it has {', '.join(CLASSES)}.")
        if count < 0:
            raise PhantomError(f"{count} lesions of class {key}: give 0 or more.")
    if sum(counts.values()) == 0:
        raise PhantomError("No lesions asked for; give counts such as cyst=53.")
    return _cohort(dict(counts), seed, chosen, version)


def _cohort(
    left: dict[str, int], seed: int, difficulty: float, version: Version
) -> Iterator[PhantomPatient]:
    index = 0
    patients = dict.fromkeys(left, 0)
    while total := sum(left.values()):
        rng = np.random.default_rng(seed_of(seed, index, "cohort"))
        keys = [key for key in CLASSES if left.get(key, 0) > 0]
        chosen = str(rng.choice(keys, p=[left[key] / total for key in keys]))
        # one lesion is kept for each patient that the class still needs besides this one
        kept = max(0, SPREAD - patients[chosen] - 1)
        number = min(_number(rng), max(1, left[chosen] - kept))
        made = patient(seed, difficulty, index, chosen, number, version)
        left[chosen] -= len(made.lesions)
        patients[chosen] += 1
        index += 1
        yield made


def draw_lesion_slices(
    counts: Mapping[str, int],
    seed: int,
    difficulty: float | None = None,
    version: Version = VERSION,
) -> Iterator[tuple[PhantomPatient, int, PhantomSlice]]:
    """The fast way to a pool: each lesion of ``cohort`` (from 1) with its key slice only."""
    for made in cohort(counts, seed, difficulty, version):
        drawn: dict[int, PhantomSlice] = {}
        for number, lesion in enumerate(made.lesions, start=1):
            if lesion.key_slice not in drawn:
                drawn[lesion.key_slice] = made.slice(lesion.key_slice)
            yield made, number, drawn[lesion.key_slice]


def write(
    patients: int,
    seed: int,
    out: Path,
    difficulty: float | None = None,
    key_slices_only: bool = False,
    version: Version = VERSION,
) -> Iterator[Progress]:
    """Write ``patients`` DICOM series under ``out`` with ``lesions.csv`` and ``phantom.json``.

    Raises:
        PhantomError: no patients, difficulty outside 0…1.
        OutputError: ``out`` is not empty, or cannot be written; then nothing is left there.
    """
    if patients < 1:
        raise PhantomError(f"{patients} patients: give 1 or more.")
    chosen = _checked(seed, difficulty, version)
    made = (patient(seed, chosen, index, version=version) for index in range(patients))
    refuse_taken(out)
    return _write(made, patients, None, _Origin(version, seed, chosen, key_slices_only), out)


def write_cohort(
    counts: Mapping[str, int],
    seed: int,
    out: Path,
    difficulty: float | None = None,
    key_slices_only: bool = False,
    version: Version = VERSION,
) -> Iterator[Progress]:
    """``write`` for a ``cohort`` of exact lesion counts; progress counts lesions.

    Raises:
        PhantomError: as ``cohort``.
        OutputError: as ``write``.
    """
    chosen = _checked(seed, difficulty, version)
    made = cohort(counts, seed, chosen, version)
    total = sum(counts.values())
    refuse_taken(out)
    origin = _Origin(version, seed, chosen, key_slices_only)
    steps = _write(made, None, total, origin, out)
    return chain(_thin({key: counts.get(key, 0) for key in CLASSES}, 0, total), steps)


def _thin(patients: Mapping[str, int], done: int, total: int) -> Iterator[Progress]:
    """Say of which classes there are too few patients to train on."""
    few = [f"{key} in {number}" for key, number in patients.items() if number < SPREAD]
    if few:
        yield Progress(
            done,
            total,
            f"Few patients: {', '.join(few)} at most. Training wants lesions of every class in "
            f"{SPREAD} patients or more, for its folds and for validation.",
            said=True,
        )


@dataclass(frozen=True)
class _Origin:
    """What a folder of phantoms is made by."""

    version: Version
    seed: int
    difficulty: float
    key_slices_only: bool


def _write(
    made: Iterator[PhantomPatient],
    patients: int | None,
    lesions: int | None,
    origin: _Origin,
    out: Path,
) -> Iterator[Progress]:
    with whole(out) as partial:
        yield from _write_into(RunDir(partial), made, patients, lesions, origin)


def _write_into(
    folder: RunDir,
    made: Iterator[PhantomPatient],
    patients: int | None,
    lesions: int | None,
    origin: _Origin,
) -> Iterator[Progress]:
    rows: list[dict[str, object]] = []
    counts = dict.fromkeys(CLASSES, 0)
    spread = dict.fromkeys(CLASSES, 0)
    atypical = slices = done = number = 0
    for number, one in enumerate(made, start=1):
        keys = {lesion.key_slice for lesion in one.lesions}
        for index in sorted(keys) if origin.key_slices_only else range(len(one.heights_mm)):
            image = one.slice(index)
            name = f"{one.patient_id}/IM{image.number:04d}.dcm"
            target = folder.path / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(encode(one, image))
            rows.extend(_rows(one, index, image, name))
            slices += 1
        spread[one.lesion_class] += 1
        for lesion in one.lesions:
            counts[lesion.lesion_class] += 1
            atypical += lesion.atypical
        done = number if patients else sum(counts.values())
        found = ", ".join(f"{count} {key}" for key, count in counts.items())
        yield Progress(
            done, patients or lesions or 0, f"patient {number}: {found}", {"slices": float(slices)}
        )
    if patients:
        yield from _thin(spread, number, number)
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder.write_bytes("lesions.csv", table.getvalue().encode())
    folder.write_json(
        "phantom.json",
        {
            "generator": "hepatica phantom",
            "version": origin.version,
            "seed": origin.seed,
            "difficulty": origin.difficulty,
            "atypical_share_expected": atypical_share(origin.difficulty),
            "atypical_lesions": atypical,
            "key_slices_only": origin.key_slices_only,
            "scheme": LIVER.to_dict(),
            "counts": {
                "patients": number, "slices": slices, "lesions": sum(counts.values()), **counts,
            },
        },
    )  # fmt: skip


def _rows(
    one: PhantomPatient, index: int, image: PhantomSlice, name: str
) -> Iterator[dict[str, object]]:
    for label, lesion in enumerate(one.lesions, start=1):
        box = image.box(label)
        if box is None:
            continue
        yield {
            "patient": one.patient_id,
            "series_instance_uid": one.series_uid,
            "sop_instance_uid": image.sop_uid,
            "file": name,
            "lesion": label,
            "lesion_class": lesion.lesion_class,
            "diameter_mm": f"{lesion.diameter_mm:.2f}",
            **dict(zip(("x", "y", "width", "height"), box, strict=True)),
            "atypical": int(lesion.atypical),
            "key_slice": int(lesion.key_slice == index),
        }
