"""What an analysis of two-alternative forced choice says, as types.

Figures are `ml.statistics.figure.Figure`; what cannot be had is a `Refused` in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml.readers.hypothesis import Missing
from ml.readers.results import Adjusted, MeanVerdict, Refused, Secondary, Share, Unsent
from ml.statistics.figure import Figure
from ml.statistics.mrmc import Analysis
from ml.statistics.trends import Times


@dataclass(frozen=True)
class ChoiceVerdict:
    """Whether a share of pairs named right is not 0.5, or within 0.5 ± ``margin``.

    Both verdicts are None where none is given, and ``reason`` says why. ``p`` is the exact binomial
    one against 0.5, ``equivalence_p`` that of two one-sided exact tests; both None where pairs of
    one patient belong together, because they take pairs for independent. ``power`` is the chance
    that so many pairs show equivalence for a guessing reader. Where ``adjusted`` stands, both
    verdicts go by its p values too.
    """

    margin: float
    p: float | None
    equivalence_interval: Figure
    equivalence_p: float | None
    different_from_chance: bool | None
    equivalent_to_chance: bool | None
    reason: str | None
    power: float | None
    adjusted: Adjusted | None = None


@dataclass(frozen=True)
class ChoicesOfPart:
    """One lesion class, or one generator's synthetic images."""

    name: str
    correct: Share


@dataclass(frozen=True)
class OwnChoices:
    """A reader with themselves, on ``n`` pairs that were shown twice with their sides changed.

    ``same_image``: the same image was named; ``same_side``: the same side was, another image.
    """

    n: int
    same_image: Figure
    same_side: Figure


@dataclass(frozen=True)
class ChoicesOfReader:
    """Every figure of one reader, from first presentations but for ``own``.

    ``correct`` is the share of pairs in which the synthetic image was named, with Wilson's, the
    exact and the patients' interval. ``primary`` is the same with the interval that the verdict
    takes: the exact one, widened to hold the patients'. ``left`` is the share of answers on the
    left.
    """

    reader: str
    n: int
    correct: Share
    primary: Figure
    d_prime: Figure
    left: Figure
    verdict: ChoiceVerdict
    by_class: tuple[ChoicesOfPart, ...]
    by_generator: tuple[ChoicesOfPart, ...]
    own: OwnChoices | None
    learning: Figure
    second_half_minus_first: Figure
    time: Times | None


@dataclass(frozen=True)
class ChoicesAcross:
    """All readers together: random ones and these very ones, with random pairs.

    ``d_prime`` is that of the mean share of random readers, else of these readers. ``verdict`` is
    None where none is given, and ``no_verdict`` says why. ``left_out`` names who read fewer than
    two pairs, or pairs of one patient alone.
    """

    left_out: tuple[str, ...]
    random: Analysis | Refused
    fixed: Analysis | Refused
    d_prime: Figure
    verdict: MeanVerdict | None
    no_verdict: str | None


@dataclass(frozen=True)
class ChoiceTested:
    """One test of a hypothesis, on some of the readings.

    Attributes:
        analysis: which readings.
        readers: how many are in it.
        value, low, high: the mean share (or the difference of two generators') with its 95 %
            interval, 0–1; None where there is none.
        low90, high90: of a mean share, the 90 % interval that equivalence goes by.
        p: of a difference between generators.
        holds: whether the hypothesis holds; None where there is no verdict, and ``note`` says why.
    """

    analysis: str
    readers: int
    value: float | None
    low: float | None
    high: float | None
    low90: float | None
    high90: float | None
    p: float | None
    holds: bool | None
    note: str | None


@dataclass(frozen=True)
class ChoicePrimary:
    """The primary hypothesis as a statement, tested as ``planned``, then otherwise.

    ``missing`` is the plan for missing answers. The ``sensitivity`` analyses decide nothing.
    """

    hypothesis: str
    missing: Missing
    planned: ChoiceTested
    sensitivity: tuple[ChoiceTested, ...]


@dataclass(frozen=True)
class ChoiceAmended:
    """What rules would say that ``version`` of the protocol changed after the first answer."""

    version: int
    margin: float
    primary: ChoicePrimary | None


@dataclass(frozen=True)
class ChoiceCounts:
    """What was analysed. ``clustered``: several real images come from one patient; ``late``: as in
    `ml.readers.shown.Shown`."""

    readers: int
    pairs: int
    generators: Mapping[str, int]
    classes: Mapping[str, int]
    patients: int | None
    clustered: bool
    readings: int
    repeats: int
    practice_left_out: int
    unanswered_left_out: int
    late: int = 0


@dataclass(frozen=True)
class ChoiceResult:
    """The whole result of a study of two-alternative forced choice.

    ``summary`` are the sentences of `ml.readers.choice_words.sentences` in one; ``methods`` is a
    paragraph ready to paste; ``between_generators`` is None for fewer than two generators.
    ``primary`` is None where no hypothesis was named before; ``amended`` is what later rules would
    say, beside it. ``least_other_side`` is the share of
    answers on a reader's less named side that a verdict needs; ``secondary`` are the other
    hypotheses, where a primary one was named; ``unsent`` as in `ml.readers.results.Result`.
    """

    summary: str
    margin: float
    least_other_side: float
    choices: ChoiceCounts
    primary: ChoicePrimary | None
    amended: tuple[ChoiceAmended, ...]
    readers: tuple[ChoicesOfReader, ...]
    across: ChoicesAcross
    between_generators: Analysis | Refused | None
    warnings: tuple[str, ...]
    methods: str
    secondary: tuple[Secondary, ...] = ()
    unsent: Unsent | None = None
