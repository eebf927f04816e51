"""Every feature of an audit with its verdict: of the files, of traces, and of content."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.leak_audit import copies, judgement, places, spectra, texture, traces
from ml.leak_audit.places import Table, Values
from ml.leak_audit.record import Classifier, Colour, Feature, Group
from ml.leak_audit.rendering import Opened
from ml.leak_audit.seen import Seen
from ml.statistics import roc

Floats = NDArray[np.float64]
Truth = NDArray[np.int64]

BOUND = 0.6
"""A lower 95 % limit of the area that a measure of content must pass, to be amber."""
_LEAST_LEARNED = 10
_RIDGE = 0.1
_MARKS_BOUND = 0.005
_MARKS_GAP = 0.2

SHARES = judgement.shares(
    [
        ("file bytes", 5),
        ("content", 30),
        ("levels by place", 5),
        ("least bits by place", 5),
        ("higher bits by place", 3),
        ("equal pixels by place", 7),
        ("constant places", 3),
        ("rows, columns and periods", 8),
        ("frequencies", 8),
        ("8-pixel patterns", 6),
        ("grey values", 5),
        ("sums", 5),
        ("common pattern", 5),
        ("classifier", 10),
    ]
)
"""How the level is shared out. Where few measures can tell much, their family has more."""


@dataclass(frozen=True)
class Both:
    """All images of both kinds, what they are, and their corners as one stack."""

    seen: Sequence[Seen]
    truth: Truth
    values: Values
    top: int

    @property
    def kinds(self) -> tuple[int, int]:
        """How many images are real, and how many synthetic."""
        return int((self.truth == 0).sum()), int((self.truth == 1).sum())


def _folded(
    truth: Truth, values: Floats, confidence: float = 0.95
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
    truth: Truth, values: Floats, confidence: float
) -> tuple[float, float | None, float | None]:
    limits = roc.wider_limits(truth, values, confidence) or (None, None)
    return roc.auc(truth, values), *limits


def _given_away(truth: Truth, values: Floats) -> tuple[int, ...]:
    """The images that lie beyond every one of the other kind, on their own kind's side."""
    area = judgement.by_ranks(truth, values[:, None])[0][0]
    upper = int(area >= 0.5)
    above, below = truth == upper, truth != upper
    told = (above & (values > values[below].max())) | (below & (values < values[above].min()))
    return tuple(np.flatnonzero(told).tolist())


def _medians(truth: Truth, values: Floats) -> str:
    real, synthetic = (float(np.median(values[truth == k])) for k in (0, 1))
    return f"median {real:.4g} real, {synthetic:.4g} synthetic"


# -- rendering ------------------------------------------------------------------------------------


def of_files(both: Both) -> list[Feature]:
    """How the files were made: numbers and words of each, and whether they separate the kinds."""
    opened = [one.opened for one in both.seen]
    found = [_measured(both, name) for name in opened[0].numbers]
    kinds: list[tuple[str, Callable[[Opened], Iterable[str]]]] = [
        ("format", lambda o: {o.format}),
        ("colour mode", lambda o: {o.mode}),
        ("coding of the pixels", lambda o: o.coding),
        ("metadata keys", lambda o: o.keys),
        ("metadata values", lambda o: o.values),
    ]
    for name, tokens in kinds:
        found.append(_worded(both, name, [frozenset(tokens(one)) for one in opened]))
    return found


_OF_CONTENT = "file bytes"
"""The one number of a file that depends on what the picture shows."""


def _measured(both: Both, name: str) -> Feature:
    values = np.array([one.opened.numbers[name] for one in both.seen])
    truth = both.truth
    auc, low, high = _folded(truth, values)
    colour = _file_colour(truth, values, low)
    if name == _OF_CONTENT and colour is not Colour.GREEN:
        found = judgement.best(truth, values[:, None], SHARES[name])
        chance = 1.0 if found is None else found.chance
        colour = _by_chance(chance, red=low is not None and low > BOUND)
    colour = max(colour, _in_practice(both, values), key=list(Colour).index)
    told = _given_away(truth, values) if colour is not Colour.GREEN else ()
    return Feature(name, Group.RENDERING, auc, low, high, colour, _medians(truth, values), told)


def _file_colour(truth: Truth, values: Floats, low: float | None, tries: int = 1) -> Colour:
    if low is None:
        return Colour.GREEN
    if low > BOUND:
        return Colour.RED
    # a file must not differ at all, so a difference beyond chance is worth a look
    strict = _folded(truth, values, 1 - 0.01 / tries)[1]
    return Colour.AMBER if strict is not None and strict > 0.5 else Colour.GREEN


def _in_practice(both: Both, values: Floats) -> Colour:
    """Amber where a fact separates the practice images entirely: so few could show no more."""
    own = np.array([one.practice for one in both.seen])
    kinds = [values[own & (both.truth == k)] for k in (0, 1)]
    if min(map(len, kinds)) < 2 or any(np.ptp(one) for one in kinds):
        return Colour.GREEN
    return Colour.AMBER if kinds[0][0] != kinds[1][0] else Colour.GREEN


def _by_chance(chance: float, *, red: bool) -> Colour:
    if red and chance <= judgement.STRICT:
        return Colour.RED
    return Colour.AMBER if chance <= judgement.LEVEL else Colour.GREEN


def _worded(both: Both, name: str, owned: Sequence[frozenset[str]]) -> Feature:
    """The word whose presence tells most, its interval widened for the number of words tried."""
    truth = both.truth
    holders: dict[str, list[int]] = defaultdict(list)
    for place, words in enumerate(owned):
        for word in words:
            holders[word].append(place)
    columns: dict[tuple[int, ...], str] = {}
    for word in sorted(holders):
        held = tuple(holders[word])
        if 1 < len(held) < len(owned) or (len(owned) < 6 and len(held) < len(owned)):
            columns.setdefault(held, word)
    if not columns:
        same = "the same for all images"
        return Feature(name, Group.RENDERING, 0.5, None, None, Colour.GREEN, same)
    counts = Counter(truth.tolist())

    def gap(held: tuple[int, ...]) -> float:
        share = Counter(truth[list(held)].tolist())
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
    colour = _file_colour(truth, values, low, tries)
    for held in columns:
        if colour is Colour.GREEN:
            colour = _in_practice(both, np.isin(np.arange(len(owned)), held).astype(float))
    told = _given_away(truth, values) if colour is not Colour.GREEN else ()
    return Feature(name, Group.RENDERING, auc, low, high, colour, detail, told)


# -- traces ---------------------------------------------------------------------------------------


_PLAIN = (traces.FRAME, traces.COPIED, traces.SYMMETRIC, traces.JPEG)


def marks(both: Both) -> list[Feature]:
    """One feature for each plain mark, for enlargement, and for each telling size before it."""
    sizes = sorted({mark for one in both.seen for mark in one.marks} - set(_PLAIN))
    bearing = {name: [name in one.marks for one in both.seen] for name in (*_PLAIN, *sizes)}
    bearing[traces.ENLARGED] = [bool(one.marks - set(_PLAIN)) for one in both.seen]
    tried = len(_PLAIN) + 1 + len(sizes)
    found = [_mark(both, name, np.array(borne), tried) for name, borne in bearing.items()]
    # sizes say nothing where they are chance; the plain marks are always told of
    always = {*_PLAIN, traces.ENLARGED}
    return [one for one in found if one.name in always or one.verdict is not Colour.GREEN]


def _mark(both: Both, name: str, borne: NDArray[np.bool_], tried: int) -> Feature:
    truth = both.truth
    real, synthetic = (borne[truth == k] for k in (0, 1))
    detail = f"{real.sum()} of {len(real)} real, {synthetic.sum()} of {len(synthetic)} synthetic"
    auc, low, high = _folded(truth, borne.astype(float))
    colour = Colour.GREEN
    if borne.any() and not borne.all():
        p = float(judgement.by_counts(truth, borne[:, None])[1][0]) * tried
        gap = float(synthetic.mean() - real.mean())
        alone = name in _PLAIN and not (real.any() and synthetic.any())
        if name not in _PLAIN:
            gap = max(gap, 0.0)  # a real ROI may be enlarged as it comes
        if p <= _MARKS_BOUND and abs(gap) >= _MARKS_GAP:
            colour = Colour.RED
        elif p <= judgement.LEVEL or alone:
            colour = Colour.AMBER
    told = tuple(np.flatnonzero(borne).tolist()) if colour is not Colour.GREEN else ()
    return Feature(name, Group.TRACES, auc, low, high, colour, detail, told)


def duplicates(both: Both, pairs: copies.Pairs) -> Feature:
    """Pictures that are there twice, turned or mirrored or not."""
    seen, truth = both.seen, both.truth
    values = _with_partner(truth, pairs)
    auc, low, high = _folded(truth, values)
    across = _across(truth, pairs)
    taught = sum(seen[a].practice != seen[b].practice for a, b in pairs)
    colour = _file_colour(truth, values, low)
    if pairs and colour is Colour.GREEN:
        colour = Colour.AMBER
    if across or taught:
        colour = Colour.RED  # two truths cannot be answered, and practice tells them
    detail = (
        f"{len(pairs)} pairs with the same pixels, turned or mirrored or not, {across} of them "
        "real with synthetic"
    )
    if taught:
        detail += f", {taught} of them practice with an image of the study"
    return Feature(
        "exact duplicates", Group.RENDERING, auc, low, high, colour, detail, _places(pairs)
    )


def near_duplicates(both: Both, pairs: copies.Pairs) -> Feature:
    """Pictures that are nearly the same, which a generator that remembers makes."""
    values = _with_partner(both.truth, pairs)
    auc, low, high = _folded(both.truth, values)
    colour = Colour.AMBER if pairs else Colour.GREEN
    across = _across(both.truth, pairs)
    detail = f"{len(pairs)} pairs nearly alike, {across} of them real with synthetic"
    return Feature("near duplicates", Group.CONTENT, auc, low, high, colour, detail, _places(pairs))


def _places(pairs: copies.Pairs) -> tuple[int, ...]:
    return tuple(sorted({place for pair in pairs for place in pair}))


def _with_partner(truth: Truth, pairs: copies.Pairs) -> Floats:
    values = np.zeros(len(truth))
    values[list(_places(pairs))] = 1.0
    return values


def _across(truth: Truth, pairs: copies.Pairs) -> int:
    return sum(bool(truth[a] != truth[b]) for a, b in pairs)


# -- content, and families of traces --------------------------------------------------------------


def named_content(both: Both) -> list[Feature]:
    """The named measures of what pictures show."""
    truth = both.truth
    names = list(both.seen[0].shown)
    table = np.array([[one.shown[name] for name in names] for one in both.seen])
    found = []
    for column, name in enumerate(names):
        values = table[:, column]
        auc, low, high = _folded(truth, values)
        one = judgement.best(truth, values[:, None], SHARES["content"], more=len(names) - 1)
        beyond = one is not None and one.chance <= judgement.LEVEL
        colour = Colour.AMBER if beyond and low is not None and low > BOUND else Colour.GREEN
        told = _given_away(truth, values) if colour is Colour.AMBER else ()
        detail = _medians(truth, values)
        found.append(Feature(name, Group.CONTENT, auc, low, high, colour, detail, told))
    return found


@dataclass(frozen=True)
class _Family:
    name: str
    group: Group
    tables: list[Table]


def _families(both: Both, residue: NDArray[np.float32]) -> list[_Family]:
    values, truth, top = both.values, both.truth, both.top
    words, near = places.sums(values, truth)
    greys = places.greys(values, top)
    return [
        _Family("constant places", Group.TRACES, [places.constants(values, truth)]),
        _Family("least bits by place", Group.TRACES, [places.bits(values, truth, 0, top)]),
        _Family("sums", Group.TRACES, [words, near]),
        _Family("levels by place", Group.CONTENT, [places.above_neighbours(residue)]),
        _Family("higher bits by place", Group.CONTENT, list(places.higher_bits(values, truth))),
        _Family("equal pixels by place", Group.CONTENT, list(places.equalities(values))),
        _Family("rows, columns and periods", Group.CONTENT, [places.lines(residue)]),
        _Family("frequencies", Group.CONTENT, [spectra.plane(values)]),
        _Family("8-pixel patterns", Group.CONTENT, [spectra.blocks(values)]),
        _Family("grey values", Group.CONTENT, [greys] if greys else []),
    ]


def families(both: Both, residue: NDArray[np.float32]) -> dict[Group, list[Feature]]:
    """Features that stand for many measures each, by group.

    Args:
        residue: each picture less the mean of the eight neighbours.
    """
    found: dict[Group, list[Feature]] = defaultdict(list)
    for family in _families(both, residue):
        found[family.group].append(_family(both, family))
    return found


def _family(both: Both, family: _Family) -> Feature:
    """The measure of a family that tells most; its interval is widened for all that were tried."""
    truth, share = both.truth, SHARES[family.name]
    varying = [int((t.values != t.values[:1]).any(axis=0).sum()) for t in family.tables]
    total = sum(varying)
    tried = [
        (found, table)
        for table, own in zip(family.tables, varying, strict=True)
        if (found := judgement.best(truth, table.values, share, total - own, table.expected))
        is not None
    ]
    if not tried:
        nothing = "nothing varies"
        return Feature(family.name, family.group, 0.5, None, None, Colour.GREEN, nothing)
    found, table = min(tried, key=lambda pair: pair[0].p)
    values = np.asarray(table.values[:, found.column], dtype=np.float64)
    auc, low, high = _folded(truth, values, 1 - 0.05 / total)
    colour = _by_chance(found.chance, red=family.group is Group.TRACES)
    seen = (
        f"{int(values[truth == 0].sum())} real, {int(values[truth == 1].sum())} synthetic"
        if table.values.dtype == np.bool_
        else _medians(truth, values)
    )
    detail = f"{table.name(found.column)}: {seen}; the most telling of {total}"
    told = _given_away(truth, values) if colour is not Colour.GREEN else ()
    return Feature(family.name, family.group, auc, low, high, colour, detail, told)


def common_pattern(both: Both, residue: NDArray[np.float32]) -> Feature:
    """Whether images of a kind share a fixed pattern, such as a watermark, however faint.

    Each image's fine detail is correlated with that of all others; its score is the mean with one
    kind less that with the other. Significance is by permutation of the kinds.
    """
    name, truth = "common pattern", both.truth
    flat = residue.reshape(len(residue), -1)
    typical = np.median(np.abs(flat), axis=1, keepdims=True) + 1e-3
    flat = np.clip(flat / typical, -3, 3)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9
    gram = flat @ flat.T
    np.fill_diagonal(gram, 0.0)
    scores, area, chance = judgement.permuted(truth, gram, SHARES[name])
    auc, low, high = _folded(truth, scores)
    colour = Colour.AMBER if area > 0.5 and chance <= judgement.LEVEL else Colour.GREEN
    detail = "likeness of fine detail to the other images of each kind"
    told = _given_away(truth, scores) if colour is Colour.AMBER else ()
    return Feature(name, Group.CONTENT, auc, low, high, colour, detail, told)


def learned(both: Both, residue: NDArray[np.float32]) -> Classifier:
    """A ridge regression on the named measures and on texture, every image left out in turn."""
    names = list(both.seen[0].shown)
    shown = np.array([[one.shown[name] for name in names] for one in both.seen])
    table = np.hstack([shown, texture.measures(both.values, residue, float(both.top))])
    table = table[:, np.ptp(table, axis=0) > 0]
    least = min(both.kinds)
    if least < _LEAST_LEARNED or not table.shape[1]:
        few = least < _LEAST_LEARNED
        why = f"needs {_LEAST_LEARNED} images of each kind" if few else "nothing differs"
        return Classifier(None, None, None, Colour.GREEN, 0, table.shape[1], why)
    scorer = judgement.left_out(table, _RIDGE)
    scores, _, chance = judgement.permuted(both.truth, scorer, SHARES["classifier"])
    auc, low, high = _interval(both.truth, scores, 0.95)
    found = chance <= judgement.LEVEL and low is not None and low > BOUND
    return Classifier(
        auc, low, high, Colour.AMBER if found else Colour.GREEN, len(both.truth), table.shape[1],
        "ridge regression on all content features, each image left out in turn",
    )  # fmt: skip
