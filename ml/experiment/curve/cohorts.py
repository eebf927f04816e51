"""The training lesions of a curve: of each seed one cohort of phantoms, and its smaller parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml.config import seed_for
from ml.dataset import writing
from ml.dataset.manifest import Finding, Line, Manifest, Source
from ml.experiment.curve import CurveError
from ml.images.ct_slice import ImageKind
from ml.images.roi import Box
from ml.lesion import LIVER
from ml.phantom import VERSION, Version
from ml.phantom.series import draw_lesion_slices
from ml.progress import Progress

SEED = 7_500_000
"""Seed s of a curve trains on phantoms of seed SEED + s, which no data set of the project is of."""
LEAST, MOST = 12, 2000
MOST_SIZES = 20


def refuse_sizes(sizes: Sequence[int]) -> None:
    """CurveError for numbers of training lesions of which no curve can be."""
    rising = list(sizes) == sorted(set(sizes))
    if not (1 < len(sizes) <= MOST_SIZES and rising and sizes[0] >= LEAST and sizes[-1] <= MOST):
        raise CurveError(
            f"{'+'.join(map(str, sizes))} training lesions: give 2 to {MOST_SIZES} numbers from "
            f"{LEAST} to {MOST}, each larger than the one before, such as 20+40+80+160."
        )


def folder(out: Path, seed: int, size: int) -> Path:
    """Where the data set of one seed and size lies."""
    return out / "data" / str(seed) / f"training-{size}"


def are_made(out: Path, seed: int, sizes: Sequence[int]) -> bool:
    """Whether all data sets of a seed lie there."""
    return all((folder(out, seed, size) / "manifest.json").exists() for size in sizes)


def make(
    out: Path, seed: int, sizes: Sequence[int], difficulty: float, phantom: Version = VERSION
) -> Iterator[Progress]:
    """Simulate the training lesions of a seed and write a data set for each size, where missing."""
    if are_made(out, seed, sizes):
        return
    largest = folder(out, seed, sizes[-1])
    if not (largest / "manifest.json").exists():
        counts = shares(sizes[-1], LIVER.keys)
        yield from writing.write(
            _findings(counts, SEED + seed, difficulty, phantom), sizes[-1], LIVER, largest,
            difficulty=difficulty, phantom=phantom,
        )  # fmt: skip
    whole = Manifest.load(largest)
    parts = nested(whole.lines, whole.scheme.keys, sizes, seed)
    for size in sizes[:-1]:
        target = folder(out, seed, size)
        replace(whole, name=target.name, lines=parts[size]).save(target)


def shares(size: int, keys: Sequence[str]) -> dict[str, int]:
    """So many lesions of each class, as equal as can be."""
    each, left = divmod(size, len(keys))
    return {key: each + (place < left) for place, key in enumerate(keys)}


def nested(
    lines: Sequence[Line], keys: Sequence[str], sizes: Sequence[int], seed: int
) -> Mapping[int, tuple[Line, ...]]:
    """The lines of each size, in their order; those of a smaller size are all in a larger one.

    Whole patients join, class by class in an order by the seed, where all of their lesions have
    room; so a class may be a lesion or more short of its share.
    """
    found: dict[int, tuple[Line, ...]] = {}
    joined: set[str] = set()
    for size in sizes:
        for key, share in shares(size, keys).items():
            own = [line.patient for line in lines if line.lesion_class == key]
            names = sorted(set(own))
            rng = np.random.default_rng(seed_for("training patients", key, seed))
            have = sum(name in joined for name in own)
            for name in (names[i] for i in rng.permutation(len(names))):
                if name not in joined and have + own.count(name) <= share:
                    joined.add(name)
                    have += own.count(name)
        found[size] = tuple(line for line in lines if line.patient in joined)
    return found


def _findings(
    counts: Mapping[str, int], seed: int, difficulty: float, phantom: Version
) -> Iterator[Finding]:
    for patient, number, image in draw_lesion_slices(counts, seed, difficulty, phantom):
        found = image.box(number)
        if found is None:
            raise CurveError(f"Phantom {patient.patient_id} lacks lesion {number} on its slice.")
        yield Finding(
            pixels=image.hu,
            kind=ImageKind.PHANTOM,
            lesion_class=patient.lesion_class,
            patient=patient.patient_id,
            file=f"{patient.patient_id}/IM{image.number:04d}",
            box=Box(*found),
            spacing_mm=image.spacing_mm,
            source=Source.PHANTOM,
            phantom_uid=image.sop_uid,
        )
