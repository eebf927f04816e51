"""Pages, fragments and refusals; the one table from error to status."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, get_args
from urllib.parse import quote, urlsplit

import jinja2
import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Match, Mount
from starlette.types import Receive, Scope, Send

from app import cookies, place, request_ids, rooted
from app.counting import route_of
from app.db import Base, now
from app.errors import (
    AppError,
    BadRequest,
    Forbidden,
    NoSuchMethod,
    NotFound,
    StepFirst,
    Unauthorised,
    Unavailable,
    Unreadable,
)
from app.faults import described, refused
from app.models.cases.uids import is_mapped, mapped
from app.models.ground.event import Event
from app.models.people.sign_in import SignIn
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment, kept_behind
from app.settings import VERSION
from app.text import Unfit
from app.tour import Tour
from ml.ground.errors import HepaticaError

log = logging.getLogger("hepatica")

_OF_OBJECTS = re.compile(r"/(studies|series|instances)/([^/]+)")

Level = Literal["info", "success", "warning", "danger"]
"""How a note that is said once is meant."""

_FLASH_S = 60
_WARNING_S = 600
"""So long before its end a page tells of it; static/js/signing.js has the same."""
_FLASH_BYTES = 2400  # as base64 with its signature it stays under ``cookies.MOST_BYTES``
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

RECORD_WITHIN_S = 5.0
"""So long a refusal waits for its event to be written."""

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    # whatever does not say otherwise is kept by nobody: a copy outlives the right to see it
    "cache-control": "no-store",
}
AS_IT_COMES = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Of an answer in lines, each for a step that is done: a proxy keeps none back (nginx)."""
HTTPS_ONLY = "max-age=31536000"
"""``Strict-Transport-Security`` (RFC 6797), where people come over HTTPS."""


@lru_cache(maxsize=512)
def static(path: str) -> str:
    """The URL of a static file, with a tag of its content so that browsers may keep it.

    Scripts have one tag for all of them, as a folder: they import each other by relative
    addresses, so each is loaded once, and from one version only.
    """
    digest = hashlib.sha256((place.ROOT / "static" / path).read_bytes()).hexdigest()[:10]
    if path.startswith("js/"):
        return f"/static/js/v-{scripts_tag()}/{path.removeprefix('js/')}"
    return f"/static/{path}?v={digest}"


@lru_cache
def scripts_tag() -> str:
    """Ten hexadecimal digits of the SHA-256 of all scripts."""
    digest = hashlib.sha256()
    folder = place.ROOT / "static" / "js"
    for script in sorted(folder.rglob("*.js")):
        digest.update(script.relative_to(folder).as_posix().encode() + b"\0" + script.read_bytes())
    return digest.hexdigest()[:10]


def _datetime(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _filesize(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@lru_cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(place.ROOT / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # a process answers by the templates that it began with
    )
    environment.globals["static"] = static
    environment.filters |= {"datetime": _datetime, "percent": _percent, "filesize": _filesize}
    return environment


def render(request: Request, template: str, context: dict[str, Any]) -> str:
    """A template as text, within the frame that every page shares."""
    frame = {
        "current_user": getattr(request.state, "user", None),
        "keeps_unaware": getattr(request.state, "unaware", False),
        "reads_blind": _reads_blind(request),
        "owes": getattr(request.state, "owes", None),
        "ends": left(request),
        "demo": getattr(request.app.state, "demo", False),
        "returns_results": getattr(request.app.state, "returns_results", False),
        "flashes": _flashes(request),
        "path": request.url.path,
        "root": rooted.at(request.scope, ""),
        "request_id": request_ids.current(),
        "template": template,
        "tour": Tour.of(request),
    }
    html = _templates().get_template(template).render({**frame, **context})
    return rooted.within(request.scope, html)


def _reads_blind(request: Request) -> bool:
    """Whether what is synthetic is closed to who asks; a stranger reads nothing."""
    row: SignIn | None = getattr(request.state, "sign_in", None)
    return bool(row is not None and row.blind)


@dataclass(frozen=True)
class Left:
    """How long the sign-in behind a request lasts, this request counted as use.

    Attributes:
        idle_s: without further use; never longer than ``ends_s``.
        ends_s: in any case.
        at: when that is.
        idle_hours: how long without use, as the settings say.
    """

    idle_s: int
    ends_s: int
    at: datetime
    idle_hours: float

    @property
    def soon(self) -> bool:
        """Whether it ends within ten minutes, however it is used."""
        return self.ends_s <= _WARNING_S


def left(request: Request, *, used: bool = True) -> Left | None:
    """How long the sign-in behind a request lasts; None where nobody is signed in.

    Args:
        used: whether the request counts as use.
    """
    row: SignIn | None = getattr(request.state, "sign_in", None)
    if row is None:
        return None
    hours: float = request.app.state.settings.session_idle_hours
    seen = now() if used and row.unnoted else row.seen_at
    ends_s = (row.expires_at - now()).total_seconds()
    idle_s = (seen - now()).total_seconds() + hours * 3600
    return Left(int(min(idle_s, ends_s)), int(ends_s), row.expires_at, hours)


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A whole page. Pages hold patients' data, so they are never kept by a cache.

    One that refuses a form says why in ``error``, or in what ends in ``_error``: a script that
    stays on its page is told that alone, and of an `AppError` the fields that it is about.
    """
    if status >= 400 and _stays(request):
        said = [why for name, why in context.items() if why and f"_{name}".endswith("_error")]
        if said:
            told = {"title": "Refused", "status": status, "detail": str(said[0])}
            if isinstance(said[0], AppError) and "errors" in said[0].more:
                told["errors"] = said[0].more["errors"]
            return JSONResponse(told, status, media_type="application/problem+json")
    response = HTMLResponse(
        render(request, template, context), status, {"cache-control": "no-store"}
    )
    if cookies.read(request, cookies.FLASH):
        cookies.drop(response, request.scope, cookies.FLASH)
    return response


def fragment(
    request: Request,
    template: str,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> Response:
    """A piece of a page, for a script that swaps it in."""
    return HTMLResponse(
        render(request, template, context), status, {"cache-control": "no-store", **(headers or {})}
    )


KEPT = {"cache-control": "private, no-cache", "vary": "cookie"}
"""Of what never changes under its address, but may be shown to somebody no longer: the browser
keeps it, and asks each time whether it may still show it."""


def etag_of(*parts: object) -> str:
    """An entity tag of the same form for everything: a hash of what makes the bytes."""
    said = "\x1f".join([VERSION, *map(str, parts)])
    return f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"'


def unchanged(request: Request, etag: str) -> Response | None:
    """304 when the browser has these bytes; None when they must be sent."""
    held = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if etag in (one.removeprefix("W/") for one in held) or held == ["*"]:
        return Response(status_code=304, headers={**KEPT, "etag": etag})
    return None


def wants_fragment(request: Request) -> bool:
    """Whether a script asks, which puts a piece into its page (``X-Fragment: 1``)."""
    return request.headers.get("x-fragment") == "1"


def wants_json(request: Request) -> bool:
    """Whether the answer is to be JSON (``Accept: application/json``)."""
    return "application/json" in request.headers.get("accept", "")


def _stays(request: Request) -> bool:
    """Whether a script asks that stays on its page until it knows the way on (``X-Stays: 1``)."""
    return request.headers.get("x-stays") == "1"


class SeeOther(RedirectResponse):
    """After a write: go and look. A note travels along in a signed cookie and is said once.

    A script that stays on its page is told the address: it would not see where it is led.
    """

    def __init__(self, url: str, flash: str, level: Level) -> None:
        super().__init__(url, 303)
        self._address = url
        self._note = {"level": level, "text": _shortened(flash)} if flash else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, with the note in its cookie where there is one."""
        if self._note is not None:
            value = _sealed(scope["app"].state.key, self._note)
            cookies.put(self, scope, cookies.FLASH, value, _FLASH_S)
        if not _stays(Request(scope)):
            await super().__call__(scope, receive, send)
            return
        told = JSONResponse({"address": rooted.at(scope, self._address)})
        told.raw_headers += [one for one in self.raw_headers if one[0] == b"set-cookie"]
        await told(scope, receive, send)


def see_other(url: str, flash: str = "", level: Level = "success") -> Response:
    """After a write: go and look. ``flash`` is said once on the next page."""
    return SeeOther(url, flash, level)


def _shortened(text: str) -> str:
    raw = text.encode("utf-8", "replace")
    if len(raw) <= _FLASH_BYTES:
        return raw.decode("utf-8")
    return raw[: _FLASH_BYTES - 3].decode("utf-8", "ignore") + "…"


def _sealed(key: bytes, note: dict[str, str]) -> str:
    """TIME.NOTE.TAG: a note that nobody else can write, and nobody can show again later."""
    body = urlsafe_b64encode(json.dumps(note, ensure_ascii=False).encode()).decode().rstrip("=")
    moment = str(int(time.time()))
    return f"{moment}.{body}.{cookies.tag(key, 'flash', moment, body)}"


_SEALED = re.compile(r"(\d{1,12})\.([\w-]{1,4000})\.([\w-]{32})", re.ASCII)


def _flashes(request: Request) -> list[dict[str, str]]:
    """The note that this installation wrote a moment ago; nothing else that a cookie may hold."""
    found = _SEALED.fullmatch(cookies.read(request, cookies.FLASH))
    if found is None:
        return []
    moment, body, signed = found.groups()
    own = cookies.tag(request.app.state.key, "flash", moment, body)
    if not cookies.same(own, signed) or abs(time.time() - int(moment)) > _FLASH_S:
        return []
    note: dict[str, str] = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return [note] if note["level"] in get_args(Level) else []


def problem(scope: Scope, error: AppError) -> Response:
    """A refusal for programs (RFC 9457)."""
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        **error.more,
        "request_id": request_ids.current(),
    }
    if "next" in body:
        body["next"] = {**body["next"], "url": rooted.at(scope, body["next"]["url"])}
    headers = dict(error.headers)
    if isinstance(error, Unauthorised):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body, error.status, headers, media_type="application/problem+json")


def _of_programs(request: Request) -> bool:
    """Whether an address is for programs, which are answered in JSON whatever they accept."""
    return request.url.path.startswith(("/api/", "/dicomweb/", "/metrics"))


def refusal(scope: Any, error: AppError) -> Response:
    """A refusal in the form that the caller understands: a page, or problem+json."""
    request = Request(scope)
    if _of_programs(request) or wants_json(request) or wants_fragment(request) or _stays(request):
        return problem(scope, error)
    if isinstance(error, Unauthorised) and request.method == "GET":
        own = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = getattr(request.state, "came_for", own)  # where its query is not to be repeated
        return RedirectResponse(f"/sessions/new?next={quote(target, safe='')}", 303)
    if isinstance(error, StepFirst) and request.method == "GET":
        return RedirectResponse(error.address, 303)
    response = page(
        request,
        "error.html",
        error.status,
        status_code=error.status,
        title=error.title,
        detail=error.detail,
        next=error.more.get("next"),
        back=_came_from(request) if request.method == "POST" else "",
    )
    response.headers.update(error.headers)
    return response


def _came_from(request: Request) -> str:
    """The page of this installation whose form was sent, as a path; "" where it is not told."""
    told = urlsplit(request.headers.get("referer", ""))
    own = told.path.startswith("/") and not told.path.startswith(("//", "/\\"))
    if told.netloc != request.headers.get("host") or not own:
        return ""
    path = rooted.bare(request.scope, told.path)
    return path + (f"?{told.query}" if told.query else "")


def app_error_of(error: Exception) -> AppError:
    """The one table: what each exception means to the person or program that asked."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, HepaticaError):
        return Unreadable(str(error))
    if isinstance(error, RequestValidationError):
        return Unreadable(_said(error), errors=_fields(error))
    if isinstance(error, Unfit):
        return Unreadable(f"Something that was sent cannot be kept: {error}.")
    if isinstance(error, HTTPException):
        return _of_status(error)
    unexpected = AppError("An unexpected fault; nothing was changed. It is in the server's log.")
    if isinstance(error, SQLAlchemyError):
        return refused(error, Base.metadata) or unexpected
    return unexpected


def _of_status(error: HTTPException) -> AppError:
    kinds = {400: BadRequest, 404: NotFound, 405: NoSuchMethod}
    words = {
        404: "There is nothing at this address.",
        405: "This address does not know this method.",
    }
    kind = kinds.get(error.status_code)
    detail = words.get(error.status_code, str(error.detail))
    made = (kind or AppError)(detail, headers=error.headers)
    if kind is None:
        made.status, made.title = error.status_code, "Refused"  # type: ignore[misc]
    return made


def report(request: Request, error: Exception) -> None:
    """Put a fault into the log: its kind and place, and never a value of a person or patient.

    So neither its message, which may quote what was sent, nor the address that was asked for.
    """
    log.error("%s %s: %s", request.method, route_of(request.scope), described(error))


_MOST_FAULTS = 20
"""Of a body's faults that are told: it may have one for each of a hundred thousand names."""


def _fields(error: RequestValidationError) -> list[dict[str, str]]:
    return [
        {
            "field": ".".join(str(part)[:80] for part in item["loc"][1:]),
            "message": _message(item)[:500],
        }
        for item in error.errors()[:_MOST_FAULTS]
    ]


def _message(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        return "there is no such field in this call; its description names those there are"
    return str(fault["msg"])


def _said(error: RequestValidationError) -> str:
    parts = [f"{item['field'] or 'body'}: {item['message']}" for item in _fields(error)]
    more = len(error.errors()) - len(parts)
    parts += [f"and {more} more"] if more else []
    return "; ".join(parts) + "."


def allowed_methods(scope: Scope) -> str:
    """The methods of an address, for ``Allow``; empty when there is nothing at it."""
    found = []
    for method in _METHODS:
        # a mount has changed the root path when its files refuse a method
        asked = {**scope, "method": method, "root_path": scope.get("app_root_path", "")}
        for route in scope["app"].router.routes:
            files = isinstance(route, Mount)  # matches whatever the method
            if route.matches(asked)[0] is Match.FULL and (method == "GET" or not files):
                found += [method, "HEAD"] if method == "GET" else [method]
                break
    return ", ".join(found)


_OF_THE_DATABASE = (sa.exc.DBAPIError, sa.exc.TimeoutError)


def answered(request: Request, error: Exception) -> Response:
    """The refusal that an exception becomes, in the form that the caller understands."""
    found = app_error_of(error)
    if isinstance(error, RequestValidationError) and _names_nothing(request, error):
        found = NotFound("There is nothing at this address.")
    if found.status == 500 or isinstance(error, _OF_THE_DATABASE):
        report(request, error)
    if isinstance(found, NotFound) and isinstance(error, HTTPException):
        path: str = request.scope["path"]
        bare = "/" + path.strip("/")
        if request.method == "GET" and bare != path:
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(quote(bare) + query, 307)  # of this host, whatever Host says
    if found.status == 405:
        found.headers["allow"] = allowed_methods(request.scope)
    return refusal(request.scope, found)


def _names_nothing(request: Request, error: RequestValidationError) -> bool:
    """Whether the address of a page has an id in it that can be nobody's.

    It was cut on the way, or typed: the person needs no grammar of it. A program does.
    """
    ids = all(one["loc"][0] == "path" and one["type"] == "uuid_parsing" for one in error.errors())
    return ids and not _of_programs(request)


def install_handlers(app: FastAPI) -> None:
    """Every exception that leaves a route becomes a refusal here, and nowhere else."""

    def handle(request: Request, error: Exception) -> Response:
        _recognise(request)
        if isinstance(error, AppError):
            _record(request, error)
        elif isinstance(error, HTTPException) and getattr(request.state, "unaware", False):
            error = Enrolment.not_yet()  # nor do addresses tell what there is
        return answered(request, error)

    for kind in (AppError, HepaticaError, RequestValidationError, HTTPException, Unfit):
        app.add_exception_handler(kind, handle)


def _recognise(request: Request) -> None:
    """Let the frame of a refusal show who is signed in where no handler has asked for it."""
    secret = cookies.read(request, cookies.SESSION)
    if hasattr(request.state, "user") or not secret or request.url.path.startswith("/api/"):
        return
    configuration = request.app.state.settings
    with request.app.state.database.reading() as session:
        kept = kept_behind()
        row = SignIn.behind(session, secret, configuration.session_idle_hours, *kept)
        user: User | None = row.user if row is not None else None
        request.state.user = user
        request.state.unaware = bool(row is not None and row.unaware)
        request.state.sign_in = row


def _record(request: Request, error: AppError) -> None:
    """Write a refusal's event: what is asked for by one, and everything refused to someone known.

    In a transaction of its own, since the request's was undone.
    """
    user = getattr(request.state, "user", None)
    program = getattr(request.state, "program", None)
    kind = error.more.pop("event", None)
    refused = isinstance(error, Forbidden) and not isinstance(error, StepFirst)
    if kind is None and refused and (user or program):
        kind = "refused"
    if kind is None:
        return
    actor = user.name if user else program or "?"
    try:
        with request.app.state.database.transaction(patience_s=RECORD_WITHIN_S) as session:
            Event.record(session, actor, kind, _address(request))
    except Unavailable:  # the refusal stands; what could not be written is in the log
        log.error("Not recorded: %s by %s at %s", kind, actor, route_of(request.scope))


def _address(request: Request) -> str:
    """What was asked for, as it may be kept: UIDs that a sender gave are mapped, as they leave."""
    key: bytes = request.app.state.key

    def veiled(found: re.Match[str]) -> str:
        uid = found[2]
        return f"/{found[1]}/{uid if is_mapped(uid) else mapped(uid, key)}"

    return _OF_OBJECTS.sub(veiled, request.url.path)
