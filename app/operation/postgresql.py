"""Archives of a PostgreSQL database, by ``pg_dump`` and ``pg_restore`` of its own client."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from app.errors import Conflict, Damaged, Unavailable


@contextmanager
def moment(engine: sa.Engine) -> Iterator[tuple[sa.Connection, str]]:
    """A connection that sees one moment only, and the name under which others see the same."""
    with engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        name = connection.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one()
        yield connection, str(name)


def dump(address: sa.URL, snapshot: str, target: Path) -> None:
    """Write the database of a moment into an archive.

    Raises:
        Unavailable: ``pg_dump`` is not here, or failed; what it said.
    """
    with _addressed(address) as place:
        _run(
            "pg_dump", "--format=custom", "--no-owner", "--no-privileges",
            f"--snapshot={snapshot}", f"--file={target}", f"--dbname={place}",
        )  # fmt: skip


def refuse_unreadable(archive: Path) -> None:
    """Return where an archive can be read.

    Raises:
        Unavailable: ``pg_restore`` is not here.
        Damaged: it cannot be read.
    """
    try:
        _run("pg_restore", "--list", str(archive))
    except _Failed as failed:
        raise Damaged(f"{archive} is no archive that can be read: {failed.said}") from None


def restore(address: sa.URL, archive: Path) -> None:
    """Fill an empty database from an archive, wholly or not at all.

    Raises:
        Unavailable: ``pg_restore`` is not here, or failed; what it said.
    """
    with _addressed(address) as place:
        _run(
            "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner",
            "--no-privileges", f"--dbname={place}", str(archive),
        )  # fmt: skip


def refuse_filled(connection: sa.Connection) -> None:
    """Return where a database holds no table.

    Raises:
        Conflict: it does.
    """
    if sa.inspect(connection).get_table_names():
        raise Conflict(
            "The database that HEPATICA_DATABASE_URL names holds tables already. A backup is "
            "restored into an empty one, so that nothing is overwritten: make it with `createdb`, "
            "and name it there."
        )


class _Failed(Unavailable):
    """A tool ended with a fault; ``said`` are its last lines."""

    def __init__(self, tool: str, said: str) -> None:
        super().__init__(f"{tool} failed: {said}")
        self.said = said


@contextmanager
def _addressed(address: sa.URL) -> Iterator[str]:
    """What the tools are told to connect to; the password is in a file of this account alone.

    In their words or environment other accounts, or a log, could see it.
    """
    bare = address.set(drivername="postgresql", password=None)
    if not address.password:
        yield bare.render_as_string(hide_password=False)
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:  # mode 600
        escaped = re.sub(r"([\\:])", r"\\\1", str(address.password))
        file.write(f"*:*:*:*:{escaped}\n")
        file.flush()
        told = bare.update_query_dict({"passfile": file.name})
        yield told.render_as_string(hide_password=False)


def _run(tool: str, *words: str) -> None:
    path = shutil.which(tool)
    if path is None:
        raise Unavailable(
            f"{tool} is not installed here. It comes with PostgreSQL's client, which must not be "
            "older than the server (Debian: postgresql-client)."
        )
    ended = subprocess.run(  # noqa: S603 - no shell, and the words are our own
        [path, *words], capture_output=True, text=True, errors="replace",
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        raise _Failed(
            tool, " ".join(lines[-2:])[:300] if lines else f"exit status {ended.returncode}."
        )
