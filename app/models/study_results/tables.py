"""Tables: the trials and answers of an unblinded study as CSV, with their codebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from app.models.reader_studies.conduct import ROOMS, Conduct
from app.models.reader_studies.debriefing import Debriefing, Remark
from app.models.reader_studies.questions import CONFIDENCES, RATINGS, REASONS
from app.models.reader_studies.reading import Reading
from app.models.reader_studies.task import Part
from app.models.study_results.answers import Answers, Line, generator_name, reader_code
from app.models.study_results.times import MARKS, Clock
from app.settings import VERSION
from ml.images.ct_slice import ImageKind
from ml.readers import tidy
from ml.readers.pairs import Side
from ml.readers.tidy import Column

IMAGE_NAMES = (
    "case_code", "file", "truth", "generator", "checkpoint", "seed", "lesion_class", "patient",
    "sha256",
)  # fmt: skip
"""Columns of ``truth.csv`` in images.zip."""

_VIEW = {
    "image_px": "px",
    "device_pixel_ratio": "dpr",
    "brightness": "brightness",
    "contrast": "contrast",
    "window_changes": "window_changes",
    "zoom": "zoom",
    "zoom_changes": "zoom_changes",
}
"""Column → what the desk calls it in a Reading's ``view``."""

Row = dict[str, object]


def analysis(session: Session, answers: Answers) -> bytes:
    """One row per trial, with the answer that counts."""
    context = _Context(session, answers)
    rows = (context.trial(line, line.reading) for line in answers.lines)
    return tidy.table(tidy.TRIALS, rows).encode()


def revisions(session: Session, answers: Answers) -> bytes:
    """One row per answer that a later one of the same reader replaced."""
    context = _Context(session, answers)
    rows = (context.trial(line, one) for line in answers.lines for one in line.earlier)
    return tidy.table(tidy.TRIALS, rows).encode()


def answers(session: Session, answers: Answers) -> bytes:
    """One row per answered question, with the truth; practice is left out."""
    context = _Context(session, answers)
    rows = (
        row
        for line in answers.lines
        if line.reading is not None and not line.is_practice
        for row in context.questions(line, line.reading)
    )
    return tidy.table(tidy.ANSWERS, rows).encode()


def amendments(session: Session, answers: Answers) -> bytes:
    """One row per thing that was amended, beside what stood there; no row where nothing was."""
    rows = (
        {
            "study_id": str(answers.study.id),
            "protocol_version": one.protocol.version,
            "protocol_hash": one.protocol.digest,
            "at_utc": one.protocol.frozen_at.isoformat(timespec="seconds"),
            "by": one.protocol.frozen_by.name,
            "after_answers": one.progress.answers,
            "of_trials": one.progress.trials,
            "primary": one.protocol is answers.protocol,
            "what": change.words,
            "before": change.before,
            "after": change.after,
            "reason": one.protocol.reason,
        }
        for one in answers.versions.amendments
        for change in one.changes
    )
    return tidy.table(tidy.AMENDMENTS, rows).encode()


def debriefings(session: Session, answers: Answers) -> bytes:
    """One row per reader of an unaware study: what had struck them, and when they were told."""
    rows: list[Row] = []
    for one in answers.enrolments:
        code = reader_code(one.number)
        remark, told = Remark.of(session, one.id), Debriefing.of(session, one.id)
        rows.append(
            {
                "study_id": str(answers.study.id),
                "reader_code": code,
                "answers_before": sum(
                    line.reader == code
                    and line.trial.part is Part.UNAWARE
                    and line.reading is not None
                    for line in answers.lines
                ),
                "asked_at_utc": remark and remark.at.isoformat(timespec="seconds"),
                "remark": remark and remark.text,
                "told_at_utc": told and told.at.isoformat(timespec="seconds"),
                "text_sha256": told and told.text_digest,
            }
        )
    return tidy.table(tidy.DEBRIEFINGS, rows).encode()


def codebook(session: Session, answers: Answers) -> bytes:
    """What each column of each table means, and its values: the study's own classes among them."""
    ratings = {str(number): words for number, words in enumerate(RATINGS, 1)}
    classes = {item.key: item.display for item in answers.study.scheme.classes}
    asked: dict[str, str] = {}
    values: dict[str, tidy.Values] = {
        "rating": ratings,
        "lesion_class": classes,
        "answered_class": classes,
        "class_confidence": {str(number): words for number, words in enumerate(CONFIDENCES, 1)},
        "reasons": REASONS,
        "room": ROOMS,
        "time_marks": {mark.value: words for mark, words in MARKS.items()},
        "image_kind": {
            ImageKind.PHANTOM: "simulated CT, in HU",
            ImageKind.CALIBRATED: "CT of patients, in HU",
            ImageKind.UNCALIBRATED: "images of patients, in grey values",
        },
    }
    for name, one in zip(tidy.GRADES, answers.study.design.graded, strict=False):
        values[name] = {
            str(grade): f"{anchor} (“{one.text}”)" for grade, anchor in enumerate(one.anchors, 1)
        }
        asked[name] = one.text
    values["question"] = asked
    images = tuple(_TRUTH[name] for name in IMAGE_NAMES)
    book = {
        "analysis.csv": tidy.TRIALS,
        "revisions.csv": tidy.TRIALS,
        "answers.csv": tidy.ANSWERS,
        "amendments.csv": tidy.AMENDMENTS,
        "debriefings.csv": tidy.DEBRIEFINGS,
        "verdicts.csv": tidy.VERDICTS,
        "images.zip/truth.csv": images,
    }
    return tidy.codebook(book, values).encode()


_TRUTH = {column.name: column for column in tidy.TRIALS} | {
    "file": Column("file", "text", "place in the archive"),
    "checkpoint": Column("checkpoint", "text", "name of the checkpoint, with its class"),
    "sha256": Column("sha256", "text", "SHA-256 of the file"),
}


class _Context:
    """What belongs to an answer beside itself: protocol and check-in that were in force."""

    def __init__(self, session: Session, answers: Answers) -> None:
        self._answers = answers
        self._clock = Clock(session, answers)
        self._conducts = {
            one.id: Conduct.of_enrolment(session, one.id) for one in answers.enrolments
        }

    def trial(self, line: Line, reading: Reading | None) -> Row:
        """A row of ``tidy.TRIALS``."""
        stimulus = line.stimulus
        row = self._study(line, reading) | {
            "kind": line.trial.kind,
            "part": line.trial.part,
            "answered": reading is not None,
            "image_kind": self._answers.study.kind,
            "seed": stimulus.seed,
        }
        if reading is None:
            return row
        lesion_class = stimulus.lesion_class
        row |= {
            "rating": reading.rating,
            "choice": reading.choice,
            **_grades(reading),
            "called": None if reading.rating is None else reading.called_synthetic,
            "correct": line.is_right(reading),
            "answered_class": reading.lesion_class,
            "class_confidence": reading.class_confidence,
            "class_correct": reading.lesion_class == lesion_class if reading.lesion_class else None,
            "reasons": "|".join(reading.reasons),
            **{column: reading.view.get(name) for column, name in _VIEW.items()},
        }
        return row | _screen(_in_force(self._conducts[line.trial.enrolment_id], reading))

    def questions(self, line: Line, reading: Reading) -> Iterator[Row]:
        """The rows of ``tidy.ANSWERS`` of one answer."""
        common = self._study(line, reading) | {"is_repeat": line.is_repeat}
        if reading.choice is not None:
            yield common | {
                "question": "which_more_real" if line.is_preference else "which_synthetic",
                "answer": reading.choice,
                "correct": line.correct,
            }
            return
        for name, grade in _grades(reading).items():
            yield common | {"question": name, "answer": grade}
        if reading.rating is not None:
            yield common | {
                "question": "real_or_synthetic",
                "answer": line.called,
                "rating": reading.rating,
                "correct": line.correct,
            }
        if reading.lesion_class:
            yield common | {
                "question": "lesion_class",
                "answer": reading.lesion_class,
                "correct": line.class_correct,
            }
        if reading.class_confidence is not None:
            yield common | {"question": "class_confidence", "answer": reading.class_confidence}
        if reading.reasons:
            yield common | {"question": "reasons", "answer": "|".join(reading.reasons)}

    def _study(self, line: Line, reading: Reading | None) -> Row:
        """What both tables have: trial, image, times."""
        row: Row = {
            "study_id": str(self._answers.study.id),
            "reader_code": line.reader,
            "position": line.trial.position,
            "trial_id": str(line.trial.id),
            "case_code": line.case,
            "patient": line.patient,
            "truth": None if line.beside else line.stimulus.truth == "synthetic",
            "generator": line.generator,
            "lesion_class": line.stimulus.lesion_class,
        }
        if line.asked is not None:
            left, right = (self._answers.cases[line.trial.at(side).id] for side in Side)
            row |= {"left_code": left, "right_code": right, "asked_side": line.asked}
        if line.is_preference and line.beside is not None:
            row["other_generator"] = generator_name(line.beside.checkpoint)
        if reading is None:
            return row
        protocol = self._answers.versions.of_answer(reading.protocol_version, reading.answered_at)
        times = self._clock.of(line, reading)
        return row | {
            "protocol_version": protocol.version if protocol else None,
            "protocol_hash": protocol.digest if protocol else None,
            "session_no": reading.session_no,
            "sent_at_utc": times.sent and times.sent.isoformat(timespec="milliseconds"),
            "shown_at_utc": times.shown.isoformat(timespec="milliseconds"),
            "answered_at_utc": times.answered.isoformat(timespec="milliseconds"),
            "received_at_utc": times.received.isoformat(timespec="milliseconds"),
            "waited_ms": reading.waited_ms,
            "time_marks": "|".join(times.marks),
            "active_ms": reading.active_ms,
            "hidden_ms": reading.hidden_ms,
            "idle_ms": reading.idle_ms,
            "n_changes": line.changes,
            "revision": reading.revision,
            "client": f"hepatica {VERSION}",
        }


def _grades(reading: Reading) -> dict[str, int]:
    """Column of a graded question → grade."""
    return dict(zip(tidy.GRADES, reading.grades or (), strict=False))


def _in_force(conducts: Sequence[Conduct], reading: Reading) -> Conduct | None:
    """The check-in in force when an answer was stored."""
    earlier = [one for one in conducts if one.at <= reading.answered_at]
    return earlier[-1] if earlier else None


def _screen(conduct: Conduct | None) -> Row:
    if conduct is None:  # studies of the first version had no check-in
        return {}
    return {
        "device": conduct.screen.get("browser"),
        "screen_width": conduct.screen.get("screen_width"),
        "screen_height": conduct.screen.get("screen_height"),
        "colour_depth": conduct.screen.get("colour_depth"),
        "mm_per_px": conduct.mm_per_px,
        "room": conduct.room,
        "years": conduct.years,
        "subspecialty": conduct.subspecialty,
    }
