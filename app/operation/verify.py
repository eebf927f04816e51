"""Whether what is stored is what was stored: of the database in use, or of a backup."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from app.db import Database
from app.errors import Conflict, Damaged
from app.models.ground.installation import mark
from app.operation import contents, postgresql, sqlite
from app.operation.contents import Contents
from app.operation.manifest import Manifest
from app.settings import Settings
from ml.progress import Progress

_NAMED = 3


def refuse_damaged(found: Contents, remedy: str) -> None:
    """Return where every stored object is what was stored.

    Raises:
        Damaged: some are not; their names and ``remedy``.
    """
    if found.damaged:
        named = ", ".join(f"{one[:16]}…" for one in found.damaged[:_NAMED])
        more = f" and {len(found.damaged) - _NAMED} more" if len(found.damaged) > _NAMED else ""
        raise Damaged(
            f"{len(found.damaged)} of {found.objects} stored objects are damaged: {named}{more}. "
            f"{remedy}"
        )


@dataclass
class InUse:
    """The database that is in use; iterate ``run``, then ask for ``found``."""

    database: Database
    settings: Settings
    found: Contents = field(init=False)

    def run(self) -> Iterator[Progress]:
        """Compare every stored object, and the key.

        Raises:
            Damaged: something is not what was stored.
            Conflict: the key is another than that of the database.
        """
        self.found = yield from self._count()
        refuse_damaged(self.found, "Restore them from a backup that was made before.")
        if self.found.key and not self.settings.has_key:
            raise Conflict(
                "All stored objects are what was stored; but the installation key is missing: "
                f"{self.settings.installation_key_file} is not there."
            )
        if self.found.key and self.found.key != mark(self.settings.key()):
            raise Conflict(
                "All stored objects are what was stored; but the installation key is not the one "
                "of this database."
            )

    def _count(self) -> Generator[Progress, None, Contents]:
        if self.database.engine.dialect.name == "postgresql":
            with postgresql.moment(self.database.engine) as (connection, _):
                return (yield from contents.count(connection))
        with self.database.reading() as session:
            connection = session.connection()
            sqlite.refuse_unsound(connection)
            return (yield from contents.count(connection))


@dataclass
class OfBackup:
    """A backup in ``folder``; iterate ``run``, then ask for ``manifest``."""

    folder: Path
    manifest: Manifest = field(init=False)

    def run(self) -> Iterator[Progress]:
        """Compare its copy with its manifest, and what the copy holds.

        Raises:
            NotFound: there is no backup.
            Damaged: it is not what was written.
        """
        self.manifest = Manifest.read(self.folder)
        yield from self.manifest.compare(self.folder)
        copy = self.folder / self.manifest.file
        if self.manifest.backend == "sqlite":
            with sqlite.opened(copy) as connection:
                sqlite.refuse_unsound(connection)
                found = yield from contents.count(connection)
            if found != self.manifest.contents:
                raise Damaged(f"{copy} holds something else than its manifest tells.")
        else:
            postgresql.refuse_unreadable(copy)
        refuse_damaged(
            self.manifest.contents,
            "They were so when it was made; an earlier backup may hold them.",
        )
