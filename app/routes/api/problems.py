"""How the API says no: RFC 9457, in the description for machines too."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from app.errors import (
    AppError,
    BadRequest,
    Conflict,
    Forbidden,
    NotAcceptable,
    NotFound,
    TooLarge,
    TooMany,
    Unauthorised,
    Unavailable,
    Unreadable,
)

_KINDS: dict[int, type[AppError]] = {
    kind.status: kind
    for kind in (
        BadRequest, Unauthorised, Forbidden, NotFound, NotAcceptable, Conflict, TooLarge,
        Unreadable, TooMany, Unavailable,
    )
}  # fmt: skip

_WHEN = {
    400: "The request itself makes no sense: no multipart form, no JSON, text that cannot be kept.",
    401: "No token, an unknown one, or a revoked one.",
    403: "A blinded reading is under way: a reader of it, or a token that is nobody's, is shown no "
    "synthetic lesions; nor is an image of it scored.",
    404: "There is no such checkpoint, or none is served.",
    406: "It is not here in a form that the Accept header takes.",
    409: "The thing is not in the state that this needs; the detail says why.",
    413: "More bytes than this installation takes.",
    422: "The content cannot be used; the detail says why.",
    429: "Too many requests; Retry-After says when to come again.",
    503: "Too busy, or the database does not answer; Retry-After says when to come again.",
}

_PROBLEM: dict[str, object] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened, to what, what to do."},
        "errors": {
            "type": "array",
            "description": "Of 422, where single fields are at fault.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_RETRY = {
    "Retry-After": {
        "description": "Seconds until another try makes sense.",
        "schema": {"type": "integer", "minimum": 1},
    }
}


def refuse_query(request: Request) -> None:
    """Unreadable where something was asked after a “?”: no call of the API reads it there."""
    if request.url.query:
        raise Unreadable(
            "This call reads nothing after the “?” of its address. Send what you ask for in the "
            "body, by the fields of its description."
        )


def refuse_unread(request: Request, *read: str) -> None:
    """Unreadable where something else is asked after the “?” than ``read``, or one of it twice."""
    given = [name for name, _ in request.query_params.multi_items()]
    unread = sorted(set(given) - set(read))
    if unread:
        raise Unreadable(f"This call reads {' and '.join(read)}, and not {', '.join(unread)[:80]}.")
    twice = next((name for name in read if given.count(name) > 1), None)
    if twice is not None:
        raise Unreadable(f"{twice} is asked for twice; ask once.")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions of refusals for a route's ``responses``."""
    return {
        status: {
            "description": f"{_KINDS[status].title}. {_WHEN[status]}",
            "content": {
                "application/problem+json": {
                    "schema": _PROBLEM,
                    "example": {
                        "type": "about:blank",
                        "title": _KINDS[status].title,
                        "status": status,
                        "detail": _WHEN[status],
                    },
                }
            },
            **({"headers": _RETRY} if status in (429, 503) else {}),
        }
        for status in statuses
    }
