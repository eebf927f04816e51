"""False claims of equivalence by readers of every kind, alone and in every mix of 3 to 5.

Counted is what the product's own analysis says of simulated studies of 60 real and 60 synthetic
images. Lazy kinds have no true area: whatever is "shown" of them, or of a mix with them, is false.
Readers at the edge have a true area of exactly 0.5 + the margin on the six points, perfect ones of
1. A mix of guessing readers with readers at the edge or perfect ones is false where its true mean
lies at the margin or beyond.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from bench import pool
from ml.readers import several
from ml.readers.reading import Protocol
from ml.readers.rehearsal import RoeMetz
from ml.readers.results import MeanVerdict, Refused
from ml.statistics import roc
from ml.statistics.proportion import wilson_limits
from ml.statistics.ratings import Ratings

MARGIN = 0.10
OF_A_KIND = 60
STUDIES = 100
"""Of each mix of several kinds."""
OF_MANY = 800
"""Of readers of one kind."""
LIMIT = 0.05


class Kind(StrEnum):
    """How a simulated reader answers."""

    CONSTANT = "constant"
    NEARLY = "nearly constant"
    LAZY = "lazy"
    TWO_KEYS = "two keys"
    GUESSING = "guessing"
    EDGE = "at the edge"
    PERFECT = "perfect"


LAZY_KINDS = (Kind.CONSTANT, Kind.NEARLY, Kind.LAZY, Kind.TWO_KEYS)
TRUE_AREA = {Kind.GUESSING: 0.5, Kind.EDGE: 0.5 + MARGIN, Kind.PERFECT: 1.0}

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@cache
def model(area: float) -> RoeMetz:
    """Readers of the same skill whose true area on the six points is ``area``."""
    low, high = 0.05, 0.95
    for _ in range(50):
        middle = (low + high) / 2
        if RoeMetz.with_area(middle, reader=0.0).area() < area:
            low = middle
        else:
            high = middle
    return RoeMetz.with_area(middle, reader=0.0)


def answers(kinds: Sequence[Kind], truth: Ints, rng: np.random.Generator) -> Floats:
    """The ratings (readers, n) that readers of these kinds give to the same images."""
    n = len(truth)
    skilled = {
        kind: iter(model(TRUE_AREA[kind]).draw(truth, len(kinds), rng)[0])
        for kind in (Kind.GUESSING, Kind.EDGE)
        if kind in kinds
    }
    rated = np.ones((len(kinds), n))
    for row, kind in zip(rated, kinds, strict=True):
        if kind is Kind.NEARLY:
            row[rng.choice(n, 2, replace=False)] = rng.integers(2, 7, 2)
        elif kind is Kind.LAZY:  # looks up at one image in twenty
            awake = rng.random(n) < 0.05
            row[awake] = rng.integers(1, 7, int(awake.sum()))
        elif kind is Kind.TWO_KEYS:
            row[:] = rng.choice([1, 6], n)
        elif kind is Kind.PERFECT:
            row[:] = rng.integers(1, 4, n) + 3 * truth
        elif kind in skilled:
            row[:] = next(skilled[kind])
    return rated


@dataclass(frozen=True)
class Found:
    """How many of ``studies`` of a mix of readers were called equivalent; of one, by itself."""

    mix: tuple[Kind, ...]
    equivalent: int
    studies: int

    @property
    def false(self) -> bool:
        """Whether to call it equivalent is a false claim."""
        if any(kind in LAZY_KINDS for kind in self.mix):
            return True
        mean = float(np.mean([TRUE_AREA[kind] for kind in self.mix]))
        return mean >= 0.5 + MARGIN - 1e-9

    def __str__(self) -> str:
        low, high = wilson_limits(self.equivalent, self.studies)
        share = self.equivalent / self.studies
        return f"{share:.3f} ({low:.3f} to {high:.3f}), {self.equivalent} of {self.studies}"


def of_mix(mix: tuple[Kind, ...]) -> Found:
    """Simulate and judge the studies of one mix."""
    seed = int.from_bytes(hashlib.sha256("/".join(mix).encode()).digest()[:4], "big")
    truth = np.array([1] * OF_A_KIND + [0] * OF_A_KIND, dtype=np.int64)
    rules = Protocol(margin=MARGIN, resamples=0)
    studies = OF_MANY if len(set(mix)) == 1 else STUDIES
    names, cases = tuple(f"R{j}" for j in range(len(mix))), tuple(map(str, range(len(truth))))
    count = 0
    for study in range(studies):
        rated = answers(mix, truth, np.random.default_rng([seed, study]))
        found: MeanVerdict | Refused | roc.Verdict
        if len(mix) == 1:
            found = roc.verdict(truth, rated[0], MARGIN, resamples=0, rule=rules.scale_rule)
        else:
            found = several.judged(Ratings(names, ("vtt",), cases, truth, rated[None]), rules)
        count += not isinstance(found, Refused) and bool(found.equivalent_to_chance)
    return Found(mix, count, studies)


def mixes() -> Iterator[str]:
    """Each kind alone and by itself, then the mixes that were called equivalent most often."""
    every = [mix for r in (1, 3, 4, 5) for mix in combinations_with_replacement(Kind, r)]
    found = {one.mix: one for one in pool.each(of_mix, every)}
    yield f"called equivalent within ±{MARGIN}, {OF_A_KIND} + {OF_A_KIND} images"
    for kind in Kind:
        yield f"{kind}, {'false' if found[kind,].false else 'true'} to say"
        for r in (1, 3, 4, 5):
            yield f"  {r} reader{'s' if r > 1 else ''}: {found[(kind,) * r]}"
    false = [one for one in found.values() if one.false and len(one.mix) > 1]
    false.sort(key=lambda one: -one.equivalent / one.studies)
    yield f"{len(false)} mixes of 3 to 5 readers of whom it is false to say; most often said of"
    for one in false[:8]:
        yield f"  {', '.join(one.mix)}: {one}"
    over = sum(one.equivalent > LIMIT * one.studies for one in false)
    beyond = sum(wilson_limits(one.equivalent, one.studies)[0] > LIMIT for one in false)
    yield (
        f"{over} of them in more than {LIMIT:.0%} of the studies, {beyond} by more than the "
        "simulation's own error"
    )
