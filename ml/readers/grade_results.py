"""What an analysis of graded realism says, as types.

Figures are `ml.statistics.figure.Figure`; what cannot be had is a `Refused` in its place. Every
area is the chance that a real image gets a higher grade than a synthetic one, ties counting half:
0.5 where readers find both as realistic.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml.ground import json_schema
from ml.readers.results import (
    Amended,
    AppliedRule,
    Counts,
    MeanVerdict,
    Primary,
    ReaderVerdict,
    Refused,
    Secondary,
    Unsent,
)
from ml.statistics.agreement import Agreement
from ml.statistics.figure import Figure
from ml.statistics.mrmc import Analysis
from ml.statistics.trends import Times


@dataclass(frozen=True)
class Distribution:
    """How often each grade, 1 first, was given to the images of a ``source``; n answers in all.

    ``source`` is ``real`` or a generator.
    """

    source: str
    n: int
    counts: tuple[int, ...]
    median: float


@dataclass(frozen=True)
class AreaOfPart:
    """The area of one generator's images, or of one lesion class."""

    name: str
    auc: Figure


@dataclass(frozen=True)
class OwnGrades:
    """A reader with themselves, on ``n`` images that were shown twice."""

    n: int
    grade: Agreement
    same_grade: Figure


@dataclass(frozen=True)
class GradesOfReader:
    """One reader's grades of one question, from first presentations but for ``own``."""

    reader: str
    n: int
    real: int
    synthetic: int
    distributions: tuple[Distribution, ...]
    auc: Figure
    verdict: ReaderVerdict
    by_generator: tuple[AreaOfPart, ...]
    by_class: tuple[AreaOfPart, ...]
    own: OwnGrades | None


@dataclass(frozen=True)
class GradesAcross:
    """All readers together: random ones and these very ones, with random images.

    ``left_out`` names who graded fewer than five images of a kind; ``verdict`` is None where none
    is given, and ``no_verdict`` says why.
    """

    left_out: tuple[str, ...]
    random: Analysis | Refused
    fixed: Analysis | Refused
    verdict: MeanVerdict | None
    no_verdict: str | None


@dataclass(frozen=True)
class GeneratorsGraded:
    """Generators compared by the areas of their images against the shared real ones."""

    random: Analysis | Refused
    fixed: Analysis | Refused
    left_out: tuple[str, ...]
    no_verdict: str | None


@dataclass(frozen=True)
class GradesAlike:
    """Two readers on the ``n`` images that both graded: κ with quadratic weights."""

    readers: tuple[str, str]
    n: int
    grade: Agreement


@dataclass(frozen=True)
class QuestionResult:
    """Everything of one question.

    ``distributions`` are over all readers, whose answers are not independent: counts, no intervals.
    ``between_generators`` is None for fewer than two generators. ``alpha`` is Krippendorff's, of
    ordinal grades.
    """

    text: str
    anchors: tuple[str, ...]
    distributions: tuple[Distribution, ...]
    readers: tuple[GradesOfReader, ...]
    across: GradesAcross
    between_generators: GeneratorsGraded | Refused | None
    agreement: tuple[GradesAlike, ...]
    alpha: Figure


@dataclass(frozen=True)
class GradingReader:
    """How one reader graded, whatever the question.

    ``all_alike`` is the share (0–1) of images that got one grade in every question; None where
    there is one question.
    """

    reader: str
    n: int
    all_alike: float | None
    time: Times | None


@dataclass(frozen=True)
class GradeResult:
    """The whole result of a study of graded realism.

    ``summary`` are the sentences of `ml.readers.grade_words.sentences` in one; ``methods`` is a
    paragraph ready to paste. ``primary`` is of the first question, None where no hypothesis was
    named; ``amended`` is what later rules would say of it; ``secondary`` are all others, one
    family over all questions. ``scale_rule`` holds for each question; ``unsent`` is as in
    `ml.readers.results.Result`.
    """

    summary: str
    margin: float
    grades: Counts
    questions: tuple[QuestionResult, ...]
    readers: tuple[GradingReader, ...]
    primary: Primary | None
    amended: tuple[Amended, ...]
    secondary: tuple[Secondary, ...]
    scale_rule: AppliedRule
    warnings: tuple[str, ...]
    methods: str
    unsent: Unsent | None = None


def schema() -> json_schema.Schema:
    """JSON Schema (draft 2020-12) of a `GradeResult`."""
    return json_schema.of(GradeResult, "analysis of a reader study of graded realism")
