"""Unaware studies: diagnosis before readers know that images are synthetic, then real or synthetic.

The two parts are never pooled: the first says whether lesions are recognised as well on synthetic
images as on real ones, the second whether the images are told apart once one knows of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ml.readers import phrases
from ml.readers.analysis import analyse, lesion_class
from ml.readers.hypothesis import Measure
from ml.readers.phrases import percent
from ml.readers.reading import Protocol, Reading, counted
from ml.readers.results import ClassTable, LesionClass, Refused, Result, Unsent
from ml.readers.single import class_table
from ml.statistics import mrmc
from ml.statistics.figure import Figure
from ml.statistics.mrmc import Analysis
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Rating, Ratings

REAL, SYNTHETIC = "real", "synthetic"
_NOTHING = "No answer of the second part counts, so nothing can be said of it."


@dataclass(frozen=True)
class DiagnosisOfReader:
    """Lesion classes that one unaware reader named right."""

    reader: str
    n: int
    lesion_class: ClassTable


@dataclass(frozen=True)
class Diagnosis:
    """The first part. ``across`` compares real with synthetic over readers, both at random.

    ``lesion_class`` is a network's accuracy on the same images.
    """

    readers: tuple[DiagnosisOfReader, ...]
    across: Analysis | Refused
    lesion_class: LesionClass | Refused
    unanswered: int


@dataclass(frozen=True)
class Noticed:
    """How many readers were asked, before they were told, what struck them; and what they said.

    ``remarks`` is reader → text, of those who wrote any. Whether it is of synthetic images is for
    people to judge.
    """

    asked: int
    remarks: Mapping[str, str]


@dataclass(frozen=True)
class UnawareResult:
    """The whole result of an unaware study: both parts, and what was noticed unasked.

    ``summary`` are the sentences of `sentences` in one; ``methods`` is a paragraph ready to paste.
    ``unsent`` counts both parts.
    """

    summary: str
    margin: float
    diagnosis: Diagnosis
    noticed: Noticed
    detection: Result
    warnings: tuple[str, ...]
    methods: str
    unsent: Unsent | None = None


def analyse_unaware(
    first: Iterable[Reading],
    second: Iterable[Reading],
    noticed: Noticed,
    protocol: Protocol | None = None,
    later: Mapping[int, Protocol] | None = None,
    marked: Collection[str] | None = None,
    *,
    same_images: bool = True,
) -> UnawareResult:
    """The whole result.

    Args:
        first: the diagnoses; their ratings are None.
        second: the ratings after the debriefing.
        noticed: what readers said in between.
        later, marked: of the second part, as `ml.readers.analysis.analyse` takes them.
        same_images: both parts show the same ones.

    Raises:
        ReadersError: readings that contradict each other (see `ml.readers.reading.present`).
    """
    rules = replace(protocol or Protocol(), measure=Measure.SECOND_PART)
    one, two = list(first), list(second)
    diagnosis = diagnose(one, rules)
    detection = analyse(two, rules, later, marked)
    unsent = Unsent.of(
        [
            *((r.reader, r.unsent) for r in one if r.answered_class),
            *((r.reader, r.unsent) for r in two if r.rating is not None and not r.is_practice),
        ],
        in_protocol=rules.unsent_rule_in_protocol,
    )
    warnings = detection.warnings[1:] if detection.unsent else detection.warnings
    if diagnosis.readers:
        warnings = tuple(_NOTHING if said == phrases.NOTHING else said for said in warnings)
    if unsent is not None:
        warnings = (unsent.sentence, *warnings)
    found = UnawareResult("", rules.margin, diagnosis, noticed, detection, warnings, "", unsent)
    return replace(
        found,
        summary=" ".join(sentences(found)),
        methods=_methods(found, same_images=same_images),
    )


def diagnose(first: Iterable[Reading], rules: Protocol) -> Diagnosis:
    """The first part: lesion classes named right, on real and on synthetic images."""
    readings = counted(first)
    unsent = sum(one.unsent for one in readings)  # told apart from those without an answer
    given = [one for one in readings if one.answered_class and one.lesion_class]
    names = dict.fromkeys(one.reader for one in sorted(given, key=lambda one: one.reader))
    rows = []
    for name in names:
        mine = [one for one in given if one.reader == name]
        table = class_table(mine, rules)
        if table is not None:
            rows.append(DiagnosisOfReader(name, len(mine), table))
    return Diagnosis(
        tuple(rows),
        diagnose_others(given, rules),
        lesion_class(given, rules),
        len(readings) - len(given) - unsent,
    )


def compare(block: Ratings) -> Analysis:
    """Shares under the treatments real and synthetic, for readers at large.

    Raises:
        ReadersError: too few readers or images.
    """
    return mrmc.random_readers(block, mrmc.FigureOfMerit.MEAN, mrmc.CovarianceMethod.JACKKNIFE)


def diagnose_others(given: Sequence[Reading], rules: Protocol) -> Analysis | Refused:
    """Share of classes named right on real minus on synthetic images, for readers at large.

    Args:
        given: the answered ones.
    """
    readers = {one.reader for one in given}
    if len(readers) < rules.least_readers:
        return _too_few(len(readers), rules)
    rows = [
        Rating(
            one.reader, SYNTHETIC if one.synthetic else REAL, one.case, 1,
            float(one.answered_class == one.lesion_class),
        )
        for one in sorted(given, key=lambda one: (one.synthetic, one.case))
    ]  # fmt: skip
    try:
        block = Ratings.of(rows, {one.case: one.cluster for one in given})
        out = block.sparse()
        if len(out) == len(block.readers):
            return Refused("nobody named lesions of two patients on real and on synthetic images")
        who = f"{', '.join(out)}, who named lesions of fewer than two patients of a kind"
        if len(block.readers) - len(out) < rules.least_readers:
            return _too_few(len(block.readers) - len(out), rules, f", without {who}" if out else "")
        found = compare(block.without(out))
        return replace(found, warnings=(*found.warnings, f"Without {who}.")) if out else found
    except ReadersError as error:
        return Refused(str(error))


def _too_few(readers: int, rules: Protocol, without: str = "") -> Refused:
    noun = "reader" if readers == 1 else "readers"
    return Refused(
        f"{readers} {noun} cannot speak for other readers{without} (at least {rules.least_readers} "
        "are needed); the figures hold for these readers only"
    )


def _points(gap: Figure) -> str:
    low, high = gap.ends or (0.0, 0.0)
    said = f"{100 * gap.known:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    return said.replace("-", "−")


def _stopped(result: UnawareResult) -> list[str]:
    """Readers of the first part of whom no rating counts in the second, where others did."""
    rated = {one.reader for one in result.detection.readers}
    return [one.reader for one in result.diagnosis.readers if rated and one.reader not in rated]


def sentences(result: UnawareResult) -> list[str]:
    """What was found: diagnosis, what was noticed, then what the second part says."""
    said = []
    for one in result.diagnosis.readers:
        table = one.lesion_class
        if table.real.value is None or table.synthetic.value is None:
            continue
        gap = table.real_minus_synthetic
        said.append(
            f"Reader {one.reader}, unaware, named the lesion right in {percent(table.real.value)} "
            f"of real and {percent(table.synthetic.value)} of synthetic images"
            + (f": {_points(gap)}." if gap is not None else ".")
        )
    across = result.diagnosis.across
    if not isinstance(across, Refused) and across.differences:
        mean = across.differences[0]
        said.append(
            f"Readers like these: {_points(Figure(mean.value, mean.low, mean.high))} on "
            f"{mean.first} against {mean.second} images."
        )
    noticed = result.noticed
    if noticed.asked:
        said.append(
            f"Asked before they were told, {len(noticed.remarks)} of {noticed.asked} readers said "
            "that something struck them."
        )
    stopped = _stopped(result)
    if stopped:
        said.append(
            f"{', '.join(stopped)} of the first part gave no rating that counts in the second."
        )
    return [*said, f"After the debriefing: {result.detection.summary}"]


def analysed(result: UnawareResult, second: str) -> str:
    """How both parts were analysed; ``second`` says it of the second, in sentences or ""."""
    across = result.diagnosis.across
    parts = []
    if result.diagnosis.readers:
        others = (
            f"nothing is inferred for other readers: {across.refused}"
            if isinstance(across, Refused)
            else "over readers the Obuchowski–Rockette analysis of shares treats readers and "
            f"images as random ({across.covariance} covariances)"
        )
        parts.append(
            "First part, exploratory: shares of classes named right have Wilson and exact "
            f"intervals, their differences within a reader Newcombe's; {others}. "
            "An image that was not answered is in no share."
        )
    if second:
        parts.append(f"Second part: {second}")
    stopped = _stopped(result)
    if second and stopped:
        are = "is" if len(stopped) == 1 else "are"
        parts.append(
            f"{', '.join(stopped)}, who gave no rating that counts in it, {are} in none of its "
            "figures, whatever the plan for missing answers."
        )
    if second and result.diagnosis.readers:
        parts.insert(1, "The parts were not pooled.")
    return " ".join(parts)


def _methods(result: UnawareResult, *, same_images: bool) -> str:
    readers = result.diagnosis.readers
    if not readers:
        return result.detection.methods
    counts = "; ".join(f"{one.reader} {one.n}" for one in readers)
    read = "the same" if same_images else "other"
    return (
        f"In a first part {len(readers)} {'reader' if len(readers) == 1 else 'readers'} named the "
        f"lesion class of images ({counts}) without being told that some were synthetic. In a "
        f"second part, told so, they read {read} images and said how sure they were that each was "
        f"real or synthetic. {analysed(result, result.detection.methods)}"
    )
