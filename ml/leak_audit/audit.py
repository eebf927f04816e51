"""The leak audit: could real and synthetic be told apart without reading the images?

What is a leak, and what is the subject of the study? Readers are asked whether a picture looks
real. Whatever a generator shows of a lesion, its brightness, contrast, texture and noise, is what
it is judged by: a difference there is written down and may be amber, never red. A leak is what
holds of one kind alone and says nothing of a lesion: how the file was made, and traces of what was
done to the numbers, which nature does not make and which a reader would learn as a rule.

* *Rendering*, of the file: format, size, depth, encoder, metadata, length, order of its parts,
  grey levels that are never used. Red blocks the opening.
* *Traces*, of the numbers: a constant or copied border, a picture that is its own mirror image,
  the grid of JPEG, exact enlargement, a pixel that is always the same, bits, parities and sums.
  Red, with one exception: real ROIs are cut from slices and enlarged as they come, so that only a
  synthetic picture is made suspect by an enlargement, and for real ones it is amber.
* *Content*, of the picture: named measures, and every position, line, period, frequency, 8-pixel
  pattern and grey value; a pattern that all images of a kind share; and a classifier on all of it
  as the last line. Amber at most, and frozen into the protocol.

All tests share one bound (`judgement`): images without a leak are amber in 2 of 100 audits at
most, however many measures are tried. Measures of content also need a lower 95 % limit above 0.6,
so that a large study is not amber for a trifle. Marks that no picture bears by itself are amber
from the first one, when the other kind has none. Practice images are audited with the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ml.leak_audit import copies, features, judgement, places
from ml.leak_audit.features import BOUND, SHARES, Both
from ml.leak_audit.places import Values
from ml.leak_audit.record import (
    VERSION,
    Audit,
    Classifier,
    Colour,
    Duplicates,
    Feature,
    Group,
    Images,
)
from ml.leak_audit.rendering import Encoded, LeakAuditError
from ml.leak_audit.seen import Seen, look
from ml.statistics import exact

_LISTED = 20


def audit_folders(real: Path, synthetic: Path) -> Audit:
    """Audit the images under two folders; other files are skipped and named.

    Raises:
        LeakAuditError: a folder that is missing, the same as the other, or without two images;
            or a damaged image.
    """
    for folder in (real, synthetic):
        if not folder.is_dir():
            raise LeakAuditError(f"{folder} is not a folder; give a folder of images.")
    if real.resolve() == synthetic.resolve():
        raise LeakAuditError("The real and the synthetic images are the same folder.")
    skipped: list[str] = []
    return audit(_files(real, skipped), _files(synthetic, skipped), skipped)


_SUFFIXES_OF_NOTES = {".json", ".jsonl", ".csv", ".txt", ".md", ".npz", ".npy", ".html", ".log"}


def _files(folder: Path, skipped: list[str]) -> Iterable[Encoded]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        litter = path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")
        if litter or path.suffix.lower() in _SUFFIXES_OF_NOTES:
            skipped.append(str(path.relative_to(folder)))
            continue
        yield Encoded(path.read_bytes(), f"{folder.name}/{path.relative_to(folder)}")


def audit(
    real: Iterable[Encoded], synthetic: Iterable[Encoded], skipped: Sequence[str] = ()
) -> Audit:
    """Audit encoded images as a reader's browser would get them, each image once.

    Raises:
        LeakAuditError: fewer than two images of a kind, practice not counted, or an image that
            cannot be read.
    """
    return compare(look(real), look(synthetic), skipped)


def compare(real: Sequence[Seen], synthetic: Sequence[Seen], skipped: Sequence[str] = ()) -> Audit:
    """Audit images that were looked at before.

    Raises:
        LeakAuditError: fewer than two images of a kind, practice not counted.
    """
    counts = [sum(not one.practice for one in kind) for kind in (real, synthetic)]
    for count, word in zip(counts, ("real", "synthetic"), strict=True):
        if count < 2:
            raise LeakAuditError(
                f"There are {count} {word} images; an audit needs at least two of each kind."
            )
    every = [*real, *synthetic]
    truth = np.array([0] * len(real) + [1] * len(synthetic))
    both = Both(every, truth, *_stacked(every))
    same = copies.exact([one.opened.digest for one in every])
    near = copies.near(
        np.stack([one.thumbnail for one in every]), np.stack([one.detail for one in every]), same
    )
    residue = places.rest(both.values)
    named = features.named_content(both)
    families = features.families(both, residue)
    found = (
        *features.of_files(both),
        features.duplicates(both, same),
        *features.marks(both),
        *families[Group.TRACES],
        *named,
        *families[Group.CONTENT],
        features.common_pattern(both, residue),
        features.near_duplicates(both, near),
    )
    learned = features.learned(both, residue)
    order = list(Colour)
    worst = max([*(f.verdict for f in found), learned.verdict], key=order.index)

    def listed(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[str, str], ...]:
        return tuple((every[a].name, every[b].name) for a, b in pairs[:_LISTED])

    return Audit(
        verdict=worst,
        text=_text(worst, found, learned),
        n=Images(counts[0], counts[1], len(every) - sum(counts)),
        features=found,
        classifier=learned,
        duplicates=Duplicates(listed(same), len(same), listed(near), len(near)),
        smallest_auc_found=_smallest(*both.kinds, len(named)),
        bound=BOUND,
        skipped=tuple(skipped),
        version=VERSION,
        pictures=tuple(one.name for one in every),
    )


def _stacked(every: Sequence[Seen]) -> tuple[Values, int]:
    rows, columns = (min(one.corners.shape[axis] for one in every) for axis in (0, 1))
    stack = [places.corners(one.corners, rows, columns) for one in every]
    return np.stack(stack), max(one.top for one in every)


def _smallest(real: int, synthetic: int, named: int) -> float | None:
    """The smallest area of a named measure that would be amber with so many images."""
    n, spread = real + synthetic, math.sqrt((real + synthetic + 1) / (12 * real * synthetic))
    for area in np.arange(0.61, 1.0001, 0.01):
        area = min(float(area), 1.0)
        p = judgement.two_sided((area - 0.5) / spread) if area < 1 else judgement.entire(n, real)
        if p * named / SHARES["content"] > judgement.LEVEL:
            continue
        if exact.newcombe(area, synthetic, real)[0] > BOUND:
            return float(round(area, 2))
    return None


def _listed(names: Sequence[str]) -> str:
    """Names of features in words; some have commas in them."""
    return "; ".join(names[:-1]) + "; and " * (len(names) > 1) + names[-1]


def _text(worst: Colour, found: Sequence[Feature], learned: Classifier) -> str:
    if worst is Colour.GREEN:
        return "No cheap feature tells real from synthetic."

    def named(colour: Colour, *groups: Group) -> list[str]:
        return [f.name for f in found if f.verdict is colour and f.group in groups]

    files, marks = named(Colour.RED, Group.RENDERING), named(Colour.RED, Group.TRACES)
    amber = named(Colour.AMBER, *Group)
    if learned.verdict is Colour.AMBER:
        amber.append("classifier on the content features")
    parts = []
    if files:
        parts.append(
            f"The files themselves give the answer away ({_listed(files)}): render all images by "
            "one encoder, or remove duplicates, before the study opens."
        )
    if marks:
        parts.append(
            f"The pictures bear marks that no honest picture has ({_listed(marks)}): find the "
            "step that was made on one kind alone, and make it on both or on none."
        )
    if amber:
        parts.append(f"Readers could use: {_listed(amber)}; it is written into the protocol.")
    return " ".join(parts)
