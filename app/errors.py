"""What the application refuses, and with which HTTP status.

AppError
 ├ BadRequest     400   the request itself makes no sense
 │  └ NothingChosen      of what is to be done with, nothing is named
 ├ Unauthorised   401   nobody is signed in, or the token is not known
 ├ Forbidden      403   signed in, but not for this
 │  └ StepFirst         something must be done before all else
 ├ NotFound       404   no such thing, or none that you may know of
 ├ NoSuchMethod   405   this address knows other methods
 ├ NotAcceptable  406   it is not here in a form that the client takes
 ├ TooSlow        408   the body did not come in time
 ├ Conflict       409   the thing is not in the state that this needs
 │  └ Taken             somebody else was faster: a name or a place is taken
 ├ Gone           410   it was here, and was deleted for good
 ├ TooLarge       413   more bytes than the installation takes
 ├ OtherMedia     415   a body of a kind that the address does not take
 ├ Unreadable     422   the content cannot be used (every ``ml`` HepaticaError becomes this)
 ├ TooMany        429   too many tries; wait
 ├ Damaged        500   what is stored is not what was stored
 └ Unavailable    503   not now: too busy, or the database does not answer
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class AppError(Exception):
    """A refusal that is told to the user: what happened, to what, what to do.

    Args:
        retry_after_s: after how many seconds another try makes sense (``Retry-After``).
        headers: headers that the answer carries.
        more: fields for programs, beside the detail; ``next`` is where to go from there:
            ``{"url", "label"}``.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"
    retry_after_s: ClassVar[float | None] = None

    def __init__(
        self,
        detail: str,
        *,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more
        wait_s = self.retry_after_s if retry_after_s is None else retry_after_s
        if wait_s is not None:
            self.headers["retry-after"] = str(max(1, math.ceil(wait_s)))

    def about(self, *fields: str) -> Self:
        """The same, with the fields of a form or call that it is about: there the page says it."""
        self.more["errors"] = [{"field": field, "message": self.detail} for field in fields]
        return self


class BadRequest(AppError):
    """The request itself makes no sense."""

    status, title = 400, "The request cannot be understood"


class NothingChosen(BadRequest):
    """Of what is to be done with, nothing is named."""

    title = "Nothing is chosen"


class Unauthorised(AppError):
    """Nobody is signed in, or the token is not known."""

    status, title = 401, "Sign in first"


class Forbidden(AppError):
    """Signed in, but not for this."""

    status, title = 403, "Not allowed"


class StepFirst(Forbidden):
    """Something must be done before all else: a page leads there.

    Args:
        address: of the page where it is done.
    """

    def __init__(self, detail: str, address: str) -> None:
        super().__init__(detail, next={"url": address, "label": "Do that"})
        self.address = address


class NotFound(AppError):
    """No such thing, or none that this person may know of."""

    status, title = 404, "Not found"


class NoSuchMethod(AppError):
    """The address knows other methods."""

    status, title = 405, "Not possible at this address"


class NotAcceptable(AppError):
    """It is not here in a form that the client takes."""

    status, title = 406, "Not in this form"


class TooSlow(AppError):
    """The body did not come in time."""

    status, title = 408, "Too slow"


class Conflict(AppError):
    """The thing is not in the state that this needs."""

    status, title = 409, "Not possible in this state"


class Taken(Conflict):
    """Somebody else was faster: a name or a place is taken."""


class Gone(AppError):
    """It was here, and was deleted for good."""

    status, title = 410, "Deleted for good"


class TooLarge(AppError):
    """More bytes than the installation takes."""

    status, title = 413, "Too large"


class OtherMedia(AppError):
    """A body of a kind that the address does not take."""

    status, title = 415, "Not of this kind"


class Unreadable(AppError):
    """The content cannot be used."""

    status, title = 422, "This cannot be used"


class TooMany(AppError):
    """Too many tries: wait a minute, or as long as the answer says."""

    status, title, retry_after_s = 429, "Too many tries", 60.0


class Damaged(AppError):
    """What is stored is not what was stored."""

    status, title = 500, "Stored data are damaged"


class Unavailable(AppError):
    """Not now: too busy, or the database does not answer."""

    status, title, retry_after_s = 503, "Not possible now", 5.0

    logged = False
    """Whether the fault behind it is in the log already."""


class NotNow(Exception):
    """The database cannot do its part, seen before it was asked.

    It is no refusal yet, so that no route takes it for one of its own: the session on its way out
    makes it `Unavailable`, like the faults that the database itself raises.
    """
