"""Bodies of ``multipart/related`` as they are sent (RFC 2387, PS3.18 8.6.1.2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator

DICOM = "application/dicom"
RELATED = "multipart/related"


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
