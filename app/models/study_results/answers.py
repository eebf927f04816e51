"""Answers beside the truth: every trial of an unblinded study, with what was answered."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from app.models.checkpoint import Checkpoint
from app.models.reader_studies.debriefing import Remark
from app.models.reader_studies.delivery import Delivery
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.reading import Reading
from app.models.reader_studies.stimulus import Source, Stimulus
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.task import Part
from app.models.reader_studies.trial import Trial, TrialKind
from app.models.reader_studies.unblinded import Unblinded
from app.models.reader_studies.unblinding import Unblinding
from app.models.reader_studies.versions import Versions
from ml.readers.grades import GradedReading
from ml.readers.pairs import PairReading, Side
from ml.readers.reading import Reading as PlainReading
from ml.readers.unaware import Noticed


def reader_code(number: int) -> str:
    """The pseudonym of a study's k-th reader, as pages and exports name them."""
    return f"R{number}"


def generator_name(checkpoint: Checkpoint | None) -> str | None:
    """The generator that a checkpoint belongs to; None for a real image."""
    return None if checkpoint is None else checkpoint.generator


@dataclass(frozen=True)
class Line:
    """One trial with its truth; ``reading`` is the answer that counts, None where there is none.

    Of a pair ``stimulus`` is the one that is asked for (the synthetic one; of a preference that of
    the generator whose name comes first) and ``beside`` the other, ``asked`` is where the former
    stood, and ``case`` names both.
    ``earlier`` are the answers that it replaced, in their order. ``changes`` counts how often the
    answer was replaced, before and after it was committed. ``unsent``: it was answered, and its
    picture was never sent to the reader.
    """

    reader: str
    trial: Trial
    stimulus: Stimulus
    case: str
    generator: str | None
    reading: Reading | None
    earlier: tuple[Reading, ...]
    changes: int
    beside: Stimulus | None = None
    asked: Side | None = None
    unsent: bool = False

    @property
    def called(self) -> Source | None:
        """``real`` or ``synthetic``, as the reader called it; None where there is no answer."""
        if self.reading is None or self.reading.rating is None:
            return None
        return Source.SYNTHETIC if self.reading.called_synthetic else Source.REAL

    @property
    def correct(self) -> bool | None:
        """Whether that, or the side named of a pair, is the truth; None where there is neither."""
        return None if self.reading is None else self.is_right(self.reading)

    def is_right(self, reading: Reading) -> bool | None:
        """Whether an answer to this trial, such as an earlier one, names the truth.

        None in the first part of an unaware study, which asks for the class alone, and of grades
        and preferences: nothing is right or wrong about them.
        """
        if reading.grades is not None or self.is_preference:
            return None
        if self.asked is not None:
            return reading.choice == self.asked
        if self.trial.part is Part.UNAWARE:
            return None
        return reading.called_synthetic == (self.stimulus.truth == Source.SYNTHETIC)

    @property
    def is_preference(self) -> bool:
        """Whether both images of a pair are synthetic."""
        return self.beside is not None and self.beside.truth == Source.SYNTHETIC

    @property
    def patient(self) -> str | None:
        """Whom a real image, or the real one of a pair, comes from."""
        return self.stimulus.patient or (self.beside.patient if self.beside else None)

    @property
    def class_correct(self) -> bool | None:
        """Whether the class that the reader gave is the lesion's; None where none was given."""
        if self.reading is None or not self.reading.lesion_class:
            return None
        return self.reading.lesion_class == self.stimulus.lesion_class

    @property
    def is_repeat(self) -> bool:
        """Whether the reader had seen the same picture earlier in the study."""
        return self.trial.kind == TrialKind.REPEAT

    @property
    def is_practice(self) -> bool:
        """Whether it came before the study proper, with feedback; no analysis takes it."""
        return self.trial.kind == TrialKind.PRACTICE


@dataclass(frozen=True)
class Answers:
    """All trials of a study, reader by reader in their order of reading.

    ``cases`` are the codes of the images: i001, i002, … in the order of their SHA-256, and
    p001, … for those of the practice; a pair is called by both, i003+i017. ``stimuli`` are the
    study's own images, practice left out.
    """

    study: ReaderStudy
    unblinding: Unblinding
    versions: Versions
    enrolments: tuple[Enrolment, ...]
    stimuli: tuple[Stimulus, ...]
    cases: dict[uuid.UUID, str]
    lines: tuple[Line, ...]
    noticed: Noticed

    @classmethod
    def of(cls, session: Session, unblinded: Unblinded) -> Answers:
        """Load them."""
        study = unblinded.study
        stimuli = Stimulus.of_study(session, study.id)
        cases = _codes("i", stimuli) | _codes(
            "p", Stimulus.of_study(session, study.id, practice=True)
        )
        enrolments = Enrolment.of_study(session, study.id)
        given = _given(session, study.id)
        sent: Collection[uuid.UUID] | None = None
        if Delivery.kept_for(study.protocols[0]):
            sent = Delivery.of_study(session, study.id).keys()
        found = session.execute(
            sa.select(Trial, Enrolment.number)
            .join(Enrolment, Enrolment.id == Trial.enrolment_id)
            .where(Enrolment.study_id == study.id)
            .options(
                joinedload(Trial.stimulus).joinedload(Stimulus.checkpoint),
                joinedload(Trial.stimulus).joinedload(Stimulus.lesion),
                joinedload(Trial.right).joinedload(Stimulus.checkpoint),
                joinedload(Trial.right).joinedload(Stimulus.lesion),
            )
            .order_by(Enrolment.number, Trial.position)
        )
        lines = [
            _line(reader_code(number), trial, cases, given.get(trial.id, []), sent)
            for trial, number in found
        ]
        return cls(
            study,
            unblinded.unblinding,
            unblinded.versions,
            tuple(enrolments),
            tuple(stimuli),
            cases,
            tuple(lines),
            _noticed(session, enrolments if study.unaware else ()),
        )

    @property
    def protocol(self) -> Protocol:
        """The version that the study is judged by."""
        return self.versions.primary

    def by_image(self) -> dict[str, dict[str, Line]]:
        """Image, or pair, → reader → the answer to its first presentation.

        Of an unaware study those of the second part; `diagnoses` has those of the first.
        """
        found: dict[str, dict[str, Line]] = {}
        if not self.study.design.task.is_paired:
            found = {self.cases[one.id]: {} for one in self.stimuli}
        for line in self.lines:
            if not line.is_repeat and not line.is_practice and line.trial.part is not Part.UNAWARE:
                found.setdefault(line.case, {}).setdefault(line.reader, line)
        return found

    def diagnoses(self) -> dict[str, dict[str, Line]]:
        """Image → reader → what an unaware reader said of it in the first part."""
        found: dict[str, dict[str, Line]] = {}
        for line in self.lines:
            if line.trial.part is Part.UNAWARE:
                found.setdefault(line.case, {})[line.reader] = line
        return found

    def readings(self, part: Part | None = None) -> Iterator[PlainReading]:
        """Every trial as the analysis takes it; practice and repeats are marked as such.

        Args:
            part: of an unaware study: only its trials. By default those that are rated.
        """
        for line in self.lines:
            if line.trial.part is not (part or line.trial.part):
                continue
            if part is None and line.trial.part is Part.UNAWARE:
                continue
            reading, stimulus = line.reading, line.stimulus
            yield PlainReading(
                reader=line.reader,
                case=line.case,
                synthetic=stimulus.truth == Source.SYNTHETIC,
                rating=reading.rating if reading else None,
                generator=line.generator,
                position=line.trial.position,
                session=reading.session_no if reading else 1,
                is_repeat=line.is_repeat,
                is_practice=line.is_practice,
                patient=stimulus.patient,
                lesion_class=stimulus.lesion_class,
                answered_class=(reading.lesion_class or None) if reading else None,
                class_confidence=reading.class_confidence if reading else None,
                reasons=tuple(reading.reasons) if reading else (),
                active_ms=reading.active_ms if reading else None,
                unsent=line.unsent,
            )

    def grades(self) -> Iterator[GradedReading]:
        """Every trial of graded realism as the analysis takes it."""
        for line in self.lines:
            reading, stimulus = line.reading, line.stimulus
            yield GradedReading(
                reader=line.reader,
                case=line.case,
                synthetic=stimulus.truth == Source.SYNTHETIC,
                grades=tuple(reading.grades) if reading and reading.grades else None,
                generator=line.generator,
                position=line.trial.position,
                session=reading.session_no if reading else 1,
                is_repeat=line.is_repeat,
                is_practice=line.is_practice,
                patient=stimulus.patient,
                lesion_class=stimulus.lesion_class,
                active_ms=reading.active_ms if reading else None,
                unsent=line.unsent,
            )

    def choices(self) -> Iterator[PairReading]:
        """Every trial of pairs as the analysis takes it; practice and repeats are marked."""
        for line in self.lines:
            reading = line.reading
            assert line.asked is not None
            yield PairReading(
                reader=line.reader,
                case=line.case,
                asked=line.asked,
                answer=reading.choice if reading else None,
                generator=line.generator or "",
                other=generator_name(line.beside.checkpoint) if line.beside else None,
                position=line.trial.position,
                session=reading.session_no if reading else 1,
                is_repeat=line.is_repeat,
                is_practice=line.is_practice,
                patient=line.patient,
                lesion_class=line.stimulus.lesion_class,
                active_ms=reading.active_ms if reading else None,
                unsent=line.unsent,
            )


def _codes(letter: str, stimuli: Sequence[Stimulus]) -> dict[uuid.UUID, str]:
    width = max(3, len(str(len(stimuli))))
    return {one.id: f"{letter}{place:0{width}d}" for place, one in enumerate(stimuli, 1)}


def _noticed(session: Session, enrolments: Sequence[Enrolment]) -> Noticed:
    """What unaware readers said before they were told."""
    found = {one.number: Remark.of(session, one.id) for one in enrolments}
    given = {number: row.text for number, row in found.items() if row is not None}
    return Noticed(
        len(given), {reader_code(number): text for number, text in given.items() if text}
    )


def _given(session: Session, study_id: uuid.UUID) -> dict[uuid.UUID, list[Reading]]:
    """Trial → its Readings, the one that counts last."""
    found: dict[uuid.UUID, list[Reading]] = {}
    for reading in session.scalars(
        sa.select(Reading)
        .join(Enrolment, Enrolment.id == Reading.enrolment_id)
        .where(Enrolment.study_id == study_id)
        .order_by(Reading.revision)
    ):
        found.setdefault(reading.trial_id, []).append(reading)
    return found


def _line(
    reader: str,
    trial: Trial,
    cases: dict[uuid.UUID, str],
    given: list[Reading],
    sent: Collection[uuid.UUID] | None,
) -> Line:
    """``sent`` are the trials whose picture was sent; None where that was not kept."""
    stimulus, beside, asked = trial.stimulus, trial.right, None
    case = cases[stimulus.id]
    if beside is not None:
        asked = Side.LEFT if _first_of(stimulus, beside) is stimulus else Side.RIGHT
        stimulus, beside = trial.at(asked), trial.at(asked.other)
        case = "+".join(sorted((cases[stimulus.id], cases[beside.id])))
    return Line(
        reader=reader,
        trial=trial,
        stimulus=stimulus,
        case=case,
        generator=generator_name(stimulus.checkpoint),
        reading=given[-1] if given else None,
        earlier=tuple(given[:-1]),
        changes=sum(one.changes for one in given) + max(0, len(given) - 1),
        beside=beside,
        asked=asked,
        unsent=bool(given) and sent is not None and trial.id not in sent,
    )


def _first_of(one: Stimulus, other: Stimulus) -> Stimulus:
    """The one that is asked for: the synthetic one; of two the first by their generators."""
    if one.truth == other.truth:
        return min(one, other, key=lambda shown: generator_name(shown.checkpoint) or "")
    return one if one.truth == Source.SYNTHETIC else other
