"""One reader of a study: what their readings say about them alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ml.readers.reading import Presentations, Protocol, Reading
from ml.readers.results import (
    Accuracy,
    ClassTable,
    CurvePoint,
    Majority,
    OfClass,
    OfGenerator,
    OwnAgreement,
    RatingUse,
    ReaderResult,
    ReaderVerdict,
    Share,
)
from ml.statistics import agreement, bootstrap, power, roc, trends
from ml.statistics.detection import Detection, detect
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError, chance_p, exact, wilson_limits


def _truth(readings: Sequence[Reading]) -> NDArray[np.int64]:
    return np.array([int(r.synthetic) for r in readings], dtype=np.int64)


def _rated(readings: Sequence[Reading]) -> NDArray[np.float64]:
    return np.array([r.rating or 0 for r in readings], dtype=np.float64)


def is_right(reading: Reading, rules: Protocol) -> bool:
    """The answer falls on the side of the scale where the truth is."""
    return rules.says_synthetic(reading.rating or 0) == reading.synthetic


def share(right: Sequence[bool], clusters: Sequence[str], rules: Protocol, nothing: str) -> Share:
    """A proportion with Wilson's and the exact interval, by patients too where they repeat.

    ``nothing`` says why there is none where nobody answered.
    """
    n, count = len(right), sum(right)
    if not n:
        return Share(
            value=None, low=None, high=None, n=0, method="Wilson", note=nothing,
            exact=None, clustered=None, count=0,
        )  # fmt: skip
    low, high = wilson_limits(count, n)
    repeats = len(set(clusters)) < n and rules.resamples
    return Share(
        value=count / n,
        low=low,
        high=high,
        n=n,
        method="Wilson",
        exact=exact(count, n),
        clustered=_clustered_share(right, clusters, rules) if repeats else None,
        count=count,
    )


def _clustered_share(right: Sequence[bool], clusters: Sequence[str], rules: Protocol) -> Figure:
    n, value = len(right), sum(right) / len(right)
    weights = bootstrap.resamples(clusters, rules.resamples, np.random.default_rng(rules.seed))
    drawn = weights @ np.asarray(right, dtype=np.float64) / weights.sum(axis=1)
    patients = len(set(clusters))
    # without ends: nobody or everybody right, or every patient alike
    low, high = bootstrap.percentiles(drawn) or wilson_limits(round(value * patients), patients)
    method = f"patient-clustered bootstrap, {rules.resamples} samples"
    return Figure(value, min(low, value), max(high, value), n, method)


def reader(name: str, shown: Presentations, rules: Protocol) -> ReaderResult:
    """Every figure of one reader."""
    mine = shown.of(name)
    real = [r for r in mine if not r.synthetic]
    fake = [r for r in mine if r.synthetic]
    right = [is_right(r, rules) for r in mine]
    order = list(range(1, len(mine) + 1))
    timed = [(r.active_ms, k) for k, r in zip(order, mine, strict=True) if r.active_ms is not None]
    judged, curve = area(mine, rules)
    found = _detection(real, fake, rules)
    return ReaderResult(
        reader=name,
        n=len(mine),
        real=len(real),
        synthetic=len(fake),
        auc=judged.auc,
        verdict=judged,
        roc=curve,
        accuracy=_accuracy(mine, right, rules),
        sensitivity=share(
            [is_right(r, rules) for r in fake], [r.cluster for r in fake], rules,
            "no synthetic image was read",
        ),
        specificity=share(
            [is_right(r, rules) for r in real], [r.cluster for r in real], rules,
            "no real image was read",
        ),
        d_prime=found.d_prime,
        criterion=found.criterion,
        rating_use=_rating_use(mine, rules),
        by_generator=_by_generator(real, fake, rules),
        by_class=_by_class(mine, rules),
        lesion_class=class_table(mine, rules),
        intra_reader=_intra(name, shown, rules),
        learning=trends.learning(right, order),
        second_half_minus_first=trends.halves(right, order),
        time=trends.times([t for t, _ in timed], [k for _, k in timed]),
    )  # fmt: skip


def verdict(name: str, shown: Presentations, rules: Protocol) -> ReaderVerdict:
    """A reader's verdict alone, by these rules."""
    return area(shown.of(name), rules)[0]


def area(mine: Sequence[Reading], rules: Protocol) -> tuple[ReaderVerdict, tuple[CurvePoint, ...]]:
    """A reader's area with its verdict, and the curve; a verdict of None says why."""
    truth, rated = _truth(mine), _rated(mine)
    clusters = [r.cluster for r in mine]
    try:
        judged = roc.verdict(
            truth, rated, rules.margin, clusters, rules.resamples, rules.seed, rules.scale_rule
        )
    except ReadersError as error:
        refused = Figure.undefined(len(mine), "none", str(error))
        return ReaderVerdict(rules.margin, refused, refused, None, None, str(error), None), ()
    m = int(truth.sum())
    n = len(truth) - m
    used = np.unique(rated, return_counts=True)[1].tolist()
    # several images of a patient tell less than as many patients: how much less is not known
    chance = None if len(set(clusters)) < len(clusters) else 0.0
    if chance is not None and min(m, n) > 1:
        chance = power.area_equivalence_power(m, n, rules.margin, ratings=used)
    curve = []
    for point in roc.points(truth, rated):
        tp, fp = round(point.true_positive * m), round(point.false_positive * n)
        curve.append(
            CurvePoint(
                point.threshold, fp / n, *wilson_limits(fp, n), tp / m, *wilson_limits(tp, m)
            )
        )
    return ReaderVerdict(**vars(judged), power=chance), tuple(curve)


def _accuracy(mine: Sequence[Reading], right: Sequence[bool], rules: Protocol) -> Accuracy:
    found = share(right, [r.cluster for r in mine], rules, "nothing was read")
    fake = sum(r.synthetic for r in mine)
    majority = max(fake, len(mine) - fake) / len(mine)
    word = "synthetic" if fake > len(mine) - fake else "real"
    alone = len({r.cluster for r in mine}) == len(mine)
    p = chance_p(sum(right), len(mine), majority) if majority < 1 and alone else None
    words = f'always answering "{word}" reaches {majority:.1%}'
    return Accuracy(**vars(found), majority=Majority(majority, p, words))


def _detection(real: Sequence[Reading], fake: Sequence[Reading], rules: Protocol) -> Detection:
    if not real or not fake:
        why = f"no {'real' if not real else 'synthetic'} image was read"
        empty = Figure.undefined(len(real) + len(fake), "log-linear correction", why)
        return Detection(empty, empty)
    hits = sum(is_right(r, rules) for r in fake)
    alarms = sum(not is_right(r, rules) for r in real)
    return detect(hits, len(fake), alarms, len(real))


def _rating_use(mine: Sequence[Reading], rules: Protocol) -> tuple[RatingUse, ...]:
    counts = Counter((r.rating, r.synthetic) for r in mine)
    return tuple(RatingUse(k, counts[k, False], counts[k, True]) for k in range(1, rules.scale + 1))


def _by_generator(
    real: Sequence[Reading], fake: Sequence[Reading], rules: Protocol
) -> tuple[OfGenerator, ...]:
    rows = []
    for name in sorted({r.generator or "synthetic" for r in fake}):
        own = [r for r in fake if (r.generator or "synthetic") == name]
        both = [*real, *own]
        rows.append(
            OfGenerator(
                name,
                auc_or_reason(both, rules),
                share([is_right(r, rules) for r in own], [r.cluster for r in own], rules, "none"),
            )
        )
    return tuple(rows)


def auc_or_reason(readings: Sequence[Reading], rules: Protocol) -> Figure:
    """An area with its 95 % interval, or why there is none."""
    try:
        return roc.auc_interval(
            _truth(readings), _rated(readings), 0.95, [r.cluster for r in readings],
            rules.resamples, rules.seed,
        )  # fmt: skip
    except ReadersError as error:
        return Figure.undefined(len(readings), "none", str(error))


def _by_class(mine: Sequence[Reading], rules: Protocol) -> tuple[OfClass, ...]:
    rows = []
    for name in classes(mine, rules):
        own = [r for r in mine if r.lesion_class == name]
        if not own:
            continue
        real, fake = [r for r in own if not r.synthetic], [r for r in own if r.synthetic]
        rows.append(
            OfClass(
                name,
                auc_or_reason(own, rules),
                share(
                    [is_right(r, rules) for r in fake], [r.cluster for r in fake], rules,
                    "no synthetic image of this class",
                ),
                share(
                    [is_right(r, rules) for r in real], [r.cluster for r in real], rules,
                    "no real image of this class",
                ),
            )
        )  # fmt: skip
    return tuple(rows)


def classes(readings: Sequence[Reading], rules: Protocol) -> tuple[str, ...]:
    """The protocol's classes, then answers beyond them such as "other"."""
    used = {c for r in readings for c in (r.lesion_class, r.answered_class) if c}
    return (*rules.classes, *sorted(used - set(rules.classes)))


def class_table(mine: Sequence[Reading], rules: Protocol) -> ClassTable | None:
    """Lesion classes named right, on real and synthetic images; None where none was asked for."""
    asked = [r for r in mine if r.lesion_class and r.answered_class]
    if not asked:
        return None
    real, fake = [r for r in asked if not r.synthetic], [r for r in asked if r.synthetic]

    def named(rows: Sequence[Reading], kind: str) -> Share:
        return share(
            [r.answered_class == r.lesion_class for r in rows], [r.cluster for r in rows], rules,
            f"no {kind} image was classified",
        )  # fmt: skip

    of_real, of_fake = named(real, "real"), named(fake, "synthetic")
    gap = None
    if real and fake:
        gap = _difference(of_real, of_fake)
    names = classes(asked, rules)
    cells = Counter((r.lesion_class, r.answered_class) for r in asked)
    known = [r for r in asked if r.case in rules.network]
    against = None
    if known:
        against = agreement.mcnemar(
            [r.answered_class == r.lesion_class for r in known],
            [rules.network[r.case] == r.lesion_class for r in known],
        )
    return ClassTable(
        real=of_real,
        synthetic=of_fake,
        total=named(asked, "total"),
        real_minus_synthetic=gap,
        classes=names,
        confusion=tuple(tuple(cells[t, a] for a in names) for t in names),
        against_network=against,
    )


def _difference(one: Share, other: Share) -> Figure:
    """First minus second share; where patients repeat from the wider interval of each, that of
    images or that of patients (Zou & Donner 2008, Stat Med 27:1693)."""
    if one.clustered is None and other.clustered is None:
        return trends.difference(one.count, one.n or 0, other.count, other.n or 0)
    found = trends.apart(_wider(one), _wider(other))
    return replace(found, method="of the wider intervals, by images and by patients")


def _wider(one: Share) -> Figure:
    ends = [found.ends for found in (one, one.clustered) if found is not None and found.ends]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return Figure(one.value, low, high, one.n, one.method)


def _intra(name: str, shown: Presentations, rules: Protocol) -> OwnAgreement | None:
    pairs = [(a, b) for a, b in shown.repeats if a.reader == name]
    if not pairs:
        return None
    points = list(range(1, rules.scale + 1))
    first, second = [a.rating for a, _ in pairs], [b.rating for _, b in pairs]
    calls = [[rules.says_synthetic(x or 0) for x in answers] for answers in (first, second)]
    asked = [(a.answered_class, b.answered_class) for a, b in pairs
             if a.answered_class and b.answered_class]  # fmt: skip
    return OwnAgreement(
        n=len(pairs),
        rating=agreement.cohen(first, second, points, "quadratic"),
        call=agreement.cohen(calls[0], calls[1], [False, True]),
        same_rating=agreement.same_share(first, second),
        lesion_class=agreement.cohen([a for a, _ in asked], [b for _, b in asked])
        if asked
        else None,
    )
