"""Results: what a reader study found. There are none before its Unblinding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from app.models.enrolment import Enrolment
from app.models.reader_study import ReaderStudy
from app.models.reading import Reading
from app.models.stimulus import REAL, SYNTHETIC, Stimulus
from app.models.trial import Trial
from app.models.unblinding import Unblinding
from ml.readers.proportion import Interval, wilson
from ml.readers.roc import Verdict, verdict

COLUMNS = (
    "study_id",
    "protocol_hash",
    "reader",
    "position",
    "trial_id",
    "image_sha256",
    "truth",
    "kind",
    "generator",
    "seed",
    "patient",
    "lesion_class",
    "answer_class",
    "class_correct",
    "rating",
    "called",
    "correct",
    "answered_at_utc",
    "active_ms",
    "hidden_ms",
    "idle_ms",
    "changes",
)
"""Columns of the CSV: one row per answer."""


@dataclass(frozen=True)
class Line:
    """One answered trial with its truth."""

    reader: str
    trial: Trial
    stimulus: Stimulus
    reading: Reading

    @property
    def called(self) -> str:
        return SYNTHETIC if self.reading.called_synthetic else REAL

    @property
    def correct(self) -> bool:
        return self.called == self.stimulus.truth

    @property
    def class_correct(self) -> bool:
        return self.reading.lesion_class == self.stimulus.lesion_class


@dataclass(frozen=True)
class ReaderResult:
    """One reader's figures; None where nothing was answered that the figure is about.

    ``sensitivity``: synthetic called synthetic; ``specificity``: real called real. ``chance`` is
    the share of the larger source among the answered images: always answering it reaches that.
    """

    reader: str
    answered: int
    total: int
    accuracy: Interval | None
    sensitivity: Interval | None
    specificity: Interval | None
    class_on_real: Interval | None
    class_on_synthetic: Interval | None
    chance: float | None
    verdict: Verdict | None
    one_rating: bool
    active_min: float

    @classmethod
    def of(cls, reader: str, total: int, lines: list[Line]) -> ReaderResult:
        """The figures over one reader's answered trials."""
        real = [line for line in lines if line.stimulus.truth == REAL]
        synthetic = [line for line in lines if line.stimulus.truth == SYNTHETIC]
        judged: Verdict | None = None
        if real and synthetic:
            judged = verdict(
                [int(line.stimulus.truth == SYNTHETIC) for line in lines],
                [line.reading.rating for line in lines],
                clusters=[line.stimulus.patient or str(line.stimulus.id) for line in lines],
            )
        return cls(
            reader=reader,
            answered=len(lines),
            total=total,
            accuracy=_share(line.correct for line in lines),
            sensitivity=_share(line.correct for line in synthetic),
            specificity=_share(line.correct for line in real),
            class_on_real=_share(line.class_correct for line in real),
            class_on_synthetic=_share(line.class_correct for line in synthetic),
            chance=max(len(real), len(synthetic)) / len(lines) if lines else None,
            verdict=judged,
            one_rating=len({line.reading.rating for line in lines}) == 1,
            active_min=sum(line.reading.active_ms for line in lines) / 60_000,
        )


def _share(outcomes: Iterator[bool]) -> Interval | None:
    seen = list(outcomes)
    return wilson(sum(seen), len(seen)) if seen else None


@dataclass(frozen=True)
class Results:
    """The figures of every reader, and every answered trial with its truth."""

    study: ReaderStudy
    unblinding: Unblinding
    stimuli: tuple[Stimulus, ...]
    readers: tuple[ReaderResult, ...]
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, session: Session, study: ReaderStudy) -> Results:
        """Analyse a study.

        Raises:
            Forbidden: the study is not unblinded; the look is an Event.
        """
        unblinding = study.require_unblinded()
        enrolments = Enrolment.of_study(session, study.id)
        found = session.execute(
            sa.select(Reading, Trial, Enrolment)
            .join(Trial, Trial.id == Reading.trial_id)
            .join(Enrolment, Enrolment.id == Trial.enrolment_id)
            .where(Enrolment.study_id == study.id)
            .options(
                joinedload(Trial.stimulus).joinedload(Stimulus.checkpoint),
                joinedload(Trial.stimulus).joinedload(Stimulus.lesion),
            )
            .order_by(Enrolment.number, Trial.position)
        )
        lines = tuple(
            Line(enrolment.reader.name, trial, trial.stimulus, reading)
            for reading, trial, enrolment in found
        )
        readers = tuple(
            ReaderResult.of(
                enrolment.reader.name,
                study.total,
                [line for line in lines if line.trial.enrolment_id == enrolment.id],
            )
            for enrolment in enrolments
        )
        stimuli = sorted(
            Stimulus.of_study(session, study.id),
            key=lambda one: (one.truth, one.lesion_class, one.pixels_digest),
        )
        return cls(study, unblinding, tuple(stimuli), readers, lines)

    @property
    def sentences(self) -> list[str]:
        """What was found, in words: first how many read what, then each reader."""
        counts = {
            truth: sum(one.truth == truth for one in self.stimuli) for truth in (REAL, SYNTHETIC)
        }
        readers = len(self.readers)
        said = [
            f"{readers} reader{'' if readers == 1 else 's'}, {len(self.stimuli)} images "
            f"({counts[REAL]} real, {counts[SYNTHETIC]} synthetic)."
        ]
        return said + [_sentence(one) for one in self.readers]

    def answers(self, stimulus: Stimulus) -> dict[str, Line]:
        """Reader → their answer to one image."""
        return {line.reader: line for line in self.lines if line.stimulus.id == stimulus.id}

    def rows(self) -> Iterator[dict[str, Any]]:
        """The CSV's rows, reader by reader in their order of reading."""
        protocol = self.study.protocol
        for line in self.lines:
            reading, stimulus = line.reading, line.stimulus
            yield {
                "study_id": self.study.id,
                "protocol_hash": protocol.digest if protocol else "",
                "reader": line.reader,
                "position": line.trial.position,
                "trial_id": line.trial.id,
                "image_sha256": stimulus.pixels_digest,
                "truth": stimulus.truth,
                "kind": self.study.kind,
                "generator": stimulus.checkpoint.name if stimulus.checkpoint else "",
                "seed": "" if stimulus.seed is None else stimulus.seed,
                "patient": stimulus.patient or "",
                "lesion_class": stimulus.lesion_class,
                "answer_class": reading.lesion_class,
                "class_correct": int(line.class_correct),
                "rating": reading.rating,
                "called": line.called,
                "correct": int(line.correct),
                "answered_at_utc": reading.answered_at.isoformat(timespec="milliseconds"),
                "active_ms": reading.active_ms,
                "hidden_ms": reading.hidden_ms,
                "idle_ms": reading.idle_ms,
                "changes": reading.changes,
            }


def _sentence(one: ReaderResult) -> str:
    if one.accuracy is None or one.chance is None:
        return f"{one.reader} answered none of {one.total} images; nothing can be said."
    part = "all" if one.answered == one.total else f"{one.answered} of"
    figures = (
        f"{one.reader} answered {part} {one.total} images and told real from synthetic in "
        f"{_percent(one.accuracy)}; chance, by always giving the commoner answer, is "
        f"{100 * one.chance:.0f} %."
    )
    if one.verdict is None:
        return (
            f"{figures} Only one source was answered, so nothing can be said of telling them apart."
        )
    if one.verdict.different is None:
        return f"{figures} Every image got the same rating: no verdict."
    area = one.verdict.area
    difference = "different" if one.verdict.different else "not different"
    same = "shown" if one.verdict.equivalent else "not shown"
    return (
        f"{figures} AUC of the 6-point answer {area}: {difference} from chance (0.5); equivalence "
        f"with chance within ±{one.verdict.margin:.2f} {same}."
    )


def _percent(interval: Interval) -> str:
    return (
        f"{100 * interval.value:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f} %, "
        f"n = {interval.n})"
    )
