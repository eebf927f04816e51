"""Signing in and out."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse, Response

from app import cookies, rooted
from app.auth import Reader, Visitor
from app.db import Database, Db, ReadDb, now
from app.errors import AppError, Forbidden, NotFound, TooMany, Unauthorised, Unavailable
from app.models.ground.event import Event
from app.models.people.identity import Identity, Person
from app.models.people.sign_in import From, SignIn
from app.models.people.user import DEMO_ACCOUNTS, DEMO_PASSWORD, User
from app.models.reader_studies.desk import has_to_read
from app.models.reader_studies.enrolment import Enrolment
from app.oidc import MINUTES, Provider
from app.responses import Left, left, page, see_other, wants_json
from app.turnstile import (
    DEVICE_DAYS,
    TICKET_S,
    Admitted,
    Attempt,
    HalfAdmitted,
    Turnstile,
    source_of,
)

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
        return RedirectResponse(_own_path(request, next), 303)
    return _form(request, next, "", None)


@router.post("/sessions")
async def create(
    request: Request,
    name: Annotated[str, Form(max_length=60)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=4000)] = "/cases",
) -> Response:
    """Sign in. The password is hashed outside any transaction: see ``app.turnstile``.

    Where the account has an authenticator app, its code is asked for next.
    """
    turnstile: Turnstile = request.app.state.turnstile
    try:
        admitted = await turnstile.sign_in(_attempt(request, name.strip(), password))
    except (Unauthorised, TooMany, Unavailable) as refusal:
        return await run_in_threadpool(_form, request, next, name, refusal)
    if isinstance(admitted, HalfAdmitted):
        response = see_other(f"/sessions/code?next={quote(_own_path(request, next), safe='')}")
        cookies.put(response, request.scope, cookies.SECOND_STEP, admitted.ticket, TICKET_S)
        return response
    return _admitted(request, admitted, next)


@router.get("/sessions/code")
def ask_code(request: Request, next: str = _WORK_LIST) -> Response:
    """The second step: the form for the code of an authenticator app."""
    if not cookies.read(request, cookies.SECOND_STEP):
        return RedirectResponse("/sessions/new", 303)
    return _code_form(request, next, None)


@router.post("/sessions/code")
async def take_code(
    request: Request,
    code: Annotated[str, Form(max_length=40)] = "",
    next: Annotated[str, Form(max_length=4000)] = _WORK_LIST,
) -> Response:
    """Sign in with the code of the app, or a recovery code, after the password."""
    turnstile: Turnstile = request.app.state.turnstile
    ticket = cookies.read(request, cookies.SECOND_STEP)
    try:
        admitted = await turnstile.second_step(ticket, code, _attempt(request, "", ""))
    except (Unauthorised, TooMany, Unavailable) as refusal:
        return await run_in_threadpool(_code_form, request, next, refusal)
    response = _admitted(request, admitted, next)
    cookies.drop(response, request.scope, cookies.SECOND_STEP)
    return response


def _attempt(request: Request, name: str, password: str) -> Attempt:
    source, peer = source_of(request.scope)
    return Attempt(
        name,
        password,
        source,
        peer,
        device=cookies.read(request, cookies.DEVICE),
        session=cookies.read(request, cookies.SESSION),
        browser=_browser(request),
    )


def _admitted(request: Request, admitted: Admitted, next: str) -> Response:
    target = _own_path(request, next)
    # nothing but the work list was asked for: the front door knows where this person's work is
    response = see_other("/" if target == _WORK_LIST else target)
    hours: float = request.app.state.settings.session_hours
    scope = request.scope
    cookies.put(response, scope, cookies.SESSION, admitted.session, int(hours * 3600))
    cookies.put(response, scope, cookies.DEVICE, admitted.device, DEVICE_DAYS * 86400)
    return response


_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"),
             ("Safari", "Safari"))  # fmt: skip
_SYSTEMS = (("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"),
            ("Mac OS", "macOS"), ("Linux", "Linux"))  # fmt: skip


def _browser(request: Request) -> str:
    """What a browser calls itself, in a word or two: for its owner to know it again."""
    said = request.headers.get("user-agent", "")[:400]
    browser = next(
        (name for mark, name in _BROWSERS if re.search(rf"\b(Headless)?{mark}\w*/", said)), ""
    )
    system = next((name for mark, name in _SYSTEMS if mark in said), "")
    return " on ".join(filter(None, (browser, system)))


@router.get("/sessions/oidc")
def elsewhere(request: Request, next: str = _WORK_LIST) -> Response:
    """Go on at the identity provider."""
    provider = _provider(request)
    try:
        begun = provider.begin(_own_path(request, next))
    except Unavailable as refusal:
        return _form(request, next, "", refusal)
    response = RedirectResponse(begun.address, 303)
    cookies.put(response, request.scope, cookies.ELSEWHERE, begun.cookie, MINUTES * 60)
    return response


@router.get("/sessions/oidc/answer")
def answer(request: Request, look: ReadDb) -> Response:
    """Come back from the identity provider, with its word for who this is."""
    provider = _provider(request)
    cookie = cookies.read(request, cookies.ELSEWHERE)
    try:
        person, next = provider.finish(cookie, request.query_params)
        session = _begun(request, person)
    except AppError as refusal:
        response = _form(request, _WORK_LIST, "", refusal)
    else:
        response = RedirectResponse("/" if next == _WORK_LIST else _own_path(request, next), 303)
        hours: float = request.app.state.settings.session_hours
        cookies.put(response, request.scope, cookies.SESSION, session, int(hours * 3600))
    cookies.drop(response, request.scope, cookies.ELSEWHERE)
    return response


def _provider(request: Request) -> Provider:
    found: Provider | None = request.app.state.provider
    if found is None:
        raise NotFound("This installation has no identity provider. Sign in with a password.")
    return found


def _begun(request: Request, person: Person) -> str:
    """Sign a person in as the provider says; the cookie's secret.

    Raises:
        Forbidden: they are not let in; what was taken from them is committed.
    """
    database: Database = request.app.state.database

    def may_change(user: User) -> bool:
        return not Enrolment.keeps_unaware(session, user)

    with database.transaction() as session:
        user = Identity.admit(session, person, may_change)
        if isinstance(user, User):
            replaced = cookies.read(request, cookies.SESSION)
            hours = request.app.state.settings.session_hours
            at = From(source_of(request.scope)[0], _browser(request))
            return SignIn.begin(session, user, hours, replaces=replaced, at=at)
        source, _ = source_of(request.scope)
        Event.record(session, person.name[:100] or "?", "sign-in refused", source)
    raise Forbidden(user, event="sign-in at the identity provider")


@router.get("/sessions/state")
def state(request: Request, user: Visitor) -> Response:
    """Who is signed in in this browser and for how long; to ask it is no use of the sign-in."""
    return _state(user, left(request, used=False))


@router.post("/sessions/use")
def use(request: Request, user: Reader, db: Db) -> Response:
    """Stay signed in: this counts as use at once. The end in any case does not move."""
    row: SignIn = request.state.sign_in
    SignIn.note(db, [row.cookie_hash])
    if not wants_json(request):
        return see_other("/")
    row.seen_at = now()
    return _state(user, left(request))


def _state(user: User | None, found: Left | None) -> Response:
    told = {"idle_s": found.idle_s, "ends_s": found.ends_s} if found is not None else {}
    return JSONResponse({"person": str(user.id) if user is not None else None, **told})


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
        next=_own_path(request, next),
        name=name,
        error=refusal.detail if refusal else "",
        demo_accounts=DEMO_ACCOUNTS,
        demo_password=DEMO_PASSWORD,
        provider=request.app.state.provider,
    )
    response.headers.update(refusal.headers if refusal else {})
    return response


def _code_form(request: Request, next: str, refusal: AppError | None) -> Response:
    response = page(
        request,
        "sessions/code.html",
        refusal.status if refusal else 200,
        next=_own_path(request, next),
        error=refusal.detail if refusal else "",
    )
    response.headers.update(refusal.headers if refusal else {})
    return response


def _landing(session: Session, user: User) -> str:
    """The readings of whoever has something to read, the work list for everybody else."""
    return "/readings" if has_to_read(session, user) else _WORK_LIST


def _own_path(request: Request, target: str) -> str:
    """Only a path of this installation: never another site's address."""
    target = rooted.bare(request.scope, target)
    own = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if own else _WORK_LIST
