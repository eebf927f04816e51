"""What hundreds of tests need and always comes out the same: done once in a process, then again
from what was kept; folders that take seconds to fill, once in a run of all its processes.

Each stands where the real thing is called; what it does the first time is the real thing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import certifi
import pytest
import sqlalchemy as sa

Statements = list[tuple[str, Any]]
_PASSING = ("SELECT", "SHOW", "PRAGMA", "SAVEPOINT", "RELEASE")


def folder(
    tmp_path_factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]
) -> Path:
    """A folder for all processes of a run, filled by the first that asks; nobody changes it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made, ready = shared / name, shared / f"{name}.ready"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second process waits until the first has filled it
        if not ready.exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            fill(made)
            ready.touch()
    return made


def audits(audit: Callable[..., Any]) -> Callable[..., Any]:
    """The leak audit: a function of the images and nothing else, whose result cannot be changed."""
    kept: dict[Any, Any] = {}

    def once(real: list[Any], synthetic: list[Any]) -> Any:
        images = (tuple(real), tuple(synthetic))
        if images not in kept:
            kept[images] = audit(*images)
        return kept[images]

    return once


def classifiers(load: Callable[..., Any]) -> Callable[..., Any]:
    """The classifier of a checkpoint: megabytes that every start of an application reads anew.

    A test of stored bytes that were damaged asks for a checkpoint of its own, or past this.
    """
    kept: dict[Any, Any] = {}

    @wraps(load)
    def once(inference: Any, session: Any, checkpoint: Any) -> Any:
        stored = (checkpoint.onnx_digest, checkpoint.trust_digest, json.dumps(checkpoint.meta))
        told = (checkpoint.id, *stored, inference._threads)
        if told not in kept:
            kept[told] = load(inference, session, checkpoint)
        return kept[told]

    return once


def contexts(create: Callable[..., Any]) -> Callable[..., Any]:
    """What every client of HTTP trusts by itself: 300 authorities, read for each of them anew."""
    kept: dict[str, Any] = {}

    def once(*purpose: Any, **sources: Any) -> Any:
        if purpose or list(sources) != ["cafile"] or sources["cafile"] != certifi.where():
            return create(*purpose, **sources)
        if "certifi" not in kept:
            kept["certifi"] = create(**sources)
        return kept["certifi"]

    return once


def migrations(upgrade: Callable[[sa.Connection], None]) -> Callable[[sa.Connection], None]:
    """All migrations of an empty database: SQLite is given the schema that they end with, and
    PostgreSQL what they executed. A database that is not empty is migrated as ever.
    """
    kept: dict[str, Statements] = {}

    @wraps(upgrade)
    def once(connection: sa.Connection) -> None:
        kind = connection.dialect.name
        if sa.inspect(connection).get_table_names():
            upgrade(connection)
        elif kind in kept:
            for statement, parameters in kept[kind]:
                connection.exec_driver_sql(statement, parameters)
        else:
            with executed(connection) as statements:
                upgrade(connection)
            kept[kind] = _schema(connection) if kind == "sqlite" else statements

    return once


def _schema(connection: sa.Connection) -> Statements:
    made = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
        "ORDER BY type = 'trigger', type = 'index', rowid"
    )
    head = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    rows = {
        table: connection.exec_driver_sql(f'SELECT count(*) FROM "{table}"').scalar_one()
        for table in sa.inspect(connection).get_table_names()
    }
    assert [table for table, count in rows.items() if count] == ["alembic_version"]
    return [
        *((statement, ()) for (statement,) in made),
        ("INSERT INTO alembic_version VALUES (?)", (head,)),
    ]


@contextmanager
def executed(connection: sa.Connection) -> Iterator[Statements]:
    """What is executed meanwhile and is neither a question nor a savepoint."""
    statements: Statements = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if not statement.lstrip().upper().startswith(_PASSING):
            statements.append((statement, parameters or None))

    sa.event.listen(connection, "before_cursor_execute", keep)
    try:
        yield statements
    finally:
        sa.event.remove(connection, "before_cursor_execute", keep)
