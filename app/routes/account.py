"""One's own account: who one is here, and one's own password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from app import cookies
from app.auth import Reader
from app.db import Db
from app.errors import AppError, Conflict, Unreadable
from app.models.people.user import User
from app.responses import page, see_other
from app.turnstile import Turnstile

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form(max_length=1000)]


@router.get("/account")
def show(request: Request, user: Reader) -> Response:
    """One's own account, with the form for a new password."""
    return _page(request, user, None)


async def _decided(
    request: Request, user: Reader, old: Text = "", new: Text = "", again: Text = ""
) -> str | Unreadable:
    """The new password's hash, or why there is none. Hashing has a line of its own."""
    turnstile: Turnstile = request.app.state.turnstile
    try:
        if new != again:
            raise Unreadable("The two new passwords differ. Type the same one twice.")
        return await turnstile.new_password(user, old, new)
    except Unreadable as refusal:
        return refusal


@router.post("/account/password")
def change_password(
    request: Request, user: Reader, db: Db, decided: Annotated[str | Unreadable, Depends(_decided)]
) -> Response:
    """A new password for oneself; it ends one's sign-ins in other browsers."""
    if isinstance(decided, Unreadable):
        return _page(request, user, decided)
    cookie = cookies.read(request, cookies.SESSION) or ""
    found = User.of_id(db, user.id)
    if found.password_hash != user.password_hash:  # meanwhile
        raise Conflict("Your password was changed a moment ago, and that one holds.")
    found.set_password(db, decided, user.name, keep=cookie)
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
