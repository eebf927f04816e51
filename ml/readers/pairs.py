"""What readers answered of pairs: two images side by side, one of which they name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ml.readers.shown import Shown, in_order
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
    then ``position``. ``unsent``: it was answered without a picture of it ever having been sent.
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
    # no part of its text: the digest of what was analysed is over the texts of earlier versions too
    unsent: bool = field(default=False, repr=False)

    @property
    def named_first(self) -> bool:
        """Whether the first image was named: of a real and a synthetic one, the right answer."""
        return self.answer == self.asked

    @property
    def cluster(self) -> str:
        """Pairs with images of one patient belong together; any other pair stands alone."""
        return f"patient {self.patient}" if self.patient else f"pair {self.case}"


@dataclass(frozen=True)
class PairsShown(Shown[PairReading]):
    """What readers were shown of pairs."""


def counted_pairs(readings: Iterable[PairReading]) -> list[PairReading]:
    """The readings without answers to pairs that were never sent: nobody can have seen those."""
    return [replace(one, answer=None) if one.unsent else one for one in readings]


def present_pairs(readings: Iterable[PairReading]) -> PairsShown:
    """Sort readings into first presentations and repeats, as `ml.readers.shown.in_order`.

    Raises:
        ReadersError: one pair is of other images in another reading.
    """
    known: dict[str, tuple[object, ...]] = {}

    def check(reading: PairReading) -> None:
        images = (reading.generator, reading.other, reading.patient, reading.lesion_class)
        if known.setdefault(reading.case, images) != images:
            raise ReadersError(f"Pair {reading.case} shows other images in another reading.")

    shown = in_order(readings, lambda one: one.answer is not None, check)
    return PairsShown(shown.first, shown.repeats, shown.practice, shown.unanswered, shown.late)
