"""One upload, decoded: the slices that can be used and the files that cannot.

Nothing here touches the database, so decoding never holds its lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ml import archive, dicom
from ml.errors import HepaticaError
from ml.image import CTSlice


@dataclass(frozen=True)
class Refusal:
    """A file that was not taken, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class ParcelFile:
    """A file that was decoded: its slices (several for a multi-frame object)."""

    file: str
    slices: tuple[CTSlice, ...]


@dataclass
class Parcel:
    """What one upload holds. The good files go in and the bad ones are listed."""

    files: list[ParcelFile] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @classmethod
    def open(
        cls, uploads: Iterable[tuple[str, bytes]], *, max_files: int, max_bytes: int
    ) -> Parcel:
        """Decode (name, bytes) pairs; zips are opened, and their files named ``zip/file``.

        A zip is taken or refused by itself; a file in it likewise.
        """
        parcel = cls()
        for name, data in uploads:
            shown = PurePosixPath(name.replace("\\", "/")).name or "unnamed file"
            if not archive.is_zip(data):
                parcel._decode(shown, data)
                continue
            try:
                members = list(
                    archive.unpack(data, shown, max_files=max_files, max_bytes=max_bytes)
                )
            except HepaticaError as error:
                parcel.refused.append(Refusal(shown, str(error)))
                continue
            if not members:
                parcel.refused.append(
                    Refusal(shown, f"{shown}: the zip is empty. Choose one that holds CT images.")
                )
            for member, content in members:
                parcel._decode(f"{shown}/{member}", content)
        return parcel

    def _decode(self, name: str, data: bytes) -> None:
        try:
            slices = dicom.read(data, name)
        except HepaticaError as error:
            self.refused.append(Refusal(name, str(error)))
        else:
            self.files.append(ParcelFile(name, slices))
