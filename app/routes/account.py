"""One's own account: who one is here, one's password, second step, sign-ins and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app import cookies
from app.auth import Reader
from app.db import Db, ReadDb
from app.errors import AppError, Conflict, Unreadable
from app.models.people.second_factor import RecoveryCode, SecondFactor, demanded_of
from app.models.people.sign_in import SignIn
from app.models.people.token import ApiToken
from app.models.people.user import User, digest_of
from app.responses import page, see_other
from app.turnstile import Turnstile

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form(max_length=1000)]
Code = Annotated[str, Form(max_length=40)]
_SECOND_STEP = "/account/second-step"


@router.get("/account")
def show(request: Request, user: Reader, db: ReadDb) -> Response:
    """One's own account, with the form for a new password."""
    return _page(request, db, user, None)


# ---- the password ------------------------------------------------------------------------------


async def _decided(
    request: Request, user: Reader, old: Text = "", new: Text = "", again: Text = ""
) -> str | Unreadable:
    """The new password's hash, or why there is none. Hashing has a line of its own."""
    turnstile: Turnstile = request.app.state.turnstile
    try:
        if new != again:
            raise Unreadable("The two new passwords differ. Type the same one twice.").about(
                "again"
            )
        return await turnstile.new_password(user, old, new)
    except Unreadable as refusal:
        return refusal


@router.post("/account/password")
def change_password(
    request: Request,
    user: Reader,
    look: ReadDb,
    db: Db,
    decided: Annotated[str | Unreadable, Depends(_decided)],
) -> Response:
    """A new password for oneself; it ends one's sign-ins in other browsers."""
    if isinstance(decided, Unreadable):
        return _page(request, look, user, decided)
    found = User.of_id(db, user.id)
    if found.password_hash != user.password_hash:  # meanwhile
        raise Conflict("Your password was changed a moment ago, and that one holds.")
    found.set_password(db, decided, user.name, keep=_cookie(request))
    return see_other(
        "/account", "Your password is changed. You are signed out in every other browser."
    )


# ---- the second step ---------------------------------------------------------------------------


@router.get("/account/second-step")
def second_step(request: Request, user: Reader, db: ReadDb) -> Response:
    """One's authenticator app: what it is for, its QR code, or that it is asked for."""
    return _second_step(request, db, user, None)


async def _password_typed(request: Request, user: Reader, password: Text = "") -> Unreadable | None:
    turnstile: Turnstile = request.app.state.turnstile
    try:
        await turnstile.own_password(user, password)
    except Unreadable as refusal:
        return refusal
    return None


@router.post("/account/second-step")
def begin_second_step(
    request: Request,
    user: Reader,
    look: ReadDb,
    db: Db,
    refused: Annotated[Unreadable | None, Depends(_password_typed)],
) -> Response:
    """Make the secret for an app; it counts once a code of it was typed.

    Raises:
        Conflict: there is one already, or one signs in at the identity provider.
    """
    if refused is not None:
        return _second_step(request, look, user, refused)
    SecondFactor.begin(db, User.of_id(db, user.id), request.app.state.key)
    return see_other(_SECOND_STEP)


@router.post("/account/second-step/confirmation")
def confirm_second_step(
    request: Request, user: Reader, look: ReadDb, db: Db, code: Code = ""
) -> Response:
    """The app shows the right code: it is asked for from now on. The recovery codes, this once.

    Raises:
        Conflict: nothing was begun, or it was confirmed before.
    """
    factor = SecondFactor.of(db, user)
    if factor is None:
        raise Conflict("Nothing was begun. Set up an app at /account/second-step first.")
    try:
        codes = factor.confirm(db, user, code, request.app.state.key)
    except Unreadable as refusal:
        return _second_step(request, look, user, refusal)
    user.sign_out(db, keep=_cookie(request))
    request.state.owes = None
    return _codes(request, codes, made=True)


async def _code_typed(request: Request, user: Reader, code: Code = "") -> Unreadable | None:
    turnstile: Turnstile = request.app.state.turnstile
    try:
        await turnstile.own_code(user, code)
    except Unreadable as refusal:
        return refusal
    return None


CodeTyped = Annotated[Unreadable | None, Depends(_code_typed)]


@router.post("/account/second-step/codes")
def renew_codes(
    request: Request, user: Reader, look: ReadDb, db: Db, refused: CodeTyped
) -> Response:
    """New recovery codes in place of the old ones, shown this once."""
    if refused is not None:
        return _second_step(request, look, user, refused)
    return _codes(request, RecoveryCode.renew(db, user, request.app.state.key), made=False)


@router.post("/account/second-step/removal")
def remove_second_step(
    request: Request, user: Reader, look: ReadDb, db: Db, refused: CodeTyped
) -> Response:
    """Sign in with the password alone again; where a role demands an app, set up another."""
    if refused is not None:
        return _second_step(request, look, user, refused)
    SecondFactor.remove(db, user, user.name)
    return see_other(_SECOND_STEP, "The authenticator app is not asked for any longer.")


# ---- sign-ins and tokens -----------------------------------------------------------------------


@router.post("/account/sign-ins/deletion")
def sign_out_elsewhere(request: Request, user: Reader, db: Db) -> Response:
    """Sign oneself out in every other browser."""
    SignIn.close_all(db, user, user.name, keep=_cookie(request))
    return see_other("/account", "You are signed out in every other browser.")


def _cookie(request: Request) -> str:
    return cookies.read(request, cookies.SESSION)


def _page(request: Request, session: Session, user: User, refusal: AppError | None) -> Response:
    configuration = request.app.state.settings
    return page(
        request,
        "users/account.html",
        refusal.status if refusal else 200,
        account=user,
        second_step=SecondFactor.asked_of(session, user),
        sign_ins=SignIn.of(session, user, configuration.session_idle_hours),
        here=digest_of(_cookie(request)),
        tokens=ApiToken.of(session, user),
        error=refusal or "",
    )


def _second_step(
    request: Request, session: Session, user: User, refusal: AppError | None
) -> Response:
    factor = SecondFactor.of(session, user) if user.password_hash else None
    begun = factor if factor is not None and factor.confirmed_at is None else None
    configuration = request.app.state.settings
    told = begun.enrolment(user, request.app.state.key) if begun is not None else None
    return page(
        request,
        "users/second_step.html",
        refusal.status if refusal else 200,
        account=user,
        factor=factor,
        told=told,
        picture=_picture(told.uri) if told is not None else "",
        codes_left=RecoveryCode.left(session, user),
        demanded=demanded_of(user, configuration.second_step_roles),
        error=refusal or "",
    )


def _codes(request: Request, codes: list[str], *, made: bool) -> Response:
    return page(request, "users/recovery_codes.html", codes=codes, made=made)


def _picture(uri: str) -> str:
    """A QR code as an address of its own data: nobody else is asked to draw the secret."""
    import segno

    drawn: Callable[..., str] = segno.make(uri, error="m", micro=False).svg_data_uri
    return drawn(scale=6, border=4, dark="#000", light="#fff")
