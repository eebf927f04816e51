"""Every component of the pages in every state, for those who build pages."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Visitor
from app.errors import NotFound
from app.responses import page

router = APIRouter(include_in_schema=False)


@router.get("/patterns")
def show(request: Request, user: Visitor) -> Response:
    """Every component in every state; NotFound unless HEPATICA_DEVELOPMENT is true."""
    if not request.app.state.settings.development:
        raise NotFound("The patterns are shown where HEPATICA_DEVELOPMENT is true.")
    return page(request, "patterns.html")
