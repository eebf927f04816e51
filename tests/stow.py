"""Requests of a PACS, as its programs write them."""

from __future__ import annotations

import io
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

BOUNDARY = "a-boundary"


def related(*files: bytes, kind: str = "application/dicom") -> bytes:
    """A body of multipart/related with these files."""
    parts = (
        b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), kind.encode(), file)
        for file in files
    )
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def content_type(kind: str = "application/dicom") -> str:
    return f'multipart/related; type="{kind}"; boundary={BOUNDARY}'


def store(client: Any, token: str, *files: bytes, study: str = "", query: str = "", **more: str):
    """The reply to a STOW request of these files."""
    headers = {"authorization": f"Bearer {token}", "content-type": content_type(), **more}
    address = "/dicomweb/studies" + (f"/{study}" if study else "") + query
    return client.post(address, content=related(*files), headers=headers)


def told(reply: Any) -> Dataset:
    """The data set of a reply."""
    return Dataset.from_json(reply.text)


def parsed(data: bytes) -> Dataset:
    return dcmread(io.BytesIO(data))


def parts_of(reply: Any) -> list[tuple[dict[str, str], bytes]]:
    """Headers and content of each part of a multipart reply."""
    assert reply.status_code == 200, reply.text
    boundary = reply.headers["content-type"].partition("boundary=")[2].strip('"')
    pieces = reply.content.split(f"--{boundary}".encode())
    assert pieces[0] in (b"", b"\r\n") and pieces[-1].startswith(b"--")
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        lines = head.decode("ascii").strip().split("\r\n")
        named = dict(line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in named.items()}
        assert len(content) == int(headers["content-length"]) + 2
        found.append((headers, content[:-2]))
    return found
