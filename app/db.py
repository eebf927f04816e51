"""The database: one engine, one transaction a request, one place that commits.

A request's session is committed **before** its response leaves (``scope="function"``): FastAPI's
default would commit afterwards, when a failed commit has already been answered with 200.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from time import monotonic
from typing import Annotated, Any, ClassVar, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Request
from sqlalchemy.orm import DeclarativeBase, Session

from app import schema
from app.engine import PATIENCE_S, Engines, keep_rows
from app.errors import NotNow, Unavailable
from app.faults import Trouble, code, refused, trouble
from app.schema import Schema

MIGRATION_PATIENCE_S = 600.0
REMEMBER_FAULT_S = 60.0
"""After a write met a full disk an installation is not ready for so long, or until one succeeds."""

log = logging.getLogger("hepatica")

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


T = TypeVar("T")


def in_parts(values: Sequence[T], most: int = 500) -> Iterator[Sequence[T]]:
    """A long list cut for queries: no database takes any number of parameters in one."""
    for start in range(0, len(values), most):
        yield values[start : start + most]


class Moment(sa.types.TypeDecorator[datetime]):
    """A point in time: timezone-aware UTC in Python on every database.

    Raises:
        ValueError: a naive datetime was to be stored.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """What is stored: UTC; ValueError for a naive datetime."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A naive datetime must not be stored; use app.db.now().")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """What was stored, with its time zone: SQLite keeps none."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(sa.types.TypeDecorator[StrEnum]):
    """A word of a vocabulary: text in the database, its member in Python.

    Raises:
        ValueError: a word that is not in the vocabulary, to be stored or stored already.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, vocabulary: type[StrEnum], length: int) -> None:
        super().__init__(length)
        self.vocabulary = vocabulary

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """What is stored; a string and a member are the same."""
        return None if value is None else self.vocabulary(value).value

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> StrEnum | None:
        """The member."""
        return None if value is None else self.vocabulary(value)


class Base(DeclarativeBase):
    """Root of every table."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Moment(),
        dict[str, Any]: sa.JSON(),
        dict[str, int]: sa.JSON(),
        dict[str, float]: sa.JSON(),
        dict[str, float | str]: sa.JSON(),
        dict[str, object]: sa.JSON(),
        list[str]: sa.JSON(),
        list[float]: sa.JSON(none_as_null=True),
        list[int]: sa.JSON(none_as_null=True),
        bytes: sa.LargeBinary(),
    }


def now() -> datetime:
    """The present moment, UTC and timezone-aware."""
    return datetime.now(UTC)


class Database:
    """An engine and its two kinds of session: one that may write and one for reading.

    A fault of the database leaves every session as an AppError, and is in the log once.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        engines = Engines.of(url, patience_s)
        self.file = engines.file
        self.engine = engines.writing
        self._reading_engine = engines.reading.execution_options(read_only=True)
        self._glance_engine = engines.glance
        self._patience_s = patience_s
        self._cannot_write: tuple[float, str] | None = None

    @contextmanager
    def transaction(
        self, *, patience_s: float | None = None, quiet: bool = False
    ) -> Iterator[Session]:
        """A session whose work is committed when the block ends and undone when it raises.

        Args:
            patience_s: so long it waits for the right to write; None: as this database does.
            quiet: a fault is not worth a line in the log.

        Raises:
            Unavailable: the database does not do its part, or is not free within ``patience_s``.
            Taken: somebody else was faster, by a unique constraint.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        with self._told(writing=True, quiet=quiet), self._writing_session(patience_s) as session:
            yield session
            if self.file is not None:
                self.file.check()  # an acknowledged write must not go to a file without a name
            session.commit()
        self._cannot_write = None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that is never committed.

        Raises:
            Unavailable: the database does not do its part.
        """
        with self._told(), self._reading_session() as session:
            yield session

    @contextmanager
    def glance(self) -> Iterator[Session]:
        """A session for one short look over a connection of its own: it waits for nobody.

        Raises:
            Unavailable: the database does not do its part.
        """
        with self._told(quiet=True), self._glancing_session() as session:
            yield session

    def _writing_session(self, patience_s: float) -> Session:
        engine = self.engine.execution_options(patience_s=patience_s)
        return Session(engine, expire_on_commit=False)

    def _reading_session(self) -> Session:
        return Session(self._reading_engine, autoflush=False, expire_on_commit=False)

    def _glancing_session(self) -> Session:
        return Session(self._glance_engine, autoflush=False, expire_on_commit=False)

    @contextmanager
    def _told(self, *, writing: bool = False, quiet: bool = False) -> Iterator[None]:
        """Turn what the database raises into refusals, each in the log once."""
        begun = monotonic()
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            refusal = refused(error, Base.metadata)
            if refusal is None:
                raise
            found = trouble(error)
            if found is Trouble.GONE and self.file is not None and self.file.fault is not None:
                refusal = Unavailable(
                    f"The database cannot be opened: {self.file.fault}. Nothing was stored. An "
                    "administrator must see to it."
                )
            if writing and found in (Trouble.FULL, Trouble.READ_ONLY):
                self._cannot_write = (monotonic(), found.value)
            elif writing and found is Trouble.BUSY:
                self._note_wait_in_vain(begun, found.value)
            if isinstance(refusal, Unavailable):
                refusal.logged = quiet or _log(found.name if found else "", code(error))
            raise refusal from error
        except NotNow as error:
            if writing:
                self._note_wait_in_vain(begun, str(error))
            refusal = Unavailable(str(error))
            refusal.logged = quiet or _log(str(error), "")
            raise refusal from error

    def _note_wait_in_vain(self, begun: float, words: str) -> None:
        """Nobody can write, where one who waited to the end could not; the next write undoes it.

        Who waits on PostgreSQL waits for a row, and who gives up early tells nothing of others.
        """
        if self.file is not None and monotonic() - begun >= self._patience_s:
            self._cannot_write = (monotonic(), words)

    @contextmanager
    def migrating(self) -> Iterator[sa.Connection]:
        """A connection for changing the schema; committed when the block ends.

        Several processes may start at once: one migrates, the others wait for it here.

        Raises:
            RuntimeError: a migration broke references (SQLite); nothing of it is committed.
        """
        if self.file is not None:
            self.file.make()
            self.file.narrow()
        engine = self.engine.execution_options(patience_s=MIGRATION_PATIENCE_S)
        with self._told(), engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                keep_rows(connection)
                connection.begin()
            else:
                connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_key("migration"))))
            yield connection
            if connection.dialect.name == "sqlite":
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                if broken:
                    raise RuntimeError(f"A migration broke {len(broken)} references; it is undone.")
            connection.commit()

    def migrate(self) -> None:
        """Bring the schema to the newest revision (Alembic).

        Raises:
            OtherSchema: the database was made by a newer version.
        """
        with self.migrating() as connection:
            schema.upgrade(connection)

    def forget(self, tables: Sequence[str] = ("case", "series", "image")) -> None:
        """Leave nothing behind of what was replaced a moment ago, as far as the database can.

        SQLite has overwritten it in the file; its log is emptied. PostgreSQL writes ``tables``
        anew. Where somebody uses them it is not done, and the log says so.
        """
        names = ", ".join(f'"{name}"' for name in tables)
        statement = (
            f"VACUUM FULL {names}"
            if self.engine.dialect.name == "postgresql"
            else "PRAGMA wal_checkpoint(TRUNCATE)"
        )
        try:
            with self.engine.connect().execution_options(
                isolation_level="AUTOCOMMIT", read_only=True
            ) as connection:
                done = connection.exec_driver_sql(statement)
                busy = bool(done.returns_rows and done.one()[0])
        except sa.exc.DBAPIError:
            busy = True
        if busy:
            log.warning(
                "Replaced rows of cases may still be in the files of the database: %s",
                f"give it the statement {statement} when nobody uses it.",
            )

    def found_schema(self) -> Schema:
        """How far the schema is; looks without waiting, and makes no file."""
        if self.file is not None and self.file.identity() is None:
            return Schema.ABSENT
        with self.glance() as session:
            return schema.of(session.connection())

    def require_schema(self) -> None:
        """Nothing when the schema is this version's; OtherSchema with what to do."""
        schema.require(self.found_schema())

    def fault(self, session: Session) -> str | None:
        """Why the installation cannot work with the database now; None when it can.

        Args:
            session: from `glance`.
        """
        found = schema.of(session.connection())
        if found != Schema.CURRENT:
            return found.value
        if self._cannot_write is not None:
            at, words = self._cannot_write
            if monotonic() - at < REMEMBER_FAULT_S:
                return words
        if self.file is not None:
            return self.file.fault
        if session.get_bind().dialect.name == "postgresql":
            setting = sa.func.current_setting("default_transaction_read_only")
            standby, only_read = session.execute(
                sa.select(sa.func.pg_is_in_recovery(), setting)
            ).one()
            return "the database can only be read" if standby or only_read == "on" else None
        return None


def _log(what: str, code: str) -> bool:
    log.error("The database failed: %s%s", what, f" ({code})" if code else "")
    return True


def _key(purpose: str) -> int:
    """The advisory lock of a purpose, PostgreSQL."""
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big", signed=True)


def serialise(session: Session, purpose: str) -> None:
    """Let one transaction at a time pass here, until it ends.

    PostgreSQL takes an advisory lock; a writing SQLite transaction is alone already.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_key(purpose))))


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
