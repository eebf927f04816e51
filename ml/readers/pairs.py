"""What readers answered of pairs: two images side by side, one of which they name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ml.statistics.proportion import ReadersError


class Side(StrEnum):
    """Where an image stands, as the reader sees it."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def other(self) -> Side:
        """The opposite one."""
        return Side.RIGHT if self is Side.LEFT else Side.LEFT


@dataclass(frozen=True)
class PairReading:
    """One reader's answer to one pair.

    ``case`` is the pair, the same two images for all readers; ``asked`` is where its first image
    stood (of a real and a synthetic one: the synthetic one) and ``answer`` the side that was named,
    None where there is no answer. ``generator`` drew the first image and ``other`` the second, None
    for a real one; ``patient`` is whom a real image comes from. Trials are ordered by ``session``,
    then ``position``.
    """

    reader: str
    case: str
    asked: Side
    answer: Side | None
    generator: str
    other: str | None = None
    position: int = 0
    session: int = 1
    is_repeat: bool = False
    is_practice: bool = False
    patient: str | None = None
    lesion_class: str | None = None
    active_ms: int | None = None

    @property
    def named_first(self) -> bool:
        """Whether the first image was named: of a real and a synthetic one, the right answer."""
        return self.answer == self.asked

    @property
    def cluster(self) -> str:
        """Pairs with images of one patient belong together; any other pair stands alone."""
        return f"patient {self.patient}" if self.patient else f"pair {self.case}"


@dataclass(frozen=True)
class PairsShown:
    """First presentations, and (first, repeat) pairs; practice and unanswered trials are out."""

    first: tuple[PairReading, ...]
    repeats: tuple[tuple[PairReading, PairReading], ...]
    practice: int
    unanswered: int

    @property
    def readers(self) -> tuple[str, ...]:
        """Who answered, in order of first appearance."""
        return tuple(dict.fromkeys(r.reader for r in self.first))

    def of(self, reader: str) -> tuple[PairReading, ...]:
        """One reader's first presentations, in their order of reading."""
        return tuple(r for r in self.first if r.reader == reader)


def present_pairs(readings: Iterable[PairReading]) -> PairsShown:
    """Sort readings into first presentations and repeats, by session and position.

    A second presentation counts as a repeat whether it was marked as one or not.

    Raises:
        ReadersError: one pair is of other images in another reading.
    """
    first: dict[tuple[str, str], PairReading] = {}
    repeats: list[tuple[PairReading, PairReading]] = []
    known: dict[str, tuple[object, ...]] = {}
    practice = unanswered = 0
    for reading in sorted(readings, key=lambda r: (r.reader, r.session, r.position, r.is_repeat)):
        if reading.is_practice:
            practice += 1
            continue
        if reading.answer is None:
            unanswered += 1
            continue
        shown = (reading.generator, reading.other, reading.patient, reading.lesion_class)
        if known.setdefault(reading.case, shown) != shown:
            raise ReadersError(f"Pair {reading.case} shows other images in another reading.")
        key = (reading.reader, reading.case)
        if key not in first:
            first[key] = reading
        else:
            repeats.append((first[key], reading))
    return PairsShown(tuple(first.values()), tuple(repeats), practice, unanswered)
