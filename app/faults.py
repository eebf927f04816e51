"""Faults of the database, told in one sentence. What was to be stored is never in it.

The messages of a database may hold values ("Key (name)=(…) already exists"), so neither the page
nor the log repeats them: the log gets the kind of fault and its code.
"""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc

from app import place
from app.errors import AppError, Conflict, Taken, Unavailable, Unreadable


class Trouble(StrEnum):
    """Why a database does not do its part. None of it is the fault of what was asked."""

    FULL = (
        "The disk that holds the database is full. Nothing was stored; what is there can be read. "
        "An administrator must make room; then try again."
    )
    READ_ONLY = (
        "The database can only be read at the moment. Nothing was stored. An administrator must "
        "make it writable; then try again."
    )
    BUSY = (
        "The database is busy, and it takes longer than usual. Nothing was stored; try again in a "
        "few seconds."
    )
    GONE = (
        "The database does not answer. Nothing was stored; try again in a few seconds. If it "
        "lasts, tell an administrator."
    )
    DAMAGED = (
        "The database is damaged. Nothing was stored. An administrator must restore it from a "
        "backup."
    )
    SCHEMA = (
        "The database has another schema than this version of the software. Nothing was stored. "
        "An administrator must restart the server with the right version."
    )


_SQLITE = {
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_PERM: Trouble.READ_ONLY,
    sqlite3.SQLITE_BUSY: Trouble.BUSY,
    sqlite3.SQLITE_LOCKED: Trouble.BUSY,
    sqlite3.SQLITE_CANTOPEN: Trouble.GONE,
    sqlite3.SQLITE_IOERR: Trouble.GONE,
    sqlite3.SQLITE_CORRUPT: Trouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: Trouble.DAMAGED,
}
_POSTGRESQL = {
    "53100": Trouble.FULL,
    "25006": Trouble.READ_ONLY,
    "53300": Trouble.BUSY,
    "55P03": Trouble.BUSY,
    "57014": Trouble.BUSY,
    "40001": Trouble.BUSY,
    "40P01": Trouble.BUSY,
    "XX001": Trouble.DAMAGED,
    "XX002": Trouble.DAMAGED,
    "42P01": Trouble.SCHEMA,
    "42703": Trouble.SCHEMA,
}


def trouble(error: BaseException) -> Trouble | None:
    """What ails the database; None when the error is of another kind."""
    if isinstance(error, exc.TimeoutError):  # no connection came free
        return Trouble.BUSY
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        return _of_sqlite(original)
    state = getattr(original, "sqlstate", None)
    if state in _POSTGRESQL:
        return _POSTGRESQL[state]
    if isinstance(error, exc.DBAPIError):
        gone = error.connection_invalidated or isinstance(
            error, exc.OperationalError | exc.InterfaceError
        )
        return Trouble.GONE if gone else None
    return None


def _of_sqlite(error: sqlite3.Error) -> Trouble | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Trouble.GONE if isinstance(error, sqlite3.OperationalError) else None
    found = _SQLITE.get(code & 0xFF)
    if found is None and str(error).startswith(("no such table", "no such column")):
        return Trouble.SCHEMA
    return found


def refused(error: exc.SQLAlchemyError, metadata: sa.MetaData) -> AppError | None:
    """The refusal that a fault of the database becomes; None for a fault of our own.

    A unique constraint may say in ``info["taken"]`` what its violation means to people.
    """
    found = trouble(error)
    if found is not None:
        return Unavailable(found.value)
    if isinstance(error, exc.IntegrityError):
        return _broken(error, metadata)
    if isinstance(error, exc.DataError):
        return Unreadable(
            "Something that was sent cannot be stored: a number that is too large, or a control "
            "character in a text. Nothing was changed."
        )
    return None


def _broken(error: exc.IntegrityError, metadata: sa.MetaData) -> AppError | None:
    original = error.orig
    diagnosis = getattr(original, "diag", None)
    if diagnosis is not None:  # PostgreSQL
        kind = {"23505": "unique", "23503": "reference"}.get(getattr(original, "sqlstate", ""))
        name = diagnosis.constraint_name or ""
    else:
        code = getattr(original, "sqlite_errorcode", 0)
        kind = {
            sqlite3.SQLITE_CONSTRAINT_UNIQUE: "unique",
            sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "unique",
            sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "reference",
        }.get(code)
        name = ""
        if kind == "unique":
            name = str(original).rpartition(": ")[2]
    if kind == "reference":
        return Conflict(
            "Something that this needs was deleted a moment ago, or is still needed elsewhere. "
            "Nothing was changed; open the page again."
        )
    if kind == "unique":
        return Taken(_taken(name, metadata))
    return None


def _taken(name: str, metadata: sa.MetaData) -> str:
    """What the violated constraint means: by its name, or as SQLite lists its columns."""
    for table in metadata.tables.values():
        for one in [*table.constraints, *table.indexes]:
            if not isinstance(one, sa.UniqueConstraint | sa.Index) or "taken" not in one.info:
                continue
            columns = ", ".join(f"{table.name}.{column.name}" for column in one.columns)
            if name in (one.name, columns):
                return str(one.info["taken"])
    return (
        "Somebody else did the same a moment ago, and that counts. Nothing was changed; open the "
        "page again."
    )


def code(error: BaseException) -> str:
    """The kind of an error and its code, for the log: no values, no statement.

    Of a database that does not do its part also what its driver says first: that is about itself.
    """
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    of_a_driver = isinstance(original, sqlite3.Error) or hasattr(original, "sqlstate")
    if not of_a_driver and not isinstance(original, exc.TimeoutError):
        return type(error).__name__
    number = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    kind = type(original).__name__ + (f" {number}" if number else "")
    said = str(original).strip().partition("\n")[0] if trouble(error) is not None else ""
    return f"{kind}: {said}" if said else kind


def described(error: BaseException) -> str:
    """The kind and place of a fault for the log, with what led to it: no message, no values."""
    return "".join(_steps(error)).rstrip()


def _steps(error: BaseException) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _steps(cause)
        yield "  which led to\n"
    original = getattr(error, "orig", None)
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    yield f"{kind}{f' ({code})' if code else ''}\n"
    for frame in traceback.extract_tb(error.__traceback__)[-12:]:
        path = Path(frame.filename)
        where = path.relative_to(place.ROOT) if path.is_relative_to(place.ROOT) else path.name
        yield f"  {where}:{frame.lineno} in {frame.name}\n"
