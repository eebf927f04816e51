"""The leak audit: could real and synthetic be told apart without reading the images?

Two groups. *Rendering* is how the picture was made into a file: never the generator's merit, so a
red one blocks the opening of a study. *Content* is what the picture shows: a generator's own
fault is what readers are asked to find, so it is amber at most, and frozen into the protocol.
Areas are taken on the side above 0.5; red and amber need a lower 95 % bound above 0.6, so that
a small study is not condemned by noise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.ground import records
from ml.ground.records import RecordError
from ml.leak_audit import content, rendering
from ml.leak_audit.rendering import Encoded, LeakAuditError, Opened
from ml.statistics import exact, logistic, roc, symmetry

__all__ = [
    "Audit",
    "Encoded",
    "Feature",
    "Images",
    "LeakAuditError",
    "NotAudited",
    "audit",
    "audit_folders",
    "from_json",
]

Floats = NDArray[np.float64]

VERSION = 1
"""Of the JSON form. It is not written: what has none is of the first."""
BOUND = 0.6
NEAR_THUMBNAIL = 0.995
NEAR_DETAIL = 0.97
_FOLDS = 5
_RIDGE = 1.0
_LISTED = 20


class Colour(StrEnum):
    """A verdict, from good to bad."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


class Group(StrEnum):
    """What a feature is of: the file, or what the picture shows."""

    RENDERING = "rendering"
    CONTENT = "content"


@dataclass(frozen=True)
class Feature:
    """One cheap feature: area real against synthetic with its 95 % interval, and the verdict."""

    name: str
    group: Group
    auc: float
    low: float | None
    high: float | None
    verdict: Colour
    detail: str


@dataclass(frozen=True)
class Classifier:
    """A ridge logistic regression on all content features, out-of-fold; None when refused."""

    auc: float | None
    low: float | None
    high: float | None
    verdict: Colour
    folds: int
    features: int
    detail: str


@dataclass(frozen=True)
class Images:
    """How many images were audited."""

    real: int
    synthetic: int


@dataclass(frozen=True)
class Duplicates:
    """Pairs of images, by name, with the same pixels or nearly: 20 of each at most, all counted."""

    exact: tuple[tuple[str, str], ...]
    exact_count: int
    near: tuple[tuple[str, str], ...]
    near_count: int


@dataclass(frozen=True)
class Audit:
    """The written record; ``verdict`` is the worst of all.

    ``smallest_auc_found`` is None where so few images could not show any; ``bound`` is what a
    lower limit must pass; ``skipped`` are files that were no images.
    """

    verdict: Colour
    text: str
    n: Images
    features: tuple[Feature, ...]
    classifier: Classifier
    duplicates: Duplicates
    smallest_auc_found: float | None
    bound: float
    skipped: tuple[str, ...]

    @property
    def blocks(self) -> bool:
        """A study with these images must not open."""
        return self.verdict is Colour.RED

    def to_json(self) -> Any:
        """The JSON form, as a protocol freezes it."""
        return records.to_json(self)


@dataclass(frozen=True)
class NotAudited:
    """The record where no audit can be made; ``text`` says why."""

    verdict: str
    text: str
    n: Images
    features: tuple[Feature, ...] = ()
    classifier: None = None

    @property
    def smallest_auc_found(self) -> None:
        """Nothing would be found."""

    def to_json(self) -> Any:
        """The JSON form, as a protocol freezes it."""
        return {**records.to_json(self), "features": [], "classifier": None}


Record = Audit | NotAudited


def from_json(data: Any) -> Record:
    """The record whose ``to_json`` is ``data``; without a version it is of the first.

    Raises:
        LeakAuditError: another version, or something missing, unknown or of another type.
    """
    data = dict(data) if isinstance(data, dict) else data
    version = data.pop("version", VERSION) if isinstance(data, dict) else VERSION
    if version != VERSION:
        raise LeakAuditError(
            f"This leak audit is of version {version!r}; this program reads {VERSION}. Use the "
            "program that wrote it, or a newer one."
        )
    try:
        if isinstance(data, dict) and "duplicates" not in data:
            return records.from_json(NotAudited, data)
        return records.from_json(Audit, data)
    except RecordError as error:
        raise LeakAuditError(f"This is no record of a leak audit: {error}") from error


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
        if path.name.startswith(".") or path.suffix.lower() in _SUFFIXES_OF_NOTES:
            skipped.append(str(path.relative_to(folder)))
            continue
        yield Encoded(path.read_bytes(), f"{folder.name}/{path.relative_to(folder)}")


@dataclass(frozen=True)
class _Seen:
    name: str
    opened: Opened
    shown: dict[str, float]
    thumbnail: Floats
    detail: Floats


def audit(
    real: Iterable[Encoded], synthetic: Iterable[Encoded], skipped: Sequence[str] = ()
) -> Audit:
    """Audit encoded images as a reader's browser would get them, each image once.

    Raises:
        LeakAuditError: fewer than two images of a kind, or an image that cannot be read.
    """
    groups = []
    for images, word in ((real, "real"), (synthetic, "synthetic")):
        seen = [_look(image) for image in images]
        if len(seen) < 2:
            raise LeakAuditError(
                f"There are {len(seen)} {word} images; an audit needs at least two of each kind."
            )
        groups.append(seen)
    every = [*groups[0], *groups[1]]
    truth = np.array([0] * len(groups[0]) + [1] * len(groups[1]))
    exact = _exact_duplicates(every)
    near = _near_duplicates(every, set(exact))
    features = [
        *_rendering(every, truth),
        _duplicate_feature(every, truth, exact),
        *_content(every, truth),
        _near_feature(every, truth, near),
    ]
    learned = _classify(every, truth)
    order = list(Colour)
    worst = max([*(f.verdict for f in features), learned.verdict], key=order.index)

    def listed(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[str, str], ...]:
        return tuple((every[a].name, every[b].name) for a, b in pairs[:_LISTED])

    return Audit(
        verdict=worst,
        text=_text(worst, features, learned),
        n=Images(len(groups[0]), len(groups[1])),
        features=tuple(features),
        classifier=learned,
        duplicates=Duplicates(listed(exact), len(exact), listed(near), len(near)),
        smallest_auc_found=_smallest(len(groups[0]), len(groups[1])),
        bound=BOUND,
        skipped=tuple(skipped),
    )


def _look(image: Encoded) -> _Seen:
    opened = rendering.read(image)
    lean = Opened(
        opened.format, opened.mode, np.empty((0, 0)), opened.top, opened.keys, opened.values,
        opened.coding, opened.numbers, opened.digest,
    )  # fmt: skip
    return _Seen(
        image.name,
        lean,
        content.features(opened.pixels, opened.top),
        content.reduced(opened.pixels, content.THUMBNAIL_PX),
        content.reduced(opened.pixels, content.DETAIL_PX).astype(np.float32),
    )


def _folded(
    truth: NDArray[np.int64], values: Floats, confidence: float = 0.95
) -> tuple[float, float | None, float | None]:
    """The area above 0.5 with its interval; which side is higher does not matter.

    The wider of DeLong's and Newcombe's limits: DeLong's are too narrow on few images, and here
    many features are tried.
    """
    area, low, high = _interval(truth, values, confidence)
    if area >= 0.5 or low is None or high is None:
        return max(area, 1 - area), low, high
    return 1 - area, 1 - high, 1 - low


def _interval(
    truth: NDArray[np.int64], values: Floats, confidence: float
) -> tuple[float, float | None, float | None]:
    found = roc.auc_interval(truth, values, confidence, resamples=0)
    assert found.value is not None
    if found.low is None or found.high is None:
        return found.value, None, None
    synthetic = int(truth.sum())
    low, high = exact.newcombe(found.value, synthetic, len(truth) - synthetic, confidence)
    return found.value, min(low, found.low), max(high, found.high)


def _verdict(
    group: Group, truth: NDArray[np.int64], values: Floats, low: float | None, tries: int = 1
) -> Colour:
    if low is None:
        return Colour.GREEN
    if low > BOUND:
        return Colour.RED if group == Group.RENDERING else Colour.AMBER
    if group == Group.RENDERING:
        # a file must not differ at all, so a difference beyond chance is worth a look
        strict = _folded(truth, values, 1 - 0.01 / tries)[1]
        if strict is not None and strict > 0.5:
            return Colour.AMBER
    return Colour.GREEN


def _measured(name: str, group: Group, truth: NDArray[np.int64], values: Floats) -> Feature:
    auc, low, high = _folded(truth, values)
    medians = [float(np.median(values[truth == k])) for k in (0, 1)]
    detail = f"median {medians[0]:.4g} real, {medians[1]:.4g} synthetic"
    return Feature(name, group, auc, low, high, _verdict(group, truth, values, low), detail)


def _rendering(every: Sequence[_Seen], truth: NDArray[np.int64]) -> list[Feature]:
    found = []
    for name in every[0].opened.numbers:
        values = np.array([s.opened.numbers[name] for s in every])
        found.append(_measured(name, Group.RENDERING, truth, values))
    kinds: list[tuple[str, Callable[[Opened], Iterable[str]]]] = [
        ("format", lambda o: {o.format}),
        ("colour mode", lambda o: {o.mode}),
        ("coding of the pixels", lambda o: o.coding),
        ("metadata keys", lambda o: o.keys),
        ("metadata values", lambda o: o.values),
    ]
    for name, tokens in kinds:
        found.append(_named(name, truth, [frozenset(tokens(s.opened)) for s in every]))
    return found


def _named(name: str, truth: NDArray[np.int64], owned: Sequence[frozenset[str]]) -> Feature:
    """The word whose presence tells most, its interval widened for the number of words tried."""
    holders: dict[str, list[int]] = defaultdict(list)
    for place, words in enumerate(owned):
        for word in words:
            holders[word].append(place)
    columns: dict[tuple[int, ...], str] = {}
    for word in sorted(holders):
        places = tuple(holders[word])
        if 1 < len(places) < len(owned) or (len(owned) < 6 and len(places) < len(owned)):
            columns.setdefault(places, word)
    if not columns:
        return Feature(
            name, Group.RENDERING, 0.5, None, None, Colour.GREEN, "the same for all images"
        )
    counts = Counter(truth.tolist())

    def gap(places: tuple[int, ...]) -> float:
        share = Counter(truth[list(places)].tolist())
        return abs(share[1] / counts[1] - share[0] / counts[0])

    best = max(columns, key=gap)
    values = np.zeros(len(owned))
    values[list(best)] = 1.0
    tries = len(columns)
    auc, low, high = _folded(truth, values, 1 - 0.05 / tries)
    with_it = Counter(truth[list(best)].tolist())
    detail = (
        f"{columns[best][:120]}: {with_it[0]} of {counts[0]} real, "
        f"{with_it[1]} of {counts[1]} synthetic; {tries} tried"
    )
    return Feature(
        name,
        Group.RENDERING,
        auc,
        low,
        high,
        _verdict(Group.RENDERING, truth, values, low, tries),
        detail,
    )


def _content(every: Sequence[_Seen], truth: NDArray[np.int64]) -> list[Feature]:
    return [
        _measured(name, Group.CONTENT, truth, np.array([s.shown[name] for s in every]))
        for name in every[0].shown
    ]


def _exact_duplicates(every: Sequence[_Seen]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    pairs = []
    for place, seen in enumerate(every):
        if seen.opened.digest in first:
            pairs.append((first[seen.opened.digest], place))
        else:
            first[seen.opened.digest] = place
    return pairs


def _near_duplicates(every: Sequence[_Seen], exact: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs alike in the 16 × 16 and the 64 × 64 average, in any of the eight orientations."""
    thumbnails = np.stack([s.thumbnail for s in every])
    details = np.stack([s.detail for s in every])
    alike: set[tuple[int, int]] = set()
    small = symmetry.of_rows(thumbnails, content.THUMBNAIL_PX)
    for turn, turned in enumerate(small):
        rows, columns = np.nonzero(thumbnails @ turned.T > NEAR_THUMBNAIL)
        for a, b in zip(rows.tolist(), columns.tolist(), strict=True):
            if a >= b or (a, b) in alike:
                continue
            other = symmetry.of_rows(details[b : b + 1], content.DETAIL_PX)[turn][0]
            if float(details[a] @ other) > NEAR_DETAIL:
                alike.add((a, b))
    return sorted(alike - exact)


def _with_partner(truth: NDArray[np.int64], pairs: Iterable[tuple[int, int]]) -> Floats:
    values = np.zeros(len(truth))
    for a, b in pairs:
        values[a] = values[b] = 1.0
    return values


def _across(truth: NDArray[np.int64], pairs: Iterable[tuple[int, int]]) -> int:
    return sum(truth[a] != truth[b] for a, b in pairs)


def _duplicate_feature(
    every: Sequence[_Seen], truth: NDArray[np.int64], pairs: Sequence[tuple[int, int]]
) -> Feature:
    values = _with_partner(truth, pairs)
    auc, low, high = _folded(truth, values)
    both = _across(truth, pairs)
    colour: Colour = _verdict(Group.RENDERING, truth, values, low)
    if pairs and colour == Colour.GREEN:
        colour = Colour.AMBER
    if both:
        colour = Colour.RED  # one picture with two truths cannot be answered
    detail = f"{len(pairs)} pairs with the same pixels, {both} of them real with synthetic"
    return Feature("exact duplicates", Group.RENDERING, auc, low, high, colour, detail)


def _near_feature(
    every: Sequence[_Seen], truth: NDArray[np.int64], pairs: Sequence[tuple[int, int]]
) -> Feature:
    values = _with_partner(truth, pairs)
    auc, low, high = _folded(truth, values)
    colour: Colour = Colour.AMBER if pairs else Colour.GREEN
    detail = f"{len(pairs)} pairs nearly alike, {_across(truth, pairs)} of them real with synthetic"
    return Feature("near duplicates", Group.CONTENT, auc, low, high, colour, detail)


def _classify(every: Sequence[_Seen], truth: NDArray[np.int64]) -> Classifier:
    names = list(every[0].shown)
    table = np.array([[s.shown[name] for name in names] for s in every])
    table = table[:, np.ptp(table, axis=0) > 0]
    least = int(min(truth.sum(), len(truth) - truth.sum()))
    if least < 2 * _FOLDS or not table.shape[1]:
        why = f"needs {2 * _FOLDS} images of each kind" if least < 2 * _FOLDS else "nothing differs"
        return Classifier(None, None, None, Colour.GREEN, 0, table.shape[1], why)
    scores = np.zeros(len(truth))
    fold = _stratified(truth, _FOLDS)
    for k in range(_FOLDS):
        train, test = fold != k, fold == k
        center, scale = table[train].mean(axis=0), table[train].std(axis=0)
        scale[scale == 0] = 1.0
        standard = np.clip((table - center) / scale, -5, 5)
        weights = _ridge_logistic(standard[train], truth[train])
        scores[test] = standard[test] @ weights[1:] + weights[0]
    auc, low, high = _interval(truth, scores, 0.95)
    colour: Colour = Colour.AMBER if low is not None and low > BOUND else Colour.GREEN
    return Classifier(
        auc, low, high, colour, _FOLDS, table.shape[1],
        "ridge logistic regression on the content features, out-of-fold",
    )  # fmt: skip


def _stratified(truth: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(0)
    fold = np.zeros(len(truth), dtype=np.int64)
    for value in (0, 1):
        places = rng.permutation(np.flatnonzero(truth == value))
        fold[places] = np.arange(len(places)) % folds
    return fold


def _ridge_logistic(x: Floats, y: NDArray[np.int64]) -> Floats:
    """Intercept and weights; the penalty spares the intercept, but for what keeps it finite."""
    design = np.column_stack([np.ones(len(x)), x])
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[0] = 1e-6
    found = logistic.fit(design, y, penalty, steps=30, tolerance=1e-8)
    assert found is not None  # a ridge leaves nothing singular, and no condition was asked for
    return found.weights


def _smallest(real: int, synthetic: int) -> float | None:
    """The smallest area whose interval on so many images would lie above the bound."""
    for area in np.arange(0.61, 1.0001, 0.01):
        if exact.newcombe(float(min(area, 1.0)), synthetic, real)[0] > BOUND:
            return float(round(min(area, 1.0), 2))
    return None


def _text(worst: Colour, features: Sequence[Feature], learned: Classifier) -> str:
    if worst == Colour.GREEN:
        return "No cheap feature tells real from synthetic."
    red = [f.name for f in features if f.verdict == Colour.RED]
    amber = [f.name for f in features if f.verdict == Colour.AMBER]
    if learned.verdict == Colour.AMBER:
        amber.append("classifier on the content features")
    parts = []
    if red:
        parts.append(
            f"The files themselves give the answer away ({', '.join(red)}): render all images by "
            "one encoder, or remove duplicates, before the study opens."
        )
    if amber:
        parts.append(f"Readers could use: {', '.join(amber)}; it is written into the protocol.")
    return " ".join(parts)
