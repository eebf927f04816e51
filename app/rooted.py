"""Where the installation lies below its host (``HEPATICA_ROOT_PATH``), such as ``/hepatica``.

Inside, every address is a path of the application, and nobody knows of the prefix. It is taken off
where a request comes in, and put on where an address goes out: in the headers of answers
(`Rooted`), in pages (`within`) and in JSON (`at`). Scripts have ``static/js/root.js``.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LED = frozenset({b"location", b"content-location"})
_NAMES = ("href", "src", "action", "formaction", "data-load", "data-place", "data-refresh-url")
_BEHIND = "|".join(rf'(?<=\s{name}=")' for name in _NAMES)  # eight times as fast as a group before
_ADDRESS = re.compile(rf'="(?:{_BEHIND}|\d+; url=)/(?!/)')
"""An address of ours in a page: text that people typed has no quotation marks there, only
``&#34;``."""


def at(scope: Scope, path: str) -> str:
    """A path of the application, as it is asked for from outside."""
    return _root(scope) + path


def within(scope: Scope, html: str) -> str:
    """A page or a piece of one, each address in it as it is asked for from outside."""
    root = _root(scope)
    return _ADDRESS.sub(lambda found: f"{found[0][:-1]}{root}/", html) if root else html


def bare(scope: Scope, path: str) -> str:
    """A path as it is asked for from outside, as a path of the application."""
    return _without(_root(scope), path)


class Rooted:
    """Takes the prefix off each request and puts it on where an answer leads.

    A request without it is taken as it is: so ask the probes of a container, which reach the
    server itself, and proxies that take the prefix off on their own.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self._root = root_path
        self._raw = root_path.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, below the prefix."""
        if scope["type"] != "http" or not self._root:
            await self.app(scope, receive, send)
            return
        raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
        path = _without(self._root, scope["path"])
        if path != scope["path"] and (raw + b"/").startswith(self._raw + b"/"):
            raw = raw[len(self._raw) :] or b"/"

        async def led(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, self._raw + value) if name.lower() in _LED and _is_own(value) else one
                    for one in message["headers"]
                    for name, value in (one,)
                ]
            await send(message)

        await self.app({**scope, "path": path, "raw_path": raw}, receive, led)


def _root(scope: Scope) -> str:
    root: str = scope["app"].state.settings.root_path
    return root


def _without(root: str, path: str) -> str:
    return path[len(root) :] or "/" if root and (path + "/").startswith(root + "/") else path


def _is_own(value: bytes) -> bool:
    return value.startswith(b"/") and not value.startswith(b"//")
