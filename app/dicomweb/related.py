"""Bodies of ``multipart/related`` (RFC 2387): cut into parts as they come, written as they go."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from app.errors import BadRequest, TooLarge
from app.media import Media
from app.objects.related import RELATED

# its warnings quote what was sent; the refusal says enough
logging.getLogger("python_multipart").setLevel(logging.ERROR)

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_MOST_HEADERS = 20


@dataclass(frozen=True)
class Part:
    """One part of a body."""

    media: Media
    data: bytes


async def parts(content: Media, stream: AsyncIterator[bytes], most: int) -> list[Part]:
    """The parts of a body, each in memory.

    Args:
        content: the Content-Type of the whole.
        most: how many parts there may be.

    Raises:
        BadRequest: no boundary, none of its parts, or cut short.
        TooLarge: more parts than that.
    """
    boundary = content.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest(
            f"The Content-Type {RELATED} needs a boundary of 1 to 70 characters (RFC 2046 5.1.1)."
        )
    cutter = _Cutter(boundary, most)
    async for chunk in stream:
        cutter.take(chunk)
    return cutter.end()


class _Cutter:
    """Cuts a body at its boundary."""

    def __init__(self, boundary: str, most: int) -> None:
        self._most = most
        self._parts: list[Part] = []
        self._headers: dict[str, str] = {}
        self._name = self._value = b""
        self._data = bytearray()
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._said,
                "on_header_end": self._header,
                "on_part_data": self._more,
                "on_part_end": self._part,
                "on_end": self._end,
            },
            max_header_count=_MOST_HEADERS,
        )

    def take(self, chunk: bytes) -> None:
        """More of the body."""
        if self._ended:  # an epilogue says nothing (RFC 2046 5.1.1)
            return
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise BadRequest(
                "The body is not multipart/related with the boundary that the Content-Type names."
            ) from None

    def end(self) -> list[Part]:
        """All parts, once the body is here."""
        if not self._ended:
            raise BadRequest(
                "The body is cut short: its last boundary is missing. Nothing was stored; send it "
                "again."
            )
        return self._parts

    def _begin(self) -> None:
        if len(self._parts) >= self._most:
            raise TooLarge(
                f"More than {self._most} instances were sent at once. Send fewer, or ask the "
                "administrator to raise HEPATICA_MAX_UPLOAD_FILES."
            )
        self._headers = {}
        self._data = bytearray()

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _said(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _more(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]

    def _part(self) -> None:
        told = self._headers.get("content-type", "")
        self._parts.append(Part(Media.of(told), bytes(self._data)))
        self._data = bytearray()

    def _end(self) -> None:
        self._ended = True
