"""A backup on a disk: a folder with a copy of the database and a manifest of what it holds.

``manifest.json`` is written last: a folder without one is no backup.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.errors import Damaged, NotFound
from app.operation.contents import Contents
from ml.ground.errors import reason
from ml.progress import Progress

NAME = "manifest.json"
FORMAT = 1
FILES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}
"""The copy of the database: a file of SQLite, or an archive of ``pg_dump --format=custom``."""

_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Manifest:
    """What a backup is of, and what it holds.

    Attributes:
        format: of the manifest.
        version: of the software that made it.
        backend: ``sqlite`` or ``postgresql``.
        made_at: ISO 8601, UTC.
        bytes, sha256: of the copy.
    """

    format: int
    version: str
    backend: str
    made_at: str
    bytes: int
    sha256: str
    contents: Contents

    @property
    def file(self) -> str:
        """The name of the copy."""
        return FILES[self.backend]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """That of a backup.

        Raises:
            NotFound: no backup is there.
            Damaged: it cannot be read, or a later version of the software made it.
        """
        try:
            told = json.loads((folder / NAME).read_text("utf-8"))
        except FileNotFoundError:
            raise NotFound(
                f"{folder} is no backup: it has no {NAME}. Name a folder that "
                "`python -m app backup` made."
            ) from None
        except OSError as error:
            raise NotFound(f"{folder / NAME} cannot be read: {reason(error)}.") from None
        except ValueError:
            raise Damaged(f"{folder / NAME} is damaged: take another backup.") from None
        if isinstance(told, dict) and told.get("format") != FORMAT:
            raise Damaged(
                f"{folder} has a manifest of format {told.get('format')!r}; {FORMAT} is known "
                "here. Restore it with the version of the software that made it."
            )
        try:
            found = TypeAdapter(cls).validate_python(told)
        except ValidationError:
            raise Damaged(f"{folder / NAME} is damaged: take another backup.") from None
        if found.backend not in FILES:
            raise Damaged(f"{folder / NAME} names no database that is known here.")
        return found

    @property
    def text(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    def compare(self, folder: Path) -> Iterator[Progress]:
        """Compare the copy with what is told of it.

        Raises:
            Damaged: it is gone, or not what was written.
        """
        path, found, done = folder / self.file, hashlib.sha256(), 0
        try:
            with path.open("rb") as stream:
                while block := stream.read(_AT_ONCE):
                    found.update(block)
                    done += len(block)
                    yield Progress(min(done, self.bytes), self.bytes, f"{path.name} is compared")
        except OSError as error:
            raise Damaged(f"{path} cannot be read: {reason(error)}. Take another backup.") from None
        if done != self.bytes or found.hexdigest() != self.sha256:
            raise Damaged(
                f"{path} is not what was written on {self.made_at}: it was cut off or changed. "
                "Take another backup."
            )


def digest(path: Path) -> tuple[int, str]:
    """(bytes, SHA-256) of a file."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), found
