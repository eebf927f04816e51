"""API tokens: all of them for administrators, and the end of one by whose it is."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.auth import Admin, Reader
from app.db import Db, ReadDb
from app.models.people.token import ApiToken
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)


@router.get("/tokens")
def index(request: Request, user: Admin, db: ReadDb) -> Response:
    """Every token, with whose it is, until when it is good and when it was last used."""
    return page(request, "users/tokens.html", tokens=ApiToken.all(db))


@router.post("/tokens/{token_id}/revocation")
def revoke(
    user: Reader, db: Db, token_id: uuid.UUID, back: Annotated[str, Form(max_length=100)] = ""
) -> Response:
    """End a token: one's own, an administrator any. It works for seconds more where it was known.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    token = ApiToken.require(db, token_id, user)
    token.end(db, user.name)
    known = back == "/tokens" or back == f"/users/{token.owner_id}"
    return see_other(
        back if known and user.may("admin") else "/account", f"Token {token.name} is revoked."
    )
