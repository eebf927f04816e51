"""Zip archives as they are uploaded: hostile until read."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from ml.errors import HepaticaError

_RATIO_LIMIT = 200.0
"""DICOM and pictures compress at most about tenfold; a thousandfold is a bomb."""

_SKIPPED = ("__MACOSX/", ".DS_Store", "Thumbs.db", "DICOMDIR")


class ArchiveError(HepaticaError):
    """A zip that is refused whole; the message says why and what to do."""


def is_zip(data: bytes) -> bool:
    """Whether the bytes begin as a zip archive does (decided by content, never by name)."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def unpack(
    data: bytes, name: str, *, max_files: int, max_bytes: int
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every file in a zip, in its order.

    All sizes are judged from the directory before anything is unpacked and again while unpacking,
    because the directory can lie. Folders and the litter of file managers are passed over.

    Raises:
        ArchiveError: not a zip, damaged, encrypted, with names that leave the archive, with more
            than ``max_files`` files, or unpacking to more than ``max_bytes`` bytes.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise ArchiveError(f"{name}: the zip is damaged ({error}). Make it again.") from error
    entries = [e for e in entries if not any(part in e.filename for part in _SKIPPED)]
    if len(entries) > max_files:
        raise ArchiveError(
            f"{name}: {len(entries)} files, and at most {max_files} are taken. Split the zip."
        )
    for entry in entries:
        _judge(entry, name)
    if sum(entry.file_size for entry in entries) > max_bytes:
        raise ArchiveError(
            f"{name}: unpacks to more than {max_bytes // 1_000_000} MB. Split the zip."
        )
    left = max_bytes
    for entry in entries:
        content = _content(archive, entry, name, left)
        left -= len(content)
        yield entry.filename, content


def _judge(entry: zipfile.ZipInfo, name: str) -> None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ArchiveError(
            f"{name}: holds the name {entry.filename!r}, which leaves the archive. "
            "Make the zip again from inside its folder."
        )
    if entry.flag_bits & 0x1:
        raise ArchiveError(f"{name}: is encrypted. Unpack it and upload the files.")
    if entry.file_size > 1_000_000 and entry.file_size > _RATIO_LIMIT * entry.compress_size:
        raise ArchiveError(
            f"{name}: {entry.filename} claims to unpack to {entry.file_size // 1_000_000} MB from "
            f"{entry.compress_size} bytes. That is a zip bomb, not an image."
        )


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, limit: int) -> bytes:
    try:
        with archive.open(entry) as stream:
            content = stream.read(limit + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ArchiveError(
            f"{name}: {entry.filename} in it is damaged ({error}). Make the zip again."
        ) from error
    if len(content) > limit:
        raise ArchiveError(f"{name}: unpacks to more than it claims. That is a zip bomb.")
    return content
