"""Tables as text: spreadsheets of different countries write different delimiters."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

_DELIMITERS = ",;\t|"
_TOLD = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""The line in which some spreadsheets tell the delimiter, and which they do not show."""

_FORMULA = re.compile(r"[=+\-@\t\n\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet would run: also in the full-width forms of East Asia."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def written(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV with its header; nothing in it is a formula (see `cell`)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([cell(column) for column in columns])
    writer.writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


def cell(value: object) -> object:
    """A value as a cell: None is empty, a truth value 0 or 1, a text never a formula.

    A text that a spreadsheet would run gets an apostrophe in front, after OWASP's "CSV injection":
    one that begins with ``= + - @``, a tab or a line's end and is no number.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        # the writer quotes a line feed, and would leave a carriage return bare
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    # white space in front does not keep a spreadsheet from running what follows
    if isinstance(value, str) and _FORMULA.match(value.lstrip(" \u00a0")):
        return value if _NUMBER.fullmatch(value) else "'" + value
    return value


class Rows:
    """The rows of a delimited text, cells as they are written; the first line tells the delimiter.

    A first line ``sep=;`` is obeyed and is no row, as in the spreadsheets that write it. ``line``
    is the number of the line that was read last, from 1. Iterating raises `csv.Error` for a text
    that is no table, and for a quotation mark that nothing closes: it would swallow the rows after
    it.
    """

    def __init__(self, text: str) -> None:
        first, end, rest = text.partition("\n")
        told = _TOLD.fullmatch(first)
        if told and end:
            delimiter, text = told[1], rest
        else:
            first = next((line for line in text.splitlines() if line.strip()), "")
            delimiter = max(_DELIMITERS, key=first.count)
        self._reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)

    def __iter__(self) -> Iterator[list[str]]:
        return self._reader

    @property
    def line(self) -> int:
        """The number of the line that was read last, from 1; 0 before the first."""
        return self._reader.line_num
