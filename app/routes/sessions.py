"""Signing in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.auth import COOKIE, Visitor
from app.db import Db, ReadDb
from app.models.desk import has_to_read
from app.models.user import DEMO_ACCOUNTS, DEMO_PASSWORD, SignIn, User
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)

_WORK_LIST = "/cases"


@router.get("/")
def home(user: Visitor, db: ReadDb) -> Response:
    """Where this person's work is, or the way in."""
    return RedirectResponse(_landing(db, user) if user else "/sessions/new", 303)


@router.get("/sessions/new")
def new(request: Request, user: Visitor, next: str = "/cases") -> Response:
    if user is not None:
        return RedirectResponse(_own_path(next), 303)
    return _form(request, 200, next, "", None)


@router.post("/sessions")
def create(
    request: Request,
    db: Db,
    name: Annotated[str, Form(max_length=60)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form()] = "/cases",
) -> Response:
    configuration = request.app.state.settings
    secret = SignIn.open(db, name.strip(), password, configuration.session_hours)
    if secret is None:
        error = "This name and password do not fit together. Check both and try again."
        return page(request, "sessions/new.html", 401, next=_own_path(next), name=name, error=error)
    target = _own_path(next)
    if target == _WORK_LIST:  # nothing else was asked for
        target = _landing(db, User.require(db, name.strip()))
    response = RedirectResponse(target, 303)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(configuration.session_hours * 3600),
        httponly=True,
        samesite="lax",
        secure=configuration.secure_cookies or request.url.scheme == "https",
    )
    return response


@router.post("/sessions/deletion")
def delete(request: Request, db: Db) -> Response:
    SignIn.close(db, request.cookies.get(COOKIE, ""))
    response = see_other("/sessions/new", "You are signed out.")
    response.delete_cookie(COOKIE)
    return response


def _form(request: Request, status: int, next: str, name: str, error: str | None) -> Response:
    return page(
        request,
        "sessions/new.html",
        status,
        next=_own_path(next),
        name=name,
        error=error,
        demo_accounts=DEMO_ACCOUNTS,
        demo_password=DEMO_PASSWORD,
    )


def _landing(session: Session, user: User) -> str:
    """The readings of whoever has something to read, the work list for everybody else."""
    return "/readings" if has_to_read(session, user) else _WORK_LIST


def _own_path(target: str) -> str:
    """Only a path of this installation: never another site's address."""
    own = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if own else _WORK_LIST
