"""Ratings from the files of the field: long CSV (also MRMCaov's) and ``.imrmc``.

Truth is 1 for synthetic (signal present) and 0 for real (signal absent); a larger rating means
surer that it is synthetic. `ml.readers.exchange` writes the same files.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ml.ground.delimited import Rows
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Rating, Ratings


class RatingsFileError(ReadersError):
    """A file of readings that cannot be understood; the message names file and line."""


LONG_COLUMNS = ("reader", "treatment", "case", "truth", "rating")
PATIENT = "patient"
"""A further column, where several cases are of one patient; empty: the case is a patient's only."""
ONE_PATIENT = "of one patient are cases"
"""How a line in the head of ``.imrmc`` begins that names such cases, which its rows cannot."""
_ALIASES = {
    "readerid": "reader",
    "reader_code": "reader",
    "modalityid": "treatment",
    "modality": "treatment",
    "test": "treatment",
    "caseid": "case",
    "case_code": "case",
    "patient_id": "patient",
    "patientid": "patient",
    "cluster": "patient",
    "score": "rating",
}
_TRUTH = {
    "0": 0, "1": 1, "0.0": 0, "1.0": 1, "real": 0, "synthetic": 1, "false": 0, "true": 1,
}  # fmt: skip
_MISSING = {"", "na", "n/a", "nan", "null", "none"}
_MAX_BYTES = 200_000_000


def load(path: Path | str) -> Ratings:
    """Read a long CSV or an ``.imrmc`` file; which it is shows in the content, not the name.

    Raises:
        RatingsFileError: unreadable, too large, not text, or not of either form.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RatingsFileError(f"{path.name} is larger than {_MAX_BYTES // 10**6} MB.")
        data = path.read_bytes()
    except OSError as error:
        raise RatingsFileError(f"{path} cannot be read: {error.strerror}.") from error
    return parse(data, path.name)


def parse(data: bytes, name: str = "file") -> Ratings:
    """As `load`, from bytes; ``name`` is for messages.

    Raises:
        RatingsFileError: not text, or not of either form.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RatingsFileError(
            f"{name} is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8."
        ) from error
    if "\0" in text:
        raise RatingsFileError(f"{name} is not text; save it as CSV in UTF-8.")
    if not text.strip():
        raise RatingsFileError(f"{name} is empty; it needs the columns {', '.join(LONG_COLUMNS)}.")
    if re.search(r"^BEGIN DATA:", text, re.MULTILINE | re.IGNORECASE):
        return _parse_imrmc(text, name)
    return _parse_long(text, name)


def _parse_long(text: str, name: str) -> Ratings:
    rows = Rows(text)
    columns: dict[str, int] | None = None
    found: list[Rating] = []
    lines: dict[tuple[str, str, str], int] = {}
    truths: dict[str, tuple[int, int]] = {}
    patients: dict[str, tuple[str, int]] = {}
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if columns is None:
                columns = _header(cells, name)
                continue
            rating = _long_row(cells, columns, name, rows.line)
            truth, line = truths.setdefault(rating.case, (rating.truth, rows.line))
            if truth != rating.truth:
                raise RatingsFileError(
                    f"{name} line {rows.line}: case {rating.case} has truth {rating.truth}, "
                    f"but {truth} in line {line}."
                )
            whose = _patient(cells, columns)
            patient, line = patients.setdefault(rating.case, (whose, rows.line))
            if patient != whose:
                raise RatingsFileError(
                    f"{name} line {rows.line}: case {rating.case} is of patient "
                    f"{whose or 'nobody'!r}, but of {patient or 'nobody'!r} in line {line}."
                )
            if math.isnan(rating.score):
                continue
            key = (rating.reader, rating.treatment, rating.case)
            if key in lines:
                raise RatingsFileError(
                    f"{name} line {rows.line}: reader {key[0]} already rated case {key[2]} "
                    f"under treatment {key[1]} in line {lines[key]}; repeats belong in another "
                    "file."
                )
            lines[key] = rows.line
            found.append(rating)
    except csv.Error as error:
        raise RatingsFileError(f"{name} line {rows.line}: {error}.") from error
    if not found:
        raise RatingsFileError(f"{name} has a header but no rating.")
    return _of(found, {case: patient for case, (patient, _) in patients.items() if patient})


def _of(rows: Iterable[Rating], patients: Mapping[str, str]) -> Ratings:
    """The ratings; a case of nobody in particular is of somebody of its own, whatever its name."""
    if not patients:
        return Ratings.of(rows)
    found = list(rows)
    of = {row.case: f"case {row.case}" for row in found}
    return Ratings.of(found, of | {case: f"patient {who}" for case, who in patients.items()})


def _patient(cells: list[str], columns: Mapping[str, int]) -> str:
    place = columns.get(PATIENT)
    text = "" if place is None or place >= len(cells) else cells[place]
    return "" if text.lower() in _MISSING else text


def _header(cells: list[str], name: str) -> dict[str, int]:
    names = [re.sub(r"[\s.]+", "_", cell.lower()) for cell in cells]
    columns: dict[str, int] = {}
    for place, column in enumerate(names):
        meant = _ALIASES.get(column, column)
        if meant in (*LONG_COLUMNS, PATIENT) and meant in columns:
            raise RatingsFileError(
                f"{name} has two columns for the {meant}, {cells[columns[meant]]!r} and "
                f"{cells[place]!r}; leave out the one that is not meant."
            )
        columns.setdefault(meant, place)
    missing = [c for c in LONG_COLUMNS if c not in columns and c != "treatment"]
    if missing:
        raise RatingsFileError(
            f"{name} lacks {', '.join(missing)} among its columns; its first line must name "
            f"{', '.join(LONG_COLUMNS)}, and names {', '.join(cells)[:200]}."
        )
    return columns


def _long_row(cells: list[str], columns: Mapping[str, int], name: str, line: int) -> Rating:
    def cell(column: str) -> str:
        place = columns[column]
        return cells[place] if place < len(cells) else ""

    if len(cells) <= max(columns[c] for c in LONG_COLUMNS if c in columns):
        raise RatingsFileError(
            f"{name} line {line}: {len(cells)} fields where {len(columns)} were named."
        )
    reader, case = cell("reader"), cell("case")
    treatment = cell("treatment") if "treatment" in columns else "1"
    if not (reader and case and treatment):
        raise RatingsFileError(f"{name} line {line}: reader, treatment or case is empty.")
    truth = _TRUTH.get(cell("truth").lower())
    if truth is None:
        raise RatingsFileError(
            f"{name} line {line}: truth must be 0 (real) or 1 (synthetic), not {cell('truth')!r}."
        )
    if cell("rating").lower() in _MISSING:
        return Rating(reader, treatment, case, truth, math.nan)
    return Rating(reader, treatment, case, truth, _score(cell("rating"), name, line))


def _score(text: str, name: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RatingsFileError(f"{name} line {line}: the rating {text!r} is not a number.")
    return value


def _parse_imrmc(text: str, name: str) -> Ratings:
    """iMRMC's format: free text, optional sizes, ``BEGIN DATA:``, rows of four fields."""
    sizes: dict[str, int] = {}
    truths: dict[str, int] = {}
    scores: list[tuple[int, str, str, str, float]] = []
    seen: dict[tuple[str, str, str], int] = {}
    patients: dict[str, str] = {}
    started = False
    for number, raw in enumerate(text.splitlines(), start=1):
        if not started:
            size = re.match(r"(NR|N0|N1|NM)\s*:\s*(.*)", raw)
            if size:
                if not re.fullmatch(r"\d+", size[2].strip()):
                    raise RatingsFileError(
                        f"{name} line {number}: {size[1]} must be a whole number, "
                        f"not {size[2].strip()!r}."
                    )
                sizes[size[1]] = int(size[2])
            if raw.startswith(ONE_PATIENT):
                patients |= dict.fromkeys(raw.removeprefix(ONE_PATIENT).split(), str(number))
            started = raw.upper().startswith("BEGIN DATA:")
            continue
        line = re.sub(r"\s+", "", raw)
        if not line:
            continue
        fields = line.split(",")
        while len(fields) > 4 and not fields[-1]:
            fields.pop()
        if len(fields) != 4 or not all(fields):
            raise RatingsFileError(
                f"{name} line {number}: a row has readerID,caseID,modalityID,score; "
                f"this one is {raw.strip()[:80]!r}."
            )
        reader, case, modality, score = fields
        value = _score(score, name, number)
        if reader.lower() in ("truth", "-1"):
            if value not in (0, 1):
                raise RatingsFileError(
                    f"{name} line {number}: the truth of case {case} must be 0 or 1, not {score}."
                )
            if case in truths:
                raise RatingsFileError(f"{name} line {number}: case {case} has two truth rows.")
            truths[case] = int(value)
            continue
        key = (reader, case, modality)
        if key in seen:
            raise RatingsFileError(
                f"{name} line {number}: reader {reader} already rated case {case} under "
                f"{modality} in line {seen[key]}."
            )
        seen[key] = number
        scores.append((number, reader, case, modality, value))
    for number, _, case, _, _ in scores:
        if case not in truths:
            raise RatingsFileError(f"{name} line {number}: case {case} has no truth row.")
    if not scores:
        raise RatingsFileError(f"{name} has no rating after BEGIN DATA:.")
    ratings = _of((Rating(r, m, c, truths[c], s) for _, r, c, m, s in scores), patients)
    absent = sum(1 for value in truths.values() if value == 0)
    counted = {
        "NR": len(ratings.readers),
        "N0": absent,
        "N1": len(truths) - absent,
        "NM": len(ratings.treatments),
    }
    for key_, said in sizes.items():
        if said != counted[key_]:
            raise RatingsFileError(
                f"{name} says {key_}: {said}, but its data hold {counted[key_]}."
            )
    return ratings
