"""Words looked for in bytes, however they are spelled, packed or summed there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from urllib.parse import quote

import numpy as np
import sqlalchemy as sa

_SUMS = ("md5", "sha1", "sha256", "sha512")
_PNG = b"\x89PNG\r\n\x1a\n"
_AT_MOST = 2**26
"""Bytes that one packed piece may unpack to."""


def spellings(word: str) -> dict[bytes, str]:
    """A word as it may stand in bytes → how it is spelled there.

    A digest without a key is among them: of a number that is one of a million it is the number.
    """
    found: dict[bytes, str] = {}
    coded = {name: word.encode(name) for name in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")}
    for name, data in coded.items():
        found.setdefault(data, name)
        for first in range(3):  # base64 has another text for each place within three bytes
            text = base64.b64encode(b"\0" * first + data)
            inner = text[(0, 2, 3)[first] :].rstrip(b"=")
            inner = inner[: len(inner) - (1 if (first + len(data)) % 3 else 0)]
            found.setdefault(inner, f"base64 of {name}")
            found.setdefault(inner.translate(bytes.maketrans(b"+/", b"-_")), f"base64 of {name}")
        quoted = "".join(f"\\x{byte:02x}" for byte in data)
        for text in (data.hex(), data.hex().upper(), data.hex(" "), quoted):
            found.setdefault(text.encode(), f"hex of {name}")
        for text in (quote(data, safe=""), "".join(f"%{byte:02x}" for byte in data)):
            found.setdefault(text.encode(), f"percent of {name}")
        for sort in _SUMS:
            digest = hashlib.new(sort, data)
            for form in (digest.digest(), digest.hexdigest().encode()):
                found.setdefault(form, f"{sort} of {name}")
            found.setdefault(base64.b64encode(digest.digest()).rstrip(b"="), f"{sort} of {name}")
    found.setdefault(json.dumps(word)[1:-1].encode(), "JSON")
    found.setdefault(html.escape(word).encode("ascii", "xmlcharrefreplace"), "HTML")
    found.setdefault(ascii(word)[1:-1].encode(), "repr")
    return {data: how for data, how in found.items() if len(data) >= 6}


def rows(connection: sa.Connection) -> dict[str, bytes]:
    """Every table of a database, byte strings as they are."""
    found = {}
    for name in sa.inspect(connection).get_table_names():
        text = bytearray()
        for row in connection.execute(sa.text(f'SELECT * FROM "{name}"')):
            for value in row:
                is_bytes = isinstance(value, bytes | memoryview)
                text += bytes(value) if is_bytes else str(value).encode()
        found[name] = bytes(text)
    return found


class Traces:
    """Looks for all spellings of some words at once."""

    def __init__(self, words: Iterable[str]) -> None:
        self._known: dict[bytes, dict[bytes, str]] = {}
        for word in sorted({form for one in words for form in (one, one.upper(), one.lower())}):
            for data, how in spellings(word).items():
                self._known.setdefault(data[:4], {}).setdefault(data, f"{word} ({how})")
        heads = sorted(int.from_bytes(head, "little") for head in self._known)
        self._heads = np.array(heads, np.uint32)
        self._halves = np.zeros(65536, bool)
        self._halves[self._heads & 0xFFFF] = True

    def within(self, data: bytes) -> list[str]:
        """Which are in it, or in what is packed in it, also in small or in large letters."""
        return sorted({what for piece in pieces(data) for what in self._plain(piece)})

    def _plain(self, data: bytes) -> Iterator[str]:
        if len(data) < 6:
            return
        padded = np.frombuffer(data + b"\0" * 8, np.uint8).astype(np.uint32)
        halves = padded[:-1] | padded[1:] << 8
        (at,) = np.nonzero(self._halves[halves[: len(data) - 3]])
        at = at[np.isin(halves[at] | halves[at + 2] << 16, self._heads)]
        for start in at.tolist():
            for one, what in self._known[data[start : start + 4]].items():
                if data.startswith(one, start):
                    yield what


def pieces(data: bytes, depth: int = 3) -> Iterator[bytes]:
    """The bytes themselves and all that is packed in them: zip, gzip, zlib, the parts of a PNG."""
    yield data
    if depth == 0:
        return
    for packed in _unpacked(data):
        yield from pieces(packed, depth - 1)


def _unpacked(data: bytes) -> Iterator[bytes]:
    if data.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for one in archive.infolist():
                yield one.filename.encode() + one.comment + one.extra
                yield archive.read(one)
    elif data.startswith(_PNG):
        yield from _of_png(data)
    elif data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    elif data[:1] == b"\x78":
        try:
            yield zlib.decompressobj().decompress(data, _AT_MOST)
        except zlib.error:  # it begins as such a stream does, and is none
            return


def _of_png(data: bytes) -> Iterator[bytes]:
    at, pixels = len(_PNG), b""
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + size]
        at += 12 + size
        if kind == b"IDAT":
            pixels += body
        elif kind in (b"zTXt", b"iTXt", b"iCCP"):
            for start in range(len(body)):
                if body[start : start + 1] == b"\x78":
                    yield body[start:]
    yield pixels
