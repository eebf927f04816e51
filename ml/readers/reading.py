"""What readers answered, typed, and the blocks of ratings that the analyses take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ml.readers.hypothesis import Hypothesis, Measure, Missing, Multiplicity
from ml.readers.shown import Shown, in_order
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Rating, Ratings
from ml.statistics.scale_use import ScaleRule


@dataclass(frozen=True)
class Reading:
    """One reader's answer to one image.

    ``case`` is the image (the same for all readers), ``rating`` 1 certainly real … 6 certainly
    synthetic (None: not answered), ``generator`` None for a real image, ``patient`` whom a real
    ROI comes from. ``lesion_class`` is the truth and ``answered_class`` the reader's class.
    Trials are ordered by ``session``, then ``position``. ``unsent``: it was answered without its
    picture ever having been sent to the reader.
    """

    reader: str
    case: str
    synthetic: bool
    rating: int | None
    generator: str | None = None
    position: int = 0
    session: int = 1
    is_repeat: bool = False
    is_practice: bool = False
    patient: str | None = None
    lesion_class: str | None = None
    answered_class: str | None = None
    class_confidence: int | None = None
    reasons: tuple[str, ...] = ()
    active_ms: int | None = None
    # no part of its text: the digest of what was analysed is over the texts of earlier versions too
    unsent: bool = field(default=False, repr=False)

    @property
    def cluster(self) -> str:
        """Images of one patient belong together; any other image stands alone."""
        return f"patient {self.patient}" if self.patient else f"image {self.case}"


@dataclass(frozen=True)
class Protocol:
    """What was fixed before reading began, as far as the analysis needs it.

    ``margin`` around an area of 0.5 counts as equivalent; ``scale`` is the number of points of
    the answer (even: its upper half says "synthetic"; odd: it has a middle, and only areas are to
    be had); ``least_readers`` are needed before anything is said about other readers.
    ``scale_rule`` says from where on a reader used the scale, which a verdict needs;
    ``scale_rule_in_protocol`` is False where the protocol did not fix it and the default stands in.
    ``network`` gives the network's class per image from folds that did not train on it;
    ``hypothesis`` is the primary one, ``multiplicity`` the rule for the others and ``missing`` the
    plan for missing answers, None where none was named; ``measure`` is what hypotheses call the
    area; ``resamples`` 0 leaves bootstrap intervals out. ``unsent_rule_in_protocol`` is False where
    the protocol did not fix that answers to pictures which were never sent are left out.
    """

    margin: float = 0.10
    scale: int = 6
    classes: tuple[str, ...] = ()
    least_readers: int = 3
    scale_rule: ScaleRule = field(default_factory=ScaleRule)
    scale_rule_in_protocol: bool = True
    resamples: int = 2000
    seed: int = 0
    network: Mapping[str, str] = field(default_factory=dict)
    hypothesis: Hypothesis | None = None
    multiplicity: Multiplicity | None = None
    missing: Missing | None = None
    measure: Measure = Measure.AUC
    unsent_rule_in_protocol: bool = True
    network_note: str = "no out-of-fold predictions of a network for these images"

    def __post_init__(self) -> None:
        if not 0 < self.margin < 0.5:
            raise ReadersError(f"The margin must lie between 0 and 0.5, not {self.margin}.")
        if self.scale < 2:
            raise ReadersError(f"The scale needs at least two points, not {self.scale}.")
        if self.least_readers < 2:
            raise ReadersError("At least 2 readers are needed to speak of other readers.")

    @property
    def has_sides(self) -> bool:
        """Whether every rating falls on the side of real or of synthetic."""
        return self.scale % 2 == 0

    def says_synthetic(self, rating: int) -> bool:
        """Whether a rating, 1 … ``scale``, calls the image synthetic: the upper half does.

        Raises:
            ReadersError: the scale has a middle.
        """
        if not self.has_sides:
            raise ReadersError(
                f"On a scale of {self.scale} points the middle one calls an image neither real nor "
                "synthetic; this needs a scale with an even number of points."
            )
        return rating > self.scale / 2


@dataclass(frozen=True)
class Presentations(Shown[Reading]):
    """What readers were shown of single images."""

    @property
    def generators(self) -> tuple[str, ...]:
        """Whose synthetic images were answered, by name; ``synthetic`` where none is named."""
        return tuple(sorted({r.generator or "synthetic" for r in self.first if r.synthetic}))


def counted(readings: Iterable[Reading]) -> list[Reading]:
    """The readings without answers to pictures that were never sent: nobody can have seen those."""
    return [
        replace(one, rating=None, answered_class=None, class_confidence=None, reasons=())
        if one.unsent
        else one
        for one in readings
    ]


def present(readings: Iterable[Reading], scale: int = 6) -> Presentations:
    """Sort readings into first presentations and repeats, as `ml.readers.shown.in_order`.

    Raises:
        ReadersError: a rating beyond the scale, or an image that is real in one reading and
            synthetic in another.
    """
    truth: dict[str, tuple[bool, str | None]] = {}

    def check(reading: Reading) -> None:
        if reading.rating is None or not 1 <= reading.rating <= scale:
            raise ReadersError(
                f"Reader {reading.reader} rated {reading.case} {reading.rating}; "
                f"the scale goes from 1 to {scale}."
            )
        told = (reading.synthetic, reading.generator)
        if truth.setdefault(reading.case, told) != told:
            raise ReadersError(f"Image {reading.case} has two truths among the readings.")

    shown = in_order(readings, lambda one: one.rating is not None, check)
    return Presentations(shown.first, shown.repeats, shown.practice, shown.unanswered, shown.late)


def ratings(
    readings: Sequence[Reading], treatment: str = "vtt", correct: Protocol | None = None
) -> Ratings:
    """All images under one treatment; with ``correct`` the scores are 1 right and 0 wrong.

    Raises:
        ReadersError: no reading, or one image rated twice by a reader.
    """
    return _block(readings, [(treatment, None)], correct)


def ratings_by_generator(readings: Sequence[Reading], correct: Protocol | None = None) -> Ratings:
    """One treatment per generator: its synthetic images with all real ones.

    Every generator shares the same readings of the real images; no synthetic image is shared.
    """
    names = sorted({r.generator or "synthetic" for r in readings if r.synthetic})
    return _block(readings, [(name, name) for name in names], correct)


def _block(
    readings: Sequence[Reading],
    treatments: Sequence[tuple[str, str | None]],
    correct: Protocol | None,
) -> Ratings:
    rows = []
    for treatment, generator in treatments:
        for r in readings:
            if r.rating is None:
                continue
            if generator is not None and r.synthetic and (r.generator or "synthetic") != generator:
                continue
            score = float(r.rating)
            if correct is not None:
                score = float(correct.says_synthetic(r.rating) == r.synthetic)
            rows.append(Rating(r.reader, treatment, r.case, int(r.synthetic), score))
    return Ratings.of(rows, {r.case: r.cluster for r in readings})
