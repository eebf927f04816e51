"""Pages, fragments and refusals; the one table from error to status."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import jinja2
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from app.db import ROOT
from app.errors import AppError, NotFound, Unauthorised, Unreadable
from app.models.event import Event
from ml.errors import HepaticaError

log = logging.getLogger("hepatica")
_FLASH = "hepatica_flash"

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
}


@lru_cache(maxsize=512)
def static(path: str) -> str:
    """The URL of a static file, with a tag of its content so that browsers may keep it."""
    digest = hashlib.sha256((ROOT / "static" / path).read_bytes()).hexdigest()[:10]
    return f"/static/{path}?v={digest}"


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
        loader=jinja2.FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static
    environment.filters |= {"datetime": _datetime, "percent": _percent, "filesize": _filesize}
    return environment


def render(request: Request, template: str, context: dict[str, Any]) -> str:
    """A template as text, within the frame that every page shares."""
    frame = {
        "current_user": getattr(request.state, "user", None),
        "demo": getattr(request.app.state, "demo", False),
        "flashes": _flashes(request),
        "path": request.url.path,
    }
    return _templates().get_template(template).render({**frame, **context})


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A whole page. Pages hold patients' data, so they are never kept by a cache."""
    response = HTMLResponse(
        render(request, template, context), status, {"cache-control": "no-store"}
    )
    if _FLASH in request.cookies:
        response.delete_cookie(_FLASH)
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


def wants_fragment(request: Request) -> bool:
    return request.headers.get("x-fragment") == "1"


def wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def see_other(url: str, flash: str = "", level: str = "success") -> Response:
    """After a write: go and look. ``flash`` is said once on the next page."""
    response = RedirectResponse(url, 303)
    if flash:
        note = quote(json.dumps([{"level": level, "text": flash}]))
        response.set_cookie(_FLASH, note, max_age=60, httponly=True, samesite="lax")
    return response


def _flashes(request: Request) -> list[dict[str, str]]:
    try:
        notes = json.loads(unquote(request.cookies.get(_FLASH, "[]")))
        return [{"level": str(n["level"]), "text": str(n["text"])} for n in notes]
    except (ValueError, TypeError, KeyError):
        return []


def problem(error: AppError) -> Response:
    """A refusal for programs (RFC 9457)."""
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        **error.more,
    }
    headers = {"www-authenticate": "Bearer"} if isinstance(error, Unauthorised) else None
    return JSONResponse(body, error.status, headers, media_type="application/problem+json")


def refusal(scope: Any, error: AppError) -> Response:
    """A refusal in the form that the caller understands: a page, or problem+json."""
    request = Request(scope)
    if request.url.path.startswith("/api/") or wants_json(request) or wants_fragment(request):
        return problem(error)
    if isinstance(error, Unauthorised) and request.method == "GET":
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sessions/new?next={quote(target, safe='')}", 303)
    return page(
        request,
        "error.html",
        error.status,
        status_code=error.status,
        title=error.title,
        detail=error.detail,
        next=error.more.get("next"),
    )


def _as_app_error(error: Exception) -> AppError:
    if isinstance(error, AppError):
        return error
    if isinstance(error, HepaticaError):
        return Unreadable(str(error))
    if isinstance(error, RequestValidationError):
        return Unreadable(_said(error), errors=_fields(error))
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return NotFound("There is nothing at this address.")
        made = AppError(str(error.detail))
        made.status, made.title = error.status_code, "Refused"  # type: ignore[misc]
        return made
    log.exception("unexpected error", exc_info=error)
    return AppError("An unexpected fault; nothing was changed. It is in the server's log.")


def _fields(error: RequestValidationError) -> list[dict[str, str]]:
    return [
        {"field": ".".join(str(part) for part in item["loc"][1:]), "message": str(item["msg"])}
        for item in error.errors()
    ]


def _said(error: RequestValidationError) -> str:
    parts = [f"{item['field'] or 'body'}: {item['message']}" for item in _fields(error)]
    return "; ".join(parts) + "."


def install_handlers(app: FastAPI) -> None:
    """Every exception that leaves a route becomes a refusal here, and nowhere else."""

    def handle(request: Request, error: Exception) -> Response:
        app_error = _as_app_error(error)
        event = app_error.more.pop("event", None)
        if event is not None:  # the request's own transaction was undone
            user = getattr(request.state, "user", None)
            actor = user.name if user else getattr(request.state, "program", "?")
            with request.app.state.database.transaction() as session:
                Event.record(session, actor, event, request.url.path)
        return refusal(request.scope, app_error)

    for kind in (AppError, HepaticaError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)
