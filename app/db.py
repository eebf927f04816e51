"""The database: one engine, one transaction a request, one place that commits.

A request's session is committed **before** its response leaves (``scope="function"``): FastAPI's
default would commit afterwards, when a failed commit has already been answered with 200.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

import sqlalchemy as sa
from alembic import command
from fastapi import Depends, Request
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from app import place, text

ROOT = place.ROOT

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Moment(sa.types.TypeDecorator[datetime]):
    """A point in time: timezone-aware UTC in Python on every database.

    Raises:
        ValueError: a naive datetime was to be stored.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A naive datetime must not be stored; use app.db.now().")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Root of every table."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Moment(),
        dict[str, Any]: sa.JSON(),
        list[str]: sa.JSON(),
        list[float]: sa.JSON(none_as_null=True),
        bytes: sa.LargeBinary(),
    }


def now() -> datetime:
    """The present moment, UTC and timezone-aware."""
    return datetime.now(UTC)


def make_engine(url: str) -> sa.Engine:
    """An engine for SQLite (WAL, foreign keys, full sync) or PostgreSQL."""
    address = sa.make_url(url)
    if address.get_backend_name() != "sqlite":
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(
            address,
            pool_pre_ping=True,
            pool_size=20,
            max_overflow=20,
            json_serializer=text.dumps,
        )
        text.guard(engine)
        return engine
    if address.database and address.database != ":memory:":
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    # No limit on connections: a request holds one for reading and then asks for one to write, so
    # as many requests at once as a pool has connections would wait for each other.
    pool = {} if address.database in (None, "", ":memory:") else {"pool_size": 0}
    engine = sa.create_engine(
        address,
        connect_args={"timeout": 30, "check_same_thread": False},
        json_serializer=text.dumps,
        **pool,
    )
    text.guard(engine)

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy emits BEGIN, below
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        # A transaction that will write takes the lock at once: upgrading a read lock later
        # fails immediately under contention, without the busy timeout.
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


class Database:
    """An engine and its two kinds of session: one that may write and one for reading."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        self._write = sessionmaker(self.engine, expire_on_commit=False)
        self._read = sessionmaker(
            self.engine.execution_options(read_only=True), autoflush=False, expire_on_commit=False
        )

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose work is committed when the block ends and undone when it raises."""
        with self._write() as session:
            yield session
            session.commit()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that is never committed."""
        with self._read() as session:
            yield session

    def migrate(self) -> None:
        """Bring the schema to the newest revision (Alembic)."""
        configuration = place.migrations()
        with self.engine.connect() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
            connection.commit()

    def is_migrated(self) -> bool:
        """Whether the schema is at the newest revision."""
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        scripts = ScriptDirectory.from_config(place.migrations())
        with self.engine.connect() as connection:
            context = MigrationContext.configure(connection)
            return context.get_current_heads() == tuple(scripts.get_heads())


def serialise(session: Session, purpose: str) -> None:
    """Let one transaction at a time pass here, until it ends.

    PostgreSQL takes an advisory lock; a writing SQLite transaction is alone already.
    """
    if session.get_bind().dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big", signed=True)
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


SessionContext = Callable[[], AbstractContextManager[Session]]


def _writing(request: Request) -> Iterator[Session]:
    opened: SessionContext = request.app.state.database.transaction
    with opened() as session:
        yield session


def _reading(request: Request) -> Iterator[Session]:
    opened: SessionContext = request.app.state.database.reading
    with opened() as session:
        yield session


Db = Annotated[Session, Depends(_writing, scope="function")]
"""A session that may write; committed before the response leaves."""

ReadDb = Annotated[Session, Depends(_reading, scope="function")]
"""A session for reading; nothing done in it is ever committed."""
