"""Tables as text: spreadsheets of different countries write different delimiters."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

_DELIMITERS = ",;\t"


class Rows:
    """The rows of a delimited text, cells as they are written; the first line tells the delimiter.

    ``line`` is the number of the line that was read last, from 1. Iterating raises `csv.Error`
    for a text that is no table.
    """

    def __init__(self, text: str) -> None:
        first = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = max(_DELIMITERS, key=first.count)
        self._reader = csv.reader(io.StringIO(text), delimiter=delimiter)

    def __iter__(self) -> Iterator[list[str]]:
        return self._reader

    @property
    def line(self) -> int:
        """The number of the line that was read last, from 1; 0 before the first."""
        return self._reader.line_num
