import pytest

from ml.ground.delimited import Rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_first_line_tells_the_delimiter(delimiter):
    text = f"\na{delimiter}b\n1{delimiter}2\n"
    rows = Rows(text)
    assert [row for row in rows if row] == [["a", "b"], ["1", "2"]]
    assert rows.line == 3


def test_a_delimiter_within_quotes_is_part_of_the_cell():
    assert list(Rows('a,b\n"1;2;3",4\n')) == [["a", "b"], ["1;2;3", "4"]]
