"""A deletion that a person asks for on a page: begun here, and gone on with by the clerk."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.models.cases.case import Case
from app.models.erasures.chosen import refuse_staying
from app.models.erasures.erasure import Erasure, ErasureKind
from app.models.erasures.extent import Extent
from app.models.people.user import User
from app.operation.register import Register
from app.responses import see_other


def cases_deleted(
    request: Request, user: User, look: Session, session: Session, cases: Sequence[Case]
) -> Response:
    """Begin the deletion of these cases, all of them or none.

    Raises:
        Forbidden, Conflict: one of them has to stay.
        Unavailable: the register of deletions cannot be written.
    """
    refuse_staying(look, cases, user)
    extent = Extent.of(look, [one.id for one in cases])
    return begun(request, session, ErasureKind.CASES, user, extent, cases)


def begun(
    request: Request,
    session: Session,
    kind: ErasureKind,
    user: User,
    extent: Extent,
    cases: Sequence[Case],
    reference: str = "",
) -> Response:
    """Begin it, and show how far it is; the pictures of this browser's cache go.

    Raises:
        Conflict: something stands in the way, or they are going already.
        Unreadable: a reference that is too long or has control characters.
        Unavailable: the register of deletions cannot be written.
    """
    Register(request.app.state.settings.deletions_file).refuse_unusable()
    erasure = Erasure.begin(
        session, kind, user.name, extent, cases=[one.id for one in cases], reference=reference
    )
    request.app.state.clerk.ring()
    response = see_other(f"/erasures/{erasure.id}", "The deletion is under way.", "info")
    response.headers["clear-site-data"] = '"cache"'
    return response
