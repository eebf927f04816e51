"""The tables people keep beside their images: any delimiter, any header words, any spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.dataset.columns import GROUPS, OF_PHANTOMS, SYNONYMS, USED
from ml.dataset.manifest import ManifestError
from ml.ground.delimited import Rows
from ml.ground.errors import HepaticaError, reason


class PrepareError(ManifestError):
    """A table or folder from which no data set can be made."""


class CellError(HepaticaError):
    """One row cannot be used."""


@dataclass(frozen=True)
class Row:
    """One row of a table: where it stands, and its cells by lower-case column name."""

    number: int
    cells: Mapping[str, str]

    def get(self, column: str) -> str:
        """A cell, empty where the table lacks the column."""
        return self.cells.get(column, "")

    @property
    def groups(self) -> dict[str, str]:
        """What the row belongs to besides its class, by ``columns.GROUPS``."""
        return {column: self.get(column) for column in GROUPS if self.get(column)}


def found(folder: Path, name: str, told: Path | None) -> Path:
    """The table to read: the one told, ``folder/name``, or the only table in the folder.

    Raises:
        PrepareError: several tables, and none of that name.
    """
    if told is not None:
        return told
    path = folder / name
    if path.exists():
        if is_pipe(path):
            raise PrepareError(f"{path} is a pipe or a device; give a file.")
        return path
    tables = tables_in(folder)
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables[:5])
        raise PrepareError(
            f"{folder} has no {name}, but {len(tables)} tables ({names}); say which: --table FILE."
        )
    return tables[0] if tables else path


def tables_in(folder: Path) -> list[Path]:
    """The tables that lie in a folder itself."""
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in (".csv", ".tsv")
            and not path.name.startswith(".")
            and not is_pipe(path)
        )
    except OSError:
        return []


def is_pipe(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device: reading it may wait for ever."""
    return path.exists() and not (path.is_file() or path.is_dir())


def read(path: Path, needed: Sequence[str], renamed: Mapping[str, str] | None = None) -> list[Row]:
    """The rows of a table, its columns by the names that are used here.

    Args:
        path: a CSV with comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows-1252.
        needed: columns without which nothing can be done.
        renamed: names used here → header words of this table, besides ``columns.SYNONYMS``.

    Raises:
        PrepareError: no table, a column missing, twice or not to be told, cells beyond the header.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        if not path.parent.is_dir():
            raise PrepareError(f"{path.parent} is no folder.") from error
        raise PrepareError(
            f"{path} cannot be read ({reason(error)}); it must list {', '.join(needed)}."
        ) from error
    lines = _lines(_decoded(data, path.name), path.name)
    header = _header(lines[0][1] if lines else [], path.name, renamed or {})
    missing = [column for column in needed if column not in header]
    if missing:
        raise PrepareError(
            f"{path.name} has no column {', '.join(missing)}; its columns are "
            f"{', '.join(filter(None, header)) or 'none'}. Say which it is: --columns "
            f"{missing[0]}=HEADER."
        )
    if len(lines) == 1:
        raise PrepareError(f"{path.name} has a header but no rows.")
    long = [number for number, line in lines[1:] if any(line[len(header) :])]
    if long:
        raise PrepareError(
            f"{path.name}: row {long[0]} has more cells than the header (and {len(long) - 1} more "
            "rows); put a cell that contains the delimiter in quotes."
        )
    nameless = [
        number
        for number, line in lines[1:]
        if any(cell for name, cell in zip(header, line, strict=False) if not name)
    ]
    if nameless:
        raise PrepareError(
            f"{path.name}: row {nameless[0]} has a cell in a column without a name; name it."
        )
    return [
        Row(
            number,
            {name: cell for name, cell in zip(header, [*line, *[""] * len(header)], strict=False)
             if name},
        )
        for number, line in lines[1:]
    ]  # fmt: skip


def unused(rows: Sequence[Row], *known: str) -> list[str]:
    """A sentence for the columns that nothing is made of; nothing where there are none.

    Args:
        known: columns that this kind of table has besides.
    """
    used = (*USED, *GROUPS, *OF_PHANTOMS, *known)
    other = [column for column in rows[0].cells if column not in used]
    return [f"Not used: column {', '.join(other)}."] if other else []


def _lines(text: str, name: str) -> list[tuple[int, list[str]]]:
    """Every line that is not empty, with the number that a spreadsheet shows."""
    rows = Rows(text)
    number = 0
    found = []
    try:
        # empty lines count
        for number, line in enumerate(rows, 1):
            if any(cell.strip() for cell in line):
                found.append((number, [cell.strip() for cell in line]))
    except csv.Error as error:
        raise PrepareError(
            f"{name} is not a CSV file: row {number + 1} cannot be read ({error}); look for a "
            "quotation mark that is not closed, and write two for one within a cell."
        ) from error
    return found


def _header(cells: Sequence[str], name: str, renamed: Mapping[str, str]) -> list[str]:
    """The columns by the names that are used here; nameless ones are empty."""
    header = [cell.lower() for cell in cells]
    twice = sorted({cell for cell in header if cell and header.count(cell) > 1})
    if twice:
        raise PrepareError(f"{name} has a column twice: {', '.join(twice)}.")
    for column, word in renamed.items():
        if word.lower() not in header:
            raise PrepareError(
                f"{name} has no column {word!r} to be the {column}; its columns are "
                f"{', '.join(filter(None, header))}."
            )
        if column in header and word.lower() != column:
            header[header.index(column)] = f"{column} (not used)"
        header[header.index(word.lower())] = column
    for column, words in SYNONYMS.items():
        if column in header:
            continue
        plain = [_plain(cell) for cell in header]
        places = [i for i, cell in enumerate(plain) if cell in words]
        if len(places) > 1:
            shown = ", ".join(header[i] for i in places)
            raise PrepareError(
                f"{name}: each of the columns {shown} may be the {column}; say which: --columns "
                f"{column}={header[places[0]]}."
            )
        for i in places:
            header[i] = column
    return header


def _plain(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())


def _decoded(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise PrepareError(f"{name} is not text; save it as CSV in UTF-8.")
