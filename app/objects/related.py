"""Bodies of ``multipart/related`` (RFC 2387, PS3.18 8.6.1.2): cut as they come, written as they go.

Whoever receives one says in words of their own what is wrong with it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

DICOM = "application/dicom"
RELATED = "multipart/related"

_MOST_HEADERS = 20
_MOST_PREAMBLE = 8192
"""Bytes before the first boundary, such as a note to old mail programs."""

# its warnings quote what was sent; the refusal says enough
logging.getLogger("python_multipart").setLevel(logging.ERROR)


class NotRelated(Exception):
    """What comes is not cut by the boundary that it names."""


class Cutter:
    """Cuts a body at its boundary.

    Args:
        boundary: as the Content-Type names it; not empty.
        part: is given the headers of each part, in small letters, and its content once it is whole.
        begun: is told that a part begins, before anything of it is kept; may raise.
    """

    def __init__(
        self,
        boundary: str,
        part: Callable[[dict[str, str], bytes], None],
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self._begun = False
        self.ended = False
        """Whether the last boundary came."""
        self._first = b"\n--" + boundary.encode("latin-1")
        self._preamble = b"\n"  # a boundary begins a line, and the body does
        self._tell, self._tell_begun = part, begun
        self._headers: dict[str, str] = {}
        self._name = self._value = b""
        self._data = bytearray()
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
        """More of the body.

        Raises:
            NotRelated: it is not cut by this boundary.
        """
        if self.ended:  # an epilogue says nothing (RFC 2046 5.1.1)
            return
        if not self._begun:
            chunk = self._after_preamble(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise NotRelated from None

    def close(self) -> None:
        """No more comes; ``ended`` says whether it came whole.

        Raises:
            NotRelated: something came, and it was no boundary.
        """
        told = b"\n" + self._preamble.lstrip(b"\r\n")
        if not self._begun and not self._first.startswith(told):
            raise NotRelated

    def _after_preamble(self, chunk: bytes) -> bytes:
        """From the first boundary on: what stands before it says nothing either; b"" until it is
        there."""
        self._preamble += chunk
        most = _MOST_PREAMBLE + len(self._first)
        at = self._preamble.find(self._first, 0, most)
        if self._first[1:] in self._preamble[: at if at >= 0 else most]:
            raise NotRelated  # it does not begin its line: what it cuts off may be a part
        if at < 0:
            if len(self._preamble) >= most:
                raise NotRelated
            return b""
        self._begun = True
        body, self._preamble = self._preamble[at + 1 :], b""
        return body

    def _begin(self) -> None:
        self._tell_begun()
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
        self._tell(self._headers, bytes(self._data))
        self._data = bytearray()

    def _end(self) -> None:
        self.ended = True


class Writing:
    """A body of ``multipart/related`` to be sent: its Content-Type, and its bytes part by part."""

    def __init__(self, kind: str, syntax: str = "") -> None:
        self._boundary = secrets.token_hex(16)
        self._kind = kind + (f"; transfer-syntax={syntax}" if syntax else "")
        self.content_type = f'{RELATED}; type="{kind}"; boundary={self._boundary}'

    def written(self, found: Iterable[tuple[bytes, str]]) -> Iterator[bytes]:
        """The bytes of the body.

        Args:
            found: each part's content, and where it is to be found ("" for nowhere).
        """
        for content, location in found:
            at = f"Content-Location: {location}\r\n" if location else ""
            yield (
                f"--{self._boundary}\r\nContent-Type: {self._kind}\r\n{at}"
                f"Content-Length: {len(content)}\r\n\r\n"
            ).encode("ascii")
            yield content
            yield b"\r\n"
        yield f"--{self._boundary}--\r\n".encode("ascii")
