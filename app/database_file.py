"""The SQLite file of an installation: made for its account alone, and watched while in use.

Nothing here opens the file but SQLite itself: closing a descriptor of one's own would drop the
locks that SQLite holds in the same process (sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from app.errors import NotNow

LEAST_FREE_BYTES = 64_000_000
"""With less room on its disk an installation is not ready."""

log = logging.getLogger("hepatica")

Identity = tuple[int, int]
"""Device and inode: which file it is, whatever its name."""


class DatabaseFile:
    """One SQLite database on a disk, with its ``-wal`` and ``-shm``."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._known: Identity | None = None

    def make(self) -> None:
        """Make an empty database where there is none, and the folder for it."""
        if not self.path.parent.exists():
            self.path.parent.mkdir(parents=True, mode=0o700)
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        os.close(descriptor)  # it is new: nobody holds a lock on it
        log.warning("A new, empty database was made: %s", self.path)

    def narrow(self) -> None:
        """Take the rights of other accounts away; said in the log where there were any."""
        for suffix in ("", "-wal", "-shm", "-journal"):
            narrow(self.path.with_name(self.path.name + suffix), 0o600)
        narrow_folder(self.path.parent)

    def connect(self, *, read_only: bool = False, timeout_s: float = 5.0) -> sqlite3.Connection:
        """Open it; a file that is not there is never made.

        Raises:
            NotNow: it is not there, or not the one that was opened first.
            sqlite3.OperationalError: it cannot be opened.
        """
        self.check()
        mode = "ro" if read_only else "rw"
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=timeout_s,
            check_same_thread=False,
        )
        if self._known is None:
            self._known = self.identity()
        return connection

    def identity(self) -> Identity | None:
        """Which file lies at the path now; None when there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def check(self) -> Identity:
        """The file's identity, if it is the one that was opened first.

        Raises:
            NotNow: it is gone, or another file lies in its place.
        """
        found = self.identity()
        if found is None:
            raise NotNow(
                "The database file is gone. Nothing was stored. An administrator must put it back; "
                "work goes on as soon as it is there."
            )
        if self._known is not None and found != self._known:
            raise NotNow(
                "The database file was replaced by another one while the server ran. Nothing was "
                "stored. An administrator must restart the server to work with the new file."
            )
        return found

    @property
    def fault(self) -> str | None:
        """Why nothing can be written now, as far as the disk tells without trying; or None."""
        folder = self.path.parent
        try:
            self.check()
            disk = os.statvfs(folder)
        except NotNow as gone:
            return str(gone)
        except OSError as error:
            return f"the disk of the database cannot be asked: {error.strerror}"
        if not (os.access(self.path, os.W_OK) and os.access(folder, os.W_OK)):
            return "the database can only be read"
        free = disk.f_bavail * disk.f_frsize
        if free < min(LEAST_FREE_BYTES, disk.f_blocks * disk.f_frsize // 20):
            return f"the disk of the database is nearly full: {free / 1e6:.0f} MB are left"
        return None


def narrow(path: Path, mode: int) -> None:
    """Take every right from ``path`` that ``mode`` does not grant; a line in the log says so."""
    try:
        found = path.stat().st_mode & 0o777
        if not found & ~mode:
            return
        path.chmod(found & mode)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning(
            "%s can be opened by other accounts of this machine, and that cannot be changed: %s",
            path,
            error.strerror,
        )
        return
    log.warning(
        "%s could be opened by other accounts of this machine (mode %o); it is %o now.",
        path,
        found,
        found & mode,
    )


def narrow_folder(folder: Path) -> None:
    """The same for a folder of the installation's own; another, such as ``/tmp``, is left alone."""
    own = folder.resolve()
    if own.is_relative_to(Path.cwd()) and own != Path.cwd():
        narrow(own, 0o700)
