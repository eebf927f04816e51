import csv

import pytest

from ml.ground.delimited import Rows, cell, written


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_first_line_tells_the_delimiter(delimiter):
    text = f"\na{delimiter}b\n1{delimiter}2\n"
    rows = Rows(text)
    assert [row for row in rows if row] == [["a", "b"], ["1", "2"]]
    assert rows.line == 3


def test_a_quotation_mark_that_nothing_closes_is_told():
    with pytest.raises(csv.Error):
        list(Rows('a,b\n1,"2\n3,4\n'))
    assert list(Rows('a,b\n1,5" wide\n')) == [["a", "b"], ["1", '5" wide']]


def test_a_delimiter_within_quotes_is_part_of_the_cell():
    assert list(Rows('a,b\n"1;2;3",4\n')) == [["a", "b"], ["1;2;3", "4"]]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "+49", "\t=1", " =1", "\r=1", "\uff1d1", "-"],
)
def test_a_text_that_a_spreadsheet_would_run_is_disarmed(text):
    expected = text if text == "+49" else "'" + text.replace("\r", "\n")
    assert cell(text) == expected
    assert list(Rows(written(["a", text], [[text, "b"]]))) == [["a", expected], [expected, "b"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (True, 1),
        (False, 0),
        (-1.5, -1.5),
        ("-2.5e3", "-2.5e3"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_other_values_stay_as_they_are(value, expected):
    assert cell(value) == expected
