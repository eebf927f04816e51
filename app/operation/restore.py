"""A backup put into a fresh place: compared before and after, under the key that it belongs to.

Nothing is ever overwritten. What was signed in is not any longer; what was revoked or disabled
after the backup is as it was then, and whoever restores is told; what the register of deletions
names is deleted again.
"""

from __future__ import annotations

import hmac
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from app import schema
from app.db import Database
from app.engine import Engines
from app.errors import Conflict, Damaged, Unavailable
from app.models.erasures.erasure import Erasure
from app.models.ground.event import Event
from app.models.ground.installation import Fingerprint, mark
from app.models.people.sign_in import SignIn
from app.operation import contents, postgresql, sqlite
from app.operation.contents import Contents
from app.operation.erasing import Erasing
from app.operation.manifest import Manifest
from app.operation.register import Register
from app.settings import Settings
from ml.ground.errors import is_full, reason
from ml.progress import Progress


@dataclass
class Restore:
    """The backup in ``folder`` put where the settings say; iterate ``run``."""

    folder: Path
    settings: Settings
    by: str
    manifest: Manifest = field(init=False)
    cleared: list[str] = field(default_factory=list)
    """What was deleted again, in words."""

    def run(self) -> Iterator[Progress]:
        """Compare the copy, put it in place, compare what is there, bring it up to date.

        Raises:
            NotFound: there is no backup.
            Damaged: it is not what was written, or what came of it is something else.
            Conflict: the place is taken, of another kind, or the key is another.
            Unavailable: the register of deletions cannot be read, the disk is full, or the
                database or its tools do not do their part.
        """
        self.manifest = Manifest.read(self.folder)
        address = sa.make_url(self.settings.database_url)
        if address.get_backend_name() != self.manifest.backend:
            raise Conflict(
                f"The backup is of a database of {self.manifest.backend}; HEPATICA_DATABASE_URL "
                f"names one of {address.get_backend_name()}. Name an empty one of the same kind."
            )
        if self.manifest.contents.schema not in schema.known():
            raise Conflict(
                "The backup was made by a newer version of the software "
                f"({self.manifest.version}). Restore it with that version."
            )
        self._refuse_other_key()
        # before anything is there that must be cleared by it
        Register(self.settings.deletions_file).read()
        yield from self.manifest.compare(self.folder)
        if self.manifest.backend == "sqlite":
            yield from self._sqlite(Path(str(address.database)).absolute())
        else:
            yield from self._postgresql(address)

    def _refuse_other_key(self) -> None:
        """Return where the settings' key is the one that the database was filled under.

        Raises:
            Conflict: it is missing, or another.
        """
        place = self.settings.installation_key_file
        if not self.settings.has_key:
            raise Conflict(
                f"The installation key is missing: {place} is not there. Put the key there that "
                "this installation had, from where it is kept beside the backups; a new one would "
                "open nothing. Nothing was restored."
            )
        of_backup = self.manifest.contents.key
        if of_backup and not hmac.compare_digest(of_backup, mark(self.settings.key())):
            raise Conflict(
                "The installation key is not the one under which the database of this backup was "
                f"filled. Put that one into {place}. Nothing was restored."
            )

    def _sqlite(self, target: Path) -> Iterator[Progress]:
        beside = [target.with_name(target.name + one) for one in ("", "-wal", "-shm", "-journal")]
        taken = [path for path in beside if path.exists()]
        if taken:
            raise Conflict(
                f"{taken[0]} is there already. Nothing is overwritten: move it away, or point "
                "HEPATICA_DATABASE_URL to a new file."
            )
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(self.folder / self.manifest.file, partial)
            sqlite.sync(partial)
            with sqlite.opened(partial) as connection:
                sqlite.refuse_unsound(connection)
                found = yield from contents.count(connection)
            self._refuse_difference(found)
            yield from self._bring_up(f"sqlite:///{partial}")
            sqlite.fold(partial)
            os.link(partial, target)  # unlike a rename, a link replaces nothing
            sqlite.sync(target.parent)
        except OSError as error:
            room = "Make room, or name another place" if is_full(error) else "Name another place"
            raise Unavailable(
                f"{target} cannot be written: {reason(error)}. Nothing was restored. {room} by "
                "HEPATICA_DATABASE_URL."
            ) from error
        except sqlite3.Error as error:
            raise Unavailable(f"Nothing was restored: {error}.") from error
        finally:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):
                    partial.with_name(partial.name + suffix).unlink()

    def _postgresql(self, address: sa.URL) -> Iterator[Progress]:
        engine = Engines.of(self.settings.database_url).writing
        try:
            with engine.connect() as connection:
                postgresql.refuse_filled(connection)
            yield Progress(0, 1, "the database is filled")
            postgresql.restore(address, self.folder / self.manifest.file)
            with postgresql.moment(engine) as (connection, _):
                found = yield from contents.count(connection)
        finally:
            engine.dispose()
        self._refuse_difference(found)
        yield from self._bring_up(self.settings.database_url)

    def _refuse_difference(self, found: Contents) -> None:
        """Return where the database holds what the backup tells.

        Raises:
            Damaged: it holds something else.
        """
        differences = self.manifest.contents.differences(found)
        if differences:
            raise Damaged(
                f"What was restored is not what was kept: {'; '.join(differences)[:500]}. Do not "
                "use it; take another backup."
            )

    def _bring_up(self, url: str) -> Iterator[Progress]:
        """This version's schema; nobody is signed in any longer; and it is noted."""
        yield Progress(1, 1, "the tables are brought up to date")
        database = Database(url)
        try:
            database.migrate()
            with database.transaction() as session:
                Fingerprint.confirm(session, self.settings.key())
                session.execute(sa.delete(SignIn))
                Event.record(
                    session, self.by, "restored from a backup", made_at=self.manifest.made_at
                )
            yield from self._clear(database)
        finally:
            database.engine.dispose()

    def _clear(self, database: Database) -> Iterator[Progress]:
        """Delete again what was deleted since, as the register of deletions tells."""
        erasing = Erasing(database, self.settings)
        register = erasing.register
        entries = register.read()
        if not register.path.exists():
            self.cleared.append(
                f"There is no register of deletions at {register.path}: what was deleted since "
                "must be deleted again. Put the register there before a backup is restored."
            )
        for entry in entries:
            with database.transaction() as session:
                erasure = Erasure.again(
                    session, entry.erasure, entry.kind, self.by, entry.cases, entry.studies
                )
            if erasure is None:
                continue
            yield from erasing.run(erasure.id, self.by)
            with database.reading() as session:
                found = Erasure.require(session, entry.erasure)
                why = " ".join(erasing.waits_for(session, found))
            self.cleared.append(
                f"The deletion {entry.erasure} of {entry.begun_at} was done again."
                if found.ended_at is not None
                else f"The deletion {entry.erasure} of {entry.begun_at} waits, and is done again "
                f"by itself when nothing is in the way: {why}"
            )
