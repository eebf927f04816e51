"""How the installation is, in words, for administrators."""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Admin
from app.cookies import over_https
from app.db import ReadDb
from app.operation.condition import Looking
from app.responses import page

router = APIRouter(include_in_schema=False)


@router.get("/status")
def show(request: Request, user: Admin, db: ReadDb) -> Response:
    """What is wrong and what to do, what waits, and what is well."""
    state = request.app.state
    is_safe = over_https(request.scope) or _is_of_this_machine(request.url.hostname or "")
    looking = Looking(state.database, state.settings, state.counts.all(), is_safe)
    return page(request, "status/show.html", condition=looking.found(db))


def _is_of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
