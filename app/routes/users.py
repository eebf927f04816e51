"""Accounts, for administrators."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.auth import Admin
from app.db import Db, ReadDb, now
from app.errors import AppError, Conflict, NotFound
from app.models.event import Event
from app.models.sign_in import SignIn
from app.models.user import User
from app.responses import page, see_other

router = APIRouter(include_in_schema=False)


@router.get("/users")
def index(request: Request, user: Admin, db: ReadDb) -> Response:
    return _index(request, db, {"name": "", "role": "reader"}, None, 200)


@router.post("/users")
def create(
    request: Request,
    user: Admin,
    db: Db,
    name: Annotated[str, Form()] = "",
    role: Annotated[str, Form()] = "reader",
    password: Annotated[str, Form()] = "",
) -> Response:
    try:
        made = User.add(db, name.strip(), role, password)
    except AppError as error:
        return _index(request, db, {"name": name, "role": role}, error.detail, error.status)
    return see_other("/users", f"Account {made.name} was made.")


@router.post("/users/{user_id}/disabling")
def disable(user: Admin, db: Db, user_id: uuid.UUID) -> Response:
    """Take the right to sign in away; what the person did stays."""
    found = _found(db, user_id)
    if found.id == user.id:
        raise Conflict("You cannot disable your own account; ask another administrator.")
    found.disabled_at = now()
    SignIn.close_all(db, found)
    Event.record(db, user.name, "account disabled", str(found.id))
    return see_other("/users", f"Account {found.name} is disabled.")


@router.post("/users/{user_id}/enabling")
def enable(user: Admin, db: Db, user_id: uuid.UUID) -> Response:
    found = _found(db, user_id)
    found.disabled_at = None
    Event.record(db, user.name, "account enabled", str(found.id))
    return see_other("/users", f"Account {found.name} is enabled.")


def _found(db: Db, user_id: uuid.UUID) -> User:
    found = db.get(User, user_id)
    if found is None:
        raise NotFound("There is no such account.")
    return found


def _index(
    request: Request, db: ReadDb, form: dict[str, str], error: str | None, status: int
) -> Response:
    return page(
        request, "users/index.html", status, users=User.everyone(db), form=form, error=error
    )
