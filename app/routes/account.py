"""One's own account: who one is here, and one's own password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app import cookies
from app.auth import Reader
from app.db import Db, ReadDb
from app.errors import AppError, TooMany, Unreadable
from app.models.ground.event import Event
from app.models.people.user import User, hashed
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form(max_length=1000)]

_REFUSED = "password change refused"
_TRIES, _WITHIN_MINUTES = 10, 15.0


@router.get("/account")
def show(request: Request, user: Reader) -> Response:
    """One's own account, with the form for a new password."""
    return _page(request, user, None)


@router.post("/account/password")
def change_password(
    request: Request,
    user: Reader,
    look: ReadDb,
    db: Db,
    old: Text = "",
    new: Text = "",
    again: Text = "",
) -> Response:
    """A new password for oneself; it ends one's sign-ins in other browsers."""
    tried = Event.count_recent(look, user.name, _REFUSED, _WITHIN_MINUTES)
    if tried >= _TRIES:  # whoever found a browser open must not guess on
        raise TooMany(f"Too many tries. Wait {_WITHIN_MINUTES:.0f} minutes.")
    if not user.has_password(old):
        Event.record(db, user.name, _REFUSED, str(user.id))
        return _page(request, user, Unreadable("The old password is another one."))
    try:
        if new != again:
            raise Unreadable("The two new passwords differ. Type the same one twice.")
        password_hash = hashed(new)
    except AppError as error:
        return _page(request, user, error)
    cookie = cookies.read(request, cookies.SESSION) or ""
    User.of_id(db, user.id).set_password(db, password_hash, user.name, keep=cookie)
    return see_other(
        "/account", "Your password is changed. You are signed out in every other browser."
    )


def _page(request: Request, user: User, refusal: AppError | None) -> Response:
    return page(
        request,
        "users/account.html",
        refusal.status if refusal else 200,
        account=user,
        error=refusal.detail if refusal else "",
    )
