"""A backup while the installation is in use: the database of one moment, checked, in a folder.

All that must survive is in the database. The installation key is not copied: it would open what is
encrypted in the backup. Its fingerprint is noted, so that a restore refuses another key.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.db import Database, now
from app.errors import Conflict, Unavailable
from app.faults import Trouble, code, trouble
from app.operation import contents, postgresql, sqlite
from app.operation.contents import Contents
from app.operation.manifest import FILES, FORMAT, NAME, Manifest, digest
from app.settings import VERSION
from ml.ground.errors import is_full, reason
from ml.progress import Progress


@dataclass
class Backup:
    """One backup under ``home``; iterate ``run``, then ask for ``folder`` and ``manifest``."""

    database: Database
    home: Path
    folder: Path = field(init=False)
    manifest: Manifest = field(init=False)

    def run(self) -> Iterator[Progress]:
        """Copy, compare every stored object, write the manifest, give the folder its name.

        Objects that are damaged already are named in the manifest; the backup is made all the same.

        Raises:
            Unavailable: the disk is full, or the database or its tools do not do their part.
            Conflict: the database is in memory.
            Damaged: the copy is not sound.
        """
        made_at = now()
        self.folder = self.home / f"hepatica-{made_at:%Y%m%dT%H%M%S%fZ}"
        with _whole(self.folder) as partial:
            backend = self.database.engine.dialect.name
            copy = partial / FILES[backend]
            yield Progress(0, 1, "the database is copied")
            held = yield from (self._sqlite if backend == "sqlite" else self._postgresql)(copy)
            size, sha256 = digest(copy)
            self.manifest = Manifest(
                FORMAT, VERSION, backend, f"{made_at:%Y-%m-%dT%H:%M:%SZ}", size, sha256, held
            )
            (partial / NAME).write_text(self.manifest.text, "utf-8")
            sqlite.sync(partial / NAME)

    def _sqlite(self, copy: Path) -> Generator[Progress, None, Contents]:
        file = self.database.file
        if file is None:
            raise Conflict("The database is in memory: there is nothing that could be kept.")
        _refuse_too_large(file.path, copy.parent)
        sqlite.copy(file, copy)
        with sqlite.opened(copy) as connection:
            sqlite.refuse_unsound(connection)
            return (yield from contents.count(connection))

    def _postgresql(self, copy: Path) -> Generator[Progress, None, Contents]:
        with postgresql.moment(self.database.engine) as (connection, snapshot):
            postgresql.dump(self.database.engine.url, snapshot, copy)
            postgresql.refuse_unreadable(copy)
            sqlite.sync(copy)
            return (yield from contents.count(connection))


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to write in, which becomes ``folder`` at the end, or is removed with all in it.

    Raises:
        Unavailable: the system did not let it be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        sqlite.sync(partial)
        partial.rename(folder)
        sqlite.sync(folder.parent)
    except OSError as error:
        room = "Make room, or name another folder" if is_full(error) else "Name another folder"
        raise Unavailable(
            f"{folder.parent} cannot be written: {reason(error)}. No backup was made. {room}."
        ) from error
    except sqlite3.Error as error:
        full = trouble(error) is Trouble.FULL
        room = f" Make room in {folder.parent}, or name another folder." if full else ""
        raise Unavailable(f"No backup was made: {code(error)}.{room}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_too_large(file: Path, folder: Path) -> None:
    """Return where a copy has room.

    Raises:
        Unavailable: it has not.
    """
    pages = [file, file.with_name(file.name + "-wal")]
    needed = sum(one.stat().st_size for one in pages if one.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Unavailable(
            f"The backup needs up to {needed / 1e6:,.0f} MB, and {folder.parent} has "
            f"{free / 1e6:,.0f} MB left. No backup was made. Make room, or name another folder."
        )
