"""Request bodies: hostile until parsed, limited before they are read, never on disk.

A body over the limit is refused on its Content-Length, or while it streams when it named none.
Multipart files are parsed in memory: patients' images must not lie in a temporary folder.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BadRequest, TooLarge
from app.responses import refusal

_FORM_FIELD_BYTES = 1_000_000
_SMALL_BODY_BYTES = 2_000_000


class BodyLimit:
    """Refuse bodies larger than ``most_bytes``; pages that take no files get a smaller limit."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self.app = app
        self.most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        most = self.most_bytes if _takes_files(scope) else _SMALL_BODY_BYTES
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > most:
            await self._refuse(scope, receive, send, most)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _too_large(most)
            return message

        await self.app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        await refusal(scope, _too_large(most))(scope, receive, send)


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"The upload is larger than {most / 1e6:.0f} MB. Send fewer files at once, or ask the "
        "administrator to raise HEPATICA_MAX_UPLOAD_MB."
    )


def _takes_files(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    content_type: bytes = headers.get(b"content-type", b"")
    return content_type.lower().startswith(b"multipart/form-data")


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 62  # SpooledTemporaryFile rolls over to disk only past this


async def multipart(request: Request) -> FormData:
    """The form of a request, its files in memory; BadRequest when it is not multipart."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise BadRequest("Send the files as multipart/form-data.")
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=request.app.state.settings.max_upload_files,
        max_fields=100,
        max_part_size=_FORM_FIELD_BYTES,
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The upload cannot be read: {error.message}") from error


Multipart = Annotated[FormData, Depends(multipart)]
"""A multipart form, its files in memory."""


def files_of(form: FormData, field: str) -> list[tuple[str, bytes]]:
    """(name, content) of every file sent under ``field``; an empty file input sends none."""
    found = []
    for value in form.getlist(field):
        if isinstance(value, UploadFile) and (value.filename or value.size):
            found.append((value.filename or "unnamed file", value.file.read()))
    return found


def text_of(form: FormData, field: str, default: str = "") -> str:
    """A text field of a multipart form; BadRequest when a file was sent in its place."""
    value = form.get(field, default)
    if not isinstance(value, str):
        raise BadRequest(f"The field {field} must be text, not a file.")
    return value
