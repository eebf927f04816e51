"""Pictures that are there twice: the same pixels, turned or mirrored or not, or nearly the same."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.leak_audit import content
from ml.statistics import symmetry

NEAR_THUMBNAIL = 0.995
NEAR_DETAIL = 0.97

Pairs = list[tuple[int, int]]


def digest(stored: NDArray[Any]) -> str:
    """The same for a picture (h, w) or (h, w, channels) and its turns and mirror images."""
    whole = np.rint(stored)
    if np.array_equal(whole, stored) and stored.min() >= 0 and stored.max() < 1 << 16:
        stored = whole.astype(np.uint16)  # fewer bytes to read eight times
    turns = (symmetry.turned(stored[None], each)[0] for each in range(symmetry.SYMMETRIES))
    said = (hashlib.sha256(one.tobytes() + repr(one.shape).encode()).hexdigest() for one in turns)
    return min(said)[:32]


def exact(digests: Sequence[str]) -> Pairs:
    """Pairs of the same digest: each with the first that has it."""
    first: dict[str, int] = {}
    return [
        (first[said], place)
        for place, said in enumerate(digests)
        if first.setdefault(said, place) != place
    ]


def near(thumbnails: NDArray[np.floating], details: NDArray[np.floating], known: Pairs) -> Pairs:
    """Pairs alike in the 16 × 16 and the 64 × 64 average, in any of the eight orientations.

    Args:
        thumbnails: (n, 256) mean-free unit rows.
        details: (n, 4096) likewise.
        known: pairs that need no mention.
    """
    alike: set[tuple[int, int]] = set()
    for turn, turned in enumerate(symmetry.of_rows(thumbnails, content.THUMBNAIL_PX)):
        rows, columns = np.nonzero(thumbnails @ turned.T > NEAR_THUMBNAIL)
        for a, b in zip(rows.tolist(), columns.tolist(), strict=True):
            if a >= b or (a, b) in alike:
                continue
            other = symmetry.of_rows(details[b : b + 1], content.DETAIL_PX)[turn][0]
            if float(details[a] @ other) > NEAR_DETAIL:
                alike.add((a, b))
    return sorted(alike - _joined(known))


def _joined(pairs: Pairs) -> set[tuple[int, int]]:
    """All pairs among pictures of which each is the same as a first one."""
    groups: dict[int, list[int]] = defaultdict(list)
    for a, b in pairs:
        groups[a].append(b)
    every = ([a, *rest] for a, rest in groups.items())
    return {(a, b) for group in every for a in group for b in group if a < b}
