"""Accounts, for administrators."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Admin
from app.db import Db, ReadDb
from app.errors import AppError, Conflict
from app.models.people.second_factor import SecondFactor
from app.models.people.sign_in import SignIn
from app.models.people.tally import Alarm, Tally
from app.models.people.token import ApiToken
from app.models.people.user import User, hashed
from app.models.reader_studies.enrolment import Enrolment
from app.responses import page, see_other
from app.roles import ROLES

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form(max_length=1000)]


@router.get("/users")
def index(request: Request, user: Admin, db: ReadDb) -> Response:
    """Every account, and the form for another."""
    return _index(request, db, {"name": "", "role": "reader"}, None)


@router.post("/users")
def create(
    request: Request,
    user: Admin,
    look: ReadDb,
    db: Db,
    name: Text = "",
    role: Text = "reader",
    password: Text = "",
) -> Response:
    """Make an account; what is refused comes back in the form with the reason."""
    try:
        made = User.add(db, name.strip(), role, password, temporary=True, by=user.name)
    except AppError as error:
        return _index(request, look, {"name": name, "role": role}, error)
    return see_other(
        "/users",
        f"Account {made.name} was made. They are asked to choose another password first.",
    )


@router.get("/users/{user_id}")
def show(request: Request, user: Admin, db: ReadDb, user_id: uuid.UUID) -> Response:
    """One account, and what an administrator can change of it; NotFound when there is none."""
    return _account(request, db, User.of_id(db, user_id), None)


@router.post("/users/{user_id}/password")
def reset_password(
    request: Request, user: Admin, look: ReadDb, db: Db, user_id: uuid.UUID, password: Text = ""
) -> Response:
    """Give a new password for whoever forgot theirs; it ends their sign-ins.

    Raises:
        NotFound: no such account.
        Conflict: it is one's own.
    """
    if user_id == user.id:
        raise Conflict("Change your own password at /account, where the old one is asked for.")
    found = User.of_id(look, user_id)
    try:
        password_hash = hashed(password)
    except AppError as error:
        return _account(request, look, found, error)
    User.of_id(db, user_id).set_password(db, password_hash, user.name, temporary=True)
    return see_other(
        f"/users/{user_id}",
        f"{found.name} has a new password and is signed out everywhere. When they sign in with it "
        "they must choose another one first.",
    )


@router.post("/users/{user_id}/role")
def change_role(user: Admin, db: Db, user_id: uuid.UUID, role: Text = "") -> Response:
    """Let a person do more, or less.

    Raises:
        NotFound: no such account.
        Unreadable: no such role.
        Conflict: no administrator would be left, or the person is not to know yet what other
            roles know.
    """
    found = User.of_id(db, user_id)
    if role != found.role and Enrolment.keeps_unaware(db, found):
        raise Conflict(
            f"{found.name} reads a study in which they are not told yet that some images are "
            "synthetic, and another role would tell them. Change it when they were debriefed, or "
            "have them withdrawn from the study."
        )
    found.set_role(db, role, user.name)
    return see_other(f"/users/{user_id}", f"{found.name} is {role} from now on.")


@router.post("/users/{user_id}/disabling")
def disable(user: Admin, db: Db, user_id: uuid.UUID) -> Response:
    """Take the right to sign in away; what the person did stays.

    Raises:
        NotFound: no such account.
        Conflict: it is one's own, or no administrator would be left.
    """
    if user_id == user.id:
        raise Conflict("You cannot disable your own account; ask another administrator.")
    found = User.of_id(db, user_id)
    found.disable(db, user.name)
    return see_other("/users", f"Account {found.name} is disabled.")


@router.post("/users/{user_id}/enabling")
def enable(user: Admin, db: Db, user_id: uuid.UUID) -> Response:
    """Give a person the right to sign in back; NotFound when there is no such account."""
    found = User.of_id(db, user_id)
    found.enable(db, user.name)
    return see_other("/users", f"Account {found.name} is enabled.")


@router.post("/users/{user_id}/unlocking")
def unlock(request: Request, user: Admin, db: Db, user_id: uuid.UUID) -> Response:
    """Let a person try again at once after too many refused sign-ins."""
    found = User.of_id(db, user_id)
    Tally.unlock(db, request.app.state.key, found, user.name)
    return see_other(f"/users/{user_id}", f"{found.name} can sign in again at once.")


@router.post("/users/{user_id}/second-step/removal")
def reset_second_step(user: Admin, db: Db, user_id: uuid.UUID) -> Response:
    """Ask a person for no code any longer: their phone is lost, and their recovery codes too.

    Raises:
        NotFound: no such account.
        Conflict: it is one's own, or there is nothing to reset.
    """
    if user_id == user.id:
        raise Conflict("Remove your own app at /account/second-step, where a code is asked for.")
    found = User.of_id(db, user_id)
    if not SecondFactor.remove(db, found, user.name):
        raise Conflict(f"{found.name} has no authenticator app.")
    found.sign_out(db)
    return see_other(
        f"/users/{user_id}",
        f"{found.name} is asked for no code any longer, and is signed out everywhere.",
    )


@router.post("/users/{user_id}/sign-ins/deletion")
def sign_out(user: Admin, db: Db, user_id: uuid.UUID) -> Response:
    """Sign a person out everywhere.

    Raises:
        NotFound: no such account.
        Conflict: it is one's own.
    """
    if user_id == user.id:
        raise Conflict("End your own sign-ins at /account.")
    found = User.of_id(db, user_id)
    SignIn.close_all(db, found, user.name)
    return see_other(f"/users/{user_id}", f"{found.name} is signed out everywhere.")


def _index(
    request: Request, session: Session, form: dict[str, str], refusal: AppError | None
) -> Response:
    return page(
        request,
        "users/index.html",
        refusal.status if refusal else 200,
        users=User.everyone(session),
        roles=ROLES,
        second_steps=SecondFactor.everybodys(session),
        seen=SignIn.last_seen(session),
        alarms=Alarm.recent(session),
        form=form,
        error=refusal or "",
    )


def _account(
    request: Request, session: Session, account: User, refusal: AppError | None
) -> Response:
    configuration = request.app.state.settings
    return page(
        request,
        "users/show.html",
        refusal.status if refusal else 200,
        account=account,
        roles=ROLES,
        second_step=SecondFactor.asked_of(session, account),
        sign_ins=SignIn.of(session, account, configuration.session_idle_hours),
        tokens=ApiToken.of(session, account),
        error=refusal or "",
    )
