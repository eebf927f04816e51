"""Across the readers of a study: random and fixed readers, generators, agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from ml.readers.reading import (
    Presentations,
    Protocol,
    Reading,
    ratings,
    ratings_by_generator,
)
from ml.readers.single import classes as all_classes
from ml.readers.single import is_right
from ml.statistics import agreement, mrmc
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings

Json = dict[str, Any]


def _usable(shown: Presentations) -> tuple[list[Reading], list[str]]:
    """Readings of readers who saw two images of each kind, and the readers left out."""
    kept: list[Reading] = []
    out: list[str] = []
    for name in shown.readers:
        mine = shown.of(name)
        fake = sum(r.synthetic for r in mine)
        if min(fake, len(mine) - fake) < 2:
            out.append(name)
        else:
            kept.extend(mine)
    return kept, out


def across(shown: Presentations, rules: Protocol) -> Json:
    """Random readers, fixed readers, percent correct, and the verdict of equivalence.

    What cannot be said (too few readers, nobody who read two images of each kind) stands there as
    ``{"refused": why}`` and is not raised.

    Returns:
        ``{"left_out", "random", "fixed", "correct", "verdict"}``; ``verdict`` is None without
        random readers.

    Raises:
        ReadersError: a reader rated an image twice in ``shown.first``; `present` sees to that.
    """
    kept, out = _usable(shown)
    if not kept:
        why = "no reader read two real and two synthetic images"
        return {"random": {"refused": why}, "fixed": {"refused": why}, "left_out": out,
                "correct": {"refused": why}, "verdict": None}  # fmt: skip
    areas, correct = ratings(kept), ratings(kept, correct=rules)
    entry: Json = {"left_out": out, "fixed": _told(lambda: mrmc.fixed_readers(areas))}
    few = _too_few(len(areas.readers), rules)
    if few:
        return {**entry, "random": {"refused": few}, "correct": {"refused": few}, "verdict": None}
    entry["random"] = _told(lambda: mrmc.random_readers(areas))
    entry["correct"] = _told(lambda: mrmc.random_readers(correct, "mean"))
    if "refused" in entry["random"]:
        return {**entry, "verdict": None}
    narrow = mrmc.random_readers(areas, confidence=0.90).treatments[0]
    wide = mrmc.random_readers(areas).treatments[0]
    entry["verdict"] = {
        "margin": rules.margin,
        "equivalence_low": narrow.low,
        "equivalence_high": narrow.high,
        "different_from_chance": not wide.low <= 0.5 <= wide.high,
        "equivalent_to_chance": 0.5 - rules.margin <= narrow.low
        and narrow.high <= 0.5 + rules.margin,
    }
    return entry


def _told(analyse: Callable[[], mrmc.Analysis]) -> Json:
    """The analysis, or why there is none."""
    try:
        return analyse().to_dict()
    except ReadersError as error:
        return {"refused": str(error)}


def _too_few(readers: int, rules: Protocol) -> str | None:
    if readers >= rules.least_readers:
        return None
    noun = "reader" if readers == 1 else "readers"
    return (
        f"{readers} {noun} cannot speak for other readers (at least {rules.least_readers} are "
        "needed); the figures hold for these readers only"
    )


def between(shown: Presentations, rules: Protocol) -> Json | None:
    """Differences between generators: real images shared, synthetic ones not.

    Returns:
        ``{"random", "fixed", "correct"}``, each an analysis or ``{"refused": why}``; the latter
        alone when none can be made; None for fewer than two generators.
    """
    if len(shown.generators) < 2:
        return None
    kept, _ = _usable(shown)
    if not kept:
        return {"refused": "no reader read two real and two synthetic images"}
    block: Ratings = ratings_by_generator(kept)
    few = _too_few(len(block.readers), rules)
    try:
        fixed = mrmc.fixed_readers(block, method="jackknife").to_dict()
        random = (
            {"refused": few} if few else mrmc.random_readers(block, method="jackknife").to_dict()
        )
        correct = (
            {"refused": few}
            if few
            else mrmc.random_readers(
                ratings_by_generator(kept, rules), "mean", "jackknife"
            ).to_dict()
        )
    except ReadersError as error:
        return {"refused": str(error)}
    return {"random": random, "fixed": fixed, "correct": correct}


def agree(shown: Presentations, rules: Protocol) -> Json:
    """Every pair of readers, and all of them together."""
    names = shown.readers
    if len(names) < 2:
        return {"refused": "agreement between readers needs two readers"}
    by_reader = {name: {r.case: r for r in shown.of(name)} for name in names}
    cases = list(dict.fromkeys(r.case for r in shown.first))
    clusters = {r.case: r.cluster for r in shown.first}
    points = list(range(1, rules.scale + 1))
    classes = all_classes(shown.first, rules)
    pairs = []
    for a, b in combinations(names, 2):
        common = [c for c in cases if c in by_reader[a] and c in by_reader[b]]
        if not common:
            continue
        first = [by_reader[a][c] for c in common]
        second = [by_reader[b][c] for c in common]
        entry: Json = {
            "readers": [a, b],
            "n": len(common),
            "call": agreement.cohen(
                [rules.says_synthetic(r.rating or 0) for r in first],
                [rules.says_synthetic(r.rating or 0) for r in second], [False, True],
            ).to_dict(),
            "rating": agreement.cohen(
                [r.rating for r in first], [r.rating for r in second], points, "quadratic"
            ).to_dict(),
            "correct": asdict(
                agreement.mcnemar(
                    [is_right(r, rules) for r in first], [is_right(r, rules) for r in second]
                )
            ),
            "lesion_class": None,
        }  # fmt: skip
        asked = [(x, y) for x, y in zip(first, second, strict=True)
                 if x.answered_class and y.answered_class]  # fmt: skip
        if asked:
            entry["lesion_class"] = {
                **agreement.cohen(
                    [x.answered_class for x, _ in asked], [y.answered_class for _, y in asked],
                    classes,
                ).to_dict(),
                "both_correct": sum(
                    x.answered_class == y.answered_class == x.lesion_class for x, y in asked
                ),
                "agreed_but_wrong": sum(
                    x.answered_class == y.answered_class != x.lesion_class for x, y in asked
                ),
            }  # fmt: skip
        pairs.append(entry)
    result: Json = {"pairs": pairs, **_many(by_reader, cases, clusters, rules)}
    complete = [c for c in cases if all(c in by_reader[n] for n in names)]
    result["cochran"] = None
    if len(names) > 2 and complete:
        table = np.array([[is_right(by_reader[n][c], rules) for n in names] for c in complete])
        result["cochran"] = asdict(agreement.cochran(table))
    return result


def _many(
    by_reader: dict[str, dict[str, Reading]],
    cases: Sequence[str],
    clusters: dict[str, str],
    rules: Protocol,
) -> Json:
    """Fleiss κ and Krippendorff α over all readers."""
    labels = [clusters[c] for c in cases]
    rated = np.array(
        [[float(mine[c].rating or 0) if c in mine else np.nan for c in cases]
         for mine in by_reader.values()]
    )  # fmt: skip
    options: dict[str, Any] = {
        "resamples": rules.resamples, "seed": rules.seed, "clusters": labels,
    }  # fmt: skip
    answers = [
        [mine[c].answered_class if c in mine else None for c in cases]
        for mine in by_reader.values()
    ]
    found: Json = {"fleiss_call": None, "alpha_rating": None, "fleiss_class": None,
                   "alpha_class": None}  # fmt: skip
    called = [[None if np.isnan(x) else rules.says_synthetic(int(x)) for x in row] for row in rated]
    attempts: list[tuple[str, Any]] = [
        ("fleiss_call", lambda: agreement.fleiss(agreement.answer_counts(called), **options)),
        ("alpha_rating", lambda: agreement.krippendorff(rated, "ordinal", **options)),
    ]
    if any(a is not None for row in answers for a in row):
        codes = {c: k for k, c in enumerate(sorted({a for row in answers for a in row if a}))}
        coded = np.array([[codes[a] if a else np.nan for a in row] for row in answers])
        attempts += [
            ("fleiss_class", lambda: agreement.fleiss(agreement.answer_counts(answers), **options)),
            ("alpha_class", lambda: agreement.krippendorff(coded, "nominal", **options)),
        ]
    for key, attempt in attempts:
        try:
            found[key] = attempt().to_dict()
        except ReadersError as error:
            found[key] = Figure.undefined(0, "none", str(error)).to_dict()
    return found
