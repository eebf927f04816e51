"""Hooks: where the end of a job may be told. Only an administrator names an address.

A file of TOML, a table for each; the secret stands in a file or the environment, never in it::

    [ris]
    url = "https://ris.example.org/hepatica"
    secret_file = "/run/secrets/ris-hook"      # or secret_env = "RIS_HOOK"
    ca_bundle = "/etc/ssl/hospital.pem"        # where the receiver's certificate needs it

Signed after Standard Webhooks (https://www.standardwebhooks.com): ``webhook-id``,
``webhook-timestamp``, and ``webhook-signature: v1,`` with the base64 of HMAC-SHA256 over
``id.timestamp.body``. A secret that begins with ``whsec_`` is base64, as there; any other is taken
as it stands. No redirect is followed, no proxy asked, and nothing of the answer but its status is
read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import re
import socket
import ssl
import threading
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.settings import variable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)
CONNECT_S = 5.0
DEADLINE_S = 20.0
"""So long one try may take in all, however slowly the receiver answers."""
LEAST_SECRET = 24
"""Fewest bytes of a secret (Standard Webhooks: 24 to 64)."""

_KNOWN = frozenset({"url", "secret_file", "secret_env", "ca_bundle"})


class HookRefused(Exception):
    """A hook is configured so that it cannot be used; the message names what and where."""


@dataclass(frozen=True)
class Hook:
    """One configured receiver."""

    name: str
    url: str
    secret: bytes = field(repr=False)
    ca_bundle: str = ""

    def signature(self, notice_id: str, timestamp: int, body: bytes) -> str:
        """The value of ``webhook-signature``."""
        signed = f"{notice_id}.{timestamp}.".encode() + body
        digest = hmac.new(self.secret, signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}"

    def send(self, notice_id: str, body: bytes) -> str:
        """Tell it; what went wrong in words, or "" when the receiver took it (2xx)."""
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "Hepatica",
            "webhook-id": notice_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self.signature(notice_id, timestamp, body),
        }
        parts = urlsplit(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection = self._connection()
        except (OSError, ssl.SSLError):
            return "its CA bundle cannot be read"
        begun = time.monotonic()
        timer = threading.Timer(DEADLINE_S, _cut, (connection,))
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            late = time.monotonic() - begun >= DEADLINE_S
            return "it did not answer in time" if late else _why(error)
        finally:
            timer.cancel()
            connection.close()
        if 200 <= status < 300:
            return ""
        return f"it answered {status}" + ("; redirects are not followed" if status < 400 else "")

    @property
    def place(self) -> str:
        """Scheme and host of its address; its path may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def unreachable(self) -> str:
        """Why no connection to it can be made, in words; "" where one can. Nothing is sent."""
        try:
            connection = self._connection()
        except (OSError, ssl.SSLError):
            return "its CA bundle cannot be read"
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            return _why(error)
        finally:
            connection.close()
        return ""

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=CONNECT_S)
        context = ssl.create_default_context(cafile=self.ca_bundle or None)
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=context)


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a call from another thread: whatever waits for the receiver fails at once."""
    opened = connection.sock
    if opened is not None:
        try:
            opened.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not one that is trusted; set ca_bundle"
    return f"no answer ({_kind(error)})"


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def read(path: Path | None, environment: Callable[[str], str] = variable) -> dict[str, Hook]:
    """The hooks of a file by their names; none without one.

    Args:
        environment: gives the value of a variable, "" where it is not set.

    Raises:
        HookRefused: the file cannot be read, or something in it cannot be used.
    """
    if path is None:
        return {}
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise HookRefused(f"HEPATICA_HOOKS_FILE {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HookRefused(f"HEPATICA_HOOKS_FILE {path} is not TOML: {error}.") from None
    return {name: _hook(path, name, table, environment) for name, table in told.items()}


def _hook(path: Path, name: str, table: Any, environment: Callable[[str], str]) -> Hook:
    where = f"HEPATICA_HOOKS_FILE {path}, [{name}]"
    if not isinstance(table, dict) or not NAME.fullmatch(name):
        raise HookRefused(f"{where}: write a table under a name of letters, digits, - and _.")
    unknown = sorted(set(table) - _KNOWN)
    if unknown:
        raise HookRefused(f"{where}: there is no {unknown[0]}; there are {', '.join(_KNOWN)}.")
    wrong = [key for key, value in table.items() if not isinstance(value, str) or not value]
    if wrong:
        raise HookRefused(f"{where}: {wrong[0]} must be text.")
    url = str(table.get("url", ""))
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or parts.fragment or not url.isascii() or " " in url:
        raise HookRefused(
            f"{where}: url must be such as https://ris.example.org/hepatica, without a name or "
            "password in it."
        )
    if ("secret_file" in table) == ("secret_env" in table):
        raise HookRefused(f"{where}: name either secret_file or secret_env.")
    ca_bundle = str(table.get("ca_bundle", ""))
    if ca_bundle and not Path(ca_bundle).is_file():
        raise HookRefused(f"{where}: there is no file {ca_bundle} for ca_bundle.")
    return Hook(name, url, _secret(where, table, environment), ca_bundle)


def _secret(where: str, table: dict[str, str], environment: Callable[[str], str]) -> bytes:
    if "secret_env" in table:
        told = environment(table["secret_env"]).strip()
    else:
        try:
            told = Path(table["secret_file"]).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise HookRefused(f"{where}: the file of secret_file cannot be read.") from None
    secret = told.encode()
    if told.startswith("whsec_"):
        try:
            secret = base64.b64decode(told.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise HookRefused(f"{where}: what follows whsec_ is not base64.") from None
    if len(secret) < LEAST_SECRET:
        raise HookRefused(
            f"{where}: the secret has {len(secret)} bytes and needs {LEAST_SECRET}; make one with "
            "`openssl rand -hex 32`."
        )
    return secret
