from ml.ground.plain_text import number, span, table


def test_what_there_is_not_is_a_dash():
    assert number(None) == span(None, 0.5) == span(0.5, None) == "–"


def test_numbers_have_the_digits_that_were_asked_for():
    assert number(0.123456) == "0.1235"
    assert span(0.1, 0.98765, 2) == "0.10 to 0.99"


def test_columns_are_as_wide_as_their_widest_cell():
    assert table(("a", "bb"), [("long", "x"), ("1", "")]) == ["a     bb", "long  x", "1"]
    assert table(("a",), []) == []
