"""Analyses: what a study's readings say, computed once after its Unblinding and kept."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import quantiles

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now, serialise
from app.errors import Damaged
from app.models.ground.append_only import append_only
from app.models.ground.blob import Blob
from app.models.reader_studies import versions
from app.models.reader_studies.audit import details_of
from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.design import Design, SecondImages
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.stimulus import Source
from app.models.reader_studies.task import Part, Task
from app.models.reader_studies.unblinding import Unblinding
from app.models.study_results.answers import Answers, Line, reader_code
from app.models.study_results.held_out import Classify, HeldOut
from app.models.study_results.methods import paragraph
from app.models.study_results.times import ReaderTimes, marked_by_reader
from app.settings import VERSION
from ml.ground import records
from ml.ground.records import RecordError
from ml.leak_audit import second_reader
from ml.leak_audit.record import Audit
from ml.leak_audit.second_reader import SecondReader
from ml.readers import choice_words, grade_words, preference_words, unaware, words
from ml.readers.analysis import analyse
from ml.readers.choice import analyse_choices
from ml.readers.choice_results import ChoiceResult
from ml.readers.grade_results import GradeResult
from ml.readers.grades import GradedReading
from ml.readers.grading import analyse_grades
from ml.readers.pairs import PairReading
from ml.readers.preference import analyse_preferences
from ml.readers.preference_results import PreferenceResult
from ml.readers.reading import Protocol as Rules
from ml.readers.reading import Reading as PlainReading
from ml.readers.reading import counted, present
from ml.readers.results import Result
from ml.readers.unaware import UnawareResult, analyse_unaware
from ml.statistics.proportion import wilson_limits
from ml.statistics.scale_use import ScaleRule

RESAMPLES = 2000
"""Bootstrap samples of every interval that needs them."""

VERSION_OF_FORM = 1
"""Called ``format`` in the JSON of a kept analysis."""

_BLOCKS = 10


@append_only
class Analysis(Base):
    """Which analysis was kept for an Unblinding, by which version. Its JSON is a Blob."""

    __tablename__ = "analysis"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    unblinding_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("unblinding.id"), unique=True)
    digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"))
    version: Mapped[str] = mapped_column(sa.String(40))
    elapsed_s: Mapped[float]
    made_at: Mapped[datetime] = mapped_column(default=now)

    @staticmethod
    def kept(session: Session, unblinding: Unblinding) -> Analysis | None:
        """The analysis of an Unblinding, if it was computed before."""
        return session.scalars(
            sa.select(Analysis).where(Analysis.unblinding_id == unblinding.id)
        ).one_or_none()

    @staticmethod
    def keep(session: Session, unblinding_id: uuid.UUID, computed: Computed) -> Analysis:
        """Store an analysis; where another request was first, that one stays."""
        serialise(session, f"analysis {unblinding_id}")
        earlier = session.scalars(
            sa.select(Analysis).where(Analysis.unblinding_id == unblinding_id)
        ).one_or_none()
        if earlier is not None:
            return earlier
        row = Analysis(
            unblinding_id=unblinding_id,
            digest=Blob.store(session, computed.data, "application/json"),
            version=VERSION,
            elapsed_s=computed.elapsed_s,
        )
        session.add(row)
        session.flush()
        return row


@dataclass(frozen=True)
class Computed:
    """An analysis as bytes, and how long it took."""

    data: bytes
    elapsed_s: float


@dataclass(frozen=True)
class Network:
    """Which network named the classes of the images, and why it may, or why none did."""

    name: str | None
    note: str


@dataclass(frozen=True)
class Enrolled:
    """How far a reader got, and what they said of themselves; None where they were not asked."""

    reader: str
    trials: int
    answered: int
    finished: bool
    withdrawn: bool
    years: float | None
    subspecialty: str | None
    room: str | None


@dataclass(frozen=True)
class Span:
    """A value between two others."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Block:
    """``n`` trials in their order, ``first`` to ``last``: share right, and seconds per image.

    The share has Wilson's interval, the median of the seconds the quartiles.
    """

    first: int
    last: int
    n: int
    correct: Span
    seconds: Span


@dataclass(frozen=True)
class Curve:
    """One reader's trials in blocks."""

    reader: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Changed:
    """One thing that was amended, as it stood ``before`` and ``after``."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Amendment:
    """A version of the protocol after the opening: what, when, by whom, why.

    ``answers`` of ``trials`` had been given (practice and repeats too; None: not counted at the
    time); ``primary``: the study is judged by it, or a still later version, because nobody had
    answered.
    """

    version: int
    protocol_hash: str
    at: str
    by: str
    reason: str
    answers: int
    trials: int | None
    primary: bool
    changes: tuple[Changed, ...]


Found = Result | ChoiceResult | UnawareResult | GradeResult | PreferenceResult
"""What the analysis of a study's task says."""
Read = PlainReading | PairReading | GradedReading


@dataclass(frozen=True)
class Content:
    """A kept analysis.

    ``result`` is of the study's task. ``readings_sha256`` says which readings were analysed,
    ``version`` by which program, ``seed`` and ``resamples`` with which bootstrap.
    ``protocol_version`` is the one that the study is judged by, None in analyses that were kept
    before there was a choice: those went by the newest. ``program`` is a program that read the
    same images. ``times`` are the readers of whom the time of an answer is marked, None in analyses
    of before they were kept.
    """

    format: int
    study: str
    title: str
    protocol_hash: str
    unblinded_at: str
    version: str
    seed: int
    resamples: int
    readings_sha256: str
    network: Network
    enrolled: tuple[Enrolled, ...]
    result: Found
    curves: tuple[Curve, ...]
    protocol_version: int | None = None
    amendments: tuple[Amendment, ...] = ()
    program: SecondReader | None = None
    times: tuple[ReaderTimes, ...] | None = None

    @classmethod
    def read(cls, data: bytes) -> Content:
        """The analysis that was kept as these bytes.

        Raises:
            Damaged: another format, or something missing, unknown or of another type.
        """
        try:
            stored = json.loads(data)
            found = stored.get("format", VERSION_OF_FORM)
            if found != VERSION_OF_FORM:
                raise RecordError(f"its format is {found!r}, and this program reads 1.")
            # readers of the first analyses were not asked about themselves
            unasked = dict.fromkeys(("years", "subspecialty", "room"))
            enrolled = [unasked | one for one in stored["enrolled"]]
            return records.from_json(cls, {**stored, "format": found, "enrolled": enrolled})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(
                f"The kept analysis cannot be read: {error} Open it with the program that wrote "
                "it, or restore the database from a backup."
            ) from error

    def written(self) -> bytes:
        """The bytes that are kept and exported; the same analysis gives the same."""
        return json.dumps(
            records.to_json(self), allow_nan=False, sort_keys=True, ensure_ascii=False
        ).encode()


def seed_of(protocol: Protocol) -> int:
    """The seed of every bootstrap: the first 32 bits of the protocol's hash."""
    return int(protocol.digest[:8], 16)


def rules_of(answers: Answers, network: HeldOut, protocol: Protocol | None = None) -> Rules:
    """What was fixed before reading, as the analysis takes it; or by another ``protocol``.

    Where the protocol has no rule of when a scale was used, the default stands in and says so.
    """
    design = (protocol or answers.protocol).content.design
    intent = design.intent
    fixed = design.least_off is not None and design.least_ratings is not None
    return Rules(
        classes=answers.study.scheme.keys,
        resamples=RESAMPLES,
        seed=seed_of(answers.protocol),
        network=network.classes,
        network_note=network.note,
        margin=design.margin,
        hypothesis=intent.primary,
        multiplicity=intent.multiplicity,
        missing=intent.missing,
        measure=design.measure,
        scale_rule=scale_rule_of(design),
        scale_rule_in_protocol=fixed,
        unsent_rule_in_protocol=bool(design.leave_out_unsent),
    )


def scale_rule_of(design: Design) -> ScaleRule:
    """From where on a reader of the study used the scale."""
    default = ScaleRule()
    return ScaleRule(
        default.least_off if design.least_off is None else design.least_off,
        default.least_ratings if design.least_ratings is None else design.least_ratings,
    )


def compute(session: Session, answers: Answers, classify: Classify) -> Computed:
    """Analyse an unblinded study; the same readings give the same bytes."""
    begun = time.perf_counter()
    images = {answers.cases[one.id]: one for one in answers.stimuli}
    network = HeldOut(None, "the lesion class is not asked for")
    if answers.study.design.task is Task.ORIGIN:
        network = HeldOut.of(session, answers.study, images, classify)
    rules = rules_of(answers, network)
    later = {
        one.protocol.version: rules_of(answers, network, one.protocol)
        for one in answers.versions.late
    }
    readings, result = _analysed(session, answers, rules, later)
    content = Content(
        format=VERSION_OF_FORM,
        study=str(answers.study.id),
        title=answers.study.title,
        protocol_hash=answers.protocol.digest,
        unblinded_at=answers.unblinding.at.isoformat(timespec="seconds"),
        version=VERSION,
        seed=rules.seed,
        resamples=rules.resamples,
        readings_sha256=digest_of(readings),
        network=Network(network.name, network.note),
        enrolled=tuple(_enrolled(session, one, answers.lines) for one in answers.enrolments),
        result=result,
        curves=_curves(answers.lines),
        protocol_version=answers.protocol.version,
        amendments=tuple(_amendment(one) for one in answers.versions.amendments),
        program=_program(session, answers, rules.seed)
        if answers.study.design.task.shows_real
        else None,
        times=tuple(marked_by_reader(session, answers)),
    )
    return Computed(content.written(), time.perf_counter() - begun)


def marked_in(answers: Answers) -> frozenset[str] | None:
    """The images that the frozen leak audit marks amber, by case; None where it names none.

    An audit of before images were named, or none at all, does not tell.
    """
    frozen = answers.protocol.content.audit
    found = details_of(frozen) if frozen else None
    if not isinstance(found, Audit) or not found.pictures:
        return None
    marked = found.coloured()
    return frozenset(
        answers.cases[one.id] for one in answers.stimuli if one.pixels_digest in marked
    )


def _amendment(one: versions.Amendment) -> Amendment:
    return Amendment(
        version=one.protocol.version,
        protocol_hash=one.protocol.digest,
        at=one.protocol.frozen_at.isoformat(timespec="seconds"),
        by=one.protocol.frozen_by.name,
        reason=one.protocol.reason,
        answers=one.progress.answers,
        trials=one.progress.trials,
        primary=not one.late,
        changes=tuple(Changed(each.words, each.before, each.after) for each in one.changes),
    )


def _program(session: Session, answers: Answers, seed: int) -> SecondReader:
    """A program reads the study's own images, practice left out; of pairs also each pair."""
    place = {one.pixels_digest: k for k, one in enumerate(answers.stimuli)}
    return second_reader.read(
        [Blob.read(session, one.pixels_digest) for one in answers.stimuli],
        [one.truth == Source.SYNTHETIC for one in answers.stimuli],
        [
            f"patient {one.patient}" if one.patient else answers.cases[one.id]
            for one in answers.stimuli
        ],
        pairs=[
            (place[one], place[other])
            for one, other in answers.protocol.content.pairs
            if one in place and other in place  # those of the practice are not
        ],
        resamples=RESAMPLES,
        seed=seed,
    )


def _analysed(
    session: Session, answers: Answers, rules: Rules, later: Mapping[int, Rules]
) -> tuple[Sequence[Read], Found]:
    """What was analysed, and the analysis of the study's task."""
    if answers.study.design.task is Task.PREFERENCE:
        named = list(answers.choices())
        preferred = analyse_preferences(named, rules, later)
        said = preference_words.analysed(preferred, rules)
        methods = paragraph(session, answers, said, rules.seed)
        return named, replace(preferred, methods=methods)
    if answers.study.design.task.is_paired:
        choices = list(answers.choices())
        chosen = analyse_choices(choices, rules, later, _pairs_of(answers, marked_in(answers)))
        said = choice_words.analysed(chosen, rules.resamples, rules.seed)
        methods = paragraph(session, answers, said, rules.seed)
        return choices, replace(chosen, methods=methods)
    design = answers.study.design
    if design.task is Task.REALISM:
        graded = list(answers.grades())
        judged = analyse_grades(graded, design.graded, rules, later, marked_in(answers))
        said = grade_words.analysed(judged, rules)
        methods = paragraph(session, answers, said, rules.seed)
        return graded, replace(judged, methods=methods)
    if design.unaware:
        first = list(answers.readings(Part.UNAWARE))
        second = list(answers.readings(Part.TOLD))
        found = analyse_unaware(
            first, second, answers.noticed, rules, later, marked_in(answers),
            same_images=design.second_images is SecondImages.SAME,
        )  # fmt: skip
        rated = words.analysed(found.detection, present(counted(second), rules.scale), rules)
        methods = paragraph(session, answers, unaware.analysed(found, rated), rules.seed)
        return [*first, *second], replace(found, methods=methods)
    readings = list(answers.readings())
    result = analyse(readings, rules, later, marked_in(answers))
    said = words.analysed(result, present(counted(readings), rules.scale), rules)
    return readings, replace(result, methods=paragraph(session, answers, said, rules.seed))


def _pairs_of(answers: Answers, marked: frozenset[str] | None) -> frozenset[str] | None:
    """The pairs that show one of these images; None where they are not known."""
    if marked is None:
        return None
    return frozenset(one.case for one in answers.lines if marked & set(one.case.split("+")))


def digest_of(readings: Iterable[Read]) -> str:
    """SHA-256 over the readings, one line each: what exactly was analysed."""
    lines = sorted(f"{one!r}{' unsent' if one.unsent else ''}" for one in readings)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _enrolled(session: Session, enrolment: Enrolment, lines: Sequence[Line]) -> Enrolled:
    mine = [one for one in lines if one.reader == reader_code(enrolment.number)]
    own = [one for one in mine if not one.is_practice]
    conduct = Conduct.latest(session, enrolment.id)
    return Enrolled(
        reader=reader_code(enrolment.number),
        trials=len(own),
        answered=sum(one.reading is not None for one in own),
        finished=enrolment.finished_at is not None,
        withdrawn=enrolment.withdrawal is not None,
        years=conduct.years if conduct else None,
        subspecialty=conduct.subspecialty if conduct else None,
        room=conduct.room if conduct else None,
    )


def _curves(lines: Sequence[Line]) -> tuple[Curve, ...]:
    """Per reader: share correct and active seconds over blocks of the first presentations.

    Without blocks where nothing is right or wrong.
    """
    curves = []
    for reader in dict.fromkeys(line.reader for line in lines):
        mine = [
            line
            for line in lines
            if line.reader == reader
            and line.reading is not None
            and not line.unsent
            and line.correct is not None
            and line.trial.part is not Part.UNAWARE
            and not line.is_repeat
            and not line.is_practice
        ]
        size = max(10, -(-len(mine) // _BLOCKS))
        blocks = [mine[start : start + size] for start in range(0, len(mine), size)]
        curves.append(Curve(reader, tuple(_block(block) for block in blocks)))
    return tuple(curves)


def _block(lines: Sequence[Line]) -> Block:
    right = sum(bool(line.correct) for line in lines)
    seconds = sorted(line.reading.active_ms / 1000 for line in lines if line.reading)
    low, median, high = quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    return Block(
        first=lines[0].trial.position,
        last=lines[-1].trial.position,
        n=len(lines),
        correct=Span(right / len(lines), *wilson_limits(right, len(lines))),
        seconds=Span(median, low, high),
    )
