"""Halves: the images of a study in two parts of which each has as much of every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from app.models.reader_studies.stimulus import Stimulus


def kinds_of_halves(
    kinds: Iterable[tuple[str, str]],
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The kinds of the images of both parts, as `halves` divides them."""
    first: list[tuple[str, str]] = []
    second: list[tuple[str, str]] = []
    for kind, count in Counter(kinds).items():
        first += [kind] * -(-count // 2)
        second += [kind] * (count // 2)
    return first, second


def first_part(kinds: Iterable[tuple[str, str]]) -> int:
    """How many images the first part has: half of each kind, and one more where it is odd."""
    return len(kinds_of_halves(kinds)[0])


def halves(stimuli: Sequence[Stimulus]) -> tuple[list[Stimulus], list[Stimulus]]:
    """The images of both parts: of each source and class those with the first digests, the rest."""
    first: list[Stimulus] = []
    second: list[Stimulus] = []
    kinds: dict[Hashable, list[Stimulus]] = {}
    for one in sorted(stimuli, key=lambda one: one.pixels_digest):
        kinds.setdefault((one.truth, one.lesion_class), []).append(one)
    for own in kinds.values():
        middle = -(-len(own) // 2)
        first += own[:middle]
        second += own[middle:]
    return first, second
