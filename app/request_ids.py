"""What each request is called: its answer, its lines in the log and its refusal tell one id."""

from __future__ import annotations

import ipaddress
import re
import secrets
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = b"x-request-id"
_SOUND = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_ID: ContextVar[str] = ContextVar("request_id", default="")

LOOPBACK = "127.0.0.1,::1"
"""Proxies that are believed where none is named: those of this machine."""


def current() -> str:
    """The id of the request that is being answered; "" outside of one."""
    return _ID.get()


class Identified:
    """Gives every request its id: the one that a named proxy tells, else one of our own.

    The outermost of all, for it looks at who is connected before a proxy's word replaces that.
    """

    def __init__(self, app: ASGIApp, proxies: str) -> None:
        self.app = app
        self._proxies = [ipaddress.ip_network(one, strict=False) for one in proxies.split(",")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, and name the request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        name = self._told(scope) or secrets.token_hex(8)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_HEADER, name.encode())]
            await send(message)

        before = _ID.set(name)
        try:
            await self.app(scope, receive, named)
        finally:
            _ID.reset(before)

    def _told(self, scope: Scope) -> str:
        told: bytes = next((value for key, value in scope["headers"] if key == _HEADER), b"")
        is_sound = _SOUND.fullmatch(told) and self._is_named(scope)
        return told.decode() if is_sound else ""

    def _is_named(self, scope: Scope) -> bool:
        try:
            peer = ipaddress.ip_address((scope.get("client") or ("", 0))[0])
        except ValueError:  # a socket of this machine, or a client of the tests
            return False
        return any(peer in network for network in self._proxies)
