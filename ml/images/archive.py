"""Zip archives as they are uploaded: hostile until read.

A file in an archive is taken or refused by itself: one bad name, size or checksum costs nobody
else. Names are never used as paths; they are what the messages call a file.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ml.ground.errors import HepaticaError

_RATIO_LIMIT = 200.0
"""DICOM and pictures compress at most about tenfold; a thousandfold is a bomb."""

_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini", "DICOMDIR")
"""Files of file managers, and the index of a disc: passed over by their whole name."""
_LITTER_FOLDER = "__MACOSX"
_LOCAL_HEADER = 30
_DESCRIPTORS = (0, 12, 16, 20, 24)
"""Bytes that may stand between a file and the next one."""
_UTF8_NAME = 0x800


class ArchiveError(HepaticaError):
    """A zip that is refused whole; the message says why and what to do."""


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    Attributes:
        name: for people; may be anything.
        content: its bytes; None where it was refused or passed over.
        refusal: why it was refused, and what to do; "" where it was not.
    """

    name: str
    content: bytes | None
    refusal: str = ""

    @property
    def passed_over(self) -> bool:
        """Whether it is litter of a file manager or the index of a disc."""
        return self.content is None and not self.refusal


def is_zip(data: bytes) -> bool:
    """Whether the bytes begin as a zip archive does (decided by content, never by name)."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def unpack(
    data: bytes, name: str, *, max_files: int, max_bytes: int, max_file_bytes: int = sys.maxsize
) -> Iterator[Member]:
    """Every file of a zip, in its order; folders are left out.

    All sizes are judged from the directory before anything is unpacked and again while unpacking,
    because the directory can lie. A file of more than ``max_file_bytes`` is refused, and what goes
    beyond ``max_bytes`` in all, file by file.

    Raises:
        ArchiveError: not a zip, its directory is damaged, or it has more than ``max_files`` files.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(_with_names_that_decode(data)))
        entries = [entry for entry in archive.infolist() if not _is_folder(entry)]
    except MemoryError:
        raise
    except Exception as error:  # a damaged directory makes zipfile raise nearly anything
        raise ArchiveError(
            f"{name}: the zip is damaged ({type(error).__name__}). Make it again."
        ) from error
    wanted = sum(not _is_litter(entry.filename) for entry in entries)
    if wanted > max_files:
        raise ArchiveError(
            f"{name}: {wanted} files, and at most {max_files} are taken. Split the zip."
        )
    if _is_run_together(data, archive.infolist()):
        raise ArchiveError(
            f"{name}: holds files that its directory does not list, as when two zips are run "
            "together. Make it again."
        )
    overlapping = _overlapping(entries)
    left = max_bytes
    for entry in entries:
        if _is_litter(entry.filename):
            yield Member(entry.filename, None)
            continue
        refusal = _judged(entry, name, left, max_bytes, id(entry) in overlapping)
        if not refusal and entry.file_size > max_file_bytes:
            refusal = (
                f"{name}: {entry.filename} unpacks to {entry.file_size // 1_000_000} MB, and at "
                f"most {max_file_bytes // 1_000_000} MB of one file are read. Send the series as "
                "single slices."
            )
        member = Member(entry.filename, None, refusal)
        if not refusal:
            member = _content(archive, entry, name, min(left, max_file_bytes))
            left -= len(member.content or b"")
        yield member


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    # some tools of Windows end the names of folders otherwise
    return entry.filename.endswith(("/", "\\")) and not entry.file_size


def _is_run_together(data: bytes, entries: list[zipfile.ZipInfo]) -> bool:
    """Whether a file begins where one may begin, and no entry of the directory tells of it."""
    known = {entry.header_offset for entry in entries}
    may = {0}
    for entry in entries:
        at = entry.header_offset
        sizes = (int.from_bytes(data[at + i : at + i + 2], "little") for i in (26, 28))
        end = at + _LOCAL_HEADER + sum(sizes) + entry.compress_size
        may |= {end + size for size in _DESCRIPTORS}
    return any(data[at : at + 4] == b"PK\x03\x04" for at in may - known)


def _is_litter(filename: str) -> bool:
    path = PurePosixPath(filename.replace("\\", "/"))
    return path.name in _LITTER or _LITTER_FOLDER in path.parts[:-1]


def _judged(entry: zipfile.ZipInfo, name: str, left: int, most: int, overlaps: bool) -> str:
    """Why a file is refused by its entry in the directory; "" where it is not."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    first = path.parts[0] if path.parts else ""
    if path.is_absolute() or ".." in path.parts or ":" in first:
        return (
            f"{name}: holds the name {entry.filename!r}, which leaves the archive. "
            "Make the zip again from inside its folder."
        )
    if entry.flag_bits & 0x1:
        return f"{name}: {entry.filename} is encrypted. Unpack it and upload the file."
    if overlaps:
        return (
            f"{name}: {entry.filename} shares its bytes with another file of the zip, as in a zip "
            "bomb. Make the zip again."
        )
    if entry.file_size > 1_000_000 and entry.file_size > _RATIO_LIMIT * entry.compress_size:
        return (
            f"{name}: {entry.filename} claims to unpack to {entry.file_size // 1_000_000} MB from "
            f"{entry.compress_size} bytes. That is a zip bomb, not an image."
        )
    if entry.file_size > left:
        return (
            f"{name}: with {entry.filename} it unpacks to more than {most // 1_000_000} MB. "
            "Upload the rest by itself."
        )
    return ""


def _overlapping(entries: list[zipfile.ZipInfo]) -> set[int]:
    """Entries (by id) whose bytes begin before those of an earlier one have ended."""
    found = set()
    end = -1
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            found.add(id(entry))
        end = max(end, entry.header_offset + _LOCAL_HEADER + entry.compress_size)
    return found


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, limit: int) -> Member:
    try:
        with archive.open(entry) as stream:
            content = stream.read(limit + 1)
    except MemoryError:
        raise
    except NotImplementedError:
        refusal = f"{name}: {entry.filename} in it is compressed in a way that is not read"
    except Exception as error:  # checksums, lengths, streams: whatever can be damaged
        refusal = f"{name}: {entry.filename} in it is damaged ({type(error).__name__})"
    else:
        if len(content) <= limit:
            return Member(entry.filename, content)
        return Member(
            entry.filename, None, f"{name}: unpacks to more than it claims. That is a zip bomb."
        )
    return Member(entry.filename, None, f"{refusal}. Make the zip again.")


def _with_names_that_decode(data: bytes) -> bytes:
    """The zip with names marked as UTF-8 that are none taken as the old code page.

    One such name makes zipfile refuse the whole archive.
    """
    mended = None
    end = data.rfind(b"PK\x05\x06")
    at = int.from_bytes(data[end + 16 : end + 20], "little") if end >= 0 else len(data)
    while data[at : at + 4] == b"PK\x01\x02":
        sizes = (int.from_bytes(data[at + i : at + i + 2], "little") for i in (28, 30, 32))
        name_size, extra_size, comment_size = sizes
        name = data[at + 46 : at + 46 + name_size]
        flags = int.from_bytes(data[at + 8 : at + 10], "little")
        if flags & _UTF8_NAME and not _is_utf8(name):
            mended = mended or bytearray(data)
            local = int.from_bytes(data[at + 42 : at + 46], "little")
            for place in (at + 8, local + 6):  # in the directory, and before the file's bytes
                if place + 2 > len(data):
                    continue
                mended[place : place + 2] = (flags & ~_UTF8_NAME).to_bytes(2, "little")
        at += 46 + name_size + extra_size + comment_size
    return data if mended is None else bytes(mended)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
