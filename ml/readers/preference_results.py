"""What an analysis of preferences between generators says, as types.

No real image is in such a study. Of each contest, which is of two generators, every share is that
of the pairs in which the image of its ``first`` generator was named as the more real: 0.5 where
neither is preferred. Figures are `ml.statistics.figure.Figure`; what cannot be had is a `Refused`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml.readers.choice_results import ChoiceAmended, ChoicePrimary, ChoiceVerdict, OwnChoices
from ml.readers.results import MeanVerdict, Refused, Secondary, Share, Unsent
from ml.statistics.figure import Figure
from ml.statistics.mrmc import Analysis
from ml.statistics.trends import Times


@dataclass(frozen=True)
class PreferredOfPart:
    """The pairs of one lesion class."""

    name: str
    preferred: Share


@dataclass(frozen=True)
class PreferencesOfReader:
    """One reader in one contest, from first presentations but for ``own``.

    ``preferred`` is the share of pairs in which the first generator was preferred, with Wilson's
    and the exact interval; ``interval`` the same with the one that the verdict takes. ``left`` is
    the share of answers on the left.
    """

    reader: str
    n: int
    preferred: Share
    interval: Figure
    left: Figure
    verdict: ChoiceVerdict
    by_class: tuple[PreferredOfPart, ...]
    own: OwnChoices | None


@dataclass(frozen=True)
class PreferencesAcross:
    """All readers of one contest together, with random pairs.

    ``verdict`` is None where none is given, and ``no_verdict`` says why. ``left_out`` names who
    read fewer than two pairs of it, or pairs of one patient alone.
    """

    left_out: tuple[str, ...]
    random: Analysis | Refused
    fixed: Analysis | Refused
    verdict: MeanVerdict | None
    no_verdict: str | None


@dataclass(frozen=True)
class Contest:
    """Two generators: ``first`` is the one whose name comes first."""

    first: str
    second: str
    pairs: int
    readers: tuple[PreferencesOfReader, ...]
    across: PreferencesAcross


@dataclass(frozen=True)
class Strength:
    """A generator in the model of Bradley & Terry: ``preferred`` in so many of ``shown`` answers.

    ``strength`` is a logarithm, 0 for the mean of the generators; the difference of two is the log
    odds of their contest. Its interval resamples readers and pairs.
    """

    generator: str
    preferred: int
    shown: int
    strength: Figure


@dataclass(frozen=True)
class CommonScale:
    """All generators, by name, on one scale."""

    strengths: tuple[Strength, ...]


@dataclass(frozen=True)
class PreferringReader:
    """How one reader answered, whatever the contest: the share on the left, and the time."""

    reader: str
    n: int
    left: Figure
    time: Times | None


@dataclass(frozen=True)
class PreferenceCounts:
    """What was analysed; ``contests`` is “first | second” → pairs, ``late`` as in
    `ml.readers.shown.Shown`."""

    readers: int
    pairs: int
    generators: tuple[str, ...]
    contests: Mapping[str, int]
    classes: Mapping[str, int]
    readings: int
    repeats: int
    practice_left_out: int
    unanswered_left_out: int
    late: int = 0


@dataclass(frozen=True)
class PreferenceResult:
    """The whole result of a study of preferences.

    ``summary`` are the sentences of `ml.readers.preference_words.sentences` in one; ``methods`` is
    a paragraph ready to paste. ``scale`` is None for two generators: their contest says all.
    ``primary`` is None where no hypothesis was named before; ``amended`` is what later rules would
    say, ``secondary`` the other hypotheses. ``least_other_side`` is the share of answers on a
    reader's less named side that a verdict needs; ``unsent`` as in `ml.readers.results.Result`.
    """

    summary: str
    margin: float
    least_other_side: float
    preferences: PreferenceCounts
    primary: ChoicePrimary | None
    amended: tuple[ChoiceAmended, ...]
    contests: tuple[Contest, ...]
    scale: CommonScale | Refused | None
    readers: tuple[PreferringReader, ...]
    secondary: tuple[Secondary, ...]
    warnings: tuple[str, ...]
    methods: str
    unsent: Unsent | None = None
