"""Exports: the readings of an unblinded study in the files that others read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.models.ground.blob import Blob
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.task import Task
from app.models.study_results import tables
from app.models.study_results.analysis import Analysis, Content
from app.models.study_results.answers import Answers, generator_name
from ml.ground import json_schema
from ml.ground.delimited import written
from ml.readers import exchange, tidy
from ml.readers.grade_results import GradeResult
from ml.readers.grades import counted_grades, present_grades
from ml.readers.reading import Presentations, counted, present, ratings, ratings_by_generator
from ml.readers.results import Result
from ml.readers.unaware import UnawareResult
from ml.statistics.ratings import Ratings

_OF_PAIRS = (
    "This study asks for one of two images, and these files hold ratings of single ones. "
    "analysis.csv and answers.csv have every answer, results.json the analysis."
)
_OF_GRADES = (
    "This study asks for grades of realism, and these files hold ratings as real or synthetic. "
    "grades-imrmc.zip has the grades, results.json the analysis."
)
_OF_RATINGS = "This study has no graded questions."
_NO_GRADE = "No image was graded in this study, so there is nothing to export."
_NO_RATING = "No image was rated in this study, so there is nothing to export."
_ALL_TOLD = "Readers of this study knew of synthetic images from the start; nobody was debriefed."
_NO_REPEAT = "No repeat was answered in this study, so there is no file of repeats."


def schema(session: Session, answers: Answers) -> bytes:
    """JSON Schema of ``results.json``; the same for every study."""
    return json.dumps(
        json_schema.of(Content, "results.json of a reader study"), indent=1, ensure_ascii=False
    ).encode()


def imrmc(session: Session, answers: Answers) -> bytes:
    """First presentations; one modality per generator, each with all real images."""
    return exchange.imrmc(_first(answers), _title(answers, "first presentations")).encode()


def imrmc_by_generator(session: Session, answers: Answers) -> bytes:
    """Each generator in a file of its own, with the readers who read all of its images.

    So RJafroc reads them, which refuses modalities of different cases and readings with gaps. Who
    was left out stands in the archive's README.
    """
    block = _first(answers)
    stream = io.BytesIO()
    words = []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for treatment, name in exchange.modality_names(block).items():
            whole, left_out = block.only(treatment).whole_readers()
            words.append(_left_out(treatment, left_out, whole))
            if whole is not None:
                text = exchange.imrmc(whole, _title(answers, f"{treatment}, first presentations"))
                _put(archive, f"{name}.imrmc", text.encode())
        _put(archive, "README.txt", ("\n".join(words) + "\n").encode())
    return stream.getvalue()


def _left_out(treatment: str, left_out: tuple[str, ...], whole: Ratings | None) -> str:
    if whole is None:
        return f"{treatment}: no file, because no reader rated every image."
    if left_out:
        names = ", ".join(left_out)
        return f"{treatment}: without {names}, who did not rate every image."
    return f"{treatment}: every reader."


def imrmc_repeats(session: Session, answers: Answers) -> bytes:
    """Hidden repeats in a file of their own, because the format refuses a second rating.

    Raises:
        Conflict: the study has none that were answered.
    """
    shown = _shown(answers)
    if not shown.repeats:
        raise Conflict(_NO_REPEAT)
    again: dict[tuple[str, str], int] = {}
    readings = []
    for _, second in shown.repeats:
        key = (second.reader, second.case)
        again[key] = again.get(key, 0) + 1
        if again[key] == 1:  # a third presentation has no place in either file
            readings.append(replace(second, is_repeat=True))
    title = _title(answers, "hidden repeats")
    return exchange.imrmc(ratings(readings, "vtt_repeat"), title).encode()


def imrmc_by_question(session: Session, answers: Answers) -> bytes:
    """Each graded question in a file of its own, with what it asks in the archive's README.

    Raises:
        Conflict: the study has no graded questions, or no image was graded.
    """
    questions = answers.study.design.graded
    if not questions:
        raise Conflict(_OF_RATINGS)
    shown = present_grades(counted_grades(answers.grades()), questions)
    if not shown.first:
        raise Conflict(_NO_GRADE)
    stream = io.BytesIO()
    words = []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for place, (name, question) in enumerate(zip(tidy.GRADES, questions, strict=False)):
            first = [one.of(place) for one in shown.first]
            of_generators = any(one.synthetic for one in first)
            block = ratings_by_generator(first) if of_generators else ratings(first)
            title = _title(answers, f"{question.text} Score: 6 less the grade. First presentations")
            _put(archive, f"{name}.imrmc", exchange.imrmc(block, title).encode())
            words.append(f"{name}.imrmc: {question.text}")
        _put(archive, "README.txt", ("\n".join(words) + "\n").encode())
    return stream.getvalue()


def mrmcaov(session: Session, answers: Answers) -> bytes:
    """``reader,treatment,case,truth,rating``, as MRMCaov and ``ml readers analyse`` take it."""
    return exchange.long_csv(_first(answers)).encode()


def images(session: Session, answers: Answers) -> bytes:
    """Every image as readers saw it, in a folder by its truth, with a table of what it is."""
    rows = []
    gone = Stimulus.gone(session, answers.study.id)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for one in answers.stimuli:
            case = answers.cases[one.id]
            name = "" if one.pixels_digest in gone else f"{one.truth}/{case}.png"
            if name:
                _put(archive, name, Blob.read(session, one.pixels_digest))
            checkpoint = one.checkpoint
            rows.append(
                (case, name, one.truth == "synthetic", generator_name(checkpoint),
                 checkpoint.name if checkpoint else None, one.seed, one.lesion_class, one.patient,
                 one.pixels_digest)
            )  # fmt: skip
        _put(archive, "truth.csv", written(tables.IMAGE_NAMES, rows).encode())
        _put(archive, "README.txt", _readme(answers).encode())
        if gone:
            _put(archive, "DELETED.txt", _deleted(len(gone)).encode())
    return stream.getvalue()


def debriefings(session: Session, answers: Answers) -> bytes:
    """When readers of an unaware study were told, and what had struck them before.

    Raises:
        Conflict: readers of this study knew from the start.
    """
    if not answers.study.unaware:
        raise Conflict(_ALL_TOLD)
    return tables.debriefings(session, answers)


def verdicts(session: Session, answers: Answers) -> bytes:
    """The verdicts of the kept analysis.

    Raises:
        Conflict: nobody has looked at the results, so that none is kept, or it is not of ratings.
    """
    kept = Analysis.kept(session, answers.unblinding)
    if kept is None:
        raise Conflict("The study was not analysed yet. Open its results first.")
    result = Content.read(Blob.read(session, kept.digest)).result
    if isinstance(result, UnawareResult):
        result = result.detection
    if isinstance(result, GradeResult):
        return tidy.grade_verdicts(result).encode()
    if not isinstance(result, Result):
        raise Conflict("This study has no areas of ratings; its verdicts are in results.json.")
    return tidy.verdicts(result).encode()


RATED = (Task.ORIGIN,)
"""Tasks by which single images are rated as real or synthetic."""


@dataclass(frozen=True)
class Export:
    """A file that can be had after Unblinding: its media type, for what, and how it is made.

    ``shows_images``: the images are in it, with their truth, so who takes it has seen them.
    ``tasks`` are those whose studies have it. ``of_unaware``: only where readers were debriefed.
    """

    media_type: str
    meaning: str
    make: Callable[[Session, Answers], bytes]
    shows_images: bool = False
    tasks: tuple[Task, ...] = tuple(Task)
    of_unaware: bool = False


EXPORTS = {
    "analysis.csv": Export(
        "text/csv; charset=utf-8",
        "One row per trial with everything that belongs to it: truth, patient, answer, times, "
        "view, screen and reader. `ml.readers` reads it (`load_trials`, of pairs `load_pairs`, of "
        "grades `load_grades`, of the first part of an unaware study `load_diagnoses`) and gives "
        "the same analysis.",
        tables.analysis,
    ),
    "answers.csv": Export(
        "text/csv; charset=utf-8",
        "One row per answered question, with truth and times.",
        tables.answers,
    ),
    "verdicts.csv": Export(
        "text/csv; charset=utf-8",
        "One row per reader and one of all together: area, intervals, verdicts, and why there is "
        "none. Of graded realism for each question.",
        verdicts,
        tasks=(*RATED, Task.REALISM),
    ),
    "amendments.csv": Export(
        "text/csv; charset=utf-8",
        "What was amended of the protocol: beside what stood there, when, after how many answers, "
        "by whom, why.",
        tables.amendments,
    ),
    "debriefings.csv": Export(
        "text/csv; charset=utf-8",
        "Of an unaware study: what had struck each reader before being told, and when that was.",
        debriefings,
        of_unaware=True,
    ),
    "revisions.csv": Export(
        "text/csv; charset=utf-8",
        "Answers that were changed later, in the columns of analysis.csv; empty where none was.",
        tables.revisions,
    ),
    "codebook.csv": Export(
        "text/csv; charset=utf-8",
        "What each column of these tables means, and the values that it can take.",
        tables.codebook,
    ),
    "results.schema.json": Export(
        "application/schema+json", "The form of results.json, as JSON Schema.", schema
    ),
    "readings.imrmc": Export(
        "text/plain; charset=utf-8",
        "First presentations for iMRMC (of an image whose first has no answer, the repeat); one "
        "modality per generator. Its head says whether RJafroc reads it too, and which images are "
        "of one patient, which neither program takes into account. Answers to pictures that were "
        "never sent are left out of this file and of the others for MRMC programs.",
        imrmc,
        tasks=RATED,
    ),
    "imrmc-by-generator.zip": Export(
        "application/zip",
        "The same with a file per generator and the readers who read all of it: for RJafroc.",
        imrmc_by_generator,
        tasks=RATED,
    ),
    "repeats.imrmc": Export(
        "text/plain; charset=utf-8",
        "Hidden repeats, in the same form.",
        imrmc_repeats,
        tasks=RATED,
    ),
    "mrmcaov.csv": Export(
        "text/csv; charset=utf-8",
        "reader, treatment, case, truth, rating: for MRMCaov and `ml readers analyse`. Where "
        "several images are of one patient, a column patient says so; MRMCaov takes no notice of "
        "it, and is then surer than it may be.",
        mrmcaov,
        tasks=RATED,
    ),
    "grades-imrmc.zip": Export(
        "application/zip",
        "First presentations for iMRMC (of an image whose first has no grades, the repeat), a file "
        "for each question; one modality per generator, and the scores are 6 less the grade, so "
        "that they rise with how artificial an image looks.",
        imrmc_by_question,
        tasks=(Task.REALISM,),
    ),
    "images.zip": Export(
        "application/zip",
        "The images as readers saw them, sorted by truth, with a table.",
        images,
        shows_images=True,
    ),
}
"""File name → export. ``results.json``, the analysis itself, is kept and not made."""


def named(task: Task, *, unaware: bool) -> dict[str, Export]:
    """Those that the page of a study names, though it may lack some.

    Those of its task, and those of ratings, of which `lacking` says why there are none.
    """
    return {
        name: one
        for name, one in EXPORTS.items()
        if (task in one.tasks or one.tasks == RATED) and (unaware or not one.of_unaware)
    }


def lacking(answers: Answers) -> dict[str, str]:
    """Export → why the study has none."""
    task = answers.study.design.task
    why = {name: _why_not(task) for name, one in EXPORTS.items() if task not in one.tasks}
    of_ratings = [name for name, one in EXPORTS.items() if one.tasks == RATED]
    if task is Task.REALISM:
        if not any(one.grades for one in answers.grades()):
            why["grades-imrmc.zip"] = _NO_GRADE
        return why
    if task is not Task.ORIGIN:
        return why
    shown = _shown(answers)
    why |= {} if shown.repeats else {"repeats.imrmc": _NO_REPEAT}
    return why if shown.first else why | dict.fromkeys(of_ratings, _NO_RATING)


def _why_not(task: Task) -> str:
    return _OF_PAIRS if task.is_paired else _OF_GRADES if task is Task.REALISM else _OF_RATINGS


def require(name: str) -> Export:
    """The export of that name; NotFound with the names there are."""
    if name not in EXPORTS:
        raise NotFound(f"There is no export {name[:40]!r}. There are: {', '.join(EXPORTS)}.")
    return EXPORTS[name]


def _shown(answers: Answers) -> Presentations:
    if answers.study.design.task not in RATED:
        raise Conflict(_why_not(answers.study.design.task))
    return present(counted(answers.readings()))


def _first(answers: Answers) -> Ratings:
    shown = _shown(answers)
    if not shown.first:
        raise Conflict(_NO_RATING)
    if not shown.generators:
        return ratings(shown.first)
    return ratings_by_generator(shown.first)


def _title(answers: Answers, what: str) -> str:
    unsent = sum(one.unsent and not one.is_practice for one in answers.lines)
    without = f" without {unsent} answers to pictures never sent," if unsent else ""
    return (
        f"visual Turing test, {what},{without} reader study {answers.study.id}, "
        f"protocol {answers.protocol.digest}, truth 1 = synthetic"
    )


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # a fixed date: the same study gives the same bytes
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


def _deleted(pictures: int) -> str:
    return (
        f"{pictures} of the pictures of this study were deleted after it was unblinded, with the "
        "data of their patients or because their time was over. In truth.csv their rows stay, "
        "without a file.\n"
    )


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
