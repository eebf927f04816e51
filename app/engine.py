"""Engines: how a database is opened, for writing, for reading, and for one short look.

SQLite: WAL, full sync, foreign keys; writers wait in a line (`app.turns`), and never is a file made
by opening it. PostgreSQL: few connections, which notice when the server has gone.
"""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sa

from app import text
from app.database_file import DatabaseFile
from app.faults import Trouble, trouble
from app.turns import Turn, Turns, busy

PATIENCE_S = 15.0
"""So long a request waits for the right to write."""

READING_WAIT_S = 5.0

POOL_KEPT, POOL_MOST = 4, 8
"""Connections to PostgreSQL that a process keeps, and has at most, for reading and for writing
each: no more than 17 a process, with the one that looks whether it is ready."""

POOL_WAIT_S = 10.0


@dataclass(frozen=True)
class Engines:
    """The ways into one database. ``file`` is None but for SQLite on a disk."""

    writing: sa.Engine
    reading: sa.Engine
    glance: sa.Engine
    file: DatabaseFile | None

    @classmethod
    def of(cls, url: str, patience_s: float = PATIENCE_S) -> Engines:
        """The engines for an address of SQLAlchemy's.

        Args:
            patience_s: so long a statement waits for a lock of PostgreSQL.
        """
        address = sa.make_url(url)
        if address.get_backend_name() != "sqlite":
            # Apart, because who reads may come to write, and nobody who writes comes to read: with
            # one pool for both all could hold the one and wait for the other.
            writing, reading = _postgresql(address, patience_s), _postgresql(address, patience_s)
            sa.event.listen(writing, "engine_disposed", lambda _engine: reading.dispose())
            return cls(writing, reading, _postgresql(address, 1.0, glance=True), None)
        if address.database in (None, "", ":memory:"):
            engine = _in_memory(address)
            return cls(engine, engine, engine, None)
        file = DatabaseFile(Path(str(address.database)))
        engine = _sqlite(address, file)
        return cls(engine, engine, _sqlite(address, file, glance=True), file)


def _postgresql(address: sa.URL, patience_s: float, *, glance: bool = False) -> sa.Engine:
    """Few connections: every process has its own, and a server has about a hundred for all.

    ``glance``: for one short look, which rather fails than waits.
    """
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    wait_s = 2 if glance else 5
    arguments: dict[str, object] = {
        "connect_timeout": wait_s,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }
    if "options" not in address.query:
        limits = [f"lock_timeout={1000 * patience_s:.0f}"]
        limits += [f"statement_timeout={1000 * wait_s}"] if glance else []
        arguments["options"] = " ".join(f"-c {one}" for one in limits)
    pool: dict[str, object] = (
        {"poolclass": sa.pool.NullPool}
        if glance
        else {
            "pool_size": POOL_KEPT,
            "max_overflow": POOL_MOST - POOL_KEPT,
            "pool_timeout": POOL_WAIT_S,
            "pool_pre_ping": True,
        }
    )
    return _guarded(address, connect_args=arguments, **pool)


def _guarded(address: sa.URL, **options: Any) -> sa.Engine:
    """An engine whose faults quote no values, and that keeps no text which a door should refuse."""
    engine = sa.create_engine(address, hide_parameters=True, json_serializer=text.dumps, **options)
    text.guard(engine)
    return engine


def _in_memory(address: sa.URL) -> sa.Engine:
    engine = _guarded(address, connect_args={"check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


def _sqlite(address: sa.URL, file: DatabaseFile, *, glance: bool = False) -> sa.Engine:
    """``glance``: for one short look, read-only, which rather fails than waits."""
    turns = Turns()

    def connect() -> sqlite3.Connection:
        connection = file.connect(read_only=glance, timeout_s=1.0 if glance else READING_WAIT_S)
        connection.isolation_level = None  # SQLAlchemy emits BEGIN, below
        return connection

    # No limit on connections: a request holds one for reading and then asks for one to write, so
    # as many requests at once as a pool has connections would wait for each other.
    pool: dict[str, object] = {"poolclass": sa.pool.NullPool} if glance else {"pool_size": 0}
    engine = _guarded(address, creator=connect, **pool)

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = file.identity()
        if not glance:
            _set_up(connection)

    @sa.event.listens_for(engine, "checkout")
    def on_checkout(connection: sqlite3.Connection, record: Any, _proxy: Any) -> None:
        if record.info["file"] != file.check():
            raise sa.exc.DisconnectionError("this connection is to a file that was there before")
        if record.info.pop("lax", False):
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA legacy_alter_table=OFF")

    @sa.event.listens_for(engine, "checkin")
    def on_checkin(_connection: Any, record: Any) -> None:
        turn: Turn | None = record.record_info.pop("turn", None)
        if turn is not None:
            turn.release()

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if glance or options.get("read_only", False):
            connection.exec_driver_sql("BEGIN")
            return
        record_info = connection.connection.record_info
        raw = connection.connection.dbapi_connection
        assert record_info is not None
        assert isinstance(raw, sqlite3.Connection)
        until = monotonic() + options.get("patience_s", PATIENCE_S)
        if "turn" not in record_info:
            record_info["turn"] = turns.take(until - monotonic())
        _begin_writing(raw, until)

    return engine


def _set_up(connection: sqlite3.Connection) -> None:
    """WAL, full sync, foreign keys. Several processes that open a new file meet at the first."""
    until = monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if trouble(error) != Trouble.BUSY or monotonic() >= until:
                raise
            sleep(_pause_s())
    connection.execute("PRAGMA synchronous=FULL")
    # what is deleted or replaced is overwritten with zeros, and not only given free
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_writing(connection: sqlite3.Connection, until: float) -> None:
    """Take SQLite's write lock, which another process may hold.

    Upgrading a read lock later would fail at once under contention, so a transaction that will
    write takes the lock first. SQLite's own waiting asks the less often the longer it lasts;
    asked for at short random intervals, everybody has the same chance.
    """
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if trouble(error) != Trouble.BUSY:
                    raise sa.exc.OperationalError("BEGIN IMMEDIATE", None, error) from error
                if monotonic() >= until:
                    raise busy() from error
            sleep(_pause_s())
    finally:
        connection.execute(f"PRAGMA busy_timeout={1000 * READING_WAIT_S:.0f}")


def _pause_s() -> float:
    return random.uniform(0.001, 0.008)  # noqa: S311 - who comes first is no secret


def keep_rows(connection: sa.Connection) -> None:
    """Let a migration on SQLite make tables anew without losing the rows that refer to them.

    Dropping the old table deletes its rows first, and with foreign keys on that deletes or
    refuses wherever they are referred to; renaming the new one asks whether all triggers still
    fit (sqlite.org/lang_altertable.html, 7). Within a transaction the first cannot be turned off;
    the next user of the connection finds both as they were.
    """
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.execute("PRAGMA foreign_keys=OFF")
    raw.execute("PRAGMA legacy_alter_table=ON")
    connection.info["lax"] = True
