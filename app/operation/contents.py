"""What a database holds: its rows counted, and every stored object compared with its name."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass

import sqlalchemy as sa

from app.errors import Damaged
from app.models.ground.installation import KEY
from app.models.ground.trail import Head
from ml.progress import Progress

_EVERY = 50
"""Objects between two steps of progress."""


@dataclass(frozen=True)
class Contents:
    """What a database holds at one moment.

    Attributes:
        schema: the revision of its tables; "" of an empty database.
        key: fingerprint of the installation's key; None where none is noted yet.
        rows: of each table.
        objects, object_bytes: images, stimuli, weights and reports: how many, and how large.
        objects_sha256: SHA-256 over their names in order.
        damaged: names of objects that are no longer what was stored.
        trail: head of the audit trail, as ``NUMBER:HEX``; "" where it is no chain yet.
    """

    schema: str
    key: str | None
    rows: dict[str, int]
    objects: int
    object_bytes: int
    objects_sha256: str
    damaged: tuple[str, ...] = ()
    trail: str = ""

    @property
    def words(self) -> str:
        """How much it is."""
        rows = sum(self.rows.values())
        return (
            f"{rows:,} rows in {len(self.rows)} tables, {self.objects:,} stored objects of "
            f"{self.object_bytes / 1e6:,.1f} MB, schema {self.schema}"
        )

    def differences(self, other: Contents) -> list[str]:
        """Where another database holds something else, in words."""
        told = [
            f"table {name}: {self.rows.get(name, 0)} rows, not {other.rows.get(name, 0)}"
            for name in sorted(self.rows.keys() | other.rows.keys())
            if self.rows.get(name) != other.rows.get(name)
        ]
        if self.objects_sha256 != other.objects_sha256:
            told.append("other stored objects")
        if self.schema != other.schema:
            told.append(f"schema {self.schema}, not {other.schema}")
        return told


def count(connection: sa.Connection) -> Generator[Progress, None, Contents]:
    """The contents behind a connection: of one moment, where its transaction is.

    Raises:
        Damaged: it holds none of Hepatica's tables.
    """
    names = sorted(sa.inspect(connection).get_table_names())
    if "alembic_version" not in names or "blob" not in names:
        raise Damaged("This is no database of Hepatica: its tables are missing.")
    rows = {name: _rows(connection, name) for name in names}
    of_names, size, damaged = hashlib.sha256(), 0, []
    known = {column["name"] for column in sa.inspect(connection).get_columns("blob")}
    erased = "erased_at IS NOT NULL" if "erased_at" in known else "1 = 0"
    stored = connection.execute(
        sa.text(f"SELECT digest, data, {erased} FROM blob ORDER BY digest"),  # noqa: S608
        execution_options={"stream_results": True, "max_row_buffer": 8},
    )
    for number, (digest, data, is_erased) in enumerate(stored, 1):
        of_names.update(digest.encode())
        size += len(data)
        if is_erased:  # for good (`app.models.erasures`); its name stays
            damaged += [digest] if data else []
        elif hashlib.sha256(data).hexdigest() != digest:
            damaged.append(digest)
        if number % _EVERY == 0 or number == rows["blob"]:
            yield Progress(number, rows["blob"], "stored objects are compared")
    return Contents(
        schema=str(connection.scalar(sa.text("SELECT version_num FROM alembic_version")) or ""),
        key=_fingerprint(connection) if "fingerprint" in names else None,
        rows=rows,
        objects=rows["blob"],
        object_bytes=size,
        objects_sha256=of_names.hexdigest(),
        damaged=tuple(damaged),
        trail=_trail(connection) if "trail_entry" in names else "",
    )


def _rows(connection: sa.Connection, name: str) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one()


def _trail(connection: sa.Connection) -> str:
    entry = sa.table("trail_entry", sa.column("number"), sa.column("digest"))
    last = connection.execute(
        sa.select(entry.c.number, entry.c.digest).order_by(entry.c.number.desc()).limit(1)
    ).first()
    return str(Head(last.number, bytes(last.digest))) if last else ""


def _fingerprint(connection: sa.Connection) -> str | None:
    kept = sa.table("fingerprint", sa.column("of"), sa.column("value"))
    found: str | None = connection.scalar(sa.select(kept.c.value).where(kept.c.of == KEY))
    return found
