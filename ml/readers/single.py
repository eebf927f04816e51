"""One reader of a study: what their readings say about them alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.readers.reading import Presentations, Protocol, Reading
from ml.statistics import agreement, bootstrap, power, roc, trends
from ml.statistics.detection import detect
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError, chance_p, exact, wilson, wilson_limits

Json = dict[str, Any]


def _truth(readings: Sequence[Reading]) -> NDArray[np.int64]:
    return np.array([int(r.synthetic) for r in readings], dtype=np.int64)


def _rated(readings: Sequence[Reading]) -> NDArray[np.float64]:
    return np.array([r.rating or 0 for r in readings], dtype=np.float64)


def is_right(reading: Reading, rules: Protocol) -> bool:
    """The answer falls on the side of the scale where the truth is."""
    return rules.says_synthetic(reading.rating or 0) == reading.synthetic


def share(right: Sequence[bool], clusters: Sequence[str], rules: Protocol, nothing: str) -> Json:
    """A proportion with Wilson's and the exact interval, by patients too where they repeat."""
    n = len(right)
    if not n:
        empty = Figure.undefined(0, "Wilson", nothing).to_dict()
        return {**empty, "exact": None, "clustered": None, "count": 0}
    count = sum(right)
    entry = wilson(count, n).to_dict()
    entry["exact"] = exact(count, n).to_dict()
    entry["clustered"] = None
    entry["count"] = count
    if len(set(clusters)) < n and rules.resamples:
        entry["clustered"] = _clustered_share(right, clusters, rules).to_dict()
    return entry


def _clustered_share(right: Sequence[bool], clusters: Sequence[str], rules: Protocol) -> Figure:
    n, value = len(right), sum(right) / len(right)
    weights = bootstrap.resamples(clusters, rules.resamples, np.random.default_rng(rules.seed))
    drawn = weights @ np.asarray(right, dtype=np.float64) / weights.sum(axis=1)
    patients = len(set(clusters))
    # without ends: nobody or everybody right, or every patient alike
    low, high = bootstrap.percentiles(drawn) or wilson_limits(round(value * patients), patients)
    method = f"patient-clustered bootstrap, {rules.resamples} samples"
    return Figure(value, min(low, value), max(high, value), n, method)


def reader(name: str, shown: Presentations, rules: Protocol) -> Json:
    """Every figure of one reader, as the entries of ``readers`` in `ml.readers.analysis`."""
    mine = sorted(shown.of(name), key=lambda r: (r.session, r.position))
    real = [r for r in mine if not r.synthetic]
    fake = [r for r in mine if r.synthetic]
    right = [is_right(r, rules) for r in mine]
    order = list(range(1, len(mine) + 1))
    timed = [(r.active_ms, k) for k, r in zip(order, mine, strict=True) if r.active_ms is not None]
    times = trends.times([t for t, _ in timed], [k for _, k in timed])
    entry: Json = {
        "reader": name,
        "n": len(mine),
        "real": len(real),
        "synthetic": len(fake),
        **_area(mine, rules),
        "accuracy": _accuracy(mine, right, rules),
        "sensitivity": share(
            [is_right(r, rules) for r in fake], [r.cluster for r in fake], rules,
            "no synthetic image was read",
        ),
        "specificity": share(
            [is_right(r, rules) for r in real], [r.cluster for r in real], rules,
            "no real image was read",
        ),
        **_detection(real, fake, rules),
        "rating_use": _rating_use(mine, rules),
        "by_generator": _by_generator(real, fake, rules),
        "by_class": _by_class(mine, rules),
        "lesion_class": _class_table(mine, rules),
        "intra_reader": _intra(name, shown, rules),
        "learning": trends.learning(right, order).to_dict(),
        "second_half_minus_first": trends.halves(right, order).to_dict(),
        "time": times.to_dict() if times else None,
    }  # fmt: skip
    return entry


def _area(mine: Sequence[Reading], rules: Protocol) -> Json:
    truth, rated = _truth(mine), _rated(mine)
    clusters = [r.cluster for r in mine]
    try:
        verdict = roc.verdict(truth, rated, rules.margin, clusters, rules.resamples, rules.seed)
    except ReadersError as error:
        refused = Figure.undefined(len(mine), "none", str(error)).to_dict()
        return {
            "auc": refused,
            "verdict": {
                "margin": rules.margin,
                "auc": refused,
                "equivalence_interval": refused,
                "different_from_chance": None,
                "equivalent_to_chance": None,
                "reason": str(error),
                "power": None,
            },
            "roc": [],
        }
    m = int(truth.sum())
    n = len(truth) - m
    used = np.unique(rated, return_counts=True)[1].tolist()
    chance = 0.0
    if min(m, n) > 1:
        chance = power.area_equivalence_power(m, n, rules.margin, ratings=used)
    curve = []
    for point in roc.points(truth, rated):
        tp, fp = round(point.true_positive * m), round(point.false_positive * n)
        tp_low, tp_high = wilson_limits(tp, m)
        fp_low, fp_high = wilson_limits(fp, n)
        curve.append(
            {
                "threshold": point.threshold,
                "false_positive": fp / n,
                "false_positive_low": fp_low,
                "false_positive_high": fp_high,
                "true_positive": tp / m,
                "true_positive_low": tp_low,
                "true_positive_high": tp_high,
            }
        )
    return {
        "auc": verdict.area.to_dict(),
        "verdict": {**verdict.to_dict(), "power": chance},
        "roc": curve,
    }


def _accuracy(mine: Sequence[Reading], right: Sequence[bool], rules: Protocol) -> Json:
    """Accuracy is never alone: the share that one constant answer reaches stands beside it."""
    entry = share(right, [r.cluster for r in mine], rules, "nothing was read")
    fake = sum(r.synthetic for r in mine)
    majority = max(fake, len(mine) - fake) / len(mine)
    word = "synthetic" if fake > len(mine) - fake else "real"
    entry["majority"] = {
        "value": majority,
        "p": chance_p(sum(right), len(mine), majority) if majority < 1 else None,
        "text": f'always answering "{word}" reaches {majority:.1%}',
    }
    return entry


def _detection(real: Sequence[Reading], fake: Sequence[Reading], rules: Protocol) -> Json:
    if not real or not fake:
        why = f"no {'real' if not real else 'synthetic'} image was read"
        empty = Figure.undefined(len(real) + len(fake), "log-linear correction", why).to_dict()
        return {"d_prime": empty, "criterion": empty}
    hits = sum(is_right(r, rules) for r in fake)
    alarms = sum(not is_right(r, rules) for r in real)
    found = detect(hits, len(fake), alarms, len(real))
    return {"d_prime": found.d_prime.to_dict(), "criterion": found.criterion.to_dict()}


def _rating_use(mine: Sequence[Reading], rules: Protocol) -> list[Json]:
    counts = Counter((r.rating, r.synthetic) for r in mine)
    return [
        {"rating": k, "real": counts[k, False], "synthetic": counts[k, True]}
        for k in range(1, rules.scale + 1)
    ]


def _by_generator(real: Sequence[Reading], fake: Sequence[Reading], rules: Protocol) -> list[Json]:
    rows = []
    for name in sorted({r.generator or "synthetic" for r in fake}):
        own = [r for r in fake if (r.generator or "synthetic") == name]
        both = [*real, *own]
        rows.append(
            {
                "generator": name,
                "auc": _auc_or_reason(both, rules).to_dict(),
                "sensitivity": share(
                    [is_right(r, rules) for r in own], [r.cluster for r in own], rules, "none"
                ),
            }
        )
    return rows


def _auc_or_reason(readings: Sequence[Reading], rules: Protocol) -> Figure:
    try:
        return roc.auc_interval(
            _truth(readings), _rated(readings), 0.95, [r.cluster for r in readings],
            rules.resamples, rules.seed,
        )  # fmt: skip
    except ReadersError as error:
        return Figure.undefined(len(readings), "none", str(error))


def _by_class(mine: Sequence[Reading], rules: Protocol) -> list[Json]:
    rows = []
    for name in classes(mine, rules):
        own = [r for r in mine if r.lesion_class == name]
        if not own:
            continue
        real, fake = [r for r in own if not r.synthetic], [r for r in own if r.synthetic]
        rows.append(
            {
                "lesion_class": name,
                "auc": _auc_or_reason(own, rules).to_dict(),
                "sensitivity": share(
                    [is_right(r, rules) for r in fake], [r.cluster for r in fake], rules,
                    "no synthetic image of this class",
                ),
                "specificity": share(
                    [is_right(r, rules) for r in real], [r.cluster for r in real], rules,
                    "no real image of this class",
                ),
            }
        )  # fmt: skip
    return rows


def classes(readings: Sequence[Reading], rules: Protocol) -> tuple[str, ...]:
    """The protocol's classes, then answers beyond them such as "other"."""
    used = {c for r in readings for c in (r.lesion_class, r.answered_class) if c}
    return (*rules.classes, *sorted(used - set(rules.classes)))


def _class_table(mine: Sequence[Reading], rules: Protocol) -> Json | None:
    """The paper's table for one reader: class accuracy on real, synthetic and all images."""
    asked = [r for r in mine if r.lesion_class and r.answered_class]
    if not asked:
        return None
    parts = {
        "real": [r for r in asked if not r.synthetic],
        "synthetic": [r for r in asked if r.synthetic],
        "total": asked,
    }
    table: Json = {
        key: share(
            [r.answered_class == r.lesion_class for r in rows], [r.cluster for r in rows], rules,
            f"no {key} image was classified",
        )
        for key, rows in parts.items()
    }  # fmt: skip
    table["real_minus_synthetic"] = None
    if parts["real"] and parts["synthetic"]:
        table["real_minus_synthetic"] = trends.difference(
            table["real"]["count"], len(parts["real"]),
            table["synthetic"]["count"], len(parts["synthetic"]),
        ).to_dict()  # fmt: skip
    names = classes(asked, rules)
    cells = Counter((r.lesion_class, r.answered_class) for r in asked)
    table["classes"] = list(names)
    table["confusion"] = [[cells[t, a] for a in names] for t in names]
    known = [r for r in asked if r.case in rules.network]
    table["against_network"] = None
    if known:
        table["against_network"] = asdict(
            agreement.mcnemar(
                [r.answered_class == r.lesion_class for r in known],
                [rules.network[r.case] == r.lesion_class for r in known],
            )
        )
    return table


def _intra(name: str, shown: Presentations, rules: Protocol) -> Json | None:
    pairs = [(a, b) for a, b in shown.repeats if a.reader == name]
    if not pairs:
        return None
    points = list(range(1, rules.scale + 1))
    first, second = [a.rating for a, _ in pairs], [b.rating for _, b in pairs]
    calls = [[rules.says_synthetic(x or 0) for x in answers] for answers in (first, second)]
    entry: Json = {
        "n": len(pairs),
        "rating": agreement.cohen(first, second, points, "quadratic").to_dict(),
        "call": agreement.cohen(calls[0], calls[1], [False, True]).to_dict(),
        "same_rating": agreement.same_share(first, second).to_dict(),
        "lesion_class": None,
    }
    asked = [(a.answered_class, b.answered_class) for a, b in pairs
             if a.answered_class and b.answered_class]  # fmt: skip
    if asked:
        entry["lesion_class"] = agreement.cohen(
            [a for a, _ in asked], [b for _, b in asked]
        ).to_dict()
    return entry
