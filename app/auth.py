"""Who is asking: cookie sessions for people, bearer tokens for programs, and whence a write comes.

Cookies are honoured on pages only and tokens on ``/api`` only, so that a page in another tab can
never make a browser call the API, and every write of a browser must come from our own origin. The
doors of a PACS (``/dicomweb``) take either, since programs and viewers in a browser ask there: a
token where one is sent, else the cookie, by the rules of pages.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from app import cookies
from app.db import Database
from app.errors import Forbidden, StepFirst, Unauthorised, Unavailable
from app.models.jobs.holder import Holder
from app.models.people.sign_in import Owed, SignIn
from app.models.people.token import ApiToken
from app.models.people.user import User, digest_of
from app.models.reader_studies.enrolment import Enrolment, kept_behind
from app.roles import ROLES

log = logging.getLogger("hepatica")

_ASKED_BY_ITSELF = re.compile(
    "/(runs|fetches)/[^/]+/progress|/erasures/[0-9a-f-]{36}|/sessions/state"
)
"""What an open page asks for without anybody at the computer."""
_OPEN_TO_UNAWARE = re.compile("/|/(readings|pixels|account|sessions|static|health)(/.*)?")
"""Pages that say nothing of synthetic images to whoever is not to know of them yet."""
_OPEN_TO_OWING = re.compile("/(account|sessions|static|health)(/.*)?")
"""Where somebody does what they must do before all else, or signs out."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def visitor(request: Request) -> User | None:
    """The signed-in person, if any; also remembered for the page's frame.

    Over a session of its own: one that the whole request shares would keep its connection while a
    body comes in and while the handler waits for a thread.
    """
    with _database(request).reading() as session:
        row = _behind(request, session)
        user = row.user if row is not None else None
        unaware = bool(row is not None and row.unaware)
    request.state.user = user
    request.state.unaware = unaware
    request.state.sign_in = row
    request.state.owes = owes = _owed(request, row)
    if owes and not _OPEN_TO_OWING.fullmatch(request.url.path):
        raise _before_all_else(owes)
    if unaware and not _OPEN_TO_UNAWARE.fullmatch(request.url.path):
        raise Enrolment.not_yet()
    if row is not None and row.unnoted and not _ASKED_BY_ITSELF.fullmatch(request.url.path):
        attendance: Attendance = request.app.state.attendance
        attendance.note(row.cookie_hash)
    return user


def _owed(request: Request, row: SignIn | None) -> Owed | None:
    demanding: frozenset[str] = request.app.state.settings.second_step_roles
    return row.owes(demanding) if row is not None else None


def _before_all_else(owes: Owed) -> StepFirst:
    if owes is Owed.PASSWORD:
        return StepFirst(
            "An administrator gave you your password. Choose one that only you know first, at "
            "/account.",
            "/account",
        )
    return StepFirst(
        "This installation asks people of your role for a second step when they sign in. Set up an "
        "authenticator app first, at /account/second-step.",
        "/account/second-step",
    )


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _behind(request: Request, session: Session) -> SignIn | None:
    secret = cookies.read(request, cookies.SESSION)
    hours: float = request.app.state.settings.session_idle_hours
    return SignIn.behind(session, secret, hours, *kept_behind()) if secret else None


async def identify(request: Request) -> None:
    """Make sure that somebody stands behind a request before its body is read.

    Raises:
        Unauthorised: on a page no valid cookie, on the API no valid token.
    """
    if _by_token(request.scope):
        await machine(request)
        return

    def look() -> bool:
        with _database(request).reading() as session:
            return _behind(request, session) is not None

    if not cookies.read(request, cookies.SESSION) or not await run_in_threadpool(look):
        raise Unauthorised("Sign in to see this page.")


class Attendance:
    """Writes down that sign-ins are in use, beside the requests: none of them waits for it.

    One thread writes for the process; what gathers while it waits for the database goes in one
    transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="attendance")

    def note(self, cookie_hash: str) -> None:
        """Write it down soon."""
        with self._lock:
            waiting = bool(self._seen)
            self._seen.add(cookie_hash)
        if not waiting:
            self._thread.submit(self._write)

    def _write(self) -> None:
        with self._lock:
            seen, self._seen = self._seen, set()
        try:
            with self._database.transaction() as session:
                SignIn.note(session, sorted(seen))
        except Exception as error:  # the next use of the sign-in tries again
            log.warning("Use of sign-ins was not written down (%s).", type(error).__name__)


def signed_in(user: Annotated[User | None, Depends(visitor)]) -> User:
    """Anyone signed in; Unauthorised for a stranger."""
    if user is None:
        raise Unauthorised("Sign in to see this page.")
    return user


def researcher(user: Annotated[User, Depends(signed_in)]) -> User:
    """A researcher or an administrator."""
    return _at_least(user, "researcher")


def admin(user: Annotated[User, Depends(signed_in)]) -> User:
    """An administrator."""
    return _at_least(user, "admin")


def _at_least(user: User, role: str) -> User:
    if not user.may(role):
        raise Forbidden(
            f"This needs the role {role}; you are signed in as {user.role}. "
            "An administrator can change roles."
        )
    return user


Visitor = Annotated[User | None, Depends(visitor)]
Reader = Annotated[User, Depends(signed_in)]
Researcher = Annotated[User, Depends(researcher)]
Admin = Annotated[User, Depends(admin)]


@dataclass(frozen=True)
class Machine:
    """The holder of an API token. ``owner_id`` and ``owner`` are the person for whom it acts."""

    name: str
    role: str
    owner_id: uuid.UUID | None = None
    owner: str = ""
    token_id: uuid.UUID | None = None

    @property
    def holder(self) -> Holder:
        """Whose it is what is kept for this program."""
        return Holder(self.owner_id, self.token_id, self.actor, self.may("admin"))

    @property
    def actor(self) -> str:
        """Who did what is done with it, for the record."""
        return f"token {self.name} of {self.owner}" if self.owner else f"token {self.name}"

    def may(self, role: str) -> bool:
        """Whether this token has at least ``role``; a machine has a researcher's reach."""
        own = "researcher" if self.role == "machine" else self.role
        return ROLES.index(own) >= ROLES.index(role)


class TokenDesk:
    """Checks API tokens and remembers the good ones for a few seconds.

    Asking the database at every request would cost more than a classification does.
    """

    _MOST = 10_000

    def __init__(self, database: Database, keep_s: float) -> None:
        self._database = database
        self._keep_s = keep_s
        self._known: dict[str, tuple[float, Machine]] = {}

    def remembered(self, authorization: str) -> Machine | None:
        """The holder, if this ``Authorization`` value was checked a moment ago; never asks."""
        found = self._known.get(digest_of(authorization))
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def check(self, authorization: str) -> Machine:
        """The holder of a bearer token.

        Raises:
            Unauthorised: no token, an unknown one, or a revoked one.
        """
        known = self.remembered(authorization)
        if known is not None:
            return known
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthorised(
                "Send the header `Authorization: Bearer <token>`. "
                "`python -m app token add NAME --role machine` makes a token."
            )
        with self._database.reading() as session:
            holder = ApiToken.holder(session, secret.strip())
        if holder is None:
            raise Unauthorised(
                "This token is not known, was revoked, or is good no longer. Make a new one: "
                "`python -m app token list` says which there are."
            )
        owner = holder.owner
        if owner is not None:
            self._refuse_unaware(owner)
        machine = Machine(
            holder.name, holder.reach, holder.owner_id, owner.name if owner else "", holder.id
        )
        if holder.unnoted:
            self._note(holder.id)
        if len(self._known) >= self._MOST:
            self._known.clear()
        self._known[digest_of(authorization)] = (time.monotonic() + self._keep_s, machine)
        return machine

    def _refuse_unaware(self, owner: User) -> None:
        """The API tells what an unaware reader is not to know yet."""
        with self._database.reading() as session:
            if Enrolment.keeps_unaware(session, owner):
                raise Forbidden(
                    "This token is of no use until its owner has finished a reading. Finish it at "
                    "/readings first."
                )

    def _note(self, token_id: uuid.UUID) -> None:
        """Write the use down, if nobody must wait for it; else the next check does."""
        with suppress(Unavailable), self._database.transaction(patience_s=0.5, quiet=True) as db:
            ApiToken.note_use(db, token_id)


_bearer = HTTPBearer(auto_error=False, description="A token made with `python -m app token add`")


async def machine(request: Request) -> Machine:
    """The program behind a bearer token."""
    desk: TokenDesk = request.app.state.tokens
    authorization = request.headers.get("authorization", "")
    # a known token needs no thread: the hop would cost a third of a classification
    known = desk.remembered(authorization)
    if known is None:
        known = await run_in_threadpool(desk.check, authorization)
    request.state.program = known.actor
    return known


async def _program(
    request: Request,
    _credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Machine:
    """``machine``, with the token in the API's description."""
    return await machine(request)


Program = Annotated[Machine, Depends(_program)]


@dataclass(frozen=True)
class Asker:
    """Who asks at a door that people and programs share.

    ``person`` is who sees what is shown: the person signed in, or for whom a token acts; None for
    a program that acts for nobody.
    """

    name: str
    person: uuid.UUID | None


async def _asker(request: Request) -> Asker:
    """The person or program behind a request; Unauthorised where there is none."""
    if _by_token(request.scope):
        program = await machine(request)
        return Asker(program.actor, program.owner_id)
    user = await run_in_threadpool(visitor, request)
    if user is None:
        raise Unauthorised(
            "Send the header `Authorization: Bearer <token>`, or sign in. "
            "`python -m app token add NAME --role machine` makes a token."
        )
    return Asker(user.name, user.id)


Someone = Annotated[Asker, Depends(_asker)]


class OriginCheck:
    """Refuse a browser's write that does not come from our own pages (CSRF).

    Browsers say in ``Sec-Fetch-Site`` whether the page that asks is of the same origin, and no
    script can change that. Those that do not say it send ``Origin``, which is compared with the
    address they came to. After Filippo Valsorda's ``CrossOriginProtection`` in Go's ``net/http``
    (https://words.filippo.io/csrf/), as Datasette does since 2026, but for one thing: a write that
    carries neither header is refused, since programs have the API.
    """

    def __init__(self, app: ASGIApp, public_origin: str) -> None:
        self.app = app
        self.public_origin = public_origin.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through what only looks, the API, and what this installation's own pages send.

        Raises:
            Forbidden: a write from elsewhere, or from nobody knows where.
        """
        if scope["type"] != "http" or scope["method"] in _SAFE or _by_token(scope):
            await self.app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        if not self._is_own(headers, scope):
            raise Forbidden(
                "The request did not come from a page of this installation. Open the page again "
                "and retry; behind a proxy set HEPATICA_PUBLIC_ORIGIN."
            )
        await self.app(scope, receive, send)

    def _is_own(self, headers: dict[str, str], scope: Scope) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")  # none: the person's own doing, such as a reload
        origin = headers.get("origin") or _origin_of(headers.get("referer", ""))
        if not origin or origin == "null":
            return False
        return origin in (self.public_origin, f"{scope['scheme']}://{headers.get('host', '')}")


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _by_token(scope: Scope) -> bool:
    """Whether a token says who asks, and no cookie: no page elsewhere can make a browser send one.

    On the API always; at the doors of a PACS where one is sent.
    """
    path: str = scope["path"]
    if path.startswith("/api/"):
        return True
    sent = any(name == b"authorization" for name, _ in scope["headers"])
    return sent and path.startswith("/dicomweb/")
