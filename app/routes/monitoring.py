"""A classifier in use, for administrators: by month, and beside radiologists' classes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Admin
from app.db import Db, ReadDb
from app.errors import NotFound
from app.models.monitoring import scope, tables
from app.models.monitoring.local import STANDARDS, Standard
from app.models.monitoring.monitoring import Monitoring
from app.models.monitoring.scope import Scope
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from app.models.runs.known_lesions import KINDS
from app.responses import page
from ml.images.ct_slice import ImageKind

router = APIRouter(include_in_schema=False)

MANY = 20_000
"""From so many lesions on the figures may take longer than a second (100,000: about five)."""


class Form(StrEnum):
    """As which file the page leaves."""

    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True)
class Asked:
    """What somebody wants to see; ``checkpoint`` "" and ``kind`` None: the usual."""

    checkpoint: str
    kind: ImageKind | None
    standard: Standard
    measured: bool


def _asked(
    checkpoint: Annotated[str, Query()] = "",
    kind: Annotated[ImageKind | None, Query()] = None,
    standard: Annotated[Standard, Query()] = Standard.CONFIRMED,
    measured: Annotated[bool, Query()] = False,
) -> Asked:
    return Asked(checkpoint, kind, standard, measured)


@router.get("/monitoring")
def show(
    request: Request,
    user: Admin,
    db: ReadDb,
    asked: Annotated[Asked, Depends(_asked)],
    compute: Annotated[bool, Query()] = False,
) -> Response:
    """One checkpoint on one kind of image; cases that a blinded reading of whoever looks could be
    about are not in it. Where it takes more than a moment, a page says so and asks for it."""
    rows, chosen = _chosen(db, user, asked)
    if chosen is not None and chosen.lesions > MANY and not compute:
        url = request.url.include_query_params(compute=1)
        return page(
            request, "monitoring/computing.html", scope=chosen, url=f"{url.path}?{url.query}"
        )
    return page(
        request,
        "monitoring/show.html",
        rows=rows,
        scope=chosen,
        found=None
        if chosen is None
        else Monitoring.of(db, chosen, asked.standard, measure=asked.measured),
        asked=asked,
        kinds=KINDS,
        standards=STANDARDS,
    )


@router.get("/monitoring/export")
def export(
    user: Admin,
    look: ReadDb,
    db: Db,
    asked: Annotated[Asked, Depends(_asked)],
    format: Annotated[Form, Query()] = Form.CSV,
) -> Response:
    """The same as a file; who took it is in the record before the first byte leaves.

    Raises:
        NotFound: nothing was scored, and nothing is served.
    """
    _, chosen = _chosen(look, user, asked)
    if chosen is None:
        raise NotFound("No classifier is served, and none has scored a lesion.")
    found = Monitoring.of(look, chosen, asked.standard, measure=asked.measured)
    found.record_export(db, user.name, chosen, format.value)
    as_csv = format is Form.CSV
    return Response(
        tables.csv(found) if as_csv else found.written(),
        media_type="text/csv; charset=utf-8" if as_csv else "application/json",
        headers={
            "content-disposition": "attachment; filename="
            f'"monitoring-{found.checkpoint.name}-{found.kind.value}.{format.value}"'
        },
    )


def _chosen(session: Session, user: User, asked: Asked) -> tuple[list[scope.Scored], Scope | None]:
    closed = Enrolment.closes(session, user)
    rows = scope.scored(session, closed)
    return rows, scope.chosen(session, closed, rows, asked.checkpoint, asked.kind)
