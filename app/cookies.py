"""Our cookies: their names, who may read and set them, and what is signed in them.

Where people come over HTTPS every cookie is ``Secure`` and its name begins with ``__Host-``, so
that neither a plain connection nor a neighbour on a sibling host can set one (RFC 6265bis). Such
a cookie is sent to the whole host: of an installation below a prefix it is ``__Secure-``, whose
path is that prefix, and which a sibling host could set.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

from fastapi import Request
from starlette.responses import Response
from starlette.types import Scope

from app import rooted

SESSION = "hepatica_session"
FLASH = "hepatica_flash"
DEVICE = "hepatica_device"
ELSEWHERE = "hepatica_elsewhere"
"""A sign-in that goes on at the identity provider."""
SECOND_STEP = "hepatica_second_step"
"""A sign-in whose password was right and whose code is asked for."""
TOUR = "hepatica_tour"

MOST_BYTES = 3600
"""Longest value that we set: browsers drop a cookie of more than 4096 bytes with its attributes."""


def over_https(scope: Scope) -> bool:
    """Whether the person behind a request comes over HTTPS: settings, server or named proxy say."""
    return bool(scope["app"].state.settings.https) or scope.get("scheme") == "https"


def name_of(scope: Scope, cookie: str) -> str:
    """The name under which a cookie travels in answer to this request."""
    if not over_https(scope):
        return cookie
    return f"__Secure-{cookie}" if rooted.at(scope, "") else f"__Host-{cookie}"


def read(request: Request, cookie: str) -> str:
    """The value of a cookie; empty when there is none."""
    return request.cookies.get(name_of(request.scope, cookie), "")


def put(response: Response, scope: Scope, cookie: str, value: str, max_age_s: int) -> None:
    """Let the browser keep a cookie for ``max_age_s`` seconds."""
    response.set_cookie(
        name_of(scope, cookie),
        value,
        max_age=max_age_s,
        path=rooted.at(scope, "/"),
        secure=over_https(scope),
        httponly=True,
        samesite="lax",
    )


def drop(response: Response, scope: Scope, cookie: str) -> None:
    """Let the browser forget a cookie."""
    response.delete_cookie(
        name_of(scope, cookie),
        path=rooted.at(scope, "/"),
        secure=over_https(scope),
        httponly=True,
        samesite="lax",
    )


def tag(key: bytes, purpose: str, *parts: str) -> str:
    """HMAC-SHA256 of ``parts`` under the installation's key: 32 characters of base64url."""
    said = "\x1f".join((purpose, *parts)).encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, said, hashlib.sha256)[:24]).decode()


def same(one: str, other: str) -> bool:
    """Whether two tags are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogatepass"))
