"""Signing in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from app import cookies
from app.auth import Visitor
from app.db import Db, ReadDb
from app.errors import AppError, TooMany, Unauthorised, Unavailable
from app.models.people.sign_in import SignIn
from app.models.people.user import DEMO_ACCOUNTS, DEMO_PASSWORD, User
from app.models.reader_studies.desk import has_to_read
from app.responses import page, see_other
from app.turnstile import DEVICE_DAYS, Attempt, Turnstile, source_of

router = APIRouter(include_in_schema=False)

_WORK_LIST = "/cases"


@router.get("/")
def home(request: Request, user: Visitor, db: ReadDb) -> Response:
    """Where this person's work is, or the way in."""
    if request.state.unaware:
        return RedirectResponse("/readings", 303)
    return RedirectResponse(_landing(db, user) if user else "/sessions/new", 303)


@router.get("/sessions/new")
def new(request: Request, user: Visitor, next: str = "/cases") -> Response:
    """The form to sign in; whoever is signed in goes on to ``next``."""
    if user is not None:
        return RedirectResponse(_own_path(next), 303)
    return _form(request, next, "", None)


@router.post("/sessions")
async def create(
    request: Request,
    name: Annotated[str, Form(max_length=60)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=4000)] = "/cases",
) -> Response:
    """Sign in. The password is hashed outside any transaction: see ``app.turnstile``."""
    source, peer = source_of(request.scope)
    attempt = Attempt(
        name.strip(),
        password,
        source,
        peer,
        device=cookies.read(request, cookies.DEVICE),
        session=cookies.read(request, cookies.SESSION),
    )
    turnstile: Turnstile = request.app.state.turnstile
    try:
        admitted = await turnstile.sign_in(attempt)
    except (Unauthorised, TooMany, Unavailable) as refusal:
        return await run_in_threadpool(_form, request, next, name, refusal)
    target = _own_path(next)
    # nothing but the work list was asked for: the front door knows where this person's work is
    response = RedirectResponse("/" if target == _WORK_LIST else target, 303)
    hours: float = request.app.state.settings.session_hours
    scope = request.scope
    cookies.put(response, scope, cookies.SESSION, admitted.session, int(hours * 3600))
    cookies.put(response, scope, cookies.DEVICE, admitted.device, DEVICE_DAYS * 86400)
    return response


@router.post("/sessions/deletion")
def delete(request: Request, db: Db) -> Response:
    """Sign out; images that this browser kept are thrown away."""
    SignIn.close(db, cookies.read(request, cookies.SESSION))
    response = see_other("/sessions/new", "You are signed out.")
    cookies.drop(response, request.scope, cookies.SESSION)
    # not "storage": answers of the desk that are not sent yet lie there
    response.headers["clear-site-data"] = '"cache"'
    return response


def _form(request: Request, next: str, name: str, refusal: AppError | None) -> Response:
    response = page(
        request,
        "sessions/new.html",
        refusal.status if refusal else 200,
        next=_own_path(next),
        name=name,
        error=refusal.detail if refusal else "",
        demo_accounts=DEMO_ACCOUNTS,
        demo_password=DEMO_PASSWORD,
    )
    response.headers.update(refusal.headers if refusal else {})
    return response


def _landing(session: Session, user: User) -> str:
    """The readings of whoever has something to read, the work list for everybody else."""
    return "/readings" if has_to_read(session, user) else _WORK_LIST


def _own_path(target: str) -> str:
    """Only a path of this installation: never another site's address."""
    own = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if own else _WORK_LIST
