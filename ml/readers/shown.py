"""What readers were shown, in its order: first presentations, and repeats beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Presented(Protocol):
    """An answer to one presentation, of whatever: its reader, what was shown, and when."""

    @property
    def reader(self) -> str:
        """Who answered."""

    @property
    def case(self) -> str:
        """What was shown, the same for all readers."""

    @property
    def session(self) -> int:
        """The sitting, from 1."""

    @property
    def position(self) -> int:
        """The place in this reader's order."""

    @property
    def is_repeat(self) -> bool:
        """Whether it was marked as a second presentation."""

    @property
    def is_practice(self) -> bool:
        """Whether it came before the study proper."""


class OfImage(Presented, Protocol):
    """An answer to one image."""

    @property
    def synthetic(self) -> bool:
        """Whether a generator drew it."""

    @property
    def generator(self) -> str | None:
        """Which one; None for a real image, and where none is named."""

    @property
    def lesion_class(self) -> str | None:
        """What it shows."""

    @property
    def patient(self) -> str | None:
        """Whom a real image comes from."""

    @property
    def cluster(self) -> str:
        """Equal for images that belong together."""


T = TypeVar("T", bound=Presented)
Image = TypeVar("Image", bound=OfImage)


@dataclass(frozen=True)
class Shown(Generic[T]):
    """First presentations, and (first, repeat) pairs; practice and unanswered trials are out.

    ``late``: how many of ``first`` were answered at a later presentation, since the first one has
    no answer.
    """

    first: tuple[T, ...]
    repeats: tuple[tuple[T, T], ...]
    practice: int
    unanswered: int
    late: int = 0

    @property
    def readers(self) -> tuple[str, ...]:
        """Who answered, in order of first appearance."""
        return tuple(dict.fromkeys(r.reader for r in self.first))

    def of(self, reader: str) -> tuple[T, ...]:
        """One reader's first presentations, in their order of reading."""
        return tuple(r for r in self.first if r.reader == reader)


def in_order(
    readings: Iterable[T], is_answered: Callable[[T], bool], check: Callable[[T], None]
) -> Shown[T]:
    """Sort readings into first presentations and repeats, in the order of reading.

    A second presentation counts as a repeat whether it was marked as one or not, and as the first
    where that was not answered.

    Args:
        check: raises what is wrong with an answered reading; called in the order of reading.
    """
    first: dict[tuple[str, str], T] = {}
    repeats: list[tuple[T, T]] = []
    missed: set[tuple[str, str]] = set()
    practice = unanswered = late = 0
    for reading in _as_read(readings):
        if reading.is_practice:
            practice += 1
            continue
        key = (reading.reader, reading.case)
        if not is_answered(reading):
            unanswered += 1
            missed.add(key)
            continue
        check(reading)
        if key not in first:
            first[key] = reading
            late += reading.is_repeat or key in missed
        else:
            repeats.append((first[key], reading))
    return Shown(tuple(first.values()), tuple(repeats), practice, unanswered, late)


def _as_read(readings: Iterable[T]) -> list[T]:
    """Reader by reader, as each of them saw what was shown.

    By position where it numbers a reader's whole order: an answer that was changed in a later
    sitting is still of what was shown before. Where positions begin anew in each sitting, by both.
    """
    of_reader: dict[str, list[T]] = {}
    for reading in readings:
        of_reader.setdefault(reading.reader, []).append(reading)
    found: list[T] = []
    for _, mine in sorted(of_reader.items()):
        if len({one.position for one in mine}) == len(mine):
            found += sorted(mine, key=lambda one: one.position)
        else:
            found += sorted(mine, key=lambda one: (one.session, one.position, one.is_repeat))
    return found
