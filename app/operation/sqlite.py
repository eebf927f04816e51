"""Copies of an SQLite database, of one moment, while it is in use."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from app.database_file import DatabaseFile
from app.errors import Damaged


def copy(file: DatabaseFile, target: Path) -> None:
    """A copy in one file, of the moment at which it began; writers go on meanwhile.

    Raises:
        NotNow: the database is not there.
        sqlite3.Error: it cannot be read, or the copy not be written.
    """
    with (
        closing(file.connect(read_only=True)) as live,
        closing(sqlite3.connect(target)) as copied,
    ):
        live.isolation_level = None
        live.execute("BEGIN")  # what is read within it is of one moment: nothing begins anew
        live.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        live.backup(copied, pages=-1)
    fold(target)


def fold(path: Path) -> None:
    """Put all of a database that nobody has open into its one file, and on the disk."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    sync(path)


@contextmanager
def opened(path: Path) -> Iterator[sa.Connection]:
    """A connection to a copy that nobody changes."""
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True
        ),
        poolclass=sa.pool.NullPool,
    )
    with engine.connect() as connection:
        yield connection


def refuse_unsound(connection: sa.Connection) -> None:
    """Return where SQLite finds its own structure sound, and no row refers to one that is gone.

    Raises:
        Damaged: it does not.
    """
    told = connection.exec_driver_sql("PRAGMA integrity_check(3)").scalars().all()
    if told != ["ok"]:
        raise Damaged(f"SQLite finds the database damaged: {'; '.join(map(str, told))[:300]}.")
    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(1)
    if lost:
        raise Damaged(
            f"Rows of the table {lost[0][0]} refer to rows of {lost[0][2]} that are gone."
        )


def sync(path: Path) -> None:
    """Have a file or a folder on the disk before going on.

    Raises:
        OSError: the system could not.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
