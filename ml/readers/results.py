"""What an analysis of readings says, as types: of each reader, across readers, of generators.

Figures are `ml.statistics.figure.Figure`. What cannot be had is a `Refused` in its place. The JSON
form is that of `ml.ground.records`: the names here are the keys there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ml.ground import json_schema, records
from ml.ground.records import RecordError
from ml.readers.hypothesis import Claim, Missing, Whose
from ml.readers.shown import Image, Shown
from ml.statistics import roc
from ml.statistics.agreement import Agreement, EqualShares
from ml.statistics.figure import Figure
from ml.statistics.mrmc import Analysis
from ml.statistics.proportion import ReadersError
from ml.statistics.roc import Verdict
from ml.statistics.trends import Reason, Times

AnyShown = TypeVar("AnyShown", bound=Shown[Any])

VERSION = 1
"""Of the JSON form. It is not written: what has none is of the first."""


@dataclass(frozen=True)
class Refused:
    """Why a part cannot be had."""

    refused: str


@dataclass(frozen=True, kw_only=True)
class Share(Figure):
    """A proportion: Wilson's interval, the exact one, and the patients' where they repeat.

    ``count`` of ``n`` were right; ``exact`` and ``clustered`` are None where there is none.
    """

    exact: Figure | None
    clustered: Figure | None
    count: int


@dataclass(frozen=True)
class Majority:
    """What one constant answer reaches (0–1), in words, and the p of the accuracy against it."""

    value: float
    p: float | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Accuracy(Share):
    """An accuracy is never alone: the share of the more common kind stands beside it."""

    majority: Majority


LEVEL = 0.05
"""Of every test."""


@dataclass(frozen=True)
class Adjusted:
    """What the number of secondary hypotheses makes of a verdict, where the protocol names Holm.

    Attributes:
        hypotheses: how many are adjusted together.
        different, equivalent: p values after Holm; None of a claim that is the primary hypothesis,
            or has none.
        undone_different, undone_equivalent: its interval alone shows it, and the adjusted p does
            not.
    """

    hypotheses: int
    different: float | None
    equivalent: float | None
    undone_different: bool = False
    undone_equivalent: bool = False

    @property
    def of_difference(self) -> str:
        """Why a difference that its interval shows is none, in words; "" where that is not so."""
        return self._undone(self.different) if self.undone_different else ""

    @property
    def of_equivalence(self) -> str:
        """The same of equivalence."""
        return self._undone(self.equivalent) if self.undone_equivalent else ""

    def _undone(self, p: float | None) -> str:
        return f"not after Holm over {self.hypotheses} hypotheses, p = {p or 0.0:.3f}"


@dataclass(frozen=True)
class ReaderVerdict(Verdict):
    """A verdict, and the chance that so many images show equivalence for a guessing reader.

    Where ``adjusted`` stands, both answers go by the adjusted p values too.
    """

    power: float | None
    adjusted: Adjusted | None = None


@dataclass(frozen=True)
class CurvePoint:
    """A point of a ROC curve with Wilson's 95 % interval of either share, 0–1.

    ``threshold`` or more was called synthetic; None where nothing was.
    """

    threshold: float | None
    false_positive: float
    false_positive_low: float
    false_positive_high: float
    true_positive: float
    true_positive_low: float
    true_positive_high: float


@dataclass(frozen=True)
class RatingUse:
    """How often one rating was given to real and to synthetic images."""

    rating: int
    real: int
    synthetic: int


@dataclass(frozen=True)
class OfGenerator:
    """One generator's synthetic images, against all real ones."""

    generator: str
    auc: Figure
    sensitivity: Share


@dataclass(frozen=True)
class OfClass:
    """The images of one lesion class."""

    lesion_class: str
    auc: Figure
    sensitivity: Share
    specificity: Share


@dataclass(frozen=True)
class ClassTable:
    """The paper's table for one reader: lesion classes named right, on real and synthetic images.

    ``confusion`` counts rows of the truth and columns of the answer, both by ``classes``;
    ``against_network`` is None without a network's predictions.
    """

    real: Share
    synthetic: Share
    total: Share
    real_minus_synthetic: Figure | None
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    against_network: EqualShares | None


@dataclass(frozen=True)
class OwnAgreement:
    """A reader with themselves, on ``n`` images that were shown twice."""

    n: int
    rating: Agreement
    call: Agreement
    same_rating: Figure
    lesion_class: Agreement | None


@dataclass(frozen=True)
class ReaderResult:
    """Every figure of one reader, from first presentations but for ``intra_reader``."""

    reader: str
    n: int
    real: int
    synthetic: int
    auc: Figure
    verdict: ReaderVerdict
    roc: tuple[CurvePoint, ...]
    accuracy: Accuracy
    sensitivity: Share
    specificity: Share
    d_prime: Figure
    criterion: Figure
    rating_use: tuple[RatingUse, ...]
    by_generator: tuple[OfGenerator, ...]
    by_class: tuple[OfClass, ...]
    lesion_class: ClassTable | None
    intra_reader: OwnAgreement | None
    learning: Figure
    second_half_minus_first: Figure
    time: Times | None


@dataclass(frozen=True)
class MeanVerdict:
    """Whether the mean area of readers like these is not 0.5, or within 0.5 ± ``margin``.

    The latter by its 90 % interval, ``equivalence_low`` to ``equivalence_high``, no narrower than
    that of these very readers; ``reason`` says why it shows nothing although it lies within.
    Where ``adjusted`` stands, what is no primary hypothesis goes by its p values too.
    """

    margin: float
    equivalence_low: float
    equivalence_high: float
    different_from_chance: bool
    equivalent_to_chance: bool
    reason: str | None = None
    adjusted: Adjusted | None = None


@dataclass(frozen=True)
class Unsent:
    """Answers to pictures that the server had not sent to their reader, practice left out.

    They are in no figure but those that say so. ``readers`` is reader → how many of the ``answers``
    in all; ``in_protocol``: the protocol fixed that they are left out.
    """

    readers: Mapping[str, int]
    answers: int
    in_protocol: bool

    @classmethod
    def of(cls, readings: Iterable[tuple[str, bool]], *, in_protocol: bool) -> Unsent | None:
        """From (reader, whether unsent) of every answer; None where all were sent."""
        every = list(readings)
        found = Counter(reader for reader, unsent in every if unsent)
        return cls(dict(found), len(every), in_protocol) if found else None

    @property
    def sentence(self) -> str:
        """What became of them, with a full stop."""
        said = ", ".join(f"{name} {count}" for name, count in self.readers.items())
        rule = "" if self.in_protocol else ", by a rule that was not part of the protocol"
        return (
            f"{sum(self.readers.values())} of {self.answers} answers came to pictures that the "
            f"server had not sent to their reader ({said}), so that nobody can have looked at "
            f"them. They are left out of every figure and verdict{rule}."
        )

    @staticmethod
    def apart(unsent: Unsent | None, shown: AnyShown) -> AnyShown:
        """What was shown, where trials without an answer are told apart from these answers."""
        if unsent is None:
            return shown
        return replace(shown, unanswered=shown.unanswered - sum(unsent.readers.values()))

    @staticmethod
    def first(unsent: Unsent | None, warnings: tuple[str, ...]) -> tuple[str, ...]:
        """Warnings with what became of these answers at their head."""
        return warnings if unsent is None else (unsent.sentence, *warnings)


@dataclass(frozen=True)
class AppliedRule:
    """From where on a reader used the scale, and whether the protocol fixed that.

    ``least_off`` of the answers (0–1) off the commonest rating, ``least_ratings`` ratings in use.
    """

    least_off: float
    least_ratings: int
    in_protocol: bool


@dataclass(frozen=True)
class Across:
    """All readers together: random ones, these very ones, and shares correct.

    ``left_out`` names who read fewer than five images of a kind; ``verdict`` is None without an
    analysis of random readers, or where one of them did not use the scale; ``no_verdict`` says why.
    """

    left_out: tuple[str, ...]
    fixed: Analysis | Refused
    random: Analysis | Refused
    correct: Analysis | Refused
    verdict: MeanVerdict | None
    no_verdict: str | None = None


@dataclass(frozen=True)
class BetweenGenerators:
    """Generators compared on the shared real images.

    ``left_out`` names who read fewer than five images of a kind of one of them. Where one of the
    others did not use the scale there is no p, and ``no_verdict`` says why.
    """

    random: Analysis | Refused
    fixed: Analysis | Refused
    correct: Analysis | Refused
    left_out: tuple[str, ...] = ()
    no_verdict: str | None = None


@dataclass(frozen=True)
class ClassAgreement(Agreement):
    """Of lesion classes: also how often both were right, and how often alike but wrong."""

    both_correct: int
    agreed_but_wrong: int


@dataclass(frozen=True)
class Pair:
    """Two readers on the ``n`` images that both answered."""

    readers: tuple[str, str]
    n: int
    call: Agreement
    rating: Agreement
    correct: EqualShares
    lesion_class: ClassAgreement | None


@dataclass(frozen=True)
class AgreementOfReaders:
    """Every pair of readers, and all together: Fleiss' κ, Krippendorff's α, Cochran's Q."""

    pairs: tuple[Pair, ...]
    fleiss_call: Figure | None
    alpha_rating: Figure | None
    fleiss_class: Figure | None
    alpha_class: Figure | None
    cochran: EqualShares | None


@dataclass(frozen=True)
class NetworkAccuracy:
    """A network's classes on the same images, out of fold."""

    real: Share
    synthetic: Share
    total: Share
    images_without_prediction: int


@dataclass(frozen=True)
class LesionClass:
    """Lesion classes were asked for; the readers' tables stand in their own results."""

    network: NetworkAccuracy | Refused


@dataclass(frozen=True)
class Counts:
    """What was analysed. ``clustered``: several images of one kind come from one patient;
    ``late``: as in `ml.readers.shown.Shown`."""

    readers: int
    images: int
    real: int
    synthetic: int
    generators: Mapping[str, int]
    classes: Mapping[str, int]
    patients: int | None
    clustered: bool
    readings: int
    repeats: int
    practice_left_out: int
    unanswered_left_out: int
    late: int = 0

    @classmethod
    def of(cls, shown: Shown[Image]) -> Counts:
        """From what was shown of single images, whatever was asked of them."""
        images = {one.case: one for one in shown.first}
        real = [one for one in images.values() if not one.synthetic]
        patients = {one.patient for one in real if one.patient}
        return cls(
            readers=len(shown.readers),
            images=len(images),
            real=len(real),
            synthetic=len(images) - len(real),
            generators=dict(
                Counter(one.generator or "synthetic" for one in images.values() if one.synthetic)
            ),
            classes=dict(Counter(one.lesion_class for one in images.values() if one.lesion_class)),
            patients=len(patients) or None,
            clustered=roc.has_repeats(
                [int(one.synthetic) for one in images.values()],
                [one.cluster for one in images.values()],
            ),
            readings=len(shown.first),
            repeats=len(shown.repeats),
            practice_left_out=shown.practice,
            unanswered_left_out=shown.unanswered,
            late=shown.late,
        )


@dataclass(frozen=True)
class Tested:
    """One test of a hypothesis, on some of the readings.

    Attributes:
        analysis: which readings.
        readers, images: how many; None where nothing could be tested.
        value, low, high: the mean area (or the difference of two generators') with its 95 %
            interval, 0–1.
        low90, high90: of a mean area, the 90 % interval that equivalence goes by.
        p: of a difference between generators.
        holds: whether it holds; None where there is no verdict.
        note: why there is none, or why it does not hold although it seems to.
    """

    analysis: str
    readers: int | None
    images: int | None
    value: float | None
    low: float | None
    high: float | None
    low90: float | None
    high90: float | None
    p: float | None
    holds: bool | None
    note: str | None


@dataclass(frozen=True)
class Primary:
    """The primary hypothesis as a statement, tested as ``planned``, then otherwise.

    The ``sensitivity`` analyses decide nothing. ``missing`` is the plan for missing answers.
    """

    hypothesis: str
    claim: Claim
    whose: Whose
    generator: str
    missing: Missing
    planned: Tested
    sensitivity: tuple[Tested, ...]


@dataclass(frozen=True)
class Secondary:
    """A secondary hypothesis: p, and after the family's adjustment; None where there is none.

    ``holds`` goes by the adjusted p below 0.05, None where nothing is adjusted or no verdict is
    given: then it is exploratory.
    """

    hypothesis: str
    p: float | None
    adjusted: float | None
    holds: bool | None


@dataclass(frozen=True)
class Amended:
    """What would be said by rules that ``version`` of the protocol changed after the first answer.

    ``equivalent`` is reader → whether equivalent to chance within ``margin``, None for no verdict;
    ``mean_equivalent`` the same of readers like these.
    """

    version: int
    margin: float
    hypothesis: str | None
    planned: Tested | None
    equivalent: Mapping[str, bool | None]
    mean_equivalent: bool | None


@dataclass(frozen=True)
class Result:
    """The whole result of a study.

    ``summary`` are the sentences of `ml.readers.words.sentences` in one; ``methods`` is a paragraph
    ready to paste; ``primary`` is None where none was named, and in results of before there was
    one; ``amended`` is what later rules would say, beside it; ``secondary`` are the other
    hypotheses, where a primary one was named. ``between_generators`` is None for
    fewer than two generators; ``scale_rule`` in results of before there was one. ``unsent`` is
    None where every picture was sent, and in results of before they were left out.
    """

    summary: str
    margin: float
    counts: Counts
    readers: tuple[ReaderResult, ...]
    across: Across
    between_generators: BetweenGenerators | Refused | None
    agreement: AgreementOfReaders | Refused
    lesion_class: LesionClass | Refused
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...]
    methods: str
    primary: Primary | None = None
    amended: tuple[Amended, ...] = ()
    secondary: tuple[Secondary, ...] = ()
    scale_rule: AppliedRule | None = None
    unsent: Unsent | None = None

    def to_json(self) -> Any:
        """The JSON form, as it is kept and exported."""
        return records.to_json(self)

    @classmethod
    def from_json(cls, data: Any) -> Result:
        """The result whose ``to_json`` is ``data``.

        Raises:
            ReadersError: another version, or something that is missing, unknown or of another
                type, by its place.
        """
        data = dict(data) if isinstance(data, dict) else data
        version = data.pop("version", VERSION) if isinstance(data, dict) else VERSION
        if version != VERSION:
            raise ReadersError(
                f"This analysis is of version {version!r}; this program reads {VERSION}. Use the "
                "program that wrote it, or a newer one."
            )
        try:
            return records.from_json(cls, data)
        except RecordError as error:
            raise ReadersError(f"This is no analysis of readings: {error}") from error


def schema() -> json_schema.Schema:
    """JSON Schema (draft 2020-12) of ``Result.to_json``."""
    return json_schema.of(Result, "analysis of the readings of a reader study")
