"""What a field of a card holds: statements, each with where it comes from, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ml.statistics.figure import Figure

NOT_APPLICABLE = "does not apply"
"""How the reason of a field begins that has nothing to be filled with."""
RELIABILITY = (
    "reliability: the probability that was said of the called class in groups of as many lesions, "
    "and how many of the group were called rightly (95 % intervals as if lesions were independent)."
)
"""What stands over a reliability plot and its tables."""


class Source(StrEnum):
    """Who says it."""

    RECORD = "record"
    """``checkpoint.json``: written down when it was trained."""
    MEASURED = "measured"
    """A figure that was computed on lesions, or what follows from one."""
    OWNER = "owner"
    """Typed by whoever owns the checkpoint; nobody checked it."""
    SOFTWARE = "software"
    """True of every checkpoint of this software."""


@dataclass(frozen=True)
class Measured:
    """One figure.

    Attributes:
        measure: what was measured, such as "sensitivity".
        of: of which class, or other part; "" for the whole.
        figure: value and 95 % interval.
        share: whether value and interval are shares in [0, 1], which people read as percentages.
    """

    measure: str
    figure: Figure
    of: str = ""
    share: bool = True

    @property
    def told(self) -> str:
        """Value and interval for people, ``71.4 % (61.0–82.5)``; a dash where it is not defined."""
        found = self.figure
        if found.value is None:
            return "–"
        counted = f", n = {found.n}" if found.n is not None else ""
        if not self.share:
            return f"{_told(found)}{counted}"
        value = f"{100 * found.value:.1f} %"
        if found.ends is not None:
            low, high = found.ends
            value = f"{value} ({100 * low:.1f}{' to ' if low < 0 else '–'}{100 * high:.1f})"
        return f"{value}{counted}"


def _told(found: Figure) -> str:
    value = _rounded(found.known)
    if found.ends is None:
        return value
    low, high = map(_rounded, found.ends)
    between = " to " if low.startswith("-") else "–"
    return f"{value} ({low}{between}{high})"


def _rounded(value: float) -> str:
    """To three places; none of them is −0."""
    return f"{round(value, 3) + 0.0:.3f}"


@dataclass(frozen=True)
class Sample:
    """On what figures were measured, and how their intervals were made.

    Attributes:
        name: which part of the data.
        interval: how the intervals were made, in a few words.
    """

    name: str
    n_lesions: int
    n_patients: int
    interval: str


@dataclass(frozen=True)
class FigureTable:
    """Figures of the same measures, a row for each class."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tabled(
    figures: Sequence[Measured], rows_are: str = "class"
) -> tuple[tuple[Measured, ...], FigureTable | None]:
    """(figures of the whole, the others as a table or None where there are none)"""
    whole = tuple(one for one in figures if not one.of)
    parts = [one for one in figures if one.of]
    if not parts:
        return whole, None
    measures = list(dict.fromkeys(one.measure for one in parts))
    cells = {(one.of, one.measure): one.told for one in parts}
    rows = tuple(
        (of, *(cells.get((of, measure), "–") for measure in measures))
        for of in dict.fromkeys(one.of for one in parts)
    )
    return whole, FigureTable((rows_are, *measures), rows)


@dataclass(frozen=True)
class Point:
    """One bin of a reliability plot: the lesions whose called class had about one probability.

    Attributes:
        said: their mean probability of the class that was called, 0–1.
        right: the share of them that was called rightly, of how many, with its interval.
    """

    said: float
    right: Figure


@dataclass(frozen=True)
class Curve:
    """A reliability plot: of true probabilities the points lie on the diagonal."""

    name: str
    points: tuple[Point, ...]

    @property
    def table(self) -> FigureTable:
        """The same in numbers, for whoever does not see the plot."""
        rows = tuple(
            (f"{100 * one.said:.0f} %", Measured("right", one.right).told) for one in self.points
        )
        return FigureTable((f"said, {self.name}", "called rightly"), rows)


@dataclass(frozen=True)
class Statement:
    """One sentence or more that somebody answers for.

    Attributes:
        about: which part of the field it is about, where the field has several; else "".
        figures, sample: what it tells of, as numbers.
        verbatim: a command, to be shown as it is.
        rows_are: what the figures are of, over the first column of their table.
        curves: reliability plots of the same lesions.
    """

    text: str
    source: Source
    about: str = ""
    figures: tuple[Measured, ...] = ()
    sample: Sample | None = None
    verbatim: bool = False
    rows_are: str = "class"
    curves: tuple[Curve, ...] = ()

    @property
    def is_owners(self) -> bool:
        """Whether the owner typed it."""
        return self.source is Source.OWNER

    @property
    def whole(self) -> tuple[Measured, ...]:
        """Its figures that are of no class alone."""
        return tabled(self.figures)[0]

    @property
    def table(self) -> FigureTable | None:
        """Its figures of each class."""
        return tabled(self.figures, self.rows_are)[1]


@dataclass(frozen=True)
class Gap:
    """What is missing in a field that says something else, and why."""

    reason: str
    about: str = ""


@dataclass(frozen=True)
class Said:
    """A field that says something; ``gaps`` is what it does not."""

    statements: tuple[Statement, ...]
    gaps: tuple[Gap, ...] = ()

    @property
    def unsaid(self) -> str:
        """``Not stated: …``; "" where nothing is missing."""
        return f"Not stated: {gaps_told(self.gaps)}." if self.gaps else ""


@dataclass(frozen=True)
class Empty:
    """A field that says nothing, and why of each of its parts."""

    gaps: tuple[Gap, ...]

    @property
    def reason(self) -> str:
        """Why, in a few words."""
        return gaps_told(self.gaps)

    @property
    def told(self) -> str:
        """``Not stated: …``, or that it does not apply."""
        if self.reason.startswith(NOT_APPLICABLE):
            return f"{capital(self.reason)}."
        return f"Not stated: {self.reason}."


Entry = Said | Empty


def entry(*parts: Statement | Gap | None) -> Entry:
    """The entry of statements and gaps; only gaps make an empty one, which tells all of them."""
    statements = tuple(part for part in parts if isinstance(part, Statement))
    gaps = tuple(part for part in parts if isinstance(part, Gap))
    if statements:
        return Said(statements, gaps)
    return Empty(gaps)


def gaps_told(gaps: Sequence[Gap]) -> str:
    """``developer, contact: the owner has not typed it``: what is missing, by reason."""
    by_reason: dict[str, list[str]] = {}
    for gap in gaps:
        by_reason.setdefault(gap.reason, []).extend([gap.about] if gap.about else [])
    return "; ".join(
        f"{', '.join(parts)}: {reason}" if parts else reason for reason, parts in by_reason.items()
    )


def capital(words: str) -> str:
    """With a capital at the beginning, and the others as they are."""
    return words[:1].upper() + words[1:]


def first_of(found: Entry, about: str) -> str | None:
    """The text of a field's statements about one of its parts; None where it says nothing of it."""
    if isinstance(found, Empty):
        return None
    texts = [one.text for one in found.statements if one.about == about]
    return "\n\n".join(texts) or None


def missing_of(found: Entry, about: str) -> str:
    """Why a field says nothing of one of its parts."""
    return "; ".join(gap.reason for gap in found.gaps if gap.about == about) or (
        found.reason if isinstance(found, Empty) else ""
    )
