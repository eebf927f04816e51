"""The tables of a reader study for any program: one row per answered question, or per trial.

Every column of both is in the codebook, which also lists the values that a column can take. Truth
is 1 for synthetic and 0 for real. The table of trials can be read back: `readings`, or
`pair_readings` where they show pairs, or `graded_readings` where they were graded.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.ground.delimited import Rows, written
from ml.readers.grade_results import GradeResult, GradesAcross, GradesOfReader
from ml.readers.grades import GradedReading
from ml.readers.pairs import PairReading, Side
from ml.readers.reading import Reading
from ml.readers.results import Across, Adjusted, ReaderResult, Refused, Result
from ml.statistics.proportion import ReadersError

UNSENT = "unsent"
"""In the column ``time_marks``: answered without its picture ever having been sent."""

Values = Mapping[str, str]
"""Value → what it means."""

_YES_NO = {"0": "no", "1": "yes"}
_TRUTH = {"0": "real", "1": "synthetic"}
_KINDS = {
    "practice": "before the study proper, with feedback; in no analysis",
    "first": "first presentation; what the analysis takes",
    "repeat": "the same picture once more, unannounced; for agreement with oneself only",
}
_QUESTIONS = {
    "real_or_synthetic": "is the image real or synthetic, on a scale",
    "lesion_class": "the class of the lesion",
    "class_confidence": "how sure the reader is of that class",
    "reasons": "what made the image look synthetic",
    "which_synthetic": "which of two images side by side is the synthetic one",
    "which_more_real": "which of two synthetic images side by side looks more real",
    "grade_1": "of graded realism: the first question, which the primary hypothesis is of",
    "grade_2": "of graded realism: the second question",
    "grade_3": "of graded realism: the third question",
    "grade_4": "of graded realism: the fourth question",
}
_PARTS = {
    "whole": "the study has one part",
    "unaware": "the first part: readers were not told that images are synthetic, and named classes",
    "told": "the second part, after the debriefing",
}
GRADES = ("grade_1", "grade_2", "grade_3", "grade_4")
"""The columns of graded questions, in the order of the study; those it does not ask are empty."""
_SIDES = {"left": "as the reader saw it", "right": "as the reader saw it"}


@dataclass(frozen=True)
class Column:
    """A column: its name, kind of value with unit or range, meaning, and the list of its values.

    An empty cell means that there is no such value: it was not asked, not given or not sent.
    """

    name: str
    kind: str
    meaning: str
    values: Values = field(default_factory=dict)


STUDY = (
    Column("study_id", "text", "reader study"),
    Column(
        "protocol_version",
        "integer from 1",
        "version of the protocol in force when it was answered; 1 is the opening; empty: not "
        "known, because the answer's time lies before it",
    ),
    Column("protocol_hash", "text", "SHA-256 of that version"),
    Column("reader_code", "text", "pseudonym of the reader"),
    Column("session_no", "integer from 1", "sitting in which the trial was answered"),
    Column("position", "integer from 1", "place of the trial in this reader's order"),
    Column("trial_id", "text", "trial: one stimulus shown once to one reader"),
    Column("case_code", "text", "stimulus; the same for all readers; of a pair both, with a +"),
)
"""Columns of both tables that tell which trial of which study."""

PAIR = (
    Column("left_code", "text", "of a pair: the image that stood on the left; else empty"),
    Column("right_code", "text", "of a pair: the image that stood on the right; else empty"),
    Column("asked_side", "text", "of a pair: where the image stood that is asked for, the "
           "synthetic one; of a preference that of the column generator", _SIDES),
    Column("other_generator", "text", "of a preference: who drew the other image; generator is the "
           "one of the two whose name comes first; else empty"),
)  # fmt: skip
"""Columns of both tables that tell what of a pair stood where."""

IMAGE = (
    Column(
        "patient",
        "text",
        "pseudonym of the patient of a real image: those rows belong together; it can be digits "
        "alone, or such as 12e34, which a spreadsheet rounds unless the column is read as text",
    ),
    Column("truth", "0 or 1", "what the image is; empty for a pair", _TRUTH),
    Column(
        "generator",
        "text",
        "checkpoint that drew the image, or the synthetic one of a pair; empty for a real one",
    ),
    Column("lesion_class", "text", "class of the lesion"),
)
"""Columns of both tables that tell what was shown."""

TIMES = (
    Column("sent_at_utc", "ISO 8601", "when the picture was first sent, by the server's clock"),
    Column(
        "shown_at_utc",
        "ISO 8601",
        "answered_at_utc less active, hidden and idle time, which "
        "are the browser's word; never before the picture was sent or the study opened",
    ),
    Column("answered_at_utc", "ISO 8601", "received_at_utc less waited_ms"),
    Column("received_at_utc", "ISO 8601", "when the answer was stored, by the server's clock"),
    Column("waited_ms", "integer, ms", "time between answer and sending, by the browser's clock"),
    Column(
        "time_marks", "text", "why these times are implausible, separated by |; empty: they are not"
    ),
    Column("active_ms", "integer, ms", "time with the image in view and the reader at the desk"),
    Column("hidden_ms", "integer, ms", "time with the tab hidden"),
    Column("idle_ms", "integer, ms", "time paused, or without a key or movement for long"),
    Column("n_changes", "integer", "changes of the answer, before and after it was confirmed"),
    Column("revision", "integer from 1", "which answer to the trial this is; the last counts"),
    Column("client", "text", "version of the reading desk"),
)
"""Columns of both tables that tell when and how it was answered, as the desk measured it."""

ANSWERS = (
    *STUDY,
    Column("is_repeat", "0 or 1", "left out of everything but intra-reader figures", _YES_NO),
    Column("question", "text", "what was asked", _QUESTIONS),
    Column("answer", "text", "the answer as given; reasons separated by |"),
    Column("rating", "integer 1–6", "answer to real_or_synthetic; empty for other questions"),
    *PAIR,
    *IMAGE,
    Column(
        "correct", "0 or 1", "the answer is right; empty where nothing is right or wrong", _YES_NO
    ),
    *TIMES,
)
"""The table of answers: one row per answered question, practice left out."""

TRIALS = (
    *STUDY,
    Column("kind", "text", "why the picture was shown", _KINDS),
    Column("part", "text", "of an unaware study: which part; else whole", _PARTS),
    Column("answered", "0 or 1", "whether there is an answer; without one its columns are empty",
           _YES_NO),
    Column("rating", "integer 1–6", "how real or synthetic the image looks"),
    Column("called", "0 or 1", "the rating's half of the scale", _TRUTH),
    Column("choice", "text", "of a pair: the side that was named", _SIDES),
    *(
        Column(
            name, "integer 1–5",
            "of graded realism: grade for a question of the study, 5 the most realistic",
        )
        for name in GRADES
    ),
    Column("correct", "0 or 1", "called = truth; of a pair choice = asked_side", _YES_NO),
    Column("answered_class", "text", "class of the lesion, as the reader named it"),
    Column("class_confidence", "integer 1–5", "how sure of the class"),
    Column("class_correct", "0 or 1", "answered_class = lesion_class", _YES_NO),
    Column("reasons", "text", "what made the image look synthetic, separated by |"),
    *PAIR,
    *IMAGE,
    Column("image_kind", "text", "what the numbers of the real images are"),
    Column("seed", "integer", "seed of a synthetic image"),
    *TIMES,
    Column("image_px", "CSS pixels", "side of the picture on the screen"),
    Column("device_pixel_ratio", "number", "pixels of the screen per CSS pixel, at the answer"),
    Column("brightness", "number", "as the reader left it; 0 is unchanged"),
    Column("contrast", "number", "as the reader left it; 1 is unchanged"),
    Column("window_changes", "integer", "how often brightness or contrast was changed"),
    Column("zoom", "number", "as the reader left it; 1 is unchanged"),
    Column("zoom_changes", "integer", "how often the zoom was changed"),
    Column("device", "text", "the browser's name of itself, at the check-in in force"),
    Column("screen_width", "CSS pixels", "of the screen"),
    Column("screen_height", "CSS pixels", "of the screen"),
    Column("colour_depth", "bits", "of the screen"),
    Column("mm_per_px", "mm", "millimetres per CSS pixel, from the width of a card"),
    Column("room", "text", "how light the room is, as the reader said"),
    Column("years", "number", "the reader's years of experience"),
    Column("subspecialty", "text", "as the reader said"),
)  # fmt: skip
"""The table of trials: one row per trial, practice, repeats and unanswered ones included."""

AMENDMENTS = (
    Column("study_id", "text", "reader study"),
    Column("protocol_version", "integer from 1", "the version that changed something"),
    Column("protocol_hash", "text", "SHA-256 of that version"),
    Column("at_utc", "ISO 8601", "when it was frozen"),
    Column("by", "text", "who amended the protocol"),
    Column("after_answers", "integer", "answers given before it, practice and repeats too"),
    Column("of_trials", "integer", "trials of all readers then; empty: not counted at the time"),
    Column("primary", "0 or 1", "whether the study is judged by this version", _YES_NO),
    Column("what", "text", "what changed"),
    Column("before", "text", "as it stood"),
    Column("after", "text", "as it stands since"),
    Column("reason", "text", "why, in the words of who amended it"),
)
"""The table of amendments: one row per thing that a later version of the protocol changed."""

DEBRIEFINGS = (
    Column("study_id", "text", "reader study"),
    Column("reader_code", "text", "pseudonym of the reader"),
    Column("answers_before", "integer", "answers that they gave before they were told"),
    Column("asked_at_utc", "ISO 8601", "when they said what had struck them; empty: not asked yet"),
    Column("remark", "text", "what had struck them, in their words; empty where nothing had"),
    Column("told_at_utc", "ISO 8601", "when they had read the debriefing; empty: not yet"),
    Column("text_sha256", "text", "SHA-256 of the text of the debriefing, UTF-8"),
)
"""The table of debriefings of an unaware study: one row per reader."""


VERDICTS = (
    Column("question", "text", "of graded realism: which question; else empty"),
    Column("of", "text", "reader_code of one reader; readers: the mean of readers like these"),
    Column("images", "integer", "images that were rated"),
    Column("auc", "number 0–1", "area under the ROC curve, or the mean of the readers'"),
    Column("low", "number 0–1", "lower end of the 95 % interval"),
    Column("high", "number 0–1", "upper end of the 95 % interval"),
    Column("low90", "number 0–1", "lower end of the 90 % interval"),
    Column("high90", "number 0–1", "upper end of the 90 % interval"),
    Column("margin", "number", "of equivalence, around 0.5"),
    Column("different", "0 or 1", "different from chance; empty without a verdict", _YES_NO),
    Column("equivalent", "0 or 1", "equivalent to chance; empty without a verdict", _YES_NO),
    Column(
        "different_p",
        "number 0–1",
        "p of the difference after Holm over all secondary hypotheses, which “different” goes by "
        "too; empty where nothing is adjusted, or it is the primary hypothesis",
    ),
    Column("equivalent_p", "number 0–1", "the same of equivalence"),
    Column("reason", "text", "why there is no verdict, or why it shows no equivalence"),
)
"""The table of verdicts: one row per reader, and one of all together."""


def verdicts(result: Result) -> str:
    """The verdicts of an analysis as CSV, with the reason where there is none."""
    return table(VERDICTS, _verdicts(result.readers, result.across, result.margin))


def grade_verdicts(result: GradeResult) -> str:
    """The same of graded realism, for each question."""
    return table(
        VERDICTS,
        [
            {"question": question.text} | row
            for question in result.questions
            for row in _verdicts(question.readers, question.across, result.margin)
        ],
    )


def _verdicts(
    readers: Sequence[ReaderResult | GradesOfReader], across: Across | GradesAcross, margin: float
) -> list[dict[str, object]]:
    """Rows of ``VERDICTS``: each reader, then readers like these."""
    rows: list[dict[str, object]] = [
        {
            "of": one.reader,
            "images": one.n,
            "auc": one.auc.value,
            "low": one.auc.low,
            "high": one.auc.high,
            "low90": one.verdict.equivalence_interval.low,
            "high90": one.verdict.equivalence_interval.high,
            "margin": one.verdict.margin,
            "different": one.verdict.different_from_chance,
            "equivalent": one.verdict.equivalent_to_chance,
            **_adjusted(one.verdict.adjusted),
            "reason": one.verdict.reason,
        }
        for one in readers
    ]
    random = across.random
    row: dict[str, object] = {"of": "readers", "margin": margin, "reason": across.no_verdict}
    if not isinstance(random, Refused):
        mean = random.mean
        row |= {"images": random.components.cases, "auc": mean.value, "low": mean.low,
                "high": mean.high}  # fmt: skip
    if across.verdict is not None:
        row |= {
            "low90": across.verdict.equivalence_low,
            "high90": across.verdict.equivalence_high,
            "different": across.verdict.different_from_chance,
            "equivalent": across.verdict.equivalent_to_chance,
            **_adjusted(across.verdict.adjusted),
            "reason": across.verdict.reason,
        }
    return [*rows, row]


def _adjusted(found: Adjusted | None) -> dict[str, object]:
    if found is None:
        return {}
    return {"different_p": found.different, "equivalent_p": found.equivalent}


def table(columns: tuple[Column, ...], rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as CSV with these columns; what a row lacks stays empty.

    Raises:
        ReadersError: a row has a value for a column that is none of these.
    """
    names = [column.name for column in columns]

    def checked(row: Mapping[str, object]) -> list[object]:
        unknown = set(row) - set(names)
        if unknown:
            raise ReadersError(f"The codebook has no column {', '.join(sorted(unknown))}.")
        return [row.get(name) for name in names]

    return written(names, (checked(row) for row in rows))


def codebook(
    tables: Mapping[str, tuple[Column, ...]], values: Mapping[str, Values] | None = None
) -> str:
    """The codebook of tables by their file names: ``file,column,kind,meaning,values``.

    ``values`` lists those of a study by column, such as its lesion classes, beside the fixed ones.
    A list is written ``value = meaning; value = meaning``.
    """
    known = values or {}
    return written(
        ("file", "column", "kind", "meaning", "values"),
        (
            (
                file,
                column.name,
                column.kind,
                column.meaning,
                "; ".join(
                    f"{value} = {words}"
                    for value, words in {**column.values, **known.get(column.name, {})}.items()
                ),
            )
            for file, columns in tables.items()
            for column in columns
        ),
    )


def load(path: Path | str) -> list[Reading]:
    """The readings in a file that is a table of trials, such as analysis.csv of a study's exports.

    Raises:
        ReadersError: as `readings`, or the file cannot be read.
    """
    return readings(*_text_of(path))


def load_pairs(path: Path | str) -> list[PairReading]:
    """The same of a study of pairs, as `ml.readers.choice.analyse_choices` takes it.

    Raises:
        ReadersError: as `load`.
    """
    return pair_readings(*_text_of(path))


def load_diagnoses(path: Path | str) -> list[Reading]:
    """The first part of an unaware study, as `ml.readers.unaware.analyse_unaware` takes it.

    Raises:
        ReadersError: as `load`, or the table knows no parts.
    """
    return diagnoses(*_text_of(path))


def load_grades(path: Path | str) -> list[GradedReading]:
    """The readings of graded realism, as `ml.readers.grading.analyse_grades` takes them.

    Raises:
        ReadersError: as `load`.
    """
    return graded_readings(*_text_of(path))


def _text_of(path: Path | str) -> tuple[str, str]:
    """The text of a file, and its name for refusals."""
    place = Path(path)
    try:
        return place.read_text("utf-8-sig"), place.name
    except OSError as error:
        raise ReadersError(f"{place} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ReadersError(f"{place.name} is not UTF-8 text; save it as CSV in UTF-8.") from error


def readings(text: str, name: str = "file") -> list[Reading]:
    """The readings in a table of trials (`TRIALS`), as `ml.readers.analysis.analyse` takes them.

    Columns may stand in any order, and others beside them. The first part of an unaware study is
    left out: `diagnoses`.

    Raises:
        ReadersError: no such table, or a cell that cannot be what its column says; the message
            names the file and the line.
    """
    needed = {
        "reader_code", "session_no", "position", "kind", "case_code", "patient", "truth",
        "generator", "lesion_class", "rating", "answered_class", "class_confidence", "reasons",
        "active_ms",
    }  # fmt: skip
    rows = _trials(text, name, needed)
    return [_reading(row, place) for row, place in rows if row.get("part") != "unaware"]


def diagnoses(text: str, name: str = "file") -> list[Reading]:
    """The first part of an unaware study, as `ml.readers.unaware.analyse_unaware` takes it.

    Raises:
        ReadersError: as `readings`.
    """
    needed = {"part", "rating", "answered_class", "class_confidence", "reasons", "truth"}
    rows = _trials(text, name, needed)
    return [_reading(row, place) for row, place in rows if row["part"] == "unaware"]


def pair_readings(text: str, name: str = "file") -> list[PairReading]:
    """The same of a study of pairs, as `ml.readers.choice.analyse_choices` takes them.

    Raises:
        ReadersError: as `readings`; also trials that show one image.
    """
    needed = {
        "reader_code", "session_no", "position", "kind", "case_code", "patient", "generator",
        "lesion_class", "choice", "asked_side", "active_ms",
    }  # fmt: skip
    return [_pair_reading(row, place) for row, place in _trials(text, name, needed)]


def graded_readings(text: str, name: str = "file") -> list[GradedReading]:
    """The same of graded realism, as `ml.readers.grading.analyse_grades` takes them.

    Raises:
        ReadersError: as `readings`; also trials of which no question was graded.
    """
    needed = {
        "reader_code", "session_no", "position", "kind", "case_code", "patient", "truth",
        "generator", "lesion_class", "active_ms", "answered", *GRADES,
    }  # fmt: skip
    return [_graded_reading(row, place) for row, place in _trials(text, name, needed)]


def _trials(text: str, name: str, needed: set[str]) -> list[tuple[dict[str, str], str]]:
    """The rows by column, each with its place."""
    rows = Rows(text.removeprefix("\ufeff"))
    try:
        header = next(iter(rows), [])
        missing = sorted(needed - set(header))
        if missing:
            raise ReadersError(
                f"{name} is no table of trials: it lacks {', '.join(missing)}. Take analysis.csv "
                "from the exports of a study."
            )
        found = []
        for cells in rows:
            place = f"{name} line {rows.line}"
            if len(cells) != len(header):
                raise ReadersError(f"{place}: {len(cells)} fields where {len(header)} were named.")
            found.append((dict(zip(header, cells, strict=True)), place))
    except csv.Error as error:
        raise ReadersError(f"{name} line {rows.line}: {error}.") from error
    if not found:
        raise ReadersError(f"{name} has a header but no trial.")
    return found


def _reading(row: Mapping[str, str], place: str) -> Reading:
    if row.get("asked_side"):
        raise ReadersError(f"{place} is a pair of images: read this table with load_pairs.")
    kind = _one_of(row, "kind", _KINDS, place)
    return Reading(
        reader=row["reader_code"],
        case=row["case_code"],
        synthetic=_one_of(row, "truth", _TRUTH, place) == "1",
        rating=_whole(row, "rating", place),
        generator=row["generator"] or None,
        position=_whole(row, "position", place) or 0,
        session=_whole(row, "session_no", place) or 1,
        is_repeat=kind == "repeat",
        is_practice=kind == "practice",
        patient=row["patient"] or None,
        lesion_class=row["lesion_class"] or None,
        answered_class=row["answered_class"] or None,
        class_confidence=_whole(row, "class_confidence", place),
        reasons=tuple(row["reasons"].split("|")) if row["reasons"] else (),
        active_ms=_whole(row, "active_ms", place),
        unsent=_is_unsent(row),
    )


def _pair_reading(row: Mapping[str, str], place: str) -> PairReading:
    kind = _one_of(row, "kind", _KINDS, place)
    return PairReading(
        reader=row["reader_code"],
        case=row["case_code"],
        asked=Side(_one_of(row, "asked_side", _SIDES, place)),
        answer=Side(_one_of(row, "choice", _SIDES, place)) if row["choice"] else None,
        generator=row["generator"],
        other=row.get("other_generator") or None,
        position=_whole(row, "position", place) or 0,
        session=_whole(row, "session_no", place) or 1,
        is_repeat=kind == "repeat",
        is_practice=kind == "practice",
        patient=row["patient"] or None,
        lesion_class=row["lesion_class"] or None,
        active_ms=_whole(row, "active_ms", place),
        unsent=_is_unsent(row),
    )


def _is_unsent(row: Mapping[str, str]) -> bool:
    """Whether it was answered without its picture having been sent, where the table says so."""
    return UNSENT in row.get("time_marks", "").split("|")


def _graded_reading(row: Mapping[str, str], place: str) -> GradedReading:
    kind = _one_of(row, "kind", _KINDS, place)
    found = [_whole(row, name, place) for name in GRADES]
    grades = tuple(one for one in found if one is not None)
    if _one_of(row, "answered", _YES_NO, place) == "1" and not grades:
        raise ReadersError(f"{place} has an answer without a grade: this is no graded realism.")
    if found[: len(grades)] != list(grades):
        raise ReadersError(f"{place}: a grade is missing between two others.")
    return GradedReading(
        reader=row["reader_code"],
        case=row["case_code"],
        synthetic=_one_of(row, "truth", _TRUTH, place) == "1",
        grades=grades or None,
        generator=row["generator"] or None,
        position=_whole(row, "position", place) or 0,
        session=_whole(row, "session_no", place) or 1,
        is_repeat=kind == "repeat",
        is_practice=kind == "practice",
        patient=row["patient"] or None,
        lesion_class=row["lesion_class"] or None,
        active_ms=_whole(row, "active_ms", place),
        unsent=_is_unsent(row),
    )


def _whole(row: Mapping[str, str], column: str, place: str) -> int | None:
    text = row[column].strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise ReadersError(f"{place}: {column} is {text!r}, no whole number.") from error


def _one_of(row: Mapping[str, str], column: str, known: Values, place: str) -> str:
    if row[column] not in known:
        raise ReadersError(f"{place}: {column} is {row[column]!r}, none of {', '.join(known)}.")
    return row[column]
