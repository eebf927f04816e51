"""Everything but the primary hypothesis: one family of tests, adjusted together where planned.

A p value is taken from an interval (Altman & Bland 2011, BMJ 343:d2304): as many standard errors as
the interval's half on that side allows. At 5 % it says what the interval says; further away it is
an approximation.
"""

from __future__ import annotations

from collections.abc import Sequence

import scipy

from ml.readers.hypothesis import Claim, Multiplicity, Whose
from ml.readers.reading import Protocol
from ml.readers.results import (
    Across,
    BetweenGenerators,
    ReaderResult,
    Refused,
    Secondary,
)
from ml.statistics import comparison

LEVEL = 0.05
_Z95, _Z90 = 1.959963984540054, 1.6448536269514722


def secondary(
    readers: Sequence[ReaderResult],
    across: Across,
    between: BetweenGenerators | Refused | None,
    rules: Protocol,
) -> tuple[Secondary, ...]:
    """The secondary hypotheses with their p values; none where no primary one was named.

    One without a verdict has no p, and counts in the adjustment with p = 1.
    """
    if rules.hypothesis is None:
        return ()
    found = [
        *(row for one in readers for row in _of_reader(one, rules)),
        *_of_readers(across, rules),
        *_of_generators(between, rules),
    ]
    if rules.multiplicity is not Multiplicity.HOLM:
        return tuple(Secondary(name, p, None, None) for name, p in found)
    adjusted = comparison.holm([1.0 if p is None else p for _, p in found])
    return tuple(
        Secondary(name, p, None if p is None else q, None if p is None else q < LEVEL)
        for (name, p), q in zip(found, adjusted, strict=True)
    )


def difference_p(value: float, low: float, high: float) -> float:
    """Two-sided p against 0.5 of an area with its 95 % interval."""
    half = value - low if value > 0.5 else high - value
    away = abs(value - 0.5)
    if half <= 0:
        return 0.0 if away else 1.0
    return float(2 * scipy.stats.norm.sf(_Z95 * away / half))


def equivalence_p(value: float, low: float, high: float, margin: float) -> float:
    """p of two one-sided tests within 0.5 ± ``margin``, of an area with its 90 % interval."""

    def one(room: float, half: float) -> float:
        if half <= 0:
            return 0.0 if room > 0 else 1.0
        return float(scipy.stats.norm.sf(_Z90 * room / half))

    return max(one(0.5 + margin - value, high - value), one(value - 0.5 + margin, value - low))


def _of_reader(one: ReaderResult, rules: Protocol) -> list[tuple[str, float | None]]:
    names = (
        f"reader {one.reader}: AUC different from chance",
        f"reader {one.reader}: AUC equivalent to chance within ±{rules.margin:.2f}",
    )
    verdict, wide, narrow = one.verdict, one.auc, one.verdict.equivalence_interval
    if verdict.different_from_chance is None or wide.ends is None or narrow.ends is None:
        return [(name, None) for name in names]
    different = difference_p(wide.known, *wide.ends)
    equivalent = equivalence_p(narrow.known, *narrow.ends, rules.margin)
    shown = verdict.equivalent_to_chance or equivalent >= LEVEL
    return [(names[0], different), (names[1], equivalent if shown else None)]


def _of_readers(across: Across, rules: Protocol) -> list[tuple[str, float | None]]:
    """Readers like these, but for what the primary hypothesis says of them."""
    primary = rules.hypothesis
    found: dict[Claim, float | None] = {Claim.DIFFERENT: None, Claim.EQUIVALENT: None}
    verdict = across.verdict
    if verdict is not None and not isinstance(across.random, Refused):
        mean = across.random.mean
        low, high = verdict.equivalence_low, verdict.equivalence_high
        found[Claim.DIFFERENT] = difference_p(mean.value, mean.low, mean.high)
        p = equivalence_p(mean.value, low, high, rules.margin)
        found[Claim.EQUIVALENT] = p if verdict.equivalent_to_chance or p >= LEVEL else None
    return [
        (f"readers like these: mean AUC {claim}", p)
        for claim, p in found.items()
        if primary is None
        or primary.generator
        or (primary.claim, primary.whose) != (claim, Whose.LIKE_THESE)
    ]


def _of_generators(
    between: BetweenGenerators | Refused | None, rules: Protocol
) -> list[tuple[str, float | None]]:
    """Pairs of generators, for readers like these."""
    if not isinstance(between, BetweenGenerators) or isinstance(between.random, Refused):
        return []
    pairs, primary = between.random.differences, rules.hypothesis
    ours = primary and (primary.claim, primary.whose) == (Claim.GENERATORS, Whose.LIKE_THESE)
    if ours and len(pairs) == 1:
        return []
    return [(f"{one.first} and {one.second}: mean AUC differs", one.p) for one in pairs]
