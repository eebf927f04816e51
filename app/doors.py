"""What every request passes before a route: one answer whatever happens, and the front door.

At the front door are refused text that cannot be kept, names that are not this installation's, and
methods that an address does not know. Nothing of it reads the body.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import text
from app.cookies import over_https
from app.errors import BadRequest, NoSuchMethod, NotFound
from app.responses import HTTPS_ONLY, SECURITY_HEADERS, allowed_methods, answered, report
from app.text import Unfit

_METHODS = frozenset({"GET", "POST"})
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LOCAL = frozenset({"localhost", "localhost.localdomain"})


class SecurityHeaders:
    """The same protective headers on every answer, but for those that an answer sets itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._headers = [(k.encode(), v.encode()) for k, v in SECURITY_HEADERS.items()]
        self._over_https = [*self._headers, (b"strict-transport-security", HTTPS_ONLY.encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, with these headers and over HTTPS one more."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        every = self._over_https if over_https(scope) else self._headers

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(header for header in every if header[0] not in own),
                ]
            await send(message)

        await self.app(scope, receive, with_headers)


class Answered:
    """Every request gets one answer: a fault is logged once, and the connection lives on.

    HEAD is answered as GET is, without the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does; whatever it raises becomes an answer in plain words."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        bodiless = scope["method"] == "HEAD"
        scope = {**scope, "method": "GET"} if bodiless else scope
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            if bodiless and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception as error:
            if started:  # nothing can be said any more: the server ends the connection
                report(Request(scope), error)
                return
            await self._answer(scope, receive, watched, error)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
        try:
            response = answered(Request(scope), error)
        except Exception as further:
            report(Request(scope), further)
            response = PlainTextResponse("An unexpected fault; nothing was changed.", 500)
        await response(scope, receive, send)


class FrontDoor:
    """Refuse what no route should have to look at."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what has a sound address, this installation's name and a known method.

        Raises:
            BadRequest: an address or header that is no text, or another server's name.
            NotFound: nothing is at the address.
            NoSuchMethod: the address knows other methods.
        """
        if scope["type"] == "http":
            self._check_address(scope)
            if self.names:
                self._check_host(scope)
            if scope["method"] not in _METHODS:
                allowed = allowed_methods(scope)
                if not allowed:
                    raise NotFound("There is nothing at this address.")
                raise NoSuchMethod("This address does not know this method.")
        await self.app(scope, receive, send)

    def _check_address(self, scope: Scope) -> None:
        """Path and query as UTF-8 in one line; headers without control characters, one Host.

        Raises:
            BadRequest
        """
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
        for what, part in (("address", raw), ("query", scope["query_string"].replace(b"+", b" "))):
            if not part.isascii():  # the framework would read it as Latin-1
                raise BadRequest(f"The {what} cannot be used: it must be percent-encoded.")
            if not (b"%" in part or _CONTROL.search(part)):
                continue
            try:
                text.read(unquote_to_bytes(part), lines=False)
            except Unfit as fault:
                raise BadRequest(f"The {what} cannot be used: {fault}.") from None
        if _CONTROL.search(b"".join(value for _, value in scope["headers"])):
            raise BadRequest("A header cannot be used: it holds a control character.")
        if sum(name == b"host" for name, _ in scope["headers"]) > 1:
            # a proxy may go by the one and we by the other (RFC 9112, 3.2)
            raise BadRequest("The header Host was sent more than once.")

    def _check_host(self, scope: Scope) -> None:
        """Only the names that the settings give, localhost, and addresses: against DNS rebinding.

        Raises:
            BadRequest
        """
        said = next((value for name, value in scope["headers"] if name == b"host"), b"")
        host = _bare(said.decode("latin-1").lower())
        if host not in self.names and host not in _LOCAL and not _is_address(host):
            names = " or ".join(sorted(self.names))
            raise BadRequest(
                f"This installation is reached under the name {names}, as HEPATICA_PUBLIC_ORIGIN "
                "and HEPATICA_HOSTS say. Use that name."
            )


def _bare(host: str) -> str:
    """A Host header without its port; of IPv6 without brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
