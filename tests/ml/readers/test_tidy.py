"""The tables for any program, and the table of trials read back."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from ml.ground.delimited import written
from ml.readers import tidy
from ml.readers.reading import Reading
from ml.statistics.proportion import ReadersError

ROW = {
    "reader_code": "R1", "session_no": 2, "position": 3, "kind": "first", "case_code": "i001",
    "patient": "p7", "truth": False, "lesion_class": "cyst", "rating": 5, "answered_class": "cyst",
    "class_confidence": 4, "reasons": "texture|edge", "active_ms": 1200,
}  # fmt: skip
READING = Reading(
    reader="R1", case="i001", synthetic=False, rating=5, position=3, session=2, patient="p7",
    lesion_class="cyst", answered_class="cyst", class_confidence=4, reasons=("texture", "edge"),
    active_ms=1200,
)  # fmt: skip


def test_codes_that_a_spreadsheet_takes_for_numbers_are_written_as_they_are_and_told_of() -> None:
    codes = ("1234567890123456", "0012345678901234", "12e4567890123456")
    assert written(("patient",), [(code,) for code in codes]).splitlines()[1:] == list(codes)
    [column] = [one for one in tidy.IMAGE if one.name == "patient"]
    assert "read as text" in column.meaning


def test_a_column_that_the_codebook_lacks_is_refused() -> None:
    with pytest.raises(ReadersError, match="no column secret"):
        tidy.table(tidy.ANSWERS, [{"secret": 1}])


def test_the_codebook_describes_every_column_and_lists_its_values() -> None:
    tables = {"answers.csv": tidy.ANSWERS, "analysis.csv": tidy.TRIALS}
    book = list(
        csv.DictReader(io.StringIO(tidy.codebook(tables, {"rating": {"1": "certainly real"}})))
    )
    for file, columns in tables.items():
        assert [row["column"] for row in book if row["file"] == file] == [c.name for c in columns]
    assert all(row["kind"] and row["meaning"] for row in book)
    values = {(row["file"], row["column"]): row["values"] for row in book}
    assert values["answers.csv", "truth"] == "0 = real; 1 = synthetic"
    assert values["analysis.csv", "rating"] == "1 = certainly real"
    # whatever is 0 or 1 says which is which
    assert all(row["values"] for row in book if row["kind"] == "0 or 1")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, READING),
        ({"kind": "repeat"}, replace(READING, is_repeat=True)),
        ({"kind": "practice", "rating": None}, replace(READING, is_practice=True, rating=None)),
        ({"truth": True, "generator": "=g", "patient": None},
         replace(READING, synthetic=True, generator="'=g", patient=None)),
    ],
)  # fmt: skip
def test_a_table_of_trials_is_read_back(change: dict[str, object], wanted: Reading) -> None:
    assert tidy.readings(tidy.table(tidy.TRIALS, [ROW | change])) == [wanted]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("first", "frist"), "line 2: kind is 'frist', none of practice"),
        ((",5,", ",five,"), "line 2: rating is 'five', no whole number"),
        (("reader_code", "reader"), "no table of trials: it lacks reader_code"),
        (("texture|edge", "texture,edge"), "line 2: .* fields where"),
    ],
)
def test_a_table_with_a_fault_is_refused_by_its_line(change: tuple[str, str], message: str) -> None:
    text = tidy.table(tidy.TRIALS, [ROW]).replace(*change)
    with pytest.raises(ReadersError, match=message):
        tidy.readings(text, "analysis.csv")
    with pytest.raises(ReadersError, match="no trial"):
        tidy.readings(tidy.table(tidy.TRIALS, []))


def test_a_table_of_pairs_is_read_as_pairs_and_refused_as_ratings(tmp_path: Path) -> None:
    pair = ROW | {"rating": None, "truth": None, "choice": "left", "asked_side": "right",
                  "generator": "dcgan"}  # fmt: skip
    file = tmp_path / "analysis.csv"
    file.write_text(tidy.table(tidy.TRIALS, [pair]), "utf-8")
    [read] = tidy.load_pairs(file)
    assert (read.answer, read.asked, read.generator) == ("left", "right", "dcgan")
    with pytest.raises(ReadersError, match=r"analysis\.csv line 2 is a pair.* load_pairs"):
        tidy.load(file)
    with pytest.raises(ReadersError, match=r"absent\.csv cannot be read"):
        tidy.load_pairs(tmp_path / "absent.csv")
