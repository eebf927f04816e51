"""Exports: the readings of an unblinded study in the files that others read."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.models.ground.blob import Blob
from app.models.study_results.answers import Answers, Line, generator_name
from app.settings import VERSION
from ml.readers import files
from ml.readers.reading import Presentations, present, ratings, ratings_by_generator
from ml.statistics.ratings import Ratings


def tidy(session: Session, answers: Answers) -> bytes:
    """One row per answered question, with the truth; practice is left out."""
    rows = (row for line in answers.lines if not line.is_practice for row in _rows(answers, line))
    return files.tidy_csv(rows, unblinded=True).encode()


def codebook(session: Session, answers: Answers) -> bytes:
    """What each column of ``tidy`` means, as CSV; the same for every study."""
    return files.codebook_csv().encode()


def imrmc(session: Session, answers: Answers) -> bytes:
    """First presentations; one modality per generator, each with all real images."""
    return files.imrmc(_first(answers), _title(answers, "first presentations")).encode()


def imrmc_repeats(session: Session, answers: Answers) -> bytes:
    """Hidden repeats in a file of their own, because the format refuses a second rating.

    Raises:
        Conflict: the study has none that were answered.
    """
    shown = _shown(answers)
    if not shown.repeats:
        raise Conflict("No repeat was answered in this study, so there is no file of repeats.")
    again: dict[tuple[str, str], int] = {}
    readings = []
    for _, second in shown.repeats:
        key = (second.reader, second.case)
        again[key] = again.get(key, 0) + 1
        if again[key] == 1:  # a third presentation has no place in either file
            readings.append(replace(second, is_repeat=True))
    title = _title(answers, "hidden repeats")
    return files.imrmc(ratings(readings, "vtt_repeat"), title).encode()


def mrmcaov(session: Session, answers: Answers) -> bytes:
    """``reader,treatment,case,truth,rating``, as MRMCaov and ``ml readers analyse`` take it."""
    return files.long_csv(_first(answers)).encode()


def images(session: Session, answers: Answers) -> bytes:
    """Every image as readers saw it, in a folder by its truth, with a table of what it is."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        ["case_code", "file", "truth", "generator", "checkpoint", "seed", "lesion_class",
         "patient", "sha256"]
    )  # fmt: skip
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for one in answers.stimuli:
            case = answers.cases[one.id]
            name = f"{one.truth}/{case}.png"
            _put(archive, name, Blob.read(session, one.pixels_digest))
            checkpoint = one.checkpoint
            writer.writerow(
                [case, name, int(one.truth == "synthetic"), generator_name(checkpoint) or "",
                 checkpoint.name if checkpoint else "", "" if one.seed is None else one.seed,
                 one.lesion_class, one.patient or "", one.pixels_digest]
            )  # fmt: skip
        _put(archive, "truth.csv", table.getvalue().encode())
        _put(archive, "README.txt", _readme(answers).encode())
    return stream.getvalue()


@dataclass(frozen=True)
class Export:
    """A file that can be had after Unblinding: its media type, for what, and how it is made."""

    media_type: str
    meaning: str
    make: Callable[[Session, Answers], bytes]


EXPORTS = {
    "answers.csv": Export(
        "text/csv; charset=utf-8", "One row per answered question, with truth and times.", tidy
    ),
    "codebook.csv": Export(
        "text/csv; charset=utf-8", "What each column of answers.csv means.", codebook
    ),
    "readings.imrmc": Export(
        "text/plain; charset=utf-8",
        "First presentations for iMRMC and RJafroc; one modality per generator.",
        imrmc,
    ),
    "repeats.imrmc": Export(
        "text/plain; charset=utf-8", "Hidden repeats, in the same form.", imrmc_repeats
    ),
    "mrmcaov.csv": Export(
        "text/csv; charset=utf-8",
        "reader, treatment, case, truth, rating: for MRMCaov and `ml readers analyse`.",
        mrmcaov,
    ),
    "images.zip": Export(
        "application/zip", "The images as readers saw them, sorted by truth, with a table.", images
    ),
}
"""File name → export. ``results.json``, the analysis itself, is kept and not made."""


def require(name: str) -> Export:
    """The export of that name; NotFound with the names there are."""
    if name not in EXPORTS:
        raise NotFound(f"There is no export {name[:40]!r}. There are: {', '.join(EXPORTS)}.")
    return EXPORTS[name]


def _shown(answers: Answers) -> Presentations:
    return present(answers.readings())


def _first(answers: Answers) -> Ratings:
    shown = _shown(answers)
    if not shown.first:
        raise Conflict("No image was rated in this study, so there is nothing to export.")
    if not shown.generators:
        return ratings(shown.first)
    return ratings_by_generator(shown.first)


def _title(answers: Answers, what: str) -> str:
    return (
        f"visual Turing test, {what}, reader study {answers.study.id}, "
        f"protocol {answers.protocol.digest}, truth 1 = synthetic"
    )


def _rows(answers: Answers, line: Line) -> Iterator[dict[str, object]]:
    reading, stimulus = line.reading, line.stimulus
    if reading is None:
        return
    on_trial = timedelta(milliseconds=reading.active_ms + reading.hidden_ms + reading.idle_ms)
    common: dict[str, object] = {
        "study_id": str(answers.study.id),
        "protocol_hash": answers.protocol.digest,
        "reader_code": line.reader,
        "session_no": reading.session_no,
        "position": line.trial.position,
        "trial_id": str(line.trial.id),
        "case_code": line.case,
        "is_repeat": line.is_repeat,
        "truth": stimulus.truth == "synthetic",
        "generator": line.generator,
        "lesion_class": stimulus.lesion_class,
        "shown_at_utc": (reading.answered_at - on_trial).isoformat(timespec="milliseconds"),
        "answered_at_utc": reading.answered_at.isoformat(timespec="milliseconds"),
        "active_ms": reading.active_ms,
        "hidden_ms": reading.hidden_ms,
        "n_changes": line.changes,
        "client": f"hepatica {VERSION}",
    }
    yield {
        **common,
        "question": "real_or_synthetic",
        "answer": line.called,
        "rating": reading.rating,
        "correct": line.correct,
    }
    if reading.lesion_class:
        yield {
            **common,
            "question": "lesion_class",
            "answer": reading.lesion_class,
            "correct": line.class_correct,
        }
    if reading.class_confidence is not None:
        yield {**common, "question": "class_confidence", "answer": str(reading.class_confidence)}
    if reading.reasons:
        yield {**common, "question": "reasons", "answer": "|".join(reading.reasons)}


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # a fixed date: the same study gives the same bytes
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


def _readme(answers: Answers) -> str:
    real = "simulated CT (phantoms)" if answers.study.kind == "phantom" else "CT of patients"
    return (
        f"Images of the reader study {answers.study.id}\n"
        f"Protocol SHA-256 {answers.protocol.digest}\n\n"
        f"real/       {real}, as readers saw them: 64 x 64, 8-bit grey\n"
        "synthetic/  drawn by generative networks; they show no patient\n"
        "truth.csv   truth 1 = synthetic; case_code as in the other exports\n\n"
        "Research use only. Readers who may still read a study with these images must not see "
        "them.\n"
        "Check the set for leaks: python -m ml leak-audit --real real --synthetic synthetic\n"
    )
