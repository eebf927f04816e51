"""The register of deletions: a file that tells of each which cases it took, for old backups.

A backup that was made before a deletion still holds what was deleted. The register lies outside the
database, so that it does not go back in time with it; `restore` does again what stands in it. Cases
stand there by their ids, which are random and say nothing of anybody.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from app.errors import Damaged, Unavailable
from app.models.erasures.erasure import Erasure, ErasureKind
from ml.ground.errors import reason


@dataclass(frozen=True)
class Entry:
    """One line: a deletion that was begun, and so was done or will be."""

    erasure: uuid.UUID
    kind: ErasureKind
    begun_at: str
    cases: tuple[uuid.UUID, ...]
    studies: tuple[uuid.UUID, ...]


@dataclass(frozen=True)
class Register:
    """The file at ``path``; one line of JSON for each deletion."""

    path: Path

    def refuse_unusable(self) -> None:
        """Nothing where it can be read and a line be added.

        Raises:
            Unavailable: it cannot.
            Damaged: a line cannot be read.
        """
        self.read()
        self._add("")

    def holds(self, erasure: uuid.UUID) -> bool:
        """Whether that deletion stands in it; raises as ``read``."""
        return any(one.erasure == erasure for one in self.read())

    def note(self, erasure: Erasure) -> None:
        """Write a deletion down, unless it stands there.

        Raises:
            Unavailable: it cannot be written.
            Damaged: a line cannot be read.
        """
        if self.holds(erasure.id):
            return
        told = {
            "erasure": str(erasure.id),
            "kind": erasure.kind.value,
            "begun_at": erasure.begun_at.isoformat(timespec="seconds"),
            "cases": erasure.cases,
            "studies": erasure.studies,
        }
        self._add(json.dumps(told) + "\n")

    def read(self) -> list[Entry]:
        """Every deletion, in order; none where there is no register.

        Raises:
            Unavailable: the file cannot be read.
            Damaged: a line cannot be read.
        """
        try:
            lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            why = reason(error) if isinstance(error, OSError) else "it is not text"
            raise Unavailable(f"The register of deletions {self.path}: {why}.") from None
        found = []
        for number, line in enumerate(lines, 1):
            if not line.rstrip().endswith("}"):
                continue  # cut off as it was written, before anything was done: written anew then
            try:
                told = json.loads(line)
                found.append(
                    Entry(
                        uuid.UUID(told["erasure"]),
                        ErasureKind(told["kind"]),
                        str(told["begun_at"]),
                        tuple(map(uuid.UUID, told["cases"])),
                        tuple(map(uuid.UUID, told["studies"])),
                    )
                )
            except (ValueError, KeyError, TypeError, AttributeError):
                raise Damaged(
                    f"Line {number} of the register of deletions {self.path} cannot be read. Put "
                    "back the file as it was kept: a restored backup is cleared by it."
                ) from None
        return found

    def _add(self, line: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.open("a+b") as stream:
                if line and stream.tell():
                    stream.seek(-1, os.SEEK_END)
                    line = line if stream.read(1) == b"\n" else f"\n{line}"
                stream.write(line.encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise Unavailable(
                f"The register of deletions {self.path} cannot be written: {reason(error)}. "
                "Without it a backup would bring back what is deleted, so nothing was. Mend the "
                "folder, or name another file with HEPATICA_DELETIONS_FILE."
            ) from None
