"""What the application refuses, and with which HTTP status.

AppError
 ├ BadRequest     400   the request itself makes no sense
 ├ Unauthorised   401   nobody is signed in, or the token is not known
 ├ Forbidden      403   signed in, but not for this
 ├ NotFound       404   no such thing, or none that you may know of
 ├ Conflict       409   the thing is not in the state that this needs
 ├ TooLarge       413   more bytes than the installation takes
 ├ Unreadable     422   the content cannot be used (every ``ml`` HepaticaError becomes this)
 └ TooMany        429   too many tries; wait
"""

from __future__ import annotations

from typing import Any, ClassVar


class AppError(Exception):
    """A refusal that is told to the user: what happened, to what, what to do.

    Of ``more``, ``next`` is where to go from there: ``{"url", "label"}``.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.more = more


class BadRequest(AppError):
    status, title = 400, "The request cannot be understood"


class Unauthorised(AppError):
    status, title = 401, "Sign in first"


class Forbidden(AppError):
    status, title = 403, "Not allowed"


class NotFound(AppError):
    status, title = 404, "Not found"


class Conflict(AppError):
    status, title = 409, "Not possible in this state"


class TooLarge(AppError):
    status, title = 413, "Too large"


class Unreadable(AppError):
    status, title = 422, "This cannot be used"


class TooMany(AppError):
    status, title = 429, "Too many tries"
