"""Request bodies: hostile until parsed, limited before they are read, never on disk.

The routes that take files have the large limit; it is decided by method and path. Every other body
is small, is read here whole, and holds text that can be kept and no file. Wherever a sign-in is
needed, nothing is read for a stranger. A body over the limit is refused on its Content-Length, or
while it streams when it named none; one that comes too slowly is given up.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import text
from app.auth import identify
from app.errors import AppError, BadRequest, TooLarge, TooSlow, Unavailable
from app.text import Unfit

UPLOADS = frozenset(
    {"/cases", "/api/v1/classifications", "/reader-studies/planner/pilots", "/dicomweb/studies"}
)
"""What takes files, by POST; beside these the addresses of ``INTO_STUDIES``."""
INTO_STUDIES = re.compile(r"/dicomweb/studies/[^/]+")
"""What takes instances of one study, by POST."""
OPEN = frozenset({"/sessions", "/sessions/code", "/sessions/deletion"})
"""What strangers may send a body to, by POST: the way in and the way out."""

SMALL_BYTES = 2_000_000
"""Largest body of whatever takes no files."""
SIGN_IN_BYTES = 20_000
"""Largest body of what strangers may send."""

_FIELD_BYTES = 1_000_000
_MOST_FIELDS = 1000
_PATIENCE_S = 60.0
"""A body may take this long, and a second more for each kilobyte of it."""
_SILENCE_S = 30.0
_UPLOADS_AT_ONCE = 4
"""Bytes of uploads under way in one process, in units of the largest upload."""


def takes_files(path: str) -> bool:
    """Whether an address takes files, by POST."""
    return path in UPLOADS or INTO_STUDIES.fullmatch(path) is not None


class BodyLimit:
    """Refuse bodies that are too large, too slow, a stranger's, or no text that can be kept."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self.app = app
        self.most_bytes = most_bytes
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a POST on with its body within bounds; whatever has no body passes as it is.

        Raises:
            Unauthorised: a stranger's, at an address that is not ``OPEN``.
            TooLarge: more bytes than the address may have.
            TooSlow: nothing comes for half a minute, or after one less than a kilobyte a second.
            BadRequest: text that cannot be kept.
            Unavailable: too many uploads are under way.
        """
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        headers = Headers(scope=scope)
        most = self._most(path)
        declared = _length(headers, most)
        if declared == 0:
            await self.app(scope, receive, send)
            return
        if path not in OPEN:
            await identify(Request(scope))
        if takes_files(path):
            with self._room(declared) as room:
                await self.app(scope, _Body(receive, most, room).next, send)
            return
        whole = await _Body(receive, most).whole()
        try:
            await _check(headers, whole)
        except Unfit as fault:
            raise BadRequest(f"What was sent cannot be used: {fault}.") from None
        await self.app(scope, _again(whole, receive), send)

    def _most(self, path: str) -> int:
        if takes_files(path):
            return self.most_bytes
        return SIGN_IN_BYTES if path in OPEN else SMALL_BYTES

    @contextmanager
    def _room(self, declared: int | None) -> Iterator[_Room]:
        """Room in memory for one upload, taken at once where its length is known."""
        room = _Room(self, declared)
        try:
            yield room
        finally:
            self._under_way -= room.held

    def take(self, size: int) -> None:
        """Take room for so many bytes; Unavailable when too much is under way already."""
        if self._under_way and self._under_way + size > _UPLOADS_AT_ONCE * self.most_bytes:
            raise Unavailable("Other uploads are under way. Try again in a moment.")
        self._under_way += size


class _Room:
    """The memory that one upload takes: its declared length, else what has come of it."""

    def __init__(self, limit: BodyLimit, declared: int | None) -> None:
        self._limit = limit
        self._declared = declared is not None
        self.held = 0
        if declared is not None:
            limit.take(declared)
            self.held = declared

    def grow(self, size: int) -> None:
        """More of the body has come."""
        if not self._declared:
            self._limit.take(size)
            self.held += size


class _Body:
    """A body as it comes in: counted, and not waited for without end.

    Raises:
        TooLarge: it passes its limit.
        TooSlow: nothing came for half a minute, or less than a kilobyte a second after a minute.
    """

    def __init__(self, receive: Receive, most: int, room: _Room | None = None) -> None:
        self._receive = receive
        self._most = most
        self._room = room
        self._read = 0
        self._begun = time.monotonic()
        self._done = False

    async def next(self) -> Message:
        """The next ASGI message; once the body is here, only the client's leaving can follow."""
        if self._done:
            return await self._receive()
        left = self._begun + _PATIENCE_S + self._read / 1000 - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(left, _SILENCE_S))):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(
                "The body did not come in time; nothing was changed. Send it again."
            ) from None
        size = len(message.get("body", b""))
        self._read += size
        if self._room is not None:
            self._room.grow(size)
        self._done = not message.get("more_body", False)
        if self._read > self._most:
            raise too_large(self._most)
        return message

    async def whole(self) -> bytes:
        """The body in one piece; ClientDisconnect when the client leaves before its end."""
        parts = []
        while not self._done:
            message = await self.next()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
        return b"".join(parts)


def _again(whole: bytes, receive: Receive) -> Receive:
    """A body that was read already, once more for the route."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": whole, "more_body": False}

    return replay


def _length(headers: Headers, most: int) -> int | None:
    """The declared length; None where the body comes in pieces.

    Raises:
        BadRequest: the header is no number.
        TooLarge: it says more than ``most``.
    """
    declared = headers.get("content-length")
    if declared is None:
        return None if "transfer-encoding" in headers else 0
    if not (declared.isascii() and declared.isdigit()):
        raise BadRequest("The Content-Length must be a whole number.")
    if len(declared) > 15 or int(declared) > most:
        raise too_large(most)
    return int(declared)


def too_large(most: int) -> TooLarge:
    """The refusal of a body of more than ``most`` bytes."""
    if most <= SMALL_BYTES:
        return TooLarge(f"More was sent than this address takes ({most / 1e6:g} MB).")
    return TooLarge(
        f"The upload is larger than {most / 1e6:.0f} MB. Send fewer files at once, or ask the "
        "administrator to raise HEPATICA_MAX_UPLOAD_MB."
    )


async def _check(headers: Headers, body: bytes) -> None:
    """Look through a small body: a form in either encoding, or JSON.

    Raises:
        Unfit: a name or value in it cannot be kept.
        BadRequest: it holds a file, or is not what its Content-Type says.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        if not body.isascii():
            raise Unfit("a form must be percent-encoded")
        text.read(unquote_to_bytes(body.replace(b"+", b" ")))
    elif kind == "multipart/form-data":
        form = await _parsed(headers, _once(body), most_files=0, most_fields=_MOST_FIELDS)
        await form.close()
    elif kind == "application/json" or kind.endswith("+json"):
        text.check_json(_json(body))


def told_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON (``object_pairs_hook``), of which json would take the last in silence.

    Raises:
        BadRequest: it holds a name twice, or more names than any object has.
    """
    if len(pairs) > _MOST_FIELDS:
        raise BadRequest(
            f"The body holds {len(pairs)} names in one object; at most {_MOST_FIELDS} are read."
        )
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise BadRequest(f"The body holds {twice[:40]!r} twice in one object; send it once.")
    return found


def _json(body: bytes) -> Any:
    def refuse(word: str) -> NoReturn:
        raise BadRequest(f"The body is not JSON: {word} is no number.")

    try:
        return json.loads(text.read(body), parse_constant=refuse, object_pairs_hook=told_once)
    except RecursionError:
        raise BadRequest("The body cannot be used: it is nested too deeply.") from None
    except Unfit:
        raise
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest(f"The body is not JSON{where}.") from None


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


class _InMemory(MultiPartParser):
    """Files stay in memory; names, file names and fields are UTF-8 that can be kept."""

    spool_max_size = 1 << 62  # SpooledTemporaryFile rolls over to disk only past this
    ended = False
    """Whether its last boundary has come."""

    def on_end(self) -> None:
        self.ended = True
        super().on_end()

    def on_headers_finished(self) -> None:
        text.read(self._current_part.content_disposition or b"", lines=False)
        super().on_headers_finished()
        file = self._current_part.file
        for name in (self._current_part.field_name, (file.filename or "") if file else ""):
            fault = text.unfit(name, lines=False)
            if fault is not None:
                raise Unfit(fault)

    def on_part_end(self) -> None:
        if self._current_part.file is None:
            text.read(bytes(self._current_part.data))
        super().on_part_end()


async def _parsed(
    headers: Headers, stream: AsyncGenerator[bytes, None], *, most_files: int, most_fields: int
) -> FormData:
    _, options = parse_options_header(headers["content-type"])
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise BadRequest("Send the form in UTF-8.")
    parser = _InMemory(
        headers,
        stream,
        max_files=most_files,
        max_fields=most_fields,
        max_part_size=_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
        if not parser.ended:  # the part that was cut off would be missing without a word
            await form.close()
            raise BadRequest(
                "The form is cut short: its last boundary is missing. Nothing was changed; send it "
                "again."
            )
        return form
    except AppError:
        raise
    except Unfit as fault:
        raise BadRequest(f"A field or file name of the form cannot be used: {fault}.") from None
    except MultiPartException as error:
        files = "This address takes no files." if not most_files else ""
        raise BadRequest(f"The form cannot be read: {error.message} {files}".strip()) from error


async def multipart(request: Request) -> FormData:
    """The form of an upload, its files in memory; BadRequest when it is not multipart."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise BadRequest("Send the files as multipart/form-data.")
    return await _parsed(
        request.headers,
        request.stream(),
        most_files=request.app.state.settings.max_upload_files,
        most_fields=100,
    )


Multipart = Annotated[FormData, Depends(multipart)]
"""A multipart form, its files in memory."""


async def json_of(request: Request) -> Any:
    """The JSON of a body at an address that takes files too; no larger than any other small one.

    Raises:
        TooLarge: it is larger.
        BadRequest: it is no JSON, or holds text that cannot be kept.
    """
    _length(request.headers, SMALL_BYTES)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > SMALL_BYTES:
            raise too_large(SMALL_BYTES)
        parts.append(part)
    try:
        value = _json(b"".join(parts))
        text.check_json(value)
    except Unfit as fault:
        raise BadRequest(f"What was sent cannot be used: {fault}.") from None
    return value


def files_of(form: FormData, field: str) -> list[tuple[str, bytes]]:
    """(name, content) of every file sent under ``field``, once; an empty input sends none."""
    found = []
    for value in form.getlist(field):
        if isinstance(value, UploadFile) and (value.filename or value.size):
            found.append((value.filename or "unnamed file", value.file.read()))
            value.file.close()  # no second copy of an upload stays in memory meanwhile
    return found


def text_of(form: FormData, field: str, default: str = "") -> str:
    """A text field of a multipart form; BadRequest when a file was sent in its place."""
    value = form.get(field, default)
    if not isinstance(value, str):
        raise BadRequest(f"The field {field} must be text, not a file.")
    return value
