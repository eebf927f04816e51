"""One page in words about a data set: what went in, and what a reader of its figures must know."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from ml.dataset.about import About
from ml.dataset.columns import GROUPS
from ml.dataset.manifest import Line, Manifest

_MOST_VALUES = 12


def coincidences(lines: Sequence[Line]) -> list[str]:
    """Where class and source coincide, so that a network may learn the source: a sentence each.

    Told of the size of the images and of every column that is kept (``columns.GROUPS``), where a
    class has values of its own.
    """
    told = []
    for what, of in _sources(lines).items():
        values = defaultdict(set)
        for line in lines:
            values[line.lesion_class].add(of(line))
        for key, own in values.items():
            others = set().union(*(found for other, found in values.items() if other != key))
            if own & others or not all(own) or not others:
                continue
            shown = ", ".join(sorted(own)[:3]) + (" …" if len(own) > 3 else "")
            told.append(
                f"Every {key} and nothing else has {what} {shown}: a network may learn to tell "
                f"{what} instead of the lesion, and no figure would show it."
            )
    return told


def _sources(lines: Sequence[Line]) -> dict[str, Callable[[Line], str]]:
    found: dict[str, Callable[[Line], str]] = {"image size": _size}
    for column in GROUPS:
        values = {line.groups.get(column, "") for line in lines}
        if 1 < len(values) <= _MOST_VALUES:
            found[column] = _column(column)
    return found


def _column(name: str) -> Callable[[Line], str]:
    return lambda line: line.groups.get(name, "")


def _size(line: Line) -> str:
    return "" if line.image_size is None else f"{line.image_size[1]} × {line.image_size[0]}"


@dataclass(frozen=True)
class Pixels:
    """What the ROIs' pixels are like.

    Attributes:
        low, high: the values that become black and white, in the images' own unit.
        black: share of the ROIs' pixels that are plain black, 0…1.
        white: share that are plain white.
        alike: pairs of files of one patient whose images look like copies.
    """

    low: float
    high: float
    black: float
    white: float
    alike: Sequence[tuple[str, str]]


def render(manifest: Manifest, pixels: Pixels, notes: Iterable[str]) -> str:
    """The page, as Markdown."""
    lines = manifest.lines
    # an image may have several lesions
    images = {line.image_sha256 or line.id: line for line in lines}
    unit = "" if manifest.kind == "uncalibrated" else " HU"
    rows = [
        f"# {manifest.name}",
        "",
        f"{len(lines)} {manifest.kind} ROIs of {len(manifest.patients)} patients; scheme "
        f"{manifest.scheme.name}; digest `{manifest.digest[:12]}`.",
        "",
        "| class | ROIs | patients | diameter in mm, median (range) | box in px, median (range) |",
        "| --- | --- | --- | --- | --- |",
        *(_row(manifest, key) for key in manifest.scheme.keys),
        "",
        f"- Black and white are {pixels.low:g} and {pixels.high:g}{unit}; {pixels.black:.1%} of "
        f"the ROIs' pixels are plain black, {pixels.white:.1%} plain white.",
        f"- Sizes of the images (columns × rows): {_counted(map(_size, images.values()))}.",
        f"- Surroundings: {_surroundings(lines)}.",
        *(f"- {column}: {_counted(line.groups.get(column, '') for line in lines)}."
          for column in GROUPS if any(column in line.groups for line in lines)),
        *(f"- {first} and {second} look like copies (one patient)."
          for first, second in pixels.alike[:20]),
        *(f"- … and {len(pixels.alike) - 20} more such pairs." for _ in pixels.alike[20:21]),
    ]  # fmt: skip
    rows += ["", "Its owner says (--about FILE):", ""]
    rows += [f"- {what}: {words}" for what, words in (manifest.about or About()).rows()]
    told = list(notes)
    if told:
        rows += ["", "To be known:", "", *(f"- {note}" for note in told)]
    return "\n".join([*rows, "", "contact-sheet.png shows every ROI, class by class.", ""])


def _row(manifest: Manifest, key: str) -> str:
    lines = [line for line in manifest.lines if line.lesion_class == key]
    diameters = [line.diameter_mm for line in lines if line.diameter_mm is not None]
    boxes = [max(line.box.width, line.box.height) for line in lines if line.surroundings]
    patients = len({line.patient for line in lines})
    return f"| {key} | {len(lines)} | {patients} | {_spread(diameters)} | {_spread(boxes)} |"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "not known"
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f}; n = {len(values)})"


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values)
    shown = [f"{value or 'not given'} ({n})" for value, n in counts.most_common(8)]
    return ", ".join(shown) + (f" and {len(counts) - 8} more" if len(counts) > 8 else "")


def _surroundings(lines: Sequence[Line]) -> str:
    whole = sum(not line.surroundings for line in lines)
    short = sum(line.surroundings and line.room is not None and line.room < 0.4 for line in lines)
    parts = [
        f"{whole} images are the ROI itself, of which the tissue around is not known" * bool(whole),
        f"{short} ROIs have less tissue around them than the widest augmented view shows"
        * bool(short),
        f"{len(lines) - whole - short} ROIs have all of it" * (len(lines) > whole + short),
    ]
    return "; ".join(filter(None, parts))
