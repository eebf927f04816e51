"""Coverage of the analysis' intervals over simulated studies: nominal 95 %, counted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from bench import pool
from bench.verdicts import model
from ml.readers.choice_rehearsal import of_share
from ml.readers.rehearsal import CORRECT, FIXED, OWN, RECOMMENDED, Design, Rehearsal, Tally
from ml.readers.tables import rehearsal_text
from ml.statistics import mrmc, roc
from ml.statistics.ratings import Ratings

STUDIES = 500
LOW, HIGH = 0.92, 0.98
"""Where the coverage of the recommended analysis has to lie, at 5 readers × 120 images."""

PAIRS_STUDIES = 2000
"""Studies of pairs of each size and true share."""

READERS = 2000
"""Single readers of each size and area."""
OF_A_KIND = (2, 3, 5, 10, 30, 60)
OTHERS = 30
"""Images of the other kind, beside as many of both."""
AREAS = (0.5, 0.74, 0.9)
OWN_LOW, OWN_HIGH = 0.93, 0.97
"""Where the coverage of one reader's interval has to lie, or there is none."""


def intervals() -> Iterator[str]:
    """500 studies of 5 readers × 120 images through the real analysis, then single readers."""
    rehearsal = Rehearsal(Design(readers=5, images=120), STUDIES, seed=0)
    for _ in rehearsal.run():
        pass
    result = rehearsal.outcome()
    yield from rehearsal_text(result).splitlines()
    found = {row.name: row.coverage for row in result.coverage}
    for name in (RECOMMENDED, CORRECT, OWN, FIXED):
        held = found[name]
        said = "within" if LOW <= held <= HIGH else "OUTSIDE"
        yield f"{held:.3f} is {said} {LOW:.2f} to {HIGH:.2f}: {name}"
    yield from single_readers()
    yield from shares_of_pairs()


def shares_of_pairs() -> Iterator[str]:
    """The mean share of pairs of readers like these, by readers, pairs and the true share."""
    yield f"mean share of pairs, {PAIRS_STUDIES} studies each: coverage of 95 %, random readers"
    pieces = list(product((3, 5, 10), (20, 40, 100), (0.5, 0.6, 0.84, 0.95)))
    outside = 0
    for (readers, pairs, share), tally in zip(pieces, pool.each(_of_pairs, pieces), strict=True):
        held = tally.coverage()
        assert held.coverage is not None and held.low is not None and held.high is not None
        said = "within" if held.low <= OWN_HIGH and held.high >= OWN_LOW else "OUTSIDE"
        outside += said == "OUTSIDE"
        yield (
            f"{readers:2} readers of {pairs:3} pairs, share {share:.2f}: {held.coverage:.3f} "
            f"({held.low:.3f} to {held.high:.3f}) {said} {OWN_LOW:.2f} to {OWN_HIGH:.2f}, width "
            f"{held.mean_width:.2f}"
        )
    yield f"{outside} outside"


def _of_pairs(piece: tuple[int, int, float]) -> Tally:
    readers, pairs, share = piece
    rng = np.random.default_rng([readers, pairs, round(100 * share)])
    names = tuple(f"reader {j}" for j in range(readers))
    cases = tuple(f"pair {k}" for k in range(pairs))
    truth, known = np.ones(pairs, dtype=np.int64), of_share(share)
    tally = Tally("mean share")
    for _ in range(PAIRS_STUDIES):
        block = Ratings(names, ("pairs",), cases, truth, known.draw(pairs, readers, rng)[None])
        mean = mrmc.random_readers(block, mrmc.FigureOfMerit.MEAN).mean
        tally.count(mean.low, mean.high, share)
    return tally


def single_readers() -> Iterator[str]:
    """One reader's interval by the images of a kind and the true area on the six points."""
    yield f"one reader, {READERS} each: coverage of 95 % (its own interval), share with an interval"
    sizes = [size for few in OF_A_KIND for size in ((few, few), (few, OTHERS)) if few != OTHERS]
    pieces = list(product([*sizes, (OTHERS, OTHERS)], AREAS))
    outside = 0
    for ((synthetic, real), area), (tally, wide) in zip(
        pieces, pool.each(_of_reader, pieces), strict=True
    ):
        held = tally.coverage()
        where = f"{synthetic:2} + {real:2} images, AUC {area:.2f}"
        if held.coverage is None or held.low is None or held.high is None:
            yield f"{where}: no interval"
            continue
        # an interval of the simulation itself that reaches the range is within it
        said = "within" if held.low <= OWN_HIGH and held.high >= OWN_LOW else "OUTSIDE"
        outside += said == "OUTSIDE"
        yield (
            f"{where}: {held.coverage:.3f} ({held.low:.3f} to {held.high:.3f}) {said} "
            f"{OWN_LOW:.2f} to {OWN_HIGH:.2f}, width {held.mean_width:.2f}, {wide:.2f}"
        )
    yield f"{outside} outside"


def _of_reader(piece: tuple[tuple[int, int], float]) -> tuple[Tally, float]:
    (synthetic, real), area = piece
    truth = np.array([1] * synthetic + [0] * real, dtype=np.int64)
    rng = np.random.default_rng([synthetic, real, round(100 * area)])
    tally = Tally("one reader")
    for _ in range(READERS):
        found = roc.auc_interval(truth, model(area).draw(truth, 1, rng)[0][0], resamples=0)
        tally.count(found.low, found.high, area)
    return tally, tally.studies / READERS
